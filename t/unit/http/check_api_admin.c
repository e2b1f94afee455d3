/* Lists, clears, purges, statistics and metrics. */
#include "api_fixture.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static struct api_fixture f;

static void setup(void)
{
    api_open(&f, 2, NULL, NULL);
}

static void teardown(void)
{
    api_close(&f);
}

/* The body of a 200 as JSON. */
static json_t *get_json(const char *path)
{
    json_t *json;

    api_expect(&f, 200, "GET", path, "", NULL);
    api_expect_header(&f, "Content-Type", "application/json");
    json = json_loads(f.body, 0, NULL);
    ck_assert_ptr_nonnull(json);
    return json;
}

static json_int_t figure(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    ck_assert_msg(json_is_integer(value), "%s is not there", name);
    return json_integer_value(value);
}

/* In "default": two hits, one miss, two entries. */
static void some_traffic(void)
{
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/a:1", "", "one");
    api_expect(&f, 204, "PUT", "/v1/caches/default/entries/b:1", "Cache-Tags: t\r\n", "two");
    api_expect(&f, 200, "GET", "/v1/caches/default/entries/a:1", "", NULL);
    api_expect(&f, 200, "GET", "/v1/caches/default/entries/b:1", "", NULL);
    api_expect(&f, 404, "GET", "/v1/caches/default/entries/c:1", "", NULL);
}

START_TEST(list_of_caches)
{
    json_t *json = get_json("/v1/caches"), *list = json_object_get(json, "caches");

    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 1), "name")), "second");
    json_decref(json);
    json = get_json("/v1/caches/");
    json_decref(json);
    api_expect(&f, 405, "POST", "/v1/caches", "", "");
    api_expect_header(&f, "Allow", "GET, HEAD");
}
END_TEST

START_TEST(one_cache)
{
    json_t *json;

    some_traffic();
    json = get_json("/v1/caches/default");
    ck_assert_str_eq(json_string_value(json_object_get(json, "backend")), "memory");
    ck_assert_int_eq(figure(json, "entries"), 2);
    json_decref(json);
    api_expect(&f, 404, "GET", "/v1/caches/nope", "", NULL);
    api_expect(&f, 405, "PUT", "/v1/caches/default", "", "x");
    api_expect_header(&f, "Allow", "GET, HEAD, DELETE");
}
END_TEST

START_TEST(clear)
{
    some_traffic();
    api_expect(&f, 204, "PUT", "/v1/caches/second/entries/k", "", "stays");
    api_expect(&f, 200, "DELETE", "/v1/caches/default", "", NULL);
    api_expect_body(&f, "{\"done\":true}");
    fixture_expect(&f.caches, "default", "a:1", NULL);
    fixture_expect(&f.caches, "second", "k", "stays");
}
END_TEST

START_TEST(purge_by_pattern)
{
    some_traffic();
    api_expect(&f, 200, "POST", "/v1/caches/default/purge?pattern=a%3A*", "", "");
    fixture_expect(&f.caches, "default", "a:1", NULL);
    fixture_expect(&f.caches, "default", "b:1", "two");
}
END_TEST

START_TEST(purge_by_tag)
{
    some_traffic();
    api_expect(&f, 200, "POST", "/v1/caches/default/purge?tag=t", "", "");
    fixture_expect(&f.caches, "default", "a:1", "one");
    fixture_expect(&f.caches, "default", "b:1", NULL);
}
END_TEST

START_TEST(purges_that_say_too_little_or_too_much)
{
    api_expect(&f, 400, "POST", "/v1/caches/default/purge", "", "");
    api_expect(&f, 400, "POST", "/v1/caches/default/purge?pattern=", "", "");
    api_expect(&f, 400, "POST", "/v1/caches/default/purge?pattern=a&tag=b", "", "");
    api_expect(&f, 400, "POST", "/v1/caches/default/purge?pattern=%2", "", "");
    api_expect(&f, 405, "GET", "/v1/caches/default/purge?pattern=a", "", NULL);
    api_expect_header(&f, "Allow", "POST");
    api_expect(&f, 404, "POST", "/v1/caches/default/purge/x?pattern=a", "", "");
}
END_TEST

START_TEST(stats_of_the_daemon)
{
    json_t *json, *cache, *total;

    some_traffic();
    json = get_json("/v1/stats");
    cache = json_object_get(json_object_get(json, "caches"), "default");
    total = json_object_get(json, "total");
    ck_assert_str_eq(json_string_value(json_object_get(json, "node_id")), "test-node");
    for (int i = 0; i < STAT_COUNT; i++) {
        ck_assert_int_ge(figure(cache, stat_name((enum counter)i)), 0);
        ck_assert_int_ge(figure(total, stat_name((enum counter)i)), 0);
    }
    ck_assert_int_eq(figure(cache, "hits"), 2);
    ck_assert_int_eq(figure(cache, "misses"), 1);
    ck_assert_int_eq(figure(cache, "puts"), 2);
    ck_assert_int_eq(figure(cache, "entries"), 2);
    ck_assert(json_real_value(json_object_get(cache, "hit_rate")) > 0.66);
    ck_assert(json_real_value(json_object_get(cache, "hit_rate")) < 0.67);
    ck_assert_int_eq(figure(json_object_get(cache, "memory"), "size_bytes"), 8 << 20);
    ck_assert_int_eq(figure(json_object_get(total, "memory"), "size_bytes"), 16 << 20);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "workers")), 1);
    ck_assert(json_is_false(json_object_get(json_object_get(json, "redis"), "configured")));
    json_decref(json);
}
END_TEST

START_TEST(stats_of_one_cache)
{
    json_t *json;

    some_traffic();
    json = get_json("/v1/stats/default");
    ck_assert_str_eq(json_string_value(json_object_get(json, "cache")), "default");
    ck_assert_int_eq(figure(json, "hits"), 2);
    json_decref(json);
    api_expect(&f, 404, "GET", "/v1/stats/nope", "", NULL);
    api_expect(&f, 405, "DELETE", "/v1/stats", "", NULL);
}
END_TEST

static json_int_t hits(const char *cache)
{
    char path[64];
    json_t *json;
    json_int_t n;

    snprintf(path, sizeof(path), "/v1/stats/%s", cache);
    json = get_json(path);
    n = figure(json, "hits");
    json_decref(json);
    return n;
}

START_TEST(reset)
{
    some_traffic();
    api_expect(&f, 204, "POST", "/v1/stats/reset/second", "", "");
    ck_assert_int_eq(hits("default"), 2);
    api_expect(&f, 204, "POST", "/v1/stats/reset/default", "", "");
    ck_assert_int_eq(hits("default"), 0);
    fixture_expect(&f.caches, "default", "a:1", "one");
    ck_assert_int_eq(hits("default"), 1);
    api_expect(&f, 204, "POST", "/v1/stats/reset", "", "");
    ck_assert_int_eq(hits("default"), 0);
    api_expect(&f, 404, "POST", "/v1/stats/reset/nope", "", "");
    api_expect(&f, 404, "GET", "/v1/stats/reset", "", NULL);
}
END_TEST

/* Every line is a comment or "name{labels} number"; each name's HELP and TYPE come first, once. */
static void check_exposition(const char *text)
{
    char current[128] = "";
    char *copy = strdup(text), *rest = copy, *line;

    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
        char name[128], other[128], type[32];
        double value;
        int end = 0;

        if (sscanf(line, "# HELP %127s %*s", name) == 1) {
            char again[160];

            snprintf(again, sizeof(again), "# HELP %s ", name);
            ck_assert_ptr_null(strstr(strstr(text, again) + 1, again));
            snprintf(current, sizeof(current), "%s", name);
        } else if (sscanf(line, "# TYPE %127s %31s", other, type) == 2) {
            ck_assert_str_eq(other, current);
            ck_assert(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0);
            ck_assert_int_eq(strcmp(type, "counter") == 0,
                             strcmp(current + strlen(current) - 6, "_total") == 0);
        } else {
            ck_assert_msg(sscanf(line, "%127[a-z0-9_]%n", name, &end) == 1, "\"%s\"", line);
            ck_assert_str_eq(name, current);
            if (line[end] == '{')
                end += (int)strcspn(line + end, "}") + 1;
            ck_assert_msg(sscanf(line + end, " %lf%n", &value, &end) == 1, "\"%s\"", line);
        }
    }
    free(copy);
}

START_TEST(metrics)
{
    some_traffic();
    api_expect(&f, 200, "GET", "/metrics", "", NULL);
    api_expect_header(&f, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    check_exposition(f.body);
    ck_assert_ptr_nonnull(strstr(f.body, "\ncachetastic_hits_total{cache=\"default\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(f.body, "\ncachetastic_hits_total{cache=\"second\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(f.body, "\ncachetastic_entries{cache=\"default\"} 2\n"));
    ck_assert_ptr_nonnull(
        strstr(f.body, "\ncachetastic_memory_bytes{cache=\"default\"} 8388608\n"));
    ck_assert_ptr_nonnull(strstr(f.body, "\ncachetastic_worker_requests_total{slot=\"0\"} 0\n"));
    ck_assert_ptr_null(strstr(f.body, "redis_"));
    api_expect(&f, 405, "POST", "/metrics", "", "");
}
END_TEST

static void odd_name(struct config *config)
{
    static char name[] = "a\"b\\c";

    config->caches[1].name = name;
}

START_TEST(labels_are_escaped)
{
    api_open(&f, 2, NULL, odd_name);
    api_expect(&f, 200, "GET", "/metrics", "", NULL);
    ck_assert_ptr_nonnull(strstr(f.body, "cachetastic_hits_total{cache=\"a\\\"b\\\\c\"} 0\n"));
    api_close(&f);
}
END_TEST

START_TEST(redis_figures)
{
    json_t *json, *redis;

    api_open(&f, 1, "unix:/nonexistent/redis.sock", NULL);
    atomic_store(&f.caches.heritage.board->invalidation, 1);
    json = get_json("/v1/stats");
    redis = json_object_get(json, "redis");
    ck_assert(json_is_true(json_object_get(redis, "configured")));
    ck_assert(json_is_true(json_object_get(redis, "invalidation_confirmed")));
    ck_assert_str_eq(json_string_value(json_object_get(redis, "breaker")), "closed");
    ck_assert_int_eq(figure(redis, "journal"), 0);
    ck_assert_int_eq(figure(json_object_get(redis, "pool"), "answered"), 0);
    json_decref(json);
    api_expect(&f, 200, "GET", "/metrics", "", NULL);
    check_exposition(f.body);
    ck_assert_ptr_nonnull(strstr(f.body, "\ncachetastic_redis_journal_keys 0\n"));
    api_close(&f);
}
END_TEST

START_TEST(unknown_paths)
{
    static const char *const paths[] = {"/",
                                        "/v1",
                                        "/v1/",
                                        "/v1/nope",
                                        "/v1/caches/default/nope",
                                        "/v1/stats/default/x",
                                        "/healthz/",
                                        "/v2/stats",
                                        "/metrics/"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        api_expect(&f, 404, "GET", paths[i], "", NULL);
        api_expect_error(&f, "");
    }
}
END_TEST

START_TEST(http10_keeps_alive_when_asked)
{
    static const char stay[] = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    static const char leave[] = "GET /healthz HTTP/1.0\r\n\r\n";

    ck_assert_int_eq(api_ask(&f, stay, sizeof(stay) - 1), 200);
    api_expect_header(&f, "Connection", "keep-alive");
    ck_assert_int_eq(api_ask(&f, leave, sizeof(leave) - 1), 200);
    api_expect_header(&f, "Connection", "close");
}
END_TEST

START_TEST(refusals_of_broken_requests)
{
    struct buf out = {0};

    ck_assert_int_eq(api_refuse(&out, 431, "the headers are \"big\""), ERR_OK);
    ck_assert_int_eq(buf_append(&out, "", 1), ERR_OK);
    ck_assert_int_eq(strncmp(buf_head(&out), "HTTP/1.1 431 ", 13), 0);
    ck_assert_ptr_nonnull(strstr(buf_head(&out), "Connection: close\r\n"));
    ck_assert_ptr_nonnull(
        strstr(buf_head(&out), "\r\n\r\n{\"error\":\"the headers are \\\"big\\\"\"}"));
    buf_fini(&out);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("api_admin");
    TCase *tc = tcase_create("two memory caches");
    TCase *own = tcase_create("other set-ups");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, list_of_caches);
    tcase_add_test(tc, one_cache);
    tcase_add_test(tc, clear);
    tcase_add_test(tc, purge_by_pattern);
    tcase_add_test(tc, purge_by_tag);
    tcase_add_test(tc, purges_that_say_too_little_or_too_much);
    tcase_add_test(tc, stats_of_the_daemon);
    tcase_add_test(tc, stats_of_one_cache);
    tcase_add_test(tc, reset);
    tcase_add_test(tc, metrics);
    tcase_add_test(tc, unknown_paths);
    tcase_add_test(tc, http10_keeps_alive_when_asked);
    suite_add_tcase(s, tc);
    tcase_add_test(own, labels_are_escaped);
    tcase_add_test(own, redis_figures);
    tcase_add_test(own, refusals_of_broken_requests);
    suite_add_tcase(s, own);
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
