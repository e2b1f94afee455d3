/* The striped index: buckets of one cache line, chained inside a stripe. Finding needs no lock; the
 * _locked functions change a chain so that every instruction leaves it whole.
 *
 * Each stripe is a linear hash table (Litwin, "Linear hashing", 1980): it grows by splitting its
 * buckets in turn, one at a time, and shrinks by merging the last one into the one it came from
 * (grow.h). Its heads lie in blocks of equal size that a directory names; so do its overflow
 * buckets, to which links lead directly.
 *
 * Any change in a chain makes the version of its HEAD odd, then even; a result counts only if that
 * version (even) and the stripe's table word are the same after the walk as before it. A head that
 * is merged away stays odd until it is a head again; before its memory becomes anything else the
 * stripe's count of shrinks goes up, so whoever remembers a head and its version remembers that
 * count too.
 * Frequency bits are raised by readers with a CAS of the whole slot word; writers store: a raise
 * that loses is lost, one that comes late fails because the word is another.
 */
#ifndef SHM_INDEX_H
#define SHM_INDEX_H

#include "shm/entry.h"
#include "shm/slab.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Table word: heads 24 | the largest k with 2^k <= heads, 5 | changes 15 | shrinks 20. */
#define INDEX_HEADS_MASK    ((UINT64_C(1) << 24) - 1)
#define INDEX_LEVEL_SHIFT   24
#define INDEX_LEVEL_MASK    31u
#define INDEX_CHANGE        (UINT64_C(1) << 29)
#define INDEX_CHANGES_MASK  (UINT64_C(0x7fff) << 29)
#define INDEX_SHRINKS_SHIFT 44

/* Buckets in a chain at most. */
#define INDEX_CHAIN_MAX 12

/* A stripe's buckets, as one table word says. */
struct index_array {
    const struct zone *zone;
    const _Atomic uint32_t *blocks; /* lines; 0 = none; the next is LAYOUT_STRIPES further */
    uint32_t primary;               /* heads */
};

/* One slot, as found. */
struct index_spot {
    struct bucket *head;
    struct bucket *bucket;
    unsigned slot;
    uint64_t word; /* 0 = the key is not there */
};

static inline struct index_array index_unpack(const struct zone *zone, const struct stripe *stripe,
                                              uint64_t word)
{
    struct index_array a;

    a.zone = zone;
    a.blocks = zone->head_dir + (stripe - zone->stripes);
    a.primary = (uint32_t)(word & INDEX_HEADS_MASK);
    return a;
}

/* Where the line of a stripe's block i < head_blocks stands. */
static inline _Atomic uint32_t *index_block(const struct zone *zone, const struct stripe *stripe,
                                            uint32_t i)
{
    return (_Atomic uint32_t *)layout_at(zone, zone->g.head_dir) +
           ((uint64_t)i * LAYOUT_STRIPES + (uint64_t)(stripe - zone->stripes));
}

/* The part of a table word that says how many heads there are. */
static inline uint64_t index_table(uint32_t heads)
{
    return heads | (uint64_t)(31 - __builtin_clz(heads)) << INDEX_LEVEL_SHIFT;
}

static inline uint32_t index_shrinks(uint64_t word)
{
    return (uint32_t)(word >> INDEX_SHRINKS_SHIFT);
}

static inline struct index_array index_array(const struct zone *zone, const struct stripe *stripe)
{
    return index_unpack(zone, stripe,
                        atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire));
}

/* The bits of a hash that choose its bucket. */
static inline uint32_t index_bits(uint64_t hash)
{
    return (uint32_t)(hash >> 22);
}

/* The head's number for these bits: their low k + 1, or, where that bucket is not split off yet,
 * low k, with 2^k <= primary < 2^(k + 1). */
static inline uint32_t index_number(const struct index_array *a, uint32_t bits)
{
    uint32_t half = UINT32_C(1) << (31 - __builtin_clz(a->primary | 1));
    uint32_t n = bits & (2 * half - 1);

    return n < a->primary ? n : n & (half - 1);
}

/* A head by its number, below a->primary. A reader whose table word is stale may get a bucket that
 * is none any more, but always one inside the zone. */
static inline struct bucket *index_bucket(const struct index_array *a, uint32_t n)
{
    const struct zone *zone = a->zone;
    uint32_t shift = zone->g.block_shift;
    uint64_t line = atomic_load_explicit(&a->blocks[(uint64_t)(n >> shift) * LAYOUT_STRIPES],
                                         memory_order_acquire);
    struct bucket *block = layout_at(zone, line * LAYOUT_LINE);

    return block + (n & ((UINT32_C(1) << shift) - 1));
}

static inline struct bucket *index_head(const struct index_array *a, uint64_t hash)
{
    return index_bucket(a, index_number(a, index_bits(hash)));
}

static inline uint32_t index_line(const struct zone *zone, const void *bucket)
{
    return (uint32_t)((uint64_t)((const char *)bucket - zone->base) / LAYOUT_LINE);
}

static inline uint64_t index_load(const struct bucket *bucket, unsigned slot)
{
    return atomic_load_explicit(&bucket->slot[slot], memory_order_relaxed);
}

static inline uint64_t index_offset(uint64_t word)
{
    return (word & SLOT_OFFSET_MASK) << 3;
}

static inline uint64_t index_word(uint64_t hash, uint64_t offset)
{
    return layout_tag(hash) << SLOT_TAG_SHIFT | offset >> 3;
}

/* What identifies a slot's content: everything but the access bits. */
static inline uint64_t index_identity(uint64_t word)
{
    return word & ~SLOT_FREQ_MASK;
}

/* The bucket that a bucket's last slot leads to; NULL at the end of the chain, or on garbage. */
static inline struct bucket *index_next(const struct index_array *a, const struct bucket *bucket)
{
    uint64_t word = index_load(bucket, LAYOUT_SLOTS - 1);
    uint64_t at = index_offset(word);

    if ((word & SLOT_LINK) == 0 || at < a->zone->g.slabs || at >= a->zone->slabs_end ||
        at % LAYOUT_LINE != 0)
        return NULL;
    return layout_at(a->zone, at);
}

/* The slots of a bucket whose tag fits, one bit in each four: slot i is bit 4 * i. Only a first
 * look: the words are to be loaded again. Without a branch, because which slot it will be cannot be
 * foretold. */
static inline uint32_t index_match(const struct bucket *bucket, uint64_t tag)
{
#if defined(__SSE2__)
    const volatile __m128i *line = (const volatile __m128i *)(const void *)bucket;
    const __m128i tags = _mm_set1_epi16((short)tag);
    __m128i low = _mm_packs_epi16(_mm_cmpeq_epi16(line[0], tags), _mm_cmpeq_epi16(line[1], tags));
    __m128i high = _mm_packs_epi16(_mm_cmpeq_epi16(line[2], tags), _mm_cmpeq_epi16(line[3], tags));
    uint32_t bits = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;

    /* One bit for each 16; a word's tag is its last 16; the first word is the bucket's header. */
    return bits >> 7 & UINT32_C(0x1111111);
#else
    uint32_t bits = 0;

    for (unsigned i = 0; i < LAYOUT_SLOTS; i++)
        bits |= (uint32_t)(index_load(bucket, i) >> SLOT_TAG_SHIFT == tag) << 4 * i;
    return bits;
#endif
}

static inline unsigned index_first(uint32_t bits)
{
    return (unsigned)__builtin_ctz(bits) / 4;
}

/* Find a key in its chain. Returns whether it is there, valid or not; then spot and view are
 * filled, else spot->head only. Without the lock the answer counts only after the caller's version
 * check. */
static inline bool index_find(const struct zone *zone, const struct index_array *a,
                              const struct table_key *key, struct index_spot *spot,
                              struct entry_view *view)
{
    uint64_t tag = layout_tag(key->hash);
    uint32_t hops = INDEX_CHAIN_MAX;

    spot->head = index_head(a, key->hash);
    spot->word = 0;
    for (struct bucket *b = spot->head; b != NULL && hops > 0; b = index_next(a, b), hops--) {
        for (uint32_t bits = index_match(b, tag); bits != 0; bits &= bits - 1) {
            unsigned i = index_first(bits);
            uint64_t word = index_load(b, i);

            if (word == 0 || (word & SLOT_LINK))
                continue;
            if (!entry_view(zone, index_offset(word), view) ||
                !entry_has_key(zone, view, key->bytes))
                continue;
            spot->bucket = b;
            spot->slot = i;
            spot->word = word;
            return true;
        }
    }
    return false;
}

static inline unsigned index_freq(uint64_t word)
{
    return (unsigned)((word & SLOT_FREQ_MASK) >> SLOT_FREQ_SHIFT);
}

/* A slot word seen without the lock, and the state of the chain that it was in. */
struct index_glimpse {
    uint64_t word;
    uint64_t table;
    uint32_t version;
};

/* Whether the table points to the entry at this offset. 1 yes, 0 no, -1: could not be told without
 * the lock. seen: filled for 1; for -1, word is 0. */
int index_glimpse(struct zone *zone, uint64_t hash, uint64_t offset, struct index_glimpse *seen);

/* Find a key without the lock. 1, with spot and view filled; 0 = it is not there; -1 as above. */
int index_seek(struct zone *zone, const struct table_key *key, struct index_spot *spot,
               struct entry_view *view);

/* Under the lock: nothing has changed in the chain since the glimpse. */
bool index_still(struct zone *zone, const struct stripe *stripe, uint64_t hash,
                 const struct index_glimpse *seen);

/* The slot of the entry at an offset in the chain of hash; false = none. */
bool index_spot_locked(struct zone *zone, struct stripe *stripe, uint64_t hash, uint64_t offset,
                       struct index_spot *spot);

/* The same for a large value's first slab; view is filled. */
bool index_large_locked(struct zone *zone, struct stripe *stripe, uint64_t hash, uint32_t first,
                        struct index_spot *spot, struct entry_view *view);

/* Before any other change: bring the stripe's counts up to the last clear. */
void index_refresh_locked(struct zone *zone, struct stripe *stripe);

/* Remove what spot and view say. Another entry of the chain may move into the slot, and the chain
 * may become shorter: who walks it begins again. Returns the first slab of a large value, now in
 * reclaim and ours, to be freed with slab_chain_free() after the lock is released; LAYOUT_NONE
 * otherwise. */
uint32_t index_unlink_locked(struct zone *zone, struct stripe *stripe,
                             const struct index_spot *spot, const struct entry_view *view);

/* Publish the entry of view (its bytes are complete) for hash, in place of spot (spot->word != 0),
 * else in a free slot, else in place of something dead, else in a longer chain or a stripe of more
 * buckets, else, when the index may not grow, in place of the chain's oldest. Returns as
 * index_unlink_locked(), for what was replaced. */
uint32_t index_publish_locked(struct zone *zone, struct stripe *stripe,
                              const struct index_spot *spot, uint64_t hash,
                              const struct entry_view *view, uint64_t now_ms);

/* The entry at spot, now, has been copied, whole, to the place that copy says: that is the entry
 * from now on, with that frequency. */
void index_move_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                       const struct entry_view *now, const struct entry_view *copy, unsigned freq);

/* Around overwriting the bytes of the entry at spot, as which old stood there. Crash: the slot is
 * dropped. */
void index_over_begin_locked(struct zone *zone, struct stripe *stripe,
                             const struct index_spot *spot, const struct entry_view *old);
void index_over_end_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                           const struct entry_view *old);

/* Set the access bits of what spot says. */
void index_set_freq_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                           unsigned freq);

/* A change inside an entry counts as a change of the chain. Both words 0: one store that cannot be
 * half done (its expiry). Both the slot's own: its bytes are overwritten, and after a crash in the
 * middle the slot is dropped. */
void index_begin_locked(struct zone *zone, struct stripe *stripe, struct bucket *head,
                        uint64_t old_word, uint64_t new_word);
void index_end_locked(struct zone *zone, struct stripe *stripe, struct bucket *head);

/* From here on the stripe may be half changed, though none of its chains; index_begin_locked() may
 * follow, and either index_end_locked() or index_relent_locked() does. */
void index_intend_locked(struct zone *zone, struct stripe *stripe, const struct bucket *head);
void index_relent_locked(struct zone *zone, struct stripe *stripe);

/* A stripe's first table word and directory; the zone's memory is zero. */
void index_format(struct zone *zone, struct stripe *stripe);

/* Give the overflow buckets back that no chain leads to, mark those that one does, and free blocks
 * that the stripe has taken and not entered. Returns false when the lock of the blocks could not be
 * had. Lock held, by this process or by a dead one. */
bool index_mend(struct zone *zone, struct stripe *stripe);

/* Whether the stripe's directories name the block that begins at this line. */
bool index_has_block(const struct zone *zone, const struct stripe *stripe, uint32_t line);

/* Fewer buckets and blocks, where a stripe has far more than it needs: a bounded step. */
void index_shrink_locked(struct zone *zone, struct stripe *stripe);

/* A walk over all chains of a stripe while it grows and shrinks between the steps: cursors go from
 * 0 to INDEX_CURSOR_END over the bucket bits read from low to high, the order in which a bucket and
 * what is split off it are neighbours. A chain may hold entries from before the cursor, whose
 * buckets were merged: index_cursor_before(). */
#define INDEX_CURSOR_END (UINT64_C(1) << 32)
uint32_t index_cursor_head(const struct index_array *a, uint64_t cursor);
uint64_t index_cursor_next(const struct index_array *a, uint64_t cursor);
bool index_cursor_before(uint64_t hash, uint64_t cursor);

/* Count the stripe's entries anew, by its chains. Lock held, by this process or by a dead one. */
void index_recount(struct zone *zone, struct stripe *stripe);

/* Lock-free check after a read: the version is still what it was. */
static inline bool index_unchanged(const struct bucket *head, uint32_t version)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&head->version, memory_order_relaxed) == version;
}

#endif
