#include "shm/block.h"

#include "common/clock.h"
#include "shm/evict.h"
#include "shm/lock.h"

#include <sched.h>
#include <string.h>

#define TRIES      16   /* slabs reclaimed for one that others do not take first */
#define LOW_BLOCKS 16   /* fewer free ones: another slab is wanted */
#define LOCK_SPINS 500 /* what is done under the lock takes less, unless its holder is not running: */
#define LOCK_NS    2000000 /* then so long; without a block an entry would have to go */

static struct block_pool *pool_of(const struct zone *zone)
{
    return &zone->sb->blocks;
}

static bool lock(struct zone *zone)
{
    uint64_t end_ns = 0;

    for (unsigned i = 0;; i++) {
        uint32_t free = 0;

        if (atomic_compare_exchange_strong_explicit(&pool_of(zone)->lock, &free, zone->owner,
                                                    memory_order_acquire, memory_order_relaxed))
            return true;
        if (i < LOCK_SPINS) {
            lock_pause();
            continue;
        }
        if (end_ns == 0)
            end_ns = clock_now_ns() + LOCK_NS;
        if (clock_now_ns() >= end_ns)
            return false;
        sched_yield();
    }
}

static void unlock(struct zone *zone)
{
    atomic_store_explicit(&pool_of(zone)->lock, 0, memory_order_release);
}

/* Counters of the pool: changed under its lock only. */
static void add(_Atomic uint32_t *count, uint32_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static uint32_t block_bytes(const struct zone *zone)
{
    return LAYOUT_LINE << zone->g.block_shift;
}

uint32_t block_count(const struct zone *zone)
{
    /* One line less, because the map is rounded up to lines. */
    return (slab_bytes(zone) - LAYOUT_LINE) / (block_bytes(zone) + (uint32_t)sizeof(uint32_t));
}

static uint32_t map_bytes(const struct zone *zone)
{
    uint32_t bytes = block_count(zone) * (uint32_t)sizeof(uint32_t);

    return (bytes + LAYOUT_LINE - 1) / LAYOUT_LINE * LAYOUT_LINE;
}

static _Atomic uint32_t *map_of(const struct zone *zone, uint32_t slab)
{
    return layout_at(zone, slab_offset(zone, slab));
}

static bool is_index(const struct zone *zone, uint32_t slab)
{
    return slab_state(slab_load(zone, slab)) == SLAB_INDEX;
}

static uint32_t stripe_name(const struct zone *zone, const struct stripe *stripe)
{
    return (uint32_t)(stripe - zone->stripes) + 1;
}

static uint32_t line_of(const struct zone *zone, uint32_t slab, uint32_t block)
{
    uint64_t at = slab_offset(zone, slab) + map_bytes(zone) + (uint64_t)block * block_bytes(zone);

    return (uint32_t)(at / LAYOUT_LINE);
}

/* The slab and the number of the block that begins at a line; false: none does. */
static bool locate(const struct zone *zone, uint32_t line, uint32_t *slab, uint32_t *block)
{
    uint64_t at = (uint64_t)line * LAYOUT_LINE;

    if (at < zone->g.slabs || at >= zone->slabs_end)
        return false;
    *slab = slab_of(zone, at);
    at -= slab_offset(zone, *slab);
    if (at < map_bytes(zone) || !is_index(zone, *slab))
        return false;
    at -= map_bytes(zone);
    *block = (uint32_t)(at / block_bytes(zone));
    return at % block_bytes(zone) == 0 && *block < block_count(zone);
}

/* A free block of one slab, by its map; looked for from where the last one was found. */
static uint32_t take_from(struct zone *zone, uint32_t slab, uint32_t name)
{
    _Atomic uint32_t *map = map_of(zone, slab);
    _Atomic uint32_t *at = &zone->slabs[slab].pos;
    uint32_t n = block_count(zone);
    uint32_t i = atomic_load_explicit(at, memory_order_relaxed);

    for (uint32_t k = 0; k < n; k++, i++) {
        if (i >= n)
            i = 0;
        if (atomic_load_explicit(&map[i], memory_order_relaxed) != 0)
            continue;
        atomic_store_explicit(&map[i], name, memory_order_relaxed);
        add(&zone->slabs[slab].live, 1);
        add(&pool_of(zone)->free, UINT32_MAX);
        atomic_store_explicit(at, i + 1, memory_order_relaxed);
        return line_of(zone, slab, i);
    }
    return 0;
}

static uint32_t take_locked(struct zone *zone, uint32_t name)
{
    struct block_pool *pool = pool_of(zone);
    uint32_t slab = atomic_load_explicit(&pool->hint, memory_order_relaxed);

    if (atomic_load_explicit(&pool->free, memory_order_relaxed) == 0)
        return 0;
    for (uint32_t n = 0; n < zone->g.n_slabs; n++, slab++) {
        if (slab >= zone->g.n_slabs)
            slab = 0;
        if (!is_index(zone, slab) ||
            atomic_load_explicit(&zone->slabs[slab].live, memory_order_relaxed) ==
                block_count(zone))
            continue;
        atomic_store_explicit(&pool->hint, slab, memory_order_relaxed);
        return take_from(zone, slab, name);
    }
    return 0;
}

uint32_t block_take(struct zone *zone, const struct stripe *stripe)
{
    struct block_pool *pool = pool_of(zone);
    uint32_t line;

    if (!lock(zone))
        return 0;
    line = take_locked(zone, stripe_name(zone, stripe));
    if (atomic_load_explicit(&pool->free, memory_order_relaxed) < LOW_BLOCKS)
        atomic_store_explicit(&pool->low, 1, memory_order_relaxed);
    unlock(zone);
    /* Who still reads what lay here must see the table word that it is no longer part of. */
    atomic_thread_fence(memory_order_release);
    return line;
}

void block_expect(struct zone *zone)
{
    struct block_pool *pool = pool_of(zone);

    if (atomic_load_explicit(&pool->free, memory_order_relaxed) == 0)
        atomic_store_explicit(&pool->low, 1, memory_order_relaxed);
}

static void give_locked(struct zone *zone, uint32_t slab, uint32_t block)
{
    atomic_store_explicit(&map_of(zone, slab)[block], 0, memory_order_relaxed);
    add(&zone->slabs[slab].live, UINT32_MAX);
    add(&pool_of(zone)->free, 1);
}

bool block_give(struct zone *zone, uint32_t line)
{
    uint32_t slab, block;

    if (!locate(zone, line, &slab, &block))
        return true; /* the stripe's first, which is always its own */
    if (!lock(zone))
        return false;
    give_locked(zone, slab, block);
    unlock(zone);
    return true;
}

/* Enter a slab of ours, its map empty, into the pool; false: it is not wanted any more. */
static bool enter(struct zone *zone, uint32_t slab)
{
    struct block_pool *pool = pool_of(zone);
    bool wanted;

    if (!lock(zone))
        return false;
    wanted = atomic_load_explicit(&pool->low, memory_order_relaxed) != 0 &&
             atomic_load_explicit(&pool->slabs, memory_order_relaxed) < zone->g.index_slabs &&
             slab_move(zone, slab, slab_load(zone, slab), SLAB_INDEX, 0);
    if (wanted) {
        add(&pool->slabs, 1);
        add(&pool->free, block_count(zone));
        atomic_store_explicit(&pool->hint, slab, memory_order_relaxed);
        atomic_store_explicit(&pool->low, 0, memory_order_relaxed);
    }
    unlock(zone);
    return wanted;
}

/* A slab, but not the last free one, which emptying others needs. */
static uint32_t find_slab(struct zone *zone, uint64_t now_ms)
{
    for (unsigned tries = 0;; tries++) {
        uint32_t slab = LAYOUT_NONE;

        if (slab_count_free(zone) > SLAB_KEPT)
            slab = slab_alloc(zone, SLAB_MAIN); /* no part of the small queue */
        if (slab != LAYOUT_NONE || tries == TRIES || evict_one(zone, now_ms, tries) != EVICT_DONE)
            return slab;
    }
}

void block_feed(struct zone *zone, uint64_t now_ms)
{
    struct block_pool *pool = pool_of(zone);
    uint32_t slab;

    if (atomic_load_explicit(&pool->low, memory_order_relaxed) == 0)
        return;
    if (atomic_load_explicit(&pool->slabs, memory_order_relaxed) >= zone->g.index_slabs) {
        atomic_store_explicit(&pool->low, 0, memory_order_relaxed);
        return;
    }
    slab = find_slab(zone, now_ms);
    if (slab == LAYOUT_NONE)
        return;
    memset(layout_at(zone, slab_offset(zone, slab)), 0, map_bytes(zone));
    if (!enter(zone, slab))
        slab_free(zone, slab);
}

/* An empty slab, now ours; LAYOUT_NONE when there is none or it is better kept. */
static uint32_t leave_locked(struct zone *zone)
{
    struct block_pool *pool = pool_of(zone);
    uint32_t n = block_count(zone);

    if (atomic_load_explicit(&pool->free, memory_order_relaxed) < n + LOW_BLOCKS)
        return LAYOUT_NONE;
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        if (!is_index(zone, i) ||
            atomic_load_explicit(&zone->slabs[i].live, memory_order_relaxed) != 0)
            continue;
        atomic_store_explicit(&zone->slabs[i].pos, 0, memory_order_relaxed);
        if (!slab_move(zone, i, slab_load(zone, i), SLAB_RECLAIM, zone->owner))
            continue;
        add(&pool->slabs, UINT32_MAX);
        add(&pool->free, -n);
        return i;
    }
    return LAYOUT_NONE;
}

void block_tidy(struct zone *zone)
{
    uint32_t slab;

    if (atomic_load_explicit(&pool_of(zone)->free, memory_order_relaxed) < block_count(zone) ||
        !lock(zone))
        return;
    slab = leave_locked(zone);
    unlock(zone);
    if (slab != LAYOUT_NONE)
        slab_free(zone, slab);
}

uint32_t block_used(const struct zone *zone, uint32_t slab)
{
    const _Atomic uint32_t *map = map_of(zone, slab);
    uint32_t used = 0;

    for (uint32_t i = 0; i < block_count(zone); i++)
        used += atomic_load_explicit(&map[i], memory_order_relaxed) != 0;
    return used;
}

uint32_t block_lock_owner(const struct zone *zone)
{
    return atomic_load_explicit(&pool_of(zone)->lock, memory_order_acquire);
}

void block_repair(struct zone *zone, uint32_t dead)
{
    struct block_pool *pool = pool_of(zone);
    uint32_t slabs = 0;
    uint32_t used = 0;

    if (block_lock_owner(zone) != dead)
        return;
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint32_t n;

        if (!is_index(zone, i))
            continue;
        n = block_used(zone, i);
        atomic_store_explicit(&zone->slabs[i].live, n, memory_order_relaxed);
        used += n;
        slabs++;
    }
    atomic_store_explicit(&pool->slabs, slabs, memory_order_relaxed);
    atomic_store_explicit(&pool->free, slabs * block_count(zone) - used, memory_order_relaxed);
    unlock(zone);
}

bool block_mend(struct zone *zone, const struct stripe *stripe,
                bool (*known)(const struct zone *zone, const struct stripe *stripe, uint32_t line))
{
    uint32_t name = stripe_name(zone, stripe);

    if (!lock(zone))
        return false;
    for (uint32_t s = 0; s < zone->g.n_slabs; s++) {
        for (uint32_t i = 0; is_index(zone, s) && i < block_count(zone); i++) {
            if (atomic_load_explicit(&map_of(zone, s)[i], memory_order_relaxed) == name &&
                !known(zone, stripe, line_of(zone, s, i)))
                give_locked(zone, s, i);
        }
    }
    unlock(zone);
    return true;
}

bool block_is_of(const struct zone *zone, const struct stripe *stripe, uint32_t line)
{
    uint32_t slab, block;

    return locate(zone, line, &slab, &block) &&
           atomic_load_explicit(&map_of(zone, slab)[block], memory_order_relaxed) ==
               stripe_name(zone, stripe);
}
