/* Named caches with backend "memory": everything at once, in shared memory. */
#include "cache_fixture.h"

#include "common/clock.h"

#include <check.h>
#include <stdlib.h>

static struct cache_fixture f;

static void setup(void)
{
    fixture_open(&f, 2, NULL, NULL);
}

static void teardown(void)
{
    fixture_close(&f);
}

static uint64_t counter(enum counter which)
{
    struct cache_stats stats;

    cache_stats(caches_find(f.caches, SLICE_LIT("default")), &stats);
    return stats.counter[which];
}

START_TEST(get_returns_what_put_stored)
{
    fixture_expect(&f, "default", "k", NULL);
    ck_assert_int_eq(fixture_put(&f, "default", "k", "hello", NULL).status, CACHE_OK);
    fixture_expect(&f, "default", "k", "hello");
    ck_assert_int_eq(fixture_put(&f, "default", "k", "", NULL).status, CACHE_OK);
    fixture_expect(&f, "default", "k", "");
    ck_assert_uint_eq(counter(STAT_HITS), 2);
    ck_assert_uint_eq(counter(STAT_L1_HITS), 2);
    ck_assert_uint_eq(counter(STAT_MISSES), 1);
    ck_assert_uint_eq(counter(STAT_PUTS), 2);
}
END_TEST

START_TEST(caches_are_isolated)
{
    fixture_put(&f, "default", "k", "one", NULL);
    fixture_put(&f, "second", "k", "two", NULL);
    fixture_expect(&f, "default", "k", "one");
    ck_assert_int_eq(fixture_clear(&f, "default").status, CACHE_OK);
    fixture_expect(&f, "default", "k", NULL);
    fixture_expect(&f, "second", "k", "two");
    ck_assert_int_eq(fixture_count(&f, "default").integer, 0);
    ck_assert_int_eq(fixture_count(&f, "second").integer, 1);
}
END_TEST

START_TEST(delete_says_whether_it_was_there)
{
    fixture_put(&f, "default", "k", "v", NULL);
    ck_assert_int_eq(fixture_delete(&f, "default", "k").status, CACHE_OK);
    ck_assert_int_eq(fixture_delete(&f, "default", "k").status, CACHE_MISS);
    ck_assert_uint_eq(counter(STAT_DELETES), 1);
}
END_TEST

START_TEST(entries_expire)
{
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 40};

    fixture_put(&f, "default", "k", "v", &attrs);
    fixture_expect(&f, "default", "k", "v");
    while (clock_now_ms() < attrs.expires_ms)
        ;
    fixture_expect(&f, "default", "k", NULL);
}
END_TEST

START_TEST(attributes_come_back)
{
    struct cache_attrs attrs = {
        .content_type = SLICE_LIT("text/plain"), .client_flags = 7, .created_wall_ms = 1234};
    struct fixture_result result;

    fixture_put(&f, "default", "k", "v", &attrs);
    result = fixture_get(&f, "default", "k");
    ck_assert_str_eq(result.info.content_type, "text/plain");
    ck_assert_uint_eq(result.info.client_flags, 7);
    ck_assert_uint_eq(result.info.created_wall_ms, 1234);
    fixture_result_fini(&result);
}
END_TEST

START_TEST(purge_by_pattern_spares_the_rest)
{
    fixture_put(&f, "default", "user:1", "a", NULL);
    fixture_put(&f, "default", "user:2", "b", NULL);
    fixture_put(&f, "default", "item:1", "c", NULL);
    ck_assert_int_eq(fixture_purge(&f, "default", "user:*").status, CACHE_OK);
    fixture_expect(&f, "default", "user:1", NULL);
    fixture_expect(&f, "default", "user:2", NULL);
    fixture_expect(&f, "default", "item:1", "c");
    fixture_put(&f, "default", "user:1", "new", NULL);
    fixture_expect(&f, "default", "user:1", "new");
}
END_TEST

START_TEST(purge_by_tag_spares_the_rest)
{
    struct slice red = SLICE_LIT("red"), blue = SLICE_LIT("blue");
    struct cache_attrs with_red = {.tags = &red, .n_tags = 1},
                       with_blue = {.tags = &blue, .n_tags = 1};
    struct cache *cache = caches_find(f.caches, SLICE_LIT("default"));

    fixture_put(&f, "default", "a", "1", &with_red);
    fixture_put(&f, "default", "b", "2", &with_blue);
    ck_assert_int_eq(cache_purge_tag(cache, red, NULL), CACHE_OK);
    fixture_expect(&f, "default", "a", NULL);
    fixture_expect(&f, "default", "b", "2");
}
END_TEST

START_TEST(a_pattern_over_the_limit_is_refused)
{
    char pattern[400];
    struct fixture_result result;

    memset(pattern, 'a', sizeof(pattern) - 1);
    pattern[sizeof(pattern) - 1] = '\0';
    result = fixture_purge(&f, "default", pattern);
    ck_assert_int_eq(result.status, CACHE_REFUSED);
    ck_assert_ptr_nonnull(strstr(result.error, "240"));
}
END_TEST

START_TEST(limits_are_enforced)
{
    struct cache *cache = caches_find(f.caches, SLICE_LIT("default"));
    size_t too_long = zone_value_max(cache_zone(cache)) + 1;
    char *big = calloc(1, too_long);
    char key[1100] = {0};
    struct cache_attrs none = {0};

    ck_assert_int_eq(cache_put(cache, SLICE_LIT("k"), slice_make(big, too_long), &none, NULL),
                     CACHE_TOO_LARGE);
    ck_assert_int_eq(cache_put(cache, slice_make(key, 1025), SLICE_LIT("v"), &none, NULL),
                     CACHE_TOO_LARGE);
    ck_assert_int_eq(cache_put(cache, slice_make(key, 1024), SLICE_LIT("v"), &none, NULL),
                     CACHE_OK);
    ck_assert_int_eq(cache_put(cache, SLICE_LIT("k"), slice_make(big, too_long - 1), &none, NULL),
                     CACHE_OK);
    free(big);
}
END_TEST

/* ---- read-modify-write ---- */

START_TEST(conditions)
{
    struct cache_change nx = {
        .kind = CHANGE_SET, .when = CHANGE_IF_ABSENT, .value = SLICE_LIT("1")};
    struct cache_change xx = {
        .kind = CHANGE_SET, .when = CHANGE_IF_PRESENT, .value = SLICE_LIT("2")};

    ck_assert_int_eq(fixture_change(&f, "default", "k", &xx).status, CACHE_MISS);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &nx).status, CACHE_OK);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &nx).status, CACHE_MISS);
    fixture_expect(&f, "default", "k", "1");
    ck_assert_int_eq(fixture_change(&f, "default", "k", &xx).status, CACHE_OK);
    fixture_expect(&f, "default", "k", "2");
}
END_TEST

START_TEST(set_gives_the_older_value)
{
    struct cache_change set = {.kind = CHANGE_SET, .want_old = true, .value = SLICE_LIT("new")};
    struct fixture_result result = fixture_change(&f, "default", "k", &set);

    ck_assert_int_eq(result.status, CACHE_OK);
    ck_assert(!result.found);
    set.value = SLICE_LIT("newer");
    result = fixture_change(&f, "default", "k", &set);
    ck_assert_str_eq(buf_head(&result.value), "new");
    fixture_result_fini(&result);
    fixture_expect(&f, "default", "k", "newer");
}
END_TEST

START_TEST(counters)
{
    struct cache_change incr = {.kind = CHANGE_INCR, .delta = 5};
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 60000};
    struct fixture_result result;

    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).integer, 5);
    fixture_put(&f, "default", "n", "10", &attrs);
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).integer, 15);
    result = fixture_get(&f, "default", "n");
    ck_assert_str_eq(buf_head(&result.value), "15");
    ck_assert_uint_eq(result.info.expires_ms, attrs.expires_ms);
    fixture_result_fini(&result);
    fixture_put(&f, "default", "n", "9223372036854775807", NULL);
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).status, CACHE_OVERFLOW);
    fixture_put(&f, "default", "n", "ten", NULL);
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).status, CACHE_NOT_INTEGER);
    fixture_expect(&f, "default", "n", "ten");
}
END_TEST

START_TEST(append_keeps_expiry_and_counts)
{
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 60000};
    struct cache_change append = {.kind = CHANGE_APPEND, .value = SLICE_LIT("def")};
    struct fixture_result result;

    fixture_put(&f, "default", "k", "abc", &attrs);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &append).integer, 6);
    result = fixture_get(&f, "default", "k");
    ck_assert_str_eq(buf_head(&result.value), "abcdef");
    ck_assert_uint_eq(result.info.expires_ms, attrs.expires_ms);
    fixture_result_fini(&result);
}
END_TEST

START_TEST(expiry_changes_alone)
{
    uint64_t later = clock_now_ms() + 60000;
    struct cache_change expire = {.kind = CHANGE_EXPIRE, .attrs = {.expires_ms = later}};
    struct cache_change persist = {.kind = CHANGE_EXPIRE};
    struct fixture_result result;

    ck_assert_int_eq(fixture_change(&f, "default", "k", &expire).status, CACHE_MISS);
    fixture_put(&f, "default", "k", "v", NULL);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &persist).status, CACHE_MISS);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &expire).status, CACHE_OK);
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_eq(result.info.expires_ms, later);
    fixture_result_fini(&result);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &persist).status, CACHE_OK);
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_eq(result.info.expires_ms, 0);
    fixture_result_fini(&result);
}
END_TEST

START_TEST(getdel_gives_and_removes)
{
    struct cache_change del = {.kind = CHANGE_DELETE, .want_old = true};
    struct fixture_result result;

    fixture_put(&f, "default", "k", "v", NULL);
    result = fixture_change(&f, "default", "k", &del);
    ck_assert_int_eq(result.status, CACHE_OK);
    ck_assert_str_eq(buf_head(&result.value), "v");
    fixture_result_fini(&result);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &del).status, CACHE_MISS);
}
END_TEST

START_TEST(reset_begins_counting_anew)
{
    fixture_put(&f, "default", "k", "v", NULL);
    fixture_expect(&f, "default", "k", "v");
    cache_stats_reset(caches_find(f.caches, SLICE_LIT("default")));
    ck_assert_uint_eq(counter(STAT_HITS), 0);
    ck_assert_uint_eq(counter(STAT_PUTS), 0);
    fixture_expect(&f, "default", "k", "v");
    ck_assert_uint_eq(counter(STAT_HITS), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache: memory");
    TCase *tc = tcase_create("memory");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, get_returns_what_put_stored);
    tcase_add_test(tc, caches_are_isolated);
    tcase_add_test(tc, delete_says_whether_it_was_there);
    tcase_add_test(tc, entries_expire);
    tcase_add_test(tc, attributes_come_back);
    tcase_add_test(tc, purge_by_pattern_spares_the_rest);
    tcase_add_test(tc, purge_by_tag_spares_the_rest);
    tcase_add_test(tc, a_pattern_over_the_limit_is_refused);
    tcase_add_test(tc, limits_are_enforced);
    tcase_add_test(tc, conditions);
    tcase_add_test(tc, set_gives_the_older_value);
    tcase_add_test(tc, counters);
    tcase_add_test(tc, append_keeps_expiry_and_counts);
    tcase_add_test(tc, expiry_changes_alone);
    tcase_add_test(tc, getdel_gives_and_removes);
    tcase_add_test(tc, reset_begins_counting_anew);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
