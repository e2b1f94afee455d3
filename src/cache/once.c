/* cache_fetch, cache_fill, cache_fail: one computation a key (design section 6), with L2 asked
 * under the lease by its holder. */
#include "cache/impl.h"
#include "common/clock.h"
#include "shm/fetch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define LEASE_MS_DEFAULT 10000
#define WAIT_MS_DEFAULT  5000
#define FETCH_ATTEMPTS   4 /* copies that a writer overtook */

static int slot_of(const struct cache *cache)
{
    return (int)cache->set->owner - 1;
}

/* Whether the holder of a lease is to ask Redis before the caller computes. */
static bool asks_l2(const struct cache *cache, struct slice key)
{
    return cache->l2 && l2_usable(cache) && l2_readable(cache, key);
}

static uint64_t lease_ms(const struct cache_fetch *how)
{
    return how->lease_ms != 0 ? how->lease_ms : LEASE_MS_DEFAULT;
}

/* What fetch_begin() says, with the value copied. CACHE_OK, CACHE_MISS (with a lease), CACHE_WAIT,
 * CACHE_BUSY, CACHE_NOMEM (the lease given back). got->lease: what the caller now holds. */
static enum cache_status try(struct cache *cache, const struct table_key *key,
                             const struct cache_fetch *how, bool wait, struct cache_sink *sink,
                             struct cache_info *info, struct fetch_got *got)
{
    struct fetch_want want = {.lease_ms = lease_ms(how),
                              .stale_ms = how->stale_ms,
                              .beta = how->beta,
                              .early_ms = how->early_ms,
                              .slot = wait ? slot_of(cache) : FETCH_NO_SLOT};
    uint64_t now_ms = clock_now_ms();

    *got = (struct fetch_got){0};
    for (int i = 0; i < FETCH_ATTEMPTS; i++) {
        enum fetch_result result = fetch_begin(cache->zone, key, &want, now_ms, got);
        enum table_result copied;

        info->lease = got->lease.token;
        info->retry_ms = got->until_ms > now_ms ? got->until_ms - now_ms : 0;
        info->stale = result == FETCH_STALE || result == FETCH_STALE_LEASE;
        info->computing = got->lease.token == 0 && got->until_ms != 0;
        if (result >= FETCH_MISS_LEASE)
            return result == FETCH_MISS_LEASE ? CACHE_MISS
                   : result == FETCH_WAIT     ? CACHE_WAIT
                                              : CACHE_BUSY;
        copied = l1_copy(cache, &got->hit, sink, info);
        if (copied == TABLE_HIT)
            return CACHE_OK;
        want.token = got->lease.token;
        if (copied == TABLE_FULL) {
            (void)lease_fail(cache->zone, key, &got->lease);
            return CACHE_NOMEM;
        }
    }
    if (got->lease.token != 0)
        return CACHE_MISS;
    /* Rewritten without pause: it is there, and fresh. */
    return l1_read(cache, key, now_ms, sink, info) == TABLE_HIT ? CACHE_OK : CACHE_BUSY;
}

static void count(struct cache *cache, enum cache_status status, const struct cache_info *info,
                  bool counts)
{
    if (info->lease != 0)
        stat_add(cache->zone, STAT_LEASES, 1);
    if (status == CACHE_OK || status == CACHE_MISS)
        read_count(cache, counts, info->stale ? STAT_STALE_HITS : STAT_L1_HITS, status == CACHE_OK);
}

static void end(struct work *work, enum cache_status status)
{
    count(work->cache, status, &work->op->info, work->sink != NULL);
    work_end(work, status);
}

static void proceed(struct work *work, enum cache_status status, bool l2);
static void go(struct work *work);

static void end_now(struct work *work)
{
    end(work, work->answer);
}

/* On a later turn: done never runs inside the call that began it. */
static void end_later(struct work *work, enum cache_status status)
{
    work->answer = status;
    work_park(work, end_now);
}

/* Backend redis: the lease alone, since shared memory has no values. */
static void go_without_l1(struct work *work)
{
    uint64_t now_ms = clock_now_ms(), until_ms;
    struct cache_info *info = &work->op->info;
    struct lease_wish wish = {.deadline_ms = now_ms + lease_ms(&work->how),
                              .slot = slot_of(work->cache)};

    *info = (struct cache_info){0};
    switch (lease_join(work->cache->zone, &work->key, &wish, now_ms, &work->lease, &until_ms)) {
    case LEASE_GRANTED:
        info->lease = work->lease.token;
        read_send(work);
        break;
    case LEASE_HELD:
    case LEASE_WRITING:
        if (now_ms < work->wait_until_ms) {
            wait_for_end(work, until_ms, go);
            break;
        }
        info->retry_ms = until_ms > now_ms ? until_ms - now_ms : 0;
        end_later(work, CACHE_BUSY);
        break;
    default:
        end_later(work, CACHE_BUSY);
    }
}

/* Look, for the first time or again. */
static void go(struct work *work)
{
    struct cache *cache = work->cache;
    bool wait = clock_now_ms() < work->wait_until_ms;
    bool l2 = asks_l2(cache, work->key.bytes);
    struct fetch_got got;
    enum cache_status status;

    if (!cache->l1 && l2) {
        work->lease = (struct lease){0, 0};
        go_without_l1(work);
        return;
    }
    status = try(cache, &work->key, &work->how, wait, work->sink, &work->op->info, &got);
    work->lease = got.lease;
    work->look_ms = got.until_ms;
    proceed(work, status, l2);
}

/* What follows from what was found in shared memory. */
static void proceed(struct work *work, enum cache_status status, bool l2)
{
    const struct cache_info *info = &work->op->info;
    bool computes = status == CACHE_MISS || (status == CACHE_OK && info->stale && info->lease != 0);

    work->found = status == CACHE_OK;
    if (status == CACHE_WAIT)
        wait_for_end(work, work->look_ms, go);
    else if (computes && l2)
        read_send(work);
    else
        end(work, status);
}

void fetch_absent(struct work *work)
{
    struct cache_info *info = &work->op->info;

    info->lease = work->lease.token;
    end(work, work->found ? CACHE_OK : CACHE_MISS);
}

static enum cache_status pend(struct cache *cache, struct slice key, const struct cache_fetch *how,
                              struct cache_sink *sink, struct cache_op *op, struct work **out)
{
    struct work *work = work_begin(cache, op, key, (struct slice){0}, NULL);

    if (work == NULL)
        return CACHE_NOMEM;
    work->sink = sink;
    work->how = *how;
    work->fetching = true;
    work->wait_until_ms = clock_now_ms() + how->wait_ms;
    *out = work;
    return CACHE_PENDING;
}

static enum cache_status fetch(struct cache *cache, struct slice key, const struct cache_fetch *how,
                               struct cache_sink *sink, struct cache_op *op,
                               struct cache_info *info)
{
    enum cache_status status = check_limits(cache, key, (struct slice){0});
    bool l2 = asks_l2(cache, key);
    struct table_key tkey;
    struct fetch_got got = {0};
    struct work *work;

    if (status != CACHE_OK)
        return status;
    tkey = table_key(cache->zone, key);
    *info = (struct cache_info){0};
    status = CACHE_WAIT;
    if (cache->l1 || !l2)
        status = try(cache, &tkey, how, how->wait_ms > 0, sink, info, &got);
    if (status != CACHE_WAIT &&
        !(l2 && (status == CACHE_MISS || (info->stale && got.lease.token != 0)))) {
        count(cache, status, info, sink != NULL);
        return status;
    }
    if (op == NULL || pend(cache, key, how, sink, op, &work) != CACHE_PENDING) {
        if (got.lease.token != 0)
            (void)lease_fail(cache->zone, &tkey, &got.lease);
        return op == NULL ? CACHE_WAIT : CACHE_NOMEM;
    }
    op->info = *info;
    work->lease = got.lease;
    work->look_ms = got.until_ms;
    if (cache->l1 || !l2)
        proceed(work, status, l2);
    else
        go(work);
    return CACHE_PENDING;
}

enum cache_status cache_fetch(struct cache *cache, struct slice key, const struct cache_fetch *how,
                              struct cache_sink *sink, struct cache_op *op, struct cache_info *info)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_FETCH, key, began_ns, op, info,
                         fetch(cache, key, how, sink, op, info));
}

/* ---- the end of a computation ---- */

/* Into shared memory alone: there is no Redis, or it is down. */
static enum cache_status fill_l1(struct cache *cache, const struct table_key *key,
                                 const struct lease *lease, struct slice value,
                                 const struct cache_attrs *attrs)
{
    struct table_write write = {.value = value,
                                .tags = attrs->tags,
                                .n_tags = attrs->n_tags,
                                .expires_ms = attrs->expires_ms,
                                .stale_ms = attrs->stale_ms,
                                .delta_ms = 1};
    struct buf meta = {0};
    enum table_result result;

    if (l1_meta(attrs, &meta) != ERR_OK)
        return CACHE_NOMEM;
    write.meta = buf_slice(&meta);
    result = lease_fill_end(cache->zone, key, lease, &write, clock_now_ms());
    buf_fini(&meta);
    switch (result) {
    case TABLE_STORED:
        if (cache->l2) {
            journal_key(cache, key->bytes);
            telemetry_fallback(cache, key->bytes);
        }
        return CACHE_OK;
    case TABLE_REJECTED:
        stat_add(cache->zone, STAT_REJECTED_FILLS, 1);
        return CACHE_MISS;
    case TABLE_BUSY:
        return CACHE_WAIT;
    default:
        return result == TABLE_TOO_LARGE ? CACHE_TOO_LARGE : CACHE_FULL;
    }
}

static void retry_fill_l1(struct work *work)
{
    enum cache_status status =
        fill_l1(work->cache, &work->key, &work->lease, work->value, &work->attrs);

    if (status == CACHE_WAIT)
        work_park(work, retry_fill_l1);
    else
        work_end(work, write_count(work->cache, status));
}

/* A fill through L2 is a put whose stub is there already. */
static void fill_l2(struct work *work)
{
    struct cache *cache = work->cache;
    uint64_t now_ms = clock_now_ms();

    switch (lease_fill_write(cache->zone, &work->key, now_ms,
                             now_ms + 2 * cache->set->heritage->config->redis.deadline_ms,
                             &work->lease)) {
    case LEASE_GRANTED:
        write_send(work);
        break;
    case LEASE_BUSY:
        work_park(work, fill_l2);
        break;
    default:
        stat_add(cache->zone, STAT_REJECTED_FILLS, 1);
        work_end(work, CACHE_MISS);
    }
}

static enum cache_status fill_pending(struct cache *cache, struct slice key, uint64_t token,
                                      struct slice value, const struct cache_attrs *attrs,
                                      struct cache_op *op, bool l2)
{
    struct work *work;

    if (op == NULL)
        return CACHE_WAIT;
    work = work_begin(cache, op, key, value, attrs);
    if (work == NULL)
        return CACHE_NOMEM;
    work->lease.token = token;
    work->fetching = true;
    work_park(work, l2 ? fill_l2 : retry_fill_l1);
    return CACHE_PENDING;
}

static enum cache_status fill(struct cache *cache, struct slice key, uint64_t token,
                              struct slice value, const struct cache_attrs *attrs,
                              struct cache_op *op)
{
    enum cache_status status = check_limits(cache, key, value);
    struct cache_attrs jittered = *attrs;
    struct lease lease = {.token = token};
    struct table_key tkey;

    if (status != CACHE_OK) {
        (void)cache_fail(cache, key, token, 0, NULL);
        return write_count(cache, status);
    }
    jittered.expires_ms = write_jitter(cache, attrs->expires_ms);
    if (cache->l2 && l2_usable(cache))
        return fill_pending(cache, key, token, value, &jittered, op, true);
    tkey = table_key(cache->zone, key);
    if (cache->l2 && !cache->fallback) {
        (void)lease_fail(cache->zone, &tkey, &lease);
        return write_count(cache, CACHE_DOWN);
    }
    status = fill_l1(cache, &tkey, &lease, value, &jittered);
    if (status != CACHE_WAIT || op == NULL)
        return write_count(cache, status);
    return fill_pending(cache, key, token, value, &jittered, op, false);
}

enum cache_status cache_fill(struct cache *cache, struct slice key, uint64_t token,
                             struct slice value, const struct cache_attrs *attrs,
                             struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_PUT, key, began_ns, op, NULL,
                         fill(cache, key, token, value, attrs, op));
}

static void retry_fail(struct work *work)
{
    enum table_result result = work->how.lease_ms == 0
                                   ? lease_fail(work->cache->zone, &work->key, &work->lease)
                                   : lease_back_off(work->cache->zone, &work->key, &work->lease,
                                                    clock_now_ms() + work->how.lease_ms);

    if (result == TABLE_BUSY)
        work_park(work, retry_fail);
    else
        work_end(work, CACHE_OK);
}

enum cache_status cache_fail(struct cache *cache, struct slice key, uint64_t token,
                             uint64_t retry_after_ms, struct cache_op *op)
{
    struct table_key tkey;
    struct lease lease = {.token = token};
    struct work *work;
    enum table_result result;

    if (key.len == 0 || key.len > cache->key_max || token == 0)
        return CACHE_OK;
    tkey = table_key(cache->zone, key);
    result = retry_after_ms == 0
                 ? lease_fail(cache->zone, &tkey, &lease)
                 : lease_back_off(cache->zone, &tkey, &lease, clock_now_ms() + retry_after_ms);
    if (result != TABLE_BUSY)
        return CACHE_OK;
    /* Without an op nobody waits for it to be done; it is done all the same. */
    work = work_begin(cache, op, key, (struct slice){0}, NULL);
    if (work == NULL)
        return CACHE_NOMEM;
    work->lease = lease;
    work->how.lease_ms = retry_after_ms;
    work_park(work, retry_fail);
    return op == NULL ? CACHE_OK : CACHE_PENDING;
}

/* ---- what clients send ---- */

static uint64_t at_most(uint64_t value, uint64_t max)
{
    return value < max ? value : max;
}

struct cache_fetch cache_fetch_default(const struct cache *cache)
{
    const struct config_limits *limits = &cache->set->heritage->config->limits;

    return (struct cache_fetch){.lease_ms = at_most(LEASE_MS_DEFAULT, limits->fetch_lease_ms),
                                .wait_ms = at_most(WAIT_MS_DEFAULT, limits->fetch_wait_ms),
                                .beta = 1};
}

bool cache_beta_parse(struct slice text, double *beta)
{
    char copy[32];
    char *end;

    if (text.len == 0 || text.len >= sizeof(copy) || strchr("0123456789.", text.data[0]) == NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *beta = strtod(copy, &end);
    return *end == '\0' && isfinite(*beta) && *beta >= 0 && *beta <= CACHE_BETA_MAX;
}

void cache_token_text(uint64_t token, char out[CACHE_TOKEN_LEN + 1])
{
    snprintf(out, CACHE_TOKEN_LEN + 1, "%016" PRIx64, token);
}

bool cache_token_parse(struct slice text, uint64_t *token)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;

    if (text.len != CACHE_TOKEN_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.data[i] == '\0' ? NULL : strchr(digits, text.data[i]);

        if (digit == NULL)
            return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    *token = value;
    return value != 0;
}
