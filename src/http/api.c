/* Routes: from a request to its handler. */
#include "http/api_impl.h"

#include <stdlib.h>

/* What is kept of the buffers that hold one request's things. */
#define KEEP_BYTES 65536

int api_create(struct caches *caches, const struct heritage *heritage, struct api **out)
{
    struct api *api = calloc(1, sizeof(*api));

    if (api == NULL)
        return ERR_NOMEM;
    api->caches = caches;
    api->heritage = heritage;
    *out = api;
    return ERR_OK;
}

void api_destroy(struct api *api)
{
    if (api == NULL)
        return;
    buf_fini(&api->headers);
    buf_fini(&api->value);
    buf_fini(&api->key);
    buf_fini(&api->name);
    free(api);
}

uint64_t api_value_max(const struct api *api, struct cache *cache)
{
    uint64_t limit = api->heritage->config->limits.value_bytes;
    uint64_t cap = zone_value_max(cache_zone(cache));

    return limit != 0 && limit < cap ? limit : cap;
}

/* The part of path up to the next '/', which is taken off as well. */
static struct slice next_part(struct slice *path)
{
    const char *slash = memchr(path->data, '/', path->len);
    size_t len = slash == NULL ? path->len : (size_t)(slash - path->data);
    struct slice part = slice_make(path->data, len);
    size_t taken = slash == NULL ? len : len + 1;

    *path = slice_make(path->data + taken, path->len - taken);
    return part;
}

/* Decode a part of the path; false: answered. */
static bool decode(struct api_call *call, struct slice part, struct buf *into, struct slice *out)
{
    int rc;

    buf_truncate(into, 0);
    rc = http1_decode(part, false, into);
    if (rc == ERR_OK)
        *out = buf_slice(into);
    else
        api_send_error(call, rc == ERR_NOMEM ? 500 : 400, "%s",
                       rc == ERR_NOMEM ? "no memory for this request"
                                       : "a percent sign in the path without two hex digits");
    return rc == ERR_OK;
}

static bool find_cache(struct api_call *call, struct slice part)
{
    struct slice name;

    if (!decode(call, part, &call->api->name, &name))
        return false;
    call->cache = caches_find(call->api->caches, name);
    if (call->cache == NULL)
        api_send_error(call, 404, "there is no cache of this name");
    return call->cache != NULL;
}

static enum api_result not_found(struct api_call *call)
{
    api_send_error(call, 404, "there is nothing at this path; see /v1/caches");
    return API_ANSWERED;
}

/* Below /v1/caches/{cache}/entries/: the rest of the path is the key, slashes included. */
static enum api_result route_entry(struct api_call *call, struct slice rest)
{
    uint64_t key_max = call->api->heritage->config->limits.key_bytes;

    if (!decode(call, rest, &call->api->key, &call->args.key))
        return API_ANSWERED;
    if (call->args.key.len == 0) {
        api_send_error(call, 400, "the key after entries/ is empty");
        return API_ANSWERED;
    }
    if (call->args.key.len > key_max) {
        api_send_error(call, 414, "the key of %zu bytes is over limits.key (%llu bytes)",
                       call->args.key.len, (unsigned long long)key_max);
        return API_ANSWERED;
    }
    return api_entry(call);
}

/* Below /v1/caches. */
static enum api_result route_caches(struct api_call *call, struct slice rest)
{
    struct slice name = next_part(&rest);
    bool slash = name.data + name.len != rest.data;
    struct slice what;

    if (name.len == 0)
        return rest.len == 0 ? api_list(call) : not_found(call);
    if (!find_cache(call, name))
        return API_ANSWERED;
    if (!slash || rest.len == 0)
        return api_cache(call);
    what = next_part(&rest);
    if (slice_eq(what, SLICE_LIT("entries")))
        return route_entry(call, rest);
    if (slice_eq(what, SLICE_LIT("purge")) && rest.len == 0)
        return api_purge(call);
    return not_found(call);
}

/* Below /v1/stats. */
static enum api_result route_stats(struct api_call *call, struct slice rest)
{
    struct slice name = next_part(&rest);
    bool reset = call->request->method == HTTP1_POST && slice_eq(name, SLICE_LIT("reset"));

    if (reset)
        name = next_part(&rest);
    if (rest.len > 0)
        return not_found(call);
    if (name.len > 0 && !find_cache(call, name))
        return API_ANSWERED;
    return reset ? api_reset(call) : api_stats(call);
}

static enum api_result route_v1(struct api_call *call, struct slice rest)
{
    struct slice part = next_part(&rest);

    if (slice_eq(part, SLICE_LIT("caches")))
        return route_caches(call, rest);
    if (slice_eq(part, SLICE_LIT("stats")))
        return route_stats(call, rest);
    return not_found(call);
}

static bool takes_get(struct api_call *call)
{
    if (call->request->method == HTTP1_GET || call->request->method == HTTP1_HEAD)
        return true;
    api_send_allow(call, "GET, HEAD");
    return false;
}

/* 200 while this process answers at all: shared memory serves, whatever Redis does. */
static enum api_result healthz(struct api_call *call)
{
    if (!takes_get(call))
        return API_ANSWERED;
    api_header(call, "Content-Type: text/plain");
    api_header(call, "Cache-Control: no-store");
    api_send(call, 200, SLICE_LIT("ok\n"));
    return API_ANSWERED;
}

static enum api_result readyz(struct api_call *call)
{
    const struct scoreboard *board = call->api->heritage->board;
    bool draining = atomic_load_explicit(&board->draining, memory_order_relaxed) != 0;

    if (!takes_get(call))
        return API_ANSWERED;
    api_header(call, "Content-Type: text/plain");
    api_header(call, "Cache-Control: no-store");
    api_send(call, draining ? 503 : 200, draining ? SLICE_LIT("draining\n") : SLICE_LIT("ok\n"));
    return API_ANSWERED;
}

static enum api_result route(struct api_call *call)
{
    struct slice path = call->request->path;

    if (!api_guard_check(call))
        return API_ANSWERED;
    if (slice_eq(path, SLICE_LIT("/healthz")))
        return healthz(call);
    if (slice_eq(path, SLICE_LIT("/readyz")))
        return readyz(call);
    if (slice_eq(path, SLICE_LIT("/metrics")))
        return takes_get(call) ? api_metrics(call) : API_ANSWERED;
    if (slice_starts(path, SLICE_LIT("/v1/")))
        return route_v1(call, slice_make(path.data + 4, path.len - 4));
    return not_found(call);
}

static void begin(struct api_call *call, struct api *api, const struct http1_request *request,
                  struct api_exchange *exchange)
{
    *call = (struct api_call){.api = api,
                              .exchange = exchange,
                              .request = request,
                              .head = request->method == HTTP1_HEAD,
                              .http10 = request->minor == 0,
                              .value = api->value};
    api->value = (struct buf){0};
}

/* Take the value's buffer back for the next request. */
static void end(struct api_call *call)
{
    buf_truncate(&call->value, 0);
    buf_shrink(&call->value, KEEP_BYTES);
    call->api->value = call->value;
}

enum api_result api_handle(struct api *api, const struct http1_request *request,
                           struct api_exchange *exchange)
{
    struct api_call call;
    enum api_result result;

    begin(&call, api, request, exchange);
    result = route(&call);
    end(&call);
    return result;
}

bool api_admit(struct api *api, const struct http1_request *head, struct api_exchange *exchange)
{
    struct api_call call;
    bool admitted;

    exchange->keep_alive = false; /* what comes next on the connection is the body */
    begin(&call, api, head, exchange);
    admitted = api_guard_check(&call);
    end(&call);
    return admitted;
}
