#include "redis/incarnation.h"

#include <check.h>
#include <stdlib.h>

static const struct slice one = SLICE_LIT("127.0.0.1:1"), two = SLICE_LIT("127.0.0.1:2");
static const struct slice run_a = SLICE_LIT("aaaa"), run_b = SLICE_LIT("bbbb");

static struct incarnation *inc;

static void setup(void)
{
    struct errmsg msg;

    ck_assert_msg(incarnation_create(&inc, &msg) == ERR_OK, "%s", msg.text);
}

static void teardown(void)
{
    incarnation_destroy(inc);
}

START_TEST(another_run_is_a_doubt)
{
    uint64_t doubt;

    incarnation_login(inc, one, run_a);
    incarnation_login(inc, one, run_a);
    ck_assert_uint_eq(incarnation_doubted(inc), 0);
    incarnation_login(inc, one, run_b);
    doubt = incarnation_doubted(inc);
    ck_assert_uint_ne(doubt, 0);
    incarnation_login(inc, one, run_b);
    ck_assert_uint_eq(incarnation_doubted(inc), doubt);
    incarnation_settle(inc, doubt);
    ck_assert_uint_eq(incarnation_doubted(inc), 0);
}
END_TEST

START_TEST(another_server_is_a_doubt)
{
    incarnation_login(inc, one, run_a);
    incarnation_login(inc, two, run_b);
    ck_assert_uint_ne(incarnation_doubted(inc), 0);
    incarnation_settle(inc, incarnation_doubted(inc));
    incarnation_login(inc, one, run_a);
    incarnation_login(inc, two, run_b);
    ck_assert_uint_eq(incarnation_doubted(inc), 0);
    ck_assert_uint_eq(incarnation_doubts(inc), 1);
}
END_TEST

START_TEST(a_doubt_raised_meanwhile_stands)
{
    uint64_t doubt;

    incarnation_doubt(inc);
    doubt = incarnation_doubted(inc);
    incarnation_doubt(inc);
    incarnation_settle(inc, doubt);
    ck_assert_uint_ne(incarnation_doubted(inc), 0);
}
END_TEST

START_TEST(a_server_that_does_not_say_raises_none)
{
    incarnation_login(inc, one, run_a);
    incarnation_login(inc, one, SLICE_LIT(""));
    ck_assert_uint_eq(incarnation_doubted(inc), 0);
}
END_TEST

START_TEST(suspects_are_those_of_their_run)
{
    int64_t ids[4];

    incarnation_login(inc, one, run_a);
    incarnation_suspect(inc, run_a, 7);
    incarnation_suspect(inc, run_a, 9);
    incarnation_suspect(inc, run_a, 7);
    incarnation_suspect(inc, run_a, 0); /* a server that does not say */
    ck_assert_uint_eq(incarnation_suspects(inc), 2);
    ck_assert_uint_eq(incarnation_list(inc, run_b, ids, 4), 0);
    ck_assert_uint_eq(incarnation_list(inc, run_a, ids, 1), 1);
    ck_assert_uint_eq(incarnation_list(inc, run_a, ids, 4), 2);
    ck_assert_int_eq(ids[0] + ids[1], 16);
    incarnation_acquit(inc, run_a, 7);
    ck_assert_uint_eq(incarnation_list(inc, run_a, ids, 4), 1);
    ck_assert_int_eq(ids[0], 9);
}
END_TEST

/* Ids begin anew with each run: a suspect of the old one is somebody else in the new one. */
START_TEST(suspects_go_with_their_run)
{
    int64_t ids[4];

    incarnation_login(inc, one, run_a);
    incarnation_suspect(inc, run_a, 7);
    incarnation_login(inc, one, run_b);
    ck_assert_uint_eq(incarnation_suspects(inc), 0);
    ck_assert_uint_eq(incarnation_list(inc, run_b, ids, 4), 0);
}
END_TEST

START_TEST(too_many_suspects_are_counted)
{
    for (int64_t id = 1; id <= 20000; id++)
        incarnation_suspect(inc, run_a, id);
    ck_assert_uint_gt(incarnation_escaped(inc), 0);
    ck_assert_uint_eq(incarnation_escaped(inc) + incarnation_suspects(inc), 20000);
    incarnation_acquit_all(inc);
    ck_assert_uint_eq(incarnation_suspects(inc), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("incarnation");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, another_run_is_a_doubt);
    tcase_add_test(tcase, another_server_is_a_doubt);
    tcase_add_test(tcase, a_doubt_raised_meanwhile_stands);
    tcase_add_test(tcase, a_server_that_does_not_say_raises_none);
    tcase_add_test(tcase, suspects_are_those_of_their_run);
    tcase_add_test(tcase, suspects_go_with_their_run);
    tcase_add_test(tcase, too_many_suspects_are_counted);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
