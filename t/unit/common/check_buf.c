#include "common/buf.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(bytes_come_out_in_order)
{
    struct buf b = {0};
    unsigned char in = 0;
    unsigned char out = 0;

    /* More in than out, so that it grows, wraps down and grows again. */
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 100; i++, in++)
            ck_assert_int_eq(buf_append(&b, &in, 1), ERR_OK);
        for (int i = 0; i < 90; i++, out++) {
            ck_assert_uint_eq((unsigned char)*buf_head(&b), out);
            buf_consume(&b, 1);
        }
        ck_assert_uint_le(b.start, b.end);
        ck_assert_uint_le(b.end, b.cap);
    }
    ck_assert_uint_eq(buf_len(&b), 3000);
    buf_fini(&b);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(empty_is_usable)
{
    struct buf b = {0};

    ck_assert_int_eq(buf_append(&b, NULL, 0), ERR_OK);
    ck_assert_uint_eq(buf_len(&b), 0);
    ck_assert(slice_eq(buf_slice(&b), SLICE_LIT("")));
    buf_shrink(&b, 0);
    buf_fini(&b);
}
END_TEST

START_TEST(reserved_bytes_count_when_committed)
{
    struct buf b = {0};
    char *place = buf_reserve(&b, 5000);

    ck_assert_ptr_nonnull(place);
    memset(place, 'x', 5000);
    ck_assert_uint_eq(buf_len(&b), 0);
    buf_commit(&b, 3);
    ck_assert(slice_eq(buf_slice(&b), SLICE_LIT("xxx")));
    buf_truncate(&b, 1);
    ck_assert(slice_eq(buf_slice(&b), SLICE_LIT("x")));
    buf_fini(&b);
}
END_TEST

START_TEST(space_before_the_start_is_used_again)
{
    struct buf b = {0};
    size_t cap;
    char block[400] = {0};

    ck_assert_int_eq(buf_append(&b, block, sizeof(block)), ERR_OK);
    cap = b.cap;
    for (int i = 0; i < 1000; i++) {
        buf_consume(&b, 300);
        ck_assert_int_eq(buf_append(&b, block, 300), ERR_OK);
    }
    ck_assert_uint_le(b.cap, 2 * cap);
    buf_fini(&b);
}
END_TEST

START_TEST(impossible_sizes_leave_it_as_it_was)
{
    struct buf b = {0};

    ck_assert_int_eq(buf_append(&b, "abc", 3), ERR_OK);
    ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
    ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 2));
    ck_assert(slice_eq(buf_slice(&b), SLICE_LIT("abc")));
    buf_fini(&b);
}
END_TEST

START_TEST(printf_of_any_length)
{
    char text[300];
    struct buf b = {0};

    /* Around the size at which it stops using the stack. */
    for (size_t len = 250; len < 260; len++) {
        memset(text, 'y', len);
        text[len] = '\0';
        ck_assert_int_eq(buf_printf(&b, "<%s>", text), ERR_OK);
        ck_assert_uint_eq(buf_len(&b), len + 2);
        ck_assert_int_eq(buf_head(&b)[len + 1], '>');
        buf_consume(&b, buf_len(&b));
    }
    buf_fini(&b);
}
END_TEST

START_TEST(shrink_keeps_content)
{
    struct buf b = {0};

    ck_assert_int_eq(buf_append(&b, "abc", 3), ERR_OK);
    buf_shrink(&b, 0);
    ck_assert(slice_eq(buf_slice(&b), SLICE_LIT("abc")));
    buf_consume(&b, 3);
    buf_shrink(&b, b.cap);
    ck_assert_ptr_nonnull(b.data);
    buf_shrink(&b, b.cap - 1);
    ck_assert_ptr_null(b.data);
    buf_fini(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, bytes_come_out_in_order);
    tcase_add_test(tcase, empty_is_usable);
    tcase_add_test(tcase, reserved_bytes_count_when_committed);
    tcase_add_test(tcase, space_before_the_start_is_used_again);
    tcase_add_test(tcase, impossible_sizes_leave_it_as_it_was);
    tcase_add_test(tcase, printf_of_any_length);
    tcase_add_test(tcase, shrink_keeps_content);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
