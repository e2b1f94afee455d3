/* The memcached text protocol, whole and at every split. */
#include "guard.h"
#include "proto/memcached.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct memcached_limits limits = {.line_bytes = 2048, .value_bytes = 100};
static struct memcached_meta meta;
static struct memcached_request request;

static enum parse_status parse(const char *text, size_t len)
{
    return memcached_parse(slice_make(text, len), &limits, &meta, &request);
}

/* Whole, and then every beginning of it, each at the end of a page: MORE, and nothing read beyond.
 */
static void check_parses(const char *text, size_t used)
{
    size_t len = strlen(text);
    struct guard guard;

    guard_init(&guard, len);
    for (size_t n = 1; n < used; n++)
        ck_assert_msg(parse(guard_place(&guard, text, n), n) == PARSE_MORE, "%zu bytes of %s", n,
                      text);
    guard_fini(&guard);
    ck_assert_int_eq(parse(text, len), PARSE_OK);
    ck_assert_msg(request.error == NULL, "%s: %s", text, request.error);
    ck_assert_uint_eq(request.used, used);
}

static void check_refuses(const char *text, const char *error)
{
    ck_assert_int_eq(parse(text, strlen(text)), PARSE_OK);
    ck_assert_int_eq(request.verb, MEMCACHED_NONE);
    ck_assert_msg(request.error != NULL && strcmp(request.error, error) == 0, "%s: %s", text,
                  request.error);
}

static void expect_key(const char *key)
{
    ck_assert(slice_eq(request.keys, slice_cstr(key)));
}

START_TEST(storing_commands)
{
    check_parses("set k 4294967295 -1 3\r\nabc\r\nget", 28);
    ck_assert_int_eq(request.verb, MEMCACHED_SET);
    expect_key("k");
    ck_assert_uint_eq(request.flags, UINT32_MAX);
    ck_assert_int_eq(request.exptime, -1);
    ck_assert(slice_eq(request.value, SLICE_LIT("abc")));
    ck_assert(!request.noreply);
    check_parses("add k 0 0 0 noreply\r\n\r\n", 23);
    ck_assert_int_eq(request.verb, MEMCACHED_ADD);
    ck_assert(request.noreply && request.value.len == 0);
    check_parses("cas k 1 2 2 18446744073709551615\r\n\r\n\r\n", 38);
    ck_assert_uint_eq(request.number, UINT64_MAX);
    ck_assert(slice_eq(request.value, SLICE_LIT("\r\n")));
    check_parses("append k 0 0 1\na\r\n", 18);
    ck_assert_int_eq(request.verb, MEMCACHED_APPEND);
}
END_TEST

START_TEST(reading_commands)
{
    struct slice keys, key;

    check_parses("get a  bb ccc\r\n", 15);
    keys = request.keys;
    ck_assert(memcached_key(&keys, &key) && slice_eq(key, SLICE_LIT("a")));
    ck_assert(memcached_key(&keys, &key) && slice_eq(key, SLICE_LIT("bb")));
    ck_assert(memcached_key(&keys, &key) && slice_eq(key, SLICE_LIT("ccc")));
    ck_assert(!memcached_key(&keys, &key));
    check_parses("gats 10 k\r\n", 11);
    ck_assert_int_eq(request.verb, MEMCACHED_GATS);
    ck_assert_int_eq(request.exptime, 10);
    check_refuses("get\r\n", "ERROR");
    check_refuses("gat x k\r\n", "CLIENT_ERROR invalid exptime argument");
}
END_TEST

START_TEST(other_commands)
{
    check_parses("incr k 18446744073709551615\r\n", 29);
    ck_assert_uint_eq(request.number, UINT64_MAX);
    check_parses("decr k 1 noreply\r\n", 18);
    ck_assert(request.noreply);
    check_parses("touch k -5\r\n", 12);
    ck_assert_int_eq(request.exptime, -5);
    check_parses("delete k\r\n", 10);
    check_parses("delete k 0 noreply\r\n", 20);
    ck_assert(request.noreply);
    check_parses("flush_all\r\n", 11);
    check_parses("flush_all 10 noreply\r\n", 22);
    ck_assert_int_eq(request.exptime, 10);
    check_parses("stats settings\r\n", 16);
    ck_assert(slice_eq(request.argument, SLICE_LIT("settings")));
    check_parses("version\r\n", 9);
    check_parses("quit\r\n", 6);
}
END_TEST

START_TEST(mistakes_are_answered)
{
    static const char *const format = "CLIENT_ERROR bad command line format";

    check_refuses("\r\n", "ERROR");
    check_refuses("frobnicate\r\n", "ERROR");
    check_refuses("GET k\r\n", "ERROR");
    check_refuses("set k 0 0\r\n", "ERROR");
    check_refuses("set k 0 0 x\r\n", format);
    check_refuses("set k 4294967296 0 1\r\n", format);
    check_refuses("set k 0 0 1 nosuch\r\n", format);
    check_refuses("set k 0 0 -1\r\n", format);
    check_refuses("cas k 0 0 1\r\n", "ERROR");
    check_refuses("incr k\r\n", "ERROR");
    check_refuses("incr k -1\r\n", "CLIENT_ERROR invalid numeric delta argument");
    check_refuses("incr k 18446744073709551616\r\n", "CLIENT_ERROR invalid numeric delta argument");
    check_refuses("touch k\r\n", "ERROR");
    check_refuses("touch k x\r\n", "CLIENT_ERROR invalid exptime argument");
    check_refuses("delete k 5\r\n",
                  "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]");
    check_refuses("get a\x01z\r\n", format);
}
END_TEST

START_TEST(a_value_that_is_too_large_is_skipped)
{
    check_refuses("set k 0 0 101\r\nabc", "SERVER_ERROR object too large for cache");
    ck_assert_uint_eq(request.used, 15);
    ck_assert_uint_eq(request.skip, 103);
    check_refuses("set k 0 0 9223372036854775807\r\n", "SERVER_ERROR object too large for cache");
    ck_assert_uint_eq(request.skip, UINT64_C(9223372036854775809));
}
END_TEST

START_TEST(a_value_with_another_end_is_refused)
{
    check_refuses("set k 0 0 2\r\nabcd\r\n", "CLIENT_ERROR bad data chunk");
    ck_assert_uint_eq(request.used, 15); /* what follows is the next command */
}
END_TEST

START_TEST(keys_have_250_bytes)
{
    char text[400];

    memset(text, 'k', sizeof(text));
    memcpy(text, "get ", 4);
    memcpy(text + 254, "\r\n", 3);
    check_parses(text, 256);
    memset(text + 254, 'k', 3);
    memcpy(text + 255, "\r\n", 3);
    check_refuses(text, "CLIENT_ERROR bad command line format");
    /* Of a storing command, the value is thrown away with it. */
    memcpy(text, "set ", 4);
    memcpy(text + 260, " 0 0 3\r\n", 9);
    memset(text + 254, 'k', 6);
    check_refuses(text, "CLIENT_ERROR bad command line format");
    ck_assert_uint_eq(request.skip, 5);
}
END_TEST

START_TEST(a_line_has_a_limit)
{
    static char text[4000];

    memset(text, 'k', sizeof(text));
    memcpy(text, "get ", 4);
    ck_assert_int_eq(parse(text, 2049), PARSE_MORE); /* its last byte may be the CR */
    ck_assert_int_eq(parse(text, 2050), PARSE_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(request.error, "limits.memcached_line"));
    text[3000] = '\n';
    ck_assert_int_eq(parse(text, 4000), PARSE_TOO_LARGE);
}
END_TEST

START_TEST(expiries)
{
    const uint64_t now_ms = UINT64_C(1700000000123);

    ck_assert_uint_eq(memcached_expiry(0, now_ms), 0);
    ck_assert_uint_eq(memcached_expiry(-1, now_ms), 1);
    ck_assert_uint_eq(memcached_expiry(1, now_ms), now_ms + 1000);
    ck_assert_uint_eq(memcached_expiry(2592000, now_ms), now_ms + UINT64_C(2592000000));
    ck_assert_uint_eq(memcached_expiry(2592001, now_ms), 1); /* in 1970 */
    ck_assert_uint_eq(memcached_expiry(1700000000, now_ms), 1);
    ck_assert_uint_eq(memcached_expiry(1700000001, now_ms), UINT64_C(1700000001000));
    ck_assert_uint_eq(memcached_expiry(INT64_MAX, now_ms), 0);
}
END_TEST

START_TEST(value_lines)
{
    struct buf out = {0};
    uint64_t unique = UINT64_MAX;

    ck_assert_int_eq(memcached_value(&out, SLICE_LIT("k"), 7, 12, NULL), ERR_OK);
    ck_assert_int_eq(memcached_value(&out, SLICE_LIT("kk"), 0, 0, &unique), ERR_OK);
    ck_assert(slice_eq(buf_slice(&out),
                       SLICE_LIT("VALUE k 7 12\r\nVALUE kk 0 0 18446744073709551615\r\n")));
    buf_fini(&out);
}
END_TEST

START_TEST(meta_commands)
{
    check_parses("mg k v O12 N30 R-1 A500\r\nmg", 25);
    ck_assert_int_eq(request.verb, MEMCACHED_META_GET);
    expect_key("k");
    ck_assert_str_eq(meta.order, "vONRA");
    ck_assert(memcached_sent(&meta, 'v') && !memcached_sent(&meta, 'V'));
    ck_assert(slice_eq(meta.opaque, SLICE_LIT("12")));
    ck_assert_int_eq(meta.vivify, 30);
    ck_assert_int_eq(meta.recache, -1);
    ck_assert_uint_eq(meta.wait_ms, 500);
    check_parses("ms k 3 F7 C18446744073709551615 MA T-1\r\nabc\r\n", 45);
    ck_assert(slice_eq(request.value, SLICE_LIT("abc")));
    ck_assert_uint_eq(meta.client_flags, 7);
    ck_assert_uint_eq(meta.unique, UINT64_MAX);
    ck_assert_int_eq(meta.mode, 'A');
    ck_assert_int_eq(meta.ttl, -1);
    check_parses("ma k D5 J6 M-\r\n", 15);
    ck_assert(meta.delta == 5 && meta.initial == 6 && meta.mode == '-');
    check_parses("mn\r\n", 4);
    ck_assert_int_eq(request.verb, MEMCACHED_META_NOOP);
}
END_TEST

START_TEST(meta_keys_in_base64)
{
    struct buf out = {0};
    int status = ERR_NOMEM;

    check_parses("mg AAEC b k\r\n", 13);
    ck_assert(slice_eq(request.keys, SLICE_LIT("\0\1\2")));
    ck_assert(memcached_meta_repeat(&out, &meta, 'k', &status));
    ck_assert_int_eq(status, ERR_OK);
    ck_assert(!memcached_meta_repeat(&out, &meta, 'b', &status));
    ck_assert(slice_eq(buf_slice(&out), SLICE_LIT(" kAAEC b")));
    buf_fini(&out);
    check_refuses("mg AAE b\r\n", "CLIENT_ERROR error decoding key");
    check_refuses("mg A=== b\r\n", "CLIENT_ERROR error decoding key");
}
END_TEST

START_TEST(meta_mistakes)
{
    check_refuses("mg k v v\r\n", "CLIENT_ERROR duplicate flag");
    check_refuses("mg k @\r\n", "CLIENT_ERROR invalid flag");
    check_refuses("md k @\r\n", "CLIENT_ERROR invalid or duplicate flag");
    check_refuses("mg k O12345678901234567890123456789012\r\n",
                  "CLIENT_ERROR opaque token too long");
    check_refuses("mg k T\r\n", "CLIENT_ERROR bad token in command line format");
    check_refuses("ma k Mx\r\n", MEMCACHED_BAD_MODE);
    /* The value goes with a command that is refused. */
    check_refuses("ms k 3 @\r\nabc\r\n", "CLIENT_ERROR invalid flag");
    ck_assert_uint_eq(request.skip, 5);
    check_refuses("ms k 101\r\n", "SERVER_ERROR object too large for cache");
    ck_assert_uint_eq(request.skip, 103);
}
END_TEST

START_TEST(keys_are_seen_ahead)
{
    struct slice keys[4];
    struct slice input = SLICE_LIT("get a bb\r\nmg ccc v\r\ngets d e\r\nset f 0 0 1\r\n");

    ck_assert_uint_eq(memcached_peek_keys(input, keys, 4), 4);
    ck_assert(slice_eq(keys[1], SLICE_LIT("bb")) && slice_eq(keys[2], SLICE_LIT("ccc")));
    ck_assert(slice_eq(keys[3], SLICE_LIT("d")));
    ck_assert_uint_eq(memcached_peek_keys(slice_make(input.data, 9), keys, 4), 0); /* half a line */
    ck_assert_uint_eq(memcached_peek_keys(SLICE_LIT("set f 0 0 1\r\n"), keys, 4), 0);
    ck_assert_uint_eq(memcached_peek_keys(SLICE_LIT("mg\r\n"), keys, 4), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memcached");
    TCase *tcase = tcase_create("memcached");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, storing_commands);
    tcase_add_test(tcase, reading_commands);
    tcase_add_test(tcase, other_commands);
    tcase_add_test(tcase, mistakes_are_answered);
    tcase_add_test(tcase, a_value_that_is_too_large_is_skipped);
    tcase_add_test(tcase, a_value_with_another_end_is_refused);
    tcase_add_test(tcase, keys_have_250_bytes);
    tcase_add_test(tcase, a_line_has_a_limit);
    tcase_add_test(tcase, expiries);
    tcase_add_test(tcase, value_lines);
    tcase_add_test(tcase, meta_commands);
    tcase_add_test(tcase, meta_keys_in_base64);
    tcase_add_test(tcase, meta_mistakes);
    tcase_add_test(tcase, keys_are_seen_ahead);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
