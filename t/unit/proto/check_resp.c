#include "proto/resp.h"

#include "guard.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct resp_limits limits = {.args = 64, .bulk_bytes = 1000, .inline_bytes = 100};
static struct guard guard;
static struct resp_parser parser;

static void setup(void)
{
    guard_init(&guard, 8192);
    parser = (struct resp_parser){0};
}

static void teardown(void)
{
    resp_parser_fini(&parser);
    guard_fini(&guard);
}

static enum parse_status parse(const char *bytes, size_t len)
{
    return resp_parse(&parser, slice_make(guard_place(&guard, bytes, len), len), &limits);
}

static void expect_argv(size_t used, int argc, const struct slice *argv)
{
    ck_assert_uint_eq(parser.used, used);
    ck_assert_int_eq(parser.argc, argc);
    for (int i = 0; i < argc; i++)
        ck_assert_msg(slice_eq(parser.argv[i], argv[i]), "argument %d is \"%.*s\"", i,
                      (int)parser.argv[i].len, parser.argv[i].data);
}

/* The command whole, with bytes of the next one behind it, at every split in two, and byte by byte,
 * each time from a copy at another address that ends at an inaccessible page. */
static void expect_command(const char *bytes, size_t len, int argc, const struct slice *argv)
{
    char more[512];

    ck_assert_int_eq(parse(bytes, len), PARSE_OK);
    expect_argv(len, argc, argv);

    memcpy(more, bytes, len);
    memcpy(more + len, "*1\r\n", 4);
    ck_assert_int_eq(parse(more, len + 4), PARSE_OK);
    expect_argv(len, argc, argv);

    for (size_t cut = 0; cut < len; cut++) {
        ck_assert_int_eq(parse(bytes, cut), PARSE_MORE);
        ck_assert_int_eq(parse(bytes, len), PARSE_OK);
        expect_argv(len, argc, argv);
    }
    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(parse(bytes, cut), PARSE_MORE);
    ck_assert_int_eq(parse(bytes, len), PARSE_OK);
    expect_argv(len, argc, argv);
}

/* The same failure whole and byte by byte; nothing before the last byte decides otherwise. */
static void expect_failure(const char *bytes, enum parse_status status, const char *error)
{
    size_t len = strlen(bytes);
    enum parse_status got = PARSE_MORE;

    ck_assert_int_eq(parse(bytes, len), status);
    ck_assert_str_eq(parser.error, error);
    for (size_t cut = 0; cut <= len && got == PARSE_MORE; cut++)
        got = parse(bytes, cut);
    ck_assert_int_eq(got, status);
    ck_assert_str_eq(parser.error, error);
}

#define COMMAND(bytes, ...)                                                                        \
    do {                                                                                           \
        const struct slice want[] = {__VA_ARGS__};                                                 \
        expect_command(bytes, sizeof(bytes) - 1, (int)(sizeof(want) / sizeof(want[0])), want);     \
    } while (0)
#define EMPTY(bytes) expect_command(bytes, sizeof(bytes) - 1, 0, NULL)
#define L(text)      SLICE_LIT(text)

START_TEST(multibulk_at_every_split)
{
    COMMAND("*1\r\n$4\r\nPING\r\n", L("PING"));
    COMMAND("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n", L("SET"), L("k"), L("hello"));
    COMMAND("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", L("GET"), L(""));
    COMMAND("*2\r\n$4\r\n\r\n\r\n\r\n$10\r\n0123456789\r\n", L("\r\n\r\n"), L("0123456789"));
}
END_TEST

START_TEST(multibulk_is_binary_safe)
{
    COMMAND("*2\r\n$4\r\n\0\xff\r\n\r\n$3\r\n$9\n\r\n", L("\0\xff\r\n"), L("$9\n"));
}
END_TEST

START_TEST(empty_commands_need_no_reply)
{
    EMPTY("\r\n");
    EMPTY("\n");
    EMPTY("   \r\n");
    EMPTY("*0\r\n");
    EMPTY("*-1\r\n");
}
END_TEST

START_TEST(more_arguments_than_the_first_allocation)
{
    char bytes[1024];
    struct slice argv[64];
    int len = snprintf(bytes, sizeof(bytes), "*64\r\n");

    for (int i = 0; i < 64; i++) {
        argv[i] = slice_make(bytes + len + 4, 2);
        len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "$2\r\n%02d\r\n", i);
    }
    ck_assert_int_eq(parse(bytes, (size_t)len), PARSE_OK);
    expect_argv((size_t)len, 64, argv);
    for (int cut = 0; cut < len; cut++)
        ck_assert_int_eq(parse(bytes, (size_t)cut), PARSE_MORE);
    ck_assert_int_eq(parse(bytes, (size_t)len), PARSE_OK);
    expect_argv((size_t)len, 64, argv);
}
END_TEST

START_TEST(pipelined_commands_one_after_the_other)
{
    static const char bytes[] = "*1\r\n$4\r\nPING\r\nGET k\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    size_t at = 0;
    const struct slice ping[] = {L("PING")}, get[] = {L("GET"), L("k")}, del[] = {L("DEL"), L("k")};

    ck_assert_int_eq(parse(bytes + at, sizeof(bytes) - 1 - at), PARSE_OK);
    expect_argv(14, 1, ping);
    at += parser.used;
    ck_assert_int_eq(parse(bytes + at, sizeof(bytes) - 1 - at), PARSE_OK);
    expect_argv(7, 2, get);
    at += parser.used;
    ck_assert_int_eq(parse(bytes + at, sizeof(bytes) - 1 - at), PARSE_OK);
    expect_argv(20, 2, del);
    at += parser.used;
    ck_assert_uint_eq(at, sizeof(bytes) - 1);
}
END_TEST

START_TEST(nothing_is_allocated_for_a_mere_announcement)
{
    const struct resp_limits wide = {.args = 1 << 30, .bulk_bytes = 1 << 30, .inline_bytes = 100};
    static const char bytes[] = "*1000000000\r\n$1\r\nx\r\n$500000000\r\nyy";

    ck_assert_int_eq(resp_parse(&parser, slice_make(bytes, sizeof(bytes) - 1), &wide), PARSE_MORE);
    ck_assert_int_eq(parser.argc, 1);
    ck_assert_int_le(parser.cap, 8);
}
END_TEST

START_TEST(no_allocation_once_warm)
{
    static const char bytes[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n";
    const struct slice *argv;
    const size_t *offsets;

    ck_assert_int_eq(parse(bytes, sizeof(bytes) - 1), PARSE_OK);
    argv = parser.argv;
    offsets = parser.offsets;
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(parse(bytes, sizeof(bytes) - 1), PARSE_OK);
        ck_assert_ptr_eq(parser.argv, argv);
        ck_assert_ptr_eq(parser.offsets, offsets);
    }
}
END_TEST

/* What was parsed is not parsed again: poisoning it between calls changes nothing. */
START_TEST(parsed_arguments_are_not_read_again)
{
    char bytes[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n";

    ck_assert_int_eq(parse(bytes, 26), PARSE_MORE);
    memset(bytes + 1, '!', 20);
    ck_assert_int_eq(parse(bytes, sizeof(bytes) - 1), PARSE_OK);
    ck_assert_int_eq(parser.argc, 3);
    ck_assert(slice_eq(parser.argv[2], L("hello")));
}
END_TEST

START_TEST(large_argument_arrays_are_given_back)
{
    const struct resp_limits wide = {.args = 5000, .bulk_bytes = 10, .inline_bytes = 100};
    struct buf bytes = {0};

    ck_assert_int_eq(buf_printf(&bytes, "*5000\r\n"), ERR_OK);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(buf_append(&bytes, "$0\r\n\r\n", 6), ERR_OK);
    ck_assert_int_eq(resp_parse(&parser, buf_slice(&bytes), &wide), PARSE_OK);
    ck_assert_int_eq(parser.argc, 5000);
    ck_assert_int_eq(parse("PING\r\n", 6), PARSE_OK);
    ck_assert_int_le(parser.cap, 1024);
    buf_fini(&bytes);
}
END_TEST

START_TEST(broken_multibulk_lengths)
{
    static const char error[] = "ERR Protocol error: invalid multibulk length";

    expect_failure("*x\r\n", PARSE_INVALID, error);
    expect_failure("*\r\n", PARSE_INVALID, error);
    expect_failure("*1x\r\n", PARSE_INVALID, error);
    expect_failure("*1\rx", PARSE_INVALID, error);
    expect_failure("*1\n", PARSE_INVALID, error);
    expect_failure("*01\r\n", PARSE_INVALID, error);
    expect_failure("*+1\r\n", PARSE_INVALID, error);
    expect_failure("*-0\r\n", PARSE_INVALID, error);
    expect_failure("* 1\r\n", PARSE_INVALID, error);
    expect_failure("*9999999999999999999999\r\n", PARSE_INVALID, error);
}
END_TEST

START_TEST(broken_bulk_lengths)
{
    static const char error[] = "ERR Protocol error: invalid bulk length";

    expect_failure("*1\r\n$x\r\n", PARSE_INVALID, error);
    expect_failure("*1\r\n$-1\r\n", PARSE_INVALID, error);
    expect_failure("*1\r\n$\r\n", PARSE_INVALID, error);
    expect_failure("*1\r\n$1\ra", PARSE_INVALID, error);
    expect_failure("*2\r\n$1\r\na\r\n$18446744073709551616\r\n", PARSE_INVALID, error);
}
END_TEST

START_TEST(broken_framing_between_arguments)
{
    expect_failure("*1\r\nx", PARSE_INVALID, "ERR Protocol error: expected '$', got 'x'");
    expect_failure("*2\r\n$1\r\na\r\n:1\r\n", PARSE_INVALID,
                   "ERR Protocol error: expected '$', got ':'");
    expect_failure("*1\r\n\r\n", PARSE_INVALID, "ERR Protocol error: expected '$', got '\\x0d'");
    expect_failure("*1\r\n$1\r\nabc", PARSE_INVALID,
                   "ERR Protocol error: bulk is not followed by CR LF");
    expect_failure("*1\r\n$1\r\na\rc", PARSE_INVALID,
                   "ERR Protocol error: bulk is not followed by CR LF");
}
END_TEST

START_TEST(limits_are_named)
{
    expect_failure("*65\r\n", PARSE_TOO_LARGE,
                   "ERR Protocol error: command of 65 arguments is over limits.resp_args (64)");
    expect_failure("*1\r\n$1001\r\n", PARSE_TOO_LARGE,
                   "ERR Protocol error: bulk of 1001 bytes is over limits.value (1000 bytes)");
}
END_TEST

START_TEST(values_at_the_limit_pass)
{
    char bytes[1100] = "*1\r\n$1000\r\n";
    size_t head = strlen(bytes);

    memset(bytes + head, 'v', 1000);
    memcpy(bytes + head + 1000, "\r\n", 2);
    ck_assert_int_eq(parse(bytes, head + 1001), PARSE_MORE);
    ck_assert_int_eq(parse(bytes, head + 1002), PARSE_OK);
    ck_assert_uint_eq(parser.argv[0].len, 1000);
}
END_TEST

START_TEST(inline_words)
{
    COMMAND("PING\r\n", L("PING"));
    COMMAND("PING\n", L("PING"));
    COMMAND("  SET \t k  v \r\n", L("SET"), L("k"), L("v"));
    COMMAND("GET k\rx\r\n", L("GET"), L("k"), L("x"));
    COMMAND("a\\nb\r\n", L("a\\nb"));
}
END_TEST

START_TEST(inline_double_quotes)
{
    COMMAND("SET \"a b\" \"\"\r\n", L("SET"), L("a b"), L(""));
    COMMAND("\"\\x41\\xfF\\n\\r\\t\\b\\a\\\\\\\"\\q\\xg1\"\r\n", L("A\xff\n\r\t\b\a\\\"qxg1"));
    COMMAND("pre\"fix ed\" x\r\n", L("prefix ed"), L("x"));
    COMMAND("\"it's\"\r\n", L("it's"));
}
END_TEST

START_TEST(inline_single_quotes)
{
    COMMAND("SET 'a \"b\"' 'it\\'s' '\\n'\r\n", L("SET"), L("a \"b\""), L("it's"), L("\\n"));
}
END_TEST

START_TEST(inline_unbalanced_quotes)
{
    static const char error[] = "ERR Protocol error: unbalanced quotes in request";

    expect_failure("SET \"k\r\n", PARSE_INVALID, error);
    expect_failure("SET 'k\r\n", PARSE_INVALID, error);
    expect_failure("SET \"k\"x\r\n", PARSE_INVALID, error);
    expect_failure("SET 'k''x'\r\n", PARSE_INVALID, error);
    expect_failure("SET \"k\\\r\n", PARSE_INVALID, error);
    expect_failure("SET \"k\\\"\r\n", PARSE_INVALID, error);
}
END_TEST

START_TEST(inline_length_is_limited)
{
    static const char error[] =
        "ERR Protocol error: too big inline request (limits.resp_inline is 100 bytes)";
    char line[160];

    memset(line, 'a', sizeof(line));
    memcpy(line + 101, "\r\n", 3);
    expect_failure(line, PARSE_TOO_LARGE, error);
    line[101] = '\0';
    expect_failure(line, PARSE_TOO_LARGE, error);
    memcpy(line + 98, "\r\n", 3);
    ck_assert_int_eq(parse(line, 100), PARSE_OK);
    ck_assert_uint_eq(parser.argv[0].len, 98);
}
END_TEST

START_TEST(inline_arguments_are_limited)
{
    char line[100];

    for (int i = 0; i < 65; i++)
        line[i] = "a "[i % 2];
    ck_assert_int_eq(resp_parse(&parser, L("a b c d\r\n"),
                                &(struct resp_limits){.args = 3, .inline_bytes = 100}),
                     PARSE_TOO_LARGE);
    ck_assert_str_eq(parser.error,
                     "ERR Protocol error: inline command is over limits.resp_args (3)");
    line[65] = '\n';
    ck_assert_int_eq(parse(line, 66), PARSE_OK);
    ck_assert_int_eq(parser.argc, 33);
}
END_TEST

/* Random bytes: whatever comes out, whole and byte by byte agree. */
START_TEST(random_bytes_split_alike)
{
    static const char alphabet[] = "*$0123\r\n\r\n\"' xa\\-";
    struct resp_parser pieces = {0};

    srand(7);
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        enum parse_status whole, piece = PARSE_MORE;

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
        if (round % 2 == 0)
            memcpy(bytes, "*2\r\n$", 5);
        whole = parse(bytes, sizeof(bytes));
        for (size_t cut = 0; cut <= sizeof(bytes) && piece == PARSE_MORE; cut++)
            piece = resp_parse(&pieces, slice_make(bytes, cut), &limits);
        ck_assert_int_eq(whole, piece);
        if (whole == PARSE_OK) {
            ck_assert_uint_eq(pieces.used, parser.used);
            ck_assert_int_eq(pieces.argc, parser.argc);
            for (int i = 0; i < parser.argc; i++)
                ck_assert(slice_eq(pieces.argv[i], parser.argv[i]));
        } else if (whole != PARSE_MORE) {
            ck_assert_str_eq(pieces.error, parser.error);
        }
        resp_parser_fini(&pieces);
        resp_parser_fini(&parser);
    }
}
END_TEST

static void expect_bytes(struct buf *out, int result, const char *bytes, size_t len)
{
    ck_assert_int_eq(result, ERR_OK);
    ck_assert_msg(slice_eq(buf_slice(out), slice_make(bytes, len)), "composed \"%.*s\"",
                  (int)buf_len(out), buf_head(out));
    buf_consume(out, buf_len(out));
}

#define EXPECT_BYTES(out, call, bytes) expect_bytes(out, call, bytes, sizeof(bytes) - 1)

START_TEST(compose_scalars)
{
    struct buf out = {0};

    EXPECT_BYTES(&out, resp_status(&out, "OK"), "+OK\r\n");
    EXPECT_BYTES(&out, resp_status(&out, "a\r\nb"), "+a  b\r\n");
    EXPECT_BYTES(&out, resp_error(&out, "ERR no %s\r\n+OK", "such"), "-ERR no such  +OK\r\n");
    EXPECT_BYTES(&out, resp_integer(&out, 0), ":0\r\n");
    EXPECT_BYTES(&out, resp_integer(&out, -42), ":-42\r\n");
    EXPECT_BYTES(&out, resp_integer(&out, INT64_MAX), ":9223372036854775807\r\n");
    EXPECT_BYTES(&out, resp_integer(&out, INT64_MIN), ":-9223372036854775808\r\n");
    EXPECT_BYTES(&out, resp_bulk(&out, L("he\0lo")), "$5\r\nhe\0lo\r\n");
    EXPECT_BYTES(&out, resp_bulk(&out, slice_make(NULL, 0)), "$0\r\n\r\n");
    EXPECT_BYTES(&out, resp_bulk_header(&out, 1234), "$1234\r\n");
    buf_fini(&out);
}
END_TEST

START_TEST(compose_both_versions)
{
    struct buf out = {0};

    EXPECT_BYTES(&out, resp_null(&out, 2), "$-1\r\n");
    EXPECT_BYTES(&out, resp_null(&out, 3), "_\r\n");
    EXPECT_BYTES(&out, resp_array(&out, 3), "*3\r\n");
    EXPECT_BYTES(&out, resp_map(&out, 3, 2), "*6\r\n");
    EXPECT_BYTES(&out, resp_map(&out, 3, 3), "%3\r\n");
    buf_fini(&out);
}
END_TEST

START_TEST(long_error_texts_are_cut)
{
    struct buf out = {0};
    char text[2000];

    memset(text, 'e', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(resp_error(&out, "ERR %s", text), ERR_OK);
    ck_assert_uint_lt(buf_len(&out), 600);
    ck_assert(memcmp(buf_head(&out) + buf_len(&out) - 2, "\r\n", 2) == 0);
    buf_fini(&out);
}
END_TEST

/* A pipeline, each of its beginnings, and what is no GET or SET. */
START_TEST(keys_are_seen_ahead)
{
    static const char pipeline[] = "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"
                                   "*5\r\n$3\r\nset\r\n$2\r\nk2\r\n$4\r\nv\r\n2\r\n$2\r\nPX\r\n$1\r\n9\r\n"
                                   "*2\r\n$3\r\nGET\r\n$2\r\nk3\r\n"
                                   "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$2\r\nk4\r\n";
    size_t last = 0;
    struct slice keys[8];

    for (size_t len = 0; len < sizeof(pipeline); len++) {
        size_t n = resp_peek_keys(slice_make(pipeline, len), keys, 8);

        ck_assert_uint_ge(n, last);
        ck_assert_uint_le(n, last + 1);
        last = n;
    }
    ck_assert_uint_eq(last, 3);
    ck_assert(slice_eq(keys[0], SLICE_LIT("k1")));
    ck_assert(slice_eq(keys[1], SLICE_LIT("k2")));
    ck_assert(slice_eq(keys[2], SLICE_LIT("k3")));
    ck_assert_uint_eq(resp_peek_keys(slice_make(pipeline, sizeof(pipeline) - 1), keys, 2), 2);
    ck_assert_uint_eq(resp_peek_keys(SLICE_LIT("GET k\r\n"), keys, 8), 0);
    ck_assert_uint_eq(resp_peek_keys(SLICE_LIT("*2\r\n$3\r\nGET\r\n$99999999999\r\nk\r\n"), keys, 8), 0);
    ck_assert_uint_eq(resp_peek_keys(SLICE_LIT("*2\r\n$3\r\nGET\r\n$-1\r\n"), keys, 8), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("resp");
    TCase *commands = tcase_create("commands");
    TCase *failures = tcase_create("failures");
    TCase *inlines = tcase_create("inline");
    TCase *compose = tcase_create("compose");

    tcase_add_checked_fixture(commands, setup, teardown);
    tcase_add_test(commands, multibulk_at_every_split);
    tcase_add_test(commands, multibulk_is_binary_safe);
    tcase_add_test(commands, empty_commands_need_no_reply);
    tcase_add_test(commands, more_arguments_than_the_first_allocation);
    tcase_add_test(commands, pipelined_commands_one_after_the_other);
    tcase_add_test(commands, nothing_is_allocated_for_a_mere_announcement);
    tcase_add_test(commands, no_allocation_once_warm);
    tcase_add_test(commands, parsed_arguments_are_not_read_again);
    tcase_add_test(commands, large_argument_arrays_are_given_back);
    tcase_add_test(commands, values_at_the_limit_pass);
    tcase_add_test(commands, random_bytes_split_alike);
    tcase_add_test(commands, keys_are_seen_ahead);
    suite_add_tcase(s, commands);

    tcase_add_checked_fixture(failures, setup, teardown);
    tcase_add_test(failures, broken_multibulk_lengths);
    tcase_add_test(failures, broken_bulk_lengths);
    tcase_add_test(failures, broken_framing_between_arguments);
    tcase_add_test(failures, limits_are_named);
    suite_add_tcase(s, failures);

    tcase_add_checked_fixture(inlines, setup, teardown);
    tcase_add_test(inlines, inline_words);
    tcase_add_test(inlines, inline_double_quotes);
    tcase_add_test(inlines, inline_single_quotes);
    tcase_add_test(inlines, inline_unbalanced_quotes);
    tcase_add_test(inlines, inline_length_is_limited);
    tcase_add_test(inlines, inline_arguments_are_limited);
    suite_add_tcase(s, inlines);

    tcase_add_test(compose, compose_scalars);
    tcase_add_test(compose, compose_both_versions);
    tcase_add_test(compose, long_error_texts_are_cut);
    suite_add_tcase(s, compose);
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
