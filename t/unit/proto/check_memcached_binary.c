/* Frames of memcached's binary protocol, whole and at every split. */
#include "guard.h"
#include "proto/memcached_binary.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct memcached_limits limits = {.line_bytes = 2048, .value_bytes = 100};
static struct memcached_request request;
static struct memcached_binary binary;

/* A frame in `frame`; its length. */
static char frame[BINARY_HEADER + 2048];

static size_t make(uint8_t opcode, size_t extras, size_t key, size_t value)
{
    size_t body = extras + key + value;

    memset(frame, 0, sizeof(frame));
    frame[0] = (char)BINARY_MAGIC;
    frame[1] = (char)opcode;
    frame[2] = (char)(key >> 8);
    frame[3] = (char)key;
    frame[4] = (char)extras;
    memcached_binary_u32(frame + 8, (uint32_t)body);
    memcpy(frame + 12, "opaq", 4);
    memcached_binary_patch(frame, UINT64_C(0x0102030405060708));
    memset(frame + BINARY_HEADER + extras, 'k', key);
    memset(frame + BINARY_HEADER + extras + key, 'v', value);
    return BINARY_HEADER + body;
}

static enum parse_status parse(const char *data, size_t len)
{
    return memcached_binary_parse(slice_make(data, len), &limits, &binary, &request);
}

static void check_parses(size_t len)
{
    struct guard guard;

    guard_init(&guard, len);
    for (size_t n = 0; n < len; n++)
        ck_assert_msg(parse(guard_place(&guard, frame, n), n) == PARSE_MORE, "%zu bytes", n);
    guard_fini(&guard);
    ck_assert_int_eq(parse(frame, len), PARSE_OK);
    ck_assert_int_eq(binary.error, BINARY_OK);
    ck_assert_uint_eq(request.used, len);
}

START_TEST(storing)
{
    size_t len = make(0x11, 8, 3, 5); /* SetQ */

    memcached_binary_u32(frame + BINARY_HEADER, 7);
    memcached_binary_u32(frame + BINARY_HEADER + 4, UINT32_MAX); /* -1 */
    check_parses(len);
    ck_assert_int_eq(request.verb, MEMCACHED_SET);
    ck_assert(binary.quiet && !binary.with_key);
    ck_assert_uint_eq(request.flags, 7);
    ck_assert_int_eq(request.exptime, -1);
    ck_assert(slice_eq(request.keys, SLICE_LIT("kkk")));
    ck_assert(slice_eq(request.value, SLICE_LIT("vvvvv")));
    ck_assert_uint_eq(binary.unique, UINT64_C(0x0102030405060708));
    ck_assert_int_eq(memcmp(&binary.opaque, "opaq", 4), 0);
}
END_TEST

START_TEST(counting)
{
    size_t len = make(0x06, 20, 1, 0); /* Decr */

    memcached_binary_u64(frame + BINARY_HEADER, 5);
    memcached_binary_u64(frame + BINARY_HEADER + 8, UINT64_MAX);
    check_parses(len);
    ck_assert_int_eq(request.verb, MEMCACHED_DECR);
    ck_assert_uint_eq(request.number, 5);
    ck_assert_uint_eq(binary.initial, UINT64_MAX);
    ck_assert(binary.create);
    memcached_binary_u32(frame + BINARY_HEADER + 16, UINT32_MAX);
    check_parses(len);
    ck_assert(!binary.create);
}
END_TEST

START_TEST(lengths_must_agree)
{
    static const struct {
        uint8_t opcode;
        size_t extras, key, value;
    } wrong[] = {
        {0x00, 0, 0, 0}, {0x00, 4, 1, 0},  {0x00, 0, 1, 1}, {0x00, 0, 251, 0}, {0x01, 0, 1, 1},
        {0x0a, 0, 1, 0}, {0x05, 19, 1, 0}, {0x1c, 0, 1, 0}, {0x08, 3, 0, 0},   {0x0e, 8, 1, 1},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        size_t len = make(wrong[i].opcode, wrong[i].extras, wrong[i].key, wrong[i].value);

        ck_assert_msg(parse(frame, len) == PARSE_INVALID, "%zu", i);
        ck_assert_int_eq(binary.error, BINARY_INVALID);
    }
    (void)make(0x00, 0, 10, 0);
    memcached_binary_u32(frame + 8, 9); /* a body shorter than the key */
    ck_assert_int_eq(parse(frame, BINARY_HEADER + 10), PARSE_INVALID);
}
END_TEST

START_TEST(what_is_refused_is_skipped)
{
    (void)make(0x01, 8, 1, 101);
    ck_assert_int_eq(parse(frame, BINARY_HEADER), PARSE_OK);
    ck_assert_int_eq(binary.error, BINARY_TOO_LARGE);
    ck_assert(request.used == BINARY_HEADER && request.skip == 110);
    (void)make(0x7f, 0, 3, 4);
    ck_assert_int_eq(parse(frame, BINARY_HEADER), PARSE_OK);
    ck_assert_int_eq(binary.error, BINARY_UNKNOWN);
    ck_assert_uint_eq(request.skip, 7);
}
END_TEST

START_TEST(replies)
{
    static const char expected[BINARY_HEADER] = "\x81\x09\x00\x03\x04\x00\x00\x01\x00\x00\x00\x09"
                                                "opaq\x00\x00\x00\x00\x00\x00\x01\x00";
    char header[BINARY_HEADER];

    (void)make(0x09, 0, 3, 0);
    ck_assert_int_eq(parse(frame, BINARY_HEADER + 3), PARSE_OK);
    memcached_binary_header(&binary,
                            &(struct binary_reply){.status = BINARY_NOT_FOUND,
                                                   .extras_len = 4,
                                                   .key_len = 3,
                                                   .value_len = 2,
                                                   .unique = 256},
                            header);
    ck_assert_int_eq(memcmp(header, expected, sizeof(header)), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memcached_binary");
    TCase *tcase = tcase_create("memcached_binary");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, storing);
    tcase_add_test(tcase, counting);
    tcase_add_test(tcase, lengths_must_agree);
    tcase_add_test(tcase, what_is_refused_is_skipped);
    tcase_add_test(tcase, replies);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
