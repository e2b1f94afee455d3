#include "shm/sweep.h"

#include "common/clock.h"
#include "shm/block.h"
#include "shm/evict.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/stub.h"
#include "shm/valid.h"
#include "shm/victim.h"

#define HEADERS_A_TICK 4096 /* slab headers looked at */
#define IDLE_STRIPES   4    /* walked a tick when no ban asks for more: the whole table in 26 s */
#define STUB_TICKS     16   /* ticks for the whole stub pool */
#define CHAINS_A_LOCK  16

struct tick {
    struct evict_budget budget;
    uint64_t now_ms;
};

static bool spent(const struct tick *tick)
{
    return tick->budget.unlinks == 0 || clock_now_ns() >= tick->budget.end_ns;
}

static bool go_on(struct zone *zone, struct tick *tick)
{
    return evict_run(zone, &zone->pending, tick->now_ms, &tick->budget, false) != EVICT_MORE;
}

/* Slabs in which nothing can be valid any more. */
static void drop_dead(struct zone *zone, struct tick *tick)
{
    uint32_t n = zone->g.n_slabs < HEADERS_A_TICK ? zone->g.n_slabs : HEADERS_A_TICK;

    for (; n > 0 && !spent(tick); n--) {
        uint32_t slab = zone->sweep_slab++;
        uint64_t word;
        bool whole;

        if (slab >= zone->g.n_slabs) {
            zone->sweep_slab = 0;
            continue;
        }
        word = slab_load(zone, slab);
        whole =
            slab_state(word) == SLAB_SEALED ||
            (slab_state(word) == SLAB_LARGE &&
             (atomic_load_explicit(&zone->slabs[slab].flags, memory_order_relaxed) & SLAB_HEAD));
        if (!whole || !slab_dead(zone, slab, tick->now_ms) ||
            !evict_claim(zone, slab, EVICT_DEAD, &zone->pending))
            continue;
        if (!go_on(zone, tick))
            return;
    }
}

static uint32_t reserve(const struct zone *zone)
{
    uint32_t n = zone->g.n_slabs / 50;

    return n < SLAB_KEPT + 1 ? SLAB_KEPT + 1 : n;
}

static void keep_reserve(struct zone *zone, struct tick *tick)
{
    unsigned tries = 2 * LAYOUT_VICTIMS;

    while (tries-- > 0 && !spent(tick) && slab_count_free(zone) < reserve(zone)) {
        enum evict_mode mode;
        uint32_t slab = victim_choose(zone, tick->now_ms, &mode);

        if (slab == LAYOUT_NONE)
            return;
        if (evict_claim(zone, slab, mode, &zone->pending) && !go_on(zone, tick))
            return;
    }
}

/* Remove the first invalid entry of a chain. A large value's slabs are freed by the caller, after
 * the lock. false: there is none. */
static bool clean_once_locked(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                              struct bucket *head, struct tick *tick, uint32_t *large)
{
    struct index_spot spot = {.head = head};

    for (struct bucket *b = head; b != NULL; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            struct entry_view view;

            spot.bucket = b;
            spot.slot = i;
            spot.word = index_load(b, i);
            if (spot.word == 0 || (spot.word & SLOT_LINK) ||
                !entry_view(zone, index_offset(spot.word), &view) ||
                valid_entry(zone, &view, slice_make(entry_key(zone, &view), view.key_len),
                            tick->now_ms) <= VALID_STALE)
                continue;
            tick->budget.unlinks--;
            *large = evict_entry_locked(zone, stripe, &spot, &view, tick->now_ms);
            return true;
        }
    }
    return false;
}

/* Some chains of the stripe that the walk stands in, under one lock; it stops in a chain when the
 * budget is spent, or to free a large value. */
static void clean_chains_locked(struct zone *zone, struct stripe *stripe, struct tick *tick,
                                uint32_t *large)
{
    struct index_array a = index_array(zone, stripe);
    uint64_t *cursor = &zone->walk.cursor;

    for (unsigned n = 0; n < CHAINS_A_LOCK && *cursor < INDEX_CURSOR_END; n++) {
        struct bucket *head = index_bucket(&a, index_cursor_head(&a, *cursor));

        do {
            if (tick->budget.unlinks == 0 || *large != LAYOUT_NONE)
                return;
        } while (clean_once_locked(zone, stripe, &a, head, tick, large));
        *cursor = index_cursor_next(&a, *cursor);
    }
}

/* false: locked by another. */
static bool walk_step(struct zone *zone, struct tick *tick)
{
    struct sweep_walk *walk = &zone->walk;
    struct stripe *stripe = &zone->stripes[walk->stripe];
    uint32_t large = LAYOUT_NONE;

    if (!lock_try(zone, stripe))
        return false;
    index_refresh_locked(zone, stripe);
    clean_chains_locked(zone, stripe, tick, &large);
    if (walk->cursor == INDEX_CURSOR_END) {
        index_shrink_locked(zone, stripe);
        walk->cursor = 0;
        walk->stripe++;
    }
    lock_drop(zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(zone, large);
    return true;
}

/* Walk over every entry, removing what is invalid. The bans that were recorded before it began are
 * retired when it ends: stores look at the bans under the stripe's lock, so none that a ban
 * hits can slip in behind the walk. */
static void walk_table(struct zone *zone, struct tick *tick)
{
    struct sweep_walk *walk = &zone->walk;
    bool bans = ban_active(zone) > 0;
    uint32_t last;

    if (!walk->running) {
        ban_snapshot(zone, walk->bans);
        walk->stripe = 0;
        walk->cursor = 0;
        walk->running = true;
    }
    last = bans ? LAYOUT_STRIPES : walk->stripe + IDLE_STRIPES;
    if (last > LAYOUT_STRIPES)
        last = LAYOUT_STRIPES;
    while (walk->stripe < last && !spent(tick)) {
        if (!walk_step(zone, tick))
            return;
    }
    if (walk->stripe == LAYOUT_STRIPES) {
        block_tidy(zone);
        ban_retire(zone, walk->bans);
        walk->running = false;
    }
}

unsigned sweep_tick(struct zone *zone, uint64_t now_ms, struct sweep_budget budget)
{
    struct tick tick = {
        .budget = {.unlinks = budget.unlinks, .end_ns = clock_now_ns() + budget.ns},
        .now_ms = now_ms,
    };
    uint32_t stubs = zone->g.n_stubs / STUB_TICKS;

    if (zone->pending.slab == LAYOUT_NONE || go_on(zone, &tick)) {
        drop_dead(zone, &tick);
        if (zone->pending.slab == LAYOUT_NONE)
            keep_reserve(zone, &tick);
        walk_table(zone, &tick);
    }
    stub_sweep(zone, zone->sweep_stub, stubs, now_ms);
    zone->sweep_stub = (zone->sweep_stub + stubs) & (zone->g.n_stubs - 1);
    return budget.unlinks - tick.budget.unlinks;
}
