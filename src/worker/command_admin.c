/* CACHETASTIC.*: what Redis has no command for. */
#include "worker/command.h"

#include "common/auth.h"
#include "http/route.h"
#include "shm/check.h"
#include "shm/table.h"

#include <stdlib.h>

/* Select a named cache for this connection. */
void cmd_use(struct call *call)
{
    struct cache *cache = caches_find(call->conn->worker->caches, call->argv[1]);

    if (cache == NULL) {
        reply_error(call->out, "ERR no cache is named '%.*s'",
                    (int)(call->argv[1].len > 64 ? 64 : call->argv[1].len), call->argv[1].data);
        return;
    }
    if (!command_pass_db(call, -1))
        return;
    call->session->cache = cache;
    call->session->db = 0;
    reply_ok(call->out);
}

/* The cache that argv[1] names, NULL for all; false: an error was answered. */
static bool optional_cache(struct call *call, struct cache **cache)
{
    *cache = NULL;
    if (call->argc == 1)
        return true;
    *cache = caches_find(call->conn->worker->caches, call->argv[1]);
    if (*cache != NULL && call->argc == 2)
        return true;
    reply_error(call->out, call->argc > 2 ? "ERR syntax error" : "ERR no cache has that name");
    return false;
}

void cmd_stats(struct call *call)
{
    struct worker *worker = call->conn->worker;
    struct buf text = {0};
    struct cache *cache;

    if (!optional_cache(call, &cache))
        return;
    if (api_stats_json(worker->caches, worker->heritage, cache, &text) == ERR_OK)
        reply_bulk(call->out, buf_slice(&text));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&text);
}

void cmd_stats_reset(struct call *call)
{
    struct caches *caches = call->conn->worker->caches;
    struct cache *cache;

    if (!optional_cache(call, &cache))
        return;
    for (size_t i = 0; i < caches_count(caches); i++) {
        call->cache = caches_at(caches, i);
        if ((cache == NULL || cache == call->cache) && !command_may(call, AUTH_ADMIN))
            return;
    }
    if (cache != NULL)
        cache_stats_reset(cache);
    for (size_t i = 0; cache == NULL && i < caches_count(caches); i++)
        cache_stats_reset(caches_at(caches, i));
    reply_ok(call->out);
}

static void make_purge_tag(const struct call *call, size_t i, struct step *step)
{
    step->kind = STEP_PURGE_TAG;
    step->key = call->argv[2 + i];
}

/* URL http://HOST/PATH [SOFT]: a page of a site that is kept in this cache. */
static void purge_url(struct call *call)
{
    struct step step = {.kind = STEP_PURGE_PAGE, .soft = call->argc == 4};
    const struct config *config = call->conn->worker->heritage->config;
    struct buf key = {0};
    int rc =
        route_url_key(config, cache_config(call->cache)->name, call->argv[2], &key, &step.route);

    step.key = buf_slice(&key);
    if (rc == ERR_OK)
        operate(call, &step, answer_one_or_zero);
    else
        reply_error(call->out, rc == ERR_NOMEM
                                   ? "ERR no memory for this request"
                                   : "ERR the address of a page is written http://HOST/PATH");
    buf_fini(&key);
}

/* SOFT PATTERN p, SOFT TAG t: done at once. */
static void purge_softly(struct call *call)
{
    bool tag = slice_ieq(call->argv[2], "TAG");

    if (call->argc != 4 || (!tag && !slice_ieq(call->argv[2], "PATTERN")))
        reply_error(call->out, "ERR syntax error: CACHETASTIC.PURGE SOFT PATTERN p | TAG t");
    else if ((tag ? cache_soften_tag(call->cache, call->argv[3])
                  : cache_soften(call->cache, call->argv[3])) == CACHE_OK)
        reply_integer(call->out, 0);
    else
        reply_error(call->out, "ERR a pattern has at most %d bytes", SOFT_PATTERN_MAX);
}

void cmd_purge(struct call *call)
{
    struct step step = {.kind = STEP_PURGE, .key = call->argv[2]};

    if (slice_ieq(call->argv[1], "SOFT"))
        purge_softly(call);
    else if (slice_ieq(call->argv[1], "TAG"))
        many(call, (size_t)call->argc - 2, make_purge_tag, MANY_SUM);
    else if (slice_ieq(call->argv[1], "PATTERN") && call->argc == 3)
        operate(call, &step, answer_integer);
    else if (slice_ieq(call->argv[1], "URL") &&
             (call->argc == 3 || (call->argc == 4 && slice_ieq(call->argv[3], "SOFT"))))
        purge_url(call);
    else
        reply_error(call->out, "ERR syntax error: CACHETASTIC.PURGE PATTERN p | TAG t ... | URL u "
                               "[SOFT]");
}

void cmd_clear(struct call *call)
{
    struct step step = {.kind = STEP_CLEAR};

    operate(call, &step, answer_integer);
}

/* ---- CACHETASTIC.CHECK: the validator over a live zone, a few stripes a turn ---- */

#define CHECK_STRIPES_PER_TURN 8

struct check_run {
    struct parked parked;
    uv_timer_t timer;
    struct zone *zone;
    unsigned next;
    int status;
    struct check_report report;
};

static void check_freed(uv_handle_t *handle)
{
    free(handle->data);
}

static void free_check(struct request *request)
{
    struct check_run *run = (struct check_run *)(void *)request;

    uv_close((uv_handle_t *)&run->timer, check_freed);
}

static void check_answer(struct check_run *run)
{
    struct check_report *report = &run->report;
    struct buf *out = &run->parked.request.reply;
    struct buf text = {0};

    for (char *p = report->first; *p != '\0'; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '\'';
    if (run->status != ERR_OK)
        reply_error(out, "TRYAGAIN a stripe stayed locked");
    else if (buf_printf(
                 &text,
                 "{\"entries\": %llu, \"bytes\": %llu, \"problems\": %llu, \"first\": \"%s\"}",
                 (unsigned long long)report->entries, (unsigned long long)report->bytes,
                 (unsigned long long)report->problems, report->first) == ERR_OK)
        reply_bulk(out, buf_slice(&text));
    else
        reply_error(out, "ERR out of memory");
    buf_fini(&text);
}

static void check_turn(uv_timer_t *timer)
{
    struct check_run *run = timer->data;
    unsigned n = table_stripes(run->zone) - run->next;

    n = n > CHECK_STRIPES_PER_TURN ? CHECK_STRIPES_PER_TURN : n;
    if (n > 0 && run->parked.request.conn != NULL) {
        run->status = check_stripes(run->zone, run->next, n, &run->report);
        run->next += n;
        if (run->status == ERR_OK)
            return;
    }
    uv_timer_stop(timer);
    check_answer(run);
    request_finish(&run->parked.request);
}

void cmd_check(struct call *call)
{
    struct check_run *run = park(call, sizeof(*run));

    if (run == NULL)
        return;
    run->parked.request.free = free_check;
    run->zone = cache_zone(call->cache);
    uv_timer_init(&call->conn->worker->loop, &run->timer);
    run->timer.data = run;
    uv_timer_start(&run->timer, check_turn, 0, 1);
}
