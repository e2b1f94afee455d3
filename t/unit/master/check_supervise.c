/* Respawn delays and the choice of who accepts for an empty slot. */
#include "master/supervise.h"

#include <check.h>
#include <stdlib.h>

START_TEST(the_first_death_costs_no_time)
{
    ck_assert_uint_eq(supervise_delay(0, 100, 5000), 0);
    ck_assert_uint_eq(supervise_delay(1, 100, 5000), 0);
}
END_TEST

START_TEST(delays_double_up_to_the_maximum)
{
    ck_assert_uint_eq(supervise_delay(2, 100, 5000), 100);
    ck_assert_uint_eq(supervise_delay(3, 100, 5000), 200);
    ck_assert_uint_eq(supervise_delay(7, 100, 5000), 3200);
    ck_assert_uint_eq(supervise_delay(8, 100, 5000), 5000);
    ck_assert_uint_eq(supervise_delay(4000000000u, 100, 5000), 5000);
    ck_assert_uint_eq(supervise_delay(2, 100, 50), 50);
}
END_TEST

START_TEST(the_least_loaded_serving_slot_adopts)
{
    struct scoreboard *board;
    struct errmsg msg;

    ck_assert_int_eq(scoreboard_create(4, &board, &msg), ERR_OK);
    ck_assert_uint_eq(supervise_adopter(board, 0), SCOREBOARD_NOBODY);
    for (int i = 0; i < 4; i++) {
        atomic_store(&board->slots[i].state, SLOT_SERVING);
        atomic_store(&board->slots[i].connections, (uint32_t)(10 - i));
    }
    ck_assert_uint_eq(supervise_adopter(board, 0), 3);
    ck_assert_uint_eq(supervise_adopter(board, 3), 2);
    atomic_store(&board->slots[3].state, SLOT_STARTING);
    ck_assert_uint_eq(supervise_adopter(board, 0), 2);
    scoreboard_destroy(board);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("supervise");
    TCase *tcase = tcase_create("supervise");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, the_first_death_costs_no_time);
    tcase_add_test(tcase, delays_double_up_to_the_maximum);
    tcase_add_test(tcase, the_least_loaded_serving_slot_adopts);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
