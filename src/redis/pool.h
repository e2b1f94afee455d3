/* A process' pool of asynchronous connections to one Redis, on one libuv loop: pipelined, with time limits,
 * reconnecting with back-off. Nothing here blocks: names are resolved by the loop's thread pool.
 *
 * A call is one or more commands written back to back on one connection. Its memory is the caller's
 * until done is called, exactly once, from the loop (never from inside pool_send()).
 * Retries: a call that was never written, or that is marked repeatable, is sent again after a delay
 * with jitter, up to `attempts` times inside its deadline. An error reply or nil is an answer
 * and is never retried (design rule 8), except -LOADING, -BUSY, -TRYAGAIN and -CLUSTERDOWN.
 */
#ifndef REDIS_POOL_H
#define REDIS_POOL_H

#include "common/config.h"
#include "common/err.h"
#include "common/list.h"
#include "redis/breaker.h"
#include "redis/reply.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pool;

struct pool_call {
    /* status: ERR_OK with reply (which may be an error reply); ERR_DOWN: never written; ERR_LIMIT: queue full;
     * ERR_TIMEOUT or ERR_LOST: written, outcome unknown. reply: NULL unless ERR_OK. */
    void (*done)(struct pool_call *call, int status, const struct reply *reply);
    bool repeatable; /* sending it twice does no harm (reads, UNLINK) */
    /* Below: the pool's own. */
    struct list link;
    struct pool *pool;
    void *conn;
    char *bytes; /* the commands, encoded; freed by the pool */
    size_t len;
    unsigned commands, answered, attempt;
    bool written;
    uint64_t deadline_ms, retry_at_ms;
    void *held; /* first error reply of a batch, kept until the last answer */
};

/* One command of a call. */
struct pool_command {
    int argc;
    const struct slice *argv;
};

/* breaker: shared by every process of the daemon, borrowed. Connections are opened lazily and kept. */
int pool_create(uv_loop_t *loop, const struct config_redis *config, struct breaker *breaker,
                struct pool **out, struct errmsg *msg) MUST_CHECK;

/* Queue the commands (copied). The reply that done gets is the last command's, unless an earlier one (other than a
 * QUEUED) was an error: then that one. done is called later in every case: when the breaker is open, with ERR_DOWN on the
 * next turn of the loop. */
void pool_send(struct pool *pool, struct pool_call *call, const struct pool_command *commands, size_t n);

/* Whether a call now would go to a server rather than be refused: the breaker's opinion. */
bool pool_usable(const struct pool *pool);

struct pool_stats {
    uint64_t sent, answered, failed, retried, timeouts, connects;
    unsigned connected, queued;
};
void pool_stats(const struct pool *pool, struct pool_stats *out);

/* Ends every call with ERR_DOWN or ERR_LOST, then closes; gone runs (from the loop) when the memory is free. */
void pool_close(struct pool *pool, void (*gone)(void *arg), void *arg);

#endif
