/* What the files of the key-value API share; nobody else includes this.
 *
 * api.c          routes
 * api_guard.c    who may: Host, Origin, token
 * api_call.c     running a cache operation to its answer
 * api_reply.c    composing responses
 * api_entries.c  /v1/caches/{cache}/entries/{key}
 * api_fetch.c    the same for one computation a key: Cache-Fetch, Cache-Lease
 * api_caches.c   list, clear, purge, reset
 * api_stats.c    statistics as JSON
 * api_metrics.c  statistics for Prometheus
 */
#ifndef HTTP_API_IMPL_H
#define HTTP_API_IMPL_H

#include "common/buf.h"
#include "http/api.h"

#include <jansson.h>

struct api {
    struct caches *caches;
    const struct heritage *heritage;
    struct buf headers; /* of the response at hand */
    struct buf value;   /* of an entry that is answered at once */
    struct buf key;     /* decoded from the path */
    struct buf name;    /* of the cache, decoded from the path */
};

/* What a handler asks of the cache. Borrowed from the request: not there any more once the call
 * waits. */
struct api_args {
    struct slice key, value, text; /* text: a pattern or tag */
    struct cache_attrs attrs;
    enum cache_change_if when;
    struct cache_fetch how;
    uint64_t token, retry_ms;
};

/* One request on its way to its answer: on the stack, or on the heap while it waits. */
struct api_call {
    struct api *api;
    struct api_exchange *exchange;
    const struct http1_request *request; /* NULL once it waits */
    bool head;                           /* HEAD: everything but the body */
    bool http10; /* the client must be told that the connection stays open */
    bool if_match;
    bool keep_key;   /* in `kept` while the call waits */
    bool no_memory;  /* a header did not fit: the response fails */
    bool all_rights; /* by the API's token, or since there are no users */
    const struct config_user *user;
    struct cache *cache;
    struct api_args args;
    enum cache_status (*run)(struct api_call *call, struct cache_op *op);
    void (*answer)(struct api_call *call, enum cache_status status);
    struct cache_op op;
    struct cache_sink sink; /* into value */
    struct buf value;
    struct cache_info info;
    struct slice if_none_match; /* data NULL: none. In `kept` while the call waits */
    struct buf kept;            /* that, or the key */
};

/* api_call.c. Call run() and, now or later, answer(). may_wait: give it an op at once, for
 * operations whose results or sentences come in the op. */
enum api_result api_call_run(struct api_call *call, bool may_wait);

/* api_reply.c. A complete header line without its end, for the next api_send(). */
void api_header(struct api_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The response. Without memory for it the exchange stays without one, and the connection ends. */
void api_send(struct api_call *call, int status, struct slice body);
/* {"error": "..."}; bytes that are not printable ASCII become '?'. */
void api_send_error(struct api_call *call, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As application/json; takes the reference. NULL (no memory) is answered with 500. */
void api_send_json(struct api_call *call, int status, json_t *json);
/* The failure of a cache operation. */
void api_send_failure(struct api_call *call, enum cache_status status);
/* 405 with Allow; 204 with Allow to OPTIONS. */
void api_send_allow(struct api_call *call, const char *methods);

/* api_guard.c. Whether the request may go on; if not, the refusal has been sent. */
bool api_guard_check(struct api_call *call);

/* Whether the request's user has these rights (enum auth_right) on the cache; if not, the refusal
 * has been sent. */
bool api_guard_may(struct api_call *call, struct cache *cache, unsigned rights);

/* Handlers. cache and args.key are set where the route has them. */
enum api_result api_entry(struct api_call *call);
/* Without spaces and tabs at its ends. */
struct slice api_trim(struct slice text);
/* api_entries.c. The headers and the body of an entry that was found; what a put takes from its
 * request: false, the refusal has been sent. tags: TABLE_TAGS_MAX of them. */
void api_entry_send(struct api_call *call);
bool api_entry_read(struct api_call *call, struct slice *tags);
/* api_fetch.c. Whether the request asks for a fetch, or ends one. */
bool api_is_fetch(const struct api_call *call);
bool api_has_lease(const struct api_call *call);
enum api_result api_fetch(struct api_call *call);
enum api_result api_fill(struct api_call *call);
enum api_result api_fail(struct api_call *call);
enum api_result api_cache(struct api_call *call);
enum api_result api_purge(struct api_call *call);
enum api_result api_list(struct api_call *call);
enum api_result api_stats(struct api_call *call);
enum api_result api_reset(struct api_call *call);
enum api_result api_metrics(struct api_call *call);

/* The largest value of a cache: limits.value, or an eighth of its memory. */
uint64_t api_value_max(const struct api *api, struct cache *cache);

const char *api_backend_name(const struct cache *cache);

#endif
