/* Protocol detection: every decision, at every split point. */
#include "worker/detect.h"

#include <check.h>
#include <stdlib.h>

#define LINE_MAX_BYTES 64

static enum detect_result detect(const char *text)
{
    return detect_protocol(slice_cstr(text), LINE_MAX_BYTES);
}

/* All shorter inputs are undecided or decided alike: bytes that come later cannot change an answer.
 */
static void check_decides(const char *text, enum detect_result expected)
{
    size_t len = strlen(text);

    ck_assert_msg(detect(text) == expected, "%s: got %d, expected %d", text, detect(text),
                  expected);
    for (size_t i = 0; i < len; i++) {
        enum detect_result early = detect_protocol(slice_make(text, i), LINE_MAX_BYTES);

        ck_assert_msg(early == DETECT_MORE || early == expected, "%s cut at %zu: got %d", text, i,
                      early);
    }
}

START_TEST(resp_arrays)
{
    check_decides("*1\r\n$4\r\nPING\r\n", DETECT_RESP);
    ck_assert_int_eq(detect("*"), DETECT_RESP);
}
END_TEST

START_TEST(bare_ping)
{
    check_decides("PING\r\n", DETECT_RESP);
    check_decides("ping\n", DETECT_RESP);
    check_decides("PINGS\r\n", DETECT_MEMCACHED);
    check_decides("PING x\r\n", DETECT_MEMCACHED);
    ck_assert_int_eq(detect("PIN"), DETECT_MORE);
    ck_assert_int_eq(detect("ping\r"), DETECT_MORE);
}
END_TEST

START_TEST(http_requests)
{
    check_decides("GET / HTTP/1.1\r\n", DETECT_HTTP);
    check_decides("PUT /v1/caches/default/entries/k HTTP/1.0\n", DETECT_HTTP);
    check_decides("OPTIONS * HTTP/1.1\r\n", DETECT_HTTP);
    check_decides("GET http://example.com/ HTTP/1.1\r\n", DETECT_HTTP);
    check_decides("PURGE /x HTTP/1.1\r\n", DETECT_HTTP);
    check_decides("\r\nGET / HTTP/1.1\r\n", DETECT_HTTP);
    check_decides("GET / HTTP/2.0\r\n", DETECT_HTTP);
}
END_TEST

START_TEST(what_only_looks_like_http)
{
    check_decides("GET /key\r\n", DETECT_MEMCACHED);
    check_decides("GET key HTTP/1.1\r\n", DETECT_MEMCACHED);
    check_decides("get / HTTP/1.1\r\n", DETECT_MEMCACHED);
    check_decides("GET  / HTTP/1.1\r\n", DETECT_MEMCACHED);
    check_decides("SET k v\r\n", DETECT_MEMCACHED);
}
END_TEST

START_TEST(memcached)
{
    check_decides("get k\r\n", DETECT_MEMCACHED);
    check_decides("set k 0 0 1\r\n", DETECT_MEMCACHED);
    check_decides("mg k v\r\n", DETECT_MEMCACHED);
    ck_assert_int_eq(detect("\x80"), DETECT_MEMCACHED);
    ck_assert_int_eq(detect("g"), DETECT_MEMCACHED);
}
END_TEST

START_TEST(undecided_is_bounded)
{
    char text[LINE_MAX_BYTES];

    memset(text, 'A', sizeof(text));
    ck_assert_int_eq(detect_protocol(slice_make(text, sizeof(text) - 1), sizeof(text)),
                     DETECT_MORE);
    ck_assert_int_eq(detect_protocol(slice_make(text, sizeof(text)), sizeof(text)),
                     DETECT_MEMCACHED);
    memset(text, '\n', sizeof(text));
    ck_assert_int_eq(detect_protocol(slice_make(text, sizeof(text)), sizeof(text)),
                     DETECT_MEMCACHED);
    /* A request line over the limit is HTTP's to refuse: it says 414. */
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    ck_assert_int_eq(detect_protocol(slice_make(text, sizeof(text)), sizeof(text)), DETECT_HTTP);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("detect");
    TCase *tcase = tcase_create("detect");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, resp_arrays);
    tcase_add_test(tcase, bare_ping);
    tcase_add_test(tcase, http_requests);
    tcase_add_test(tcase, what_only_looks_like_http);
    tcase_add_test(tcase, memcached);
    tcase_add_test(tcase, undecided_is_bounded);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
