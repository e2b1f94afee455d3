#include "shm/valid.h"

#include "shm/tag.h"

bool valid_banned(const struct zone *zone, const struct entry_view *view, struct slice key)
{
    for (uint32_t i = 0; i < view->n_tags; i++) {
        if (tag_purged(zone, entry_tag(zone, view, i)) > view->seq)
            return true;
    }
    return ban_hits(zone, key, view->seq);
}

bool valid_refuses(const struct zone *zone, struct slice key, uint64_t began_seq,
                   const struct table_write *write)
{
    const struct events *ev = zone->events;

    if (began_seq < atomic_load_explicit(&ev->last_clear, memory_order_acquire))
        return true;
    for (unsigned i = 0; write != NULL && i < write->n_tags; i++) {
        if (tag_purged(zone, entry_tag_of(zone, write, i)) > began_seq)
            return true;
    }
    return ban_hits(zone, key, began_seq) ||
           atomic_load_explicit(&ev->ban_retired, memory_order_acquire) > began_seq;
}
