/* /v1/caches, /v1/caches/{cache}, /v1/caches/{cache}/purge, /v1/stats/reset. */
#include "common/auth.h"
#include "http/api_impl.h"

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

enum api_result api_purge(struct api_call *call)
{
    struct slice pattern = http1_query(call->request, "pattern");
    struct slice tag = http1_query(call->request, "tag");
    struct buf *text = &call->api->key;

    if (call->request->method != HTTP1_POST) {
        api_send_allow(call, "POST");
        return API_ANSWERED;
    }
    if ((pattern.len == 0) == (tag.len == 0)) {
        api_send_error(call, 400, "a purge takes ?pattern= or ?tag=, one of them");
        return API_ANSWERED;
    }
    if (!api_guard_may(call, call->cache, AUTH_PURGE))
        return API_ANSWERED;
    buf_truncate(text, 0);
    if (http1_decode(pattern.len > 0 ? pattern : tag, true, text) != ERR_OK) {
        api_send_error(call, 400, "a percent sign in the query without two hex digits");
        return API_ANSWERED;
    }
    call->args.text = buf_slice(text);
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
