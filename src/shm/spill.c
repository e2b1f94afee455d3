#include "shm/spill.h"

#include "shm/block.h"
#include "shm/lock.h"

#define MARK_SHIFT 32

static _Atomic uint64_t *dir_of(const struct zone *zone, const struct stripe *stripe)
{
    return (_Atomic uint64_t *)layout_at(zone, zone->g.spill_dir) +
           (uint64_t)(stripe - zone->stripes) * zone->g.spill_blocks;
}

static uint32_t line_of(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t marks_of(uint64_t word)
{
    return (uint32_t)(word >> MARK_SHIFT);
}

static uint32_t all_marks(const struct zone *zone)
{
    return UINT32_MAX >> (32 - (1u << zone->g.block_shift));
}

static void add(struct stripe *stripe, uint32_t n)
{
    atomic_store_explicit(&stripe->overflows,
                          atomic_load_explicit(&stripe->overflows, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static struct bucket *mark_free_one(struct zone *zone, struct stripe *stripe, uint32_t i)
{
    _Atomic uint64_t *at = &dir_of(zone, stripe)[i];
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    uint32_t bit = (uint32_t)__builtin_ctz(~marks_of(word));
    struct bucket *b =
        (struct bucket *)layout_at(zone, (uint64_t)line_of(word) * LAYOUT_LINE) + bit;

    atomic_store_explicit(at, word | UINT64_C(1) << (MARK_SHIFT + bit), memory_order_relaxed);
    atomic_store_explicit(&b->number, (i << zone->g.block_shift) + bit, memory_order_relaxed);
    atomic_store_explicit(&stripe->overflow_hint, i, memory_order_relaxed);
    add(stripe, 1);
    return b;
}

/* The lowest free ones first, so that the last blocks become free. */
struct bucket *spill_take_locked(struct zone *zone, struct stripe *stripe)
{
    _Atomic uint64_t *dir = dir_of(zone, stripe);
    uint32_t absent = LAYOUT_NONE;
    uint32_t line;

    lock_assert(zone, stripe);
    for (uint32_t i = atomic_load_explicit(&stripe->overflow_hint, memory_order_relaxed);
         i < zone->g.spill_blocks; i++) {
        uint64_t word = atomic_load_explicit(&dir[i], memory_order_relaxed);

        if (word == 0)
            absent = absent == LAYOUT_NONE ? i : absent;
        else if (marks_of(word) != all_marks(zone))
            return mark_free_one(zone, stripe, i);
    }
    if (absent == LAYOUT_NONE)
        return NULL;
    line = block_take(zone, stripe);
    if (line == 0)
        return NULL;
    atomic_store_explicit(&dir[absent], line, memory_order_relaxed);
    return mark_free_one(zone, stripe, absent);
}

/* The directory's place for a bucket and its mark in it; NULL: it is none of this stripe's. */
static _Atomic uint64_t *place_of(const struct zone *zone, const struct stripe *stripe,
                                  const struct bucket *bucket, uint64_t *mark)
{
    uint32_t number = atomic_load_explicit(&bucket->number, memory_order_relaxed);
    uint32_t i = number >> zone->g.block_shift;
    uint32_t bit = number & ((1u << zone->g.block_shift) - 1);
    uint64_t line = (uint64_t)((const char *)bucket - zone->base) / LAYOUT_LINE;
    _Atomic uint64_t *at = dir_of(zone, stripe) + i;

    if (i >= zone->g.spill_blocks)
        return NULL;
    if (line_of(atomic_load_explicit(at, memory_order_relaxed)) + (uint64_t)bit != line)
        return NULL;
    *mark = UINT64_C(1) << (MARK_SHIFT + bit);
    return at;
}

void spill_give_locked(struct zone *zone, struct stripe *stripe, const struct bucket *bucket)
{
    uint64_t mark;
    _Atomic uint64_t *at = place_of(zone, stripe, bucket, &mark);
    uint32_t i;

    lock_assert(zone, stripe);
    if (at == NULL)
        return; /* its memory was damaged; repair has cut it off */
    i = (uint32_t)(at - dir_of(zone, stripe));
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) & ~mark,
                          memory_order_relaxed);
    if (i < atomic_load_explicit(&stripe->overflow_hint, memory_order_relaxed))
        atomic_store_explicit(&stripe->overflow_hint, i, memory_order_relaxed);
    add(stripe, UINT32_MAX);
}

bool spill_shrink_locked(struct zone *zone, struct stripe *stripe)
{
    _Atomic uint64_t *dir = dir_of(zone, stripe);

    lock_assert(zone, stripe);
    for (uint32_t i = zone->g.spill_blocks; i-- > 0;) {
        uint64_t word = atomic_load_explicit(&dir[i], memory_order_relaxed);

        if (word == 0)
            continue;
        if (marks_of(word) != 0)
            return false;
        /* No chain leads into it: readers on their way out of it check the version of their head.
         */
        atomic_store_explicit(&dir[i], 0, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        if (block_give(zone, line_of(word)))
            return true;
        atomic_store_explicit(&dir[i], word, memory_order_relaxed);
        return false;
    }
    return false;
}

void spill_clear(struct zone *zone, struct stripe *stripe)
{
    _Atomic uint64_t *dir = dir_of(zone, stripe);

    for (uint32_t i = 0; i < zone->g.spill_blocks; i++)
        atomic_store_explicit(&dir[i], line_of(atomic_load(&dir[i])), memory_order_relaxed);
    atomic_store_explicit(&stripe->overflow_hint, 0, memory_order_relaxed);
    atomic_store_explicit(&stripe->overflows, 0, memory_order_relaxed);
}

bool spill_mark(struct zone *zone, struct stripe *stripe, const struct bucket *bucket)
{
    uint64_t mark;
    _Atomic uint64_t *at = place_of(zone, stripe, bucket, &mark);

    if (at == NULL || (atomic_load_explicit(at, memory_order_relaxed) & mark) != 0)
        return false;
    atomic_fetch_or_explicit(at, mark, memory_order_relaxed);
    add(stripe, 1);
    return true;
}

bool spill_marked(const struct zone *zone, const struct stripe *stripe, const struct bucket *bucket)
{
    uint64_t mark;
    _Atomic uint64_t *at = place_of(zone, stripe, bucket, &mark);

    return at != NULL && (atomic_load_explicit(at, memory_order_relaxed) & mark) != 0;
}

uint32_t spill_count(const struct zone *zone, const struct stripe *stripe)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < zone->g.spill_blocks; i++)
        n += (uint32_t)__builtin_popcount(
            marks_of(atomic_load_explicit(&dir_of(zone, stripe)[i], memory_order_relaxed)));
    return n;
}

uint32_t spill_block(const struct zone *zone, const struct stripe *stripe, uint32_t i)
{
    return line_of(atomic_load_explicit(&dir_of(zone, stripe)[i], memory_order_relaxed));
}
