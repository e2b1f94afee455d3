#include "proto/http1.h"

#include "guard.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct http1_limits limits = {
    .line_bytes = 200, .header_bytes = 400, .header_count = 8, .body_bytes = 1000};
static struct guard guard;
static struct http1_parser *parser;
static const struct http1_request *request;

static void setup(void)
{
    guard_init(&guard, 8192);
    parser = http1_parser_create(&limits);
    ck_assert_ptr_nonnull(parser);
    request = NULL;
}

static void teardown(void)
{
    http1_parser_destroy(parser);
    guard_fini(&guard);
}

static void restart(void)
{
    http1_parser_destroy(parser);
    parser = http1_parser_create(&limits);
    ck_assert_ptr_nonnull(parser);
    request = NULL;
}

static enum parse_status feed(const char *bytes, size_t len, size_t *used)
{
    struct slice input = slice_make(guard_place(&guard, bytes, len), len);
    enum parse_status status = http1_parse(parser, input, used, &request);

    memset(guard.map, 0xaa, guard.room); /* the request must not point into the input */
    return status;
}

/* Feed in pieces of `step` bytes until something is decided; the bytes used in all. */
static enum parse_status feed_steps(const char *bytes, size_t len, size_t step, size_t *used)
{
    *used = 0;
    while (*used < len) {
        size_t n = len - *used < step ? len - *used : step;
        size_t taken = 0;
        enum parse_status status = feed(bytes + *used, n, &taken);

        *used += taken;
        if (status != PARSE_MORE)
            return status;
        ck_assert_uint_eq(taken, n);
    }
    return PARSE_MORE;
}

static void expect_slice(struct slice got, const char *want)
{
    ck_assert_msg(slice_eq(got, slice_cstr(want)), "\"%.*s\" instead of \"%s\"", (int)got.len,
                  got.data, want);
}

/* Whole, byte by byte, and in every split in two: each time the same request ends at the same byte,
 * with the next request's bytes left alone. check looks at it. */
static void expect_request(const char *text, void (*check)(void))
{
    static const char next[] = "GET /next HTTP/1.1\r\n";
    char bytes[2048];
    size_t len = strlen(text);
    size_t used;

    memcpy(bytes, text, len);
    memcpy(bytes + len, next, sizeof(next));
    for (size_t step = 1; step <= len + sizeof(next) - 1; step++) {
        ck_assert_int_eq(feed_steps(bytes, len + sizeof(next) - 1, step, &used), PARSE_OK);
        ck_assert_uint_eq(used, len);
        check();
        if (step % 2 == 0)
            restart();
    }
    for (size_t cut = 1; cut < len; cut++) {
        ck_assert_int_eq(feed(bytes, cut, &used), PARSE_MORE);
        ck_assert_uint_eq(used, cut);
        ck_assert_int_eq(feed(bytes + cut, len - cut, &used), PARSE_OK);
        ck_assert_uint_eq(used, len - cut);
        check();
    }
}

static void expect_refused(const char *bytes, size_t len, int status)
{
    const char *why;
    size_t used;

    for (size_t step = len; step > 0; step = step == len ? 1 : 0) {
        enum parse_status got;

        restart();
        got = feed_steps(bytes, len, step, &used);
        ck_assert_msg(got == PARSE_INVALID || got == PARSE_TOO_LARGE, "status %d for \"%.*s\"", got,
                      (int)len, bytes);
        ck_assert_msg(http1_error(parser, &why) == status, "%d (%s) instead of %d for \"%.*s\"",
                      http1_error(parser, &why), why, status, (int)len, bytes);
        ck_assert_uint_gt(strlen(why), 5);
        ck_assert_int_eq(feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, &used), got);
        ck_assert_uint_eq(used, 0);
    }
}

#define REFUSED(text, status) expect_refused(text, sizeof(text) - 1, status)

static void check_get(void)
{
    ck_assert_int_eq(request->method, HTTP1_GET);
    expect_slice(request->method_name, "GET");
    expect_slice(request->target, "/v1/k%20?a=1&b=2?");
    expect_slice(request->path, "/v1/k%20");
    expect_slice(request->query, "a=1&b=2?");
    expect_slice(request->authority, "");
    ck_assert_int_eq(request->minor, 1);
    ck_assert(request->keep_alive);
    ck_assert(!request->expect_continue);
    ck_assert_uint_eq(request->n_headers, 4);
    expect_slice(http1_header(request, "host"), "a:80");
    expect_slice(http1_header(request, "X-Empty"), "");
    expect_slice(http1_header(request, "x-spaces"), "a  b");
    ck_assert_ptr_null(http1_header(request, "x-none").data);
    ck_assert_ptr_nonnull(http1_header(request, "x-empty").data);
    ck_assert_uint_eq(request->body.len, 0);
}

START_TEST(get_at_every_split)
{
    expect_request("GET /v1/k%20?a=1&b=2? HTTP/1.1\r\nHost: a:80\r\nX-Empty:\r\n"
                   "X-Spaces: \t a  b \t \r\nX-Last: z\r\n\r\n",
                   check_get);
}
END_TEST

static void check_put(void)
{
    ck_assert_int_eq(request->method, HTTP1_PUT);
    expect_slice(request->body, "hello\r\n\r\nworld");
    expect_slice(request->query, "");
    ck_assert(request->expect_continue);
}

START_TEST(put_with_content_length)
{
    expect_request(
        "PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 14\r\n\r\n"
        "hello\r\n\r\nworld",
        check_put);
}
END_TEST

START_TEST(put_with_chunks)
{
    expect_request("PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                   "Expect: 100-continue\r\n\r\n"
                   "5;name=value\r\nhello\r\n009\r\n\r\n\r\nworld\r\n0\r\nX-Trailer: t\r\n\r\n",
                   check_put);
    ck_assert_ptr_null(http1_header(request, "x-trailer").data);
}
END_TEST

static void check_empty_body(void)
{
    ck_assert_int_eq(request->method, HTTP1_PUT);
    ck_assert_uint_eq(request->body.len, 0);
}

START_TEST(empty_bodies)
{
    expect_request("PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", check_empty_body);
    expect_request("PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   check_empty_body);
    expect_request("PUT /k HTTP/1.1\r\nHost: a\r\n\r\n", check_empty_body);
}
END_TEST

static void check_close(void)
{
    ck_assert(!request->keep_alive);
}

static void check_stay(void)
{
    ck_assert(request->keep_alive);
}

START_TEST(keep_alive_rules)
{
    expect_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", check_close);
    expect_request("GET / HTTP/1.0\r\n\r\n", check_close);
    expect_request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", check_stay);
}
END_TEST

static void check_absolute(void)
{
    expect_slice(request->authority, "b:81");
    expect_slice(request->path, "/p");
    expect_slice(request->query, "q=1");
}

static void check_authority_only(void)
{
    expect_slice(request->authority, "b");
    expect_slice(request->path, "/");
}

static void check_star(void)
{
    ck_assert_int_eq(request->method, HTTP1_OPTIONS);
    expect_slice(request->path, "*");
}

START_TEST(target_forms)
{
    expect_request("GET http://b:81/p?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", check_absolute);
    expect_request("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", check_authority_only);
    expect_request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", check_star);
}
END_TEST

static void check_upgrade(void)
{
    ck_assert_int_eq(request->method, HTTP1_GET);
    expect_slice(request->path, "/u");
}

/* An upgrade is not taken up: the request is answered as it is, and the connection stays HTTP/1.1.
 */
START_TEST(upgrade_is_ignored)
{
    expect_request(
        "GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        check_upgrade);
}
END_TEST

START_TEST(pipelined_requests)
{
    static const char bytes[] = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy"
                                "\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"
                                "DELETE /c HTTP/1.1\r\nHost: a\r\n\r\n";
    const char *p = bytes;
    size_t used;

    ck_assert_int_eq(feed(p, strlen(p), &used), PARSE_OK);
    expect_slice(request->path, "/a");
    p += used;
    ck_assert_int_eq(feed(p, strlen(p), &used), PARSE_OK);
    expect_slice(request->path, "/b");
    p += used;
    ck_assert_int_eq(feed(p, strlen(p), &used), PARSE_OK);
    expect_slice(request->path, "/c");
    ck_assert_str_eq(p + used, "");
}
END_TEST

START_TEST(head_is_known_before_the_body)
{
    static const char head[] =
        "PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    size_t used;

    ck_assert(!http1_headers_done(parser));
    ck_assert_ptr_null(http1_head(parser));
    ck_assert_int_eq(feed(head, strlen(head) - 1, &used), PARSE_MORE);
    ck_assert(!http1_headers_done(parser));
    ck_assert_int_eq(feed("\n", 1, &used), PARSE_MORE);
    ck_assert(http1_headers_done(parser));
    ck_assert(http1_head(parser)->expect_continue);
    expect_slice(http1_head(parser)->path, "/k");
    ck_assert_int_eq(feed("xy", 2, &used), PARSE_OK);
    http1_parser_reset(parser);
    ck_assert(!http1_headers_done(parser));
}
END_TEST

START_TEST(broken_syntax)
{
    REFUSED("\x16\x03\x01\x02", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX : space before colon\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n", 400);
    REFUSED("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\rHost: a\r\n\r\n", 400);
}
END_TEST

START_TEST(folded_headers)
{
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
}
END_TEST

START_TEST(bare_line_feeds)
{
    REFUSED("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
}
END_TEST

START_TEST(ambiguous_framing)
{
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400);
    REFUSED("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}
END_TEST

START_TEST(unknown_codings)
{
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501);
}
END_TEST

START_TEST(broken_chunks)
{
#define HEAD "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    REFUSED(HEAD "x\r\n", 400);
    REFUSED(HEAD "-1\r\n", 400);
    REFUSED(HEAD "1\r\nab\r\n", 400);
    REFUSED(HEAD "1\na\r\n", 400);
    REFUSED(HEAD "fffffffffffffffff\r\n", 400);
    REFUSED(HEAD "3e9\r\n", 413);
    REFUSED(HEAD "ffffffffffffffff\r\n", 413);
    REFUSED(HEAD "1\r\na\r\n3e8\r\n", 413);
}
END_TEST

START_TEST(hosts)
{
    REFUSED("GET / HTTP/1.1\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
}
END_TEST

START_TEST(methods_and_versions)
{
    REFUSED("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    REFUSED("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    REFUSED("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    REFUSED("GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505);
    REFUSED("GET /\r\n\r\n", 505);
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}
END_TEST

/* A request of the given sizes. */
static size_t compose(char *out, size_t target, size_t value, size_t headers)
{
    size_t len = (size_t)sprintf(out, "GET /%0*d HTTP/1.1\r\nHost: a\r\n", (int)target - 1, 0);

    for (size_t i = 1; i < headers; i++)
        len += (size_t)sprintf(out + len, "X: a\r\n");
    if (value > 0)
        len += (size_t)sprintf(out + len, "Y: %0*d\r\n", (int)value, 0);
    return len + (size_t)sprintf(out + len, "\r\n");
}

START_TEST(request_line_limit)
{
    char bytes[1024];
    const char *why;
    size_t len = compose(bytes, 200 - 13, 0, 1);
    size_t used;

    ck_assert_int_eq(feed(bytes, len, &used), PARSE_OK);
    len = compose(bytes, 200 - 12, 0, 1);
    expect_refused(bytes, len, 414);
    http1_error(parser, &why);
    ck_assert_str_eq(why, "the request line is over limits.http_line (200 bytes)");
    memset(bytes, '/', sizeof(bytes));
    memcpy(bytes, "GET ", 4);
    expect_refused(bytes, sizeof(bytes), 414);
}
END_TEST

START_TEST(header_bytes_limit)
{
    char bytes[1024];
    const char *why;
    size_t len = compose(bytes, 1, 400 - 9 - 5, 1);
    size_t used;

    ck_assert_int_eq(feed(bytes, len, &used), PARSE_OK);
    len = compose(bytes, 1, 400 - 9 - 4, 1);
    expect_refused(bytes, len, 431);
    http1_error(parser, &why);
    ck_assert_str_eq(why, "the headers are over limits.http_header (400 bytes)");
}
END_TEST

/* Bytes that no callback reports count as well: blanks before a value, empty lines before a
 * request. */
START_TEST(unseen_bytes_are_limited)
{
    char bytes[1024] = "GET / HTTP/1.1\r\nHost:";

    memset(bytes + strlen(bytes), ' ', 700);
    expect_refused(bytes, strlen(bytes), 431);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = "\r\n"[i % 2];
    expect_refused(bytes, sizeof(bytes), 414);
}
END_TEST

START_TEST(header_count_limit)
{
    char bytes[1024];
    size_t used;

    ck_assert_int_eq(feed(bytes, compose(bytes, 1, 0, 8), &used), PARSE_OK);
    expect_refused(bytes, compose(bytes, 1, 0, 9), 431);
}
END_TEST

START_TEST(body_limit)
{
    char bytes[2048] = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    size_t len = strlen(bytes);
    size_t used;

    memset(bytes + len, 'b', 1000);
    ck_assert_int_eq(feed(bytes, len + 1000, &used), PARSE_OK);
    ck_assert_uint_eq(request->body.len, 1000);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413);
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", 413);
}
END_TEST

START_TEST(chunk_extensions_and_trailers_are_limited)
{
    char bytes[1024] = HEAD "1;";
    char *end = bytes + strlen(bytes);

    memset(end, 'e', 700);
    expect_refused(bytes, strlen(bytes), 431);
    strcpy(end - 2, "0\r\nX: ");
    memset(end + 4, 't', 600);
    expect_refused(bytes, strlen(bytes), 431);
}
END_TEST

/* Random requests: whole and byte by byte come to the same end. */
START_TEST(random_requests_split_alike)
{
    static const char *const parts[] = {"GET ",
                                        "PUT ",
                                        "/a",
                                        "/%41?b",
                                        " HTTP/1.1",
                                        " HTTP/1.0",
                                        "\r\n",
                                        "\n",
                                        "\r",
                                        "Host: a",
                                        "X:",
                                        " ",
                                        "b",
                                        ":",
                                        "\r\n",
                                        "\r\n\r\n",
                                        "Content-Length: 3",
                                        "Transfer-Encoding: chunked",
                                        "3\r\nabc\r\n0\r\n\r\n",
                                        "abc",
                                        "\0",
                                        "Connection: close",
                                        "Connection: Upgrade\r\nUpgrade: x",
                                        "\x80"};

    srand(11);
    for (int round = 0; round < 20000; round++) {
        char bytes[512];
        size_t len = 0, used_whole, used_steps, path_len = 0;
        enum parse_status whole;
        const char *why;
        int status;

        if (round % 4 != 0)
            len = (size_t)sprintf(bytes, "%s/a HTTP/1.1\r\nHost: a\r\n", parts[round % 2]);
        for (int i = 0; i < 10; i++) {
            const char *part = parts[(size_t)rand() % (sizeof(parts) / sizeof(parts[0]))];
            size_t n = part[0] == '\0' ? 1 : strlen(part);

            memcpy(bytes + len, part, n);
            len += n;
        }
        restart();
        whole = feed_steps(bytes, len, len, &used_whole);
        status = http1_error(parser, &why);
        if (whole == PARSE_OK)
            path_len = request->path.len;
        restart();
        ck_assert_int_eq(feed_steps(bytes, len, 1, &used_steps), whole);
        ck_assert_int_eq(http1_error(parser, &why), status);
        if (whole == PARSE_OK) {
            ck_assert_uint_eq(used_steps, used_whole);
            ck_assert_uint_eq(request->path.len, path_len);
        }
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("http1");
    TCase *requests = tcase_create("requests");
    TCase *refusals = tcase_create("refusals");
    TCase *bounds = tcase_create("limits");

    tcase_add_checked_fixture(requests, setup, teardown);
    tcase_add_test(requests, get_at_every_split);
    tcase_add_test(requests, put_with_content_length);
    tcase_add_test(requests, put_with_chunks);
    tcase_add_test(requests, empty_bodies);
    tcase_add_test(requests, keep_alive_rules);
    tcase_add_test(requests, target_forms);
    tcase_add_test(requests, upgrade_is_ignored);
    tcase_add_test(requests, pipelined_requests);
    tcase_add_test(requests, head_is_known_before_the_body);
    tcase_add_test(requests, random_requests_split_alike);
    suite_add_tcase(s, requests);

    tcase_add_checked_fixture(refusals, setup, teardown);
    tcase_add_test(refusals, broken_syntax);
    tcase_add_test(refusals, folded_headers);
    tcase_add_test(refusals, bare_line_feeds);
    tcase_add_test(refusals, ambiguous_framing);
    tcase_add_test(refusals, unknown_codings);
    tcase_add_test(refusals, broken_chunks);
    tcase_add_test(refusals, hosts);
    tcase_add_test(refusals, methods_and_versions);
    suite_add_tcase(s, refusals);

    tcase_add_checked_fixture(bounds, setup, teardown);
    tcase_add_test(bounds, request_line_limit);
    tcase_add_test(bounds, header_bytes_limit);
    tcase_add_test(bounds, unseen_bytes_are_limited);
    tcase_add_test(bounds, header_count_limit);
    tcase_add_test(bounds, body_limit);
    tcase_add_test(bounds, chunk_extensions_and_trailers_are_limited);
    suite_add_tcase(s, bounds);
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
