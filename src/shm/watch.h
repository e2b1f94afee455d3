/* The master's look at stripe locks, and the gate, that are held for too long: their owner lives, so nothing is repaired, and
 * everybody who needs the stripe waits. Whoever has held one for WATCH_HELD_MS is to be killed (engine decision: an owner
 * needs microseconds), and then repaired after like any dead process. */
#ifndef SHM_WATCH_H
#define SHM_WATCH_H

#include "shm/zone.h"

#define WATCH_HELD_MS 1000

struct watch; /* one a zone, of the process that watches; plain memory */

int watch_create(struct watch **out) MUST_CHECK;
void watch_destroy(struct watch *watch);

/* Look at every lock word once; call every 100 ms or so. Returns the pid of a live process, not this one,
 * that has held one lock for WATCH_HELD_MS, or 0. now_ms: boottime. Never waits. */
pid_t watch_look(struct watch *watch, struct zone *zone, uint64_t now_ms);

#endif
