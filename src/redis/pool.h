/* A process' pool of asynchronous connections to one Redis, on one libuv loop: pipelined, with time
 * limits, reconnecting with back-off. Nothing here blocks: names are resolved by the loop's thread
 * pool.
 *
 * A call is one or more commands written back to back on one connection. Its memory is the caller's
 * until done is called, exactly once, from the loop (never from inside pool_send()).
 * Retries: a call that was never written, or that is marked repeatable, is sent again after a delay
 * with jitter, up to `attempts` times inside its deadline (deadline_ms from pool_send()). An error
 * reply or nil is an answer and is never retried (design rule 8), except -LOADING, -BUSY, -TRYAGAIN
 * and -CLUSTERDOWN: Redis did not run those. Calls are not ordered among each other.
 *
 * While the breaker is not closed, no call is sent and those not written end at once; each pool
 * then looks several times a second whether the time for a probe has come, and the one that wins
 * the breaker sends a PING. So Redis is used again without a restart and without a request that
 * pays for the probe.
 *
 * The process ignores SIGPIPE.
 */
#ifndef REDIS_POOL_H
#define REDIS_POOL_H

#include "common/config.h"
#include "common/err.h"
#include "common/list.h"
#include "redis/breaker.h"
#include "redis/incarnation.h"
#include "redis/reply.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pool;

struct pool_call {
    /* status: ERR_OK with reply (which may be an error reply); ERR_DOWN: nothing was done;
     * ERR_LIMIT: queue full; ERR_NOMEM; ERR_TIMEOUT or ERR_LOST: written, outcome unknown. reply:
     * NULL unless ERR_OK. */
    void (*done)(struct pool_call *call, int status, const struct reply *reply);
    bool repeatable; /* sending it twice does no harm (reads, UNLINK) */
    /* Below: the pool's own. */
    struct list link; /* in the pool's queue, resting or finished list; alone while it is written */
    struct pool *pool;
    size_t *ends; /* one block: where each command ends, then the encoded commands */
    unsigned commands;
    unsigned attempt; /* tries so far: written, or no connection to be had */
    int outcome;      /* of the last try that was written and lost; ERR_DOWN when there was none */
    int status;       /* for done, once finished */
    uint64_t deadline_ms, retry_at_ms; /* of the loop's clock */
};

/* One command of a call. */
struct pool_command {
    int argc;
    const struct slice *argv;
};

/* breaker: shared by every process of the daemon, borrowed, as is config. Connections are opened
 * when calls need them, and kept: one that is lost is opened again in the background. ERR_INVALID:
 * config->server is no address. */
int pool_create(uv_loop_t *loop, const struct config_redis *config, struct breaker *breaker,
                struct pool **out, struct errmsg *msg) MUST_CHECK;

/* Record who the servers are and which connections were given up with commands unanswered; those are
 * ended on the server before anything else is sent to it. Shared by every process, borrowed. */
void pool_keep_incarnation(struct pool *pool, struct incarnation *incarnation);

/* Queue the commands (copied; none that subscribes or monitors). config->queue_max bounds the
 * commands not yet answered. The reply that done gets is the last command's, unless an earlier one
 * (other than a QUEUED) was an error: then that one. done is called later in every case: when the
 * breaker is open, with ERR_DOWN on the next turn of the loop. */
void pool_send(struct pool *pool, struct pool_call *call, const struct pool_command *commands,
               size_t n);

/* Whether a call now would go to a server rather than be refused: the breaker's opinion. */
bool pool_usable(const struct pool *pool);

struct pool_stats {
    uint64_t sent;     /* calls written, each time */
    uint64_t answered; /* calls that ended with a reply */
    uint64_t failed;   /* calls that ended without */
    uint64_t retried;
    uint64_t timeouts; /* connections closed: no answer within command_timeout_ms */
    uint64_t connects;
    unsigned connected; /* now */
    unsigned queued;    /* calls that wait to be written, now */
};
void pool_stats(const struct pool *pool, struct pool_stats *out);

/* Ends every call with ERR_DOWN or ERR_LOST (from the loop, not from inside), then closes; gone
 * runs (from the loop) when the memory is free. Calls sent by a done() until then end with
 * ERR_DOWN. A resolver at work is left behind: only the loop itself still waits for it. */
void pool_close(struct pool *pool, void (*gone)(void *arg), void *arg);

#endif
