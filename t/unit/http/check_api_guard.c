#include "api_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define K "/v1/caches/default/entries/k"

static struct api_fixture f;

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void with_token(struct config *config)
{
    config->api_token = unconst("secret");
}

static void opened(struct config *config)
{
    config->api_open = true;
}

/* TCP from a loopback address, on the built-in defaults. */
static void setup_open(void)
{
    api_open(&f, 1, NULL, opened);
    f.local = false;
    f.loopback = true;
}

static void setup_token(void)
{
    api_open(&f, 1, NULL, with_token);
    f.local = false;
    f.loopback = true;
}

static void setup_closed(void)
{
    api_open(&f, 1, NULL, NULL);
    f.local = false;
    f.loopback = true;
}

static void teardown(void)
{
    api_close(&f);
}

/* A GET or PUT with this Host and these headers. */
static int ask(const char *method, const char *host, const char *headers)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, K, host,
                       headers);

    return api_ask(&f, text, (size_t)len);
}

START_TEST(known_hosts)
{
    static const char *const known[] = {"localhost",     "LocalHost:8080",  "localhost.",
                                        "127.0.0.1",     "127.0.0.1:8080",  "192.168.1.7",
                                        "[::1]",         "[::1]:8080",      "[fe80::1]",
                                        "cache.example", "CACHE.example:80"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        ck_assert_msg(ask("GET", known[i], "") == 404, "%s: %d", known[i], f.status);
}
END_TEST

START_TEST(foreign_hosts)
{
    static const char *const foreign[] = {"evil.example",
                                          "localhost.evil.example",
                                          "127.0.0.1.evil.example",
                                          "xcache.example",
                                          "",
                                          "[::1",
                                          "1.2.3",
                                          "127.0.0.1@evil"};

    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        ck_assert_msg(ask("GET", foreign[i], "") == 421, "%s: %d", foreign[i], f.status);
        api_expect_error(&f, "api_hosts");
    }
}
END_TEST

START_TEST(absolute_targets_name_the_host)
{
    static const char good[] = "GET http://localhost" K " HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    static const char bad[] = "GET http://evil.example" K " HTTP/1.1\r\nHost: localhost\r\n\r\n";

    ck_assert_int_eq(api_ask(&f, good, sizeof(good) - 1), 404);
    ck_assert_int_eq(api_ask(&f, bad, sizeof(bad) - 1), 421);
}
END_TEST

START_TEST(unix_sockets_take_any_host)
{
    f.local = true;
    ck_assert_int_eq(ask("GET", "whatever", ""), 404);
}
END_TEST

START_TEST(writes_from_other_sites_are_refused)
{
    ck_assert_int_eq(ask("PUT", "localhost:8080", "Sec-Fetch-Site: cross-site\r\n"), 403);
    api_expect_error(&f, "Sec-Fetch-Site");
    ck_assert_int_eq(ask("PUT", "localhost:8080", "Sec-Fetch-Site: same-site\r\n"), 403);
    ck_assert_int_eq(ask("PUT", "localhost:8080", "Origin: http://evil.example\r\n"), 403);
    api_expect_error(&f, "Origin");
    ck_assert_int_eq(ask("PUT", "localhost:8080", "Origin: null\r\n"), 403);
    ck_assert_int_eq(ask("PUT", "localhost:8080", "Origin: http://localhost\r\n"), 403);
    ck_assert_int_eq(ask("DELETE", "localhost:8080", "Origin: http://localhost:8081\r\n"), 403);
    ck_assert_int_eq(ask("POST", "localhost:8080", "Origin: http://evil.example\r\n"), 403);
    fixture_expect(&f.caches, "default", "k", NULL);
}
END_TEST

START_TEST(writes_of_our_own_pages_pass)
{
    ck_assert_int_eq(ask("PUT", "localhost:8080",
                         "Origin: http://localhost:8080\r\n"
                         "Sec-Fetch-Site: same-origin\r\n"),
                     204);
    ck_assert_int_eq(ask("PUT", "localhost", "Origin: HTTPS://LOCALHOST\r\n"), 204);
    ck_assert_int_eq(ask("PUT", "localhost", "Sec-Fetch-Site: none\r\n"), 204);
    ck_assert_int_eq(ask("GET", "localhost", "Origin: http://evil.example\r\n"), 200);
}
END_TEST

START_TEST(open_on_loopback_only)
{
    ck_assert_int_eq(ask("PUT", "localhost", ""), 204);
    f.loopback = false;
    ck_assert_int_eq(ask("GET", "192.168.1.7", ""), 403);
    api_expect_error(&f, "api_token_file");
    /* Without a token nobody can send the right one. */
    ck_assert_int_eq(ask("GET", "192.168.1.7", "Authorization: Bearer \r\n"), 403);
}
END_TEST

START_TEST(tokens)
{
    ck_assert_int_eq(ask("GET", "localhost", ""), 401);
    api_expect_header(&f, "WWW-Authenticate", "Bearer");
    ck_assert_int_eq(ask("GET", "localhost", "Authorization: Bearer secret\r\n"), 404);
    ck_assert_int_eq(ask("GET", "localhost", "Authorization: bearer secret\r\n"), 404);
    f.loopback = false;
    ck_assert_int_eq(ask("PUT", "192.168.1.7", "Authorization: Bearer secret\r\n"), 204);
    ck_assert_int_eq(ask("PUT", "192.168.1.7", ""), 401);
}
END_TEST

START_TEST(wrong_tokens)
{
    static const char *const wrong[] = {
        "Bearer",       "Bearer ", "Bearer secre",  "Bearer secrets", "Bearer Secret",
        "Basic secret", "secret",  "Bearer secrex", "Bearer sssssss", "Bearer  secret"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char header[64];

        snprintf(header, sizeof(header), "Authorization: %s\r\n", wrong[i]);
        ck_assert_msg(ask("GET", "localhost", header) == 401, "\"%s\": %d", wrong[i], f.status);
    }
}
END_TEST

START_TEST(unix_sockets_and_local_admin_need_no_token)
{
    f.admin = true;
    ck_assert_int_eq(ask("GET", "localhost", ""), 404);
    f.loopback = false;
    ck_assert_int_eq(ask("GET", "localhost", ""), 401);
    f.admin = false;
    f.local = true;
    ck_assert_int_eq(ask("GET", "localhost", ""), 404);
}
END_TEST

START_TEST(closed_without_a_token)
{
    ck_assert_int_eq(ask("GET", "localhost", ""), 403);
    api_expect_error(&f, "api_token_file");
    ck_assert_int_eq(api_request(&f, "GET", "/metrics", "", NULL), 403);
    ck_assert_int_eq(api_request(&f, "GET", "/v1/stats", "", NULL), 403);
    ck_assert_int_eq(api_request(&f, "GET", "/nothing", "", NULL), 403);
}
END_TEST

START_TEST(probes_need_nothing)
{
    static const char probe[] = "GET /healthz HTTP/1.1\r\nHost: node7.internal\r\n\r\n";

    f.loopback = false;
    ck_assert_int_eq(api_ask(&f, probe, sizeof(probe) - 1), 200);
    api_expect_body(&f, "ok\n");
    api_expect(&f, 200, "GET", "/readyz", "", NULL);
    api_expect(&f, 405, "POST", "/healthz", "", "x");
    atomic_store(&f.caches.heritage.board->draining, 1);
    api_expect(&f, 503, "GET", "/readyz", "", NULL);
    api_expect(&f, 200, "GET", "/healthz", "", NULL);
}
END_TEST

/* The head alone is enough to refuse. */
START_TEST(bodies_of_refused_requests_need_not_come)
{
    static const char head[] = "PUT " K " HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\n";
    const struct http1_request *request;
    struct api_exchange exchange = {.out = &f.text, .loopback = true, .keep_alive = true};
    char text[256];
    size_t used;
    int len = snprintf(text, sizeof(text), head, "evil.example");

    ck_assert_int_eq(http1_parse(f.parser, slice_make(text, (size_t)len), &used, &request),
                     PARSE_MORE);
    ck_assert(!api_admit(f.api, http1_head(f.parser), &exchange));
    ck_assert(!exchange.keep_alive);
    ck_assert_int_eq(strncmp(buf_head(&f.text), "HTTP/1.1 421 ", 13), 0);
    ck_assert_int_eq(http1_parse(f.parser, SLICE_LIT("hello"), &used, &request), PARSE_OK);

    buf_truncate(&f.text, 0);
    len = snprintf(text, sizeof(text), head, "localhost");
    ck_assert_int_eq(http1_parse(f.parser, slice_make(text, (size_t)len), &used, &request),
                     PARSE_MORE);
    ck_assert(api_admit(f.api, http1_head(f.parser), &exchange));
    ck_assert_uint_eq(buf_len(&f.text), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("api_guard");
    TCase *open = tcase_create("open on loopback");
    TCase *token = tcase_create("with a token");
    TCase *closed = tcase_create("closed");

    tcase_add_checked_fixture(open, setup_open, teardown);
    tcase_add_test(open, known_hosts);
    tcase_add_test(open, foreign_hosts);
    tcase_add_test(open, absolute_targets_name_the_host);
    tcase_add_test(open, unix_sockets_take_any_host);
    tcase_add_test(open, writes_from_other_sites_are_refused);
    tcase_add_test(open, writes_of_our_own_pages_pass);
    tcase_add_test(open, open_on_loopback_only);
    tcase_add_test(open, bodies_of_refused_requests_need_not_come);
    suite_add_tcase(s, open);

    tcase_add_checked_fixture(token, setup_token, teardown);
    tcase_add_test(token, tokens);
    tcase_add_test(token, wrong_tokens);
    tcase_add_test(token, unix_sockets_and_local_admin_need_no_token);
    tcase_add_test(token, probes_need_nothing);
    suite_add_tcase(s, token);

    tcase_add_checked_fixture(closed, setup_closed, teardown);
    tcase_add_test(closed, closed_without_a_token);
    tcase_add_test(closed, probes_need_nothing);
    suite_add_tcase(s, closed);
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
