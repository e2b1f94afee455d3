/* One connection to an origin server. */
#include "http/origin_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>

static struct origin_conn *owner(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

static void on_closed(uv_handle_t *handle)
{
    struct origin_conn *conn = owner(handle);
    struct origin *origin = conn->server->origin;

    http1_reply_destroy(conn->parser);
    origin_stream_fini(conn);
    free(conn);
    origin_handle_closed(origin);
}

static void unlink_conn(struct origin_conn *conn)
{
    struct origin_server *server = conn->server;

    if (list_empty(&conn->link))
        return;
    list_remove(&conn->link);
    if (conn->exchange != NULL)
        origin_server_count(server, false);
    else
        server->n_idle--;
}

void origin_conn_close(struct origin_conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    unlink_conn(conn);
    if (conn->exchange != NULL)
        conn->exchange->conn = NULL;
    conn->exchange = NULL;
    uv_close(&conn->io.handle, on_closed);
}

/* What is waited for now, and how long. */
static void wait_for(struct origin_conn *conn, const char *what, uint64_t ms)
{
    const struct origin_exchange *exchange = conn->exchange;

    conn->waits_for = what;
    conn->deadline_ms = clock_now_ms() + ms;
    if (exchange != NULL && exchange->until_ms != 0 && exchange->until_ms < conn->deadline_ms)
        conn->deadline_ms = exchange->until_ms;
}

/* End the exchange with an error, and the connection with it. */
static void fail(struct origin_conn *conn, int err, const char *why)
{
    struct origin_exchange *exchange = conn->exchange;

    origin_conn_close(conn);
    if (exchange != NULL)
        origin_failed(exchange, err, why);
}

/* ---- the response ---- */

static void on_piece(void *arg, struct slice piece)
{
    struct origin_conn *conn = arg;

    /* Cancelled by an earlier piece of the same bytes. */
    if (conn->exchange != NULL)
        conn->exchange->on_body(conn->exchange, piece);
}

/* The response is complete: the connection is for others now, or done. */
static void complete(struct origin_conn *conn, bool rest)
{
    struct origin_exchange *exchange = conn->exchange;
    struct origin_server *server = conn->server;
    bool keep = http1_reply_head(conn->parser)->keep_alive && !rest && conn->unsent == 0 &&
                server->n_idle < (uint64_t)server->origin->route->keepalive;

    unlink_conn(conn);
    exchange->conn = NULL;
    conn->exchange = NULL;
    if (keep) {
        /* In front: the least recently used ones may go. */
        list_push(server->idle.next, &conn->link);
        server->n_idle++;
        wait_for(conn, "a request", server->origin->route->keepalive_timeout_ms);
        origin_conn_read(conn, true);
    } else {
        origin_conn_close(conn);
    }
    origin_done(exchange);
}

/* A head has come. False: the exchange is over. */
static bool take_head(struct origin_conn *conn)
{
    const struct http1_reply *reply = http1_reply_head(conn->parser);

    conn->exchange->on_head(conn->exchange, reply);
    return conn->exchange != NULL;
}

static void take_raw(struct origin_conn *conn, struct slice input)
{
    wait_for(conn, "a word of either side (tunnel_idle)", conn->tunnel_ms);
    if (input.len > 0)
        conn->exchange->on_body(conn->exchange, input);
}

static void take(struct origin_conn *conn, struct slice input)
{
    size_t at = 0, used;

    if (conn->tunnel_ms > 0) {
        take_raw(conn, input);
        return;
    }
    conn->exchange->began = true;
    wait_for(conn, "the rest of the response (idle_timeout)",
             conn->server->origin->route->idle_timeout_ms);
    while (conn->exchange != NULL) {
        enum http1_reply_event event =
            http1_reply_parse(conn->parser, slice_make(input.data + at, input.len - at), &used);

        at += used;
        if (conn->exchange == NULL)
            return;
        if (event == REPLY_EVENT_HEAD && take_head(conn)) {
            if (conn->tunnel_ms == 0)
                continue;
            take_raw(conn, slice_make(input.data + at, input.len - at));
            return;
        }
        if (event == REPLY_EVENT_END)
            complete(conn, at < input.len);
        else if (event == REPLY_EVENT_BAD)
            fail(conn, ERR_PROTOCOL, http1_reply_error(conn->parser));
        return;
    }
}

void origin_conn_take(struct origin_conn *conn, struct slice input)
{
    if (conn->exchange == NULL)
        origin_conn_close(conn); /* nobody asked for anything */
    else
        take(conn, input);
}

void origin_conn_ended(struct origin_conn *conn, enum origin_stream_end how)
{
    if (conn->exchange == NULL)
        origin_conn_close(conn);
    else if (conn->tunnel_ms > 0)
        complete(conn, true); /* how another protocol ends is not ours to judge */
    else if (how == STREAM_ENDED && http1_reply_eof(conn->parser) == REPLY_EVENT_END)
        complete(conn, true);
    else
        fail(conn, ERR_LOST,
             how == STREAM_BROKEN ? "the connection broke" : "the connection ended too soon");
}

void origin_conn_failed(struct origin_conn *conn, int err, const char *why)
{
    fail(conn, err, why);
}

void origin_conn_drained(struct origin_conn *conn)
{
    if (conn->exchange != NULL && conn->exchange->on_drain != NULL)
        conn->exchange->on_drain(conn->exchange);
}

void origin_conn_read(struct origin_conn *conn, bool on)
{
    if (on == conn->reading || conn->closing)
        return;
    origin_stream_read(conn, on);
    if (on && conn->tunnel_ms > 0)
        wait_for(conn, conn->waits_for, conn->tunnel_ms);
    else if (on && conn->exchange != NULL)
        wait_for(conn, "the rest of the response (idle_timeout)",
                 conn->server->origin->route->idle_timeout_ms);
}

size_t origin_conn_write(struct origin_conn *conn, struct slice bytes)
{
    if (conn->tunnel_ms > 0 && bytes.len > 0)
        wait_for(conn, conn->waits_for, conn->tunnel_ms);
    return origin_stream_write(conn, bytes);
}

/* ---- the request ---- */

static void send_head(struct origin_conn *conn)
{
    struct origin_exchange *exchange = conn->exchange;

    http1_reply_begin(conn->parser, exchange->head_request);
    exchange->sent_ms = clock_now_ms();
    origin_conn_read(conn, true);
    wait_for(conn, "the response (first_byte_timeout)",
             conn->server->origin->route->first_byte_timeout_ms);
    origin_conn_write(conn, exchange->head);
    if (conn->unsent == 0)
        origin_conn_drained(conn);
}

/* ---- connecting ---- */

static int send_new(struct origin_server *server, struct origin_exchange *exchange, unsigned left,
                    uint64_t deadline_ms);

/* A name may stand for several addresses of which not all answer: localhost is ::1 too, where the
 * server listens on 127.0.0.1 alone. */
static void try_elsewhere(struct origin_conn *conn, const char *why)
{
    struct origin_exchange *exchange = conn->exchange;
    struct origin_server *server = conn->server;
    uint64_t deadline_ms = conn->deadline_ms;
    unsigned left = conn->left;

    origin_server_reached(server, conn->addr, false);
    if (left == 0) {
        fail(conn, ERR_DOWN, why);
        return;
    }
    origin_conn_close(conn);
    if (send_new(server, exchange, left - 1, deadline_ms) != ERR_OK)
        origin_failed(exchange, ERR_DOWN, why);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct origin_conn *conn = LIST_ENTRY(connect, struct origin_conn, connect);

    if (conn->closing)
        return;
    if (status != 0) {
        try_elsewhere(conn, uv_strerror(status));
        return;
    }
    origin_server_reached(conn->server, conn->addr, true);
    if (!conn->server->is_unix)
        uv_tcp_nodelay(&conn->io.tcp, 1);
    origin_stream_start(conn);
}

void origin_conn_ready(struct origin_conn *conn)
{
    conn->connected = true;
    send_head(conn);
}

static int connect_to(struct origin_conn *conn, const struct addr *addr)
{
    if (conn->server->is_unix) {
        uv_pipe_connect(&conn->connect, &conn->io.pipe, addr->sock.un.sun_path, on_connected);
        return ERR_OK;
    }
    return uv_tcp_connect(&conn->connect, &conn->io.tcp, &addr->sock.sa, on_connected) == 0
               ? ERR_OK
               : ERR_DOWN;
}

static void attach(struct origin_conn *conn, struct origin_exchange *exchange)
{
    conn->exchange = exchange;
    exchange->conn = conn;
    exchange->server = conn->server;
    exchange->reused = conn->reused;
    list_push(&conn->server->busy, &conn->link);
    origin_server_count(conn->server, true);
}

static struct origin_conn *conn_create(struct origin_server *server)
{
    struct origin *origin = server->origin;
    struct origin_conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    conn->server = server;
    list_init(&conn->link);
    conn->parser = http1_reply_create(&origin->limits, on_piece, conn);
    if (conn->parser == NULL || origin_stream_init(conn) != ERR_OK ||
        (server->is_unix ? uv_pipe_init(origin->loop, &conn->io.pipe, 0)
                         : uv_tcp_init(origin->loop, &conn->io.tcp)) != 0) {
        http1_reply_destroy(conn->parser);
        origin_stream_fini(conn);
        free(conn);
        return NULL;
    }
    conn->io.handle.data = conn;
    origin->handles++;
    return conn;
}

/* One connection to one address. ERR_DOWN: it cannot even be begun. */
static int send_to(struct origin_server *server, struct origin_exchange *exchange,
                   const struct addr *addr, unsigned left, uint64_t deadline_ms)
{
    struct origin_conn *conn = conn_create(server);

    if (conn == NULL)
        return ERR_NOMEM;
    conn->addr = addr;
    conn->left = left;
    attach(conn, exchange);
    conn->waits_for = "the connection (connect_timeout)";
    conn->deadline_ms = deadline_ms;
    if (connect_to(conn, addr) == ERR_OK)
        return ERR_OK;
    origin_server_reached(server, addr, false);
    origin_conn_close(conn);
    return ERR_DOWN;
}

/* A connection to the next address, and, if it fails, to as many others as are left; all of them
 * until one deadline. */
static int send_new(struct origin_server *server, struct origin_exchange *exchange, unsigned left,
                    uint64_t deadline_ms)
{
    int status;

    do {
        const struct addr *addr = origin_server_address(server);

        status = addr == NULL ? ERR_DOWN : send_to(server, exchange, addr, left, deadline_ms);
    } while (status == ERR_DOWN && left-- > 0);
    return status;
}

int origin_conn_send(struct origin_server *server, struct origin_exchange *exchange)
{
    uint64_t deadline_ms = clock_now_ms() + server->origin->route->connect_timeout_ms;
    struct list *node;
    struct origin_conn *conn;

    exchange->server = server;
    /* An old connection may be ending: not for what may not be sent again, nor for a second try. */
    if (exchange->repeatable && exchange->tries <= 1 && (node = list_pop(&server->idle)) != NULL) {
        server->n_idle--;
        conn = LIST_ENTRY(node, struct origin_conn, link);
        conn->reused = true;
        attach(conn, exchange);
        send_head(conn);
        return ERR_OK;
    }
    if (exchange->until_ms != 0 && exchange->until_ms < deadline_ms)
        deadline_ms = exchange->until_ms;
    return send_new(server, exchange, server->n_addresses > 0 ? server->n_addresses - 1 : 0,
                    deadline_ms);
}

static void check_list(struct list *conns, uint64_t now_ms)
{
    LIST_EACH_SAFE (node, next, conns) {
        struct origin_conn *conn = LIST_ENTRY(node, struct origin_conn, link);

        bool over =
            now_ms >= conn->deadline_ms && (conn->exchange == NULL || !conn->exchange->paused);
        /* Seen twice: after a time without the processor what has come is looked at first. */
        bool late = over && conn->late;

        conn->late = over;
        if (!late)
            continue;
        if (conn->exchange == NULL) {
            origin_conn_close(conn);
            continue;
        }
        if (!conn->connected)
            origin_server_reached(conn->server, conn->addr, false);
        fail(conn, conn->connected ? ERR_TIMEOUT : ERR_DOWN, conn->waits_for);
    }
}

void origin_conn_check(struct origin_server *server, uint64_t now_ms)
{
    check_list(&server->idle, now_ms);
    check_list(&server->busy, now_ms);
}
