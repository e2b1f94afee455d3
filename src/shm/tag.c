#include "shm/tag.h"

#include "shm/ban.h"

void ban_tag(struct zone *zone, struct slice tag)
{
    uint64_t seq = atomic_fetch_add(&zone->events->seq, 1) + 1;

    layout_raise(tag_word(zone, tag_hash(zone, tag)), seq);
}
