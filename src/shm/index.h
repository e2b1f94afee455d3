/* The striped index: buckets of one cache line, chained inside a stripe. Finding needs no lock; the
 * _locked functions change a chain so that every instruction leaves it whole.
 *
 * A stripe's array is contiguous: primary buckets, then overflow buckets. Any change in a chain
 * makes the version of its HEAD odd, then even; a result counts only if that version (even) and the
 * stripe's table word are the same after the walk as before it.
 * Frequency bits are raised by readers with a CAS of the whole slot word; writers store: a raise
 * that loses is lost, one that comes late fails because the word is another.
 */
#ifndef SHM_INDEX_H
#define SHM_INDEX_H

#include "shm/entry.h"
#include "shm/slab.h"

/* Table word: offset in lines 30 | primary buckets 17 | overflow buckets 17. */
#define INDEX_MAX_BUCKETS ((1u << 17) - 1)

struct index_array {
    struct bucket *buckets;
    uint32_t primary;
    uint32_t total;
};

/* One slot, as found. */
struct index_spot {
    struct bucket *head;
    struct bucket *bucket;
    unsigned slot;
    uint64_t word; /* 0 = the key is not there */
};

static inline uint64_t index_pack(uint64_t offset, uint32_t primary, uint32_t overflow)
{
    return offset / LAYOUT_LINE | (uint64_t)primary << 30 | (uint64_t)overflow << 47;
}

static inline struct index_array index_unpack(const struct zone *zone, uint64_t word)
{
    struct index_array a;

    a.buckets = layout_at(zone, (word & ((1u << 30) - 1)) * LAYOUT_LINE);
    a.primary = (word >> 30) & INDEX_MAX_BUCKETS;
    a.total = a.primary + (uint32_t)(word >> 47);
    return a;
}

static inline struct index_array index_array(const struct zone *zone, const struct stripe *stripe)
{
    return index_unpack(zone, atomic_load_explicit(&stripe->table, memory_order_acquire));
}

static inline struct bucket *index_head(const struct index_array *a, uint64_t hash)
{
    return &a->buckets[((hash >> 22 & UINT32_MAX) * a->primary) >> 32];
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
    uint64_t i = word & SLOT_OFFSET_MASK;

    if ((word & SLOT_LINK) == 0 || i < a->primary || i >= a->total)
        return NULL;
    return &a->buckets[i];
}

/* Find a key in its chain. Returns whether it is there, valid or not; then spot and view are
 * filled, else spot->head only. Without the lock the answer counts only after the caller's version
 * check. */
static inline bool index_find(const struct zone *zone, const struct index_array *a,
                              const struct table_key *key, struct index_spot *spot,
                              struct entry_view *view)
{
    uint64_t tag = layout_tag(key->hash);
    uint32_t hops = a->total;

    spot->head = index_head(a, key->hash);
    spot->word = 0;
    for (struct bucket *b = spot->head; b != NULL && hops > 0; b = index_next(a, b), hops--) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t word = index_load(b, i);

            if (word >> SLOT_TAG_SHIFT != tag || word == 0 || (word & SLOT_LINK))
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

/* Remove what spot and view say. Returns the first slab of a large value, now in reclaim and ours,
 * to be freed with slab_chain_free() after the lock is released; LAYOUT_NONE otherwise. */
uint32_t index_unlink_locked(struct zone *zone, struct stripe *stripe,
                             const struct index_spot *spot, const struct entry_view *view);

/* Publish the entry of view (its bytes are complete) for hash, in place of spot (spot->word != 0),
 * else in a free slot, else in place of something dead, else of the chain's oldest. Returns as
 * index_unlink_locked(), for what was replaced. evicted: set when something other than spot was
 * replaced. */
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

/* Count the stripe's entries anew, by its chains. Lock held, by this process or by a dead one. */
void index_recount(struct zone *zone, struct stripe *stripe);

/* Lock-free check after a read: the version is still what it was. */
static inline bool index_unchanged(const struct bucket *head, uint32_t version)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&head->version, memory_order_relaxed) == version;
}

#endif
