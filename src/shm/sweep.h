/* What the master does to a zone in the background, in bounded steps. */
#ifndef SHM_SWEEP_H
#define SHM_SWEEP_H

#include "shm/zone.h"

struct sweep_budget {
    unsigned unlinks; /* entries removed at most; 4096 by design */
    uint64_t ns;      /* time at most; 2 ms by design */
};

/* One tick: drop slabs whose last expiry has passed, keep the free reserve (about 2 % of the
 * slabs), walk entries against bans and clears, and retire bans. Goes on next time where it
 * stopped. Never waits for a lock. Returns the number of entries removed. */
unsigned sweep_tick(struct zone *zone, uint64_t now_ms, struct sweep_budget budget);

#endif
