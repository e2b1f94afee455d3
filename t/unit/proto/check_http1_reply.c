#include "proto/http1_reply.h"

#include "guard.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct http1_limits limits = {
    .line_bytes = 100, .header_bytes = 400, .header_count = 8};
static struct guard guard;
static struct http1_reply_parser *parser;
static char said[2048]; /* what the parser told, as text */

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void say(const char *fmt, ...)
{
    size_t len = strlen(said);
    va_list args;

    va_start(args, fmt);
    vsnprintf(said + len, sizeof(said) - len, fmt, args);
    va_end(args);
}

static void on_body(void *arg, struct slice piece)
{
    (void)arg;
    say("%.*s", (int)piece.len, piece.data);
}

static void setup(void)
{
    guard_init(&guard, 8192);
    parser = http1_reply_create(&limits, on_body, NULL);
    ck_assert_ptr_nonnull(parser);
}

static void teardown(void)
{
    http1_reply_destroy(parser);
    guard_fini(&guard);
}

static void say_head(void)
{
    static const char *const framings[] = {"none", "length", "chunked", "close"};
    const struct http1_reply *reply = http1_reply_head(parser);

    say("[%d %.*s %s%s", reply->status, (int)reply->reason.len, reply->reason.data,
        framings[reply->framing], reply->keep_alive ? "" : " last");
    for (size_t i = 0; i < reply->n_headers; i++)
        say(" %.*s=%.*s", (int)reply->headers[i].name.len, reply->headers[i].name.data,
            (int)reply->headers[i].value.len, reply->headers[i].value.data);
    say("]");
}

/* Feed in pieces of step bytes; "." is the end, "!" a refusal, "~" more is wanted. */
static const char *tell(const char *bytes, size_t len, size_t step, bool head, bool eof)
{
    size_t at = 0;

    said[0] = '\0';
    http1_reply_begin(parser, head);
    for (;;) {
        size_t n = len - at < step ? len - at : step;
        struct slice input = slice_make(guard_place(&guard, bytes + at, n), n);
        enum http1_reply_event event;
        size_t used;

        event = http1_reply_parse(parser, input, &used);
        ck_assert(used <= n);
        at += used;
        if (event == REPLY_EVENT_HEAD)
            say_head();
        else if (event == REPLY_EVENT_END)
            return say("."), said;
        else if (event == REPLY_EVENT_BAD)
            return say("!"), said;
        else if (at == len)
            break;
    }
    if (eof)
        say(http1_reply_eof(parser) == REPLY_EVENT_END ? "." : "!");
    else
        say("~");
    return said;
}

struct reply_case {
    const char *bytes;
    const char *want;
    bool head, eof;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct reply_case cases[] = {
    {OK "Content-Length: 3\r\n\r\nabc", "[200 OK length Content-Length=3]abc.", false, false},
    {OK "Content-Length: 0\r\n\r\n", "[200 OK length Content-Length=0].", false, false},
    {OK "Content-Length: 3\r\n\r\nab", "[200 OK length Content-Length=3]ab~", false, false},
    {OK "Content-Length: 3\r\n\r\nab", "[200 OK length Content-Length=3]ab!", false, true},
    {OK "Content-Length: 3\r\n\r\n", "[200 OK none Content-Length=3].", true, false},
    {OK "A:  b \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     "[200 OK chunked A=b Transfer-Encoding=chunked]abc.", false, false},
    {OK "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: v\r\n\r\n",
     "[200 OK chunked Transfer-Encoding=chunked]abcd.", false, false},
    {OK "\r\nabc", "[200 OK close last]abc.", false, true},
    {OK "\r\nabc", "[200 OK close last]abc~", false, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "[200 OK length last Content-Length=1]a.",
     false, false},
    {OK "Connection: close\r\nContent-Length: 1\r\n\r\na",
     "[200 OK length last Connection=close Content-Length=1]a.", false, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", "[204 No Content none].", false, false},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
     "[304 Not Modified none Content-Length=5].", false, false},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\na",
     "[103 Early Hints none Link=x][200 OK length Content-Length=1]a.", false, false},
    {"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", "[299  length Content-Length=0].", false, false},
    /* Refused: there is more than one reading, or none. */
    {OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "!", false, false},
    {OK "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "!", false, false},
    {OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", "!", false, false},
    {OK "Content-Length: 3, 3\r\n\r\n", "!", false, false},
    {OK "Content-Length: +3\r\n\r\n", "!", false, false},
    {OK "Content-Length: -3\r\n\r\n", "!", false, false},
    {OK "Content-Length: 99999999999999999999\r\n\r\n", "!", false, false},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "!", false, false},
    {OK "Transfer-Encoding: identity\r\n\r\n", "!", false, false},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "!", false, false},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "!", false, false},
    {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "!", false, false},
    {OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "[200 OK chunked Transfer-Encoding=chunked]!",
     false, false},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
     "[200 OK chunked Transfer-Encoding=chunked]abc!", false, false},
    {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nab",
     "[200 OK chunked Transfer-Encoding=chunked]ab!", false, true},
    {OK " folded: x\r\n\r\n", "!", false, false},
    {OK "A: b\r\n folded\r\n\r\n", "!", false, false},
    {OK "A: b\nC: d\r\n\r\n", "!", false, false},
    {OK "A: b\rC: d\r\n\r\n", "!", false, false},
    {OK "A : b\r\n\r\n", "!", false, false},
    {OK ": b\r\n\r\n", "!", false, false},
    {"HTTP/2.0 200 OK\r\n\r\n", "!", false, false},
    {"HTTP/1.1 99 OK\r\n\r\n", "!", false, false},
    {"HTTP/1.1 2000 OK\r\n\r\n", "!", false, false},
    {"ICY 200 OK\r\n\r\n", "!", false, false},
    {"<html>", "!", false, false},
    {"", "!", false, true},
    {OK "A: b", "!", false, true},
};

/* Whole and in every size of pieces: the same is told. */
START_TEST(replies)
{
    const struct reply_case *c = &cases[_i];
    size_t len = strlen(c->bytes);

    for (size_t step = 1; step <= len + 1; step++)
        ck_assert_msg(strcmp(tell(c->bytes, len, step, c->head, c->eof), c->want) == 0,
                      "in pieces of %zu: \"%s\" instead of \"%s\"", step, said, c->want);
}
END_TEST

START_TEST(heads_have_limits)
{
    char bytes[1024] = OK "A: ";

    memset(bytes + strlen(bytes), 'x', 500);
    strcat(bytes, "\r\n\r\n");
    ck_assert_str_eq(tell(bytes, strlen(bytes), 50, false, false), "!");
    ck_assert_ptr_nonnull(strstr(http1_reply_error(parser), "limits.http_header"));
}
END_TEST

/* What follows a response is left alone, and the next one can follow. */
START_TEST(replies_follow_each_other)
{
    static const char bytes[] = OK "Content-Length: 1\r\n\r\naHTTP";
    size_t used, at = 0;

    http1_reply_begin(parser, false);
    ck_assert_int_eq(http1_reply_parse(parser, slice_make(bytes, sizeof(bytes) - 1), &used),
                     REPLY_EVENT_HEAD);
    at = used;
    ck_assert_int_eq(
        http1_reply_parse(parser, slice_make(bytes + at, sizeof(bytes) - 1 - at), &used),
        REPLY_EVENT_END);
    ck_assert_uint_eq(at + used, sizeof(bytes) - 1 - 4);
    ck_assert_str_eq(tell(cases[0].bytes, strlen(cases[0].bytes), 99, false, false), cases[0].want);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http1_reply");
    TCase *tcase = tcase_create("http1_reply");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, replies, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tcase, heads_have_limits);
    tcase_add_test(tcase, replies_follow_each_other);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
