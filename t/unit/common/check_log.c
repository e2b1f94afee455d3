/* Errors and the log: what the person who must act gets to read. */
#include "common/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static char moved[64];

static void make_paths(void)
{
    int fd;

    strcpy(path, "/tmp/check_log.XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(moved, sizeof(moved), "%s.1", path);
}

static void remove_files(void)
{
    unlink(path);
    unlink(moved);
}

static void read_file(const char *name, char *text, size_t size)
{
    FILE *file = fopen(name, "r");
    size_t len;

    ck_assert_ptr_nonnull(file);
    len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
}

START_TEST(a_line_has_time_level_and_role)
{
    char text[256];
    int year, month, day, hour, minute, second, ms, end = 0;

    ck_assert_int_eq(log_init(path, LOG_LEVEL_INFO, NULL), ERR_OK);
    log_set_role("worker 3");
    log_warn("%d of %s", 2, "these");
    read_file(path, text, sizeof(text));
    ck_assert_int_eq(sscanf(text, "%d-%d-%dT%d:%d:%d.%dZ %n", &year, &month, &day, &hour, &minute,
                            &second, &ms, &end),
                     7);
    ck_assert_str_eq(text + end, "warn [worker 3] 2 of these\n");
}
END_TEST

START_TEST(levels_below_are_left_out)
{
    char text[1024];

    ck_assert_int_eq(log_init(path, LOG_LEVEL_WARN, NULL), ERR_OK);
    log_error("one");
    log_warn("two");
    log_info("three");
    log_debug("four");
    read_file(path, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "one"));
    ck_assert_ptr_nonnull(strstr(text, "two"));
    ck_assert_ptr_null(strstr(text, "three"));
    ck_assert_ptr_null(strstr(text, "four"));
}
END_TEST

START_TEST(long_lines_are_cut_and_end)
{
    char text[4096];
    char message[3000];

    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    ck_assert_int_eq(log_init(path, LOG_LEVEL_INFO, NULL), ERR_OK);
    log_info("%s", message);
    log_info("next");
    read_file(path, text, sizeof(text));
    ck_assert_uint_lt(strcspn(text, "\n"), 1024);
    ck_assert_ptr_nonnull(strstr(text, "next\n"));
}
END_TEST

START_TEST(reopening_follows_a_moved_file)
{
    char text[256];

    ck_assert_int_eq(log_init(path, LOG_LEVEL_INFO, NULL), ERR_OK);
    ck_assert_int_eq(rename(path, moved), 0);
    log_info("before");
    ck_assert_int_eq(log_reopen(NULL), ERR_OK);
    log_info("after");
    read_file(moved, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "before"));
    ck_assert_ptr_null(strstr(text, "after"));
    read_file(path, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "after"));
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_an_error)
{
    struct errmsg msg = {""};

    ck_assert_int_eq(log_init("/nonexistent/log", LOG_LEVEL_INFO, &msg), ERR_SYSTEM);
    ck_assert_str_eq(msg.text, "cannot open log file /nonexistent/log: No such file or directory");
}
END_TEST

START_TEST(logging_keeps_errno)
{
    ck_assert_int_eq(log_init(path, LOG_LEVEL_INFO, NULL), ERR_OK);
    errno = ENOSPC;
    log_info("a line");
    ck_assert_int_eq(errno, ENOSPC);
}
END_TEST

START_TEST(errors_carry_a_sentence)
{
    struct errmsg msg;
    char text[1000];

    ck_assert_int_eq(err_set(&msg, ERR_LIMIT, "at most %d", 5), ERR_LIMIT);
    ck_assert_str_eq(msg.text, "at most 5");
    ck_assert_int_eq(err_set(NULL, ERR_LIMIT, "ignored"), ERR_LIMIT);
    errno = EACCES;
    ck_assert_int_eq(err_set_errno(&msg, "cannot open %s", "x"), ERR_SYSTEM);
    ck_assert_str_eq(msg.text, "cannot open x: Permission denied");
    ck_assert_int_eq(errno, EACCES);
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)err_set_errno(&msg, "%s", text);
    ck_assert_uint_eq(strlen(msg.text), sizeof(msg.text) - 1);
}
END_TEST

START_TEST(every_error_has_a_name)
{
    for (int code = ERR_REMOTE; code <= ERR_OK; code++)
        ck_assert_str_ne(err_name(code), "unknown");
    ck_assert_str_eq(err_name(ERR_TIMEOUT), "timeout");
    ck_assert_str_eq(err_name(1), "unknown");
    ck_assert_str_eq(err_name(ERR_REMOTE - 1), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, make_paths, remove_files);
    tcase_add_test(tcase, a_line_has_time_level_and_role);
    tcase_add_test(tcase, levels_below_are_left_out);
    tcase_add_test(tcase, long_lines_are_cut_and_end);
    tcase_add_test(tcase, reopening_follows_a_moved_file);
    tcase_add_test(tcase, a_file_that_cannot_be_opened_is_an_error);
    tcase_add_test(tcase, logging_keeps_errno);
    tcase_add_test(tcase, errors_carry_a_sentence);
    tcase_add_test(tcase, every_error_has_a_name);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
