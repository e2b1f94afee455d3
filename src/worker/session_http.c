/* The HTTP session: bytes to requests, requests to the API, one after the other. A request that
 * follows a pending one waits: it may depend on what that one changes. */
#include "worker/conn.h"

#include "common/clock.h"

#include <stdlib.h>

/* A request on its way. It outlives the session when the connection breaks while the API is busy.
 */
struct http_call {
    struct request request;
    struct api_exchange exchange;
    bool pending; /* request was started */
};

struct session_http {
    struct http1_parser *parser;
    struct http_call *call; /* for the next request; NULL while it is pending */
    bool partial;           /* part of a request was taken */
    bool admitted;          /* the head of the request at hand was looked at */
};

static const struct config_limits *limits_of(const struct conn *conn)
{
    return &conn->worker->heritage->config->limits;
}

/* The largest value of any cache: which cache a request is for is not known to the parser. */
static uint64_t body_max(const struct heritage *heritage)
{
    uint64_t limit = heritage->config->limits.value_bytes;
    uint64_t max = 0;

    for (size_t i = 0; i < heritage->config->n_caches; i++) {
        uint64_t cap = zone_value_max(heritage->zones[i]);

        if (limit != 0 && limit < cap)
            cap = limit;
        if (cap > max)
            max = cap;
    }
    return max;
}

static int session_open(struct conn *conn)
{
    const struct config_limits *limits = limits_of(conn);
    struct http1_limits bounds = {.line_bytes = limits->http_line_bytes,
                                  .header_bytes = limits->http_header_bytes,
                                  .header_count = limits->http_header_count,
                                  .body_bytes = body_max(conn->worker->heritage)};
    struct session_http *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->parser = http1_parser_create(&bounds);
    if (session->parser == NULL) {
        free(session);
        return ERR_NOMEM;
    }
    conn->session = session;
    return ERR_OK;
}

static void session_close(struct conn *conn)
{
    struct session_http *session = conn->session;

    if (session == NULL)
        return;
    http1_parser_destroy(session->parser);
    free(session->call);
    free(session);
    conn->session = NULL;
}

static bool session_busy(const struct conn *conn)
{
    const struct session_http *session = conn->session;

    return session->partial;
}

static void call_free(struct request *request)
{
    free(LIST_ENTRY(request, struct http_call, request));
}

/* The API has answered a pending request. */
static void on_answered(struct api_exchange *exchange)
{
    struct http_call *call = LIST_ENTRY(exchange, struct http_call, exchange);
    struct conn *conn = call->request.conn;

    if (conn != NULL) {
        worker_count_request(conn->worker);
        if (!exchange->keep_alive && !conn->closing) {
            conn->closing = true;
            buf_fini(&conn->in);
        }
    }
    request_finish(&call->request);
}

static bool is_gone(const struct api_exchange *exchange)
{
    const struct http_call *call = LIST_ENTRY(exchange, const struct http_call, exchange);

    return call->request.conn == NULL && call->pending;
}

static struct http_call *take_call(struct session_http *session)
{
    struct http_call *call = session->call;

    session->call = NULL;
    if (call == NULL)
        call = malloc(sizeof(*call));
    if (call != NULL)
        *call = (struct http_call){
            .request.free = call_free, .exchange.done = on_answered, .exchange.gone = is_gone};
    return call;
}

static void prepare(struct conn *conn, const struct http1_request *request,
                    struct api_exchange *exchange)
{
    exchange->out = conn_out(conn);
    exchange->keep_alive = request->keep_alive && !conn->worker->draining;
    exchange->local = conn->local;
    exchange->loopback = conn->loopback;
    exchange->admin = conn->listener->admin;
    exchange->user = conn->user;
}

/* Hand a whole request to the API. */
static enum session_result answer(struct conn *conn, const struct http1_request *request)
{
    struct session_http *session = conn->session;
    struct http_call *call = take_call(session);
    enum session_result next = SESSION_MORE;

    if (call == NULL) {
        conn_abort(conn, "no memory for a request");
        return SESSION_CLOSE;
    }
    prepare(conn, request, &call->exchange);
    if (api_handle(conn->worker->api, request, &call->exchange) == API_PENDING) {
        next = call->exchange.keep_alive ? SESSION_WAIT : SESSION_CLOSE;
        call->exchange.out = &call->request.reply;
        call->pending = true;
        request_start(conn, &call->request);
    } else {
        worker_count_request(conn->worker);
        if (!call->exchange.keep_alive)
            next = SESSION_CLOSE;
        session->call = call;
    }
    http1_parser_reset(session->parser);
    return next;
}

/* The head is complete, the body is not: refuse what would be refused anyway before the body comes,
 * and tell a client that waits for leave to send it. */
static enum session_result look_at_head(struct conn *conn)
{
    struct session_http *session = conn->session;
    const struct http1_request *head = http1_head(session->parser);
    struct api_exchange exchange = {0};

    if (session->admitted)
        return SESSION_MORE;
    session->admitted = true;
    prepare(conn, head, &exchange);
    if (!api_admit(conn->worker->api, head, &exchange)) {
        worker_count_request(conn->worker);
        return SESSION_CLOSE;
    }
    if (head->expect_continue &&
        buf_printf(exchange.out, "HTTP/1.1 100 %s\r\n\r\n", http1_reason(100)) != ERR_OK)
        return SESSION_CLOSE;
    return SESSION_MORE;
}

static enum session_result refuse(struct conn *conn)
{
    struct session_http *session = conn->session;
    const char *why;
    int status = http1_error(session->parser, &why);

    worker_count_request(conn->worker);
    if (api_refuse(conn_out(conn), status, why) != ERR_OK)
        conn_abort(conn, "no memory for a refusal");
    return SESSION_CLOSE;
}

/* All input was taken, and the request is not complete. */
static enum session_result incomplete(struct conn *conn)
{
    struct session_http *session = conn->session;

    session->partial = true;
    if (http1_headers_done(session->parser)) {
        conn->header_since_ms = 0;
        return look_at_head(conn);
    }
    if (conn->header_since_ms == 0)
        conn->header_since_ms = clock_now_ms();
    return SESSION_MORE;
}

/* Take at most max bytes of input, up to the end of a request. */
static enum session_result step(struct conn *conn, uint64_t max, size_t *used)
{
    struct session_http *session = conn->session;
    struct slice input = buf_slice(&conn->in);
    const struct http1_request *request = NULL;
    enum parse_status status;

    if (input.len > max)
        input.len = (size_t)max;
    status = http1_parse(session->parser, input, used, &request);
    buf_consume(&conn->in, *used);
    if (status == PARSE_MORE)
        return incomplete(conn);
    conn->header_since_ms = 0;
    session->partial = false;
    session->admitted = false;
    return status == PARSE_OK ? answer(conn, request) : refuse(conn);
}

static enum session_result session_input(struct conn *conn)
{
    uint64_t budget = limits_of(conn)->pipeline_bytes;

    while (buf_len(&conn->in) > 0) {
        enum session_result result;
        size_t used = 0;

        if (conn->n_pending > 0)
            return SESSION_WAIT;
        if (budget == 0 || conn_congested(conn))
            return SESSION_YIELD;
        result = step(conn, budget, &used);
        budget -= used;
        if (result != SESSION_MORE && (result != SESSION_WAIT || buf_len(&conn->in) > 0))
            return result;
    }
    return SESSION_MORE;
}

const struct session_ops session_http = {
    .name = "http",
    .open = session_open,
    .input = session_input,
    .close = session_close,
    .busy = session_busy,
};
