/* After a process died: free all it held. Called by the master only, before it forks a successor.
 * The caller has joined the zone: repair takes locks under its name, and what it has begun is its
 * own. */
#ifndef SHM_REPAIR_H
#define SHM_REPAIR_H

#include "shm/zone.h"

struct repair_report {
    unsigned locks; /* stripe locks freed */
    unsigned slots; /* bucket slots dropped because their change was half done */
    unsigned slabs; /* open slabs sealed, reclaims finished */
    unsigned stubs; /* leases and write stubs removed */
};

/* Free what the dead process pid held in this zone: make versions even, drop half-changed slots,
 * finish its reclaim, seal its slabs, remove its stubs (and the entries it was writing), free its
 * locks, wake waiters, give its slot back. suspect: it died by SIGSEGV, SIGBUS, SIGABRT or the
 * like; the stripes it touched are cleared. Idempotent: may itself be killed and run again. What a
 * living process' lock kept from it for a second is left, the slot with it, to the next call for
 * any process. Returns 1 when the process had a slot, else 0. */
int repair_process(struct zone *zone, pid_t pid, bool suspect, struct repair_report *report);

/* A process that has held one lock, changing nothing, at every call since limit_ms ago or longer:
 * stopped, or starved. Its pid (the master kills it, reaps it and repairs), or 0. Call about every
 * 100 ms. */
pid_t repair_stuck(struct zone *zone, uint64_t now_ms, uint64_t limit_ms);

#endif
