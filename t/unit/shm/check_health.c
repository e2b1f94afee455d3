#include "shm/health.h"

#include <check.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT  3
#define OUT_MS 1000
#define TRY_MS 5000

static struct health *health;
static bool trial;

static void setup(void)
{
    struct errmsg msg;

    ck_assert_msg(health_create(2, &health, &msg) == ERR_OK, "%s", msg.text);
}

static void teardown(void)
{
    health_destroy(health, 2);
}

static bool take(uint64_t now_ms)
{
    return health_take(health, now_ms, TRY_MS, &trial);
}

static void put_out(uint64_t now_ms)
{
    for (int i = 1; i < LIMIT; i++)
        ck_assert(!health_bad(health, now_ms, LIMIT, OUT_MS));
    ck_assert(health_bad(health, now_ms, LIMIT, OUT_MS));
    ck_assert(!health_bad(health, now_ms, LIMIT, OUT_MS)); /* said once */
}

START_TEST(failures_in_a_row_put_it_out)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < LIMIT; i++)
            ck_assert(!health_bad(health, 1, LIMIT, OUT_MS));
        ck_assert(take(1) && !trial);
        ck_assert(!health_good(health));
    }
    put_out(1);
    ck_assert(!health_usable(health, 1));
    ck_assert(!take(OUT_MS));
    ck_assert(health_usable(&health[1], 1));
    ck_assert(health_good(health));
    ck_assert(take(2) && !trial);
}
END_TEST

START_TEST(one_tries_at_a_time)
{
    put_out(1);
    ck_assert(health_usable(health, 2000));
    ck_assert(take(2000) && trial);
    ck_assert(!take(2000));
    ck_assert(!health_usable(health, 2000));
    health_leave(health);
    ck_assert(take(2000) && trial);
    ck_assert(!health_bad(health, 2000, LIMIT, OUT_MS));
    ck_assert(!take(2000 + OUT_MS)); /* one failed try is enough */
    ck_assert(take(2001 + OUT_MS) && trial);
    ck_assert(health_good(health));
}
END_TEST

START_TEST(another_process_sees_it_and_one_that_died_is_replaced)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        put_out(1);
        _exit(take(2000) && trial ? 0 : 1); /* and is gone in the middle */
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert(!take(2000 + TRY_MS));
    ck_assert(take(2001 + TRY_MS) && trial);
}
END_TEST

START_TEST(many_processes_try_and_one_may)
{
    int go[2], won[2];
    char c = 0;

    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(won), 0);
    put_out(1);
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            close(go[1]);
            (void)!read(go[0], &c, 1); /* until all are there */
            if (take(2000) && trial)
                (void)!write(won[1], "x", 1);
            _exit(0);
        }
    close(go[1]);
    close(won[1]);
    while (wait(NULL) > 0)
        continue;
    ck_assert_int_eq(read(won[0], &c, 1), 1);
    ck_assert_int_eq(read(won[0], &c, 1), 0);
    close(go[0]);
    close(won[0]);
}
END_TEST

START_TEST(checks_take_turns)
{
    ck_assert(health_check_due(health, 100, 50));
    ck_assert(!health_check_due(health, 149, 50));
    ck_assert(health_check_due(health, 150, 50)); /* the first one is gone */
    ck_assert(health_checked(health, false, 300));
    ck_assert(!health_usable(health, 200));
    ck_assert(!take(200));
    ck_assert(!health_check_due(health, 299, 50));
    ck_assert(health_check_due(health, 300, 50));
    ck_assert(!health_checked(health, false, 400));
    ck_assert(health_checked(health, true, 500));
    ck_assert(take(400) && !trial);
}
END_TEST

START_TEST(open_exchanges_add_up)
{
    atomic_store(&health->busy[0], 3);
    atomic_store(&health->busy[5], 4);
    ck_assert_uint_eq(health_busy(health, 6), 7);
    ck_assert_uint_eq(health_busy(health, 5), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("health");
    TCase *tcase = tcase_create("health");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, failures_in_a_row_put_it_out);
    tcase_add_test(tcase, one_tries_at_a_time);
    tcase_add_test(tcase, another_process_sees_it_and_one_that_died_is_replaced);
    tcase_add_test(tcase, many_processes_try_and_one_may);
    tcase_add_test(tcase, checks_take_turns);
    tcase_add_test(tcase, open_exchanges_add_up);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
