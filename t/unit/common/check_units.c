#include "common/units.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED UINT64_C(0x5555)

START_TEST(size_takes_every_unit)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"1K", 1024},
        {"64KB", 65536},
        {"256M", UINT64_C(268435456)},
        {"8G", UINT64_C(8589934592)},
        {"1T", UINT64_C(1099511627776)},
        {"9223372036854775807", INT64_MAX},
        {"8388607T", UINT64_C(8388607) << 40},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = UNTOUCHED;

        ck_assert_msg(units_parse_size(cases[i].text, &bytes) == ERR_OK, "%s", cases[i].text);
        ck_assert_uint_eq(bytes, cases[i].bytes);
    }
}
END_TEST

START_TEST(size_refuses_the_rest)
{
    static const char *const cases[] = {
        "",     " ",        "M",
        "B",    "-1",       "+1",
        "1.5G", " 1M",      "1M ",
        "1 M",  "1MM",      "1MiB",
        "1BB",  "1BK",      "256m",
        "64k",  "0x10",     "010",
        "00",   "1E",       "9223372036854775808",
        "1KBx", "1\tM",     "ten",
        "1,5M", "8388608T", "18446744073709551616",
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = UNTOUCHED;

        ck_assert_msg(units_parse_size(cases[i], &bytes) == ERR_INVALID, "\"%s\"", cases[i]);
        ck_assert_uint_eq(bytes, UNTOUCHED);
    }
}
END_TEST

START_TEST(time_takes_every_unit)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"500ms", 500},
        {"10s", 10000},
        {"5m", 300000},
        {"2h", 7200000},
        {"1d", 86400000},
        {"1500ms", 1500},
        {"365d", UINT64_C(31536000000)},
        {"9223372036854775807ms", INT64_MAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t ms = UNTOUCHED;

        ck_assert_msg(units_parse_time(cases[i].text, &ms) == ERR_OK, "%s", cases[i].text);
        ck_assert_uint_eq(ms, cases[i].ms);
    }
}
END_TEST

START_TEST(time_refuses_the_rest)
{
    static const char *const cases[] = {
        "",
        "10",
        "1",
        "s",
        "ms",
        "-1s",
        "1.5s",
        "10 s",
        " 10s",
        "10s ",
        "1S",
        "10sec",
        "1M",
        "1w",
        "1sm",
        "010s",
        "00",
        "9223372036854775808ms",
        "9223372036854775s1",
        "9223372036854776s",
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t ms = UNTOUCHED;

        ck_assert_msg(units_parse_time(cases[i], &ms) == ERR_INVALID, "\"%s\"", cases[i]);
        ck_assert_uint_eq(ms, UNTOUCHED);
    }
}
END_TEST

START_TEST(mode_is_octal)
{
    uint32_t mode = 1;

    ck_assert_int_eq(units_parse_mode("0660", &mode), ERR_OK);
    ck_assert_uint_eq(mode, 0660);
    ck_assert_int_eq(units_parse_mode("07777", &mode), ERR_OK);
    ck_assert_uint_eq(mode, 07777);
    ck_assert_int_eq(units_parse_mode("0", &mode), ERR_OK);
    ck_assert_uint_eq(mode, 0);
}
END_TEST

START_TEST(mode_refuses_the_rest)
{
    static const char *const cases[] = {"",          "660",   "0680",   "0o660", "0x1b0",
                                        "rw-rw----", "0660 ", "017777", "-0660", "00000660"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t mode = 1;

        ck_assert_msg(units_parse_mode(cases[i], &mode) == ERR_INVALID, "\"%s\"", cases[i]);
        ck_assert_uint_eq(mode, 1);
    }
}
END_TEST

START_TEST(int_takes_the_whole_range)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"7", 7},
        {"-7", -7},
        {"1000000", 1000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 99;

        ck_assert_msg(units_parse_int(slice_cstr(cases[i].text), &value) == ERR_OK, "%s",
                      cases[i].text);
        ck_assert_int_eq(value, cases[i].value);
    }
}
END_TEST

START_TEST(int_refuses_the_rest)
{
    static const char *const cases[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "01",
        "-0",
        "-01",
        "00",
        "1.0",
        "1e3",
        "0x1f",
        "--1",
        "1-",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
    };
    int64_t value = 99;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(units_parse_int(slice_cstr(cases[i]), &value) == ERR_INVALID, "\"%s\"",
                      cases[i]);
    ck_assert_int_eq(units_parse_int(SLICE_LIT("1\0"), &value), ERR_INVALID);
    ck_assert_int_eq(units_parse_int((struct slice){NULL, 0}, &value), ERR_INVALID);
    ck_assert_int_eq(value, 99);
}
END_TEST

/* The slice's end counts, not a NUL: the byte after it is a digit here. */
START_TEST(int_stops_at_the_end_of_the_slice)
{
    int64_t value;

    ck_assert_int_eq(units_parse_int(slice_make("123", 2), &value), ERR_OK);
    ck_assert_int_eq(value, 12);
}
END_TEST

START_TEST(format_is_shortest)
{
    char out[32];

    units_format_size(0, out);
    ck_assert_str_eq(out, "0");
    units_format_size(1000, out);
    ck_assert_str_eq(out, "1000");
    units_format_size(1536, out);
    ck_assert_str_eq(out, "1536");
    units_format_size(65536, out);
    ck_assert_str_eq(out, "64K");
    units_format_size(UINT64_C(3) << 40, out);
    ck_assert_str_eq(out, "3T");
    units_format_time(0, out);
    ck_assert_str_eq(out, "0");
    units_format_time(1500, out);
    ck_assert_str_eq(out, "1500ms");
    units_format_time(90000, out);
    ck_assert_str_eq(out, "90s");
    units_format_time(86400000, out);
    ck_assert_str_eq(out, "1d");
}
END_TEST

START_TEST(format_parses_back)
{
    uint64_t value = 1;
    uint64_t back;
    char out[32];

    for (int i = 0; i < 63; i++, value = value * 2 + (uint64_t)(i % 3)) {
        if (value > INT64_MAX)
            break;
        units_format_size(value, out);
        ck_assert_int_eq(units_parse_size(out, &back), ERR_OK);
        ck_assert_uint_eq(back, value);
        units_format_time(value, out);
        ck_assert_int_eq(units_parse_time(out, &back), ERR_OK);
        ck_assert_uint_eq(back, value);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("units");
    TCase *tcase = tcase_create("units");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, size_takes_every_unit);
    tcase_add_test(tcase, size_refuses_the_rest);
    tcase_add_test(tcase, time_takes_every_unit);
    tcase_add_test(tcase, time_refuses_the_rest);
    tcase_add_test(tcase, mode_is_octal);
    tcase_add_test(tcase, mode_refuses_the_rest);
    tcase_add_test(tcase, int_takes_the_whole_range);
    tcase_add_test(tcase, int_refuses_the_rest);
    tcase_add_test(tcase, int_stops_at_the_end_of_the_slice);
    tcase_add_test(tcase, format_is_shortest);
    tcase_add_test(tcase, format_parses_back);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
