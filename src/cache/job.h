/* Clears and purges of L2: long jobs (SCAN + UNLINK over a whole Redis) whose state is in memory
 * shared by fork, so that another process can finish what a dead one began. */
#ifndef CACHE_JOB_H
#define CACHE_JOB_H

#include "common/err.h"
#include "common/slice.h"

#include <stdatomic.h>
#include <stdint.h>

#define JOBS_MAX        64
#define JOB_PATTERN_MAX 240

enum job_kind { JOB_CLEAR, JOB_PATTERN };
enum job_state { JOB_FREE, JOB_SETUP, JOB_RUNNING };

/* One job. Claimed by compare-and-swap of `owner` (a HERITAGE_OWNER id; 0 = nobody). */
struct job {
    _Atomic uint32_t state; /* enum job_state, [owner] */
    _Atomic uint32_t owner;
    uint32_t cache;       /* [owner in SETUP] number */
    uint32_t kind;        /* [owner in SETUP] */
    uint64_t seq;         /* [owner in SETUP] the zone's sequence of the clear or ban */
    uint32_t pattern_len; /* [owner in SETUP] */
    char pattern[JOB_PATTERN_MAX];
    _Atomic uint64_t scanned; /* [owner] keys seen */
    _Atomic uint64_t removed; /* [owner] keys removed */
};

struct jobs {
    struct job job[JOBS_MAX];
    _Atomic uint32_t running[JOBS_MAX]; /* by cache number: how many of its jobs run here */
    _Atomic uint64_t
        unlisted_until_ms[JOBS_MAX];              /* by cache number: until then Redis may lose what
                                                     was done and is not in the loss window key by
                                                     key: a clear, a purge, writes beyond its size */
    _Atomic uint64_t clearing_until_ms[JOBS_MAX]; /* by cache number: another node is clearing it,
                                                     believed until then (boottime) */
};

int jobs_create(struct jobs **out, struct errmsg *msg) MUST_CHECK;
void jobs_destroy(struct jobs *jobs);

/* The process with this owner id died: its jobs belong to nobody now. Returns how many. Master
 * only. */
unsigned jobs_orphan(struct jobs *jobs, uint32_t owner);

#endif
