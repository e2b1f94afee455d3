#include "shm/soft.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct soft *soft;

static void setup(void)
{
    struct errmsg msg;

    ck_assert_msg(soft_create(2, &soft, &msg) == ERR_OK, "%s", msg.text);
}

static void teardown(void)
{
    soft_destroy(soft, 2);
}

static bool purged(const char *key, const char *tags, uint64_t stored_ms)
{
    return soft_purged(soft, slice_cstr(key), slice_cstr(tags), stored_ms);
}

START_TEST(patterns)
{
    char longest[SOFT_PATTERN_MAX + 1];

    ck_assert(!purged("http://a/x", "", 1));
    ck_assert(soft_purge_pattern(soft, SLICE_LIT("http://a/*"), 100));
    ck_assert(purged("http://a/x", "", 99));
    ck_assert(purged("http://a/x", "", 100)); /* the same millisecond: asked about */
    ck_assert(!purged("http://a/x", "", 101));
    ck_assert(!purged("http://b/x", "", 99));
    ck_assert(!soft_purged(soft_at(soft, 1), SLICE_LIT("http://a/x"), SLICE_LIT(""), 99));
    memset(longest, '*', sizeof(longest));
    ck_assert(soft_purge_pattern(soft, slice_make(longest, SOFT_PATTERN_MAX), 200));
    ck_assert(!soft_purge_pattern(soft, slice_make(longest, sizeof(longest)), 300));
    ck_assert(purged("b", "", 200) && !purged("b", "", 201));
}
END_TEST

START_TEST(tags)
{
    soft_purge_tag(soft, SLICE_LIT("red"), 100);
    ck_assert(purged("k", "red", 100));
    ck_assert(purged("k", " blue,red\tgreen", 50));
    ck_assert(!purged("k", "red", 101));
    ck_assert(!purged("k", "redder blue", 50));
    ck_assert(!purged("k", "", 50));
    soft_purge_tag(soft, SLICE_LIT("red"), 40); /* an older message comes late */
    ck_assert(purged("k", "red", 90));
}
END_TEST

/* What is overwritten in the ring stays purged, though more does then. */
START_TEST(nothing_is_lost_in_a_full_ring)
{
    char pattern[32];

    ck_assert(soft_purge_pattern(soft, SLICE_LIT("first*"), 100));
    for (uint64_t i = 1; i <= 1000; i++) {
        snprintf(pattern, sizeof(pattern), "p%llu", (unsigned long long)i);
        ck_assert(soft_purge_pattern(soft, slice_cstr(pattern), 100 + i));
    }
    ck_assert(purged("first1", "", 100));
    ck_assert(purged("p1000", "", 1100));
    ck_assert(!purged("other", "", 1000));
    ck_assert(purged("p1", "", 101));
}
END_TEST

START_TEST(other_processes_see_it)
{
    int status;

    if (fork() == 0)
        _exit(soft_purge_pattern(soft, SLICE_LIT("x*"), 10) ? 0 : 1);
    wait(&status);
    ck_assert_int_eq(status, 0);
    ck_assert(purged("xy", "", 10));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("soft");
    TCase *tcase = tcase_create("soft");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, patterns);
    tcase_add_test(tcase, tags);
    tcase_add_test(tcase, nothing_is_lost_in_a_full_ring);
    tcase_add_test(tcase, other_processes_see_it);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
