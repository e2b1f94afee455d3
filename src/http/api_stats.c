/* Statistics as JSON. */
#include "http/api_impl.h"

#include "common/clock.h"
#include "redis/pool.h"

#include <stdlib.h>

/* All numbers are in shared memory and belong to the whole daemon, but for those of the pool, which
 * are this worker's. */

static int set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value);
}

static int set_number(json_t *object, const char *name, uint64_t value)
{
    return set(object, name, json_integer((json_int_t)value));
}

static json_t *memory_json(const struct stat_memory *memory)
{
    json_t *object = json_object();
    int failed = 0;

#define SET_MEMORY(name, metric, text) failed |= set_number(object, #name, memory->name);
    STAT_MEMORY_LIST(SET_MEMORY)
#undef SET_MEMORY
    if (failed == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *stats_json(const struct cache_stats *stats)
{
    json_t *object = json_object();
    int failed = 0;

    for (int i = 0; i < STAT_COUNT; i++)
        failed |= set_number(object, stat_name((enum counter)i), stats->counter[i]);
    failed |= set(object, "hit_rate", json_real(stats->hit_rate));
    failed |= set_number(object, "entries", stats->entries);
    failed |= set_number(object, "bytes", stats->bytes);
    failed |= set(object, "memory", memory_json(&stats->memory));
    if (failed == 0)
        return object;
    json_decref(object);
    return NULL;
}

static void add(struct cache_stats *total, const struct cache_stats *stats)
{
    uint64_t reads, slab_bytes;

    for (int i = 0; i < STAT_COUNT; i++)
        total->counter[i] += stats->counter[i];
    total->entries += stats->entries;
    total->bytes += stats->bytes;
    /* Caches have slabs of different sizes: the total's "slab" is all of their bytes. */
    slab_bytes = total->memory.slab_bytes + stats->memory.slab_bytes * stats->memory.slabs;
#define ADD_MEMORY(name, metric, text) total->memory.name += stats->memory.name;
    STAT_MEMORY_LIST(ADD_MEMORY)
#undef ADD_MEMORY
    total->memory.slab_bytes = slab_bytes;
    reads = total->counter[STAT_HITS] + total->counter[STAT_MISSES];
    total->hit_rate = reads == 0 ? 0.0 : (double)total->counter[STAT_HITS] / (double)reads;
}

static json_t *worker_json(const struct scoreboard_slot *slot, unsigned number)
{
    static const char *const states[] = {"empty", "starting", "serving", "draining"};
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);

    return json_pack(
        "{s:i, s:i, s:s, s:I, s:I, s:I, s:I}", "slot", (int)number, "pid",
        (int)atomic_load_explicit(&slot->pid, memory_order_relaxed), "state",
        state <= SLOT_DRAINING ? states[state] : "unknown", "connections",
        (json_int_t)atomic_load_explicit(&slot->connections, memory_order_relaxed), "accepted",
        (json_int_t)atomic_load_explicit(&slot->accepted, memory_order_relaxed), "requests",
        (json_int_t)atomic_load_explicit(&slot->requests, memory_order_relaxed), "restarts",
        (json_int_t)atomic_load_explicit(&slot->restarts, memory_order_relaxed));
}

static json_t *workers_json(const struct scoreboard *board)
{
    json_t *list = json_array();
    int failed = 0;

    for (unsigned i = 0; i < board->n_slots && i < SCOREBOARD_MAX; i++)
        failed |= json_array_append_new(list, worker_json(&board->slots[i], i));
    if (failed == 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *pool_json(struct pool *pool)
{
    struct pool_stats stats = {0};

    pool_stats(pool, &stats);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "sent", (json_int_t)stats.sent,
                     "answered", (json_int_t)stats.answered, "failed", (json_int_t)stats.failed,
                     "retried", (json_int_t)stats.retried, "timeouts", (json_int_t)stats.timeouts,
                     "connects", (json_int_t)stats.connects, "connected", (int)stats.connected,
                     "queued", (int)stats.queued);
}

static json_t *redis_json(struct caches *caches, const struct heritage *heritage)
{
    static const char *const states[] = {"closed", "open", "half-open"};
    uint32_t confirmed = atomic_load_explicit(&heritage->board->invalidation, memory_order_relaxed);

    if (caches_pool(caches) == NULL)
        return json_pack("{s:b}", "configured", 0);
    return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "configured", 1, "breaker",
                     states[breaker_state(heritage->breaker)], "breaker_opened",
                     (json_int_t)breaker_opened(heritage->breaker), "journal",
                     (json_int_t)journal_count(heritage->journal), "loss_window",
                     (json_int_t)(heritage->window == NULL ? 0 : journal_count(heritage->window)),
                     "doubts", (json_int_t)incarnation_doubts(heritage->incarnation), "suspects",
                     (json_int_t)incarnation_suspects(heritage->incarnation),
                     "invalidation_confirmed", confirmed != 0, "pool",
                     pool_json(caches_pool(caches)));
}

static json_t *origin_json(const struct heritage *heritage, size_t route, size_t i)
{
    const struct health *health = &heritage->health[route * CONFIG_MAX_ORIGINS + i];

    return json_pack("{s:I, s:s, s:b, s:I}", "route", (json_int_t)route, "url",
                     heritage->config->routes[route].origins[i], "up",
                     health_usable(health, clock_now_ms()), "busy",
                     (json_int_t)health_busy(health, heritage->board->n_slots));
}

static json_t *origins_json(const struct heritage *heritage)
{
    const struct config *config = heritage->config;
    json_t *list = json_array();
    int failed = 0;

    for (size_t i = 0; i < config->n_routes; i++)
        for (size_t k = 0; k < config->routes[i].n_origins; k++)
            failed |= json_array_append_new(list, origin_json(heritage, i, k));
    if (failed == 0)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *caches_json(struct caches *caches, struct cache_stats *total)
{
    json_t *object = json_object();
    int failed = 0;

    *total = (struct cache_stats){0};
    for (size_t i = 0; i < caches_count(caches); i++) {
        struct cache *cache = caches_at(caches, i);
        struct cache_stats stats;

        cache_stats(cache, &stats);
        add(total, &stats);
        failed |= set(object, cache_config(cache)->name, stats_json(&stats));
    }
    if (failed == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *daemon_json(struct caches *caches, const struct heritage *heritage)
{
    uint64_t wall_ms = clock_wall_ms(), started_ms = heritage->board->started_wall_ms;
    json_t *object = json_object();
    struct cache_stats total;
    int failed;

    failed = set(object, "node_id", json_string(heritage->node_id));
    failed |=
        set_number(object, "uptime_s", wall_ms > started_ms ? (wall_ms - started_ms) / 1000 : 0);
    failed |= set(object, "workers", workers_json(heritage->board));
    failed |= set(object, "caches", caches_json(caches, &total));
    failed |= set(object, "total", stats_json(&total));
    failed |= set(object, "redis", redis_json(caches, heritage));
    failed |= set(object, "origins", origins_json(heritage));
    if (failed == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *cache_json(struct cache *cache)
{
    struct cache_stats stats;
    json_t *object;

    cache_stats(cache, &stats);
    object = stats_json(&stats);
    if (object == NULL || set(object, "cache", json_string(cache_config(cache)->name)) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *any_json(struct caches *caches, const struct heritage *heritage, struct cache *cache)
{
    return cache == NULL ? daemon_json(caches, heritage) : cache_json(cache);
}

int api_stats_json(struct caches *caches, const struct heritage *heritage, struct cache *cache,
                   struct buf *out)
{
    json_t *json = any_json(caches, heritage, cache);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    int rc = text == NULL ? ERR_NOMEM : buf_append(out, text, strlen(text));

    free(text);
    json_decref(json);
    return rc;
}

enum api_result api_stats(struct api_call *call)
{
    if (call->request->method != HTTP1_GET && call->request->method != HTTP1_HEAD)
        api_send_allow(call, "GET, HEAD");
    else
        api_send_json(call, 200, any_json(call->api->caches, call->api->heritage, call->cache));
    return API_ANSWERED;
}
