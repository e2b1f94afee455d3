#include "redis/envelope.h"

#include "guard.h"

#include <check.h>
#include <stdlib.h>

static struct guard guard;
static struct buf stored;

static void setup(void)
{
    guard_init(&guard, 8192);
    stored = (struct buf){0};
}

static void teardown(void)
{
    buf_fini(&stored);
    guard_fini(&guard);
}

static void encode(struct envelope envelope)
{
    buf_truncate(&stored, 0);
    ck_assert_int_eq(envelope_encode(&envelope, &stored), ERR_OK);
}

/* Decode from a copy that ends at an inaccessible page. */
static int decode(const void *bytes, size_t len, struct envelope *out)
{
    return envelope_decode(slice_make(guard_place(&guard, bytes, len), len), out);
}

static void expect_same(struct envelope want)
{
    struct envelope got;

    ck_assert_int_eq(decode(buf_head(&stored), buf_len(&stored), &got), ERR_OK);
    ck_assert(slice_eq(got.content_type, want.content_type));
    ck_assert(slice_eq(got.value, want.value));
    ck_assert_uint_eq(got.client_flags, want.client_flags);
    ck_assert_uint_eq(got.created_wall_ms, want.created_wall_ms);
    ck_assert_uint_eq(got.mark, want.mark);
}

START_TEST(plain_bytes_stay_plain)
{
    encode((struct envelope){.value = SLICE_LIT("hello"), .created_wall_ms = 77});
    ck_assert(slice_eq(buf_slice(&stored), SLICE_LIT("hello")));
    expect_same((struct envelope){.value = SLICE_LIT("hello")});
}
END_TEST

START_TEST(every_field_comes_back)
{
    struct envelope whole = {.content_type = SLICE_LIT("text/html; charset=utf-8"),
                             .client_flags = 0x80000001,
                             .created_wall_ms = 1700000000123,
                             .mark = 0x80000007,
                             .value = SLICE_LIT("\0binary\xff")};

    encode(whole);
    expect_same(whole);
    whole.value = SLICE_LIT("");
    encode(whole);
    expect_same(whole);
    whole.content_type = SLICE_LIT("");
    encode(whole);
    expect_same(whole);
}
END_TEST

/* The bytes themselves: other programs and later versions read them. */
START_TEST(format_is_fixed)
{
    encode((struct envelope){.content_type = SLICE_LIT("a/b"),
                             .client_flags = 5,
                             .created_wall_ms = 0x0102,
                             .value = SLICE_LIT("v")});
    ck_assert(slice_eq(buf_slice(&stored), SLICE_LIT("\x93"
                                                     "CTE\1\0\x20\0"
                                                     "\1\3\0a/b"
                                                     "\2\4\0\5\0\0\0"
                                                     "\3\x8\0\2\1\0\0\0\0\0\0"
                                                     "v")));
}
END_TEST

START_TEST(appended_bytes_belong_to_the_value)
{
    struct envelope got;

    encode((struct envelope){.content_type = SLICE_LIT("a/b"), .value = SLICE_LIT("one")});
    ck_assert_int_eq(buf_append(&stored, "two", 3), ERR_OK);
    ck_assert_int_eq(decode(buf_head(&stored), buf_len(&stored), &got), ERR_OK);
    ck_assert(slice_eq(got.value, SLICE_LIT("onetwo")));
}
END_TEST

START_TEST(a_value_like_an_envelope_is_wrapped)
{
    struct envelope tricky = {.value = SLICE_LIT("\x93"
                                                 "CTE\1\0\x8\0mine")};

    ck_assert(envelope_needed(&tricky));
    encode(tricky);
    expect_same(tricky);
}
END_TEST

START_TEST(unknown_fields_are_skipped)
{
    struct envelope got;

    ck_assert_int_eq(decode("\x93"
                            "CTE\1\0\x13\0\x63\2\0zz\1\3\0a/bv",
                            20, &got),
                     ERR_OK);
    ck_assert(slice_eq(got.content_type, SLICE_LIT("a/b")));
    ck_assert(slice_eq(got.value, SLICE_LIT("v")));
}
END_TEST

START_TEST(corrupt_is_invalid)
{
    static const struct slice bad[] = {
        SLICE_LIT("\x93"
                  "CTE"),
        SLICE_LIT("\x93"
                  "CTE\2\0\x8\0v"), /* another version */
        SLICE_LIT("\x93"
                  "CTE\1\1\x8\0v"), /* an unknown flag */
        SLICE_LIT("\x93"
                  "CTE\1\0\x7\0v"), /* shorter than itself */
        SLICE_LIT("\x93"
                  "CTE\1\0\xa\0v"), /* longer than what is there */
        SLICE_LIT("\x93"
                  "CTE\1\0\xa\0\1\0v"), /* half a field */
        SLICE_LIT("\x93"
                  "CTE\1\0\xb\0\1\1\0v"), /* a field that reaches into the value */
        SLICE_LIT("\x93"
                  "CTE\1\0\xc\0\2\1\0\1v"), /* a number of another size */
    };
    struct envelope got;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(decode(bad[i].data, bad[i].len, &got) == ERR_INVALID, "case %zu", i);
}
END_TEST

/* Nothing is read beyond the end, whatever stands there, and no truncation passes for the whole. */
START_TEST(every_truncation)
{
    struct envelope got;
    size_t header;

    encode((struct envelope){.content_type = SLICE_LIT("a/b"),
                             .client_flags = 5,
                             .created_wall_ms = 9,
                             .value = SLICE_LIT("v")});
    header = buf_len(&stored) - 1;
    for (size_t cut = 4; cut < header; cut++)
        ck_assert_int_eq(decode(buf_head(&stored), cut, &got), ERR_INVALID);
    ck_assert_int_eq(decode(buf_head(&stored), header, &got), ERR_OK);
    for (size_t cut = 0; cut < 4; cut++) {
        ck_assert_int_eq(decode(buf_head(&stored), cut, &got), ERR_OK);
        ck_assert_uint_eq(got.value.len, cut);
    }
}
END_TEST

START_TEST(a_header_too_long_is_refused)
{
    static char type[65536];
    struct envelope long_one = {.content_type = slice_make(type, sizeof(type))};

    memset(type, 'a', sizeof(type));
    ck_assert_int_eq(envelope_encode(&long_one, &stored), ERR_LIMIT);
    ck_assert_uint_eq(buf_len(&stored), 0);
}
END_TEST

START_TEST(tags_come_back)
{
    const struct envelope_tag tags[] = {
        {SLICE_LIT("red"), SLICE_LIT("0123456789abcdef")},
        {SLICE_LIT(""), SLICE_LIT("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
        {SLICE_LIT("b\0e"), SLICE_LIT("fedcba9876543210")}};
    struct envelope got;
    struct envelope_tag tag;
    size_t at = 0;

    encode(
        (struct envelope){.value = SLICE_LIT("v"), .client_flags = 5, .n_tags = 3, .tags = tags});
    ck_assert_int_eq(decode(buf_head(&stored), buf_len(&stored), &got), ERR_OK);
    ck_assert_uint_eq(got.n_tags, 3);
    ck_assert_uint_eq(got.client_flags, 5);
    ck_assert(slice_eq(got.value, SLICE_LIT("v")));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(envelope_next_tag(&got, &at, &tag));
        ck_assert(slice_eq(tag.name, tags[i].name));
        ck_assert(slice_eq(tag.value, tags[i].value));
    }
    ck_assert(!envelope_next_tag(&got, &at, &tag));
    for (size_t len = 5; len < buf_len(&stored) - 1; len++)
        ck_assert_int_eq(decode(buf_head(&stored), len, &got), ERR_INVALID);
}
END_TEST

START_TEST(tags_that_cannot_be_are_invalid)
{
    static const char short_value[] = "\x93"
                                      "CTE\1\0\x0d\0\4\2\0xxv";
    struct envelope_tag tags[ENVELOPE_TAGS_MAX + 1];
    struct envelope got;

    ck_assert_int_eq(decode(short_value, sizeof(short_value) - 1, &got), ERR_INVALID);
    for (unsigned i = 0; i <= ENVELOPE_TAGS_MAX; i++)
        tags[i] = (struct envelope_tag){SLICE_LIT("t"), SLICE_LIT("0123456789abcdef")};
    encode((struct envelope){.n_tags = ENVELOPE_TAGS_MAX, .tags = tags});
    ck_assert_int_eq(decode(buf_head(&stored), buf_len(&stored), &got), ERR_OK);
    encode((struct envelope){.n_tags = ENVELOPE_TAGS_MAX + 1, .tags = tags});
    ck_assert_int_eq(decode(buf_head(&stored), buf_len(&stored), &got), ERR_INVALID);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("envelope");
    TCase *tests = tcase_create("envelope");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, plain_bytes_stay_plain);
    tcase_add_test(tests, every_field_comes_back);
    tcase_add_test(tests, format_is_fixed);
    tcase_add_test(tests, appended_bytes_belong_to_the_value);
    tcase_add_test(tests, a_value_like_an_envelope_is_wrapped);
    tcase_add_test(tests, unknown_fields_are_skipped);
    tcase_add_test(tests, corrupt_is_invalid);
    tcase_add_test(tests, every_truncation);
    tcase_add_test(tests, tags_come_back);
    tcase_add_test(tests, tags_that_cannot_be_are_invalid);
    tcase_add_test(tests, a_header_too_long_is_refused);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
