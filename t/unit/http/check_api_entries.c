#include "api_fixture.h"

#include "common/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define K "/v1/caches/default/entries/k"

static struct api_fixture f;

static void prepare(struct config *config)
{
    config->limits.value_bytes = 10000;
    config->caches[1].ttl_ms = 60000;
}

static void setup(void)
{
    api_open(&f, 2, NULL, prepare);
}

static void teardown(void)
{
    api_close(&f);
}

START_TEST(put_get_delete)
{
    api_expect(&f, 404, "GET", K, "", NULL);
    api_expect_error(&f, "no such key");
    api_expect(&f, 204, "PUT", K, "", "hello");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_body(&f, "hello");
    ck_assert(f.keep_alive);
    api_expect(&f, 204, "DELETE", K, "", NULL);
    api_expect(&f, 404, "DELETE", K, "", NULL);
    api_expect(&f, 404, "GET", K, "", NULL);
    ck_assert(!f.waited);
}
END_TEST

START_TEST(empty_values)
{
    api_expect(&f, 204, "PUT", K, "", "");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_body(&f, "");
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/none", "", NULL);
    api_expect(&f, 200, "GET", "/v1/caches/default/entries/none", "", NULL);
}
END_TEST

START_TEST(binary_values)
{
    static const char put[] =
        "PUT " K " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\na\0\r\n";

    ck_assert_int_eq(api_ask(&f, put, sizeof(put) - 1), 204);
    api_expect(&f, 200, "GET", K, "", NULL);
    ck_assert_uint_eq(f.body_len, 4);
    ck_assert_mem_eq(f.body, "a\0\r\n", 4);
}
END_TEST

START_TEST(head_is_get_without_the_body)
{
    char etag[64];

    api_expect(&f, 204, "PUT", K, "Content-Type: text/plain\r\n", "hello");
    api_expect(&f, 200, "GET", K, "", NULL);
    snprintf(etag, sizeof(etag), "%s", api_response_header(&f, "ETag"));
    api_expect(&f, 200, "HEAD", K, "", NULL);
    api_expect_header(&f, "Content-Length", "5");
    api_expect_header(&f, "Content-Type", "text/plain");
    api_expect_header(&f, "ETag", etag);
    api_expect(&f, 404, "HEAD", "/v1/caches/default/entries/none", "", NULL);
}
END_TEST

START_TEST(keys_are_what_follows_entries)
{
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/a/b//c%2Fd%20%00e", "", "v");
    fixture_expect(&f.caches, "default", "a/b//c/d ", NULL);
    api_expect(&f, 200, "GET", "/v1/caches/default/entries/a/b//c/d%20%00%65", "", NULL);
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/a/b", "", "v2");
    fixture_expect(&f.caches, "default", "a/b", "v2");
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/a+b", "", "plus");
    fixture_expect(&f.caches, "default", "a+b", "plus");
    api_expect(&f, 400, "PUT", "/v1/caches/default/entries/", "", "v");
    api_expect(&f, 400, "GET", "/v1/caches/default/entries", "", NULL);
    api_expect(&f, 400, "PUT", "/v1/caches/default/entries/%zz", "", "v");
    api_expect_error(&f, "percent");
}
END_TEST

START_TEST(caches_are_apart)
{
    api_expect(&f, 204, "PUT", "/v1/caches/second/entries/k", "", "two");
    api_expect(&f, 404, "GET", K, "", NULL);
    api_expect(&f, 200, "GET", "/v1/caches/sec%6fnd/entries/k", "", NULL);
    api_expect_body(&f, "two");
    api_expect(&f, 404, "PUT", "/v1/caches/nope/entries/k", "", "v");
    api_expect_error(&f, "no cache of this name");
}
END_TEST

START_TEST(safety_headers)
{
    api_expect(&f, 204, "PUT", K, "Content-Type: text/html\r\n", "<script>");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_header(&f, "X-Content-Type-Options", "nosniff");
    api_expect_header(&f, "Content-Security-Policy", "sandbox");
    api_expect_header(&f, "Content-Type", "text/html");
    ck_assert_ptr_nonnull(api_response_header(&f, "Last-Modified"));
    api_expect_header(&f, "Age", "0");
}
END_TEST

START_TEST(content_types)
{
    char header[300];

    api_expect(&f, 204, "PUT", K, "", "v");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_header(&f, "Content-Type", "application/octet-stream");
    /* What curl --data sends says nothing about the data. */
    api_expect(&f, 204, "PUT", K, "Content-Type: application/x-www-form-urlencoded\r\n", "v");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_header(&f, "Content-Type", "application/octet-stream");
    snprintf(header, sizeof(header), "Content-Type: a/%0*d\r\n", 125, 0);
    api_expect(&f, 204, "PUT", K, header, "v");
    api_expect(&f, 200, "GET", K, "", NULL);
    ck_assert_uint_eq(strlen(api_response_header(&f, "Content-Type")), 127);
    snprintf(header, sizeof(header), "Content-Type: a/%0*d\r\n", 126, 0);
    api_expect(&f, 400, "PUT", K, header, "v");
    api_expect_error(&f, "127 bytes");
}
END_TEST

/* The remaining time that a GET reports, in ms; -1 for none. */
static long long remaining(const char *path)
{
    const char *text;

    api_expect(&f, 200, "GET", path, "", NULL);
    text = api_response_header(&f, "Cache-TTL-Remaining");
    return text == NULL ? -1 : strtoll(text, NULL, 10);
}

static void expect_ttl(const char *header, const char *query, long long ttl_ms)
{
    char path[128];
    long long left;

    snprintf(path, sizeof(path), K "%s", query);
    api_expect(&f, 204, "PUT", path, header, "v");
    left = remaining(K);
    if (ttl_ms < 0)
        ck_assert_int_eq(left, -1);
    else
        ck_assert_msg(left <= ttl_ms && left > ttl_ms - 5000, "%lld of %lld ms left", left, ttl_ms);
}

START_TEST(ttl_forms)
{
    expect_ttl("Cache-TTL: 10s\r\n", "", 10000);
    expect_ttl("Cache-TTL: 9500ms\r\n", "", 9500);
    expect_ttl("Cache-TTL: 20\r\n", "", 20000);
    expect_ttl("Cache-TTL: 5m\r\n", "", 300000);
    expect_ttl("", "?ttl=15s", 15000);
    expect_ttl("Cache-TTL: 10s\r\n", "?ttl=99s", 10000);
    expect_ttl("Cache-TTL: 0\r\n", "", -1);
    expect_ttl("", "", -1);
}
END_TEST

START_TEST(bad_ttls)
{
    static const char *const bad[] = {
        "", "x", "-1", "10 s", "1.5s", "10w", "9999999999999999999", "4000d", "400000000000"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char header[64];

        snprintf(header, sizeof(header), "Cache-TTL: %s\r\n", bad[i]);
        api_expect(&f, 400, "PUT", K, header, "v");
        api_expect_error(&f, "TTL");
    }
    fixture_expect(&f.caches, "default", "k", NULL);
}
END_TEST

START_TEST(the_cache_has_a_default_ttl)
{
    long long left;

    api_expect(&f, 204, "PUT", "/v1/caches/second/entries/k", "", "v");
    left = remaining("/v1/caches/second/entries/k");
    ck_assert(left > 55000 && left <= 60000);
    api_expect(&f, 204, "PUT", "/v1/caches/second/entries/k", "Cache-TTL: 0\r\n", "v");
    ck_assert_int_eq(remaining("/v1/caches/second/entries/k"), -1);
}
END_TEST

START_TEST(entries_expire)
{
    uint64_t until_ms = clock_now_ms() + 60;

    api_expect(&f, 204, "PUT", K, "Cache-TTL: 50ms\r\n", "v");
    while (clock_now_ms() < until_ms)
        ;
    api_expect(&f, 404, "GET", K, "", NULL);
}
END_TEST

START_TEST(entity_tags)
{
    char etag[64], header[160];

    api_expect(&f, 204, "PUT", K, "", "hello");
    api_expect(&f, 200, "GET", K, "", NULL);
    snprintf(etag, sizeof(etag), "%s", api_response_header(&f, "ETag"));
    ck_assert_str_eq(etag, "\"a430d84680aabd0b\""); /* FNV-1a of "hello" */
    snprintf(header, sizeof(header), "If-None-Match: \"x\", W/%s\r\n", etag);
    api_expect(&f, 304, "GET", K, header, NULL);
    api_expect_header(&f, "ETag", etag);
    api_expect(&f, 304, "HEAD", K, header, NULL);
    api_expect(&f, 304, "GET", K, "If-None-Match: *\r\n", NULL);
    api_expect(&f, 204, "PUT", K, "", "other");
    api_expect(&f, 200, "GET", K, header, NULL);
    api_expect_body(&f, "other");
}
END_TEST

START_TEST(conditional_writes)
{
    api_expect(&f, 412, "PUT", K, "If-Match: *\r\n", "v");
    fixture_expect(&f.caches, "default", "k", NULL);
    api_expect(&f, 204, "PUT", K, "If-None-Match: *\r\nContent-Type: text/plain\r\n", "first");
    api_expect(&f, 412, "PUT", K, "If-None-Match: *\r\n", "second");
    api_expect_error(&f, "already");
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_body(&f, "first");
    api_expect_header(&f, "Content-Type", "text/plain");
    api_expect(&f, 204, "PUT", K, "If-Match: *\r\n", "third");
    fixture_expect(&f.caches, "default", "k", "third");
    api_expect(&f, 204, "DELETE", K, "If-Match: *\r\n", NULL);
    api_expect(&f, 412, "DELETE", K, "If-Match: *\r\n", NULL);
}
END_TEST

START_TEST(conditions_that_are_not_offered)
{
    api_expect(&f, 501, "PUT", K, "If-Match: \"x\"\r\n", "v");
    api_expect(&f, 501, "PUT", K, "If-None-Match: \"x\"\r\n", "v");
    api_expect(&f, 501, "DELETE", K, "If-Match: \"x\"\r\n", NULL);
    api_expect(&f, 400, "PUT", K, "If-Match: *\r\nIf-None-Match: *\r\n", "v");
    api_expect(&f, 400, "DELETE", K, "If-None-Match: *\r\n", NULL);
    fixture_expect(&f.caches, "default", "k", NULL);
}
END_TEST

START_TEST(tags)
{
    struct slice blue = SLICE_LIT("blue");

    api_expect(&f, 204, "PUT", K, "Cache-Tags: red , ,blue\r\n", "v");
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/other", "Cache-Tags: green\r\n", "v");
    ck_assert_int_eq(
        cache_purge_tag(caches_find(f.caches.caches, SLICE_LIT("default")), blue, NULL), CACHE_OK);
    api_expect(&f, 404, "GET", K, "", NULL);
    api_expect(&f, 200, "GET", "/v1/caches/default/entries/other", "", NULL);
}
END_TEST

START_TEST(too_many_tags)
{
    char header[512] = "Cache-Tags: ";

    for (int i = 0; i < 64; i++)
        strcat(header, "t,");
    strcat(header, "\r\n");
    api_expect(&f, 204, "PUT", K, header, "v");
    header[strlen(header) - 2] = '\0';
    strcat(header, "t\r\n");
    api_expect(&f, 400, "PUT", K, header, "v");
    api_expect_error(&f, "64 tags");
}
END_TEST

START_TEST(limits_are_named)
{
    char path[1200] = "/v1/caches/default/entries/";
    char *body = calloc(1, 10002);
    size_t prefix = strlen(path);

    memset(body, 'v', 10000);
    api_expect(&f, 204, "PUT", K, "", body);
    body[10000] = 'v';
    api_expect(&f, 413, "PUT", K, "", body);
    api_expect_error(&f, "limits.value (10000 bytes");
    free(body);

    memset(path + prefix, 'k', 1024);
    api_expect(&f, 204, "PUT", path, "", "v");
    path[prefix + 1024] = 'k';
    api_expect(&f, 414, "GET", path, "", NULL);
    api_expect_error(&f, "limits.key (1024 bytes)");
}
END_TEST

START_TEST(other_methods)
{
    api_expect(&f, 405, "POST", K, "", "v");
    api_expect_header(&f, "Allow", "GET, HEAD, PUT, DELETE");
    api_expect(&f, 405, "PATCH", K, "", "v");
    api_expect(&f, 204, "OPTIONS", K, "", NULL);
    api_expect_header(&f, "Allow", "GET, HEAD, PUT, DELETE");
}
END_TEST

/* A cache whose Redis cannot be reached: everything waits, then falls back or fails. */

static void setup_backup(void)
{
    api_open(&f, 1, "unix:/nonexistent/redis.sock", NULL);
}

static void no_backup(struct config *config)
{
    config->caches[0].backup = BACKUP_NONE;
}

static void setup_no_backup(void)
{
    api_open(&f, 1, "unix:/nonexistent/redis.sock", no_backup);
}

START_TEST(pending_requests_are_answered_later)
{
    char etag[64], header[160];

    api_expect(&f, 204, "PUT", K, "Content-Type: text/plain\r\n", "hello");
    ck_assert(f.waited);
    api_expect(&f, 200, "GET", K, "", NULL);
    api_expect_body(&f, "hello");
    snprintf(etag, sizeof(etag), "%s", api_response_header(&f, "ETag"));
    snprintf(header, sizeof(header), "If-None-Match: %s\r\n", etag);
    api_expect(&f, 304, "GET", K, header, NULL);
    api_expect(&f, 404, "GET", "/v1/caches/default/entries/none", "", NULL);
    api_expect(&f, 204, "DELETE", K, "", NULL);
}
END_TEST

START_TEST(decisions_of_redis_are_not_guessed)
{
    api_expect(&f, 503, "PUT", K, "If-None-Match: *\r\n", "v");
    api_expect_header(&f, "Retry-After", "1");
    api_expect_error(&f, "Redis");
}
END_TEST

START_TEST(without_backup_redis_is_needed)
{
    api_expect(&f, 503, "PUT", K, "", "v");
    api_expect_header(&f, "Retry-After", "1");
    api_expect(&f, 503, "GET", K, "", NULL);
    api_expect_error(&f, "Redis");
}
END_TEST

static void add_memory(Suite *s)
{
    TCase *tc = tcase_create("memory");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, put_get_delete);
    tcase_add_test(tc, empty_values);
    tcase_add_test(tc, binary_values);
    tcase_add_test(tc, head_is_get_without_the_body);
    tcase_add_test(tc, keys_are_what_follows_entries);
    tcase_add_test(tc, caches_are_apart);
    tcase_add_test(tc, safety_headers);
    tcase_add_test(tc, content_types);
    tcase_add_test(tc, ttl_forms);
    tcase_add_test(tc, bad_ttls);
    tcase_add_test(tc, the_cache_has_a_default_ttl);
    tcase_add_test(tc, entries_expire);
    tcase_add_test(tc, entity_tags);
    tcase_add_test(tc, conditional_writes);
    tcase_add_test(tc, conditions_that_are_not_offered);
    tcase_add_test(tc, tags);
    tcase_add_test(tc, too_many_tags);
    tcase_add_test(tc, limits_are_named);
    tcase_add_test(tc, other_methods);
    suite_add_tcase(s, tc);
}

static Suite *suite(void)
{
    Suite *s = suite_create("api_entries");
    TCase *backup = tcase_create("Redis down, memory backup");
    TCase *none = tcase_create("Redis down, no backup");

    add_memory(s);
    tcase_add_checked_fixture(backup, setup_backup, teardown);
    tcase_add_test(backup, pending_requests_are_answered_later);
    tcase_add_test(backup, decisions_of_redis_are_not_guessed);
    suite_add_tcase(s, backup);
    tcase_add_checked_fixture(none, setup_no_backup, teardown);
    tcase_add_test(none, without_backup_redis_is_needed);
    suite_add_tcase(s, none);
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
