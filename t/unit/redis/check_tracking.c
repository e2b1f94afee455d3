/* What t/system/test_tracking.py does not reach: the minimal set of prefixes. */
#include "redis/tracking.h"

#include <check.h>
#include <stdlib.h>

static bool holds(const struct slice *prefixes, size_t n, const char *prefix)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(prefixes[i], slice_cstr(prefix)))
            return true;
    return false;
}

START_TEST(prefixes_do_not_overlap)
{
    struct slice p[] = {SLICE_LIT("app:@a:"), SLICE_LIT("app:"),  SLICE_LIT("shop:"),
                        SLICE_LIT("app:"),    SLICE_LIT("apple"), SLICE_LIT("shop:x:")};
    size_t n = tracking_reduce(p, 6);

    ck_assert_uint_eq(n, 3);
    ck_assert(holds(p, n, "app:"));
    ck_assert(holds(p, n, "shop:"));
    ck_assert(holds(p, n, "apple"));
}
END_TEST

START_TEST(no_bytes_cover_everything)
{
    struct slice p[] = {SLICE_LIT("a:"), SLICE_LIT(""), SLICE_LIT("b:"), SLICE_LIT("")};

    ck_assert_uint_eq(tracking_reduce(p, 4), 1);
    ck_assert_uint_eq(p[0].len, 0);
    ck_assert_uint_eq(tracking_reduce(p, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tracking");
    TCase *tcase = tcase_create("prefixes");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, prefixes_do_not_overlap);
    tcase_add_test(tcase, no_bytes_cover_everything);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
