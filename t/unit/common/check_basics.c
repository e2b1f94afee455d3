/* Clocks, lists, slices and small files. */
#include "common/buf.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/list.h"
#include "common/slice.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(clocks_go_forward)
{
    uint64_t ns = clock_now_ns();
    uint64_t ms = clock_now_ms();

    ck_assert_uint_ge(clock_now_ns(), ns);
    ck_assert_uint_ge(ms, ns / 1000000);
    ck_assert_uint_gt(clock_wall_ms(), UINT64_C(1700000000000));
}
END_TEST

/* The two clocks are read one after the other, so both ways differ by what passed between. */
START_TEST(wall_time_converts_both_ways)
{
    uint64_t in_an_hour = clock_now_ms() + 3600000;
    uint64_t back = clock_from_wall_ms(clock_to_wall_ms(in_an_hour));

    ck_assert_uint_ge(back + 1000, in_an_hour);
    ck_assert_uint_le(back, in_an_hour + 1000);
    ck_assert_uint_lt(clock_from_wall_ms(clock_wall_ms() - 5000), clock_now_ms());
}
END_TEST

/* Whenever it is read back: what was set as wall time is not a millisecond off half of the time. */
START_TEST(wall_times_read_back_exactly)
{
    uint64_t wall_ms = clock_wall_ms() + 3600000;
    uint64_t boot_ms = clock_from_wall_ms(wall_ms);
    unsigned exact = 0;

    for (int i = 0; i < 2000; i++) {
        /* And never later than what was meant. */
        uint64_t meant_ms = clock_from_wall_ms(clock_wall_ms() + 5000);

        ck_assert_uint_le(meant_ms, clock_now_ms() + 5000);
        exact += clock_to_wall_ms(boot_ms) == wall_ms;
        usleep(11);
    }
    ck_assert_uint_ge(exact, 1990);
}
END_TEST

/* 0 would mean "no expiry" wherever an expiry is stored. */
START_TEST(a_time_long_past_is_not_0)
{
    ck_assert_uint_eq(clock_from_wall_ms(0), 1);
    ck_assert_uint_eq(clock_from_wall_ms(1), 1);
}
END_TEST

struct item {
    int number;
    struct list link;
};

START_TEST(lists_keep_order_and_forget_removed_nodes)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list head;
    int expected = 0;

    list_init(&head);
    ck_assert(list_empty(&head));
    ck_assert_ptr_null(list_pop(&head));
    for (int i = 0; i < 4; i++)
        list_push(&head, &items[i].link);
    LIST_EACH_SAFE(node, next, &head)
    {
        ck_assert_int_eq(LIST_ENTRY(node, struct item, link)->number, expected++);
        if (expected == 2)
            list_remove(node);
    }
    ck_assert_int_eq(expected, 4);
    list_remove(&items[1].link);
    ck_assert_ptr_eq(list_pop(&head), &items[0].link);
    ck_assert_ptr_eq(list_pop(&head), &items[2].link);
    ck_assert_ptr_eq(list_pop(&head), &items[3].link);
    ck_assert(list_empty(&head));
}
END_TEST

START_TEST(slices_compare_bytes)
{
    ck_assert(slice_eq(SLICE_LIT("a\0b"), slice_make("a\0b", 3)));
    ck_assert(!slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
    ck_assert(!slice_eq(SLICE_LIT("a"), SLICE_LIT("ab")));
    ck_assert(slice_eq(slice_make(NULL, 0), SLICE_LIT("")));
    ck_assert(slice_ieq(SLICE_LIT("GeT"), "get"));
    ck_assert(!slice_ieq(SLICE_LIT("gets"), "get"));
    ck_assert(slice_starts(SLICE_LIT("prefix:key"), SLICE_LIT("prefix:")));
    ck_assert(!slice_starts(SLICE_LIT("pre"), SLICE_LIT("prefix:")));
}
END_TEST

START_TEST(files_are_read_whole)
{
    char path[] = "/tmp/check_basics.XXXXXX";
    char block[10000];
    struct buf text = {0};
    struct errmsg msg;
    mode_t mode;
    int fd = mkstemp(path);

    memset(block, 'b', sizeof(block));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, block, sizeof(block)), (ssize_t)sizeof(block));
    ck_assert_int_eq(fchmod(fd, 0640), 0);
    close(fd);
    ck_assert_int_eq(file_read(path, sizeof(block), &text, &mode, &msg), ERR_OK);
    ck_assert(slice_eq(buf_slice(&text), slice_make(block, sizeof(block))));
    ck_assert_int_eq(buf_head(&text)[sizeof(block)], '\0');
    ck_assert_uint_eq(mode, 0640);
    buf_fini(&text);
    ck_assert_int_eq(file_read(path, sizeof(block) - 1, &text, NULL, &msg), ERR_LIMIT);
    buf_fini(&text);
    ck_assert_int_eq(file_read("/", 10, &text, NULL, &msg), ERR_SYSTEM);
    buf_fini(&text);
    unlink(path);
    ck_assert_int_eq(file_read(path, 10, &text, NULL, &msg), ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(msg.text, path));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("basics");
    TCase *tcase = tcase_create("basics");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, clocks_go_forward);
    tcase_add_test(tcase, wall_times_read_back_exactly);
    tcase_add_test(tcase, wall_time_converts_both_ways);
    tcase_add_test(tcase, a_time_long_past_is_not_0);
    tcase_add_test(tcase, lists_keep_order_and_forget_removed_nodes);
    tcase_add_test(tcase, slices_compare_bytes);
    tcase_add_test(tcase, files_are_read_whole);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
