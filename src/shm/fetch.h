/* Fetch: one computation a key, across every process of the host (design section 6).
 *
 * Whoever asks for a key gets its value, or the right to compute it (a lease), or is told to wait
 * for another who has that right. A lease ends by lease_fill_end(), lease_fail(), its deadline, or
 * the death of its holder; then every worker that waits is rung (lease_on_ring()), and looks its
 * keys up again: the first to do so gets the lease, if there is no value yet.
 *
 * A value has two expiries: from the soft one on (write->expires_ms) plain reads miss it and a
 * fetch gets it as STALE; stale_ms later it is gone. Before the soft one a lease is granted early,
 * the more likely the nearer it is and the longer computing takes, so that a hot key is refreshed
 * by one before it runs out for all (Vattani, Chierichetti, Lowenstein, "Optimal probabilistic
 * cache stampede prevention", 2015).
 */
#ifndef SHM_FETCH_H
#define SHM_FETCH_H

#include "shm/lease.h"

enum fetch_result {
    FETCH_HIT,
    FETCH_HIT_LEASE,   /* a value that still counts; the caller is to compute the next one */
    FETCH_STALE,       /* past its soft expiry, or from before the last epoch move */
    FETCH_STALE_LEASE, /* likewise; the caller is to compute */
    FETCH_MISS_LEASE,  /* nothing there; the caller is to compute */
    FETCH_WAIT,        /* another computes: look again when rung, or at until_ms */
    FETCH_BUSY,        /* another computes or failed lately, and slot says not to wait; or there is
                          no stub left; or the stripe stayed locked */
};

#define FETCH_NO_SLOT  (-1)
#define FETCH_ANY_TIME UINT64_MAX

struct fetch_want {
    uint64_t lease_ms; /* how long a lease lasts */
    uint64_t stale_ms; /* how far past its soft expiry a value is still wanted; 0: not at all */
    double beta;       /* of early refresh: 1 as published, more is earlier, 0 never */
    uint64_t early_ms; /* refresh when less than this remains; FETCH_ANY_TIME: in any case */
    int slot;          /* worker slot to ring, 0..63; FETCH_NO_SLOT: do not wait */
    uint64_t token;    /* a lease the caller holds already: it is granted again; 0 = none */
};

struct fetch_got {
    struct table_hit hit; /* HIT and STALE: for table_copy(). OVERTAKEN there: fetch again, with the
                             token of the lease got here */
    struct lease lease;   /* token 0: none */
    uint64_t until_ms;    /* WAIT, BUSY, and HIT or STALE where the caller would have computed: when
                             the other's lease, or the time to back off, ends; 0 = unknown */
};

enum fetch_result fetch_begin(struct zone *zone, const struct table_key *key,
                              const struct fetch_want *want, uint64_t now_ms,
                              struct fetch_got *got);

/* Whether to refresh early: now - delta * beta * ln(u) >= soft. u: uniform in (0, 1]. soft_ms 0: no
 * expiry, never. */
bool fetch_early(uint64_t soft_ms, uint32_t delta_ms, double beta, double u, uint64_t now_ms);

#endif
