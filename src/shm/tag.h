/* Tags: a hashed table of the sequence of each tag's last purge. Two tags in one place invalidate
 * each other's entries, which is safe. */
#ifndef SHM_TAG_H
#define SHM_TAG_H

#include "shm/entry.h"

/* What an entry stores of a tag. */
static inline uint32_t tag_hash(const struct zone *zone, struct slice tag)
{
    return (uint32_t)entry_hash(zone, tag.data, tag.len);
}

static inline _Atomic uint64_t *tag_word(const struct zone *zone, uint32_t hash)
{
    return (_Atomic uint64_t *)layout_at(zone, zone->g.tags) + (hash & (zone->g.n_tags - 1));
}

/* The sequence of the last purge of a tag with that hash; 0 = never. Entries that are older and
 * carry it are invalid. */
static inline uint64_t tag_purged(const struct zone *zone, uint32_t hash)
{
    return atomic_load_explicit(tag_word(zone, hash), memory_order_acquire);
}

#endif
