/* cache_get: shared memory first, then Redis, and what Redis answered fills shared memory. */
#include "cache/impl.h"
#include "common/clock.h"

#include <stdlib.h>

/* What one reader found absent is the answer for those who waited for it; they have all been rung.
 */
#define ABSENT_MS 100

#define PREFETCH_KEYS 64 /* at once */

void read_count(struct cache *cache, bool counts, enum counter layer, bool found)
{
    if (!counts)
        return;
    if (!found) {
        stat_add(cache->zone, STAT_MISSES, 1);
        return;
    }
    stat_add(cache->zone, STAT_HITS, 1);
    stat_add(cache->zone, layer, 1);
}

/* L2 cannot be asked: whatever shared memory has must do. */
static enum cache_status read_fallback(struct cache *cache, const struct table_key *key,
                                       struct cache_sink *sink, struct cache_info *info)
{
    enum table_result result;

    telemetry_fallback(cache, key->bytes);
    if (!cache->fallback && !cache->l1)
        return CACHE_DOWN;
    result = l1_read(cache, key, clock_now_ms(), sink, info);
    if (result == TABLE_HIT || result == TABLE_STALE) {
        read_count(cache, sink != NULL, result == TABLE_HIT ? STAT_L1_HITS : STAT_STALE_HITS, true);
        return CACHE_OK;
    }
    if (result == TABLE_FULL)
        return CACHE_NOMEM;
    /* Without a backup, "not there" would be a guess: say that Redis is needed. */
    if (!cache->fallback)
        return CACHE_DOWN;
    read_count(cache, sink != NULL, STAT_L1_HITS, false);
    return CACHE_MISS;
}

static void read_failed(struct work *work, int err)
{
    struct cache_info *info = &work->op->info;
    enum cache_status status;

    if (work->fetching) {
        /* Computing goes on without L2. */
        telemetry_fallback(work->cache, work->key.bytes);
        fetch_absent(work);
        return;
    }
    if (work->lease.token != 0)
        (void)lease_fail(work->cache->zone, &work->key, &work->lease);
    status = read_fallback(work->cache, &work->key, work->sink, info);
    if (status == CACHE_DOWN && err != ERR_OK)
        status = status_of_err(err);
    if (status != CACHE_OK && status != CACHE_MISS)
        stat_add(work->cache->zone, STAT_ERRORS, 1);
    work_end(work, status);
}

/* Store what L2 gave, if the lease still stands (design rules 1 and 3). */
static void fill(struct work *work, const struct envelope *envelope, uint64_t expires_ms)
{
    struct cache_attrs attrs = {.content_type = envelope->content_type,
                                .client_flags = envelope->client_flags,
                                .created_wall_ms = envelope->created_wall_ms,
                                .mark = envelope->mark};
    struct buf meta = {0};
    struct table_write write = {.value = envelope->value, .expires_ms = expires_ms};
    struct slice tags[TABLE_TAGS_MAX];
    struct envelope_tag tag;
    enum table_result result;
    size_t at = 0;

    if (work->lease.token == 0)
        return;
    if (!work->cache->l1) {
        (void)lease_fail(work->cache->zone, &work->key, &work->lease);
        return;
    }
    if (l1_meta(&attrs, &meta) != ERR_OK) {
        (void)lease_fail(work->cache->zone, &work->key, &work->lease);
        return;
    }
    write.meta = buf_slice(&meta);
    while (write.n_tags < TABLE_TAGS_MAX && envelope_next_tag(envelope, &at, &tag))
        tags[write.n_tags++] = tag.name;
    write.tags = tags;
    /* A blocked fill is dropped, not waited for: the value is on its way to the client anyway, and
     * the lease ends by its deadline. */
    result = lease_fill_end(work->cache->zone, &work->key, &work->lease, &write, clock_now_ms());
    if (result == TABLE_REJECTED)
        stat_add(work->cache->zone, STAT_REJECTED_FILLS, 1);
    buf_fini(&meta);
}

/* Tell those who wait that there is nothing. A stale copy that L2 no longer has goes first, since
 * it must not come back when L2 is next down; when its stripe is locked it stays for now: it is
 * stale still. */
static void tell_absent(struct work *work)
{
    struct zone *zone = work->cache->zone;
    struct table_hit hit;
    bool had;

    if (work->cache->l1 && table_find(zone, &work->key, clock_now_ms(), &hit) != TABLE_MISS)
        (void)l1_remove(work->cache, &work->key, &had);
    if (work->lease.token != 0)
        (void)lease_absent(zone, &work->key, &work->lease, clock_now_ms() + ABSENT_MS);
}

static void read_absent(struct work *work)
{
    if (work->fetching) {
        fetch_absent(work);
        return;
    }
    tell_absent(work);
    read_count(work->cache, work->sink != NULL, STAT_L2_HITS, false);
    work_end(work, CACHE_MISS);
}

/* work->envelope is what the key has. */
static void read_give(struct work *work)
{
    struct cache_info *info = &work->op->info;
    const struct envelope *envelope = &work->envelope;
    char *place;

    *info = (struct cache_info){0};
    l1_info(envelope, info);
    info->expires_ms = work->expires_ms;
    info->value_len = envelope->value.len;
    fill(work, envelope, work->expires_ms);
    if (work->sink != NULL) {
        place = work->sink->place(work->sink, info);
        if (place == NULL) {
            work_end(work, CACHE_NOMEM);
            return;
        }
        if (envelope->value.len > 0)
            memcpy(place, envelope->value.data, envelope->value.len);
    }
    read_count(work->cache, work->sink != NULL, STAT_L2_HITS, true);
    work_end(work, CACHE_OK);
}

void read_checked(struct work *work, int err, bool valid)
{
    if (err != ERR_OK)
        read_failed(work, err);
    else if (!valid)
        read_absent(work); /* purged by a tag */
    else
        read_give(work);
}

/* Tags are another question to Redis, and the reply is gone by then. */
static void check_tags(struct work *work, struct slice stored)
{
    work->stored = malloc(stored.len);
    if (work->stored == NULL) {
        read_failed(work, ERR_NOMEM);
        return;
    }
    memcpy(work->stored, stored.data, stored.len);
    if (envelope_decode(slice_make(work->stored, stored.len), &work->envelope) != ERR_OK ||
        tags_check(work) != ERR_OK)
        read_failed(work, ERR_NOMEM);
}

static void read_found(struct work *work, struct slice stored, int64_t pttl_ms)
{
    work->expires_ms = pttl_ms >= 0 ? work->sent_ms + (uint64_t)pttl_ms : 0;
    if (envelope_decode(stored, &work->envelope) != ERR_OK) {
        /* Not written by us and not plain: never guess at its meaning. */
        stat_add(work->cache->zone, STAT_ERRORS, 1);
        read_absent(work);
    } else if (work->envelope.n_tags > 0) {
        check_tags(work, stored);
    } else {
        read_give(work);
    }
}

static void read_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    const struct reply *value, *pttl;

    if (status != ERR_OK) {
        read_failed(work, status);
        return;
    }
    if (!l2_readable(work->cache, work->key.bytes)) {
        /* Asked when nothing spoke against it; but who answered may be another run of the server.
         */
        read_absent(work);
        return;
    }
    value = exec_item(reply, 0);
    pttl = exec_item(reply, 1);
    if (reply->type == REPLY_ERROR || (value != NULL && value->type == REPLY_ERROR)) {
        if (work->fetching) {
            stat_add(work->cache->zone, STAT_ERRORS, 1);
            fetch_absent(work);
            return;
        }
        if (work->lease.token != 0)
            (void)lease_fail(work->cache->zone, &work->key, &work->lease);
        stat_add(work->cache->zone, STAT_ERRORS, 1);
        work_end(work, work_remote(work, reply->type == REPLY_ERROR ? reply : value));
        return;
    }
    if (value == NULL || pttl == NULL || value->type != REPLY_STRING || pttl->integer == -2)
        read_absent(work);
    else
        read_found(work, value->str, pttl->integer);
}

/* Value and remaining time in one transaction: two commands could straddle an expiry (rule 3). */
void read_ask(struct work *work)
{
    struct buf *name = scratch();
    struct slice multi = SLICE_LIT("MULTI"), exec = SLICE_LIT("EXEC");
    struct slice get[2] = {SLICE_LIT("GET")}, pttl[2] = {SLICE_LIT("PTTL")};
    struct pool_command commands[4] = {{1, &multi}, {2, get}, {2, pttl}, {1, &exec}};

    work->call.repeatable = true;
    if (keyname_encode(work->cache, work->key.bytes, name) != ERR_OK) {
        work_fail_later(work, ERR_NOMEM);
        return;
    }
    get[1] = pttl[1] = buf_slice(name);
    /* A retry only shortens what remains: its PTTL is read later than sent_ms says. */
    work->sent_ms = clock_now_ms();
    pool_send(work->cache->set->pool, &work->call, commands, 4);
}

void read_send(struct work *work)
{
    work->call.done = read_done;
    read_ask(work);
}

static void read_again(struct work *work);

/* Ask L2 as the one who does so for everyone, or wait for that one. */
static void read_begin(struct work *work)
{
    struct cache *cache = work->cache;
    uint64_t now_ms = clock_now_ms(), until_ms = 0;
    struct lease_wish wish = {
        .deadline_ms = now_ms + 2 * cache->set->heritage->config->redis.deadline_ms,
        .slot = (int)cache->set->owner - 1,
        .look = true,
        .waited = work->waited,
    };

    if (!cache->l1) {
        read_send(work);
        return;
    }
    switch (lease_join(cache->zone, &work->key, &wish, now_ms, &work->lease, &until_ms)) {
    case LEASE_HELD:
        wait_for_end(work, until_ms, read_again);
        break;
    case LEASE_FILLED:
        work_park(work, read_again);
        break;
    case LEASE_ABSENT:
        read_count(cache, work->sink != NULL, STAT_L2_HITS, false);
        work_end(work, CACHE_MISS);
        break;
    default: /* anything but a grant means: read, but do not fill */
        read_send(work);
    }
}

/* Whoever was waited for has ended, one way or another. */
static void read_again(struct work *work)
{
    struct cache *cache = work->cache;
    uint64_t now_ms = clock_now_ms();

    if (l1_read(cache, &work->key, now_ms, work->sink, &work->op->info) == TABLE_HIT) {
        read_count(cache, work->sink != NULL, STAT_L1_HITS, true);
        work_end(work, CACHE_OK);
    } else if (now_ms >= work->wait_until_ms) {
        read_failed(work, ERR_TIMEOUT);
    } else if (!l2_usable(cache)) {
        read_failed(work, ERR_DOWN);
    } else {
        read_begin(work);
    }
}

static enum cache_status read_l2(struct cache *cache, const struct table_key *key,
                                 struct cache_sink *sink, struct cache_op *op)
{
    struct work *work = work_begin(cache, op, key->bytes, (struct slice){0}, NULL);

    if (work == NULL)
        return CACHE_NOMEM;
    work->sink = sink;
    work->wait_until_ms = clock_now_ms() + cache->set->heritage->config->redis.deadline_ms;
    read_begin(work);
    return CACHE_PENDING;
}

static enum cache_status get(struct cache *cache, struct slice key, struct cache_sink *sink,
                             struct cache_op *op, struct cache_info *info)
{
    struct table_key tkey;
    enum table_result result = TABLE_MISS;

    if (key.len > cache->key_max)
        return CACHE_TOO_LARGE;
    if (key.len == 0)
        return CACHE_MISS; /* nothing can be stored under it */
    tkey = table_key(cache->zone, key);
    if (cache->l1) {
        result = l1_read(cache, &tkey, clock_now_ms(), sink, info);
        if (result == TABLE_HIT) {
            read_count(cache, sink != NULL, STAT_L1_HITS, true);
            return CACHE_OK;
        }
        if (result == TABLE_FULL)
            return CACHE_NOMEM;
    }
    if (!cache->l2) {
        /* A stripe that stays locked is as good as a miss to a cache's reader. */
        read_count(cache, sink != NULL, STAT_L1_HITS, false);
        return CACHE_MISS;
    }
    if (!l2_usable(cache))
        return read_fallback(cache, &tkey, sink, info);
    if (!l2_readable(cache, key)) {
        /* What L2 has for this key is known to be wrong. Stale or missing, it is a miss. */
        read_count(cache, sink != NULL, STAT_L1_HITS, false);
        return CACHE_MISS;
    }
    return op == NULL ? CACHE_WAIT : read_l2(cache, &tkey, sink, op);
}

enum cache_status cache_get(struct cache *cache, struct slice key, struct cache_sink *sink,
                            struct cache_op *op, struct cache_info *info)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_GET, key, began_ns, op, info,
                         get(cache, key, sink, op, info));
}

void cache_prefetch(struct cache *cache, const struct slice *keys, size_t n)
{
    struct table_key some[PREFETCH_KEYS];

    while (n > 0 && cache->l1) {
        size_t m = n < PREFETCH_KEYS ? n : PREFETCH_KEYS;

        for (size_t i = 0; i < m; i++)
            some[i] = table_key(cache->zone, keys[i]);
        table_prefetch_many(cache->zone, some, m);
        keys += m;
        n -= m;
    }
}
