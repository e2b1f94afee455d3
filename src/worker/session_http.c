/* The HTTP session: bytes to requests, requests to the API, one after the other. A request that
 * follows a pending one waits: it may depend on what that one changes. */
#include "worker/http_door.h"

#include <stdlib.h>

struct session_http {
    struct http1_parser *parser;
    struct http_call *call; /* for the next request; NULL while it is pending */
    bool partial;           /* part of a request was taken */
    bool admitted;          /* the head of the request at hand was looked at */
};

static int session_open(struct conn *conn)
{
    struct session_http *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->parser = http_door_parser(conn, http_door_body_max(conn), false);
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
    http_door_free(session->call);
    free(session);
    conn->session = NULL;
}

static bool session_busy(const struct conn *conn)
{
    const struct session_http *session = conn->session;

    return session->partial;
}

/* Hand a whole request to the API. */
static enum session_result answer(struct conn *conn, const struct http1_request *request)
{
    struct session_http *session = conn->session;
    enum session_result next = http_door_ask(conn, DOOR_LISTENER, request, &session->call);

    http1_parser_reset(session->parser);
    return next;
}

/* The head is complete, the body is not: refuse what would be refused anyway before the body comes,
 * and tell a client that waits for leave to send it. */
static enum session_result look_at_head(struct conn *conn)
{
    struct session_http *session = conn->session;

    if (session->admitted)
        return SESSION_MORE;
    session->admitted = true;
    return http_door_admit(conn, DOOR_LISTENER, http1_head(session->parser)) ? SESSION_MORE
                                                                             : SESSION_CLOSE;
}

static enum session_result refuse(struct conn *conn)
{
    struct session_http *session = conn->session;
    const char *why;
    int status = http1_error(session->parser, &why);

    return http_door_refuse(conn, status, why);
}

/* Take at most max bytes of input, up to the end of a request. */
static enum session_result step(struct conn *conn, uint64_t max, size_t *used)
{
    struct session_http *session = conn->session;
    const struct http1_request *request = NULL;
    enum parse_status status = http_door_parse(conn, session->parser, max, used, &request);

    session->partial = status == PARSE_MORE;
    if (status == PARSE_MORE)
        return http1_headers_done(session->parser) ? look_at_head(conn) : SESSION_MORE;
    session->admitted = false;
    return status == PARSE_OK ? answer(conn, request) : refuse(conn);
}

static enum session_result session_input(struct conn *conn)
{
    uint64_t budget = conn->worker->heritage->config->limits.pipeline_bytes;

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
