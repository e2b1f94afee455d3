#include "shm/lock.h"

#include "common/clock.h"
#include "shm/gate.h"

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPINS 200

/* Not FUTEX_PRIVATE: the waiters are other processes. */
static void futex_wait_ms(_Atomic uint32_t *word, uint32_t seen, uint64_t ms)
{
    struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)(ms * 1000000u)};

    syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

static bool take_free(struct stripe *stripe, uint32_t value)
{
    uint32_t free = 0;

    return atomic_compare_exchange_strong_explicit(&stripe->lock, &free, value,
                                                   memory_order_acquire, memory_order_relaxed);
}

static void set_free(struct stripe *stripe)
{
    if (atomic_exchange_explicit(&stripe->lock, 0, memory_order_release) & LOCK_WAITERS)
        futex_wake(&stripe->lock, 1);
}

/* Take a free lock, unless another process has closed the gate: it may have waited for this stripe
 * already (gate_settle()), so the look comes after the lock. */
static bool enter(struct zone *zone, struct stripe *stripe, uint32_t value)
{
    if (!take_free(stripe, value))
        return false;
    if (!lock_barred(zone))
        return true;
    set_free(stripe);
    return false;
}

bool lock_try(struct zone *zone, struct stripe *stripe)
{
    assert(zone->owner != 0);
    return enter(zone, stripe, zone->owner);
}

static bool spin(struct zone *zone, struct stripe *stripe)
{
    for (unsigned i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&stripe->lock, memory_order_relaxed) == 0 &&
            lock_try(zone, stripe))
            return true;
        lock_pause();
    }
    return false;
}

/* Sleep until the word changes or a millisecond has passed. One who has slept takes the lock with
 * the waiters' bit set, because others may sleep still. */
static bool sleep_once(struct zone *zone, struct stripe *stripe)
{
    uint32_t word = atomic_load_explicit(&stripe->lock, memory_order_relaxed);

    if (word == 0)
        return enter(zone, stripe, zone->owner | LOCK_WAITERS);
    if ((word & LOCK_WAITERS) == 0 &&
        !atomic_compare_exchange_strong(&stripe->lock, &word, word | LOCK_WAITERS))
        return false;
    futex_wait_ms(&stripe->lock, word | LOCK_WAITERS, 1);
    return enter(zone, stripe, zone->owner | LOCK_WAITERS);
}

static bool take_slow(struct zone *zone, struct stripe *stripe)
{
    uint64_t end;

    if (spin(zone, stripe))
        return true;
    stat_add(zone, STAT_LOCK_WAITS, 1);
    end = clock_now_ns() + LOCK_WAIT_MS * UINT64_C(1000000);
    do {
        if (lock_barred(zone) && !gate_wait(zone))
            return false;
        if (sleep_once(zone, stripe))
            return true;
    } while (clock_now_ns() < end);
    return false;
}

bool lock_take(struct zone *zone, struct stripe *stripe)
{
    return lock_try(zone, stripe) || take_slow(zone, stripe);
}

void lock_ring(struct zone *zone)
{
    uint64_t slots = zone->rings;

    zone->rings = 0;
    if (slots != 0 && zone->ring != NULL)
        zone->ring(zone->ring_arg, slots);
}

void lock_drop(struct zone *zone, struct stripe *stripe)
{
    lock_assert(zone, stripe);
    set_free(stripe);
    if (zone->rings != 0)
        lock_ring(zone);
}

void lock_break(struct stripe *stripe)
{
    atomic_store_explicit(&stripe->lock, 0, memory_order_release);
    futex_wake(&stripe->lock, INT32_MAX);
}

void lock_wake(struct stripe *stripe)
{
    if (atomic_load_explicit(&stripe->lock, memory_order_relaxed) & LOCK_WAITERS)
        futex_wake(&stripe->lock, INT32_MAX);
}
