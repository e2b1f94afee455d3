/* The way to the origin servers of a route: keep-alive connections, name look-ups without blocking,
 * time limits, another try where that is safe, servers that are taken out while they fail (for all
 * workers: shm/health.h). One per worker and route; everything runs on the worker's loop.
 *
 * An exchange is one request and its response. Callbacks come from the loop, never from inside
 * origin_start(); after on_end() nothing is called any more and the exchange is the caller's again.
 */
#ifndef HTTP_ORIGIN_H
#define HTTP_ORIGIN_H

#include "common/config.h"
#include "common/list.h"
#include "proto/http1_reply.h"
#include "shm/health.h"

#include <uv.h>

struct origin;
struct origin_conn;
struct origin_server;

struct origin_exchange {
    /* Set by the caller. */
    struct slice head; /* the request, up to its empty line; stays until on_end() */
    bool head_request; /* HEAD */
    bool repeatable;   /* safe to send again, and without a body */
    uint64_t hash;     /* of the key, for balance = "hash" */
    /* A head: interim ones first (status below 200; 101 is final), then the final one. reply:
     * borrowed for the call. */
    void (*on_head)(struct origin_exchange *exchange, const struct http1_reply *reply);
    void (*on_body)(struct origin_exchange *exchange, struct slice piece);
    /* The end. ERR_OK: the response is complete. ERR_DOWN: no server could be reached; ERR_TIMEOUT;
     * ERR_LOST: the connection ended; ERR_PROTOCOL: the response made no sense. error says more. */
    void (*on_end)(struct origin_exchange *exchange, int err);
    /* What origin_write() was given has gone out. */
    void (*on_drain)(struct origin_exchange *exchange);
    /* Results. */
    const char *error; /* for the log and Cache-Status */
    uint64_t sent_ms;  /* when the request was sent, boottime */
    /* The origin's own. */
    struct list link; /* waiting for a name look-up */
    struct origin *origin;
    struct origin_server *server;
    struct origin_conn *conn;
    unsigned tries;
    uint32_t tried; /* servers, as bits */
    bool began;     /* bytes of a response were seen */
    bool reused;    /* sent over a connection that had served before */
    bool body_sent; /* origin_write() was called: no other try */
    bool paused;
    bool tunnel;       /* origin_tunnel() was called */
    bool trial;        /* finds out whether its server is back */
    uint64_t until_ms; /* boottime; 0 = the route's limits alone */
};

#define ORIGIN_UNSENT_MAX 262144 /* origin_write() is to pause beyond this many bytes unsent */

/* What the workers of the daemon know together. */
struct origin_shared {
    struct health *health; /* of the route's servers, as in heritage */
    unsigned slot, n_slots;
};

/* route: outlives the origin. limits: of response heads. */
int origin_create(uv_loop_t *loop, const struct config_route *route,
                  const struct config_limits *limits, const struct origin_shared *shared,
                  struct origin **out, struct errmsg *msg) MUST_CHECK;
/* No exchange may be open. The handles are closed by the loop's next turns. */
void origin_destroy(struct origin *origin);

/* Returns ERR_OK, and callbacks follow; or ERR_DOWN, ERR_NOMEM, and none do. */
int origin_start(struct origin *origin, struct origin_exchange *exchange) MUST_CHECK;
/* The server that has the exchange, as configured; NULL: none yet. */
const char *origin_name(const struct origin_exchange *exchange);
/* More of the request's body; framing is the caller's. Returns the bytes not sent yet. */
size_t origin_write(struct origin_exchange *exchange, struct slice bytes);
/* From on_head() with status 101: what follows are bytes of another protocol, both ways: on_body()
 * and origin_write(). on_end(ERR_OK) when the server ends, ERR_TIMEOUT when neither side has said
 * anything for idle_ms. */
void origin_tunnel(struct origin_exchange *exchange, uint64_t idle_ms);
/* Stop and go on reading the response. */
void origin_pause(struct origin_exchange *exchange);
void origin_resume(struct origin_exchange *exchange);
/* Give up: no callback follows. */
void origin_cancel(struct origin_exchange *exchange);

#endif
