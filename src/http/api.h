/* The HTTP key-value API, statistics and health (design section 9). Knows caches and HTTP messages,
 * no sockets.
 *
 *   GET HEAD PUT DELETE /v1/caches/{cache}/entries/{key}    key percent-encoded; may have '/'
 *     with Cache-Fetch and Cache-Lease: one computation a key, see api_fetch.c
 *   DELETE /v1/caches/{cache}
 *   POST /v1/caches/{cache}/purge?pattern=|tag=|url=[&soft=1]
 *   GET /v1/caches  /v1/caches/{cache}  /v1/stats[/{cache}]
 *   POST /v1/stats/reset[/{cache}]
 *   GET /metrics  /healthz  /readyz
 */
#ifndef HTTP_API_H
#define HTTP_API_H

#include "cache/cache.h"
#include "proto/http1.h"

struct api; /* one per worker */

/* One request on its way. Memory is the caller's until it is answered. */
struct api_exchange {
    struct buf *out; /* the response is appended here; touched by api_handle() and just before
                        done() only, so its owner may set another one while the answer is pending.
                        Empty then: no memory for a response; close */
    bool keep_alive; /* in: the request's; out: what the response said */
    bool local;      /* came over a unix socket */
    bool loopback;   /* came over TCP from a loopback address */
    bool admin;      /* the listener is an admin one */
    const struct config_user *user; /* of the connection without a login: a trusted peer; or NULL */
    void (*done)(struct api_exchange *exchange); /* for API_PENDING: the response is in out now */
    bool (*gone)(const struct api_exchange *exchange); /* whether nobody waits for the answer any
                                                          more; NULL: somebody does */
    void *work;                                        /* the API's own */
};

enum api_result { API_ANSWERED, API_PENDING };

int api_create(struct caches *caches, const struct heritage *heritage, struct api **out) MUST_CHECK;
void api_destroy(struct api *api);

/* Answer a request. request is borrowed for the call only. */
enum api_result api_handle(struct api *api, const struct http1_request *request,
                           struct api_exchange *exchange);

/* Whether a request with this head may send its body. False: the refusal is in exchange->out, and
 * the connection must close after it. */
bool api_admit(struct api *api, const struct http1_request *head, struct api_exchange *exchange);

/* The response to a request that http1_parse() refused: closes. */
int api_refuse(struct buf *out, int status, const char *why) MUST_CHECK;

/* Statistics as JSON text (RESP's CACHETASTIC.STATS uses it too). cache NULL: the whole daemon:
 * every cache under "caches", their sum under "total", workers, Redis; otherwise the figures of
 * that cache alone, and its name. */
int api_stats_json(struct caches *caches, const struct heritage *heritage, struct cache *cache,
                   struct buf *out) MUST_CHECK;

#endif
