#include "proto/resp.h"

#include "guard.h"

#include <check.h>
#include <stdlib.h>

static struct guard guard;

static void setup(void)
{
    guard_init(&guard, 4096);
}

static void teardown(void)
{
    guard_fini(&guard);
}

/* The whole reply, after every proper prefix of it has been refused as incomplete. */
static struct resp_value parse_whole(const char *bytes, size_t len)
{
    struct resp_value value;
    size_t used = 0;

    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(
            resp_parse_reply(slice_make(guard_place(&guard, bytes, cut), cut), &value, &used),
            PARSE_MORE);
    ck_assert_int_eq(
        resp_parse_reply(slice_make(guard_place(&guard, bytes, len), len), &value, &used),
        PARSE_OK);
    ck_assert_uint_eq(used, len);
    return value;
}

#define PARSE(bytes) parse_whole(bytes, sizeof(bytes) - 1)

static void expect_str(const struct resp_value *value, enum resp_type type, struct slice text)
{
    ck_assert_int_eq(value->type, type);
    ck_assert(slice_eq(value->str, text));
}

START_TEST(scalars)
{
    struct resp_value value = PARSE("+OK\r\n");

    expect_str(&value, RESP_STATUS, SLICE_LIT("OK"));
    value = PARSE("-ERR no\r\n");
    expect_str(&value, RESP_ERROR, SLICE_LIT("ERR no"));
    value = PARSE("$4\r\na\0\r\n\r\n");
    expect_str(&value, RESP_BULK, SLICE_LIT("a\0\r\n"));
    value = PARSE("$0\r\n\r\n");
    expect_str(&value, RESP_BULK, SLICE_LIT(""));
    value = PARSE(":-12\r\n");
    ck_assert_int_eq(value.type, RESP_INTEGER);
    ck_assert_int_eq(value.integer, -12);
}
END_TEST

START_TEST(nulls_of_both_versions)
{
    ck_assert_int_eq(PARSE("$-1\r\n").type, RESP_NULL);
    ck_assert_int_eq(PARSE("*-1\r\n").type, RESP_NULL);
    ck_assert_int_eq(PARSE("_\r\n").type, RESP_NULL);
}
END_TEST

START_TEST(nested_arrays_and_maps)
{
    struct resp_value value = PARSE("*3\r\n:1\r\n*2\r\n+a\r\n$1\r\nb\r\n%1\r\n+k\r\n#t\r\n");

    ck_assert_int_eq(value.type, RESP_ARRAY);
    ck_assert_uint_eq(value.n_items, 3);
    ck_assert_uint_eq(value.items[1].n_items, 2);
    expect_str(&value.items[1].items[1], RESP_BULK, SLICE_LIT("b"));
    ck_assert_uint_eq(value.items[2].n_items, 2);
    ck_assert_int_eq(value.items[2].items[1].integer, 1);
    resp_value_fini(&value);
    value = PARSE("*0\r\n");
    ck_assert_int_eq(value.type, RESP_ARRAY);
    ck_assert_uint_eq(value.n_items, 0);
}
END_TEST

static void expect_invalid(const char *bytes)
{
    struct resp_value value;
    size_t used = 99;

    ck_assert_int_eq(resp_parse_reply(slice_cstr(bytes), &value, &used), PARSE_INVALID);
    ck_assert_uint_eq(used, 99);
}

START_TEST(broken_replies)
{
    expect_invalid("x\r\n");
    expect_invalid(":1a\r\n");
    expect_invalid("$-2\r\n");
    expect_invalid("$x\r\n");
    expect_invalid("$1\r\nabc");
    expect_invalid("+OK\n");
    expect_invalid("#x\r\n");
    expect_invalid("*2\r\n*1\r\n:1\r\n?\r\n");
}
END_TEST

START_TEST(depth_is_bounded)
{
    struct buf bytes = {0};

    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(buf_append(&bytes, "*1\r\n", 4), ERR_OK);
    ck_assert_int_eq(buf_append(&bytes, "\0", 1), ERR_OK);
    expect_invalid(buf_head(&bytes));
    buf_fini(&bytes);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("resp_reply");
    TCase *tc = tcase_create("replies");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, scalars);
    tcase_add_test(tc, nulls_of_both_versions);
    tcase_add_test(tc, nested_arrays_and_maps);
    tcase_add_test(tc, broken_replies);
    tcase_add_test(tc, depth_is_bounded);
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
