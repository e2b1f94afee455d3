#include "common/glob.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct example {
    const char *pattern;
    const char *text;
    bool match;
};

static void check_examples(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(glob_match(slice_cstr(examples[i].pattern), slice_cstr(examples[i].text)) ==
                          examples[i].match,
                      "%s on %s should be %d", examples[i].pattern, examples[i].text,
                      examples[i].match);
}

START_TEST(literals_stars_and_marks)
{
    static const struct example examples[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"abc", "abc", true},
        {"abc", "abd", false},
        {"abc", "ab", false},
        {"ab", "abc", false},
        {"*", "", true},
        {"*", "anything", true},
        {"**", "", true},
        {"a*", "a", true},
        {"a*", "ba", false},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"a*c", "abbbc", true},
        {"a*c", "abbb", false},
        {"*b*", "abc", true},
        {"*b*d*", "abcd", true},
        {"*ab", "aab", true},
        {"*aab", "aaab", true},
        {"a*b*c", "aXbXbXc", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"h?llo", "hello", true},
        {"?*", "", false},
        {"?*", "a", true},
        {"*?", "ab", true},
        {"user:*:name", "user:7:name", true},
        {"user:*:name", "user:7:names", false},
        {"A", "a", false},
    };

    check_examples(examples, sizeof(examples) / sizeof(examples[0]));
}
END_TEST

START_TEST(sets)
{
    static const struct example examples[] = {
        {"h[ae]llo", "hello", true}, {"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false},
        {"[a-c]", "b", true},        {"[a-c]", "d", false},       {"[c-a]", "b", true},
        {"[^a]", "b", true},         {"[^a]", "a", false},        {"[^a-c]x", "dx", true},
        {"[^a-c]x", "bx", false},    {"[]", "a", false},          {"[^]", "a", true},
        {"[a", "a", true},           {"[a", "b", false},          {"[", "[", false},
        {"[a-", "-", true},          {"[a-]", "-", false},        {"[\\]]", "]", true},
        {"[\\^a]", "^", true},       {"[a\\-c]", "b", false},     {"[a\\-c]", "-", true},
        {"*[0-9]", "key7", true},    {"*[0-9]", "key", false},    {"[ab]*[cd]", "axxd", true},
        {"[^", "a", true},           {"[a^]", "^", true},         {"[a]", "", false},
    };

    check_examples(examples, sizeof(examples) / sizeof(examples[0]));
}
END_TEST

START_TEST(escapes)
{
    static const struct example examples[] = {
        {"\\*", "*", true},   {"\\*", "a", false},    {"\\?", "?", true},
        {"\\?", "a", false},  {"\\[a]", "[a]", true}, {"\\[a]", "a", false},
        {"\\\\", "\\", true}, {"\\a", "a", true},     {"a\\", "a\\", true},
        {"a\\", "a", false},  {"*\\*", "ab*", true},  {"*\\*", "abc", false},
    };

    check_examples(examples, sizeof(examples) / sizeof(examples[0]));
}
END_TEST

START_TEST(any_byte)
{
    ck_assert(glob_match(SLICE_LIT("a?c"), SLICE_LIT("a\0c")));
    ck_assert(glob_match(SLICE_LIT("a\0*"), SLICE_LIT("a\0\xff")));
    ck_assert(!glob_match(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
    ck_assert(glob_match(SLICE_LIT("[\x80-\xff]"), SLICE_LIT("\xc3")));
    ck_assert(!glob_match(SLICE_LIT("[\x80-\xff]"), SLICE_LIT("A")));
    ck_assert(glob_match((struct slice){NULL, 0}, (struct slice){NULL, 0}));
}
END_TEST

/* Taking back every star would need about 2^64 steps here. */
START_TEST(no_exponential_blow_up)
{
    char pattern[129];
    char text[4096];
    uint64_t steps = 0;

    for (size_t i = 0; i < 128; i += 2)
        memcpy(pattern + i, "a*", 2);
    pattern[128] = 'b';
    memset(text, 'a', sizeof(text));
    ck_assert(!glob_match_counted(slice_make(pattern, sizeof(pattern)),
                                  slice_make(text, sizeof(text)), &steps));
    ck_assert_uint_ge(steps, 64);
    ck_assert_uint_le(steps, sizeof(pattern) * sizeof(text));
}
END_TEST

START_TEST(bound_holds_with_long_sets)
{
    static const char set[] = "*[bcdefghijklmnopqrstuvwxyz]a*[bcdefghijklmnopqrstuvwxyz]b";
    char text[2048];
    uint64_t steps = 0;

    memset(text, 'a', sizeof(text));
    ck_assert(!glob_match_counted(slice_cstr(set), slice_make(text, sizeof(text)), &steps));
    ck_assert_uint_gt(steps, sizeof(text));
    ck_assert_uint_le(steps, strlen(set) * sizeof(text));
}
END_TEST

START_TEST(escaped_text_matches_itself_only)
{
    static const char raw[] = "a*b?c[d]e\\f\0g^-";
    struct slice text = slice_make(raw, sizeof(raw) - 1);
    struct buf out = {0};

    ck_assert_int_eq(glob_escape(text, &out), ERR_OK);
    ck_assert(glob_match(buf_slice(&out), text));
    for (size_t i = 0; i < text.len; i++) {
        char other[sizeof(raw)];

        memcpy(other, raw, sizeof(raw));
        other[i] ^= 1;
        ck_assert(!glob_match(buf_slice(&out), slice_make(other, text.len)));
    }
    buf_fini(&out);
}
END_TEST

START_TEST(escape_appends)
{
    struct buf out = {0};

    ck_assert_int_eq(glob_escape((struct slice){NULL, 0}, &out), ERR_OK);
    ck_assert_uint_eq(buf_len(&out), 0);
    ck_assert_int_eq(glob_escape(SLICE_LIT("plain"), &out), ERR_OK);
    ck_assert_int_eq(glob_escape(SLICE_LIT("*"), &out), ERR_OK);
    ck_assert_int_eq(glob_escape(SLICE_LIT("[x"), &out), ERR_OK);
    ck_assert(slice_eq(buf_slice(&out), SLICE_LIT("plain\\*\\[x")));
    buf_fini(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("glob");
    TCase *tcase = tcase_create("glob");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, literals_stars_and_marks);
    tcase_add_test(tcase, sets);
    tcase_add_test(tcase, escapes);
    tcase_add_test(tcase, any_byte);
    tcase_add_test(tcase, no_exponential_blow_up);
    tcase_add_test(tcase, bound_holds_with_long_sets);
    tcase_add_test(tcase, escaped_text_matches_itself_only);
    tcase_add_test(tcase, escape_appends);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
