/* The memcached session: bytes to requests of the text, the meta or the binary protocol, which the
 * first byte of each request decides. */
#include "worker/memcached.h"

#include <stdlib.h>

#define VALUE_KEPT 512 /* bytes that a connection without requests keeps for values */

static void limit_values(const struct config_limits *limits, struct memcached_session *session)
{
    uint64_t most = zone_value_max(cache_zone(session->cache));

    session->limits.value_bytes =
        limits->value_bytes != 0 && limits->value_bytes < most ? limits->value_bytes : most;
}

static int memcached_open(struct conn *conn)
{
    const struct config_limits *limits = &conn->worker->heritage->config->limits;
    struct memcached_session *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->conn = conn;
    session->cache = caches_find(conn->worker->caches, slice_cstr(conn->listener->cache));
    session->limits.line_bytes = limits->memcached_line_bytes;
    limit_values(limits, session);
    conn->session = session;
    return ERR_OK;
}

static void memcached_close(struct conn *conn)
{
    struct memcached_session *session = conn->session;

    buf_fini(&session->value);
    free(session);
}

/* Throw away what is to be skipped. */
static void skip(struct memcached_session *session, struct buf *in)
{
    size_t n = buf_len(in) < session->skip ? buf_len(in) : (size_t)session->skip;

    buf_consume(in, n);
    session->skip -= n;
}

static enum session_result refuse(struct conn *conn, const char *line)
{
    if (buf_printf(conn_out(conn), "%s\r\n", line) != ERR_OK)
        conn_abort(conn, "no memory");
    return SESSION_CLOSE;
}

/* SESSION_CLOSE; or SESSION_YIELD: bytes are missing. */
static enum session_result take_text(struct memcached_session *session,
                                     struct memcached_request *request)
{
    switch (
        memcached_parse(buf_slice(&session->conn->in), &session->limits, &session->meta, request)) {
    case PARSE_OK:
        return request->verb == MEMCACHED_QUIT ? SESSION_CLOSE : memcached_text(session, request);
    case PARSE_MORE:
        return SESSION_YIELD;
    default:
        return refuse(session->conn, request->error);
    }
}

static enum session_result take_binary(struct memcached_session *session,
                                       struct memcached_request *request)
{
    struct memcached_binary binary;

    switch (
        memcached_binary_parse(buf_slice(&session->conn->in), &session->limits, &binary, request)) {
    case PARSE_OK:
        if (request->verb != MEMCACHED_QUIT)
            return memcached_binary(session, request, &binary);
        if (!binary.quiet)
            (void)memcached_binary(session, request, &binary);
        return SESSION_CLOSE;
    case PARSE_MORE:
        return SESSION_YIELD;
    default: /* where the next frame begins cannot be told */
        binary.sasl = SASL_NONE;
        (void)memcached_binary(session, request, &binary);
        return SESSION_CLOSE;
    }
}

/* As above; SESSION_MORE: one was taken; SESSION_WAIT: it must wait for others. */
static enum session_result take_one(struct memcached_session *session, uint64_t *taken)
{
    struct buf *in = &session->conn->in;
    bool binary = (unsigned char)*buf_head(in) == BINARY_MAGIC;
    struct memcached_request request;
    enum session_result result =
        binary ? take_binary(session, &request) : take_text(session, &request);

    if (result != SESSION_MORE)
        return result;
    worker_count_request(session->conn->worker);
    *taken += request.used;
    session->skip = request.skip;
    buf_consume(in, request.used);
    return SESSION_MORE;
}

static enum session_result take_all(struct conn *conn)
{
    struct memcached_session *session = conn->session;
    uint64_t budget = conn->worker->heritage->config->limits.pipeline_bytes;
    uint64_t taken = 0;

    while (buf_len(&conn->in) > 0) {
        enum session_result result;

        if (session->skip > 0) {
            skip(session, &conn->in);
            continue;
        }
        result = take_one(session, &taken);
        if (result == SESSION_YIELD)
            return SESSION_MORE;
        if (result != SESSION_MORE)
            return result;
        if (taken >= budget || conn_congested(conn))
            return SESSION_YIELD;
    }
    return SESSION_MORE;
}

static enum session_result memcached_input(struct conn *conn)
{
    struct memcached_session *session = conn->session;
    enum session_result result = take_all(conn);

    buf_truncate(&session->value, 0);
    buf_shrink(&session->value, VALUE_KEPT);
    return result;
}

static size_t memcached_peek(struct conn *conn, struct cache **cache, struct slice *keys,
                             size_t max)
{
    const struct memcached_session *session = conn->session;

    if (session->skip > 0)
        return 0;
    *cache = session->cache;
    return memcached_peek_keys(buf_slice(&conn->in), keys, max);
}

const struct session_ops session_memcached = {
    .name = "memcached",
    .open = memcached_open,
    .input = memcached_input,
    .peek = memcached_peek,
    .close = memcached_close,
};
