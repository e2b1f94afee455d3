/* /v1/caches, /v1/caches/{cache}, /v1/caches/{cache}/purge, /v1/stats/reset. */
#include "common/auth.h"
#include "http/api_impl.h"
#include "http/purge.h"

#include <stdio.h>

const char *api_backend_name(const struct cache *cache)
{
    switch (cache_config(cache)->backend) {
    case BACKEND_REDIS:
        return "redis";
    case BACKEND_LAYERED:
        return "layered";
    default:
        return "memory";
    }
}

static json_t *describe(struct cache *cache)
{
    const struct config_cache *config = cache_config(cache);
    struct cache_stats stats;

    cache_stats(cache, &stats);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "name", config->name, "backend",
                     api_backend_name(cache), "backup",
                     config->backup == BACKUP_MEMORY ? "memory" : "none", "ttl_ms",
                     (json_int_t)config->ttl_ms, "memory_bytes", (json_int_t)config->memory_bytes,
                     "entries", (json_int_t)stats.entries, "bytes", (json_int_t)stats.bytes);
}

enum api_result api_list(struct api_call *call)
{
    struct caches *caches = call->api->caches;
    json_t *list;
    bool complete = true;

    if (call->request->method != HTTP1_GET && call->request->method != HTTP1_HEAD) {
        api_send_allow(call, "GET, HEAD");
        return API_ANSWERED;
    }
    list = json_array();
    for (size_t i = 0; i < caches_count(caches); i++)
        complete = json_array_append_new(list, describe(caches_at(caches, i))) == 0 && complete;
    if (!complete) {
        json_decref(list);
        list = NULL;
    }
    api_send_json(call, 200, list == NULL ? NULL : json_pack("{s:o}", "caches", list));
    return API_ANSWERED;
}

static enum cache_status run_clear(struct api_call *call, struct cache_op *op)
{
    return cache_clear(call->cache, op);
}

/* How many keys were removed is known where Redis was walked; shared memory forgets all at once. */
static void answer_removed(struct api_call *call, enum cache_status status)
{
    if (status != CACHE_OK)
        api_send_failure(call, status);
    else if (cache_has_l2(call->cache))
        api_send_json(
            call, 200,
            json_pack("{s:b, s:I}", "done", 1, "removed_from_redis", (json_int_t)call->op.integer));
    else
        api_send_json(call, 200, json_pack("{s:b}", "done", 1));
}

enum api_result api_cache(struct api_call *call)
{
    switch (call->request->method) {
    case HTTP1_GET:
    case HTTP1_HEAD:
        api_send_json(call, 200, describe(call->cache));
        return API_ANSWERED;
    case HTTP1_DELETE:
        if (!api_guard_may(call, call->cache, AUTH_PURGE))
            return API_ANSWERED;
        call->run = run_clear;
        call->answer = answer_removed;
        return api_call_run(call, true);
    default:
        api_send_allow(call, "GET, HEAD, DELETE");
        return API_ANSWERED;
    }
}

static enum cache_status run_purge(struct api_call *call, struct cache_op *op)
{
    return cache_purge(call->cache, call->args.text, op);
}

static enum cache_status run_purge_tag(struct api_call *call, struct cache_op *op)
{
    return cache_purge_tag(call->cache, call->args.text, op);
}

static enum cache_status run_soften(struct api_call *call, struct cache_op *op)
{
    if (op != NULL)
        snprintf(op->error, sizeof(op->error), "a pattern has at most %d bytes", SOFT_PATTERN_MAX);
    return cache_soften(call->cache, call->args.text);
}

static enum cache_status run_soften_tag(struct api_call *call, struct cache_op *op)
{
    (void)op;
    return cache_soften_tag(call->cache, call->args.text);
}

static enum cache_status purge_url(struct api_call *call, bool soft, struct cache_op *op)
{
    const char *name = cache_config(call->cache)->name;
    const struct config_route *route;
    struct buf key = {0};
    enum cache_status status = CACHE_NOMEM;

    /* That it is an address was found out before; once the call waits, text is not there any more.
     */
    if (route_url_key(call->api->heritage->config, name, call->args.text, &key, &route) == ERR_OK)
        status = purge_page(call->cache, route, buf_slice(&key), soft, op);
    buf_fini(&key);
    return status == CACHE_MISS ? CACHE_OK : status;
}

static enum cache_status run_purge_url(struct api_call *call, struct cache_op *op)
{
    return purge_url(call, false, op);
}

static enum cache_status run_purge_soft(struct api_call *call, struct cache_op *op)
{
    return purge_url(call, true, op);
}

static void answer_purged(struct api_call *call, enum cache_status status)
{
    answer_removed(call, status == CACHE_MISS ? CACHE_OK : status);
}

/* ?url=http://HOST/PATH of a page of the site, and perhaps &soft=1. */
static enum api_result purge_by_url(struct api_call *call, struct slice url)
{
    struct slice soft = http1_query(call->request, "soft");
    struct buf *text = &call->api->key;
    const struct config_route *route;
    struct buf key = {0};
    int status;

    if (!api_guard_may(call, call->cache, AUTH_PURGE))
        return API_ANSWERED;
    buf_truncate(text, 0);
    status = http1_decode(url, true, text);
    if (status == ERR_OK)
        status = route_url_key(call->api->heritage->config, cache_config(call->cache)->name,
                               buf_slice(text), &key, &route);
    buf_fini(&key);
    if (status != ERR_OK) {
        api_send_error(call, status == ERR_NOMEM ? 500 : 400,
                       "url is the address of a page: http://HOST/PATH, percent-encoded");
        return API_ANSWERED;
    }
    call->args.text = buf_slice(text);
    call->run = slice_eq(soft, SLICE_LIT("1")) ? run_purge_soft : run_purge_url;
    call->answer = answer_purged;
    return api_call_run(call, true);
}

enum api_result api_purge(struct api_call *call)
{
    struct slice pattern = http1_query(call->request, "pattern");
    struct slice tag = http1_query(call->request, "tag");
    struct slice url = http1_query(call->request, "url");
    struct buf *text = &call->api->key;

    if (call->request->method != HTTP1_POST) {
        api_send_allow(call, "POST");
        return API_ANSWERED;
    }
    if ((pattern.len > 0) + (tag.len > 0) + (url.len > 0) != 1) {
        api_send_error(call, 400, "a purge takes ?pattern=, ?tag= or ?url=, one of them");
        return API_ANSWERED;
    }
    if (url.len > 0)
        return purge_by_url(call, url);
    if (!api_guard_may(call, call->cache, AUTH_PURGE))
        return API_ANSWERED;
    buf_truncate(text, 0);
    if (http1_decode(pattern.len > 0 ? pattern : tag, true, text) != ERR_OK) {
        api_send_error(call, 400, "a percent sign in the query without two hex digits");
        return API_ANSWERED;
    }
    call->args.text = buf_slice(text);
    if (slice_eq(http1_query(call->request, "soft"), SLICE_LIT("1")))
        call->run = pattern.len > 0 ? run_soften : run_soften_tag;
    else
        call->run = pattern.len > 0 ? run_purge : run_purge_tag;
    call->answer = answer_removed;
    return api_call_run(call, true);
}

enum api_result api_reset(struct api_call *call)
{
    struct caches *caches = call->api->caches;

    for (size_t i = 0; i < caches_count(caches); i++)
        if ((call->cache == NULL || call->cache == caches_at(caches, i)) &&
            !api_guard_may(call, caches_at(caches, i), AUTH_ADMIN))
            return API_ANSWERED;
    if (call->cache != NULL)
        cache_stats_reset(call->cache);
    for (size_t i = 0; call->cache == NULL && i < caches_count(caches); i++)
        cache_stats_reset(caches_at(caches, i));
    api_send(call, 204, slice_make("", 0));
    return API_ANSWERED;
}
