#include "redis/pool_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* How often a pool looks at a breaker that is not closed, and at one that others may open while
 * calls wait here. */
#define WATCH_MIN_MS 10u
#define WATCH_MAX_MS 250u

static struct pool_call *call_of(struct list *node)
{
    return LIST_ENTRY(node, struct pool_call, link);
}

static bool is_refusing(const struct pool *pool)
{
    return pool->closing || breaker_state(pool->breaker) != BREAKER_CLOSED;
}

/* --- encoding --- */

/* Not hiredis' formatter: that takes other argument vectors, and makes a block a command to be
 * copied once more. */
static size_t number_len(size_t number)
{
    size_t len = 1;

    for (; number >= 10; number /= 10)
        len++;
    return len;
}

/* "*3\r\n" and, for each argument, "$3\r\nSET\r\n". */
static size_t command_len(const struct pool_command *command)
{
    size_t len = 3 + number_len((size_t)command->argc);

    for (int i = 0; i < command->argc; i++)
        len += 5 + number_len(command->argv[i].len) + command->argv[i].len;
    return len;
}

static char *put_command(char *p, const struct pool_command *command)
{
    p += sprintf(p, "*%d\r\n", command->argc);
    for (int i = 0; i < command->argc; i++) {
        struct slice arg = command->argv[i];

        p += sprintf(p, "$%zu\r\n", arg.len);
        if (arg.len > 0)
            memcpy(p, arg.data, arg.len);
        p += arg.len;
        memcpy(p, "\r\n", 2);
        p += 2;
    }
    return p;
}

static int encode(struct pool_call *call, const struct pool_command *commands, size_t n)
{
    size_t len = 1; /* hiredis looks one byte beyond a command */
    char *start, *p;

    for (size_t i = 0; i < n; i++)
        len += command_len(&commands[i]);
    call->ends = malloc(n * sizeof(*call->ends) + len);
    if (call->ends == NULL)
        return ERR_NOMEM;
    start = (char *)(call->ends + n);
    p = start;
    for (size_t i = 0; i < n; i++) {
        p = put_command(p, &commands[i]);
        call->ends[i] = (size_t)(p - start);
    }
    *p = '\0';
    call->commands = (unsigned)n;
    return ERR_OK;
}

/* --- the ends of calls --- */

static void end_call(struct pool_call *call, int status, const struct reply *reply)
{
    struct pool *pool = call->pool;

    free(call->ends);
    call->ends = NULL;
    pool->unanswered -= call->commands;
    if (status == ERR_OK)
        pool->stats.answered++;
    else
        pool->stats.failed++;
    call->done(call, status, reply);
}

static void on_deliver(uv_idle_t *idle)
{
    struct pool *pool = idle->data;
    struct list now;
    struct list *node;

    /* What a done() sends and is refused waits for the next turn, or the loop would never get on.
     */
    list_init(&now);
    while ((node = list_pop(&pool->finished)) != NULL)
        list_push(&now, node);
    uv_idle_stop(&pool->deliver);
    while ((node = list_pop(&now)) != NULL)
        end_call(call_of(node), call_of(node)->status, NULL);
    pool_maybe_gone(pool);
}

void pool_finish(struct pool_call *call, int status)
{
    struct pool *pool = call->pool;

    list_remove(&call->link);
    call->status = status;
    list_push(&pool->finished, &call->link);
    uv_idle_start(&pool->deliver, on_deliver);
}

/* End what was not written, or not since it was last lost. */
static void finish_all(struct list *calls)
{
    LIST_EACH_SAFE (node, tmp, calls)
    pool_finish(call_of(node), call_of(node)->outcome);
}

void pool_refuse_waiting(struct pool *pool)
{
    finish_all(&pool->queue);
    finish_all(&pool->resting);
}

bool pool_retry(struct pool_call *call)
{
    struct pool *pool = call->pool;
    unsigned doublings = call->attempt > 0 ? call->attempt - 1 : 0;
    uint64_t at_ms;

    if (is_refusing(pool) || call->attempt >= pool->config->attempts)
        return false;
    at_ms = uv_now(pool->loop) +
            pool_jitter(pool, pool->config->retry_delay_ms << (doublings < 16 ? doublings : 16));
    if (at_ms >= call->deadline_ms)
        return false;
    call->retry_at_ms = at_ms;
    list_push(&pool->resting, &call->link);
    pool->stats.retried++;
    pool_due(pool, at_ms);
    return true;
}

void pool_call_lost(struct pool_call *call, int status)
{
    call->outcome = status;
    if (!call->repeatable || !pool_retry(call))
        pool_finish(call, status);
}

void pool_call_answered(struct pool_call *call, const struct reply *reply, bool refused)
{
    if (!refused || !pool_retry(call))
        end_call(call, ERR_OK, reply);
}

/* --- waiting for a connection --- */

static void dispatch(struct pool *pool, struct pool_call *call)
{
    struct member *m = member_pick(pool);

    /* A busy pool grows, in the background; this call does not wait for that. */
    if (m == NULL || m->in_flight > 0)
        member_open_one(pool);
    if (m != NULL) {
        member_write(m, call);
        return;
    }
    list_push(&pool->queue, &call->link);
    pool_due(pool, call->deadline_ms);
    pool_due(pool, uv_now(pool->loop) + WATCH_MAX_MS);
}

void pool_flush_queue(struct pool *pool, struct member *member)
{
    struct list *node;

    while (member->state == MEMBER_READY && (node = list_pop(&pool->queue)) != NULL)
        member_write(member, call_of(node));
}

void pool_queue_tried(struct pool *pool)
{
    LIST_EACH_SAFE (node, tmp, &pool->queue) {
        struct pool_call *call = call_of(node);

        if (++call->attempt >= pool->config->attempts)
            pool_finish(call, call->outcome);
    }
}

void pool_send(struct pool *pool, struct pool_call *call, const struct pool_command *commands,
               size_t n)
{
    assert(n > 0);
    list_init(&call->link);
    call->pool = pool;
    call->ends = NULL;
    call->commands = 0;
    call->attempt = 0;
    call->outcome = ERR_DOWN;
    call->deadline_ms = pool_now_ms() + pool->config->deadline_ms;
    if (is_refusing(pool)) {
        pool_finish(call, ERR_DOWN);
        if (!pool->closing)
            pool_due(pool, uv_now(pool->loop) + WATCH_MIN_MS);
        return;
    }
    if (pool->unanswered + n > (uint64_t)pool->config->queue_max) {
        pool_finish(call, ERR_LIMIT);
        return;
    }
    if (encode(call, commands, n) != ERR_OK) {
        pool_finish(call, ERR_NOMEM);
        return;
    }
    pool->unanswered += call->commands;
    dispatch(pool, call);
}

/* --- time --- */

uint64_t pool_now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

uint64_t pool_jitter(struct pool *pool, uint64_t ms)
{
    return ms - ms / 2 + (uint64_t)nrand48(pool->seed) % (ms / 2 + 1);
}

static uint64_t watch_ms(const struct pool *pool)
{
    uint64_t ms = pool->config->breaker_open_ms / 8;

    if (ms < WATCH_MIN_MS)
        return WATCH_MIN_MS;
    return ms > WATCH_MAX_MS ? WATCH_MAX_MS : ms;
}

static void watch_breaker(struct pool *pool, uint64_t now_ms)
{
    if (breaker_state(pool->breaker) == BREAKER_CLOSED)
        return;
    pool_refuse_waiting(pool);
    member_probe(pool);
    pool_due(pool, now_ms + watch_ms(pool));
}

static void expire_queue(struct pool *pool, uint64_t now_ms)
{
    LIST_EACH_SAFE (node, tmp, &pool->queue) {
        struct pool_call *call = call_of(node);

        if (call->deadline_ms <= now_ms)
            pool_finish(call, call->outcome);
        else
            pool_due(pool, call->deadline_ms);
    }
    if (!list_empty(&pool->queue))
        pool_due(pool, now_ms + WATCH_MAX_MS);
}

static void wake_resting(struct pool *pool, uint64_t now_ms)
{
    struct list due;
    struct list *node;

    list_init(&due);
    LIST_EACH_SAFE (rested, tmp, &pool->resting) {
        if (call_of(rested)->retry_at_ms > now_ms) {
            pool_due(pool, call_of(rested)->retry_at_ms);
            continue;
        }
        list_remove(rested);
        list_push(&due, rested);
    }
    while ((node = list_pop(&due)) != NULL)
        dispatch(pool, call_of(node));
}

/* Everything that depends on time, in one place; each part asks to be looked at again when it has
 * to. */
static void janitor(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    uint64_t now_ms = uv_now(pool->loop);

    pool->armed = false;
    watch_breaker(pool, now_ms);
    for (unsigned i = 0; i < pool->n_members; i++)
        member_janitor(&pool->members[i], now_ms);
    expire_queue(pool, now_ms);
    wake_resting(pool, now_ms);
}

void pool_due(struct pool *pool, uint64_t at_ms)
{
    uint64_t now_ms = uv_now(pool->loop);

    if (pool->closing || (pool->armed && pool->due_ms <= at_ms))
        return;
    pool->armed = true;
    pool->due_ms = at_ms;
    uv_timer_start(&pool->timer, janitor, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

/* --- the pool --- */

static int members_init(struct pool *pool, unsigned n)
{
    pool->members = calloc(n, sizeof(*pool->members));
    if (pool->members == NULL)
        return ERR_NOMEM;
    pool->n_members = n;
    for (unsigned i = 0; i < n; i++) {
        pool->members[i].pool = pool;
        list_init(&pool->members[i].flights);
    }
    return ERR_OK;
}

int pool_create(uv_loop_t *loop, const struct config_redis *config, struct breaker *breaker,
                struct pool **out, struct errmsg *msg)
{
    struct pool *pool;
    uint64_t seed = uv_hrtime() ^ (uint64_t)getpid() << 32;
    int status = redis_conn_check_server(config->server, msg);

    if (status != ERR_OK)
        return status;
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the pool");
    if (members_init(pool, config->pool_size > 0 ? (unsigned)config->pool_size : 1) != ERR_OK) {
        free(pool);
        return err_set(msg, ERR_NOMEM, "no memory for the pool's connections");
    }
    memcpy(pool->seed, &seed, sizeof(pool->seed));
    pool->loop = loop;
    pool->config = config;
    pool->breaker = breaker;
    list_init(&pool->queue);
    list_init(&pool->resting);
    list_init(&pool->finished);
    uv_timer_init(loop, &pool->timer);
    uv_idle_init(loop, &pool->deliver);
    pool->timer.data = pool;
    pool->deliver.data = pool;
    *out = pool;
    return ERR_OK;
}

void pool_keep_incarnation(struct pool *pool, struct incarnation *incarnation)
{
    pool->incarnation = incarnation;
}

bool pool_usable(const struct pool *pool)
{
    return !is_refusing(pool);
}

static unsigned list_len(const struct list *head)
{
    unsigned n = 0;

    for (const struct list *node = head->next; node != head; node = node->next)
        n++;
    return n;
}

void pool_stats(const struct pool *pool, struct pool_stats *out)
{
    *out = pool->stats;
    out->connected = 0;
    for (unsigned i = 0; i < pool->n_members; i++)
        out->connected += pool->members[i].state == MEMBER_READY;
    out->queued = list_len(&pool->queue) + list_len(&pool->resting);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pool *pool = handle->data;
    void (*gone)(void *arg) = pool->gone;
    void *arg = pool->gone_arg;

    if (--pool->handles > 0)
        return;
    free(pool->members);
    free(pool);
    if (gone != NULL)
        gone(arg);
}

void pool_maybe_gone(struct pool *pool)
{
    if (!pool->closing || pool->handles_closing || !list_empty(&pool->finished))
        return;
    for (unsigned i = 0; i < pool->n_members; i++)
        if (pool->members[i].conn != NULL)
            return;
    pool->handles_closing = true;
    pool->handles = 2;
    uv_close((uv_handle_t *)&pool->timer, on_handle_closed);
    uv_close((uv_handle_t *)&pool->deliver, on_handle_closed);
}

void pool_close(struct pool *pool, void (*gone)(void *arg), void *arg)
{
    pool->gone = gone;
    pool->gone_arg = arg;
    pool->closing = true;
    uv_timer_stop(&pool->timer);
    pool_refuse_waiting(pool);
    for (unsigned i = 0; i < pool->n_members; i++)
        member_shut(&pool->members[i]);
    /* From the loop in any case, also when nothing is left to wait for. */
    uv_idle_start(&pool->deliver, on_deliver);
}
