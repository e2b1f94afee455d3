#include "proto/http1.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void expect_decoded(const char *text, bool plus, struct slice want)
{
    struct buf out = {0};

    ck_assert_int_eq(buf_append(&out, "x", 1), ERR_OK);
    ck_assert_int_eq(http1_decode(slice_cstr(text), plus, &out), ERR_OK);
    buf_consume(&out, 1);
    ck_assert(slice_eq(buf_slice(&out), want));
    buf_fini(&out);
}

START_TEST(percent_decoding)
{
    expect_decoded("", false, SLICE_LIT(""));
    expect_decoded("plain", false, SLICE_LIT("plain"));
    expect_decoded("a%2Fb%2fc%25", false, SLICE_LIT("a/b/c%"));
    expect_decoded("%00%fF", false, SLICE_LIT("\0\xff"));
    expect_decoded("a+b", false, SLICE_LIT("a+b"));
    expect_decoded("a+b%2B", true, SLICE_LIT("a b+"));
}
END_TEST

START_TEST(bad_escapes)
{
    static const char *const bad[] = {"%", "a%4", "%4g", "%g4", "%%41", "abc%"};
    struct buf out = {0};

    ck_assert_int_eq(buf_append(&out, "kept", 4), ERR_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(http1_decode(slice_cstr(bad[i]), false, &out), ERR_INVALID);
        ck_assert(slice_eq(buf_slice(&out), SLICE_LIT("kept")));
    }
    buf_fini(&out);
}
END_TEST

static void expect_query(const char *query, const char *name, const char *want)
{
    struct http1_request request = {.query = slice_cstr(query)};
    struct slice got = http1_query(&request, name);

    if (want == NULL) {
        ck_assert_ptr_null(got.data);
        return;
    }
    ck_assert_ptr_nonnull(got.data);
    ck_assert(slice_eq(got, slice_cstr(want)));
}

START_TEST(query_parameters)
{
    expect_query("", "a", NULL);
    expect_query("a=1&b=2", "a", "1");
    expect_query("a=1&b=2", "b", "2");
    expect_query("aa=1&a=2", "a", "2");
    expect_query("a=1&a=2", "a", "1");
    expect_query("a&b=2", "a", "");
    expect_query("b=2&a", "a", "");
    expect_query("a=", "a", "");
    expect_query("ab=1", "a", NULL);
    expect_query("&&a=b=c&&", "a", "b=c");
}
END_TEST

START_TEST(response_heads)
{
    struct buf out = {0};
    char *text;
    unsigned day, year, hour, minute, second;
    char weekday[4], month[4];
    int end = 0;

    ck_assert_int_eq(http1_response(&out, 200, SLICE_LIT("A: b\r\n"), 5, true), ERR_OK);
    ck_assert_int_eq(buf_append(&out, "", 1), ERR_OK);
    text = buf_head(&out);
    ck_assert_int_eq(sscanf(text, "HTTP/1.1 200 OK\r\nDate: %3s, %2u %3s %4u %2u:%2u:%2u GMT%n",
                            weekday, &day, month, &year, &hour, &minute, &second, &end),
                     7);
    ck_assert_str_eq(text + end, "\r\nA: b\r\nContent-Length: 5\r\n\r\n");
    buf_consume(&out, buf_len(&out));

    ck_assert_int_eq(http1_response(&out, 204, slice_make(NULL, 0), -1, false), ERR_OK);
    ck_assert_int_eq(buf_append(&out, "", 1), ERR_OK);
    ck_assert_ptr_nonnull(strstr(buf_head(&out), "GMT\r\nConnection: close\r\n\r\n"));
    ck_assert_ptr_null(strstr(buf_head(&out), "Content-Length"));
    buf_fini(&out);
}
END_TEST

START_TEST(reasons)
{
    ck_assert_str_eq(http1_reason(404), "Not Found");
    ck_assert_str_eq(http1_reason(507), "Insufficient Storage");
    ck_assert_str_eq(http1_reason(299), "Unknown");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("http1_text");
    TCase *tc = tcase_create("text");

    tcase_add_test(tc, percent_decoding);
    tcase_add_test(tc, bad_escapes);
    tcase_add_test(tc, query_parameters);
    tcase_add_test(tc, response_heads);
    tcase_add_test(tc, reasons);
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
