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
    X(DIRECT_HITS, "direct_hits", "reads answered in the client's own mapping of shared memory")       \
    X(LENT, "lent", "large values sent from where they lie, without a copy")

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

/* What the memory is used for: its name, the name in /metrics, text for people. */
#define STAT_MEMORY_LIST(X)                                                                        \
    X(size_bytes, "memory_bytes", "shared memory of the cache")                                    \
    X(index_bytes, "memory_index_bytes", "of that, the index: superblock, stripes, buckets, stubs, slab headers")\
    X(slab_bytes, "slab_bytes", "bytes in one slab")                                               \
    X(slabs, "slabs", "slabs")                                                                     \
    X(slabs_free, "slabs_free", "slabs that hold nothing")                                         \
    X(slabs_open, "slabs_open", "slabs that a process appends to")                                 \
    X(slabs_small, "slabs_small", "slabs of the small queue: what was stored lately")              \
    X(slabs_main, "slabs_main", "slabs of the main queue: what was read again")                    \
    X(slabs_large, "slabs_large", "of both queues, slabs that belong to values larger than half of one")\
    X(slabs_index, "slabs_index", "slabs that the index has grown into")                           \
    X(live_bytes, "live_bytes", "bytes of live entries: header, key, tags and value")              \
    X(dead_bytes, "dead_bytes", "bytes in slabs that no entry uses any more, until their slab is reclaimed")\
    X(pinned_bytes, "pinned_bytes", "bytes in slabs that replies are being sent from")

struct stat_memory {
#define STAT_MEMORY_FIELD(name, metric, text) uint64_t name;
    STAT_MEMORY_LIST(STAT_MEMORY_FIELD)
#undef STAT_MEMORY_FIELD
};
/* A look at every slab's header; each is true by itself. */
void stat_memory(const struct zone *zone, struct stat_memory *out);

#endif
