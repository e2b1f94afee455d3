/* The session of a site's client: one request after the other through the caching proxy, both
 * bodies streamed. */
#include "worker/http_door.h"

#include <stdlib.h>

/* What a client may leave unread of a response that streams. */
#define STREAM_BYTES (256 * 1024)

struct session_site {
    struct conn *conn;
    struct http1_parser *parser;
    struct request request; /* in conn->pending while the proxy is at work */
    struct proxy_exchange exchange;
    bool pending; /* the exchange is */
    bool body;    /* the request's body is still to come, or its end */
    bool leave;   /* 100 Continue is to be sent before it */
    bool partial; /* part of a request was taken */
    /* A request that a route gives to the API. */
    struct http_call *call; /* memory for the next one */
    bool asking;            /* its body is being collected */
    struct buf upload;
};

static struct session_site *session_of(struct proxy_exchange *exchange)
{
    return LIST_ENTRY(exchange, struct session_site, exchange);
}

/* ---- what the proxy asks of its owner ---- */

static struct buf *on_out(struct proxy_exchange *exchange)
{
    struct session_site *session = session_of(exchange);

    return session->pending ? request_out(&session->request) : conn_out(session->conn);
}

static bool on_congested(struct proxy_exchange *exchange)
{
    return buf_len(on_out(exchange)) >= STREAM_BYTES;
}

static bool on_can_lend(struct proxy_exchange *exchange)
{
    const struct session_site *session = session_of(exchange);

    return !session->pending && conn_can_lend(session->conn);
}

static int on_lend(struct proxy_exchange *exchange, struct pin *pin)
{
    return conn_lend(session_of(exchange)->conn, pin);
}

static void on_flush(struct proxy_exchange *exchange)
{
    conn_flush_later(session_of(exchange)->conn);
}

static void on_want_body(struct proxy_exchange *exchange)
{
    conn_resume(session_of(exchange)->conn);
}

static void count(struct session_site *session)
{
    worker_count_request(session->conn->worker);
    session->exchange.request = NULL;
}

/* The response is complete, or will not be. */
static void on_done(struct proxy_exchange *exchange)
{
    struct session_site *session = session_of(exchange);
    struct conn *conn = session->conn;
    bool broken = exchange->broken;

    session->pending = false;
    count(session);
    if ((!exchange->keep_alive || session->body) && !conn->closing) {
        conn->closing = true;
        buf_fini(&conn->in);
    }
    http1_parser_reset(session->parser);
    request_finish(&session->request);
    if (broken)
        conn_abort(conn, "its response was cut off");
}

static const struct proxy_owner owner = {.out = on_out,
                                         .congested = on_congested,
                                         .can_lend = on_can_lend,
                                         .lend = on_lend,
                                         .flush = on_flush,
                                         .want_body = on_want_body,
                                         .done = on_done};

/* ---- a session ---- */

static int session_open(struct conn *conn)
{
    struct session_site *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->conn = conn;
    session->parser =
        http_door_parser(conn, conn->worker->heritage->config->limits.http_body_bytes, true);
    if (session->parser == NULL) {
        free(session);
        return ERR_NOMEM;
    }
    session->exchange.owner = &owner;
    conn->session = session;
    return ERR_OK;
}

static void session_close(struct conn *conn)
{
    struct session_site *session = conn->session;

    if (session == NULL)
        return;
    if (session->pending)
        proxy_cancel(&session->exchange);
    proxy_exchange_fini(&session->exchange);
    http1_parser_destroy(session->parser);
    http_door_free(session->call);
    buf_fini(&session->upload);
    buf_fini(&session->request.reply);
    buf_fini(&session->request.after);
    free(session);
    conn->session = NULL;
}

static bool session_busy(const struct conn *conn)
{
    const struct session_site *session = conn->session;

    return session->partial || session->pending || session->body || session->asking;
}

static void session_drained(struct conn *conn)
{
    struct session_site *session = conn->session;

    if (session->pending)
        proxy_drained(&session->exchange);
}

/* The request is part of the session. */
static void request_keep(struct request *request)
{
    (void)request;
}

static enum session_result refuse(struct conn *conn)
{
    struct session_site *session = conn->session;
    const char *why;
    int status = http1_error(session->parser, &why);

    worker_count_request(conn->worker);
    if (proxy_refuse(conn_out(conn), status, why) != ERR_OK)
        conn_abort(conn, "no memory for a refusal");
    return SESSION_CLOSE;
}

/* ---- routes to the API ---- */

static enum http_door door_of(const struct session_site *session)
{
    return session->exchange.admin ? DOOR_ADMIN : DOOR_ROUTE;
}

/* The request is complete. */
static enum session_result ask(struct conn *conn)
{
    struct session_site *session = conn->session;
    struct http1_request request = *session->exchange.request;
    enum session_result next;

    request.body = buf_slice(&session->upload);
    session->asking = false;
    session->exchange.request = NULL;
    next = http_door_ask(conn, door_of(session), &request, &session->call);
    http1_parser_reset(session->parser);
    buf_fini(&session->upload);
    return next;
}

/* Take a piece of its body. */
static enum session_result collect(struct conn *conn, size_t *used)
{
    struct session_site *session = conn->session;
    struct slice piece;
    enum parse_status status =
        http1_parse_body(session->parser, buf_slice(&conn->in), used, &piece);
    const char *why;
    int code;

    buf_consume(&conn->in, *used);
    if (status != PARSE_OK && status != PARSE_MORE) {
        code = http1_error(session->parser, &why);
        return http_door_refuse(conn, code, why);
    }
    if (buf_len(&session->upload) + piece.len > http_door_body_max(conn))
        return http_door_refuse(conn, 413, "the body is larger than any value may be");
    if (buf_append(&session->upload, piece.data, piece.len) != ERR_OK)
        return http_door_refuse(conn, 503, "no memory for the body");
    session->body = status == PARSE_MORE;
    return session->body ? SESSION_MORE : ask(conn);
}

static enum session_result begin_call(struct conn *conn)
{
    struct session_site *session = conn->session;
    size_t used;

    session->asking = true;
    if (!session->exchange.request->has_body)
        return collect(conn, &used);
    return http_door_admit(conn, door_of(session), session->exchange.request) ? SESSION_MORE
                                                                              : SESSION_CLOSE;
}

/* ---- requests ---- */

/* A whole head has come. */
static enum session_result begin(struct conn *conn, const struct http1_request *request)
{
    struct session_site *session = conn->session;
    struct proxy_exchange *exchange = &session->exchange;

    exchange->request = request;
    exchange->peer = conn->peer;
    exchange->keep_alive = request->keep_alive && !conn->worker->draining;
    session->leave = request->expect_continue && request->has_body;
    session->body = true;
    switch (proxy_begin(conn->worker->proxy, exchange)) {
    case PROXY_PENDING:
        session->request = (struct request){.free = request_keep};
        session->pending = true;
        request_start(conn, &session->request);
        return SESSION_MORE;
    case PROXY_API:
        return begin_call(conn);
    case PROXY_ANSWERED:
        break;
    }
    /* Nobody takes the body of a request that is answered already. */
    if (request->has_body)
        exchange->keep_alive = false;
    else
        session->body = false;
    if (!session->body) {
        struct slice piece;
        size_t used;

        (void)http1_parse_body(session->parser, slice_make("", 0), &used, &piece);
    }
    count(session);
    if (exchange->broken)
        conn_abort(conn, "no memory for its response");
    return exchange->keep_alive ? SESSION_MORE : SESSION_CLOSE;
}

/* The head of the next request, at most max bytes of input. */
static enum session_result take_head(struct conn *conn, uint64_t max, size_t *used)
{
    struct session_site *session = conn->session;
    const struct http1_request *request = NULL;
    enum parse_status status = http_door_parse(conn, session->parser, max, used, &request);

    session->partial = status == PARSE_MORE;
    if (status == PARSE_MORE)
        return SESSION_MORE;
    return status == PARSE_OK ? begin(conn, request) : refuse(conn);
}

/* The body is malformed, or too large. */
static enum session_result refuse_body(struct conn *conn)
{
    struct session_site *session = conn->session;
    struct proxy_exchange *exchange = &session->exchange;
    const char *why;
    int status = http1_error(session->parser, &why);

    if (exchange->head_sent) {
        conn_abort(conn, "the request's body is malformed");
        return SESSION_CLOSE;
    }
    proxy_cancel(exchange);
    if (proxy_refuse(request_out(&session->request), status, why) != ERR_OK)
        exchange->broken = true;
    exchange->keep_alive = false;
    on_done(exchange);
    return SESSION_CLOSE;
}

/* A piece of the body of the request that is with the proxy. */
static enum session_result take_body(struct conn *conn, size_t *used)
{
    struct session_site *session = conn->session;
    struct slice piece;
    enum parse_status status =
        http1_parse_body(session->parser, buf_slice(&conn->in), used, &piece);

    buf_consume(&conn->in, *used);
    if (status != PARSE_OK && status != PARSE_MORE)
        return refuse_body(conn);
    session->body = status == PARSE_MORE;
    proxy_body(&session->exchange, piece, !session->body);
    return SESSION_MORE;
}

static enum session_result feed_body(struct conn *conn, size_t *used)
{
    struct session_site *session = conn->session;

    if (session->exchange.request->has_body && !proxy_wants_body(&session->exchange))
        return SESSION_WAIT;
    if (session->leave) {
        session->leave = false;
        if (buf_printf(request_out(&session->request), "HTTP/1.1 100 %s\r\n\r\n",
                       http1_reason(100)) != ERR_OK)
            return SESSION_CLOSE;
        conn_flush_later(conn);
    }
    return take_body(conn, used);
}

/* What the client of another protocol says. */
static enum session_result feed_tunnel(struct conn *conn)
{
    struct session_site *session = conn->session;
    struct buf in = conn->in;

    conn->tunnel = true;
    if (!proxy_wants_body(&session->exchange))
        return SESSION_WAIT;
    /* Taken out: the exchange may end, and the input with it, while the piece is passed on. */
    conn->in = (struct buf){0};
    if (buf_len(&in) > 0)
        proxy_body(&session->exchange, buf_slice(&in), false);
    buf_fini(&in);
    return SESSION_MORE;
}

static void session_ended(struct conn *conn)
{
    struct session_site *session = conn->session;

    if (session->pending)
        proxy_ended(&session->exchange);
}

static enum session_result session_input(struct conn *conn)
{
    struct session_site *session = conn->session;
    uint64_t budget = conn->worker->heritage->config->limits.pipeline_bytes;

    for (;;) {
        enum session_result result;
        size_t used = 0;

        if (session->pending && session->exchange.tunnel)
            return feed_tunnel(conn);
        if (session->pending && session->body) {
            result = feed_body(conn, &used);
            if (result == SESSION_MORE && session->body && buf_len(&conn->in) == 0)
                return SESSION_MORE;
        } else if (session->asking) {
            if (buf_len(&conn->in) == 0)
                return SESSION_MORE;
            result = collect(conn, &used);
        } else if (conn->n_pending > 0) {
            return SESSION_WAIT;
        } else {
            if (buf_len(&conn->in) == 0)
                return SESSION_MORE;
            if (budget == 0 || conn_congested(conn))
                return SESSION_YIELD;
            result = take_head(conn, budget, &used);
        }
        budget -= used < budget ? used : budget;
        if (result != SESSION_MORE || conn->aborted || conn->closing)
            return result;
    }
}

const struct session_ops session_site = {
    .name = "site",
    .open = session_open,
    .input = session_input,
    .close = session_close,
    .busy = session_busy,
    .drained = session_drained,
    .ended = session_ended,
};
