#include "shm/grow.h"

#include "shm/block.h"
#include "shm/lock.h"
#include "shm/spill.h"

#define SLOTS_MAX (INDEX_CHAIN_MAX * LAYOUT_SLOTS)

/* Slots of a chain whose entries belong into another. */
struct movers {
    _Atomic uint64_t *slot[SLOTS_MAX];
    unsigned n;
};

static void set_word(_Atomic uint64_t *slot, uint64_t word)
{
    atomic_store_explicit(slot, word, memory_order_release);
}

/* The bucket that number n > 0 is split off from. */
static uint32_t parent(uint32_t n)
{
    return n & ~(UINT32_C(1) << (31 - __builtin_clz(n)));
}

static void publish_heads(struct zone *zone, struct stripe *stripe, uint32_t heads, bool shrink)
{
    uint64_t old = atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed);
    uint64_t changes = (old + INDEX_CHANGE) & INDEX_CHANGES_MASK;
    uint64_t shrinks = (uint64_t)index_shrinks(old) + shrink;

    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(layout_table(zone, stripe),
                          index_table(heads) | changes | shrinks << INDEX_SHRINKS_SHIFT,
                          memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

/* --- chains ----------------------------------------------------------------------------------- */

static struct bucket *last_of(const struct index_array *a, struct bucket *head,
                              struct bucket **before)
{
    struct bucket *tail = head;
    struct bucket *next;

    *before = NULL;
    while ((next = index_next(a, tail)) != NULL) {
        *before = tail;
        tail = next;
    }
    return tail;
}

/* The bucket holds word before the chain leads to it: the last slot of the chain moves into it
 * first, then one store turns that slot into the link. */
void grow_extend(struct zone *zone, const struct index_array *a, struct bucket *head,
                 struct bucket *fresh, uint64_t word)
{
    struct bucket *before;
    struct bucket *tail = last_of(a, head, &before);
    uint64_t at = (uint64_t)((char *)fresh - zone->base);

    set_word(&fresh->slot[0], index_load(tail, LAYOUT_SLOTS - 1));
    set_word(&fresh->slot[1], word);
    for (unsigned i = 2; i < LAYOUT_SLOTS; i++)
        set_word(&fresh->slot[i], 0);
    atomic_signal_fence(memory_order_seq_cst);
    set_word(&tail->slot[LAYOUT_SLOTS - 1], SLOT_LINK | at >> 3);
}

static _Atomic uint64_t *first_hole(const struct index_array *a, struct bucket *head,
                                    const struct bucket *end)
{
    for (struct bucket *b = head; b != NULL && b != end; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            if (index_load(b, i) == 0)
                return &b->slot[i];
        }
    }
    return NULL;
}

/* How many entries a chain's last bucket has, and the last of them. */
static unsigned count_slots(struct bucket *bucket, _Atomic uint64_t **last)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
        if (index_load(bucket, i) == 0)
            continue;
        *last = &bucket->slot[i];
        n++;
    }
    return n;
}

/* One step: an entry of the last bucket into a hole, or the last bucket out of the chain, its only
 * entry in place of the link. */
static bool pack_once(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                      struct bucket *head)
{
    struct bucket *before;
    struct bucket *tail = last_of(a, head, &before);
    _Atomic uint64_t *last = NULL;
    _Atomic uint64_t *hole;
    unsigned n;

    if (before == NULL)
        return false;
    n = count_slots(tail, &last);
    if (n <= 1) {
        set_word(&before->slot[LAYOUT_SLOTS - 1], n == 0 ? 0 : atomic_load(last));
        atomic_signal_fence(memory_order_seq_cst);
        spill_give_locked(zone, stripe, tail);
        return true;
    }
    hole = first_hole(a, head, tail);
    if (hole == NULL)
        return false;
    set_word(hole, atomic_load(last));
    atomic_signal_fence(memory_order_seq_cst);
    set_word(last, 0);
    return true;
}

void grow_pack_locked(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                      struct bucket *head)
{
    while (pack_once(zone, stripe, a, head))
        continue;
}

/* --- splitting -------------------------------------------------------------------------------- */

bool grow_due(const struct zone *zone, const struct stripe *stripe)
{
    uint32_t heads =
        (uint32_t)(atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) &
                   INDEX_HEADS_MASK);
    uint32_t overflows = atomic_load_explicit(&stripe->overflows, memory_order_relaxed);

    /* About 6.7 entries a head: 13 bytes an entry, and one hit in six reads a second bucket. */
    return (uint64_t)overflows * 8 >= (uint64_t)heads * 3;
}

/* The block of head n: there, or taken now. */
static bool have_head(struct zone *zone, struct stripe *stripe, uint32_t n)
{
    uint32_t i = n >> zone->g.block_shift;
    _Atomic uint32_t *at;
    uint32_t line;

    if (i >= zone->g.head_blocks)
        return false;
    at = index_block(zone, stripe, i);
    if (atomic_load_explicit(at, memory_order_relaxed) != 0)
        return true;
    line = block_take(zone, stripe);
    if (line == 0)
        return false;
    atomic_store_explicit(at, line, memory_order_release);
    return true;
}

/* The slots of a chain whose keys belong to head n of the grown array. */
static void gather(const struct zone *zone, const struct index_array *grown, struct bucket *head,
                   uint32_t n, struct movers *m)
{
    for (struct bucket *b = head; b != NULL; b = index_next(grown, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++)
            __builtin_prefetch(layout_at(zone, index_offset(index_load(b, i))));
    }
    m->n = 0;
    for (struct bucket *b = head; b != NULL; b = index_next(grown, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS && m->n < SLOTS_MAX; i++) {
            uint64_t word = index_load(b, i);
            struct entry_view view;
            uint64_t hash;

            if (word == 0 || (word & SLOT_LINK) || !entry_view(zone, index_offset(word), &view))
                continue;
            hash = entry_hash(zone, entry_key(zone, &view), view.key_len);
            if (index_number(grown, index_bits(hash)) == n)
                m->slot[m->n++] = &b->slot[i];
        }
    }
}

/* Leave a chain that nobody reads. */
static void abandon(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                    struct bucket *head)
{
    for (struct bucket *b = index_next(a, head); b != NULL; b = index_next(a, b))
        spill_give_locked(zone, stripe, b);
}

/* Fill the chain of a head that nobody reads yet. */
static bool build(struct zone *zone, struct stripe *stripe, const struct index_array *grown,
                  struct bucket *head, const struct movers *m)
{
    for (unsigned i = 0; i < LAYOUT_SLOTS; i++)
        atomic_store_explicit(&head->slot[i], 0, memory_order_relaxed);
    for (unsigned i = 0; i < m->n; i++) {
        uint64_t word = atomic_load_explicit(m->slot[i], memory_order_relaxed);
        _Atomic uint64_t *hole = first_hole(grown, head, NULL);
        struct bucket *fresh;

        if (hole != NULL) {
            set_word(hole, word);
            continue;
        }
        fresh = spill_take_locked(zone, stripe);
        if (fresh == NULL) {
            abandon(zone, stripe, grown, head);
            return false;
        }
        grow_extend(zone, grown, head, fresh, word);
    }
    return true;
}

bool grow_split_locked(struct zone *zone, struct stripe *stripe)
{
    struct index_array a = index_array(zone, stripe);
    struct index_array grown = a;
    uint32_t n = a.primary;
    struct bucket *from = index_bucket(&a, parent(n));
    struct bucket *to;
    struct movers m;

    index_intend_locked(zone, stripe, from);
    if (!have_head(zone, stripe, n))
        return false;
    grown.primary = n + 1;
    to = index_bucket(&grown, n);
    gather(zone, &grown, from, n, &m);
    if (!build(zone, stripe, &grown, to, &m))
        return false;
    /* Even, and not what it was when it was a head before. */
    atomic_store_explicit(&to->version, (atomic_load(&to->version) | 1) + 1, memory_order_relaxed);
    index_begin_locked(zone, stripe, from, 0, 0);
    publish_heads(zone, stripe, n + 1, false);
    for (unsigned i = 0; i < m.n; i++)
        set_word(m.slot[i], 0);
    grow_pack_locked(zone, stripe, &grown, from);
    index_end_locked(zone, stripe, from);
    return true;
}

/* --- merging ---------------------------------------------------------------------------------- */

static unsigned count_chain(const struct index_array *a, struct bucket *head)
{
    _Atomic uint64_t *last;
    unsigned n = 0;

    for (struct bucket *b = head; b != NULL; b = index_next(a, b))
        n += count_slots(b, &last) - (index_next(a, b) != NULL);
    return n;
}

/* The head is odd. fresh: what the chain becomes longer with when it is full, or NULL. */
static void append_chain(struct zone *zone, const struct index_array *a, struct bucket *to,
                         struct bucket *from, struct bucket *fresh)
{
    for (struct bucket *b = from; b != NULL; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t word = index_load(b, i);
            _Atomic uint64_t *hole;

            if (word == 0 || (word & SLOT_LINK))
                continue;
            hole = first_hole(a, to, NULL);
            if (hole != NULL)
                set_word(hole, word);
            else
                grow_extend(zone, a, to, fresh, word);
        }
    }
}

bool grow_merge_locked(struct zone *zone, struct stripe *stripe)
{
    struct index_array a = index_array(zone, stripe);
    uint32_t n = a.primary - 1;
    struct bucket *to, *from;
    struct bucket *fresh = NULL;
    unsigned entries;

    lock_assert(zone, stripe);
    if (a.primary <= UINT32_C(1) << zone->g.block_shift)
        return false; /* its first block stays */
    from = index_bucket(&a, n);
    to = index_bucket(&a, parent(n));
    entries = count_chain(&a, from) + count_chain(&a, to);
    if (entries > 2 * LAYOUT_SLOTS - 1)
        return false;
    index_intend_locked(zone, stripe, to);
    if (entries > LAYOUT_SLOTS && index_next(&a, to) == NULL) {
        fresh = spill_take_locked(zone, stripe);
        if (fresh == NULL) {
            index_relent_locked(zone, stripe);
            return false;
        }
    }
    index_begin_locked(zone, stripe, to, 0, 0);
    append_chain(zone, &a, to, from, fresh);
    /* Odd from now on; whoever has seen an entry there looks again. */
    atomic_store_explicit(&from->version, atomic_load(&from->version) | 1, memory_order_relaxed);
    publish_heads(zone, stripe, n, false);
    abandon(zone, stripe, &a, from);
    index_end_locked(zone, stripe, to);
    return true;
}

bool grow_trim_locked(struct zone *zone, struct stripe *stripe)
{
    struct index_array a = index_array(zone, stripe);
    uint32_t i = ((a.primary - 1) >> zone->g.block_shift) + 1;
    _Atomic uint32_t *at;
    uint32_t line;

    lock_assert(zone, stripe);
    while (i + 1 < zone->g.head_blocks && atomic_load(index_block(zone, stripe, i + 1)) != 0)
        i++; /* the last one first, so that there is never a gap */
    if (i >= zone->g.head_blocks)
        return false;
    at = index_block(zone, stripe, i);
    if (atomic_load(at) == 0)
        return false;
    line = atomic_load(at);
    /* The memory will be something else: nobody may take its words for versions any more. */
    publish_heads(zone, stripe, a.primary, true);
    atomic_store_explicit(at, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (block_give(zone, line))
        return true;
    atomic_store_explicit(at, line, memory_order_release);
    return false;
}
