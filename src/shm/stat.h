/* Counters in shared memory: one array per owner slot, written by its owner only, summed by
 * readers. They outlive the process that counted; a reset remembers a baseline. No locks. */
#ifndef SHM_STAT_H
#define SHM_STAT_H

#include "shm/zone.h"

/* name for machines, text for people (and for # HELP in /metrics). Order is layout: append only. */
#define STAT_LIST(X)                                                                               \
    X(HITS, "hits", "reads answered with a value, from any layer")                                 \
    X(MISSES, "misses", "reads of keys that no layer has")                                         \
    X(L1_HITS, "l1_hits", "reads answered from shared memory")                                     \
    X(L2_HITS, "l2_hits", "reads answered from Redis")                                             \
    X(STALE_HITS, "stale_hits", "reads answered with an untrusted entry while Redis is down")      \
    X(PUTS, "puts", "values stored")                                                               \
    X(DELETES, "deletes", "keys removed on request")                                               \
    X(CLEARS, "clears", "clears of the whole cache")                                               \
    X(PURGES, "purges", "invalidations by pattern or tag")                                         \
    X(ERRORS, "errors", "operations that failed")                                                  \
    X(FALLBACKS, "fallbacks", "operations that went on without Redis")                             \
    X(RETRIES, "retries", "commands to Redis sent again")                                          \
    X(EVICTIONS, "evictions", "live entries removed for space")                                    \
    X(EXPIRATIONS, "expirations", "entries removed because their time had passed")                 \
    X(INVALIDATIONS, "invalidations", "entries removed by messages from other nodes")              \
    X(REJECTED_FILLS, "rejected_fills", "late fills refused because something newer happened")     \
    X(RECLAIMS, "reclaims", "slabs reclaimed")                                                     \
    X(LOCK_WAITS, "lock_waits", "lock acquisitions that had to wait")                              \
    X(READ_RETRIES, "read_retries", "lock-free reads that had to start again")                     \
    X(REPAIRS, "repairs", "dead processes repaired after")                                         \
    X(JOURNALLED, "journalled", "writes whose outcome in Redis is unknown or failed")                  \
    X(KEPT, "kept", "entries that their slab's reclaim kept, because they are read")                   \
    X(GHOST_HITS, "ghost_hits", "puts of keys that had been evicted lately")                           \
    X(IN_PLACE, "in_place", "puts that overwrote a value where it lay")                                \
    X(LEASES, "leases", "fetches that were given the right to compute")                                \
    X(LEASE_WAITS, "lease_waits", "reads and fetches that waited for another of the same key")          \
    X(DIRECT_HITS, "direct_hits", "reads answered in the client's own mapping of shared memory")

enum counter {
#define STAT_ENUM(id, name, text) STAT_##id,
    STAT_LIST(STAT_ENUM)
#undef STAT_ENUM
        STAT_COUNT
};

const char *stat_name(enum counter counter);
const char *stat_text(enum counter counter);

/* Add to this process' counter; the zone must be joined. */
void stat_add(struct zone *zone, enum counter counter, uint64_t n);

/* Sums over all owner slots since the last reset. out: STAT_COUNT values. */
void stat_sum(const struct zone *zone, uint64_t out[STAT_COUNT]);

/* Begin counting at zero again. */
void stat_reset(struct zone *zone);

/* What the memory is used for. bytes_* add up to at most zone_size(). */
struct stat_memory {
    uint64_t size_bytes;
    uint64_t index_bytes; /* superblock, stripes, buckets, stubs, slab headers */
    uint64_t slab_bytes;  /* one slab */
    uint64_t slabs;       /* all of them */
    uint64_t slabs_free;
    uint64_t slabs_open;
    uint64_t live_bytes; /* entries that the table points to */
};
void stat_memory(const struct zone *zone, struct stat_memory *out);

#endif
