/* What the pool does when Redis, or the way to it, is not as it should be. */
#include "redis/pool.h"

#include "redis_fixture.h"
#include "redis_server.h"
#include "scripted_server.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct redis_server server;
static struct redis_fixture f;

static void setup(void)
{
    redis_server_start(&server, NULL);
    redis_fixture_init(&f, server.address);
}

static void setup_absent(void)
{
    redis_server_reserve(&server, NULL);
    redis_fixture_init(&f, server.address);
}

static void teardown(void)
{
    redis_fixture_fini(&f);
    redis_server_fini(&server);
}

static struct pool_stats stats(void)
{
    struct pool_stats now;

    pool_stats(f.pool, &now);
    return now;
}

/* Wait until the pool's calls go (or are refused), without sending any. */
static void until_usable(bool usable)
{
    for (int i = 0; pool_usable(f.pool) != usable; i++) {
        ck_assert_msg(i < 1000, "waited in vain");
        redis_fixture_sleep(&f, 10);
    }
}

static void until_in_flight(struct redis_call *call)
{
    for (int i = 0; stats().sent == 0; i++) {
        ck_assert_msg(i < 1000, "waited in vain");
        redis_fixture_sleep(&f, 10);
    }
    redis_fixture_sleep(&f, 20);
    ck_assert(!call->done);
}

/* --- no server --- */

START_TEST(an_absent_server_is_down_before_the_deadline)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
    ck_assert_uint_lt(uv_now(&f.loop), call.call.deadline_ms);
    ck_assert_uint_eq(stats().sent, 0);
}
END_TEST

START_TEST(an_absent_unix_socket)
{
    struct redis_call call = {0};

    f.config.server = server.unix_address;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

START_TEST(a_name_that_does_not_exist)
{
    struct redis_call call = {0};

    f.config.server = (char *)(uintptr_t) "no-such-host.invalid:6379";
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

START_TEST(an_open_breaker_answers_in_the_next_turn)
{
    struct redis_call call = {0};

    f.config.breaker_open_ms = 60000;
    redis_fixture_open(&f);
    for (int i = 0; i < 3 && pool_usable(f.pool); i++)
        redis_call_run(&f, &call, "GET k");
    until_usable(false);
    ck_assert_uint_eq(breaker_opened(f.breaker), 1);
    for (int i = 0; i < 10; i++) {
        redis_call_send(&f, &call, "GET k");
        uv_run(&f.loop, UV_RUN_NOWAIT);
        ck_assert(call.done);
        redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
    }
    ck_assert_uint_eq(stats().queued, 0);
}
END_TEST

/* Calls that wait for a connection when the breaker opens do not wait any longer. */
START_TEST(the_breaker_ends_what_waits)
{
    struct redis_call calls[3] = {0};

    f.config.attempts = 1000;
    f.config.deadline_ms = 60000;
    redis_fixture_open(&f);
    for (int i = 0; i < 3; i++)
        redis_call_send(&f, &calls[i], "GET k");
    for (int i = 0; i < 3; i++) {
        redis_fixture_until(&f, &calls[i].done);
        redis_call_expect(&calls[i], ERR_DOWN, REPLY_NIL, "");
    }
    ck_assert_int_ne(breaker_state(f.breaker), BREAKER_CLOSED);
}
END_TEST

START_TEST(a_server_that_comes_is_used_without_traffic)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
    until_usable(false);
    redis_server_restart(&server);
    until_usable(true);
    redis_call_run(&f, &call, "SET k v");
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
}
END_TEST

/* A call waits for a server that is just being restarted, as long as its tries allow. */
START_TEST(a_call_survives_a_short_absence)
{
    struct redis_call call = {0};

    f.config.attempts = 1000;
    f.config.breaker_failures = 10000;
    redis_fixture_open(&f);
    redis_call_send(&f, &call, "SET k v");
    redis_fixture_sleep(&f, 100);
    ck_assert(!call.done);
    redis_server_restart(&server);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
    ck_assert_uint_eq(stats().sent, 1);
}
END_TEST

START_TEST(the_queue_is_bounded_while_nothing_is_connected)
{
    struct redis_call calls[8] = {0};

    f.config.queue_max = 5;
    redis_fixture_open(&f);
    for (int i = 0; i < 8; i++)
        redis_call_send(&f, &calls[i], "GET k");
    ck_assert_uint_eq(stats().queued, 5);
    for (int i = 0; i < 8; i++) {
        redis_fixture_until(&f, &calls[i].done);
        redis_call_expect(&calls[i], i < 5 ? ERR_DOWN : ERR_LIMIT, REPLY_NIL, "");
    }
}
END_TEST

/* --- a server that dies --- */

START_TEST(a_written_call_is_lost)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_send(&f, &call, "BLPOP nothing 0");
    until_in_flight(&call);
    redis_server_kill(&server, SIGKILL);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_LOST, REPLY_NIL, "");
    ck_assert_uint_eq(stats().retried, 0);
}
END_TEST

START_TEST(a_repeatable_call_is_sent_again)
{
    struct redis_call call = {.call.repeatable = true};
    struct redis_call push = {0};
    struct redis_fixture other;

    f.config.attempts = 1000;
    f.config.retry_delay_ms = 1;
    f.config.command_timeout_ms = 5000;
    f.config.breaker_failures = 10000;
    redis_fixture_open(&f);
    redis_call_send(&f, &call, "BLPOP list 0");
    until_in_flight(&call);
    redis_server_kill(&server, SIGKILL);
    redis_fixture_sleep(&f, 100);
    ck_assert(!call.done);
    redis_server_restart(&server);
    redis_fixture_init(&other, server.address);
    redis_fixture_open(&other);
    redis_call_run(&other, &push, "RPUSH list x");
    redis_fixture_fini(&other);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_ARRAY, "");
    ck_assert_str_eq(call.items[1].text, "x");
    ck_assert_uint_ge(stats().retried, 1);
}
END_TEST

START_TEST(a_repeatable_call_runs_out_of_tries)
{
    struct redis_call call = {.call.repeatable = true};

    f.config.breaker_failures = 10000;
    redis_fixture_open(&f);
    redis_call_send(&f, &call, "BLPOP nothing 0");
    until_in_flight(&call);
    redis_server_kill(&server, SIGKILL);
    redis_fixture_until(&f, &call.done);
    /* It was written once: nobody may take it for never done. */
    redis_call_expect(&call, ERR_LOST, REPLY_NIL, "");
}
END_TEST

START_TEST(an_idle_connection_that_ends_is_no_failure)
{
    struct redis_call call = {0};
    struct redis_fixture killer;

    f.config.breaker_failures = 1;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "PING");
    redis_fixture_init(&killer, server.address);
    redis_fixture_open(&killer);
    redis_call_run(&killer, &call, "CLIENT KILL TYPE normal SKIPME yes");
    ck_assert_int_ge(call.integer, 1);
    redis_fixture_fini(&killer);
    for (int i = 0; stats().connects < 2; i++) {
        ck_assert_msg(i < 1000, "not connected again");
        redis_fixture_sleep(&f, 10);
    }
    ck_assert_uint_eq(breaker_opened(f.breaker), 0);
    redis_call_run(&f, &call, "ECHO x");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "x");
}
END_TEST

/* A reset comes to the loop as an error of the socket, not as something to read: it must not be
 * left to the time limit. */
START_TEST(a_reset_connection)
{
    struct scripted_server scripted;
    struct redis_fixture own;
    struct redis_call call = {0};

    scripted_server_start(&scripted, (const char *const[]){SCRIPTED_RESET, "+again\r\n", NULL});
    redis_fixture_init(&own, scripted.address);
    redis_fixture_open(&own);
    redis_call_run(&own, &call, "INCR n");
    redis_call_expect(&call, ERR_LOST, REPLY_NIL, "");
    redis_call_run(&own, &call, "INCR n");
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "again");
    redis_fixture_fini(&own);
    scripted_server_fini(&scripted);
    redis_fixture_open(&f);
}
END_TEST

/* --- a server that does not answer --- */

START_TEST(a_frozen_server)
{
    struct redis_call calls[4] = {0}, late = {0};
    uint64_t opened;

    f.config.command_timeout_ms = 100;
    f.config.connect_timeout_ms = 100;
    redis_fixture_open(&f);
    redis_call_run(&f, &late, "PING");
    redis_server_freeze(&server, true);
    for (int i = 0; i < 4; i++)
        redis_call_send(&f, &calls[i], "INCR n");
    for (int i = 0; i < 4; i++) {
        redis_fixture_until(&f, &calls[i].done);
        redis_call_expect(&calls[i], ERR_TIMEOUT, REPLY_NIL, "");
    }
    ck_assert_uint_ge(stats().timeouts, 1);
    until_usable(false);
    redis_call_send(&f, &late, "INCR n");
    uv_run(&f.loop, UV_RUN_NOWAIT);
    ck_assert_msg(late.done, "a call waits though the breaker is open");
    redis_call_expect(&late, ERR_DOWN, REPLY_NIL, "");
    /* The probes of a frozen server fail, each opens the breaker again, and no call goes meanwhile.
     */
    opened = breaker_opened(f.breaker);
    for (int i = 0; breaker_opened(f.breaker) < opened + 2; i++) {
        ck_assert_msg(i < 1000, "nobody probes");
        ck_assert(!pool_usable(f.pool));
        redis_fixture_sleep(&f, 10);
    }
    redis_server_freeze(&server, false);
    until_usable(true);
    redis_call_run(&f, &late, "ECHO x");
    redis_call_expect(&late, ERR_OK, REPLY_STRING, "x");
}
END_TEST

START_TEST(a_repeatable_call_outlives_a_short_freeze)
{
    struct redis_call call = {0}, read = {.call.repeatable = true};

    f.config.pool_size = 1;
    f.config.command_timeout_ms = 100;
    f.config.connect_timeout_ms = 5000;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "SET k v");
    redis_server_freeze(&server, true);
    redis_call_send(&f, &call, "INCR n");
    redis_call_send(&f, &read, "GET k");
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_TIMEOUT, REPLY_NIL, "");
    redis_fixture_sleep(&f, 100);
    ck_assert(!read.done);
    redis_server_freeze(&server, false);
    redis_fixture_until(&f, &read.done);
    redis_call_expect(&read, ERR_OK, REPLY_STRING, "v");
    ck_assert_uint_eq(stats().retried, 1);
}
END_TEST

START_TEST(a_call_given_up_does_not_shift_the_answers)
{
    struct redis_call slow = {0}, next = {0};

    f.config.pool_size = 1;
    f.config.deadline_ms = 200;
    f.config.command_timeout_ms = 5000;
    redis_fixture_open(&f);
    redis_call_run(&f, &slow, "BLPOP nothing 0.5");
    redis_call_expect(&slow, ERR_TIMEOUT, REPLY_NIL, "");
    ck_assert_uint_eq(stats().timeouts, 0);
    redis_fixture_sleep(&f, 350);
    redis_call_run(&f, &next, "ECHO mine");
    redis_call_expect(&next, ERR_OK, REPLY_STRING, "mine");
    ck_assert_uint_eq(stats().connects, 1);
}
END_TEST

/* This process slept; the answer came in time and waits in the socket. */
START_TEST(a_late_loop_is_no_timeout)
{
    struct redis_call call = {0};

    f.config.command_timeout_ms = 50;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "PING");
    for (int i = 0; i < 5; i++) {
        redis_call_send(&f, &call, "ECHO x");
        uv_run(&f.loop, UV_RUN_NOWAIT); /* writes it */
        usleep(120000);
        redis_fixture_until(&f, &call.done);
        redis_call_expect(&call, ERR_OK, REPLY_STRING, "x");
    }
    ck_assert_uint_eq(stats().timeouts, 0);
}
END_TEST

START_TEST(processes_share_the_breaker)
{
    struct redis_fixture other;
    struct redis_call call = {0};
    struct errmsg msg;

    redis_fixture_init(&other, server.address);
    redis_fixture_open(&f);
    ck_assert_int_eq(pool_create(&other.loop, &other.config, f.breaker, &other.pool, &msg), ERR_OK);
    redis_call_run(&other, &call, "PING");
    redis_server_kill(&server, SIGKILL);
    redis_fixture_sleep(&other, 20);
    for (int i = 0; i < 10 && pool_usable(f.pool); i++)
        redis_call_run(&f, &call, "GET k");
    until_usable(false);
    ck_assert(!pool_usable(other.pool));
    redis_call_run(&other, &call, "GET k");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
    redis_server_restart(&server);
    until_usable(true);
    redis_call_run(&other, &call, "ECHO x");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "x");
    redis_fixture_fini(&other);
}
END_TEST

/* --- login --- */

START_TEST(a_password)
{
    static const char *const options[] = {"--requirepass", "se cret", NULL};
    struct redis_call call = {0};

    redis_server_kill(&server, SIGKILL);
    server.options = options;
    redis_server_restart(&server);
    f.config.password = (char *)(uintptr_t) "se cret";
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ECHO x");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "x");
    redis_fixture_close(&f);
    breaker_destroy(f.breaker);
    f.gone = false;

    f.config.password = (char *)(uintptr_t) "wrong";
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ECHO x");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
    redis_fixture_close(&f);
    breaker_destroy(f.breaker);
    f.gone = false;

    f.config.password = (char *)(uintptr_t) "";
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ECHO x");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

START_TEST(a_user)
{
    struct redis_call call = {0};
    struct redis_fixture admin;

    redis_fixture_init(&admin, server.address);
    redis_fixture_open(&admin);
    redis_call_run(&admin, &call, "ACL SETUSER app on >pw ~* +@all");
    redis_call_run(&admin, &call, "ACL SETUSER reader on >pw ~* +get"); /* may not even PING */
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
    redis_fixture_fini(&admin);

    f.config.user = (char *)(uintptr_t) "app";
    f.config.password = (char *)(uintptr_t) "pw";
    f.config.db = 3;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ACL WHOAMI");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "app");
    redis_fixture_close(&f);
    breaker_destroy(f.breaker);
    f.gone = false;

    f.config.user = (char *)(uintptr_t) "reader";
    f.config.db = 0;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_OK, REPLY_NIL, "");
}
END_TEST

/* --- answers --- */

struct scripted_case {
    const char *const *answers;
    const char *const *commands;
    bool repeatable;
    enum reply_type type;
    const char *text;
    int64_t integer;
    unsigned retried;
};

static void run_scripted(const struct scripted_case *c)
{
    struct scripted_server scripted;
    struct redis_fixture own;
    struct redis_call call = {.call.repeatable = c->repeatable};
    struct pool_stats now;

    scripted_server_start(&scripted, c->answers);
    redis_fixture_init(&own, scripted.address);
    own.config.pool_size = 1;
    redis_fixture_open(&own);
    redis_call_send_batch(&own, &call, c->commands);
    redis_fixture_until(&own, &call.done);
    redis_call_expect(&call, ERR_OK, c->type, c->text);
    ck_assert_int_eq(call.integer, c->integer);
    pool_stats(own.pool, &now);
    ck_assert_uint_eq(now.retried, c->retried);
    redis_fixture_fini(&own);
    scripted_server_fini(&scripted);
}

#define ANSWERS(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(passing_refusals_are_tried_again)
{
    static const char *const one[] = {"INCR a", NULL};
    static const char *const two[] = {"INCR a", "INCR b", NULL};
    const struct scripted_case cases[] = {
        {ANSWERS("-LOADING Redis is loading\r\n", ":1\r\n"), one, false, REPLY_INTEGER, "", 1, 1},
        {ANSWERS("-BUSY x\r\n", "-CLUSTERDOWN x\r\n", ":1\r\n"), one, false, REPLY_INTEGER, "", 1,
         2},
        /* No more than three tries: then the answer is the refusal. */
        {ANSWERS("-BUSY x\r\n", "-BUSY y\r\n", "-BUSY z\r\n", ":1\r\n"), one, true, REPLY_ERROR,
         "BUSY z", 0, 2},
        {ANSWERS("-BUSYGROUP x\r\n", ":1\r\n"), one, true, REPLY_ERROR, "BUSYGROUP x", 0, 0},
        {ANSWERS("-ERR x\r\n", ":1\r\n"), one, true, REPLY_ERROR, "ERR x", 0, 0},
        {ANSWERS("$-1\r\n", ":1\r\n"), one, true, REPLY_NIL, "", 0, 0},
        /* A batch of which something ran is not sent again unless that does no harm. */
        {ANSWERS(":1\r\n", "-TRYAGAIN x\r\n", ":1\r\n", ":2\r\n"), two, false, REPLY_ERROR,
         "TRYAGAIN x", 0, 0},
        {ANSWERS(":1\r\n", "-TRYAGAIN x\r\n", ":1\r\n", ":2\r\n"), two, true, REPLY_INTEGER, "", 2,
         1},
        {ANSWERS("-LOADING x\r\n", "-LOADING x\r\n", ":1\r\n", ":2\r\n"), two, false, REPLY_INTEGER,
         "", 2, 1},
    };

    redis_fixture_open(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_scripted(&cases[i]);
}
END_TEST

START_TEST(nonsense_ends_the_connection)
{
    struct scripted_server scripted;
    struct redis_fixture own;
    struct redis_call call = {0};

    scripted_server_start(&scripted, ANSWERS("hello\r\n", "$5\r\nagain\r\n"));
    redis_fixture_init(&own, scripted.address);
    own.config.pool_size = 1;
    redis_fixture_open(&own);
    redis_call_run(&own, &call, "GET a");
    redis_call_expect(&call, ERR_LOST, REPLY_NIL, "");
    redis_call_run(&own, &call, "GET a");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "again");
    redis_fixture_fini(&own);
    scripted_server_fini(&scripted);
    redis_fixture_open(&f);
}
END_TEST

struct info {
    struct pool_call call;
    bool done;
    unsigned long reads;
};

static void info_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct info *info = LIST_ENTRY(call, struct info, call);
    char text[8192];
    const char *at;

    ck_assert_int_eq(status, ERR_OK);
    snprintf(text, sizeof(text), "%.*s", (int)reply->str.len, reply->str.data);
    at = strstr(text, "total_reads_processed:");
    ck_assert_ptr_nonnull(at);
    info->reads = strtoul(at + 22, NULL, 10);
    info->done = true;
}

static unsigned long reads_of_the_server(void)
{
    struct info info = {.call.done = info_done};
    struct slice argv[] = {SLICE_LIT("INFO"), SLICE_LIT("stats")};
    struct pool_command command = {2, argv};

    pool_send(f.pool, &info.call, &command, 1);
    redis_fixture_until(&f, &info.done);
    return info.reads;
}

START_TEST(one_write_for_all_commands_of_a_turn)
{
    static struct redis_call calls[100];
    unsigned long before;
    unsigned done = 0;

    f.config.pool_size = 1;
    redis_fixture_open(&f);
    before = reads_of_the_server();
    for (int i = 0; i < 100; i++) {
        calls[i].counter = &done;
        redis_call_send(&f, &calls[i], "ECHO x");
    }
    redis_fixture_until_count(&f, &done, 100);
    /* The hundred in one, and the INFO itself. */
    ck_assert_uint_le(reads_of_the_server() - before, 3);
}
END_TEST

/* --- the end of the pool --- */

START_TEST(closing_ends_every_call_once)
{
    struct redis_call flying[3] = {0}, waiting[3] = {0};

    redis_fixture_open(&f);
    for (int i = 0; i < 3; i++)
        redis_call_send(&f, &flying[i], "BLPOP nothing 0");
    until_in_flight(&flying[0]);
    for (int i = 0; i < 3; i++)
        redis_call_send(&f, &waiting[i], "BLPOP nothing 0");
    redis_fixture_close(&f);
    for (int i = 0; i < 3; i++) {
        ck_assert(flying[i].done && waiting[i].done);
        redis_call_expect(&flying[i], ERR_LOST, REPLY_NIL, "");
        redis_call_expect(&waiting[i], ERR_LOST, REPLY_NIL, "");
    }
}
END_TEST

START_TEST(closing_while_connecting)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_send(&f, &call, "GET k");
    redis_fixture_close(&f);
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

START_TEST(closing_while_resolving)
{
    struct redis_call call = {0};
    char name[32];

    snprintf(name, sizeof(name), "localhost:%d", server.port);
    f.config.server = name;
    redis_fixture_open(&f);
    redis_call_send(&f, &call, "GET k");
    redis_fixture_close(&f);
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

START_TEST(closing_a_pool_that_was_never_used)
{
    redis_fixture_open(&f);
    redis_fixture_close(&f);
}
END_TEST

static struct redis_call again;

static void close_and_send(struct pool_call *call, int status, const struct reply *reply)
{
    redis_call_done(call, status, reply);
    if (f.pool == NULL)
        return;
    pool_close(f.pool, NULL, NULL);
    redis_call_send(&f, &again, "GET k");
    f.pool = NULL;
}

/* done() of an answered call closes the pool under the calls behind it, and even sends another. */
START_TEST(closing_from_done)
{
    struct redis_call calls[3] = {0};
    struct slice argv[] = {SLICE_LIT("PING")};
    struct pool_command command = {1, argv};

    redis_fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        calls[i].call.done = close_and_send;
        pool_send(f.pool, &calls[i].call, &command, 1);
    }
    for (int i = 0; i < 3; i++)
        redis_fixture_until(&f, &calls[i].done);
    redis_fixture_until(&f, &again.done);
    redis_call_expect(&calls[0], ERR_OK, REPLY_STATUS, "PONG");
    redis_call_expect(&calls[1], ERR_LOST, REPLY_NIL, "");
    redis_call_expect(&again, ERR_DOWN, REPLY_NIL, "");
    redis_fixture_sleep(&f, 50); /* the pool goes; nobody waits for it */
}
END_TEST

START_TEST(closing_while_the_server_is_frozen)
{
    struct redis_call calls[2] = {0};

    redis_fixture_open(&f);
    redis_call_run(&f, &calls[0], "PING");
    redis_server_freeze(&server, true);
    for (int i = 0; i < 2; i++)
        redis_call_send(&f, &calls[i], "SET k v");
    redis_fixture_sleep(&f, 20);
    redis_fixture_close(&f);
    for (int i = 0; i < 2; i++)
        redis_call_expect(&calls[i], ERR_LOST, REPLY_NIL, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool faults");
    TCase *absent = tcase_create("absent");
    TCase *present = tcase_create("present");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(absent, setup_absent, teardown);
    tcase_set_timeout(absent, 60);
    tcase_add_test(absent, an_absent_server_is_down_before_the_deadline);
    tcase_add_test(absent, an_absent_unix_socket);
    tcase_add_test(absent, a_name_that_does_not_exist);
    tcase_add_test(absent, an_open_breaker_answers_in_the_next_turn);
    tcase_add_test(absent, the_breaker_ends_what_waits);
    tcase_add_test(absent, a_server_that_comes_is_used_without_traffic);
    tcase_add_test(absent, a_call_survives_a_short_absence);
    tcase_add_test(absent, the_queue_is_bounded_while_nothing_is_connected);
    suite_add_tcase(suite, absent);

    tcase_add_checked_fixture(present, setup, teardown);
    tcase_set_timeout(present, 60);
    tcase_add_test(present, a_written_call_is_lost);
    tcase_add_test(present, a_repeatable_call_is_sent_again);
    tcase_add_test(present, a_repeatable_call_runs_out_of_tries);
    tcase_add_test(present, an_idle_connection_that_ends_is_no_failure);
    tcase_add_test(present, a_reset_connection);
    tcase_add_test(present, a_frozen_server);
    tcase_add_test(present, a_repeatable_call_outlives_a_short_freeze);
    tcase_add_test(present, a_call_given_up_does_not_shift_the_answers);
    tcase_add_test(present, a_late_loop_is_no_timeout);
    tcase_add_test(present, processes_share_the_breaker);
    tcase_add_test(present, a_password);
    tcase_add_test(present, a_user);
    tcase_add_test(present, passing_refusals_are_tried_again);
    tcase_add_test(present, nonsense_ends_the_connection);
    tcase_add_test(present, one_write_for_all_commands_of_a_turn);
    tcase_add_test(present, closing_ends_every_call_once);
    tcase_add_test(present, closing_while_connecting);
    tcase_add_test(present, closing_while_resolving);
    tcase_add_test(present, closing_a_pool_that_was_never_used);
    tcase_add_test(present, closing_from_done);
    tcase_add_test(present, closing_while_the_server_is_frozen);
    suite_add_tcase(suite, present);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
