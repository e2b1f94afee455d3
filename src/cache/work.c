/* Operations that wait: for Redis, or for a lock. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>

/* A lock is held for microseconds; one held for this long belongs to a process that the master is
 * about to end (it kills an owner after one second). */
#define PARK_LIMIT_MS    2000
#define PARK_INTERVAL_MS 1

enum cache_status check_limits(const struct cache *cache, struct slice key, struct slice value)
{
    if (key.len == 0)
        return CACHE_REFUSED;
    return key.len > cache->key_max || value.len > cache->value_max ? CACHE_TOO_LARGE : CACHE_OK;
}

struct buf *scratch(void)
{
    /* One loop, no threads: a buffer for names and messages that are copied by whoever takes them.
     */
    static struct buf buf;

    buf.start = 0;
    buf.end = 0;
    return &buf;
}

static void copy_into(char **at, struct slice *out, struct slice in)
{
    if (in.len > 0)
        memcpy(*at, in.data, in.len);
    *out = slice_make(*at, in.len);
    *at += in.len;
}

/* One allocation for every byte the operation borrowed: tag slices first, they need alignment. */
static int copy_borrowed(struct work *work, struct slice *key, const struct cache_attrs *attrs)
{
    size_t tags_bytes = attrs->n_tags * sizeof(struct slice);
    size_t total = tags_bytes + key->len + work->value.len + attrs->content_type.len + 1;
    struct slice *tags;
    char *at;

    for (unsigned i = 0; i < attrs->n_tags; i++)
        total += attrs->tags[i].len;
    work->copy = malloc(total);
    if (work->copy == NULL)
        return ERR_NOMEM;
    tags = (struct slice *)(void *)work->copy;
    at = work->copy + tags_bytes;
    work->attrs = *attrs;
    work->attrs.tags = tags;
    copy_into(&at, key, *key);
    copy_into(&at, &work->value, work->value);
    copy_into(&at, &work->attrs.content_type, attrs->content_type);
    for (unsigned i = 0; i < attrs->n_tags; i++)
        copy_into(&at, &tags[i], attrs->tags[i]);
    return ERR_OK;
}

struct work *work_begin(struct cache *cache, struct cache_op *op, struct slice key,
                        struct slice value, const struct cache_attrs *attrs)
{
    static const struct cache_attrs no_attrs;
    struct work *work = calloc(1, sizeof(*work));

    if (work == NULL)
        return NULL;
    work->value = value;
    if (copy_borrowed(work, &key, attrs != NULL ? attrs : &no_attrs) != ERR_OK) {
        free(work);
        return NULL;
    }
    work->cache = cache;
    work->op = op;
    work->key = table_key(cache->zone, key);
    work->began_seq = zone_seq(cache->zone);
    list_init(&work->park);
    list_push(&cache->set->works, &work->link);
    if (op != NULL)
        op->work = work;
    return work;
}

static void fail_now(struct work *work)
{
    work->call.done(&work->call, work->fail, NULL);
}

void work_fail_later(struct work *work, int err)
{
    work->fail = err;
    work_park(work, fail_now);
}

void work_end(struct work *work, enum cache_status status)
{
    struct cache_op *op = work->op;

    if (work->began_ns != 0)
        telemetry_done(work, status);
    list_remove(&work->link);
    list_remove(&work->park);
    free(work->copy);
    free(work->tag_values);
    free(work->stored);
    free(work);
    if (op == NULL)
        return;
    op->work = NULL;
    op->done(op, status);
}

struct work *work_answered(struct pool_call *call)
{
    struct work *work = (struct work *)(void *)((char *)call - offsetof(struct work, call));

    if (call->attempt > 1)
        stat_add(work->cache->zone, STAT_RETRIES, call->attempt - 1);
    return work;
}

static void run_parked(uv_timer_t *timer)
{
    struct caches *caches = timer->data;
    struct list due;
    struct list *node;

    list_init(&due);
    while ((node = list_pop(&caches->parked)) != NULL)
        list_push(&due, node);
    while ((node = list_pop(&due)) != NULL) {
        struct work *work = LIST_ENTRY(node, struct work, park);

        if (clock_now_ms() > work->park_until_ms)
            work_end(work, CACHE_BUSY);
        else
            work->retry(work);
    }
    if (list_empty(&caches->parked))
        uv_timer_stop(timer);
}

void work_park(struct work *work, void (*retry)(struct work *work))
{
    struct caches *caches = work->cache->set;

    if (caches->closing) {
        work_end(work, CACHE_DOWN);
        return;
    }
    if (work->park_until_ms == 0)
        work->park_until_ms = clock_now_ms() + PARK_LIMIT_MS;
    work->retry = retry;
    list_push(&caches->parked, &work->park);
    if (!uv_is_active((uv_handle_t *)&caches->timer))
        uv_timer_start(&caches->timer, run_parked, PARK_INTERVAL_MS, PARK_INTERVAL_MS);
}

enum cache_status work_remote(struct work *work, const struct reply *reply)
{
    if (work->op != NULL)
        snprintf(work->op->error, sizeof(work->op->error), "%.*s", (int)reply->str.len,
                 reply->str.data);
    return CACHE_REMOTE;
}

enum cache_status status_of_err(int err)
{
    switch (err) {
    case ERR_OK:
        return CACHE_OK;
    case ERR_NOMEM:
        return CACHE_NOMEM;
    case ERR_LIMIT:
        return CACHE_BUSY;
    case ERR_TIMEOUT:
    case ERR_LOST:
        return CACHE_TIMEOUT;
    default:
        return CACHE_DOWN;
    }
}
