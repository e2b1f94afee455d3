#include "cache_fixture.h"

#include "common/clock.h"
#include "shm/check.h"

#include <check.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static char *const cache_names[] = {"default", "second", "third"};

static void default_config(struct config *config, size_t n_caches, const char *redis)
{
    *config = (struct config){0};
    config->limits.key_bytes = 1024;
    config->n_caches = n_caches;
    for (size_t i = 0; i < n_caches; i++) {
        struct config_cache *cache = &config->caches[i];

        cache->name = cache_names[i];
        cache->memory_bytes = 8u << 20;
        cache->backend = redis != NULL ? BACKEND_LAYERED : BACKEND_MEMORY;
        cache->backup = redis != NULL ? BACKUP_MEMORY : BACKUP_NONE;
        cache->redis_prefix = (char *)(uintptr_t) "";
        cache->resp_db = i == 0 ? 0 : -1;
    }
    config->redis = (struct config_redis){
        .enabled = redis != NULL,
        .server = (char *)(uintptr_t)(redis != NULL ? redis : ""),
        .user = (char *)(uintptr_t) "",
        .prefix = (char *)(uintptr_t) "cachetastic",
        .pool_size = 2,
        .connect_timeout_ms = 1000,
        .command_timeout_ms = 500,
        .attempts = 3,
        .retry_delay_ms = 10,
        .deadline_ms = 1000,
        .reconnect_min_ms = 10,
        .reconnect_max_ms = 100,
        .queue_max = 10000,
        .breaker_failures = 3,
        .breaker_open_ms = 100,
        .invalidation = ADAPTER_REDIS,
        .channel = (char *)(uintptr_t) "cachetastic:invalidate",
        .journal_entries = 128,
        .loss_window_ms = 60000,
    };
}

static void open_shared(struct cache_fixture *fixture, struct errmsg *msg)
{
    const struct config *config = &fixture->config;
    struct heritage *heritage = &fixture->heritage;

    ck_assert_int_eq(scoreboard_create(1, &heritage->board, msg), ERR_OK);
    ck_assert_int_eq(jobs_create(&heritage->jobs, msg), ERR_OK);
    ck_assert_int_eq(event_create(&heritage->events, msg), ERR_OK);
    for (size_t i = 0; i < config->n_caches; i++) {
        struct zone_options options = {.name = config->caches[i].name,
                                       .size_bytes = config->caches[i].memory_bytes,
                                       .key_max_bytes = (uint32_t)config->limits.key_bytes};

        ck_assert_msg(zone_create(&options, &heritage->zones[i], msg) == ERR_OK, "%s", msg->text);
    }
    for (size_t i = 0; i < FIXTURE_SLOTS; i++)
        heritage->wake_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!config->redis.enabled)
        return;
    ck_assert_int_eq(journal_create((uint32_t)config->redis.journal_entries,
                                    (uint32_t)config->limits.key_bytes, &heritage->journal, msg),
                     ERR_OK);
    if (config->redis.loss_window_ms > 0)
        ck_assert_int_eq(journal_create((uint32_t)config->redis.journal_entries,
                                        (uint32_t)config->limits.key_bytes, &heritage->window, msg),
                         ERR_OK);
    ck_assert_int_eq(incarnation_create(&heritage->incarnation, msg), ERR_OK);
    ck_assert_int_eq(breaker_create((uint32_t)config->redis.breaker_failures,
                                    config->redis.breaker_open_ms, &heritage->breaker, msg),
                     ERR_OK);
}

void fixture_share(struct cache_fixture *fixture, size_t n_caches, const char *redis,
                   void (*prepare)(struct config *config))
{
    struct errmsg msg = {{0}};

    *fixture = (struct cache_fixture){0};
    default_config(&fixture->config, n_caches, redis);
    if (prepare != NULL)
        prepare(&fixture->config);
    fixture->heritage.config = &fixture->config;
    strcpy(fixture->heritage.node_id, "test-node");
    open_shared(fixture, &msg);
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct cache_fixture *fixture = poll->data;
    uint64_t rings;

    (void)status;
    (void)events;
    ck_assert_int_eq(read(fixture->heritage.wake_fds[fixture->slot], &rings, sizeof(rings)),
                     sizeof(rings));
    caches_wake(fixture->caches);
}

void fixture_serve(struct cache_fixture *fixture, unsigned slot)
{
    struct errmsg msg = {{0}};

    fixture->slot = slot;
    for (size_t i = 0; i < fixture->config.n_caches; i++)
        ck_assert_msg(zone_join(fixture->heritage.zones[i], &msg) == ERR_OK, "%s", msg.text);
    ck_assert_int_eq(uv_loop_init(&fixture->loop), 0);
    ck_assert_int_eq(uv_poll_init(&fixture->loop, &fixture->wake, fixture->heritage.wake_fds[slot]),
                     0);
    fixture->wake.data = fixture;
    ck_assert_int_eq(uv_poll_start(&fixture->wake, UV_READABLE, on_wake), 0);
    ck_assert_msg(caches_open(&fixture->heritage, &fixture->loop, slot, &fixture->caches, &msg) ==
                      ERR_OK,
                  "%s", msg.text);
}

void fixture_open(struct cache_fixture *fixture, size_t n_caches, const char *redis,
                  void (*prepare)(struct config *config))
{
    fixture_share(fixture, n_caches, redis, prepare);
    fixture_serve(fixture, 0);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

void fixture_stop(struct cache_fixture *fixture)
{
    bool gone = false;

    caches_close(fixture->caches, set_flag, &gone);
    while (!gone)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&fixture->wake, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&fixture->loop), 0);
    for (size_t i = 0; i < fixture->config.n_caches; i++)
        zone_leave(fixture->heritage.zones[i]);
}

void fixture_unshare(struct cache_fixture *fixture)
{
    struct check_report report = {0};

    for (size_t i = 0; i < fixture->config.n_caches; i++) {
        struct zone *zone = fixture->heritage.zones[i];

        ck_assert_int_eq(check_zone(zone, false, &report), ERR_OK);
        ck_assert_msg(report.problems == 0, "%s: %s", zone_name(zone), report.first);
        zone_destroy(zone);
    }
    for (size_t i = 0; i < FIXTURE_SLOTS; i++)
        close(fixture->heritage.wake_fds[i]);
    scoreboard_destroy(fixture->heritage.board);
    jobs_destroy(fixture->heritage.jobs);
    event_destroy(fixture->heritage.events);
    if (fixture->heritage.journal != NULL)
        journal_destroy(fixture->heritage.journal);
    journal_destroy(fixture->heritage.window);
    incarnation_destroy(fixture->heritage.incarnation);
    if (fixture->heritage.breaker != NULL)
        breaker_destroy(fixture->heritage.breaker);
}

void fixture_close(struct cache_fixture *fixture)
{
    fixture_stop(fixture);
    fixture_unshare(fixture);
}

/* ---- one operation, waited for ---- */

struct waiter {
    struct cache_sink sink;
    struct cache_op op;
    struct fixture_result result;
    bool done;
};

static char *place(struct cache_sink *sink, const struct cache_info *info)
{
    struct waiter *waiter = (struct waiter *)(void *)sink;
    char *p;

    buf_truncate(&waiter->result.value, 0);
    p = buf_reserve(&waiter->result.value, info->value_len + 1);
    ck_assert_ptr_nonnull(p);
    buf_commit(&waiter->result.value, info->value_len);
    p[info->value_len] = '\0';
    waiter->result.found = true;
    return p;
}

static void op_done(struct cache_op *op, enum cache_status status)
{
    struct waiter *waiter = (struct waiter *)(void *)((char *)op - offsetof(struct waiter, op));

    waiter->result.status = status;
    waiter->result.integer = op->integer;
    waiter->result.info = op->info;
    memcpy(waiter->result.error, op->error, sizeof(op->error));
    waiter->done = true;
}

static void waiter_init(struct waiter *waiter)
{
    *waiter = (struct waiter){.sink = {.place = place}, .op = {.done = op_done}};
}

static struct fixture_result settle(struct cache_fixture *fixture, struct waiter *waiter,
                                    enum cache_status status)
{
    if (status != CACHE_PENDING) {
        waiter->result.status = status;
        memcpy(waiter->result.error, waiter->op.error, sizeof(waiter->op.error));
        return waiter->result;
    }
    while (!waiter->done)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    return waiter->result;
}

static struct cache *find(struct cache_fixture *fixture, const char *name)
{
    struct cache *cache = caches_find(fixture->caches, slice_cstr(name));

    ck_assert_ptr_nonnull(cache);
    return cache;
}

struct fixture_result fixture_get(struct cache_fixture *fixture, const char *cache, const char *key)
{
    struct waiter waiter;
    struct cache_info info = {0};
    struct fixture_result result;
    enum cache_status status;

    waiter_init(&waiter);
    status = cache_get(find(fixture, cache), slice_cstr(key), &waiter.sink, &waiter.op, &info);
    result = settle(fixture, &waiter, status);
    if (status != CACHE_PENDING)
        result.info = info;
    return result;
}

struct fixture_result fixture_put(struct cache_fixture *fixture, const char *cache, const char *key,
                                  const char *value, const struct cache_attrs *attrs)
{
    static const struct cache_attrs none;
    struct waiter waiter;

    waiter_init(&waiter);
    return settle(fixture, &waiter,
                  cache_put(find(fixture, cache), slice_cstr(key), slice_cstr(value),
                            attrs != NULL ? attrs : &none, &waiter.op));
}

struct fixture_result fixture_delete(struct cache_fixture *fixture, const char *cache,
                                     const char *key)
{
    struct waiter waiter;

    waiter_init(&waiter);
    return settle(fixture, &waiter,
                  cache_delete(find(fixture, cache), slice_cstr(key), &waiter.op));
}

struct fixture_result fixture_change(struct cache_fixture *fixture, const char *cache,
                                     const char *key, const struct cache_change *change)
{
    struct waiter waiter;
    struct fixture_result result;
    int64_t integer = 0;
    enum cache_status status;

    waiter_init(&waiter);
    status = cache_change(find(fixture, cache), slice_cstr(key), change,
                          change->want_old ? &waiter.sink : NULL, &waiter.op, &integer);
    result = settle(fixture, &waiter, status);
    if (status != CACHE_PENDING)
        result.integer = integer;
    return result;
}

struct fixture_result fixture_clear(struct cache_fixture *fixture, const char *cache)
{
    struct waiter waiter;

    waiter_init(&waiter);
    return settle(fixture, &waiter, cache_clear(find(fixture, cache), &waiter.op));
}

struct fixture_result fixture_purge(struct cache_fixture *fixture, const char *cache,
                                    const char *pattern)
{
    struct waiter waiter;

    waiter_init(&waiter);
    return settle(fixture, &waiter,
                  cache_purge(find(fixture, cache), slice_cstr(pattern), &waiter.op));
}

struct fixture_result fixture_count(struct cache_fixture *fixture, const char *cache)
{
    struct waiter waiter;
    struct fixture_result result;
    int64_t count = 0;
    enum cache_status status;

    waiter_init(&waiter);
    status = cache_count(find(fixture, cache), &waiter.op, &count);
    result = settle(fixture, &waiter, status);
    if (status != CACHE_PENDING)
        result.integer = count;
    return result;
}

void fixture_result_fini(struct fixture_result *result)
{
    buf_fini(&result->value);
}

static void stop_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void fixture_run(struct cache_fixture *fixture, uint64_t ms)
{
    bool over = false;
    uv_timer_t timer;

    uv_timer_init(&fixture->loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, stop_timer, ms, 0);
    while (!over)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

void fixture_expect(struct cache_fixture *fixture, const char *cache, const char *key,
                    const char *value)
{
    struct fixture_result result = fixture_get(fixture, cache, key);

    if (value == NULL) {
        ck_assert_msg(result.status == CACHE_MISS, "%s: status %d, expected a miss", key,
                      result.status);
        ck_assert(!result.found);
    } else {
        ck_assert_msg(result.status == CACHE_OK, "%s: status %d (%s), expected %s", key,
                      result.status, result.error, value);
        ck_assert_uint_eq(buf_len(&result.value), strlen(value));
        ck_assert_str_eq(buf_head(&result.value), value);
    }
    fixture_result_fini(&result);
}
