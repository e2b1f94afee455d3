/* Telemetry: one event an operation of a named cache, whichever front door it came through, to
 * those who subscribed (shm/event.h). Names and meanings are the Elixir library's:
 * cachetastic.cache.get and so on, a duration in ns, and the key, cache, backend and result. */
#ifndef CACHE_TELEMETRY_H
#define CACHE_TELEMETRY_H

#include "cache/cache.h"
#include "common/buf.h"
#include "shm/event.h"

enum telemetry_kind {
    TELEMETRY_GET,
    TELEMETRY_PUT,
    TELEMETRY_DELETE,
    TELEMETRY_DELETE_PATTERN, /* key: the pattern, or the tag */
    TELEMETRY_CLEAR,
    TELEMETRY_FETCH,
    TELEMETRY_FALLBACK, /* Redis was not to be had: shared memory answered */
    TELEMETRY_KINDS,
};

enum telemetry_result {
    TELEMETRY_OK,
    TELEMETRY_HIT,
    TELEMETRY_MISS,
    TELEMETRY_STALE,
    TELEMETRY_STARTED, /* a job goes on; its end is not told */
    TELEMETRY_ERROR,
    TELEMETRY_RESULTS,
};

/* "cachetastic.cache.get". Static storage. */
const char *telemetry_name(enum telemetry_kind kind);
/* An event as JSON, appended; ERR_NOMEM. Keys that are not UTF-8 go as "key_b64". */
int telemetry_json(struct caches *caches, const struct event *event, struct buf *out) MUST_CHECK;

/* For src/cache. When an operation began, 0 when nobody listens. */
uint64_t telemetry_begin(const struct cache *cache);
/* It has ended, or pends: then its end is told. Returns status. */
enum cache_status telemetry_end(struct cache *cache, enum telemetry_kind kind, struct slice key,
                                uint64_t began_ns, struct cache_op *op,
                                const struct cache_info *info, enum cache_status status);
void telemetry_fallback(struct cache *cache, struct slice key);

#endif
