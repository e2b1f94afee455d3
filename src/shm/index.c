#include "shm/index.h"

#include "shm/block.h"
#include "shm/grow.h"
#include "shm/lock.h"
#include "shm/spill.h"
#include "shm/valid.h"

#define LINKED_TRIES 3
#define SPLITS_A_SET 2  /* when chains have become long */
#define MERGES       64 /* a step of shrinking */
#define SPARSE       3  /* fewer entries a head than this: too many heads */

static void set_slot(struct bucket *bucket, unsigned slot, uint64_t word)
{
    atomic_store_explicit(&bucket->slot[slot], word, memory_order_release);
}

/* A killed process has done exactly what stands before the instruction it died at, provided that
 * the compiler keeps the order: hence the signal fences. */
static void set_intent(struct stripe *stripe, uint32_t intent, uint64_t old_word, uint64_t new_word)
{
    atomic_store_explicit(&stripe->intent_old, old_word, memory_order_relaxed);
    atomic_store_explicit(&stripe->intent_new, new_word, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&stripe->intent, intent, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static void clear_intent(struct stripe *stripe)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&stripe->intent, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

void index_intend_locked(struct zone *zone, struct stripe *stripe, const struct bucket *head)
{
    lock_assert(zone, stripe);
    set_intent(stripe, index_line(zone, head), 0, 0);
}

void index_relent_locked(struct zone *zone, struct stripe *stripe)
{
    lock_assert(zone, stripe);
    clear_intent(stripe);
}

void index_begin_locked(struct zone *zone, struct stripe *stripe, struct bucket *head,
                        uint64_t old_word, uint64_t new_word)
{
    uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed);

    lock_assert(zone, stripe);
    set_intent(stripe, index_line(zone, head), old_word, new_word);
    atomic_store_explicit(&head->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void index_end_locked(struct zone *zone, struct stripe *stripe, struct bucket *head)
{
    uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed);

    lock_assert(zone, stripe);
    atomic_store_explicit(&head->version, version + 1, memory_order_release);
    clear_intent(stripe);
}

static uint64_t last_clear(const struct zone *zone)
{
    return atomic_load_explicit(&zone->events->last_clear, memory_order_acquire);
}

static void add_to(_Atomic uint64_t *word, uint64_t n)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static void count(struct stripe *stripe, const struct entry_view *view, bool add)
{
    uint64_t bytes = entry_bytes(view);
    uint32_t entries = atomic_load_explicit(&stripe->entries, memory_order_relaxed);

    if (view->seq < atomic_load_explicit(&stripe->count_seq, memory_order_relaxed))
        return;
    add_to(&stripe->live_bytes, add ? bytes : -bytes);
    atomic_store_explicit(&stripe->entries, add ? entries + 1 : entries - 1, memory_order_relaxed);
}

static void count_slab(struct zone *zone, const struct entry_view *view, bool add)
{
    struct slab *slab = &zone->slabs[slab_of(zone, view->at)];

    if (add) {
        atomic_fetch_add_explicit(&slab->live, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&slab->live_bytes, view->size, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&slab->live, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&slab->live_bytes, view->size, memory_order_relaxed);
    }
}

static bool older_slab(const struct zone *zone, uint64_t word, uint64_t clear)
{
    const struct slab *slab = &zone->slabs[slab_of(zone, index_offset(word))];

    return atomic_load_explicit(&slab->max_seq, memory_order_relaxed) < clear;
}

void index_recount(struct zone *zone, struct stripe *stripe)
{
    struct index_array a = index_array(zone, stripe);
    uint64_t clear = last_clear(zone);
    uint64_t bytes = 0;
    uint32_t entries = 0;

    for (uint32_t h = 0; h < a.primary; h++) {
        for (struct bucket *b = index_bucket(&a, h); b != NULL; b = index_next(&a, b)) {
            for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
                uint64_t word = index_load(b, i);
                struct entry_view view;

                if (word == 0 || (word & SLOT_LINK) || older_slab(zone, word, clear))
                    continue;
                if (!entry_view(zone, index_offset(word), &view) || view.seq < clear)
                    continue;
                entries++;
                bytes += entry_bytes(&view);
            }
        }
    }
    atomic_store_explicit(&stripe->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&stripe->live_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&stripe->count_seq, clear, memory_order_relaxed);
}

void index_refresh_locked(struct zone *zone, struct stripe *stripe)
{
    lock_assert(zone, stripe);
    if (atomic_load_explicit(&stripe->count_seq, memory_order_relaxed) >= last_clear(zone))
        return;
    /* A count, not a zero: a store that ran beside the clear may already be the newer one. */
    set_intent(stripe, 1, 0, 0);
    index_recount(zone, stripe);
    clear_intent(stripe);
}

bool index_still(struct zone *zone, const struct stripe *stripe, uint64_t hash,
                 const struct index_glimpse *seen)
{
    struct index_array a = index_array(zone, stripe);

    lock_assert(zone, stripe);
    return seen->word != 0 &&
           atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) == seen->table &&
           atomic_load_explicit(&index_head(&a, hash)->version, memory_order_relaxed) ==
               seen->version;
}

int index_glimpse(struct zone *zone, uint64_t hash, uint64_t offset, struct index_glimpse *seen)
{
    struct stripe *stripe = layout_stripe(zone, hash);
    uint64_t want = index_word(hash, offset);

    seen->word = 0;
    for (int n = 0; n < LINKED_TRIES && !LAYOUT_LOCKED_READS; n++) {
        uint64_t table = atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire);
        struct index_array a = index_unpack(zone, stripe, table);
        struct bucket *head = index_head(&a, hash);
        uint32_t version = atomic_load_explicit(&head->version, memory_order_acquire);
        uint32_t hops = INDEX_CHAIN_MAX;
        uint64_t found = 0;

        if (version & 1)
            continue;
        for (struct bucket *b = head; b != NULL && hops > 0; b = index_next(&a, b), hops--) {
            for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
                uint64_t word = index_load(b, i);

                if (index_identity(word) == want)
                    found = word;
            }
        }
        if (index_unchanged(head, version) &&
            atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) == table) {
            *seen = (struct index_glimpse){found, table, version};
            return found != 0;
        }
    }
    return -1;
}

int index_seek(struct zone *zone, const struct table_key *key, struct index_spot *spot,
               struct entry_view *view)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);

    for (int n = 0; n < LINKED_TRIES && !LAYOUT_LOCKED_READS; n++) {
        uint64_t table = atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire);
        struct index_array a = index_unpack(zone, stripe, table);
        struct bucket *head = index_head(&a, key->hash);
        uint32_t version = atomic_load_explicit(&head->version, memory_order_acquire);
        bool found;

        if (version & 1)
            continue;
        found = index_find(zone, &a, key, spot, view);
        if (index_unchanged(head, version) &&
            atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) == table)
            return found;
    }
    if (LAYOUT_LOCKED_READS && lock_take(zone, stripe)) {
        struct index_array a = index_array(zone, stripe);
        bool found = index_find(zone, &a, key, spot, view);

        lock_drop(zone, stripe);
        return found;
    }
    return -1;
}

bool index_spot_locked(struct zone *zone, struct stripe *stripe, uint64_t hash, uint64_t offset,
                       struct index_spot *spot)
{
    struct index_array a = index_array(zone, stripe);
    uint64_t want = index_word(hash, offset);

    lock_assert(zone, stripe);
    spot->head = index_head(&a, hash);
    for (struct bucket *b = spot->head; b != NULL; b = index_next(&a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            spot->bucket = b;
            spot->slot = i;
            spot->word = index_load(b, i);
            if (index_identity(spot->word) == want)
                return true;
        }
    }
    spot->word = 0;
    return false;
}

bool index_large_locked(struct zone *zone, struct stripe *stripe, uint64_t hash, uint32_t first,
                        struct index_spot *spot, struct entry_view *view)
{
    struct index_array a = index_array(zone, stripe);

    lock_assert(zone, stripe);
    spot->head = index_head(&a, hash);
    for (struct bucket *b = spot->head; b != NULL; b = index_next(&a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            spot->bucket = b;
            spot->slot = i;
            spot->word = index_load(b, i);
            if (spot->word >> SLOT_TAG_SHIFT != layout_tag(hash) || spot->word == 0 ||
                (spot->word & SLOT_LINK))
                continue;
            if (entry_view(zone, index_offset(spot->word), view) && (view->flags & ENTRY_LARGE) &&
                view->first_slab == first)
                return true;
        }
    }
    spot->word = 0;
    return false;
}

/* The first slab of a large value that is about to lose its entry: from now on ours to free. */
static uint32_t claim_large(struct zone *zone, const struct entry_view *view)
{
    uint64_t word;

    if ((view->flags & ENTRY_LARGE) == 0)
        return LAYOUT_NONE;
    word = slab_load(zone, view->first_slab);
    if (slab_state(word) != SLAB_LARGE ||
        !slab_move(zone, view->first_slab, word, SLAB_RECLAIM, zone->owner))
        return LAYOUT_NONE;
    return view->first_slab;
}

uint32_t index_unlink_locked(struct zone *zone, struct stripe *stripe,
                             const struct index_spot *spot, const struct entry_view *view)
{
    struct index_array a = index_array(zone, stripe);
    uint32_t large;

    index_refresh_locked(zone, stripe);
    index_begin_locked(zone, stripe, spot->head, spot->word, 0);
    large = claim_large(zone, view);
    set_slot(spot->bucket, spot->slot, 0);
    grow_pack_locked(zone, stripe, &a, spot->head);
    count(stripe, view, false);
    count_slab(zone, view, false);
    index_end_locked(zone, stripe, spot->head);
    return large;
}

void index_set_freq_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                           unsigned freq)
{
    lock_assert(zone, stripe);
    set_slot(spot->bucket, spot->slot,
             (spot->word & ~SLOT_FREQ_MASK) | (uint64_t)freq << SLOT_FREQ_SHIFT);
}

void index_move_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                       const struct entry_view *now, const struct entry_view *copy, unsigned freq)
{
    uint64_t word = (spot->word & ~(SLOT_OFFSET_MASK | SLOT_FREQ_MASK)) | copy->at >> 3 |
                    (uint64_t)freq << SLOT_FREQ_SHIFT;

    index_refresh_locked(zone, stripe);
    index_begin_locked(zone, stripe, spot->head, spot->word, word);
    set_slot(spot->bucket, spot->slot, word);
    count_slab(zone, now, false);
    count_slab(zone, copy, true);
    index_end_locked(zone, stripe, spot->head);
}

/* The old entry may be from before the last clear, and not counted. */
void index_over_begin_locked(struct zone *zone, struct stripe *stripe,
                             const struct index_spot *spot, const struct entry_view *old)
{
    uint64_t word = index_identity(spot->word);

    index_refresh_locked(zone, stripe);
    index_begin_locked(zone, stripe, spot->head, word, word);
    count(stripe, old, false);
}

void index_over_end_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                           const struct entry_view *old)
{
    struct entry_view now;
    bool whole = entry_view(zone, old->at, &now);

    assert(whole); /* it takes as many bytes as the old one */
    if (whole)
        count(stripe, &now, true);
    index_end_locked(zone, stripe, spot->head);
}

/* A free slot in the chain. */
static bool find_empty(const struct index_array *a, struct index_spot *spot)
{
    for (struct bucket *b = spot->head; b != NULL; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            if (index_load(b, i) != 0)
                continue;
            spot->bucket = b;
            spot->slot = i;
            return true;
        }
    }
    return false;
}

/* A slot whose whole slab is dead; with any set, else the slot whose slab is the oldest. */
static bool find_victim(const struct zone *zone, const struct index_array *a,
                        struct index_spot *spot, uint64_t now_ms, bool any)
{
    uint64_t oldest = UINT64_MAX;

    for (struct bucket *b = spot->head; b != NULL; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t word = index_load(b, i);
            uint64_t stamp;
            uint32_t slab;

            if (word & SLOT_LINK)
                continue;
            slab = slab_of(zone, index_offset(word));
            stamp = atomic_load_explicit(&zone->slabs[slab].stamp, memory_order_relaxed);
            if (any ? stamp >= oldest : !slab_dead(zone, slab, now_ms))
                continue;
            oldest = stamp;
            spot->bucket = b;
            spot->slot = i;
            spot->word = word;
            if (!any)
                return true;
        }
    }
    return oldest != UINT64_MAX;
}

/* Entries replaced because their chain is full, not because of their key. */
static void count_evicted(struct zone *zone, const struct entry_view *view, uint64_t now_ms)
{
    struct slice key = slice_make(entry_key(zone, view), view->key_len);
    enum validity v = valid_entry(zone, view, key, now_ms);

    if (v == VALID_EXPIRED)
        stat_add(zone, STAT_EXPIRATIONS, 1);
    else if (v != VALID_GONE)
        stat_add(zone, STAT_EVICTIONS, 1);
}

static unsigned chain_length(const struct index_array *a, struct bucket *head)
{
    unsigned n = 0;

    for (struct bucket *b = head; b != NULL; b = index_next(a, b))
        n++;
    return n;
}

/* Make room for one more: by splitting buckets when chains have become long, so that the head of
 * hash may be another one now, or by a bucket to lengthen the chain with. NULL and spot->bucket
 * NULL: neither. */
static struct bucket *make_room(struct zone *zone, struct stripe *stripe, uint64_t hash,
                                struct index_spot *spot)
{
    struct index_array a;

    spot->bucket = NULL;
    for (unsigned n = 0; n < SPLITS_A_SET && grow_due(zone, stripe); n++) {
        if (!grow_split_locked(zone, stripe))
            break;
    }
    a = index_array(zone, stripe);
    spot->head = index_head(&a, hash);
    if (find_empty(&a, spot) || chain_length(&a, spot->head) >= INDEX_CHAIN_MAX)
        return NULL;
    index_intend_locked(zone, stripe, spot->head);
    return spill_take_locked(zone, stripe);
}

/* Choose where a key that is not there goes: into spot->bucket, with spot->word the victim's or 0;
 * or into the bucket returned, with which the chain becomes longer. */
static struct bucket *choose_slot(struct zone *zone, struct stripe *stripe, uint64_t hash,
                                  struct index_spot *spot, uint64_t now_ms)
{
    struct index_array a = index_array(zone, stripe);
    struct bucket *fresh;

    if (find_empty(&a, spot)) {
        if (spot->slot == LAYOUT_SLOTS - 1)
            block_expect(zone);
        return NULL;
    }
    if (find_victim(zone, &a, spot, now_ms, false))
        return NULL;
    fresh = make_room(zone, stripe, hash, spot);
    if (fresh == NULL && spot->bucket == NULL)
        find_victim(zone, &a, spot, now_ms, true);
    return fresh;
}

static void publish_large(struct zone *zone, const struct entry_view *view)
{
    uint64_t word;
    bool moved;

    if ((view->flags & ENTRY_LARGE) == 0)
        return;
    word = slab_load(zone, view->first_slab);
    moved = slab_move(zone, view->first_slab, word, SLAB_LARGE, 0);
    assert(moved); /* open and ours until here */
    (void)moved;
}

uint32_t index_publish_locked(struct zone *zone, struct stripe *stripe,
                              const struct index_spot *found, uint64_t hash,
                              const struct entry_view *view, uint64_t now_ms)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot = *found;
    uint64_t word = index_word(hash, view->at) | (found->word & SLOT_FREQ_MASK);
    struct bucket *fresh = NULL;
    struct entry_view old;
    bool replaces = false;
    uint32_t large = LAYOUT_NONE;

    index_refresh_locked(zone, stripe);
    if (spot.word == 0)
        fresh = choose_slot(zone, stripe, hash, &spot, now_ms);
    if (spot.word != 0)
        replaces = entry_view(zone, index_offset(spot.word), &old);
    if (replaces && found->word == 0)
        count_evicted(zone, &old, now_ms);
    index_begin_locked(zone, stripe, spot.head, spot.word, word);
    if (replaces)
        large = claim_large(zone, &old);
    if (fresh != NULL)
        grow_extend(zone, &a, spot.head, fresh, word);
    else
        set_slot(spot.bucket, spot.slot, word);
    publish_large(zone, view);
    if (replaces) {
        count(stripe, &old, false);
        count_slab(zone, &old, false);
    }
    count(stripe, view, true);
    count_slab(zone, view, true);
    index_end_locked(zone, stripe, spot.head);
    return large;
}

/* --- the array as a whole --------------------------------------------------------------------- */

void index_format(struct zone *zone, struct stripe *stripe)
{
    uint64_t bytes = (uint64_t)LAYOUT_LINE << zone->g.block_shift;
    uint64_t at = zone->g.buckets + (uint64_t)(stripe - zone->stripes) * bytes;

    atomic_store(index_block(zone, stripe, 0), (uint32_t)(at / LAYOUT_LINE));
    atomic_store(layout_table(zone, stripe), index_table(UINT32_C(1) << zone->g.block_shift));
}

bool index_has_block(const struct zone *zone, const struct stripe *stripe, uint32_t line)
{
    for (uint32_t i = 0; i < zone->g.head_blocks; i++) {
        if (atomic_load_explicit(index_block(zone, stripe, i), memory_order_relaxed) == line)
            return true;
    }
    for (uint32_t i = 0; i < zone->g.spill_blocks; i++) {
        if (spill_block(zone, stripe, i) == line)
            return true;
    }
    return false;
}

/* Cut off what is no overflow bucket of the stripe, or is one of another chain. */
static void mark_chain(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                       struct bucket *head)
{
    struct bucket *next;

    for (struct bucket *b = head; b != NULL; b = next) {
        next = index_next(a, b);
        if ((index_load(b, LAYOUT_SLOTS - 1) & SLOT_LINK) == 0)
            continue;
        if (next == NULL || !spill_mark(zone, stripe, next)) {
            set_slot(b, LAYOUT_SLOTS - 1, 0);
            next = NULL;
        }
    }
}

bool index_mend(struct zone *zone, struct stripe *stripe)
{
    struct index_array a = index_array(zone, stripe);

    spill_clear(zone, stripe);
    for (uint32_t h = 0; h < a.primary; h++)
        mark_chain(zone, stripe, &a, index_bucket(&a, h));
    return block_mend(zone, stripe, index_has_block);
}

void index_shrink_locked(struct zone *zone, struct stripe *stripe)
{
    uint64_t entries = atomic_load_explicit(&stripe->entries, memory_order_relaxed);

    lock_assert(zone, stripe);
    for (unsigned n = 0; n < MERGES; n++) {
        struct index_array a = index_array(zone, stripe);

        if (entries >= (uint64_t)a.primary * SPARSE || !grow_merge_locked(zone, stripe))
            break;
    }
    set_intent(stripe, index_line(zone, stripe), 0, 0);
    for (unsigned n = 0; n < MERGES && grow_trim_locked(zone, stripe); n++)
        continue;
    for (unsigned n = 0; n < MERGES && spill_shrink_locked(zone, stripe); n++)
        continue;
    clear_intent(stripe);
}

static uint32_t reverse(uint32_t x)
{
    x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
    x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
    x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(x);
}

uint32_t index_cursor_head(const struct index_array *a, uint64_t cursor)
{
    return index_number(a, reverse((uint32_t)cursor));
}

uint64_t index_cursor_next(const struct index_array *a, uint64_t cursor)
{
    uint32_t n = index_cursor_head(a, cursor);
    unsigned bits = 31 - (unsigned)__builtin_clz(a->primary);
    uint64_t width;

    /* One bit more for what is split already, and what was split off. */
    if (n >> bits != 0 || n + (UINT32_C(1) << bits) < a->primary)
        bits++;
    width = INDEX_CURSOR_END >> bits;
    return (cursor & ~(width - 1)) + width;
}

bool index_cursor_before(uint64_t hash, uint64_t cursor)
{
    return reverse(index_bits(hash)) < cursor;
}
