/* Which keys change in a Redis server, whoever changes them: CLIENT TRACKING in broadcast mode,
 * from a pair of connections. One listens, the other has its invalidations redirected to it; Redis
 * sends RESP2 clients no others. Master only.
 *
 * Reported are keys of every database, and those that this daemon itself has written: Redis merges
 * the writes of a moment, so own echoes cannot be told from others (NOLOOP covers one connection,
 * and not a pool). */
#ifndef REDIS_TRACKING_H
#define REDIS_TRACKING_H

#include "common/config.h"
#include "common/slice.h"

#include <stdbool.h>
#include <uv.h>

struct tracking;

struct tracking_events {
    /* A key that begins with one of the prefixes was written, removed or has expired. Borrowed. */
    void (*changed)(void *arg, struct slice name);
    /* A whole database was emptied (FLUSHALL, FLUSHDB). */
    void (*flushed)(void *arg);
    /* Changes may have been missed from now on: either connection was lost, or three signs of life
     * sent through both did not come back. */
    void (*lost)(void *arg);
    /* From now on none is missed; what came before possibly was. */
    void (*confirmed)(void *arg);
    void *arg;
};

/* Begins at once and goes on until closed, whether or not there is a server. No event from inside a
 * function of this header. prefixes: copied; of two of which one begins with the other the shorter
 * is enough, and Redis refuses more (tracking_reduce()); a prefix of no bytes stands for all keys.
 * node_id: this daemon's, borrowed as config is. events: copied. */
int tracking_create(uv_loop_t *loop, const struct config_redis *config,
                    const struct slice *prefixes, size_t n, struct slice node_id,
                    const struct tracking_events *events, struct tracking **out,
                    struct errmsg *msg) MUST_CHECK;

/* Drop those prefixes that another one covers; returns how many stay, in no order. */
size_t tracking_reduce(struct slice *prefixes, size_t n);

struct tracking_stats {
    uint64_t changes;
    uint64_t flushes;
    uint64_t losses; /* times that a confirmed pair was lost */
    bool confirmed;  /* now */
};
void tracking_stats(const struct tracking *tracking, struct tracking_stats *out);

/* No event follows; gone runs (from the loop) when the memory is free. */
void tracking_close(struct tracking *tracking, void (*gone)(void *arg), void *arg);

#endif
