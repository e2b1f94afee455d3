/* The common case of finding a key, in few enough instructions that the processor overlaps several:
 * an ordinary entry (no tags, no metadata, no slabs of its own), the first in the head bucket or in
 * the one behind it whose tag fits, and nobody writing. Everything else is left to index_find(),
 * whose rules these are. */
#ifndef SHM_PLAIN_H
#define SHM_PLAIN_H

#include "shm/index.h"

#define PLAIN_LIKELY(x)   __builtin_expect(!!(x), 1)
#define PLAIN_UNLIKELY(x) __builtin_expect(!!(x), 0)

struct plain {
    _Atomic uint64_t *table; /* the stripe's table word, */
    uint64_t table_word;     /* and what it and the head's version were when they were looked at */
    struct bucket *head;
    uint32_t version;
    _Atomic uint64_t *slot;
    uint64_t word;
    uint64_t at;
    struct entry *entry;
    uint64_t w0, w1;
};

/* Whether what was seen is all true: nothing in the chain has changed since. */
static inline bool plain_unchanged(const struct plain *p)
{
    return index_unchanged(p->head, p->version) &&
           atomic_load_explicit(p->table, memory_order_relaxed) == p->table_word;
}

/* The head of a hash, as index_head() gives it. */
static inline struct bucket *plain_head(const struct zone *zone, uint64_t hash, uint64_t table)
{
    uint32_t half = UINT32_C(1) << (table >> INDEX_LEVEL_SHIFT & INDEX_LEVEL_MASK);
    uint32_t n = index_bits(hash) & (2 * half - 1);
    uint32_t shift = zone->g.block_shift;
    uint64_t line;

    /* Without a branch, because nobody can foretell it. */
    n &= ~(half & -(uint32_t)(n >= (uint32_t)(table & INDEX_HEADS_MASK)));
    line = atomic_load_explicit(
        &zone->head_dir[(uint64_t)(n >> shift) * LAYOUT_STRIPES + layout_stripe_of(hash)],
        memory_order_acquire);
    return (struct bucket *)layout_at(zone,
                                      (line + (n & ((UINT32_C(1) << shift) - 1))) * LAYOUT_LINE);
}

/* The word of the first slot whose tag fits, in the head or, if there is none, in the bucket behind
 * it; 0: neither has one. */
static inline uint64_t plain_match(const struct zone *zone, struct bucket *head, uint64_t tag,
                                   _Atomic uint64_t **slot)
{
    uint32_t bits = index_match(head, tag);

    if (PLAIN_UNLIKELY(bits == 0)) {
        uint64_t at = index_offset(index_load(head, LAYOUT_SLOTS - 1));

        if ((index_load(head, LAYOUT_SLOTS - 1) & SLOT_LINK) == 0 ||
            at + LAYOUT_LINE > zone->slabs_end || at % LAYOUT_LINE != 0)
            return 0;
        head = layout_at(zone, at);
        bits = index_match(head, tag);
        if (bits == 0)
            return 0;
    }
    *slot = &head->slot[index_first(bits)];
    return atomic_load_explicit(*slot, memory_order_relaxed);
}

/* Look. false: not such a case. true: there is an entry with this key, if plain_unchanged() says so
 * afterwards. */
__attribute__((always_inline)) static inline bool
plain_seek(const struct zone *zone, const struct table_key *key, struct plain *p)
{
    p->table = &zone->tables[layout_stripe_of(key->hash)];
    p->table_word = atomic_load_explicit(p->table, memory_order_acquire);
    p->head = plain_head(zone, key->hash, p->table_word);
    p->version = atomic_load_explicit(&p->head->version, memory_order_acquire);
    p->word = plain_match(zone, p->head, layout_tag(key->hash), &p->slot);
    /* With the link bit as if it were part of the offset, a link is an address beyond the end; and
     * no slot's address is in the superblock. */
    p->at = (p->word & (SLOT_OFFSET_MASK | SLOT_LINK)) << 3;
    if (PLAIN_UNLIKELY(p->at + ENTRY_HEADER + key->bytes.len > zone->slabs_end || p->at == 0 ||
                       (p->version & 1) != 0))
        return false;
    p->entry = entry_at(zone, p->at);
    p->w0 = atomic_load_explicit(&p->entry->w0, memory_order_relaxed);
    p->w1 = atomic_load_explicit(&p->entry->w1, memory_order_relaxed);
    return PLAIN_LIKELY(
        (p->w0 & (uint64_t)ENTRY_FLAGS_OWN << 48) == 0 &&
        (p->w1 >> 40 & 0xffff) == key->bytes.len &&
        entry_equal((const char *)p->entry + ENTRY_HEADER, key->bytes.data, key->bytes.len));
}

#endif
