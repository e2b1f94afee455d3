/* The stripe lock: one futex word, the owner's id | a bit for waiters.
 *
 * Nobody gets one while another process holds the zone's gate (gate.h).
 * Order: a process holds at most one stripe's lock, ever; the lock of the index' blocks (block.h) may
 * be taken under it and is only tried; nothing else is a lock. The slab states
 * and stub claims are single CAS words and may be changed under it.
 * Never under it: system calls (but the futex), memory allocation, logging, callbacks, freeing of
 * slabs, copying of values into the zone (but small ones that are overwritten in place, and one that
 * changed while it was being moved). Waiting is bounded (LOCK_WAIT_MS) and every sleep is
 * timed: an owner may die between storing 0 and waking, so a wake-up is never relied on.
 *
 * Recovery: a dead owner's id stays in the word, so nobody else gets in until repair.c has looked.
 * The intent word (the line of a head) is set after acquiring, before the first change, and cleared
 * before the release; if it is set then
 *   - that head's version may be odd: its slots are whole at every instruction (each change is one
 *     store), so it is made even; when intent_old is intent_new, that slot's
 *     entry was being overwritten in place: it is dropped;
 *   - an overflow bucket may be marked used but not linked, a block taken but in no directory: they
 *     are freed;
 *   - entries may be in a chain that the table word does not send them to, or twice in one, while
 *     a bucket is split, merged or packed: those are dropped, the others stay;
 *   - the stripe's counts may be off: they are counted again;
 *   - the counts of the slabs of intent_old and intent_new may be off by one entry: those slabs are
 *     marked SLAB_INEXACT until they are reclaimed;
 *   - a large value's first slab may be marked for reclaim or still open: repair.c compares it with
 * the table;
 *   - a stub may be unlinked but not free, or claimed and not linked: it is freed.
 */
#ifndef SHM_LOCK_H
#define SHM_LOCK_H

#include "shm/layout.h"

#define LOCK_WAIT_MS 5
#define LOCK_WAITERS UINT32_C(0x80000000)
#define LOCK_ID_MASK UINT32_C(0x0000ffff)

/* One attempt, no waiting. */
bool lock_try(struct zone *zone, struct stripe *stripe) MUST_CHECK;

/* Wait for LOCK_WAIT_MS at most; false = still locked. */
bool lock_take(struct zone *zone, struct stripe *stripe) MUST_CHECK;

/* Release, and wake a waiter. Then ring the workers that wait for a stub which ended under it. */
void lock_drop(struct zone *zone, struct stripe *stripe);

/* Ring now what is to be rung; no lock is held. */
void lock_ring(struct zone *zone);

/* Release what a dead owner held, and wake everybody. */
void lock_break(struct stripe *stripe);

/* Wake whoever sleeps on it, to look again. */
void lock_wake(struct stripe *stripe);

static inline uint32_t lock_owner(const struct stripe *stripe)
{
    return atomic_load_explicit(&stripe->lock, memory_order_acquire) & LOCK_ID_MASK;
}

/* Whether another process holds the gate (gate.h). */
static inline bool lock_barred(const struct zone *zone)
{
    uint32_t holder = atomic_load_explicit(&zone->events->gate, memory_order_acquire);

    return holder != 0 && holder != zone->owner;
}

/* What every function named _locked begins with. */
static inline void lock_assert(const struct zone *zone, const struct stripe *stripe)
{
    assert((atomic_load_explicit(&stripe->lock, memory_order_relaxed) & LOCK_ID_MASK) ==
           zone->owner);
    (void)zone;
    (void)stripe;
}

static inline void lock_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
