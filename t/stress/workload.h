/* What the workers of the stress tests do: gets, sets, deletes, fills, writes, clears, bans, tag
 * purges, values from nothing to 900 KiB, some of them read where they lie. Every value names its
 * key and carries a checksum, and whoever reads one verifies it. The same for processes (crash.c)
 * and for threads (threads.c): each has its own zone handle, seed and buffer. */
#ifndef STRESS_WORKLOAD_H
#define STRESS_WORKLOAD_H

#include "shm/zone.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_CAP (900u << 10)

/* What the processes tell each other. */
struct shared {
    _Atomic uint64_t reads;
    _Atomic uint64_t hits;
    _Atomic uint64_t stores;
    _Atomic uint64_t bad;
    _Atomic uint64_t full;
    _Atomic uint64_t lent; /* values read where they lay */
    _Atomic uint32_t leave; /* so many more workers are to end in good order */
    char first[600];
};

extern struct shared *shared;
extern _Thread_local struct zone *zone;
extern _Thread_local uint64_t seed; /* never 0 */
extern _Thread_local char *value;   /* VALUE_CAP bytes */

uint64_t draw(uint64_t below);
/* Counted, and the first one kept for the report. */
void bad_value(uint32_t key, const char *why);
/* One operation on a key drawn at random. */
void work_once(void);

#endif
