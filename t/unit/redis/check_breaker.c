#include "redis/breaker.h"

#include <check.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURES 3
#define OPEN_MS  1000

static struct breaker *breaker;

static void setup(void)
{
    struct errmsg msg;

    ck_assert_msg(breaker_create(FAILURES, OPEN_MS, &breaker, &msg) == ERR_OK, "%s", msg.text);
}

static void teardown(void)
{
    breaker_destroy(breaker);
}

static void fail_until_open(uint64_t now_ms)
{
    for (int i = 0; i < FAILURES; i++)
        breaker_failure(breaker, now_ms);
    ck_assert_int_eq(breaker_state(breaker), BREAKER_OPEN);
}

START_TEST(closed_until_enough_failures_in_a_row)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < FAILURES - 1; i++)
            breaker_failure(breaker, 1);
        ck_assert_int_eq(breaker_state(breaker), BREAKER_CLOSED);
        ck_assert(breaker_allow(breaker, 1));
        breaker_success(breaker);
    }
    fail_until_open(1);
    ck_assert_uint_eq(breaker_opened(breaker), 1);
}
END_TEST

START_TEST(open_refuses_until_its_time)
{
    fail_until_open(500);
    ck_assert(!breaker_allow(breaker, 500));
    ck_assert(!breaker_allow(breaker, 500 + OPEN_MS - 1));
    ck_assert(breaker_allow(breaker, 500 + OPEN_MS));
    ck_assert_int_eq(breaker_state(breaker), BREAKER_HALF_OPEN);
}
END_TEST

START_TEST(one_prober_at_a_time)
{
    fail_until_open(500);
    ck_assert(breaker_allow(breaker, 2000));
    ck_assert(!breaker_allow(breaker, 2000));
    ck_assert(!breaker_allow(breaker, 2000 + OPEN_MS - 1));
    /* The prober has not come back: another takes over. */
    ck_assert(breaker_allow(breaker, 2000 + OPEN_MS));
    ck_assert(!breaker_allow(breaker, 2000 + OPEN_MS));
}
END_TEST

START_TEST(probe_success_closes)
{
    fail_until_open(500);
    ck_assert(breaker_allow(breaker, 2000));
    breaker_success(breaker);
    ck_assert_int_eq(breaker_state(breaker), BREAKER_CLOSED);
    breaker_failure(breaker, 2001);
    ck_assert_int_eq(breaker_state(breaker), BREAKER_CLOSED);
}
END_TEST

START_TEST(probe_failure_opens_again)
{
    fail_until_open(500);
    ck_assert(breaker_allow(breaker, 2000));
    breaker_failure(breaker, 2100);
    ck_assert_int_eq(breaker_state(breaker), BREAKER_OPEN);
    ck_assert_uint_eq(breaker_opened(breaker), 2);
    ck_assert(!breaker_allow(breaker, 2099 + OPEN_MS));
    ck_assert(breaker_allow(breaker, 2100 + OPEN_MS));
}
END_TEST

/* Calls that were under way when it opened fail late; the probe must still come in time. */
START_TEST(late_failures_do_not_prolong)
{
    fail_until_open(500);
    breaker_failure(breaker, 1400);
    ck_assert_uint_eq(breaker_opened(breaker), 1);
    ck_assert(breaker_allow(breaker, 500 + OPEN_MS));
}
END_TEST

/* Of many processes that ask at the same moment exactly one probes. */
START_TEST(one_prober_among_processes)
{
    unsigned probers = 0;

    fail_until_open(500);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            _exit(breaker_allow(breaker, 5000) ? 1 : 0);
    }
    for (int i = 0; i < 20; i++) {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert(WIFEXITED(status));
        probers += (unsigned)WEXITSTATUS(status);
    }
    ck_assert_uint_eq(probers, 1);
}
END_TEST

START_TEST(bad_threshold)
{
    struct breaker *none;
    struct errmsg msg;

    ck_assert_int_eq(breaker_create(0, 1, &none, &msg), ERR_INVALID);
    ck_assert_int_eq(breaker_create(UINT32_MAX, 1, &none, &msg), ERR_INVALID);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("breaker");
    TCase *tests = tcase_create("breaker");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, closed_until_enough_failures_in_a_row);
    tcase_add_test(tests, open_refuses_until_its_time);
    tcase_add_test(tests, one_prober_at_a_time);
    tcase_add_test(tests, probe_success_closes);
    tcase_add_test(tests, probe_failure_opens_again);
    tcase_add_test(tests, late_failures_do_not_prolong);
    tcase_add_test(tests, one_prober_among_processes);
    tcase_add_test(tests, bad_threshold);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
