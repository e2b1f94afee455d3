#include "common/routerule.h"

#include <check.h>
#include <stdlib.h>

START_TEST(fields_are_taken_apart)
{
    static const char *const bad[] = {"",   "X",   ": x",          "X Y: 1",
                                      "X:", "X: ", "X: a\r\nY: b", "X: \x01"};
    struct slice name, value;

    ck_assert(routerule_field("X-A:  b: c ", &name, &value));
    ck_assert(slice_eq(name, SLICE_LIT("X-A")));
    ck_assert(slice_eq(value, SLICE_LIT("b: c")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!routerule_field(bad[i], &name, &value), "\"%s\"", bad[i]);
}
END_TEST

START_TEST(what_is_set_or_removed_is_dropped)
{
    char set[] = "X-Set: 1", glob[] = "x-In*";
    char *sets[] = {set}, *removes[] = {glob};
    struct routerule_fields rules = {sets, 1, removes, 1}, none = {0};

    ck_assert(routerule_drops(&rules, SLICE_LIT("x-set")));
    ck_assert(routerule_drops(&rules, SLICE_LIT("X-INTERNAL")));
    ck_assert(!routerule_drops(&rules, SLICE_LIT("X-I")));
    ck_assert(routerule_sets(&rules, "X-SET"));
    ck_assert(!routerule_sets(&rules, "X-Internal"));
    ck_assert(!routerule_drops(&none, SLICE_LIT("X-Set")));
}
END_TEST

static void expect_ttl(const char *rule, int status, bool want, uint64_t want_ms)
{
    uint64_t ttl_ms = 0;
    bool fits;

    ck_assert_msg(routerule_status_ttl(rule, status, &fits, &ttl_ms) == ERR_OK, "%s", rule);
    ck_assert_msg(fits == want && (!want || ttl_ms == want_ms), "%s for %d", rule, status);
}

START_TEST(statuses)
{
    static const char *const bad[] = {"",         "404",       "404:",    "404 10s",     "404: 10",
                                      "40x: 1s",  "604: 1s",   "4xx:1s ", "404,410: 1s", ": 1s",
                                      "4040: 1s", "404  x: 1s"};
    uint64_t ttl_ms;
    bool fits;

    expect_ttl("404: 10s", 404, true, 10000);
    expect_ttl("404 410: 10s", 410, true, 10000);
    expect_ttl("404 410: 10s", 405, false, 0);
    expect_ttl("5xx:1m", 599, true, 60000);
    expect_ttl("5xx 404 : 0", 404, true, 0);
    expect_ttl("5xx: 1s", 499, false, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(routerule_status_ttl(bad[i], 404, &fits, &ttl_ms) == ERR_INVALID, "\"%s\"",
                      bad[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routerule");
    TCase *tcase = tcase_create("routerule");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, fields_are_taken_apart);
    tcase_add_test(tcase, what_is_set_or_removed_is_dropped);
    tcase_add_test(tcase, statuses);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
