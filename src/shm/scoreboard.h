/* The scoreboard: what the processes of one daemon tell each other, in memory shared by fork.
 * One record a worker slot; each field says who writes it. No locks: every field is one word. */
#ifndef SHM_SCOREBOARD_H
#define SHM_SCOREBOARD_H

#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SCOREBOARD_MAX    64
#define SCOREBOARD_NOBODY UINT32_MAX

enum scoreboard_state { SLOT_EMPTY, SLOT_STARTING, SLOT_SERVING, SLOT_DRAINING };

struct scoreboard_slot {
    _Atomic int32_t pid;          /* [master] 0 while the slot has no process */
    _Atomic uint32_t state;       /* [worker; master sets EMPTY and STARTING] */
    _Atomic uint32_t connections; /* [worker] open client connections */
    _Atomic uint32_t adopter;  /* [master] slot that accepts for this one, or SCOREBOARD_NOBODY */
    _Atomic uint64_t accepted; /* [worker] connections accepted ever */
    _Atomic uint64_t requests; /* [worker] requests answered ever */
    _Atomic uint64_t restarts; /* [master] times this slot's worker died */
    _Atomic uint32_t handed; /* [other workers add; the reader of the slot's inbox sets 0 when it is
                                empty] connections on their way to this slot */
    char pad[12];
};

struct scoreboard {
    _Atomic int32_t master_pid;
    uint32_t n_slots;
    _Atomic uint32_t draining;     /* [master] set once on QUIT */
    _Atomic uint32_t invalidation; /* [master] 1 while the Redis subscription is confirmed */
    uint64_t started_wall_ms;
    struct scoreboard_slot slots[SCOREBOARD_MAX];
};

/* Map one, shared with every process forked later: zero but for n_slots, the start time, and each
 * slot's adopter (SCOREBOARD_NOBODY). */
int scoreboard_create(uint32_t n_slots, struct scoreboard **out, struct errmsg *msg) MUST_CHECK;
void scoreboard_destroy(struct scoreboard *board);

#endif
