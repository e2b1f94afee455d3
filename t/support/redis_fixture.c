#include "redis_fixture.h"

#include "common/clock.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 10000
#define ARGS_MAX    16
#define BATCH_MAX   8

static void on_heart(uv_timer_t *timer)
{
    (void)timer;
}

void redis_fixture_init(struct redis_fixture *fixture, const char *server)
{
    *fixture =
        (struct redis_fixture){.config = {.enabled = true,
                                          .server = (char *)(uintptr_t)server,
                                          .user = (char *)(uintptr_t) "",
                                          .password = (char *)(uintptr_t) "",
                                          .channel = (char *)(uintptr_t) "cachetastic:invalidate",
                                          .pool_size = 2,
                                          .connect_timeout_ms = 1000,
                                          .command_timeout_ms = 1000,
                                          .attempts = 3,
                                          .retry_delay_ms = 20,
                                          .deadline_ms = 5000,
                                          .reconnect_min_ms = 20,
                                          .reconnect_max_ms = 100,
                                          .queue_max = 10000,
                                          .breaker_failures = 3,
                                          .breaker_open_ms = 300}};
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(uv_loop_init(&fixture->loop), 0);
    uv_timer_init(&fixture->loop, &fixture->heart);
    uv_timer_start(&fixture->heart, on_heart, 5, 5);
}

void redis_fixture_open(struct redis_fixture *fixture)
{
    struct errmsg msg;

    ck_assert_int_eq(breaker_create((uint32_t)fixture->config.breaker_failures,
                                    fixture->config.breaker_open_ms, &fixture->breaker, &msg),
                     ERR_OK);
    ck_assert_msg(pool_create(&fixture->loop, &fixture->config, fixture->breaker, &fixture->pool,
                              &msg) == ERR_OK,
                  "%s", msg.text);
}

static void on_gone(void *arg)
{
    struct redis_fixture *fixture = arg;

    ck_assert(!fixture->gone);
    fixture->gone = true;
}

void redis_fixture_close(struct redis_fixture *fixture)
{
    if (fixture->pool != NULL)
        pool_close(fixture->pool, on_gone, fixture);
    fixture->pool = NULL;
    redis_fixture_until(fixture, &fixture->gone);
}

void redis_fixture_fini(struct redis_fixture *fixture)
{
    if (fixture->pool != NULL)
        redis_fixture_close(fixture);
    breaker_destroy(fixture->breaker);
    uv_close((uv_handle_t *)&fixture->heart, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&fixture->loop), 0);
}

void redis_fixture_until(struct redis_fixture *fixture, const bool *done)
{
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;

    while (!*done) {
        ck_assert_msg(clock_now_ms() < give_up, "waited in vain");
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

void redis_fixture_until_count(struct redis_fixture *fixture, const unsigned *count,
                               unsigned target)
{
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;

    while (*count < target) {
        ck_assert_msg(clock_now_ms() < give_up, "waited in vain: %u of %u", *count, target);
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

void redis_fixture_sleep(struct redis_fixture *fixture, unsigned ms)
{
    uint64_t until = clock_now_ms() + ms;

    while (clock_now_ms() < until)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static void remember(const struct reply *reply, enum reply_type *type, char text[64],
                     int64_t *integer)
{
    *type = reply->type;
    *integer = reply->integer;
    snprintf(text, 64, "%.*s", (int)reply->str.len, reply->str.len > 0 ? reply->str.data : "");
}

void redis_call_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct redis_call *self = LIST_ENTRY(call, struct redis_call, call);

    ck_assert_msg(!self->done, "done ran twice");
    ck_assert((status == ERR_OK) == (reply != NULL));
    self->done = true;
    self->status = status;
    if (self->counter != NULL)
        ++*self->counter;
    if (reply == NULL)
        return;
    remember(reply, &self->type, self->text, &self->integer);
    self->len = reply->str.len;
    self->n_items = reply->n_items;
    for (size_t i = 0; i < reply->n_items && i < REPLY_ITEMS; i++)
        remember(&reply->items[i], &self->items[i].type, self->items[i].text,
                 &self->items[i].integer);
}

static int split(const char *command, struct slice *argv)
{
    int argc = 0;

    for (const char *p = command; *p != '\0';) {
        size_t len = strcspn(p, " ");

        ck_assert_int_lt(argc, ARGS_MAX);
        argv[argc++] = slice_make(p, len);
        p += len + (p[len] == ' ');
    }
    return argc;
}

void redis_call_send_batch(struct redis_fixture *fixture, struct redis_call *call,
                           const char *const *commands)
{
    struct slice argv[BATCH_MAX][ARGS_MAX];
    struct pool_command list[BATCH_MAX];
    size_t n = 0;
    bool repeatable = call->call.repeatable;
    unsigned *counter = call->counter;

    for (; commands[n] != NULL; n++) {
        ck_assert_uint_lt(n, BATCH_MAX);
        list[n].argc = split(commands[n], argv[n]);
        list[n].argv = argv[n];
    }
    *call = (struct redis_call){.counter = counter};
    call->call.done = redis_call_done;
    call->call.repeatable = repeatable;
    pool_send(fixture->pool, &call->call, list, n);
    ck_assert_msg(!call->done, "done ran inside pool_send()");
}

void redis_call_send(struct redis_fixture *fixture, struct redis_call *call, const char *command)
{
    redis_call_send_batch(fixture, call, (const char *const[]){command, NULL});
}

void redis_call_run(struct redis_fixture *fixture, struct redis_call *call, const char *command)
{
    redis_call_send(fixture, call, command);
    redis_fixture_until(fixture, &call->done);
}

void redis_call_expect(const struct redis_call *call, int status, enum reply_type type,
                       const char *text)
{
    ck_assert_msg(call->status == status, "ended with %s", err_name(call->status));
    if (status != ERR_OK)
        return;
    ck_assert_msg(call->type == type, "type %d, \"%s\"", call->type, call->text);
    ck_assert_str_eq(call->text, text);
}
