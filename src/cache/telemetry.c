#include "cache/telemetry.h"

#include "cache/impl.h"
#include "common/clock.h"
#include "common/base64.h"

#include <jansson.h>
#include <stdlib.h>

static const char *const names[TELEMETRY_KINDS] = {
    [TELEMETRY_GET] = "cachetastic.cache.get",
    [TELEMETRY_PUT] = "cachetastic.cache.put",
    [TELEMETRY_DELETE] = "cachetastic.cache.delete",
    [TELEMETRY_DELETE_PATTERN] = "cachetastic.cache.delete_pattern",
    [TELEMETRY_CLEAR] = "cachetastic.cache.clear",
    [TELEMETRY_FETCH] = "cachetastic.cache.fetch",
    [TELEMETRY_FALLBACK] = "cachetastic.cache.fallback",
};

static const char *const results[TELEMETRY_RESULTS] = {
    [TELEMETRY_OK] = "ok",       [TELEMETRY_HIT] = "hit",         [TELEMETRY_MISS] = "miss",
    [TELEMETRY_STALE] = "stale", [TELEMETRY_STARTED] = "started", [TELEMETRY_ERROR] = "error",
};

/* ---- telling ---- */

static void tell(struct cache *cache, enum telemetry_kind kind, struct slice key,
                 uint64_t duration_ns, enum telemetry_result result)
{
    struct event event = {.duration_ns = duration_ns,
                          .kind = (uint8_t)kind,
                          .cache = (uint8_t)cache->number,
                          .result = (uint8_t)result};

    (void)event_write(cache->set->events, cache->set->owner, &event, key);
}

static enum telemetry_result result_of(enum telemetry_kind kind, enum cache_status status,
                                       const struct cache_info *info)
{
    bool reads = kind == TELEMETRY_GET || kind == TELEMETRY_FETCH;

    if (status == CACHE_MISS)
        return TELEMETRY_MISS;
    if (status != CACHE_OK)
        return TELEMETRY_ERROR;
    if (reads && info != NULL && info->stale)
        return TELEMETRY_STALE;
    return reads ? TELEMETRY_HIT : TELEMETRY_OK;
}

uint64_t telemetry_begin(const struct cache *cache)
{
    return event_wanted(cache->set->events) ? clock_now_ns() : 0;
}

enum cache_status telemetry_end(struct cache *cache, enum telemetry_kind kind, struct slice key,
                                uint64_t began_ns, struct cache_op *op,
                                const struct cache_info *info, enum cache_status status)
{
    struct work *work = op == NULL ? NULL : op->work;

    if (began_ns == 0 || status == CACHE_WAIT)
        return status;
    if (status != CACHE_PENDING) {
        tell(cache, kind, key, clock_now_ns() - began_ns, result_of(kind, status, info));
    } else if (work != NULL && work->op == op) {
        work->began_ns = began_ns;
        work->kind = kind;
    } else {
        tell(cache, kind, key, clock_now_ns() - began_ns, TELEMETRY_STARTED);
    }
    return status;
}

void telemetry_done(const struct work *work, enum cache_status status)
{
    const struct cache_info *info = work->op == NULL ? NULL : &work->op->info;
    bool pattern = work->kind == TELEMETRY_DELETE_PATTERN;

    tell(work->cache, work->kind, pattern ? work->value : work->key.bytes,
         clock_now_ns() - work->began_ns,
         status == CACHE_PENDING ? TELEMETRY_STARTED : result_of(work->kind, status, info));
}

void telemetry_fallback(struct cache *cache, struct slice key)
{
    stat_add(cache->zone, STAT_FALLBACKS, 1);
    if (event_wanted(cache->set->events))
        tell(cache, TELEMETRY_FALLBACK, key, 0, TELEMETRY_OK);
}

/* ---- as text ---- */

const char *telemetry_name(enum telemetry_kind kind)
{
    return names[kind];
}

static const char *backend_name(const struct cache *cache)
{
    static const char *const backends[] = {
        [BACKEND_MEMORY] = "memory", [BACKEND_REDIS] = "redis", [BACKEND_LAYERED] = "layered"};

    return backends[cache->config->backend];
}

/* jansson takes UTF-8 only, and checks. */
static int set_key(json_t *metadata, const struct event *event)
{
    size_t kept = event->key_len > EVENT_KEY_BYTES ? EVENT_KEY_BYTES : event->key_len;
    char text[(EVENT_KEY_BYTES + 2) / 3 * 4];
    json_t *key = json_stringn(event->key, kept);

    if (event->key_len > kept && json_object_set_new(metadata, "key_cut", json_true()) != 0)
        return ERR_NOMEM;
    if (key != NULL)
        return json_object_set_new(metadata, "key", key) == 0 ? ERR_OK : ERR_NOMEM;
    base64_encode(slice_make(event->key, kept), text);
    key = json_stringn(text, base64_encoded_len(kept));
    return json_object_set_new(metadata, "key_b64", key) == 0 ? ERR_OK : ERR_NOMEM;
}

int telemetry_json(struct caches *caches, const struct event *event, struct buf *out)
{
    const struct cache *cache = caches_at(caches, event->cache);
    json_t *json = json_pack("{s:s, s:{s:I}, s:{s:s, s:s, s:s, s:i}}", "event", names[event->kind],
                             "measurements", "duration", (json_int_t)event->duration_ns, "metadata",
                             "cache", cache->config->name, "backend", backend_name(cache), "result",
                             results[event->result], "worker", (int)event->owner - 1);
    char *text = NULL;
    int err = json == NULL ? ERR_NOMEM : set_key(json_object_get(json, "metadata"), event);

    if (err == ERR_OK && (text = json_dumps(json, JSON_COMPACT)) == NULL)
        err = ERR_NOMEM;
    if (err == ERR_OK)
        err = buf_append(out, text, strlen(text));
    free(text);
    json_decref(json);
    return err;
}
