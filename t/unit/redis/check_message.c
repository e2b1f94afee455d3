#include "redis/message.h"

#include "common/base64.h"

#include <check.h>
#include <stdlib.h>

static const struct slice node = SLICE_LIT("00ff11ee22dd33cc");

static void expect_json(enum message_action action, struct slice key, const char *json)
{
    struct buf out = {0};

    ck_assert_int_eq(message_encode(action, SLICE_LIT("default"), key, node, &out), ERR_OK);
    ck_assert_msg(slice_eq(buf_slice(&out), slice_cstr(json)), "%.*s", (int)buf_len(&out),
                  buf_head(&out));
    buf_fini(&out);
}

START_TEST(wire_format)
{
    expect_json(MESSAGE_DELETE, SLICE_LIT("k"),
                "{\"event\":{\"action\":\"delete\",\"cache\":\"default\",\"key\":\"k\"},"
                "\"node_id\":\"00ff11ee22dd33cc\"}");
    expect_json(MESSAGE_CLEAR, SLICE_LIT(""),
                "{\"event\":{\"action\":\"clear\",\"cache\":\"default\"},"
                "\"node_id\":\"00ff11ee22dd33cc\"}");
    expect_json(MESSAGE_DELETE, SLICE_LIT("\xff\xfe"),
                "{\"event\":{\"action\":\"delete\",\"cache\":\"default\",\"key_b64\":\"//4=\"},"
                "\"node_id\":\"00ff11ee22dd33cc\"}");
    expect_json(
        MESSAGE_DELETE, SLICE_LIT("a/\"\\\xc3\xa4"),
        "{\"event\":{\"action\":\"delete\",\"cache\":\"default\",\"key\":\"a/\\\"\\\\\xc3\xa4\"},"
        "\"node_id\":\"00ff11ee22dd33cc\"}");
}
END_TEST

static void round_trip(enum message_action action, struct slice key)
{
    struct message got;
    struct buf out = {0};

    ck_assert_int_eq(buf_append(&out, "before", 6), ERR_OK);
    ck_assert_int_eq(message_encode(action, SLICE_LIT("sessions"), key, node, &out), ERR_OK);
    buf_consume(&out, 6);
    ck_assert_int_eq(message_decode(buf_slice(&out), &got), ERR_OK);
    ck_assert_int_eq(got.action, action);
    ck_assert_str_eq(got.cache, "sessions");
    ck_assert(slice_eq(slice_cstr(got.node_id), node));
    ck_assert(slice_eq(slice_make(got.key, got.key_len), key));
    message_fini(&got);
    buf_fini(&out);
}

START_TEST(round_trips)
{
    char every[256];

    for (size_t i = 0; i < sizeof(every); i++)
        every[i] = (char)i;
    for (size_t len = 0; len <= sizeof(every); len++)
        round_trip(MESSAGE_DELETE, slice_make(every + sizeof(every) - len, len));
    round_trip(MESSAGE_DELETE, SLICE_LIT("nul\0inside"));
    round_trip(MESSAGE_PATTERN, SLICE_LIT("user:*"));
    round_trip(MESSAGE_TAG, SLICE_LIT("t"));
    round_trip(MESSAGE_NONCE, SLICE_LIT("17"));
    round_trip(MESSAGE_CLEAR, slice_make(NULL, 0));
    round_trip(MESSAGE_CLEAR_END, slice_make(NULL, 0));
}
END_TEST

static void expect_decoded(const char *json, enum message_action action, const char *cache,
                           const char *key)
{
    struct message got;

    ck_assert_msg(message_decode(slice_cstr(json), &got) == ERR_OK, "%s", json);
    ck_assert_int_eq(got.action, action);
    ck_assert_str_eq(got.cache, cache);
    ck_assert_str_eq(got.node_id, "n");
    if (key == NULL)
        ck_assert_ptr_null(got.key);
    else
        ck_assert_str_eq(got.key, key);
    message_fini(&got);
}

START_TEST(what_others_send)
{
    expect_decoded(
        "{\"node_id\":\"n\",\"event\":{\"key\":\"k\",\"cache\":\"default\",\"action\":\"delete\"}}",
        MESSAGE_DELETE, "default", "k");
    expect_decoded("{\"event\":{\"action\":\"delete\",\"key\":\"k\"},\"node_id\":\"n\"}",
                   MESSAGE_DELETE, "default", "k");
    expect_decoded(
        "{\"event\":{\"action\":\"clear\",\"cache\":\"a\",\"key\":null},\"node_id\":\"n\"}",
        MESSAGE_CLEAR, "a", NULL);
    expect_decoded(
        "{\"event\":{\"action\":\"clear\",\"cache\":null,\"x\":[1]},\"y\":{},\"node_id\":\"n\"}",
        MESSAGE_CLEAR, "default", NULL);
    expect_decoded(
        "{\"event\":{\"action\":\"delete\",\"cache\":\"a\",\"key\":-42},\"node_id\":\"n\"}",
        MESSAGE_DELETE, "a", "-42");
    expect_decoded(
        "{\"event\":{\"action\":\"warm_up\",\"cache\":\"a\",\"key\":{}},\"node_id\":\"n\"}",
        MESSAGE_OTHER, "a", NULL);
}
END_TEST

START_TEST(malformed)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "\"delete\"",
        "{\"event\":{\"action\":\"delete\",\"key\":\"k\"},\"node_id\":\"n\"} x",
        "{\"event\":{\"action\":\"delete\",\"key\":\"k\"}}",
        "{\"event\":{\"action\":\"delete\",\"key\":\"k\"},\"node_id\":7}",
        "{\"event\":{\"key\":\"k\"},\"node_id\":\"n\"}",
        "{\"event\":\"delete\",\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\"},\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\",\"key\":null},\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\",\"key\":true},\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\",\"key_b64\":\"/\"},\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\",\"key\":\"k\",\"cache\":1},\"node_id\":\"n\"}",
        "{\"event\":{\"action\":\"delete\",\"key\":\"\xff\"},\"node_id\":\"n\"}",
    };
    struct message got;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(message_decode(slice_cstr(bad[i]), &got) == ERR_INVALID, "%s", bad[i]);
}
END_TEST

START_TEST(too_long)
{
    size_t len = 2u << 20;
    char *json = malloc(len);
    struct message got;

    ck_assert_ptr_nonnull(json);
    memset(json, ' ', len);
    ck_assert_int_eq(message_decode(slice_make(json, len), &got), ERR_INVALID);
    free(json);
}
END_TEST

START_TEST(an_unknown_action_is_not_encoded)
{
    struct buf out = {0};

    ck_assert_int_eq(message_encode(MESSAGE_OTHER, SLICE_LIT("a"), SLICE_LIT(""), node, &out),
                     ERR_INVALID);
    ck_assert_uint_eq(buf_len(&out), 0);
}
END_TEST

/* RFC 4648, section 10. */
START_TEST(base64_vectors)
{
    static const struct {
        const char *bytes, *text;
    } vectors[] = {{"", ""},
                   {"f", "Zg=="},
                   {"fo", "Zm8="},
                   {"foo", "Zm9v"},
                   {"foob", "Zm9vYg=="},
                   {"fooba", "Zm9vYmE="},
                   {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct slice bytes = slice_cstr(vectors[i].bytes);
        struct slice text = slice_cstr(vectors[i].text);
        char out[16];
        size_t len;

        base64_encode(bytes, out);
        ck_assert(slice_eq(slice_make(out, base64_encoded_len(bytes.len)), text));
        ck_assert_int_eq(base64_decode(text, out, &len), ERR_OK);
        ck_assert(slice_eq(slice_make(out, len), bytes));
    }
}
END_TEST

START_TEST(base64_strict)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Z===", "====", "Zm 9", "Zm9v\n"};
    char out[16];
    size_t len;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(base64_decode(slice_cstr(bad[i]), out, &len) == ERR_INVALID, "%s", bad[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tests = tcase_create("message");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, wire_format);
    tcase_add_test(tests, round_trips);
    tcase_add_test(tests, what_others_send);
    tcase_add_test(tests, malformed);
    tcase_add_test(tests, too_long);
    tcase_add_test(tests, an_unknown_action_is_not_encoded);
    tcase_add_test(tests, base64_vectors);
    tcase_add_test(tests, base64_strict);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
