/* Making room: which slab goes, and what of it is kept.
 *
 * S3-FIFO over whole slabs. New keys are appended to slabs of the small queue, a tenth of all; the
 * oldest of them is reclaimed while they are more than that, otherwise the oldest of the main
 * queue:
 *
 *   small   an entry read at least twice since it was stored is appended to the main queue again;
 * of the others a ghost is left (ghost.h). A store of a key that is a ghost goes to main at once
 *   main    an entry read since it was last looked at is appended again, its frequency one less;
 * the others are gone
 *
 * The frequency counts to 7, not to the paper's 3: on a cache of a twentieth of web12 that is 0.5
 * points fewer misses for a quarter more copying, elsewhere it changes nothing.
 *
 * With the size credit the small queue asks for max(0, 2 - log2(mean size / size)) reads, the
 * logarithm rounded and between -3 and 3: many small entries are worth more hits than one large.
 * Expired, cleared, banned and purged entries are neither kept nor remembered.
 *
 * Slabs of which half or more is dead go before all others: what is valid in them is appended to
 * the end of the same queue, so this costs no hit. A large value is kept or dropped as one; its
 * header, which lies in an ordinary slab, follows it.
 *
 * Bounded work: keeping may use the last free slab (SLAB_KEPT), and who has reclaimed
 * EVICT_PATIENCE slabs without getting one reclaims with EVICT_DROP. Without a free slab what would
 * be kept is dropped.
 *
 * Crash: the copy is complete and counted into its slab before one store of the slot word makes it
 * the entry, so each entry is in one of two whole places. A slab of a dead process is sealed again
 * as it is; whoever reclaims it next finds the rest. Ghosts and the survey's figures are hints.
 * Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; Rosenblum and
 * Ousterhout, "The design and implementation of a log-structured file system", 1992 (cleaning). */
#ifndef SHM_EVICT_H
#define SHM_EVICT_H

#include "shm/slab.h"

enum evict_result {
    EVICT_DONE, /* the slab is free, or, a large value, kept for another round */
    EVICT_MORE, /* the budget is used up: call again */
    EVICT_BUSY, /* a stripe stayed locked, or someone else was faster: the slab is as it was, less
                   what was unlinked */
    EVICT_NONE, /* nothing can be evicted */
};

enum evict_mode {
    EVICT_QUEUE,   /* keep what its queue keeps */
    EVICT_COMPACT, /* keep whatever is valid, elsewhere */
    EVICT_DEAD,    /* drop what is invalid, leave the rest where it is, and the slab with it */
    EVICT_DROP,    /* keep nothing */
};

#define EVICT_PATIENCE 8

/* Work left in this call: entries unlinked or moved, and the boottime in ns to stop at. */
struct evict_budget {
    unsigned unlinks;
    uint64_t end_ns;
};
#define EVICT_UNLIMITED ((struct evict_budget){UINT32_MAX, UINT64_MAX})

/* Claim a slab for emptying. */
bool evict_claim(struct zone *zone, uint32_t slab, enum evict_mode mode, struct reclaim *reclaim);

/* Empty a claimed slab, or go on with it. wait: for locks, LOCK_WAIT_MS each; otherwise only try.
 * After DONE and BUSY reclaim->slab is LAYOUT_NONE. */
enum evict_result evict_run(struct zone *zone, struct reclaim *reclaim, uint64_t now_ms,
                            struct evict_budget *budget, bool wait);

/* Reclaim one slab now (a store that found none free). tries: how often it has done so for this one
 * store. DONE, NONE, or BUSY: what could go is behind locks that stayed taken, or in the
 * hands of other processes. */
enum evict_result evict_one(struct zone *zone, uint64_t now_ms, unsigned tries);

/* Remove an entry that is in the way: the counters of why. Returns as index_unlink_locked(). */
struct index_spot;
struct entry_view;
struct stripe;
uint32_t evict_entry_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                            const struct entry_view *view, uint64_t now_ms);

/* Unlink whatever points into a slab, by looking through the whole index: for a slab whose bytes
 * cannot be trusted. The slab is ours. false: a stripe stayed locked. */
bool evict_purge(struct zone *zone, uint32_t slab);

#endif
