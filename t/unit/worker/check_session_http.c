/* The HTTP session over a real connection, with a stand-in for the API. */
#include "worker/conn.h"
#include "worker/holding.h"

#include "common/clock.h"

#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct config config;
static struct config_listener listener;
static struct heritage heritage;
static struct worker *worker;
static int client;

/* ---- the stand-in ----
 * /now/TEXT answers at once, /later/TEXT when answer_later() is called; the response's body is the
 * path and the request's body. /refused is refused by its head. */

static struct api_exchange *waiting;
static char waiting_path[64];
static unsigned handled;

static void respond(struct api_exchange *exchange, struct slice path, struct slice body)
{
    ck_assert_int_eq(http1_response(exchange->out, 200, SLICE_LIT("X: y\r\n"),
                                    (int64_t)(path.len + body.len), exchange->keep_alive),
                     ERR_OK);
    ck_assert_int_eq(buf_append(exchange->out, path.data, path.len), ERR_OK);
    ck_assert_int_eq(buf_append(exchange->out, body.data, body.len), ERR_OK);
}

enum api_result api_handle(struct api *api, const struct http1_request *request,
                           struct api_exchange *exchange)
{
    ck_assert_ptr_eq(api, worker->api);
    handled++;
    if (slice_starts(request->path, SLICE_LIT("/later"))) {
        ck_assert_ptr_null(waiting);
        waiting = exchange;
        snprintf(waiting_path, sizeof(waiting_path), "%.*s", (int)request->path.len,
                 request->path.data);
        return API_PENDING;
    }
    if (slice_starts(request->path, SLICE_LIT("/nomemory")))
        exchange->keep_alive = false;
    else
        respond(exchange, request->path, request->body);
    return API_ANSWERED;
}

static void answer_later(void)
{
    struct api_exchange *exchange = waiting;

    ck_assert_ptr_nonnull(exchange);
    waiting = NULL;
    respond(exchange, slice_cstr(waiting_path), SLICE_LIT(""));
    exchange->done(exchange);
}

bool api_admit(struct api *api, const struct http1_request *head, struct api_exchange *exchange)
{
    ck_assert_ptr_eq(api, worker->api);
    if (!slice_starts(head->path, SLICE_LIT("/refused")))
        return true;
    exchange->keep_alive = false;
    ck_assert_int_eq(http1_response(exchange->out, 403, SLICE_LIT(""), 0, false), ERR_OK);
    return false;
}

int api_refuse(struct buf *out, int status, const char *why)
{
    return buf_printf(out, "refused %d: %s", status, why);
}

/* One cache whose values have at most 100000 bytes. */
uint64_t zone_value_max(const struct zone *zone)
{
    ck_assert_ptr_null(zone);
    return 100000;
}

/* Nobody's keys are guessed here: HTTP has no peek. */
void cache_prefetch(struct cache *cache, const struct slice *keys, size_t n)
{
    ck_abort_msg("%zu keys from %p of %p", n, (const void *)keys, (void *)cache);
}

/* No connection is lent anything here, */
struct slice pin_piece(const struct pin *pin)
{
    ck_abort_msg("a pin of %zu bytes", pin->left);
}

void pin_skip(struct pin *pin, size_t n)
{
    ck_abort_msg("%zu bytes of a pin of %zu", n, pin->left);
}

void pin_end(struct pin *pin)
{
    ck_abort_msg("a pin of %zu bytes", pin->left);
}

/* or has leases. */
void holding_close(struct conn *conn)
{
    ck_assert_uint_eq(conn->n_leases, 0);
}

const struct session_ops session_resp = {.name = "resp"};
const struct session_ops session_site = {.name = "site"};
const struct session_ops session_memcached = {.name = "memcached"};

/* ---- the worker ---- */

static void setup(void)
{
    struct errmsg msg;
    int fds[2];

    config = (struct config){.n_caches = 1};
    config.limits = (struct config_limits){.connections = 10,
                                           .http_line_bytes = 256,
                                           .http_header_bytes = 512,
                                           .http_header_count = 10,
                                           .pipeline_bytes = 4096,
                                           .output_bytes = 1 << 20,
                                           .header_timeout_ms = 1000};
    listener = (struct config_listener){.protocol = PROTOCOL_HTTP};
    heritage = (struct heritage){.config = &config};
    ck_assert_int_eq(scoreboard_create(1, &heritage.board, &msg), ERR_OK);
    worker = calloc(1, sizeof(*worker));
    ck_assert_ptr_nonnull(worker);
    worker->heritage = &heritage;
    worker->board = &heritage.board->slots[0];
    worker->api = (struct api *)(void *)&config; /* never looked into */
    ck_assert_int_eq(uv_loop_init(&worker->loop), 0);
    ck_assert_int_eq(conn_init(worker), ERR_OK);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    conn_open(worker, fds[0], &listener);
    client = fds[1];
    waiting = NULL;
    handled = 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void teardown(void)
{
    LIST_EACH_SAFE (node, next, &worker->conns)
        conn_abort(LIST_ENTRY(node, struct conn, link), NULL);
    uv_walk(&worker->loop, close_handle, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&worker->loop), 0);
    free(worker);
    scoreboard_destroy(heritage.board);
    if (client >= 0)
        close(client);
}

static void turns(void)
{
    for (int i = 0; i < 12; i++)
        uv_run(&worker->loop, UV_RUN_NOWAIT);
}

static void send_bytes(const char *bytes, size_t len)
{
    ck_assert_int_eq(send(client, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    turns();
}

static void send_text(const char *text)
{
    send_bytes(text, strlen(text));
}

/* What has arrived, "EOF" appended at the end of the connection. */
static const char *received(void)
{
    static char text[65536];
    size_t len = 0;
    ssize_t n;

    while ((n = read(client, text + len, sizeof(text) - 4 - len)) > 0)
        len += (size_t)n;
    strcpy(text + len, n == 0 ? "EOF" : "");
    return text;
}

/* The next response begins with "HTTP/1.1 STATUS", has this body, and the text after it is
 * returned. */
static const char *take_response(const char *text, int status, const char *body)
{
    char line[32];
    const char *end = strstr(text, "\r\n\r\n");

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    ck_assert_msg(strncmp(text, line, strlen(line)) == 0, "\"%s\"", text);
    ck_assert_ptr_nonnull(end);
    ck_assert_msg(strncmp(end + 4, body, strlen(body)) == 0, "\"%s\"", text);
    return end + 4 + strlen(body);
}

static void expect_response(int status, const char *body, const char *rest)
{
    ck_assert_str_eq(take_response(received(), status, body), rest);
}

static struct conn *the_conn(void)
{
    ck_assert(!list_empty(&worker->conns));
    return LIST_ENTRY(worker->conns.next, struct conn, link);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

START_TEST(keep_alive)
{
    for (int i = 0; i < 3; i++) {
        send_text(GET("/now/a"));
        expect_response(200, "/now/a", "");
    }
    ck_assert_uint_eq(handled, 3);
    ck_assert_uint_eq(atomic_load(&worker->board->requests), 3);
}
END_TEST

START_TEST(byte_by_byte)
{
    static const char put[] = "PUT /now/p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

    for (size_t i = 0; i + 1 < sizeof(put); i++) {
        ck_assert_str_eq(received(), "");
        send_bytes(put + i, 1);
    }
    expect_response(200, "/now/phello", "");
}
END_TEST

START_TEST(pipelined_in_order)
{
    const char *rest;

    send_text(GET("/now/1") GET("/now/2") "\r\n" GET("/now/3"));
    rest = take_response(received(), 200, "/now/1");
    rest = take_response(rest, 200, "/now/2");
    ck_assert_str_eq(take_response(rest, 200, "/now/3"), "");
}
END_TEST

/* The turn's budget is smaller than what is pipelined: others get their turns in between, nothing
 * is lost. */
START_TEST(pipelines_longer_than_a_turn)
{
    const char *rest;

    config.limits.pipeline_bytes = 50;
    for (int i = 0; i < 40; i++)
        ck_assert_int_gt(send(client, GET("/now/x"), sizeof(GET("/now/x")) - 1, 0), 0);
    for (int i = 0; i < 20; i++)
        turns();
    rest = received();
    for (int i = 0; i < 40; i++)
        rest = take_response(rest, 200, "/now/x");
    ck_assert_str_eq(rest, "");
}
END_TEST

START_TEST(a_request_waits_for_the_one_before)
{
    const char *rest;

    send_text(GET("/later/1") GET("/now/2"));
    ck_assert_uint_eq(handled, 1);
    ck_assert_str_eq(received(), "");
    answer_later();
    turns();
    rest = take_response(received(), 200, "/later/1");
    ck_assert_str_eq(take_response(rest, 200, "/now/2"), "");
    ck_assert_uint_eq(atomic_load(&worker->board->requests), 2);
}
END_TEST

START_TEST(the_client_leaves_while_it_is_pending)
{
    send_text(GET("/later/1"));
    conn_abort(the_conn(), NULL);
    turns();
    answer_later();
    turns();
    ck_assert_str_eq(received(), "EOF");
}
END_TEST

START_TEST(half_closed_clients_are_answered)
{
    send_text(GET("/later/1"));
    ck_assert_int_eq(shutdown(client, SHUT_WR), 0);
    turns();
    answer_later();
    turns();
    expect_response(200, "/later/1", "EOF");
}
END_TEST

START_TEST(connection_close)
{
    send_text("GET /now/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/now/2"));
    expect_response(200, "/now/1", "EOF");
    ck_assert_uint_eq(handled, 1);
}
END_TEST

START_TEST(connection_close_of_a_pending_request)
{
    send_text("GET /later/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/now/2"));
    ck_assert_str_eq(received(), "");
    answer_later();
    turns();
    expect_response(200, "/later/1", "EOF");
    ck_assert_uint_eq(handled, 1);
}
END_TEST

START_TEST(old_clients)
{
    send_text("GET /now/1 HTTP/1.0\r\n\r\n");
    expect_response(200, "/now/1", "EOF");
}
END_TEST

START_TEST(a_draining_worker_ends_connections)
{
    worker->draining = true;
    send_text(GET("/now/1"));
    ck_assert_ptr_nonnull(strstr(received(), "Connection: close"));
}
END_TEST

START_TEST(expect_100_continue)
{
    send_text(
        "PUT /now/p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    ck_assert_str_eq(received(), "HTTP/1.1 100 Continue\r\n\r\n");
    send_text("he");
    ck_assert_str_eq(received(), "");
    send_text("llo");
    expect_response(200, "/now/phello", "");
    /* A client that does not wait needs no leave. */
    send_text(
        "PUT /now/p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    expect_response(200, "/now/phello", "");
}
END_TEST

START_TEST(refused_before_the_body)
{
    send_text(
        "PUT /refused HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    expect_response(403, "", "EOF");
    ck_assert_uint_eq(handled, 0);
}
END_TEST

START_TEST(broken_requests)
{
    send_text("GET /now/1 HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    expect_response(200, "/now/1", "refused 501: this method is not known hereEOF");
}
END_TEST

START_TEST(limits_are_those_of_the_configuration)
{
    send_text("PUT /now/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n");
    ck_assert_str_eq(received(), "refused 413: the body is over limits.value (100000 bytes)EOF");
}
END_TEST

START_TEST(no_memory_for_a_response)
{
    send_text(GET("/nomemory"));
    ck_assert_str_eq(received(), "EOF");
}
END_TEST

START_TEST(time_limit_of_the_head)
{
    struct conn *conn = the_conn();
    uint64_t now_ms;

    ck_assert_uint_eq(conn->header_since_ms, 0);
    send_text("PUT /now/p HTTP/1.1\r\n");
    ck_assert_uint_ne(conn->header_since_ms, 0);
    now_ms = conn->header_since_ms;
    send_text("Host: a\r\n");
    ck_assert_uint_eq(conn->header_since_ms, now_ms);
    send_text("Content-Length: 2\r\n\r\n");
    ck_assert_uint_eq(conn->header_since_ms, 0);
    ck_assert(conn->ops->busy(conn));
    send_text("ab");
    expect_response(200, "/now/pab", "");
    ck_assert(!conn->ops->busy(conn));
    ck_assert_uint_eq(conn->header_since_ms, 0);
    send_text("GET");
    ck_assert(conn->ops->busy(conn));
    conn_check_timeouts(worker, clock_now_ms() + 1001);
    turns();
    ck_assert_int_eq(strncmp(received(), "refused 408: ", 13), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("session_http");
    TCase *tc = tcase_create("session");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, keep_alive);
    tcase_add_test(tc, byte_by_byte);
    tcase_add_test(tc, pipelined_in_order);
    tcase_add_test(tc, pipelines_longer_than_a_turn);
    tcase_add_test(tc, a_request_waits_for_the_one_before);
    tcase_add_test(tc, the_client_leaves_while_it_is_pending);
    tcase_add_test(tc, half_closed_clients_are_answered);
    tcase_add_test(tc, connection_close);
    tcase_add_test(tc, connection_close_of_a_pending_request);
    tcase_add_test(tc, old_clients);
    tcase_add_test(tc, a_draining_worker_ends_connections);
    tcase_add_test(tc, expect_100_continue);
    tcase_add_test(tc, refused_before_the_body);
    tcase_add_test(tc, broken_requests);
    tcase_add_test(tc, limits_are_those_of_the_configuration);
    tcase_add_test(tc, no_memory_for_a_response);
    tcase_add_test(tc, time_limit_of_the_head);
    suite_add_tcase(s, tc);
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
