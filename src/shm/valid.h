/* Whether an entry still counts (design rule 1). */
#ifndef SHM_VALID_H
#define SHM_VALID_H

#include "shm/ban.h"
#include "shm/entry.h"

enum validity {
    VALID_YES,
    VALID_STALE,   /* from before the last epoch move */
    VALID_EXPIRED, /* its time has passed */
    VALID_GONE,    /* cleared, purged or banned */
};

/* Bans newer than the entry, and its tags: the part that most reads need not go into. */
bool valid_banned(const struct zone *zone, const struct entry_view *view, struct slice key);

/* Judge an entry. For a read without a lock this comes before the version check: a ban is retired
 * only after what it hit has been unlinked, so a read that no longer sees the ban sees the version
 * change. */
static inline enum validity valid_entry(const struct zone *zone, const struct entry_view *view,
                                        struct slice key, uint64_t now_ms)
{
    const struct events *ev = zone->events;

    if (view->expiry != 0 && now_ms >= zone->base_ms + view->expiry)
        return VALID_EXPIRED;
    if (view->seq < atomic_load_explicit(&ev->last_clear, memory_order_acquire))
        return VALID_GONE;
    if (view->seq < atomic_load_explicit(&ev->ban_newest, memory_order_acquire) ||
        view->n_tags > 0) {
        if (valid_banned(zone, view, key))
            return VALID_GONE;
    }
    if (view->seq < atomic_load_explicit(&ev->epoch, memory_order_relaxed))
        return VALID_STALE;
    return VALID_YES;
}

/* Whether rule 1 forbids to store now what began at that sequence: a clear, a ban that matches the
 * key, or a purge of one of the write's tags (NULL: none) has happened since. Called under the
 * stripe's lock, so that the sweeper cannot retire a ban between this and the publication. */
bool valid_refuses(const struct zone *zone, struct slice key, uint64_t began_seq,
                   const struct table_write *write);

#endif
