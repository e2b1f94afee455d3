/* The RESP session: bytes to commands, one connection's order kept. */
#include "worker/command.h"

#include "cache/pass.h"
#include "common/auth.h"
#include "common/clock.h"
#include "worker/direct.h"
#include "worker/keyspace.h"

#include "worker/subscribe.h"

#include <stdlib.h>

static uint64_t largest_value(struct caches *caches)
{
    uint64_t largest = 0;

    for (size_t i = 0; i < caches_count(caches); i++) {
        uint64_t max = zone_value_max(cache_zone(caches_at(caches, i)));

        largest = max > largest ? max : largest;
    }
    return largest;
}

static int resp_open(struct conn *conn)
{
    const struct config_limits *limits = &conn->worker->heritage->config->limits;
    struct resp_session *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->conn = conn;
    session->version = 2;
    session->cache = caches_find(conn->worker->caches, slice_cstr(conn->listener->cache));
    session->limits.args = limits->resp_args;
    session->limits.inline_bytes = limits->resp_inline_bytes;
    /* An argument may be a key or a value: the larger of the two limits; the cache checks each its
     * own. */
    session->limits.bulk_bytes =
        limits->value_bytes != 0 ? limits->value_bytes : largest_value(conn->worker->caches);
    if (session->limits.bulk_bytes < limits->key_bytes)
        session->limits.bulk_bytes = limits->key_bytes;
    transaction_init(&session->transaction);
    conn->session = session;
    return ERR_OK;
}

static void resp_close(struct conn *conn)
{
    struct resp_session *session = conn->session;

    direct_close(session->direct);
    subscribe_end(session);
    transaction_end(&session->transaction);
    keyspace_fini(session);
    pass_destroy(session->pass);
    resp_parser_fini(&session->parser);
    free(session);
}

/* Stage 2: run one parsed command. */
static enum session_result run_one(struct resp_session *session)
{
    struct conn *conn = session->conn;
    struct call call = {.conn = conn,
                        .session = session,
                        .cache = session->cache,
                        .argc = session->parser.argc,
                        .argv = session->parser.argv};

    if (call.argc == 0)
        return SESSION_MORE;
    call.command = command_find(call.argv[0]);
    call.command = command_pass(&call);
    call.out = conn_out(conn);
    /* What MULTI queues has its keys as the client wrote them: SELECT may come before it. */
    if (!session->transaction.open && !keyspace_enter(&call))
        return SESSION_MORE;
    if (must_wait(&call) ||
        conn->n_pending >= conn->worker->heritage->config->limits.pipeline_pending)
        return SESSION_WAIT;
    worker_count_request(conn->worker);
    command_run(&call);
    if (call.again)
        return SESSION_YIELD;
    return call.close ? SESSION_CLOSE : SESSION_MORE;
}

/* Nobody in particular, who must log in first, gets little memory. */
static const struct resp_limits *limits_for(const struct resp_session *session)
{
    static const struct resp_limits unknown = {
        .args = 16, .bulk_bytes = 16384, .inline_bytes = 16384};
    const struct conn *conn = session->conn;

    return conn->user == NULL && auth_required(conn->worker->heritage->config) ? &unknown
                                                                               : &session->limits;
}

static enum session_result resp_input(struct conn *conn)
{
    struct resp_session *session = conn->session;
    uint64_t budget = conn->worker->heritage->config->limits.pipeline_bytes;
    uint64_t taken = 0;

    while (buf_len(&conn->in) > 0) {
        enum session_result result;

        /* Stage 1: parse. */
        switch (resp_parse(&session->parser, buf_slice(&conn->in), limits_for(session))) {
        case PARSE_OK:
            break;
        case PARSE_MORE:
            return SESSION_MORE;
        default:
            reply_error(conn_out(conn), "%s", session->parser.error);
            return SESSION_CLOSE;
        }
        result = run_one(session);
        if (result == SESSION_WAIT || result == SESSION_YIELD)
            return result; /* the command stays in conn->in and is parsed again */
        taken += session->parser.used;
        buf_consume(&conn->in, session->parser.used);
        if (result != SESSION_MORE)
            return result;
        if (taken >= budget || conn_congested(conn))
            return SESSION_YIELD;
    }
    return SESSION_MORE;
}

static size_t resp_peek(struct conn *conn, struct cache **cache, struct slice *keys, size_t max)
{
    const struct resp_session *session = conn->session;

    if (session->db != 0 || session->cache == NULL)
        return 0; /* stored under other names */
    *cache = session->cache;
    return resp_peek_keys(buf_slice(&conn->in), keys, max);
}

const struct session_ops session_resp = {
    .name = "resp",
    .open = resp_open,
    .input = resp_input,
    .peek = resp_peek,
    .close = resp_close,
};
