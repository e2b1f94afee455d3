/* The bytes of a connection to an origin server: as they are, or through TLS. */
#include "http/origin_impl.h"

#include "common/log.h"

#include <stdlib.h>

int origin_stream_init(struct origin_conn *conn)
{
    const struct origin_server *server = conn->server;

    if (!server->tls)
        return ERR_OK;
    conn->tls = origin_tls_create(server->origin->tls, server->tls_name);
    return conn->tls == NULL ? ERR_NOMEM : ERR_OK;
}

void origin_stream_fini(struct origin_conn *conn)
{
    origin_tls_destroy(conn->tls);
}

/* ---- out ---- */

struct pending_write {
    uv_write_t request;
    struct origin_conn *conn;
    size_t len;
    char bytes[];
};

static void on_written(uv_write_t *request, int status)
{
    struct pending_write *write = LIST_ENTRY(request, struct pending_write, request);
    struct origin_conn *conn = write->conn;
    size_t len = write->len;

    free(write);
    conn->unsent -= len;
    if (conn->closing)
        return;
    /* What the origin said before it stopped reading may still be there: the read end decides. */
    if (status < 0 && conn->exchange != NULL)
        log_debug("origin %s: %s", conn->server->url, uv_strerror(status));
    if (conn->unsent == 0 && conn->connected)
        origin_conn_drained(conn);
}

/* What the socket does not take now waits in libuv. */
static void send_bytes(struct origin_conn *conn, struct slice bytes)
{
    struct pending_write *write;
    uv_buf_t buf;
    int sent = 0;

    if (conn->closing || bytes.len == 0)
        return;
    if (conn->unsent == 0) {
        buf = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.len);
        sent = uv_try_write(&conn->io.stream, &buf, 1);
        if (sent < 0)
            sent = 0;
    }
    if ((size_t)sent == bytes.len)
        return;
    bytes = slice_make(bytes.data + sent, bytes.len - (size_t)sent);
    write = malloc(sizeof(*write) + bytes.len);
    if (write == NULL) {
        origin_conn_failed(conn, ERR_NOMEM, "no memory to send the request");
        return;
    }
    write->conn = conn;
    write->len = bytes.len;
    memcpy(write->bytes, bytes.data, bytes.len);
    buf = uv_buf_init(write->bytes, (unsigned)bytes.len);
    if (uv_write(&write->request, &conn->io.stream, &buf, 1, on_written) != 0) {
        free(write);
        origin_conn_failed(conn, ERR_LOST, "the connection broke");
        return;
    }
    conn->unsent += bytes.len;
}

/* What TLS has to say. */
static void send_output(struct origin_conn *conn)
{
    struct buf out = {0};

    if (origin_tls_output(conn->tls, &out) == ERR_OK)
        send_bytes(conn, buf_slice(&out));
    else
        origin_conn_failed(conn, ERR_NOMEM, "no memory to send the request");
    buf_fini(&out);
}

size_t origin_stream_write(struct origin_conn *conn, struct slice bytes)
{
    if (conn->closing || bytes.len == 0)
        return conn->unsent;
    if (conn->tls == NULL) {
        send_bytes(conn, bytes);
    } else if (origin_tls_write(conn->tls, bytes) == ORIGIN_TLS_OK) {
        send_output(conn);
    } else {
        origin_conn_failed(conn, ERR_LOST, "TLS failed");
    }
    return conn->closing ? 0 : conn->unsent;
}

/* ---- in ---- */

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *out)
{
    struct origin_conn *conn = handle->data;
    struct origin *origin = conn->server->origin;

    (void)hint;
    *out = uv_buf_init(origin->scratch, sizeof(origin->scratch));
}

/* False: the handshake is not over yet, or never will be. */
static bool shake_hands(struct origin_conn *conn)
{
    enum origin_tls_result result = origin_tls_handshake(conn->tls);

    send_output(conn); /* an alert too */
    if (conn->closing)
        return false;
    if (result == ORIGIN_TLS_OK) {
        conn->secured = true;
        origin_conn_ready(conn);
        return !conn->closing;
    }
    if (result != ORIGIN_TLS_MORE)
        origin_conn_failed(conn, ERR_DOWN,
                           result == ORIGIN_TLS_END ? "the connection ended in the TLS handshake"
                                                    : origin_tls_error(conn->tls));
    return false;
}

static void take_encrypted(struct origin_conn *conn, struct slice bytes)
{
    struct origin *origin = conn->server->origin;
    size_t n;

    if (origin_tls_feed(conn->tls, bytes) != ERR_OK) {
        origin_conn_failed(conn, ERR_NOMEM, "no memory for the response");
        return;
    }
    if (!conn->secured && !shake_hands(conn))
        return;
    while (!conn->closing) {
        switch (origin_tls_read(conn->tls, origin->plain, sizeof(origin->plain), &n)) {
        case ORIGIN_TLS_OK:
            origin_conn_take(conn, slice_make(origin->plain, n));
            break;
        case ORIGIN_TLS_MORE:
            send_output(conn); /* a new key, perhaps */
            return;
        case ORIGIN_TLS_END:
            origin_conn_ended(conn, STREAM_ENDED);
            return;
        case ORIGIN_TLS_FAILED:
            origin_conn_failed(conn, ERR_LOST, origin_tls_error(conn->tls));
            return;
        }
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct origin_conn *conn = stream->data;

    if (conn->closing || n == 0)
        return;
    if (n < 0 && conn->tls != NULL && !conn->secured)
        origin_conn_failed(conn, ERR_DOWN, "the connection ended in the TLS handshake");
    else if (n < 0) /* TLS says by itself where its stream ends: anyone could end the connection */
        origin_conn_ended(conn, n != UV_EOF         ? STREAM_BROKEN
                                : conn->tls != NULL ? STREAM_CUT
                                                    : STREAM_ENDED);
    else if (conn->tls != NULL)
        take_encrypted(conn, slice_make(buf->base, (size_t)n));
    else
        origin_conn_take(conn, slice_make(buf->base, (size_t)n));
}

void origin_stream_read(struct origin_conn *conn, bool on)
{
    conn->reading = on;
    if (on)
        uv_read_start(&conn->io.stream, on_alloc, on_read);
    else
        uv_read_stop(&conn->io.stream);
}

void origin_stream_start(struct origin_conn *conn)
{
    if (conn->tls == NULL) {
        origin_conn_ready(conn);
        return;
    }
    origin_stream_read(conn, true);
    (void)shake_hands(conn);
}
