#include "redis/pool.h"

#include "redis_fixture.h"
#include "redis_server.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct redis_server server;
static struct redis_fixture f;

static void setup(void)
{
    redis_server_start(&server, NULL);
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

START_TEST(every_type_of_reply)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_run(&f, &call, "SET k value");
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
    redis_call_run(&f, &call, "GET k");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "value");
    redis_call_run(&f, &call, "GET absent");
    redis_call_expect(&call, ERR_OK, REPLY_NIL, "");
    redis_call_run(&f, &call, "INCR k");
    redis_call_expect(&call, ERR_OK, REPLY_ERROR, "ERR value is not an integer or out of range");
    redis_call_run(&f, &call, "INCRBY n -7");
    redis_call_expect(&call, ERR_OK, REPLY_INTEGER, "");
    ck_assert_int_eq(call.integer, -7);
    redis_call_run(&f, &call, "MGET k absent n");
    redis_call_expect(&call, ERR_OK, REPLY_ARRAY, "");
    ck_assert_uint_eq(call.n_items, 3);
    ck_assert_str_eq(call.items[0].text, "value");
    ck_assert_int_eq(call.items[1].type, REPLY_NIL);
    ck_assert_str_eq(call.items[2].text, "-7");
    ck_assert_uint_eq(stats().answered, 6);
    ck_assert_uint_eq(stats().retried, 0);
}
END_TEST

START_TEST(a_thousand_at_once)
{
    static struct redis_call calls[1000];
    unsigned done = 0;
    char command[64];

    redis_fixture_open(&f);
    for (int i = 0; i < 1000; i++) {
        calls[i].counter = &done;
        snprintf(command, sizeof(command), "ECHO %d", i);
        redis_call_send(&f, &calls[i], command);
    }
    redis_fixture_until_count(&f, &done, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(command, sizeof(command), "%d", i);
        redis_call_expect(&calls[i], ERR_OK, REPLY_STRING, command);
    }
    ck_assert_uint_eq(stats().sent, 1000);
    ck_assert_uint_eq(stats().answered, 1000);
}
END_TEST

START_TEST(a_batch_is_one_transaction)
{
    struct redis_call call = {0};
    static const char *const batch[] = {"MULTI", "GET k", "PTTL k", "EXEC", NULL};

    redis_fixture_open(&f);
    redis_call_run(&f, &call, "SET k v PX 60000");
    redis_call_send_batch(&f, &call, batch);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_ARRAY, "");
    ck_assert_uint_eq(call.n_items, 2);
    ck_assert_str_eq(call.items[0].text, "v");
    ck_assert_int_gt(call.items[1].integer, 0);
    ck_assert_int_le(call.items[1].integer, 60000);
}
END_TEST

/* The error that explains, not the last command's consequence of it. */
START_TEST(the_first_error_of_a_batch)
{
    struct redis_call call = {0};
    static const char *const bad_queue[] = {"MULTI", "GET", "EXEC", NULL};
    static const char *const bad_start[] = {"INCR text", "SET after 1", NULL};

    redis_fixture_open(&f);
    redis_call_send_batch(&f, &call, bad_queue);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_ERROR,
                      "ERR wrong number of arguments for 'get' command");
    redis_call_run(&f, &call, "SET text x");
    redis_call_send_batch(&f, &call, bad_start);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_ERROR, "ERR value is not an integer or out of range");
    redis_call_run(&f, &call, "GET after");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "1");
}
END_TEST

struct big {
    struct pool_call call;
    const char *value;
    size_t len;
    bool done, same;
};

static void big_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct big *big = LIST_ENTRY(call, struct big, call);

    ck_assert_int_eq(status, ERR_OK);
    big->done = true;
    big->same = slice_eq(reply->str, slice_make(big->value, big->len));
}

START_TEST(large_binary_values)
{
    size_t len = 1u << 20;
    char *value = malloc(len);
    struct big gets[8];

    ck_assert_ptr_nonnull(value);
    for (size_t i = 0; i < len; i++)
        value[i] = (char)(i * 7 + i / 251);
    redis_fixture_open(&f);
    for (int i = 0; i < 8; i++) {
        struct slice set[] = {SLICE_LIT("SET"), SLICE_LIT("big"), {value, len}};
        struct slice get[] = {SLICE_LIT("GET"), SLICE_LIT("big")};
        struct pool_command both[] = {{3, set}, {2, get}};

        gets[i] = (struct big){.call.done = big_done, .value = value, .len = len};
        pool_send(f.pool, &gets[i].call, both, 2);
    }
    for (int i = 0; i < 8; i++) {
        redis_fixture_until(&f, &gets[i].done);
        ck_assert(gets[i].same);
    }
    free(value);
}
END_TEST

START_TEST(empty_arguments)
{
    struct redis_call call = {0};
    struct slice argv[] = {SLICE_LIT("ECHO"), {NULL, 0}};
    struct pool_command command = {2, argv};

    redis_fixture_open(&f);
    call.call.done = redis_call_done;
    pool_send(f.pool, &call.call, &command, 1);
    redis_fixture_until(&f, &call.done);
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "");
}
END_TEST

START_TEST(opens_as_many_connections_as_it_needs)
{
    static struct redis_call calls[200];
    unsigned done = 0;

    f.config.pool_size = 3;
    redis_fixture_open(&f);
    redis_call_run(&f, &calls[0], "PING");
    redis_call_run(&f, &calls[0], "PING");
    ck_assert_uint_eq(stats().connected, 1);
    for (int round = 0; round < 5; round++) {
        done = 0;
        for (int i = 0; i < 200; i++) {
            calls[i].counter = &done;
            redis_call_send(&f, &calls[i], "ECHO x");
        }
        redis_fixture_until_count(&f, &done, 200);
        redis_fixture_sleep(&f, 20);
    }
    ck_assert_uint_eq(stats().connected, 3);
    ck_assert_uint_eq(stats().connects, 3);
}
END_TEST

START_TEST(a_full_queue_refuses)
{
    struct redis_call calls[12] = {0};
    static const char *const two[] = {"PING", "PING", NULL};

    f.config.queue_max = 10;
    redis_fixture_open(&f);
    for (int i = 0; i < 9; i++)
        redis_call_send(&f, &calls[i], "ECHO x");
    redis_call_send_batch(&f, &calls[9], two);
    redis_call_send(&f, &calls[10], "ECHO x");
    redis_call_send(&f, &calls[11], "ECHO x");
    for (int i = 0; i < 12; i++)
        redis_fixture_until(&f, &calls[i].done);
    for (int i = 0; i < 9; i++)
        redis_call_expect(&calls[i], ERR_OK, REPLY_STRING, "x");
    redis_call_expect(&calls[9], ERR_LIMIT, REPLY_NIL, "");
    redis_call_expect(&calls[10], ERR_OK, REPLY_STRING, "x");
    redis_call_expect(&calls[11], ERR_LIMIT, REPLY_NIL, "");
    redis_call_run(&f, &calls[0], "ECHO again");
    redis_call_expect(&calls[0], ERR_OK, REPLY_STRING, "again");
}
END_TEST

START_TEST(unix_socket)
{
    struct redis_call call = {0};

    f.config.server = server.unix_address;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ECHO hello");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "hello");
}
END_TEST

START_TEST(a_name_is_resolved)
{
    struct redis_call call = {0};
    char name[32];

    /* It may stand for ::1 first, where nobody listens: then the next address is tried. */
    snprintf(name, sizeof(name), "localhost:%d", server.port);
    f.config.server = name;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ECHO hello");
    redis_call_expect(&call, ERR_OK, REPLY_STRING, "hello");
}
END_TEST

START_TEST(bad_addresses)
{
    static const char *const bad[] = {"",          "host",       "host:",   ":6379",
                                      "host:0",    "host:65536", "host:6x", "::1:6379",
                                      "[::1:6379", "[]:6379",    "unix:"};
    static const char *const good[] = {"host:6379", "[::1]:6379", "10.0.0.1:1", "unix:/run/x"};
    struct pool *pool;
    struct errmsg msg;

    redis_fixture_open(&f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f.config.server = (char *)(uintptr_t)bad[i];
        ck_assert_msg(pool_create(&f.loop, &f.config, f.breaker, &pool, &msg) == ERR_INVALID, "%s",
                      bad[i]);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        bool gone = false;

        f.config.server = (char *)(uintptr_t)good[i];
        ck_assert_int_eq(pool_create(&f.loop, &f.config, f.breaker, &pool, &msg), ERR_OK);
        pool_close(pool, NULL, NULL);
        uv_run(&f.loop, UV_RUN_NOWAIT);
        (void)gone;
    }
}
END_TEST

START_TEST(selects_its_db)
{
    struct redis_call call = {0};
    struct redis_fixture other;

    f.config.db = 5;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "SET only-here 1");
    redis_fixture_init(&other, server.address);
    redis_fixture_open(&other);
    redis_call_run(&other, &call, "EXISTS only-here");
    ck_assert_int_eq(call.integer, 0);
    redis_call_run(&other, &call, "SELECT 5");
    redis_call_run(&other, &call, "EXISTS only-here");
    ck_assert_int_eq(call.integer, 1);
    redis_fixture_fini(&other);
}
END_TEST

START_TEST(a_db_that_is_not_there)
{
    struct redis_call call = {0};

    f.config.db = 999;
    redis_fixture_open(&f);
    redis_call_run(&f, &call, "PING");
    redis_call_expect(&call, ERR_DOWN, REPLY_NIL, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, every_type_of_reply);
    tcase_add_test(tests, a_thousand_at_once);
    tcase_add_test(tests, a_batch_is_one_transaction);
    tcase_add_test(tests, the_first_error_of_a_batch);
    tcase_add_test(tests, large_binary_values);
    tcase_add_test(tests, empty_arguments);
    tcase_add_test(tests, opens_as_many_connections_as_it_needs);
    tcase_add_test(tests, a_full_queue_refuses);
    tcase_add_test(tests, unix_socket);
    tcase_add_test(tests, a_name_is_resolved);
    tcase_add_test(tests, bad_addresses);
    tcase_add_test(tests, selects_its_db);
    tcase_add_test(tests, a_db_that_is_not_there);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
