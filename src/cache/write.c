/* cache_put and cache_delete. With Redis: design section 7, rules 1 and 2. */
#include "cache/impl.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>

static enum cache_status status_of_set(enum table_result result)
{
    switch (result) {
    case TABLE_BUSY:
        return CACHE_WAIT;
    case TABLE_FULL:
        return CACHE_FULL;
    case TABLE_TOO_LARGE:
        return CACHE_TOO_LARGE;
    default:
        /* STORED, or REJECTED: a clear came in between, and it is as if the put came just before
         * it. */
        return CACHE_OK;
    }
}

enum cache_status write_count(struct cache *cache, enum cache_status status)
{
    if (status == CACHE_OK)
        stat_add(cache->zone, STAT_PUTS, 1);
    else if (status != CACHE_WAIT)
        stat_add(cache->zone, STAT_ERRORS, 1);
    return status;
}

uint64_t write_jitter(const struct cache *cache, uint64_t expires_ms)
{
    uint64_t now_ms = clock_now_ms(), left_ms, most_ms;
    uint64_t percent = (uint64_t)cache->config->ttl_jitter;

    if (percent == 0 || expires_ms <= now_ms)
        return expires_ms;
    left_ms = expires_ms - now_ms;
    most_ms = left_ms / 100 * percent + left_ms % 100 * percent / 100;
    return expires_ms - (uint64_t)(drand48() * (double)(most_ms + 1));
}

static enum cache_status put_memory(struct cache *cache, const struct table_key *key,
                                    struct slice value, const struct cache_attrs *attrs,
                                    uint64_t began_seq)
{
    struct table_write write = {.value = value,
                                .tags = attrs->tags,
                                .n_tags = attrs->n_tags,
                                .began_seq = began_seq,
                                .expires_ms = attrs->expires_ms,
                                .stale_ms = attrs->stale_ms};
    struct buf meta = {0};
    enum cache_status status = CACHE_NOMEM;

    if (l1_meta(attrs, &meta) == ERR_OK) {
        write.meta = buf_slice(&meta);
        status = status_of_set(table_set(cache->zone, key, &write, clock_now_ms()));
    }
    buf_fini(&meta);
    return status;
}

static void retry_put_memory(struct work *work)
{
    enum cache_status status =
        put_memory(work->cache, &work->key, work->value, &work->attrs, work->began_seq);

    if (status == CACHE_WAIT)
        work_park(work, retry_put_memory);
    else
        work_end(work, write_count(work->cache, status));
}

/* ---- put through L2 ---- */

static void put_end_l1(struct work *work);

/* Redis did not take it, or nobody knows: remember the key, and let shared memory have the value
 * where it stands in for Redis. */
static void put_fell_back(struct work *work, int err)
{
    struct cache *cache = work->cache;

    journal_key(cache, work->key.bytes);
    telemetry_fallback(cache, work->key.bytes);
    if (cache->fallback) {
        put_end_l1(work);
        return;
    }
    (void)lease_write_abort(cache->zone, &work->key, &work->lease, clock_now_ms());
    work_end(work, write_count(cache, status_of_err(err)));
}

/* The value's way into L1 once L2 has answered. */
static void put_end_l1(struct work *work)
{
    struct cache *cache = work->cache;
    struct table_write write = {.value = work->value,
                                .tags = work->attrs.tags,
                                .n_tags = work->attrs.n_tags,
                                .expires_ms = work->attrs.expires_ms,
                                .stale_ms = work->attrs.stale_ms,
                                .delta_ms = work->fetching};
    struct buf meta = {0};
    enum table_result result = TABLE_FULL;

    if (work->lease.token != 0 && l1_meta(&work->attrs, &meta) == ERR_OK) {
        write.meta = buf_slice(&meta);
        result = lease_write_end(cache->zone, &work->key, &work->lease, &write, clock_now_ms());
    } else {
        /* No stub was to be had: the older entry must go (rule 6). */
        result = lease_write_abort(cache->zone, &work->key, &work->lease, clock_now_ms());
    }
    buf_fini(&meta);
    if (result == TABLE_BUSY)
        work_park(work, put_end_l1);
    else
        work_end(work, write_count(cache, CACHE_OK));
}

static void put_refused(struct work *work, const struct reply *reply)
{
    struct cache *cache = work->cache;

    /* Redis still has the older value: neither layer may serve it (rule 2). */
    journal_key(cache, work->key.bytes);
    (void)lease_write_abort(cache->zone, &work->key, &work->lease, clock_now_ms());
    work_end(work, write_count(cache, work_remote(work, reply)));
}

static void put_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    bool had;

    if (status != ERR_OK) {
        put_fell_back(work, status);
    } else if (reply->type == REPLY_ERROR) {
        put_refused(work, reply);
    } else if (work->cache->l1) {
        put_end_l1(work);
    } else {
        /* Backend redis: what an earlier outage left in the backup is out of date now. */
        if (work->lease.token != 0)
            (void)lease_write_abort(work->cache->zone, &work->key, &work->lease, clock_now_ms());
        else
            (void)l1_remove(work->cache, &work->key, &had);
        work_end(work, write_count(work->cache, CACHE_OK));
    }
}

static int encode_put(struct work *work, struct buf *name, struct buf *stored, struct buf *message)
{
    struct envelope envelope = {.content_type = work->attrs.content_type,
                                .client_flags = work->attrs.client_flags,
                                .created_wall_ms = work->attrs.created_wall_ms,
                                .mark = work->attrs.mark,
                                .value = work->value};
    struct envelope_tag tags[TABLE_TAGS_MAX];
    int rc = keyname_encode(work->cache, work->key.bytes, name);

    tags_of(work, &envelope, tags);
    if (rc == ERR_OK)
        rc = envelope_encode(&envelope, stored);
    if (rc == ERR_OK)
        rc = encode_message(work->cache, MESSAGE_DELETE, work->key.bytes, message);
    return rc;
}

static void put_send(struct work *work)
{
    struct buf name = {0}, stored = {0}, message = {0};
    uint64_t now_ms = clock_now_ms();
    char px[24];
    struct slice set[5] = {SLICE_LIT("SET")};
    struct slice publish[3] = {SLICE_LIT("PUBLISH"),
                               slice_cstr(work->cache->set->heritage->config->redis.channel)};
    struct pool_command commands[2] = {{3, set}, {3, publish}};
    int rc = encode_put(work, &name, &stored, &message);

    work->call.done = put_done;
    if (rc == ERR_OK) {
        set[1] = buf_slice(&name);
        set[2] = buf_slice(&stored);
        publish[2] = buf_slice(&message);
        if (work->attrs.expires_ms != 0) {
            /* Counted from when Redis gets it, so L2 outlives L1 by the way there, never the
             * reverse. */
            uint64_t left = work->attrs.expires_ms > now_ms ? work->attrs.expires_ms - now_ms : 1;

            snprintf(px, sizeof(px), "%llu", (unsigned long long)left);
            set[3] = SLICE_LIT("PX");
            set[4] = slice_cstr(px);
            commands[0].argc = 5;
        }
        window_key(work->cache, work->key.bytes);
        pool_send(work->cache->set->pool, &work->call, commands, 2);
    }
    buf_fini(&name);
    buf_fini(&stored);
    buf_fini(&message);
    if (rc != ERR_OK)
        work_fail_later(work, rc);
}

void write_send(struct work *work)
{
    if (tags_known(work, put_send, put_done))
        put_send(work);
}

static void put_begin(struct work *work)
{
    struct cache *cache = work->cache;
    const struct config_redis *redis = &cache->set->heritage->config->redis;
    uint64_t now_ms = clock_now_ms();

    if (cache->l1) {
        enum lease_result result = lease_write_begin(cache->zone, &work->key, now_ms,
                                                     now_ms + 2 * redis->deadline_ms, &work->lease);

        if (result == LEASE_BUSY) {
            work_park(work, put_begin);
            return;
        }
        if (result != LEASE_GRANTED)
            work->lease = (struct lease){0};
    }
    write_send(work);
}

static enum cache_status put_l2(struct cache *cache, struct slice key, struct slice value,
                                const struct cache_attrs *attrs, struct cache_op *op)
{
    struct work *work;

    if (op == NULL)
        return CACHE_WAIT;
    work = work_begin(cache, op, key, value, attrs);
    if (work == NULL)
        return CACHE_NOMEM;
    put_begin(work);
    return CACHE_PENDING;
}

/* Redis is known to be down: no wait, no time limit to sit out (rule 7). */
static enum cache_status put_without_l2(struct cache *cache, const struct table_key *key,
                                        struct slice value, const struct cache_attrs *attrs)
{
    if (!cache->fallback) {
        stat_add(cache->zone, STAT_ERRORS, 1);
        return CACHE_DOWN;
    }
    journal_key(cache, key->bytes);
    telemetry_fallback(cache, key->bytes);
    return put_memory(cache, key, value, attrs, 0);
}

static enum cache_status put(struct cache *cache, struct slice key, struct slice value,
                             const struct cache_attrs *attrs, struct cache_op *op)
{
    enum cache_status status = check_limits(cache, key, value);
    struct cache_attrs jittered = *attrs;
    struct table_key tkey;
    struct work *work;

    if (status != CACHE_OK)
        return write_count(cache, status);
    jittered.expires_ms = write_jitter(cache, attrs->expires_ms);
    attrs = &jittered;
    if (cache->l2 && l2_usable(cache))
        return put_l2(cache, key, value, attrs, op);
    tkey = table_key(cache->zone, key);
    status = cache->l2 ? put_without_l2(cache, &tkey, value, attrs)
                       : put_memory(cache, &tkey, value, attrs, 0);
    if (status != CACHE_WAIT || op == NULL)
        return write_count(cache, status);
    work = work_begin(cache, op, key, value, attrs);
    if (work == NULL)
        return CACHE_NOMEM;
    work_park(work, retry_put_memory);
    return CACHE_PENDING;
}

enum cache_status cache_put(struct cache *cache, struct slice key, struct slice value,
                            const struct cache_attrs *attrs, struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_PUT, key, began_ns, op, NULL,
                         put(cache, key, value, attrs, op));
}

/* ---- delete ---- */

static void delete_end(struct work *work)
{
    bool had = false;

    if (!l1_remove(work->cache, &work->key, &had)) {
        work_park(work, delete_end);
        return;
    }
    work->had |= had;
    stat_add(work->cache->zone, STAT_DELETES, work->had);
    work_end(work, work->had ? CACHE_OK : CACHE_MISS);
}

static void delete_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    struct cache *cache = work->cache;
    const struct reply *count = status == ERR_OK ? exec_item(reply, 0) : NULL;

    if (count != NULL && count->type == REPLY_INTEGER) {
        work->had |= count->integer > 0;
        delete_end(work);
        return;
    }
    journal_key(cache, work->key.bytes);
    telemetry_fallback(cache, work->key.bytes);
    if (cache->fallback) {
        delete_end(work);
        return;
    }
    stat_add(cache->zone, STAT_ERRORS, 1);
    work_end(work, status == ERR_OK && reply->type == REPLY_ERROR ? work_remote(work, reply)
                                                                  : status_of_err(status));
}

/* L1, L2, L1 again: a reader between the first two may have filled L1 from what L2 still had. */
static void delete_begin(struct work *work)
{
    struct buf name = {0};
    struct slice unlink[2] = {SLICE_LIT("UNLINK")};
    struct pool_command command = {2, unlink};
    bool had = false;
    int rc;

    if (!l1_remove(work->cache, &work->key, &had)) {
        work_park(work, delete_begin);
        return;
    }
    work->had |= had;
    work->call.done = delete_done;
    work->call.repeatable = true;
    rc = keyname_encode(work->cache, work->key.bytes, &name);
    if (rc == ERR_OK) {
        unlink[1] = buf_slice(&name);
        send_and_publish(work, &command);
    }
    buf_fini(&name);
    if (rc != ERR_OK)
        work_fail_later(work, rc);
}

static enum cache_status delete_memory(struct cache *cache, struct slice key)
{
    struct table_key tkey = table_key(cache->zone, key);
    bool had;

    if (!l1_remove(cache, &tkey, &had))
        return CACHE_WAIT;
    stat_add(cache->zone, STAT_DELETES, had);
    return had ? CACHE_OK : CACHE_MISS;
}

static enum cache_status delete_key(struct cache *cache, struct slice key, struct cache_op *op)
{
    enum cache_status status;
    struct work *work;

    if (key.len == 0 || key.len > cache->key_max)
        return CACHE_MISS; /* no such key can be there */
    if (cache->l2 && !l2_usable(cache)) {
        /* Recorded even where the caller gets an error: the key is to go, whenever Redis is back.
         */
        journal_key(cache, key);
        telemetry_fallback(cache, key);
        if (!cache->fallback)
            stat_add(cache->zone, STAT_ERRORS, 1);
    }
    if (!cache->l2 || !l2_usable(cache)) {
        status = delete_memory(cache, key);
        if (status != CACHE_WAIT && cache->l2 && !cache->fallback)
            return CACHE_DOWN;
        if (status != CACHE_WAIT || op == NULL)
            return status;
    } else if (op == NULL) {
        return CACHE_WAIT;
    }
    work = work_begin(cache, op, key, (struct slice){0}, NULL);
    if (work == NULL)
        return CACHE_NOMEM;
    if (!cache->l2 || !l2_usable(cache))
        work_park(work, delete_end);
    else
        delete_begin(work);
    return CACHE_PENDING;
}

enum cache_status cache_delete(struct cache *cache, struct slice key, struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_DELETE, key, began_ns, op, NULL,
                         delete_key(cache, key, op));
}
