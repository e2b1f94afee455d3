/* Making room: which slab goes, and emptying it. */
#ifndef SHM_EVICT_H
#define SHM_EVICT_H

#include "shm/slab.h"

enum evict_result {
    EVICT_DONE, /* the slab is free */
    EVICT_MORE, /* the budget is used up: call again */
    EVICT_BUSY, /* a stripe stayed locked, or someone else was faster: the slab is as it was, less
                   what was unlinked */
    EVICT_NONE, /* nothing can be evicted */
};

/* Work left in this call: entries unlinked, and the boottime in ns to stop at. */
struct evict_budget {
    unsigned unlinks;
    uint64_t end_ns;
};
#define EVICT_UNLIMITED ((struct evict_budget){UINT32_MAX, UINT64_MAX})

/* The slab to reclaim next: the only place that decides. Here: slabs without a live entry first,
 * then plain FIFO by the time they were opened. LAYOUT_NONE when nothing is sealed. */
uint32_t evict_choose(struct zone *zone, uint64_t now_ms);

/* Claim a slab for emptying. only_dead: entries that are valid stay, and the slab with them. */
bool evict_claim(struct zone *zone, uint32_t slab, bool only_dead, struct reclaim *reclaim);

/* Empty a claimed slab, or go on with it. wait: for locks, LOCK_WAIT_MS each; otherwise only try.
 * After DONE and BUSY reclaim->slab is LAYOUT_NONE. */
enum evict_result evict_run(struct zone *zone, struct reclaim *reclaim, uint64_t now_ms,
                            struct evict_budget *budget, bool wait);

/* Reclaim one slab now (a store that found none free). DONE, NONE, or BUSY: what could go is behind
 * locks that stayed taken. */
enum evict_result evict_one(struct zone *zone, uint64_t now_ms);

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
