#include "redis/pool_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ping[] = "*1\r\n$4\r\nPING\r\n";

/* Ended by one connection when it is ready; the next one sees to the rest. */
#define SUSPECTS_AT_ONCE 256

/* A call as written on one connection. Outlives the call when that is given up before its answer
 * comes. */
struct flight {
    struct list link;
    struct pool_call *call; /* NULL: nobody waits for the answer (given up; a probe) */
    uint64_t written_ms;
    unsigned commands;
    unsigned left;    /* answers still to come */
    unsigned refused; /* answers that say Redis did not run the command, and may later */
    int64_t ends;     /* not 0: this is CLIENT KILL of the connection with this id */
    bool failed;      /* error_text holds the first error reply */
    char *error_text;
    size_t error_len;
};

static struct flight *flight_of(struct list *node)
{
    return LIST_ENTRY(node, struct flight, link);
}

static struct flight *oldest_flight(const struct member *m)
{
    return list_empty(&m->flights) ? NULL : flight_of(m->flights.next);
}

static void flight_free(struct flight *f)
{
    free(f->error_text);
    free(f);
}

/* --- writing --- */

struct member *member_pick(struct pool *pool)
{
    struct member *best = NULL;

    for (unsigned i = 0; i < pool->n_members; i++) {
        struct member *m = &pool->members[i];

        if (m->state == MEMBER_READY && (best == NULL || m->in_flight < best->in_flight))
            best = m;
    }
    return best;
}

static void end_conn(struct member *m, int why, const char *text)
{
    m->state = MEMBER_ENDING;
    redis_conn_close(m->conn, why, text);
}

/* What was written on it and not answered may still be run: by a server that only slept, after all
 * that happens meanwhile. */
static void suspect(struct member *m)
{
    if (m->pool->incarnation != NULL)
        incarnation_suspect(m->pool->incarnation, slice_cstr(m->run_id), m->client_id);
}

static void acquit(struct member *m, int64_t client_id)
{
    if (m->pool->incarnation != NULL)
        incarnation_acquit(m->pool->incarnation, slice_cstr(m->run_id), client_id);
}

/* NULL: no memory. */
static struct flight *take_off(struct member *m, struct pool_call *call, unsigned commands)
{
    struct pool *pool = m->pool;
    struct flight *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    f->call = call;
    f->commands = commands;
    f->left = commands;
    f->written_ms = pool_now_ms();
    list_push(&m->flights, &f->link);
    m->in_flight += commands;
    pool_due(pool, f->written_ms + pool->config->command_timeout_ms);
    return f;
}

void member_write(struct member *member, struct pool_call *call)
{
    const char *bytes = (const char *)(call->ends + call->commands);
    size_t start = 0;

    if (take_off(member, call, call->commands) == NULL) {
        pool_finish(call, ERR_NOMEM);
        return;
    }
    call->attempt++;
    member->pool->stats.sent++;
    pool_due(member->pool, call->deadline_ms);
    for (unsigned i = 0; i < call->commands; i++) {
        if (redis_conn_send(member->conn, bytes + start, call->ends[i] - start) != ERR_OK) {
            end_conn(member, ERR_LOST, "cannot write");
            return;
        }
        start = call->ends[i];
    }
}

/* --- answers --- */

static bool is_refusal(struct slice error)
{
    static const struct slice passing[] = {SLICE_LIT("LOADING "), SLICE_LIT("BUSY "),
                                           SLICE_LIT("TRYAGAIN "), SLICE_LIT("CLUSTERDOWN ")};

    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (slice_starts(error, passing[i]))
            return true;
    return false;
}

/* Keep the first error of a batch: what comes after it is mostly its consequence. */
static void note_error(struct flight *f, struct slice error)
{
    f->refused += is_refusal(error);
    if (f->failed)
        return;
    f->failed = true;
    f->error_text = malloc(error.len + 1);
    if (f->error_text == NULL)
        return; /* then the error's text is empty */
    memcpy(f->error_text, error.data, error.len);
    f->error_len = error.len;
}

static void land(struct member *m, struct flight *f, const struct reply *last)
{
    struct reply error = {.type = REPLY_ERROR, .str = slice_make(f->error_text, f->error_len)};
    struct pool_call *call = f->call;
    bool refused = f->refused > 0;

    /* Only what Redis did not run at all may be sent again without the caller's leave. */
    if (call != NULL && !call->repeatable)
        refused = f->refused == f->commands;
    if (f->ends != 0) {
        /* Not allowed to: then nothing better can be done than what a server without suspects does.
         */
        if (f->failed)
            log_warn("redis %s: cannot end an older connection: %.*s", m->pool->config->server,
                     (int)f->error_len, f->error_text != NULL ? f->error_text : "");
        acquit(m, f->ends);
    }
    if (call != NULL)
        pool_call_answered(call, f->failed ? &error : last, refused);
    flight_free(f);
}

static void on_reply(void *owner, const struct reply *reply)
{
    struct member *m = owner;
    struct flight *f = oldest_flight(m);

    assert(f != NULL); /* hiredis has a callback for each command that we have in a flight */
    breaker_success(m->pool->breaker);
    m->late = false;
    m->in_flight--;
    if (reply->type == REPLY_ERROR)
        note_error(f, reply->str);
    if (--f->left > 0)
        return;
    list_remove(&f->link);
    if (m->suspect && list_empty(&m->flights)) {
        m->suspect = false;
        acquit(m, m->client_id);
    }
    land(m, f, reply);
}

/* --- opening and ending --- */

static void end_suspect(struct member *m, int64_t client_id)
{
    char text[96], id[24];
    struct flight *f = take_off(m, NULL, 1);
    int len;

    if (f == NULL)
        return; /* it stays a suspect */
    f->ends = client_id;
    snprintf(id, sizeof(id), "%" PRId64, client_id);
    len =
        snprintf(text, sizeof(text),
                 "*4\r\n$6\r\nCLIENT\r\n$4\r\nKILL\r\n$2\r\nID\r\n$%zu\r\n%s\r\n", strlen(id), id);
    if (redis_conn_send(m->conn, text, (size_t)len) != ERR_OK)
        end_conn(m, ERR_LOST, "cannot write");
}

/* Before anything else is sent to the server: who is it, and what may older connections of ours
 * still do there? */
static void look_around(struct member *m)
{
    struct incarnation *incarnation = m->pool->incarnation;
    struct slice run_id = redis_conn_run_id(m->conn);
    int64_t suspects[SUSPECTS_AT_ONCE];
    size_t n;

    snprintf(m->run_id, sizeof(m->run_id), "%.*s", (int)run_id.len, run_id.data);
    m->client_id = redis_conn_client_id(m->conn);
    m->suspect = false;
    if (incarnation == NULL)
        return;
    incarnation_login(incarnation, slice_cstr(m->pool->config->server), run_id);
    n = incarnation_list(incarnation, run_id, suspects, SUSPECTS_AT_ONCE);
    for (size_t i = 0; i < n && m->state == MEMBER_READY; i++)
        end_suspect(m, suspects[i]);
}

static void on_ready(void *owner)
{
    struct member *m = owner;
    struct pool *pool = m->pool;

    if (m->state != MEMBER_OPENING)
        return;
    m->state = MEMBER_READY;
    m->failures = 0;
    m->late = false;
    pool->stats.connects++;
    breaker_success(pool->breaker);
    if (pool->down)
        log_info("redis %s: connected again", pool->config->server);
    pool->down = false;
    look_around(m);
    pool_flush_queue(pool, m);
    /* The server is back: the others need not wait out their time. */
    for (unsigned i = 0; i < pool->n_members; i++)
        if (pool->members[i].state == MEMBER_RESTING)
            pool->members[i].reopen_ms = uv_now(pool->loop);
    pool_due(pool, uv_now(pool->loop));
}

static void log_down(struct pool *pool, int why, const char *text)
{
    if (pool->closing || (pool->down && pool->down_why == why))
        return;
    log_warn("redis %s: %s", pool->config->server, text);
    pool->down = true;
    pool->down_why = why;
}

static void rest(struct member *m)
{
    struct pool *pool = m->pool;
    uint64_t ms = pool->config->reconnect_min_ms;

    for (unsigned i = 1; i < m->failures && ms < pool->config->reconnect_max_ms; i++)
        ms *= 2;
    if (ms > pool->config->reconnect_max_ms)
        ms = pool->config->reconnect_max_ms;
    m->state = MEMBER_RESTING;
    m->reopen_ms = uv_now(pool->loop) + pool_jitter(pool, ms);
    pool_due(pool, m->reopen_ms);
}

/* Every call still on it ends or rests. Nothing is called back from here. */
static void lose_flights(struct member *m, int status)
{
    LIST_EACH_SAFE (node, tmp, &m->flights) {
        struct flight *f = flight_of(node);

        list_remove(node);
        if (f->call != NULL)
            pool_call_lost(f->call, status);
        flight_free(f);
    }
    m->in_flight = 0;
}

static bool any_member_is(const struct pool *pool, enum member_state state)
{
    for (unsigned i = 0; i < pool->n_members; i++)
        if (pool->members[i].state == state)
            return true;
    return false;
}

static void on_closed(void *owner, int why, const char *text)
{
    struct member *m = owner;
    struct pool *pool = m->pool;

    m->conn = NULL;
    if (pool->closing) {
        m->state = MEMBER_UNUSED;
        pool_maybe_gone(pool);
        return;
    }
    /* A connection that was lost while nobody used it says nothing of the server; opening it anew
     * will. */
    if (m->failures > 0 || !list_empty(&m->flights)) {
        breaker_failure(pool->breaker, clock_now_ms());
        log_down(pool, why, text);
    }
    if (!list_empty(&m->flights))
        suspect(m);
    rest(m);
    lose_flights(m, why == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_LOST);
    if (breaker_state(pool->breaker) != BREAKER_CLOSED)
        pool_refuse_waiting(pool);
    else if (!any_member_is(pool, MEMBER_READY) && !any_member_is(pool, MEMBER_OPENING))
        pool_queue_tried(pool);
}

static const struct redis_conn_events events = {on_ready, on_reply, on_closed};

static void open_conn(struct member *m)
{
    m->failures++; /* until it is ready */
    m->conn = redis_conn_open(m->pool->loop, m->pool->config, &events, m);
    if (m->conn == NULL) {
        rest(m);
        return;
    }
    m->state = MEMBER_OPENING;
}

/* Where a connection can be opened now. A used place before a new one, so that a pool does not grow
 * on failures. */
static struct member *openable(struct pool *pool, bool at_once)
{
    struct member *unused = NULL;

    for (unsigned i = 0; i < pool->n_members; i++) {
        struct member *m = &pool->members[i];

        if (m->state == MEMBER_RESTING && (at_once || m->reopen_ms <= uv_now(pool->loop)))
            return m;
        if (m->state == MEMBER_UNUSED && unused == NULL)
            unused = m;
    }
    return unused;
}

void member_open_one(struct pool *pool)
{
    struct member *m;

    if (pool->closing || any_member_is(pool, MEMBER_OPENING) ||
        breaker_state(pool->breaker) != BREAKER_CLOSED)
        return;
    /* While connections only fail, another place would only double the attempts. */
    if (member_pick(pool) == NULL && any_member_is(pool, MEMBER_RESTING)) {
        pool_due(pool, uv_now(pool->loop));
        return;
    }
    m = openable(pool, false);
    if (m != NULL)
        open_conn(m);
}

/* --- time --- */

void member_probe(struct pool *pool)
{
    struct member *m = member_pick(pool);
    bool open = m == NULL;

    if (open && any_member_is(pool, MEMBER_OPENING))
        return; /* that is a probe already */
    if (open)
        m = openable(pool, true);
    if (m == NULL || !breaker_allow(pool->breaker, clock_now_ms()))
        return;
    if (open)
        open_conn(m);
    else if (take_off(m, NULL, 1) == NULL ||
             redis_conn_send(m->conn, ping, sizeof(ping) - 1) != ERR_OK)
        end_conn(m, ERR_LOST, "cannot write");
}

/* The call's time is over though its connection's is not: it ends, its answer will be thrown away.
 */
static void give_up_calls(struct member *m, uint64_t now_ms)
{
    LIST_EACH_SAFE (node, tmp, &m->flights) {
        struct flight *f = flight_of(node);

        if (f->call == NULL)
            continue;
        if (f->call->deadline_ms > now_ms) {
            pool_due(m->pool, f->call->deadline_ms);
            continue;
        }
        m->suspect = true;
        suspect(m);
        pool_finish(f->call, ERR_TIMEOUT);
        f->call = NULL;
    }
}

/* Too old is what is still unanswered after the loop has looked at the socket once more: it may be
 * this process that slept, with the answer waiting. */
static void limit_oldest(struct member *m, uint64_t now_ms)
{
    const struct flight *f = oldest_flight(m);
    uint64_t limit_ms = m->pool->config->command_timeout_ms;
    char text[96];

    if (f == NULL)
        return;
    if (f->written_ms + limit_ms > now_ms) {
        pool_due(m->pool, f->written_ms + limit_ms);
        return;
    }
    if (!m->late) {
        m->late = true;
        pool_due(m->pool, now_ms + 1);
        return;
    }
    m->pool->stats.timeouts++;
    snprintf(text, sizeof(text), "no answer within command_timeout (%llu ms)",
             (unsigned long long)limit_ms);
    end_conn(m, ERR_TIMEOUT, text);
}

static void reopen(struct member *m, uint64_t now_ms)
{
    struct pool *pool = m->pool;

    if (breaker_state(pool->breaker) != BREAKER_CLOSED)
        return; /* the pool watches the breaker, and comes back here */
    if (m->reopen_ms > now_ms)
        pool_due(pool, m->reopen_ms);
    else if (any_member_is(pool, MEMBER_OPENING))
        pool_due(pool, now_ms + pool->config->reconnect_min_ms + 1); /* one at a time */
    else
        open_conn(m);
}

void member_janitor(struct member *member, uint64_t now_ms)
{
    if (member->state == MEMBER_READY) {
        give_up_calls(member, now_ms);
        limit_oldest(member, now_ms);
    } else if (member->state == MEMBER_RESTING) {
        reopen(member, now_ms);
    }
}

void member_shut(struct member *member)
{
    lose_flights(member, ERR_LOST);
    if (member->conn != NULL)
        redis_conn_close(member->conn, ERR_DOWN, "the pool closes");
}
