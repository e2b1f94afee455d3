#include "worker/http_door.h"

#include "common/clock.h"

#include <stdlib.h>

/* It outlives the session when the connection breaks while the API is busy. */
struct http_call {
    struct request request;
    struct api_exchange exchange;
    bool pending; /* request was started */
};

/* ---- parsing ---- */

struct http1_parser *http_door_parser(const struct conn *conn, uint64_t body_bytes, bool stream)
{
    const struct config_limits *limits = &conn->worker->heritage->config->limits;
    struct http1_limits bounds = {.line_bytes = limits->http_line_bytes,
                                  .header_bytes = limits->http_header_bytes,
                                  .header_count = limits->http_header_count,
                                  .body_bytes = body_bytes,
                                  .stream = stream};

    return http1_parser_create(&bounds);
}

uint64_t http_door_body_max(const struct conn *conn)
{
    const struct heritage *heritage = conn->worker->heritage;
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

enum parse_status http_door_parse(struct conn *conn, struct http1_parser *parser, uint64_t max,
                                  size_t *used, const struct http1_request **request)
{
    struct slice input = buf_slice(&conn->in);
    enum parse_status status;

    if (input.len > max)
        input.len = (size_t)max;
    status = http1_parse(parser, input, used, request);
    buf_consume(&conn->in, *used);
    if (status != PARSE_MORE || http1_headers_done(parser))
        conn->header_since_ms = 0;
    else if (conn->header_since_ms == 0)
        conn->header_since_ms = clock_now_ms();
    return status;
}

/* ---- the API ---- */

static void call_free(struct request *request)
{
    free(LIST_ENTRY(request, struct http_call, request));
}

void http_door_free(struct http_call *spare)
{
    free(spare);
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

static struct http_call *take_call(struct http_call **spare)
{
    struct http_call *call = *spare;

    *spare = NULL;
    if (call == NULL)
        call = malloc(sizeof(*call));
    if (call != NULL)
        *call = (struct http_call){
            .request.free = call_free, .exchange.done = on_answered, .exchange.gone = is_gone};
    return call;
}

static void prepare(struct conn *conn, enum http_door door, const struct http1_request *request,
                    struct api_exchange *exchange)
{
    exchange->out = conn_out(conn);
    exchange->keep_alive = request->keep_alive && !conn->worker->draining;
    if (door == DOOR_ROUTE)
        return;
    exchange->local = conn->local;
    exchange->loopback = conn->loopback;
    exchange->admin = door == DOOR_ADMIN || conn->listener->admin;
    exchange->user = conn->user;
}

bool http_door_admit(struct conn *conn, enum http_door door, const struct http1_request *head)
{
    struct api_exchange exchange = {0};

    prepare(conn, door, head, &exchange);
    if (!api_admit(conn->worker->api, head, &exchange)) {
        worker_count_request(conn->worker);
        return false;
    }
    return !head->expect_continue ||
           buf_printf(exchange.out, "HTTP/1.1 100 %s\r\n\r\n", http1_reason(100)) == ERR_OK;
}

enum session_result http_door_ask(struct conn *conn, enum http_door door,
                                  const struct http1_request *request, struct http_call **spare)
{
    struct http_call *call = take_call(spare);
    bool keep_alive;

    if (call == NULL) {
        conn_abort(conn, "no memory for a request");
        return SESSION_CLOSE;
    }
    prepare(conn, door, request, &call->exchange);
    if (api_handle(conn->worker->api, request, &call->exchange) == API_PENDING) {
        keep_alive = call->exchange.keep_alive;
        call->exchange.out = &call->request.reply;
        call->pending = true;
        request_start(conn, &call->request);
        return keep_alive ? SESSION_WAIT : SESSION_CLOSE;
    }
    worker_count_request(conn->worker);
    keep_alive = call->exchange.keep_alive;
    *spare = call;
    return keep_alive ? SESSION_MORE : SESSION_CLOSE;
}

enum session_result http_door_refuse(struct conn *conn, int status, const char *why)
{
    worker_count_request(conn->worker);
    if (api_refuse(conn_out(conn), status, why) != ERR_OK)
        conn_abort(conn, "no memory for a refusal");
    return SESSION_CLOSE;
}
