/* Clears and purges. In L1 they are one new sequence, exact at once; in Redis a job: SCAN + UNLINK.
 *
 * While a job runs, reads of what it covers take L2 as a miss, so nothing old comes back to L1;
 * therefore a key that L1 has during the job was written since it began, and the job keeps it.
 */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/ban.h"

#include <stdio.h>
#include <stdlib.h>

/* A clear tells the other nodes that it still runs, more often than they need to hear it
 * (ANNOUNCE_VALID_MS of invalidate.c). */
#define ANNOUNCE_EVERY_MS 1500

/* This process' side of a running job. */
struct run {
    struct cache *cache;
    struct job *job;
    struct cache_op *op; /* NULL: nobody waits */
    uint64_t announced_ms;
};

struct note {
    struct pool_call call;
    struct cache *cache;
};

static void note_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct note *note = (struct note *)(void *)((char *)call - offsetof(struct note, call));

    /* Nodes that could not be told lost their subscription too, and distrust what they have. */
    if (status != ERR_OK || reply->type == REPLY_ERROR)
        stat_add(note->cache->zone, STAT_ERRORS, 1);
    free(note);
}

static void announce(struct cache *cache, enum message_action action, struct slice key)
{
    struct slice argv[3] = {SLICE_LIT("PUBLISH"),
                            slice_cstr(cache->set->heritage->config->redis.channel)};
    struct pool_command command = {3, argv};
    struct note *note = calloc(1, sizeof(*note));
    struct buf *message = scratch();

    if (note == NULL || encode_message(cache, action, key, message) != ERR_OK) {
        stat_add(cache->zone, STAT_ERRORS, 1);
        free(note);
        return;
    }
    note->call.done = note_done;
    note->call.repeatable = true;
    note->cache = cache;
    argv[2] = buf_slice(message);
    pool_send(cache->set->pool, &note->call, &command, 1);
}

void tell_purge(struct cache *cache, enum message_action action, struct slice text)
{
    if (!cache->l2 && cache->set->pool != NULL &&
        cache->set->heritage->config->redis.invalidation != ADAPTER_NONE)
        announce(cache, action, text);
}

static struct soft *soft_of(const struct cache *cache)
{
    return soft_at(cache->set->heritage->soft, cache->number);
}

/* Unlike other purges these are told for layered caches here, too: Redis keeps nothing of them. */
static void tell_soft(struct cache *cache, enum message_action action, struct slice text)
{
    if (cache->set->pool != NULL &&
        cache->set->heritage->config->redis.invalidation != ADAPTER_NONE)
        announce(cache, action, text);
}

enum cache_status cache_soften(struct cache *cache, struct slice pattern)
{
    if (!soft_purge_pattern(soft_of(cache), pattern, clock_wall_ms()))
        return CACHE_REFUSED;
    stat_add(cache->zone, STAT_PURGES, 1);
    tell_soft(cache, MESSAGE_SOFT_PATTERN, pattern);
    return CACHE_OK;
}

enum cache_status cache_soften_tag(struct cache *cache, struct slice tag)
{
    soft_purge_tag(soft_of(cache), tag, clock_wall_ms());
    stat_add(cache->zone, STAT_PURGES, 1);
    tell_soft(cache, MESSAGE_SOFT_TAG, tag);
    return CACHE_OK;
}

bool cache_softened(const struct cache *cache, struct slice key, struct slice tags,
                    uint64_t stored_ms)
{
    return soft_purged(soft_of(cache), key, tags, stored_ms);
}

void cache_tell_purge(struct cache *cache, struct slice key)
{
    tell_purge(cache, MESSAGE_PURGE, key);
}

enum cache_status cache_purge_key(struct cache *cache, struct slice key, struct cache_op *op)
{
    enum cache_status status = cache_delete(cache, key, op);

    /* Also where there was none: others may have it. One that waits comes again with an op. */
    if (status != CACHE_WAIT)
        tell_purge(cache, MESSAGE_PURGE, key);
    return status;
}

static bool remove_key(void *arg, struct slice key)
{
    struct run *run = arg;
    struct table_key tkey = table_key(run->cache->zone, key);
    struct table_hit hit;

    return !run->cache->l1 ||
           table_find(run->cache->zone, &tkey, clock_now_ms(), &hit) != TABLE_HIT;
}

static void run_progress(void *arg, uint64_t scanned, uint64_t removed)
{
    struct run *run = arg;
    uint64_t now_ms = clock_now_ms();

    atomic_store(&run->job->scanned, scanned);
    atomic_store(&run->job->removed, removed);
    if (run->job->kind == JOB_CLEAR && now_ms - run->announced_ms >= ANNOUNCE_EVERY_MS) {
        run->announced_ms = now_ms;
        announce(run->cache, MESSAGE_CLEAR, (struct slice){0});
    }
}

enum cache_status job_failed(struct cache *cache, int err)
{
    journal_distrust(cache->set->heritage->journal, cache->number, true);
    telemetry_fallback(cache, (struct slice){0});
    if (cache->fallback)
        return CACHE_OK;
    stat_add(cache->zone, STAT_ERRORS, 1);
    return status_of_err(err);
}

static void run_done(void *arg, int status, uint64_t matched, uint64_t removed)
{
    struct run *run = arg;
    struct cache *cache = run->cache;
    enum cache_status answer = CACHE_OK;

    (void)matched;
    window_whole(cache);
    if (status != ERR_OK) {
        answer = job_failed(cache, status);
    } else if (run->job->kind == JOB_CLEAR) {
        announce(cache, MESSAGE_CLEAR_END, (struct slice){0});
        if (cache->mending)
            journal_distrust(cache->set->heritage->journal, cache->number, false);
    } else {
        announce(cache, MESSAGE_PATTERN, slice_make(run->job->pattern, run->job->pattern_len));
    }
    cache->mending = false;
    job_release(cache, run->job);
    if (run->op != NULL) {
        run->op->integer = (int64_t)removed;
        run->op->done(run->op, answer);
    }
    free(run);
}

/* Scan for a job that this process owns. */
static enum cache_status run_start(struct cache *cache, struct job *job, struct cache_op *op)
{
    struct run *run = calloc(1, sizeof(*run));
    bool clear = job->kind == JOB_CLEAR;
    struct slice pattern = clear ? SLICE_LIT("*") : slice_make(job->pattern, job->pattern_len);
    struct scan_plan plan = {.cache = cache,
                             .pattern = pattern,
                             .remove = remove_key,
                             .progress = run_progress,
                             .done = run_done,
                             .arg = run};

    if (run == NULL) {
        job_release(cache, job);
        return CACHE_NOMEM;
    }
    *run = (struct run){.cache = cache, .job = job, .op = op, .announced_ms = clock_now_ms()};
    announce(cache, clear ? MESSAGE_CLEAR : MESSAGE_PATTERN, clear ? (struct slice){0} : pattern);
    if (scan_start(&plan) != ERR_OK) {
        job_release(cache, job);
        free(run);
        return CACHE_NOMEM;
    }
    return CACHE_PENDING;
}

static enum cache_status job_start(struct cache *cache, enum job_kind kind, struct slice pattern,
                                   uint64_t seq, struct cache_op *op)
{
    struct job *job;

    if (!l2_usable(cache))
        return job_failed(cache, ERR_DOWN);
    job = job_claim(cache->set);
    if (job == NULL)
        return CACHE_BUSY;
    job->cache = cache->number;
    job->kind = kind;
    job->seq = seq;
    job->pattern_len = (uint32_t)pattern.len;
    if (pattern.len > 0)
        memcpy(job->pattern, pattern.data, pattern.len);
    job_publish(cache, job);
    return run_start(cache, job, op);
}

void jobs_adopt(struct caches *caches)
{
    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct job *job = &caches->heritage->jobs->job[i];

        if (!job_adopt(caches, job))
            continue;
        log_info("cache %s: going on with a %s that a dead process began",
                 caches->cache[job->cache].config->name,
                 job->kind == JOB_CLEAR ? "clear" : "purge");
        (void)run_start(&caches->cache[job->cache], job, NULL);
    }
}

void job_clear_distrusted(struct cache *cache)
{
    if (cache->mending)
        return;
    log_warn("cache %s: clearing its keys in Redis, which could not be kept in step",
             cache->config->name);
    cache->mending = true;
    if (job_start(cache, JOB_CLEAR, (struct slice){0}, zone_seq(cache->zone), NULL) !=
        CACHE_PENDING)
        cache->mending = false;
}

/* ---- the operations ---- */

static bool whole_db(const struct cache *cache, struct slice pattern)
{
    return cache->l2 && cache->prefix.len == 0 && slice_eq(pattern, SLICE_LIT("*")) &&
           !cache->set->heritage->config->redis.allow_clear;
}

static enum cache_status refuse_whole_db(struct cache_op *op)
{
    if (op != NULL)
        snprintf(op->error, sizeof(op->error),
                 "this cache has no key prefix: it would remove the whole Redis database; "
                 "redis.allow_clear = true allows that");
    return CACHE_REFUSED;
}

/* Of a memory cache. */
static enum cache_status clear_alone(struct cache *cache)
{
    bool took;

    if (!hold_event(cache, &took))
        return CACHE_WAIT;
    zone_clear(cache->zone);
    hold_event_end(cache, took);
    stat_add(cache->zone, STAT_CLEARS, 1);
    return CACHE_OK;
}

static void retry_clear(struct work *work)
{
    enum cache_status status = clear_alone(work->cache);

    if (status == CACHE_WAIT)
        work_park(work, retry_clear);
    else
        work_end(work, status);
}

static enum cache_status clear_memory(struct cache *cache, struct cache_op *op)
{
    enum cache_status status = clear_alone(cache);
    struct work *work;

    if (status != CACHE_WAIT || op == NULL)
        return status;
    op->integer = 0;
    work = work_begin(cache, op, (struct slice){0}, (struct slice){0}, NULL);
    if (work == NULL)
        return CACHE_NOMEM;
    work_park(work, retry_clear);
    return CACHE_PENDING;
}

static enum cache_status clear(struct cache *cache, struct cache_op *op)
{
    uint64_t seq;

    if (whole_db(cache, SLICE_LIT("*")))
        return refuse_whole_db(op);
    if (!cache->l2)
        return clear_memory(cache, op);
    if (op == NULL)
        return CACHE_WAIT;
    seq = zone_clear(cache->zone);
    stat_add(cache->zone, STAT_CLEARS, 1);
    op->integer = 0;
    return job_start(cache, JOB_CLEAR, (struct slice){0}, seq, op);
}

enum cache_status cache_clear(struct cache *cache, struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_CLEAR, (struct slice){0}, began_ns, op, NULL,
                         clear(cache, op));
}

static void retry_purge(struct work *work)
{
    enum cache_status status;
    struct cache_op *op = work->op;
    struct cache *cache = work->cache;

    if (!ban_l1(cache, work->value)) {
        work_park(work, retry_purge);
        return;
    }
    stat_add(cache->zone, STAT_PURGES, 1);
    tell_purge(cache, MESSAGE_PATTERN, work->value);
    status = cache->l2 ? job_start(cache, JOB_PATTERN, work->value, zone_seq(cache->zone), op)
                       : CACHE_OK;
    if (status == CACHE_PENDING)
        work->op = NULL; /* the job answers */
    work_end(work, status);
}

static enum cache_status purge(struct cache *cache, struct slice pattern, struct cache_op *op)
{
    struct work *work;

    if (pattern.len > BAN_PATTERN_MAX || whole_db(cache, pattern)) {
        if (pattern.len <= BAN_PATTERN_MAX)
            return refuse_whole_db(op);
        if (op != NULL)
            snprintf(op->error, sizeof(op->error), "a pattern has at most %d bytes",
                     BAN_PATTERN_MAX);
        return CACHE_REFUSED;
    }
    if (cache->l2 && op == NULL)
        return CACHE_WAIT;
    if (ban_l1(cache, pattern)) {
        stat_add(cache->zone, STAT_PURGES, 1);
        tell_purge(cache, MESSAGE_PATTERN, pattern);
        if (!cache->l2)
            return CACHE_OK;
        op->integer = 0;
        return job_start(cache, JOB_PATTERN, pattern, zone_seq(cache->zone), op);
    }
    if (op == NULL)
        return CACHE_WAIT;
    op->integer = 0;
    work = work_begin(cache, op, (struct slice){0}, pattern, NULL);
    if (work == NULL)
        return CACHE_NOMEM;
    work_park(work, retry_purge);
    return CACHE_PENDING;
}

enum cache_status cache_purge(struct cache *cache, struct slice pattern, struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_DELETE_PATTERN, pattern, began_ns, op, NULL,
                         purge(cache, pattern, op));
}

static void count_done(void *arg, int status, uint64_t matched, uint64_t removed)
{
    struct cache_op *op = arg;

    (void)removed;
    op->integer = (int64_t)matched;
    op->done(op, status_of_err(status));
}

enum cache_status cache_count(struct cache *cache, struct cache_op *op, int64_t *count)
{
    struct scan_plan plan = {
        .cache = cache, .pattern = SLICE_LIT("*"), .done = count_done, .arg = op};

    if (!cache->l2) {
        *count = (int64_t)table_count(cache->zone);
        return CACHE_OK;
    }
    if (!l2_usable(cache))
        return CACHE_DOWN;
    if (op == NULL)
        return CACHE_WAIT;
    return scan_start(&plan) == ERR_OK ? CACHE_PENDING : CACHE_NOMEM;
}

/* ---- at a time ---- */

void cache_clear_at(struct cache *cache, uint64_t at_ms)
{
    zone_clear_at(cache->zone, at_ms);
}

struct timed {
    struct cache_op op;
    struct cache *cache;
};

static void timed_done(struct cache_op *op, enum cache_status status)
{
    struct timed *timed = (struct timed *)(void *)op;

    /* What could not be done now is done at the next look, unless another time was set. */
    if (status != CACHE_OK && !timed->cache->set->closing)
        cache_clear_at(timed->cache, clock_now_ms());
    free(timed);
}

static void clear_due(struct cache *cache)
{
    struct timed *timed = calloc(1, sizeof(*timed));
    enum cache_status status = CACHE_NOMEM;

    if (timed != NULL) {
        timed->cache = cache;
        timed->op.done = timed_done;
        status = cache_clear(cache, &timed->op);
    }
    if (status == CACHE_PENDING)
        return;
    free(timed);
    if (status != CACHE_OK)
        cache_clear_at(cache, clock_now_ms());
}

void caches_clear_due(struct caches *caches)
{
    uint64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < caches->n && !caches->closing; i++)
        if (zone_clear_due(caches->cache[i].zone, now_ms))
            clear_due(&caches->cache[i]);
}
