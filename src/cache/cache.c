/* The set of named caches of one process. */
#include "cache/cache.h"

#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"
#include "redis/keyspec.h"

#include <stdlib.h>

static int cache_init(struct caches *caches, size_t number)
{
    const struct heritage *heritage = caches->heritage;
    const struct config *config = heritage->config;
    struct cache *cache = &caches->cache[number];
    uint64_t cap;

    cache->set = caches;
    cache->number = (unsigned)number;
    cache->config = &config->caches[number];
    cache->zone = heritage->zones[number];
    cache->l2 = cache->config->backend != BACKEND_MEMORY;
    cache->l1 = cache->config->backend != BACKEND_REDIS;
    cache->fallback = cache->l2 && cache->config->backup == BACKUP_MEMORY;
    cap = zone_value_max(cache->zone);
    cache->value_max = config->limits.value_bytes != 0 && config->limits.value_bytes < cap
                           ? config->limits.value_bytes
                           : cap;
    cache->key_max = config->limits.key_bytes;
    return keyname_init(cache, config);
}

int caches_open(const struct heritage *heritage, uv_loop_t *loop, unsigned slot,
                struct caches **out, struct errmsg *msg)
{
    const struct config *config = heritage->config;
    struct caches *caches = calloc(1, sizeof(*caches));
    int rc = ERR_OK;

    if (caches != NULL)
        caches->cache = calloc(config->n_caches, sizeof(*caches->cache));
    if (caches == NULL || caches->cache == NULL) {
        free(caches);
        return err_set(msg, ERR_NOMEM, "no memory for %zu caches", config->n_caches);
    }
    caches->heritage = heritage;
    caches->loop = loop;
    caches->owner = HERITAGE_OWNER(slot);
    caches->events = heritage->events;
    list_init(&caches->learning);
    list_init(&caches->works);
    list_init(&caches->parked);
    list_init(&caches->waiting);
    for (; rc == ERR_OK && caches->n < config->n_caches; caches->n++)
        rc = cache_init(caches, caches->n);
    if (rc == ERR_OK && config->redis.enabled)
        rc = pool_create(loop, &config->redis, heritage->breaker, &caches->pool, msg);
    if (rc == ERR_OK && caches->pool != NULL)
        pool_keep_incarnation(caches->pool, heritage->incarnation);
    if (rc != ERR_OK) {
        for (size_t i = 0; i < caches->n; i++)
            keyname_fini(&caches->cache[i]);
        free(caches->cache);
        free(caches);
        return rc;
    }
    uv_timer_init(loop, &caches->timer);
    uv_timer_init(loop, &caches->wait_timer);
    caches->timer.data = caches;
    caches->wait_timer.data = caches;
    caches->timers = 2;
    srand48((long)(clock_now_ns() ^ (uint64_t)slot << 32)); /* workers must not jitter alike */
    for (size_t i = 0; i < caches->n; i++)
        lease_on_ring(caches->cache[i].zone, wait_ring, caches);
    if (caches->pool != NULL)
        policy_ask(caches);
    *out = caches;
    return ERR_OK;
}

void caches_gone_if_done(struct caches *caches)
{
    void (*gone)(void *arg) = caches->gone;
    void *arg = caches->gone_arg;

    if (!caches->pool_gone || caches->timers > 0 || caches->n_own > 0)
        return;
    for (size_t i = 0; i < caches->n; i++)
        keyname_fini(&caches->cache[i]);
    for (size_t i = 0; i < caches->n; i++)
        lease_on_ring(caches->cache[i].zone, NULL, NULL);
    buf_fini(scratch());
    keyspec_free(caches->commands);
    free(caches->cache);
    free(caches);
    gone(arg);
}

static void timer_closed(uv_handle_t *handle)
{
    struct caches *caches = handle->data;

    caches->timers--;
    caches_gone_if_done(caches);
}

static void pool_closed(void *arg)
{
    struct caches *caches = arg;

    caches->pool_gone = true;
    caches_gone_if_done(caches);
}

void caches_close(struct caches *caches, void (*gone)(void *arg), void *arg)
{
    struct list *node;

    caches->closing = true;
    caches->gone = gone;
    caches->gone_arg = arg;
    while ((node = list_pop(&caches->parked)) != NULL)
        work_end(LIST_ENTRY(node, struct work, park), CACHE_DOWN);
    while ((node = list_pop(&caches->waiting)) != NULL)
        work_end(LIST_ENTRY(node, struct work, park), CACHE_DOWN);
    uv_close((uv_handle_t *)&caches->timer, timer_closed);
    uv_close((uv_handle_t *)&caches->wait_timer, timer_closed);
    if (caches->pool != NULL)
        pool_close(caches->pool, pool_closed, caches);
    else
        caches->pool_gone = true;
}

void caches_wake(struct caches *caches)
{
    if (caches->closing)
        return;
    if (caches->pool != NULL)
        jobs_adopt(caches);
    wait_wake(caches);
}

struct cache *caches_find(struct caches *caches, struct slice name)
{
    for (size_t i = 0; i < caches->n; i++)
        if (slice_eq(name, slice_cstr(caches->cache[i].config->name)))
            return &caches->cache[i];
    return NULL;
}

struct cache *caches_by_db(struct caches *caches, int64_t db)
{
    for (size_t i = 0; i < caches->n; i++)
        if (db >= 0 && caches->cache[i].config->resp_db == db)
            return &caches->cache[i];
    return NULL;
}

struct cache *caches_at(struct caches *caches, size_t number)
{
    return &caches->cache[number];
}

size_t caches_count(const struct caches *caches)
{
    return caches->n;
}

struct pool *caches_pool(struct caches *caches)
{
    return caches->pool;
}

const struct config_cache *cache_config(const struct cache *cache)
{
    return cache->config;
}

struct zone *cache_zone(struct cache *cache)
{
    return cache->zone;
}

bool cache_has_l2(const struct cache *cache)
{
    return cache->l2;
}

const char *cache_status_text(const struct cache *cache, enum cache_status status)
{
    (void)cache;
    switch (status) {
    case CACHE_OK:
        return "ok";
    case CACHE_MISS:
        return "not found";
    case CACHE_NOT_INTEGER:
        return "value is not an integer or out of range";
    case CACHE_OVERFLOW:
        return "increment or decrement would overflow";
    case CACHE_TOO_LARGE:
        return "key over limits.key, or value over limits.value or an eighth of the cache's memory";
    case CACHE_FULL:
        return "no memory could be freed for it (caches.memory)";
    case CACHE_DOWN:
        return "Redis is down, and this operation needs it";
    case CACHE_TIMEOUT:
        return "Redis did not answer in time (redis.deadline); the outcome is unknown";
    case CACHE_BUSY:
        return "too busy: too many commands wait for Redis (redis.queue), or a lock was held too "
               "long";
    case CACHE_REMOTE:
        return "Redis answered with an error";
    case CACHE_REFUSED:
        return "not allowed on this cache (a key has at least one byte)";
    case CACHE_NOMEM:
        return "the process has no memory left";
    case CACHE_WAIT:
    case CACHE_PENDING:
        break;
    }
    return "not finished";
}

void cache_stats(struct cache *cache, struct cache_stats *out)
{
    uint64_t reads;

    stat_sum(cache->zone, out->counter);
    stat_memory(cache->zone, &out->memory);
    out->entries = table_count(cache->zone);
    out->bytes = table_bytes(cache->zone);
    reads = out->counter[STAT_HITS] + out->counter[STAT_MISSES];
    out->hit_rate = reads == 0 ? 0.0 : (double)out->counter[STAT_HITS] / (double)reads;
}

void cache_stats_reset(struct cache *cache)
{
    stat_reset(cache->zone);
}
