#include "redis/subscriber.h"

#include "redis_fixture.h"
#include "redis_server.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const struct slice node = SLICE_LIT("this-node");

static struct redis_server server;
static struct redis_fixture f;
static struct subscriber *subscriber;
static unsigned n_messages, n_lost, n_confirmed;
static char last_key[64];
static enum message_action last_action;
static bool subscriber_gone;

static void on_message(void *arg, const struct message *message)
{
    ck_assert_ptr_eq(arg, &f);
    n_messages++;
    last_action = message->action;
    snprintf(last_key, sizeof(last_key), "%s/%s", message->cache,
             message->key == NULL ? "(none)" : message->key);
}

static void on_lost(void *arg)
{
    ck_assert_ptr_eq(arg, &f);
    n_lost++;
    ck_assert_uint_eq(n_lost, n_confirmed);
}

static void on_confirmed(void *arg)
{
    ck_assert_ptr_eq(arg, &f);
    n_confirmed++;
    ck_assert_uint_eq(n_confirmed, n_lost + 1);
}

static void on_gone(void *arg)
{
    *(bool *)arg = true;
}

static const struct subscriber_events events = {on_message, on_lost, on_confirmed, &f};

static void open_all(void)
{
    struct errmsg msg;

    redis_fixture_open(&f);
    ck_assert_msg(subscriber_create(&f.loop, &f.config, f.pool, node, &events, &subscriber, &msg) ==
                      ERR_OK,
                  "%s", msg.text);
}

static void setup(void)
{
    redis_server_start(&server, NULL);
    redis_fixture_init(&f, server.address);
}

static void teardown(void)
{
    subscriber_close(subscriber, on_gone, &subscriber_gone);
    pool_close(f.pool, on_gone, &f.gone);
    f.pool = NULL;
    redis_fixture_until(&f, &subscriber_gone);
    redis_fixture_until(&f, &f.gone);
    redis_fixture_fini(&f);
    redis_server_fini(&server);
}

static struct subscriber_stats stats(void)
{
    struct subscriber_stats now;

    subscriber_stats(subscriber, &now);
    return now;
}

static void publish(const char *json)
{
    struct redis_call call = {.call.done = redis_call_done};
    struct slice argv[] = {SLICE_LIT("PUBLISH"), SLICE_LIT("cachetastic:invalidate"),
                           slice_cstr(json)};
    struct pool_command command = {3, argv};

    pool_send(f.pool, &call.call, &command, 1);
    redis_fixture_until(&f, &call.done);
    ck_assert_int_eq(call.status, ERR_OK);
    ck_assert_int_eq(call.integer, 1);
}

START_TEST(messages_of_others)
{
    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    ck_assert(stats().confirmed);
    publish("{\"event\":{\"action\":\"delete\",\"cache\":\"users\",\"key\":\"k1\"},\"node_id\":"
            "\"other\"}");
    redis_fixture_until_count(&f, &n_messages, 1);
    ck_assert_int_eq(last_action, MESSAGE_DELETE);
    ck_assert_str_eq(last_key, "users/k1");
    publish("{\"event\":{\"action\":\"clear\",\"cache\":\"users\"},\"node_id\":\"other\"}");
    redis_fixture_until_count(&f, &n_messages, 2);
    ck_assert_int_eq(last_action, MESSAGE_CLEAR);
    ck_assert_str_eq(last_key, "users/(none)");
    ck_assert_uint_eq(stats().messages, 2);
}
END_TEST

START_TEST(what_is_not_passed_on)
{
    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    publish("{\"event\":{\"action\":\"delete\",\"key\":\"mine\"},\"node_id\":\"this-node\"}");
    publish("{\"event\":{\"action\":\"nonce\",\"key\":\"1\"},\"node_id\":\"other\"}");
    publish("{\"event\":{\"action\":\"defragment\",\"key\":\"x\"},\"node_id\":\"other\"}");
    publish("{\"event\":");
    publish("");
    publish("{\"event\":{\"action\":\"delete\",\"key\":\"theirs\"},\"node_id\":\"other\"}");
    redis_fixture_until_count(&f, &n_messages, 1);
    ck_assert_str_eq(last_key, "default/theirs");
    ck_assert_uint_eq(stats().own, 1);
    ck_assert_uint_eq(stats().unknown, 1);
    ck_assert_uint_eq(stats().malformed, 2);
    ck_assert_uint_eq(stats().messages, 1);
}
END_TEST

START_TEST(nonces_keep_it_alive)
{
    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    redis_fixture_sleep(&f, 4500);
    ck_assert_uint_eq(n_lost, 0);
    ck_assert_uint_eq(stats().own, 0);
    ck_assert(stats().confirmed);
}
END_TEST

START_TEST(the_connection_is_killed)
{
    struct redis_call call = {0};

    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    redis_call_run(&f, &call, "CLIENT KILL TYPE pubsub");
    ck_assert_int_eq(call.integer, 1);
    redis_fixture_until_count(&f, &n_lost, 1);
    redis_fixture_until_count(&f, &n_confirmed, 2);
    publish("{\"event\":{\"action\":\"delete\",\"key\":\"after\"},\"node_id\":\"other\"}");
    redis_fixture_until_count(&f, &n_messages, 1);
    ck_assert_uint_eq(stats().losses, 1);
}
END_TEST

START_TEST(the_server_dies_and_comes_back)
{
    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    redis_server_kill(&server, SIGKILL);
    redis_fixture_until_count(&f, &n_lost, 1);
    ck_assert(!stats().confirmed);
    redis_fixture_sleep(&f, 300);
    redis_server_restart(&server);
    redis_fixture_until_count(&f, &n_confirmed, 2);
}
END_TEST

START_TEST(a_server_that_comes_late)
{
    redis_server_kill(&server, SIGKILL);
    open_all();
    redis_fixture_sleep(&f, 200);
    ck_assert_uint_eq(n_confirmed, 0);
    redis_server_restart(&server);
    redis_fixture_until_count(&f, &n_confirmed, 1);
    ck_assert_uint_eq(n_lost, 0);
}
END_TEST

/* The socket stays open and silent: only the missing nonces tell. */
START_TEST(a_frozen_server_is_a_loss)
{
    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    redis_server_freeze(&server, true);
    redis_fixture_until_count(&f, &n_lost, 1);
    redis_server_freeze(&server, false);
    redis_fixture_until_count(&f, &n_confirmed, 2);
}
END_TEST

/* Subscribed, but to a server that does not hear what the pool publishes. */
START_TEST(nonces_that_get_lost)
{
    struct redis_call call = {0};

    open_all();
    redis_fixture_until_count(&f, &n_confirmed, 1);
    redis_call_run(&f, &call, "ACL SETUSER default -publish");
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
    redis_fixture_until_count(&f, &n_lost, 1);
    redis_call_run(&f, &call, "ACL SETUSER default +publish");
    redis_fixture_until_count(&f, &n_confirmed, 2);
}
END_TEST

/* The subscription itself is refused: no confirmation, no crash, and another try later. */
START_TEST(a_refused_subscription)
{
    struct redis_call call = {0};

    redis_fixture_open(&f);
    redis_call_run(&f, &call, "ACL SETUSER default resetchannels");
    redis_call_expect(&call, ERR_OK, REPLY_STATUS, "OK");
    redis_fixture_close(&f);
    breaker_destroy(f.breaker);
    f.gone = false;
    open_all();
    redis_fixture_sleep(&f, 300);
    ck_assert_uint_eq(n_confirmed, 0);
    redis_call_run(&f, &call, "ACL SETUSER default allchannels");
    redis_fixture_until_count(&f, &n_confirmed, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("subscriber");
    TCase *tests = tcase_create("subscriber");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, messages_of_others);
    tcase_add_test(tests, what_is_not_passed_on);
    tcase_add_test(tests, nonces_keep_it_alive);
    tcase_add_test(tests, the_connection_is_killed);
    tcase_add_test(tests, the_server_dies_and_comes_back);
    tcase_add_test(tests, a_server_that_comes_late);
    tcase_add_test(tests, a_frozen_server_is_a_loss);
    tcase_add_test(tests, nonces_that_get_lost);
    tcase_add_test(tests, a_refused_subscription);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
