/* The common case of finding a key, in few enough instructions that the processor overlaps several:
 * an ordinary entry (no tags, no metadata, no slabs of its own), the first in the head bucket whose
 * tag fits, and nobody writing. Everything else is left to index_find(), whose rules these are. */
#ifndef SHM_PLAIN_H
#define SHM_PLAIN_H

#include "shm/index.h"

struct plain {
    struct stripe *stripe;
    uint64_t table; /* the stripe's table word, and the head's version, when it was looked at */
    struct bucket *head;
    uint32_t version;
    unsigned slot;
    uint64_t word;
    uint64_t at;
    struct entry *entry;
    uint64_t w0, w1;
};

/* Whether what was seen is all true: nothing in the chain has changed since. */
static inline bool plain_unchanged(const struct plain *p)
{
    return index_unchanged(p->head, p->version) &&
           atomic_load_explicit(&p->stripe->table, memory_order_relaxed) == p->table;
}

/* Look. false: not such a case. true: there is an entry with this key, if plain_unchanged() says so
 * afterwards. */
__attribute__((always_inline)) static inline bool
plain_seek(const struct zone *zone, const struct table_key *key, struct plain *p)
{
    struct index_array a;
    uint64_t bits;

    p->stripe = layout_stripe(zone, key->hash);
    p->table = atomic_load_explicit(&p->stripe->table, memory_order_acquire);
    a = index_unpack(zone, p->stripe, p->table);
    p->head = index_head(&a, key->hash);
    p->version = atomic_load_explicit(&p->head->version, memory_order_acquire);
    bits = index_match(p->head, layout_tag(key->hash));
    if ((p->version & 1) != 0 || bits == 0)
        return false;
    p->slot = (unsigned)__builtin_ctzll(bits) / 8;
    p->word = index_load(p->head, p->slot);
    /* With the link bit as if it were part of the offset, a link is an address beyond the end. */
    p->at = (p->word & (SLOT_OFFSET_MASK | SLOT_LINK)) << 3;
    if (p->at + ENTRY_HEADER + key->bytes.len > zone->slabs_end)
        return false;
    p->entry = entry_at(zone, p->at);
    p->w0 = atomic_load_explicit(&p->entry->w0, memory_order_relaxed);
    p->w1 = atomic_load_explicit(&p->entry->w1, memory_order_relaxed);
    return (p->w0 & (uint64_t)ENTRY_FLAGS_OWN << 48) == 0 &&
           (p->w1 >> 40 & 0xffff) == key->bytes.len &&
           entry_equal((const char *)p->entry + ENTRY_HEADER, key->bytes.data, key->bytes.len);
}

#endif
