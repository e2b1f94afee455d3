/* The stub pool under lease.h: 64-byte records, chained from the stripe of their key's hash. At
 * most one stub a hash: a put removes the fill stub, and no fill is granted under a write stub. */
#ifndef SHM_STUB_H
#define SHM_STUB_H

#include "shm/layout.h"

enum stub_kind {
    STUB_NONE,
    STUB_FILL,
    STUB_WRITE,
    STUB_BACKOFF, /* computing failed: nobody may try before its deadline */
    STUB_ABSENT,  /* a look elsewhere found nothing: the answer for those who waited for it */
    STUB_KINDS,
};

#define STUB_WRITERS 8

/* The stub of a hash; one past its deadline is void and removed here. NULL = none. */
struct stub *stub_find_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                              uint64_t now_ms);

/* The stub of a hash with that token, past its deadline or not. */
struct stub *stub_by_token_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                                  uint64_t token);

/* A new stub with a new token, in its chain; NULL when the pool is full where it looked. */
struct stub *stub_add_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                             enum stub_kind kind, uint64_t deadline_ms);

/* It goes; those who wait for it are rung when the lock is dropped. */
void stub_remove_locked(struct zone *zone, struct stripe *stripe, struct stub *stub);

/* Something happened to the key: its fill stub goes, its write stub will not store. */
void stub_touch_locked(struct zone *zone, struct stripe *stripe, uint64_t hash);

/* Those who wait have no more to wait for, though the stub stays. */
void stub_ring_locked(struct zone *zone, struct stub *stub);

/* One more writer in flight; false when the record has no place for it. */
bool stub_enter_locked(struct zone *zone, struct stub *stub);
/* One less, of this owner; the last one takes the stub with it. */
void stub_leave_locked(struct zone *zone, struct stripe *stripe, struct stub *stub, uint32_t owner);

/* Whether an owner holds the stub, or writes under it. */
bool stub_involves(const struct stub *stub, uint32_t owner);

/* Forget every part a dead owner had in it; the stub goes with its last writer, and a fill stub at
 * once. */
void stub_forget_locked(struct zone *zone, struct stripe *stripe, struct stub *stub,
                        uint32_t owner);

/* This process leaves: its part in every stub ends as if it had died, and a write stub that others
 * write under is theirs. What a locked stripe keeps is left to its deadline and the sweeper. */
void stub_give_back(struct zone *zone);

/* After a dead owner of the stripe's lock: free the records of this stripe that are in no chain.
 * Returns how many. */
unsigned stub_mend(struct zone *zone, struct stripe *stripe);

/* Remove stubs past their deadline among n records from first, locks permitting. */
void stub_sweep(struct zone *zone, uint32_t first, uint32_t n, uint64_t now_ms);

#endif
