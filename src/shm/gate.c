#include "shm/gate.h"

#include "common/clock.h"
#include "shm/lock.h"
#include "shm/table.h"

#include <time.h>

#define SPINS  200
#define NAP_NS 50000 /* holders need microseconds; a nap is for one that was put off its core */

bool gate_look(const struct zone *zone, uint32_t *turn)
{
    *turn = atomic_load_explicit(&zone->events->gate_turn, memory_order_acquire);
    return !lock_barred(zone);
}

/* The copy of an entry ends with a fence, so these loads are not made before it. */
bool gate_same(const struct zone *zone, uint32_t turn)
{
    return !lock_barred(zone) &&
           atomic_load_explicit(&zone->events->gate_turn, memory_order_acquire) == turn;
}

static void nap(void)
{
    struct timespec ts = {.tv_nsec = NAP_NS};

    nanosleep(&ts, NULL);
}

bool gate_wait(const struct zone *zone)
{
    uint64_t end;

    for (unsigned i = 0; i < SPINS; i++) {
        if (!lock_barred(zone))
            return true;
        lock_pause();
    }
    end = clock_now_ns() + GATE_WAIT_MS * UINT64_C(1000000);
    while (lock_barred(zone)) {
        if (clock_now_ns() >= end)
            return false;
        nap();
    }
    return true;
}

bool gate_take(struct zone *zone)
{
    uint64_t end = clock_now_ns() + GATE_WAIT_MS * UINT64_C(1000000);
    uint32_t open = 0;

    assert(zone->owner != 0);
    while (!atomic_compare_exchange_strong_explicit(&zone->events->gate, &open, zone->owner,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
        assert(open != zone->owner);
        if (!gate_wait(zone) || clock_now_ns() >= end)
            return false;
        open = 0;
    }
    return true;
}

bool gate_settle(struct zone *zone, unsigned stripe)
{
    struct stripe *s = &zone->stripes[stripe];

    if (!lock_take(zone, s))
        return false;
    lock_drop(zone, s);
    return true;
}

unsigned gate_stripe(const struct zone *zone, struct slice key)
{
    return layout_stripe_of(table_key(zone, key).hash);
}

/* A new turn before the gate opens: who sees it open sees the turn. */
static void open_gate(struct zone *zone)
{
    uint32_t turn = atomic_load_explicit(&zone->events->gate_turn, memory_order_relaxed);

    atomic_store_explicit(&zone->events->gate_turn, turn + 1, memory_order_release);
    atomic_store_explicit(&zone->events->gate, 0, memory_order_release);
}

void gate_drop(struct zone *zone)
{
    assert(atomic_load_explicit(&zone->events->gate, memory_order_relaxed) == zone->owner);
    open_gate(zone);
}

uint32_t gate_holder(const struct zone *zone)
{
    return atomic_load_explicit(&zone->events->gate, memory_order_acquire);
}

void gate_break(struct zone *zone, uint32_t owner)
{
    if (owner != 0 && gate_holder(zone) == owner)
        open_gate(zone);
}
