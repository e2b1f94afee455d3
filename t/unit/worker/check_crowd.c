/* Limits of addresses: how many, how fast, which addresses are one. */
#include "worker/crowd.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define PLACES 64

static struct config_limits limits;
static struct crowd *crowd;
static struct crowd_place *place[PLACES];

static void make(int64_t many, int64_t rate, int64_t burst)
{
    limits = (struct config_limits){
        .connections_per_address = many, .connection_rate = rate, .connection_burst = burst};
    crowd = crowd_create(&limits);
    ck_assert_ptr_nonnull(crowd);
}

static enum crowd_answer enter(const char *peer, uint64_t now_ms, int i)
{
    return crowd_enter(crowd, peer, now_ms, &place[i]);
}

START_TEST(so_many_at_once)
{
    make(2, 0, 1);
    ck_assert_int_eq(enter("192.0.2.1:1", 0, 0), CROWD_WELCOME);
    ck_assert_int_eq(enter("192.0.2.1:2", 0, 1), CROWD_WELCOME);
    ck_assert_int_eq(enter("192.0.2.1:3", 0, 2), CROWD_TOO_MANY);
    ck_assert_ptr_null(place[2]);
    ck_assert_int_eq(enter("192.0.2.2:3", 0, 2), CROWD_WELCOME);
    crowd_leave(place[0]);
    ck_assert_int_eq(enter("192.0.2.1:4", 0, 0), CROWD_WELCOME);
    ck_assert_int_eq(enter("192.0.2.1:5", 0, 3), CROWD_TOO_MANY);
    crowd_destroy(crowd);
}
END_TEST

START_TEST(so_fast)
{
    make(0, 10, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(enter("192.0.2.1:1", 1000, i), CROWD_WELCOME);
        crowd_leave(place[i]);
    }
    ck_assert_int_eq(enter("192.0.2.1:1", 1000, 0), CROWD_TOO_FAST);
    ck_assert_int_eq(enter("192.0.2.1:1", 1099, 0), CROWD_TOO_FAST);
    ck_assert_int_eq(enter("192.0.2.1:1", 1100, 0), CROWD_WELCOME); /* one each 100 ms */
    ck_assert_int_eq(enter("192.0.2.1:1", 1100, 1), CROWD_TOO_FAST);
    ck_assert_int_eq(enter("192.0.2.9:1", 1100, 1), CROWD_WELCOME);
    /* A long silence fills the bucket, and no more. */
    for (int i = 2; i < 5; i++)
        ck_assert_int_eq(enter("192.0.2.1:1", 9999999, i), CROWD_WELCOME);
    ck_assert_int_eq(enter("192.0.2.1:1", 9999999, 5), CROWD_TOO_FAST);
    crowd_destroy(crowd);
}
END_TEST

START_TEST(addresses)
{
    make(1, 0, 1);
    ck_assert_int_eq(enter("[2001:db8:0:1::1]:1", 0, 0), CROWD_WELCOME);
    ck_assert_int_eq(enter("[2001:db8:0:1:ffff::2]:1", 0, 1), CROWD_TOO_MANY); /* the same /64 */
    ck_assert_int_eq(enter("[2001:db8:0:2::1]:1", 0, 1), CROWD_WELCOME);
    ck_assert_int_eq(enter("192.0.2.1:1", 0, 2), CROWD_WELCOME);
    ck_assert_int_eq(enter("[::ffff:192.0.2.1]:1", 0, 3), CROWD_TOO_MANY); /* the same client */
    ck_assert_int_eq(enter("[::ffff:192.0.2.2]:1", 0, 3), CROWD_WELCOME);
    for (int i = 4; i < 7; i++) { /* nobody's */
        ck_assert_int_eq(enter("unix", 0, i), CROWD_WELCOME);
        ck_assert_ptr_null(place[i]);
    }
    crowd_destroy(crowd);
}
END_TEST

START_TEST(what_is_over_is_forgotten)
{
    char peer[32];

    make(1, 10, 5);
    for (int i = 0; i < PLACES; i++) {
        snprintf(peer, sizeof(peer), "192.0.2.%d:1", i);
        ck_assert_int_eq(enter(peer, 0, i), CROWD_WELCOME);
    }
    ck_assert_uint_eq(crowd_size(crowd), PLACES);
    for (int i = 1; i < PLACES; i++)
        crowd_leave(place[i]);
    for (int i = 0; i < 100; i++)
        crowd_tidy(crowd, 50); /* the buckets are not full yet */
    ck_assert_uint_eq(crowd_size(crowd), PLACES);
    for (int i = 0; i < 100; i++)
        crowd_tidy(crowd, 200);
    ck_assert_uint_eq(crowd_size(crowd), 1); /* the one that is open */
    ck_assert_int_eq(enter("192.0.2.0:1", 300, 1), CROWD_TOO_MANY);
    crowd_destroy(crowd);
}
END_TEST

START_TEST(without_limits_nothing_is_kept)
{
    make(0, 0, 1);
    ck_assert_int_eq(enter("192.0.2.1:1", 0, 0), CROWD_WELCOME);
    ck_assert_uint_eq(crowd_size(crowd), 0);
    crowd_leave(place[0]);
    crowd_destroy(crowd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crowd");
    TCase *tcase = tcase_create("crowd");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, so_many_at_once);
    tcase_add_test(tcase, so_fast);
    tcase_add_test(tcase, addresses);
    tcase_add_test(tcase, what_is_over_is_forgotten);
    tcase_add_test(tcase, without_limits_nothing_is_kept);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
