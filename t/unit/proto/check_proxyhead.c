/* The PROXY header: both versions, at every split point, and what is none. */
#include "proto/proxyhead.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* The header and what follows it; every shorter input must ask for more. */
static void expect(struct slice input, size_t header, const char *peer)
{
    struct proxyhead head;
    size_t used;

    for (size_t len = 0; len < header; len++)
        ck_assert_msg(proxyhead_parse(slice_make(input.data, len), &used, &head) == PARSE_MORE,
                      "cut at %zu", len);
    ck_assert_int_eq(proxyhead_parse(input, &used, &head), PARSE_OK);
    ck_assert_uint_eq(used, header);
    ck_assert_int_eq(head.known, peer != NULL);
    if (peer != NULL)
        ck_assert_str_eq(head.peer, peer);
}

static void expect_line(const char *line, const char *peer)
{
    char text[256];
    int header = snprintf(text, sizeof(text), "%s\r\n", line);

    snprintf(text + header, sizeof(text) - (size_t)header, "GET / HTTP/1.1\r\n");
    expect(slice_cstr(text), (size_t)header, peer);
}

START_TEST(version_1)
{
    expect_line("PROXY TCP4 192.0.2.1 198.51.100.2 4711 80", "192.0.2.1:4711");
    expect_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", "255.255.255.255:65535");
    expect_line("PROXY TCP6 2001:db8::1 ::1 0 443", "[2001:db8::1]:0");
    expect_line("PROXY UNKNOWN", NULL);
    expect_line("PROXY UNKNOWN ffff::1 ffff::2 1 2", NULL);
}
END_TEST

START_TEST(what_is_none)
{
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 80 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 04711 80\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 80\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.2 4711 80\r\n",
        "PROXY TCP4 2001:db8::1 ::1 4711 80\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 4711 80\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 4711 80\r\n",
    };
    char longest[128];
    struct proxyhead head;
    size_t used;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(proxyhead_parse(slice_cstr(bad[i]), &used, &head) == PARSE_INVALID, "%s",
                      bad[i]);
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "PROXY ", 6);
    ck_assert_int_eq(proxyhead_parse(slice_make(longest, 106), &used, &head), PARSE_MORE);
    ck_assert_int_eq(proxyhead_parse(slice_make(longest, 107), &used, &head), PARSE_INVALID);
}
END_TEST

START_TEST(version_2)
{
    static const char four[] = SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\x12\x67\0\x50rest";
    static const char extended[] =
        SIGNATURE "\x21\x11\0\x10\xc0\0\2\1\xc6\x33\x64\2\x12\x67\0\x50\x04\0\1\0rest";
    static const char six[] = SIGNATURE
        "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
        "\x12\x67\0\x50rest";
    static const char local[] = SIGNATURE "\x20\0\0\0rest";
    static const char unspecified[] = SIGNATURE "\x21\0\0\2xxrest";

    expect(slice_make(four, sizeof(four) - 1), 28, "192.0.2.1:4711");
    expect(slice_make(extended, sizeof(extended) - 1), 32, "192.0.2.1:4711");
    expect(slice_make(six, sizeof(six) - 1), 52, "[2001:db8::1]:4711");
    expect(slice_make(local, sizeof(local) - 1), 16, NULL);
    expect(slice_make(unspecified, sizeof(unspecified) - 1), 18, NULL);
}
END_TEST

START_TEST(what_is_no_version_2)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum parse_status status;
    } cases[] = {
        {SIGNATURE "\x11\x11\0\0", 16, PARSE_INVALID},         /* version 1 */
        {SIGNATURE "\x22\x11\0\0", 16, PARSE_INVALID},         /* no such command */
        {SIGNATURE "\x21\x11\0\4\1\2\3\4", 20, PARSE_INVALID}, /* too short */
        {SIGNATURE "\x21\x21\0\x0c\1\2\3\4\1\2\3\4\1\2\3\4", 28, PARSE_INVALID}, /* likewise */
        {SIGNATURE "\x21\x11\xff\xff", 16, PARSE_TOO_LARGE},
        {"\r\n\r\nx", 5, PARSE_INVALID},
    };
    struct proxyhead head;
    size_t used;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(proxyhead_parse(slice_make(cases[i].bytes, cases[i].len), &used, &head) ==
                          cases[i].status,
                      "case %zu", i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxyhead");
    TCase *tcase = tcase_create("proxyhead");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, version_1);
    tcase_add_test(tcase, what_is_none);
    tcase_add_test(tcase, version_2);
    tcase_add_test(tcase, what_is_no_version_2);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
