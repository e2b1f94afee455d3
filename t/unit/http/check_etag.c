#include "http/etag.h"

#include <check.h>
#include <stdlib.h>

static void expect_etag(struct slice value, const char *want)
{
    char etag[ETAG_LEN + 1];

    etag_of(value, etag);
    ck_assert_str_eq(etag, want);
}

/* Test vectors of the FNV authors. */
START_TEST(hashes)
{
    expect_etag(SLICE_LIT(""), "\"cbf29ce484222325\"");
    expect_etag(SLICE_LIT("a"), "\"af63dc4c8601ec8c\"");
    expect_etag(SLICE_LIT("foobar"), "\"85944171f73967e8\"");
}
END_TEST

START_TEST(large_values_have_none)
{
    char *value = calloc(1, ETAG_VALUE_MAX + 1);
    char etag[ETAG_LEN + 1];

    etag_of(slice_make(value, ETAG_VALUE_MAX), etag);
    ck_assert_uint_eq(strlen(etag), ETAG_LEN);
    expect_etag(slice_make(value, ETAG_VALUE_MAX + 1), "");
    free(value);
}
END_TEST

static bool listed(const char *field)
{
    return etag_listed(slice_cstr(field), "\"af63dc4c8601ec8c\"");
}

START_TEST(lists)
{
    ck_assert(listed("\"af63dc4c8601ec8c\""));
    ck_assert(listed("W/\"af63dc4c8601ec8c\""));
    ck_assert(listed("\"x\", \"af63dc4c8601ec8c\""));
    ck_assert(listed("\"a,b\" , W/\"af63dc4c8601ec8c\",\"y\""));
    ck_assert(listed("*"));
    ck_assert(!listed(""));
    ck_assert(!listed("\"\""));
    ck_assert(!listed("af63dc4c8601ec8c"));
    ck_assert(!listed("\"af63dc4c8601ec8d\""));
    ck_assert(!listed("\"x,\"af63dc4c8601ec8c\""));
    ck_assert(!listed("\"af63dc4c8601ec8c"));
    ck_assert(!listed(",, ,"));
    ck_assert(!etag_listed(SLICE_LIT("\"\""), ""));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("etag");
    TCase *tc = tcase_create("etag");

    tcase_add_test(tc, hashes);
    tcase_add_test(tc, large_values_have_none);
    tcase_add_test(tc, lists);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
