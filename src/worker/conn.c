#define _GNU_SOURCE 1 /* struct ucred */
#include "worker/conn.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "http/api.h"
#include "proto/resp.h"
#include "worker/crowd.h"
#include "worker/detect.h"
#include "worker/holding.h"
#include "worker/intro.h"
#include "worker/output.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* What an idle connection may keep of its input and of its output buffer. */
#define IDLE_BUF_BYTES 256

/* A response that streams goes on when no more than this is unsent. */
#define DRAINED_BYTES 65536

/* A reader with more than limits.output unsent is dropped when it takes nothing for so long.
 */
#define SLOW_READER_MS 5000

/* After our last byte: how long to wait for the client's next one, and for its end, at most. */
#define LINGER_IDLE_MS  2000
#define LINGER_TOTAL_MS 30000

/* The first line of a client that has not said its protocol yet is not looked at beyond this. */
#define DETECT_EXTRA_BYTES 64

static const struct config_limits *limits_of(const struct worker *worker)
{
    return &worker->heritage->config->limits;
}

static void publish_count(struct worker *worker)
{
    atomic_store_explicit(&worker->board->connections, worker->n_conns, memory_order_relaxed);
}

/* --- closing -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_session(struct conn *conn)
{
    if (conn->ops != NULL)
        conn->ops->close(conn);
    conn->ops = NULL;
    conn->session = NULL;
    holding_close(conn);
}

/* Free everything but the struct itself, which libuv holds until its closing phase: callers up the
 * stack look at conn->dead. */
static void destroy(struct conn *conn)
{
    if (conn->dead)
        return;
    conn->dead = true;
    list_remove(&conn->link);
    list_remove(&conn->ready);
    list_remove(&conn->dirty);
    list_remove(&conn->fresh);
    LIST_EACH_SAFE (node, next, &conn->pending) {
        struct request *request = LIST_ENTRY(node, struct request, link);

        list_remove(node);
        request->conn = NULL;
    }
    conn->n_pending = 0;
    end_session(conn);
    buf_fini(&conn->in);
    output_fini(conn);
    crowd_leave(conn->place);
    conn->worker->n_conns--;
    publish_count(conn->worker);
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(conn->fd);
}

void conn_abort(struct conn *conn, const char *why)
{
    if (conn->dead || conn->aborted)
        return;
    if (why != NULL)
        log_debug("connection %llu from %s closed: %s", (unsigned long long)conn->id, conn->peer,
                  why);
    if (conn->feeding)
        conn->aborted = true;
    else
        destroy(conn);
}

/* Everything is said. If the client may still be sending, closing now would reset the connection
 * and could take the last reply with it (RFC 9112 section 9.6): shut our side down and let the
 * client end. */
static void finish(struct conn *conn)
{
    if (conn->eof || shutdown(conn->fd, SHUT_WR) != 0) {
        destroy(conn);
        return;
    }
    conn->lingering = true;
    conn->linger_since_ms = clock_now_ms();
    conn->active_ms = conn->linger_since_ms;
    list_remove(&conn->ready);
    end_session(conn);
    buf_fini(&conn->in);
    output_fini(conn);
}

/* --- what the connection waits for ---------------------------------------------------------- */

bool conn_congested(const struct conn *conn)
{
    return request_backlog(conn) > limits_of(conn->worker)->output_bytes / 2;
}

static bool wants_input(const struct conn *conn)
{
    if (conn->lingering)
        return true;
    return !conn->eof && !conn->closing && !conn->waiting && list_empty(&conn->ready) &&
           !conn_congested(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_update(struct conn *conn)
{
    int events = (wants_input(conn) ? UV_READABLE : 0) | (conn->blocked ? UV_WRITABLE : 0);

    if (conn->dead || events == conn->events)
        return;
    conn->events = events;
    if (events == 0)
        uv_poll_stop(&conn->poll);
    else if (uv_poll_start(&conn->poll, events, on_poll) != 0)
        conn_abort(conn, "cannot poll it");
}

static void on_ready_turn(uv_idle_t *idle);

/* The session goes on at the next turn of the loop. */
static void make_ready(struct conn *conn)
{
    struct worker *worker = conn->worker;

    if (conn->dead || conn->lingering || !list_empty(&conn->ready))
        return;
    list_push(&worker->ready, &conn->ready);
    uv_idle_start(&worker->ready_turn, on_ready_turn);
}

void conn_resume(struct conn *conn)
{
    if (!conn->waiting)
        return;
    conn->waiting = false;
    make_ready(conn);
}

void conn_flush_later(struct conn *conn)
{
    if (!conn->dead && list_empty(&conn->dirty))
        list_push(&conn->worker->dirty, &conn->dirty);
}

/* --- output --------------------------------------------------------------------------------- */

static void flush(struct conn *conn)
{
    list_remove(&conn->dirty);
    if (conn->dead || conn->lingering)
        return;
    if (output_unsent(conn) > 0)
        output_send(conn);
    if (conn->dead)
        return;
    if (output_unsent(conn) < DRAINED_BYTES && conn->ops != NULL && conn->ops->drained != NULL)
        conn->ops->drained(conn);
    if (conn->dead)
        return;
    if (output_unsent(conn) == 0) {
        conn->blocked = false;
        buf_shrink(&conn->out, IDLE_BUF_BYTES);
        if (conn->closing && list_empty(&conn->pending))
            finish(conn);
    }
    /* Input that was left lying because the client did not read its replies. */
    if (!conn->closing && !conn->waiting && buf_len(&conn->in) > 0 && !conn_congested(conn))
        make_ready(conn);
    poll_update(conn);
}

static void flush_all(struct worker *worker)
{
    struct list *node;

    if (!list_empty(&worker->dirty))
        worker->turn_ms = clock_now_ms();
    while ((node = worker->dirty.next) != &worker->dirty)
        flush(LIST_ENTRY(node, struct conn, dirty));
}

/* --- input ---------------------------------------------------------------------------------- */

/* Answer in the session's language and close. status: HTTP's. */
static void refuse(struct buf *out, bool http, int status, const char *why)
{
    int result = http ? api_refuse(out, status, why) : resp_error(out, "ERR %s", why);

    /* No memory for a refusal: the connection closes without one. */
    if (result != ERR_OK)
        log_debug("a refusal was not sent: %s", why);
}

/* Say it as memcached clients expect errors: this version does not serve them. */
static const struct session_ops *choose_auto(enum detect_result detected)
{
    switch (detected) {
    case DETECT_RESP:
        return &session_resp;
    case DETECT_HTTP:
        return &session_http;
    case DETECT_MEMCACHED:
        return &session_memcached;
    case DETECT_MORE:
        break;
    }
    return NULL;
}

/* What the listener names is spoken here, however it begins (inline RESP too); but a browser that
 * was made to talk to this port is refused. */
static const struct session_ops *choose_pinned(struct conn *conn, enum detect_result detected,
                                               const struct session_ops *pinned)
{
    char why[64];

    if (detected == DETECT_MORE)
        return NULL;
    if (detected != DETECT_HTTP)
        return pinned;
    snprintf(why, sizeof(why), "this listener speaks %s only", pinned->name);
    refuse(&conn->out, true, 400, why);
    conn->closing = true;
    return NULL;
}

/* HTTP on a listener that is the site's, or on one of the API. */
static const struct session_ops *choose_http(const struct conn *conn)
{
    return conn->worker->proxy != NULL && !conn->listener->admin &&
                   conn->listener->protocol == PROTOCOL_HTTP
               ? &session_site
               : &session_http;
}

/* The session for this connection; NULL: more bytes are needed, or conn->closing was set. */
static const struct session_ops *choose(struct conn *conn)
{
    size_t line_max = limits_of(conn->worker)->http_line_bytes + DETECT_EXTRA_BYTES;

    switch (conn->listener->protocol) {
    case PROTOCOL_HTTP:
        return choose_http(conn);
    case PROTOCOL_RESP:
        return choose_pinned(conn, detect_protocol(buf_slice(&conn->in), line_max), &session_resp);
    case PROTOCOL_AUTO:
        return choose_auto(detect_protocol(buf_slice(&conn->in), line_max));
    case PROTOCOL_MEMCACHED:
        return choose_pinned(conn, detect_protocol(buf_slice(&conn->in), line_max),
                             &session_memcached);
    }
    return NULL;
}

static bool open_session(struct conn *conn)
{
    const struct session_ops *ops = choose(conn);

    if (ops == NULL) {
        /* Undecided is like an unfinished head: it has as long as that. */
        if (conn->header_since_ms == 0)
            conn->header_since_ms = conn->active_ms;
        return false;
    }
    if (ops != &session_http && ops != &session_site)
        conn->header_since_ms = 0;
    if (ops->open(conn) != ERR_OK) {
        conn_abort(conn, "no memory for a session");
        return false;
    }
    conn->ops = ops;
    return true;
}

/* Whether what the connection says is its client's by now. */
static bool take_intro(struct conn *conn)
{
    const char *why = NULL;
    enum parse_status status = intro_take(conn, &why);

    if (status == PARSE_OK)
        return buf_len(&conn->in) > 0 || !conn->listener->proxy_protocol;
    if (status == PARSE_MORE && conn->header_since_ms == 0)
        conn->header_since_ms = conn->active_ms;
    if (status != PARSE_MORE)
        conn_abort(conn, why);
    return false;
}

static void act_on(struct conn *conn, enum session_result result)
{
    switch (result) {
    case SESSION_MORE:
        break;
    case SESSION_YIELD:
        /* Congested: flush() makes it ready again. */
        if (!conn_congested(conn))
            make_ready(conn);
        break;
    case SESSION_WAIT:
        if (list_empty(&conn->pending))
            make_ready(conn);
        else
            conn->waiting = true;
        break;
    case SESSION_CLOSE:
        conn->closing = true;
        break;
    }
    if (conn->closing)
        buf_fini(&conn->in);
}

/* Let the session take what it can of conn->in. */
static void feed(struct conn *conn)
{
    enum session_result result = SESSION_MORE;

    if (conn->ops != NULL || (take_intro(conn) && open_session(conn))) {
        conn->feeding = true;
        result = conn->ops->input(conn);
        conn->feeding = false;
    }
    if (conn->aborted)
        destroy(conn);
    if (conn->dead)
        return;
    if (!conn->closing)
        act_on(conn, result);
    buf_shrink(&conn->in, IDLE_BUF_BYTES);
    if (output_unsent(conn) > 0 || conn->closing)
        conn_flush_later(conn);
}

/* Read once, into conn->in where it has much room (an upload), else into the worker's scratch: so
 * that a buffer grows with what has come and not with what may come. Returns recv(2)'s result, or
 * -1 with ENOMEM. */
static ssize_t read_once(struct conn *conn)
{
    struct worker *worker = conn->worker;
    size_t room = conn->in.cap - conn->in.end;
    bool direct = room >= sizeof(worker->scratch);
    ssize_t n = recv(conn->fd, direct ? conn->in.data + conn->in.end : worker->scratch,
                     direct ? room : sizeof(worker->scratch), 0);

    if (n <= 0)
        return n;
    if (direct)
        buf_commit(&conn->in, (size_t)n);
    else if (buf_append(&conn->in, worker->scratch, (size_t)n) != ERR_OK) {
        errno = ENOMEM;
        return -1;
    }
    return n;
}

/* true: there is something new in conn->in. */
static bool read_input(struct conn *conn)
{
    ssize_t n = read_once(conn);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            conn_abort(conn, strerror(errno));
        return false;
    }
    if (n == 0) {
        /* Half-closed: what it asked for is still answered. */
        conn->eof = true;
        conn->closing = true;
        if (conn->ops != NULL && conn->ops->ended != NULL)
            conn->ops->ended(conn);
        conn_flush_later(conn);
        return false;
    }
    return true;
}

/* ---- what all of a turn have read ---- */

#define BATCH_KEYS 64 /* looked for in memory together */

/* The next connections, and the keys that they ask for; of one cache, nearly always the same. */
static struct cache *take_batch(struct worker *worker, struct list *batch, struct slice *keys,
                                size_t *n)
{
    struct cache *cache = NULL;

    while (!list_empty(&worker->fresh) && *n < BATCH_KEYS) {
        struct conn *conn = LIST_ENTRY(list_pop(&worker->fresh), struct conn, fresh);
        struct cache *own;
        size_t found;

        list_push(batch, &conn->fresh);
        if (conn->ops == NULL || conn->ops->peek == NULL)
            continue;
        found = conn->ops->peek(conn, &own, keys + *n, BATCH_KEYS - *n);
        if (found > 0 && cache == NULL)
            cache = own;
        if (found > 0 && cache == own)
            *n += found;
    }
    return cache;
}

/* Serve those who have read. What they ask for is mostly not in the processor's caches: the lines of
 * a whole batch are on their way together before the first of it is looked up. */
static void feed_fresh(struct worker *worker)
{
    struct slice keys[BATCH_KEYS];
    struct list batch;

    if (list_empty(&worker->fresh))
        return;
    worker->turn_ms = clock_now_ms();
    list_init(&batch);
    while (!list_empty(&worker->fresh)) {
        size_t n = 0;
        struct cache *cache = take_batch(worker, &batch, keys, &n);

        if (n > 1)
            cache_prefetch(cache, keys, n);
        while (!list_empty(&batch)) {
            struct conn *conn = LIST_ENTRY(list_pop(&batch), struct conn, fresh);

            conn->active_ms = worker->turn_ms;
            /* Somebody may have ended its input since it was read: a drain, another's request. */
            if (!conn->closing && !conn->lingering)
                feed(conn);
            poll_update(conn);
        }
    }
}

static void discard_input(struct conn *conn)
{
    struct worker *worker = conn->worker;
    ssize_t n = read(conn->fd, worker->scratch, sizeof(worker->scratch));

    if (n > 0)
        conn->active_ms = clock_now_ms();
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        destroy(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *conn = poll->data;

    if (status < 0) {
        /* The socket has an error and libuv has stopped the handle. What was received before it is
         * still taken; read() or send() tell when nothing is left. */
        conn->events = 0;
        events = UV_READABLE;
        if (!wants_input(conn)) {
            conn_abort(conn, "broken by the client");
            return;
        }
    }
    if ((events & UV_WRITABLE) != 0)
        flush(conn);
    if (!conn->dead && (events & UV_READABLE) != 0 && wants_input(conn)) {
        if (conn->lingering)
            discard_input(conn);
        else if (read_input(conn) && list_empty(&conn->fresh))
            list_push(&conn->worker->fresh, &conn->fresh);
    }
    if (!conn->dead)
        poll_update(conn);
}

/* --- turns of the loop ---------------------------------------------------------------------- */

static void on_ready_turn(uv_idle_t *idle)
{
    struct worker *worker = idle->loop->data;
    struct list batch;

    /* Only those that are ready now: one that yields again waits for the next turn. */
    list_init(&batch);
    while (!list_empty(&worker->ready))
        list_push(&batch, list_pop(&worker->ready));
    while (!list_empty(&batch)) {
        struct conn *conn = LIST_ENTRY(list_pop(&batch), struct conn, ready);

        if (!conn->closing && !conn_congested(conn))
            feed(conn);
        if (!conn->dead)
            poll_update(conn);
    }
    if (list_empty(&worker->ready))
        uv_idle_stop(idle);
}

static void on_before_poll(uv_prepare_t *prepare)
{
    flush_all(prepare->loop->data);
}

static void on_after_poll(uv_check_t *check)
{
    feed_fresh(check->loop->data);
    flush_all(check->loop->data);
}

int conn_init(struct worker *worker)
{
    list_init(&worker->conns);
    list_init(&worker->ready);
    list_init(&worker->dirty);
    list_init(&worker->fresh);
    list_init(&worker->subscribers);
    worker->pump.data = worker;
    uv_timer_init(&worker->loop, &worker->pump);
    worker->loop.data = worker;
    uv_idle_init(&worker->loop, &worker->ready_turn);
    uv_prepare_init(&worker->loop, &worker->flush_before);
    uv_check_init(&worker->loop, &worker->flush_after);
    if (uv_prepare_start(&worker->flush_before, on_before_poll) != 0 ||
        uv_check_start(&worker->flush_after, on_after_poll) != 0)
        return ERR_SYSTEM;
    return ERR_OK;
}

/* --- opening -------------------------------------------------------------------------------- */

static void describe_peer(struct conn *conn)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    char text[INET6_ADDRSTRLEN] = "?";

    if (getpeername(conn->fd, (struct sockaddr *)&addr, &len) != 0)
        addr.ss_family = AF_UNSPEC;
    if (addr.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&addr;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        snprintf(conn->peer, sizeof(conn->peer), "%s:%u", text, ntohs(in->sin_port));
        conn->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    } else if (addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;

        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        snprintf(conn->peer, sizeof(conn->peer), "[%s]:%u", text, ntohs(in6->sin6_port));
        conn->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    } else {
        conn->local = addr.ss_family == AF_UNIX;
        snprintf(conn->peer, sizeof(conn->peer), "%s", conn->local ? "unix" : "unknown");
    }
}

const struct config_user *conn_trusted(const struct conn *conn)
{
    const struct config_listener *listener = conn->listener;
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (!conn->local || listener->n_trust_users == 0 ||
        getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return NULL;
    return auth_peer(conn->worker->heritage->config, listener, peer.uid);
}

/* Too many connections: say so in the listener's protocol, without waiting, and close. */
static void refuse_connection(int fd, const struct config_listener *listener, int status,
                              const char *why)
{
    struct buf out = {0};

    refuse(&out, listener->protocol == PROTOCOL_HTTP, status, why);
    if (buf_len(&out) > 0 && send(fd, buf_head(&out), buf_len(&out), MSG_NOSIGNAL) < 0)
        log_debug("a connection was closed without a word: %s", why);
    buf_fini(&out);
}

static struct conn *conn_alloc(struct worker *worker, int fd,
                               const struct config_listener *listener)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    if (uv_poll_init(&worker->loop, &conn->poll, fd) != 0) {
        free(conn);
        return NULL;
    }
    conn->poll.data = conn;
    conn->worker = worker;
    conn->listener = listener;
    conn->fd = fd;
    list_init(&conn->link);
    list_init(&conn->ready);
    list_init(&conn->dirty);
    list_init(&conn->fresh);
    list_init(&conn->pending);
    list_init(&conn->leases);
    list_init(&conn->loans);
    conn->id = worker->next_client_id++ * SCOREBOARD_MAX + worker->slot;
    conn->opened_ms = clock_now_ms();
    conn->active_ms = conn->opened_ms;
    describe_peer(conn);
    conn->user = conn_trusted(conn);
    return conn;
}

void conn_open(struct worker *worker, int fd, const struct config_listener *listener)
{
    struct conn *conn;
    const char *why;

    if (worker->n_conns >= (uint64_t)limits_of(worker)->connections) {
        refuse_connection(fd, listener, 503, "max number of clients reached (limits.connections)");
        close(fd);
        return;
    }
    conn = conn_alloc(worker, fd, listener);
    if (conn == NULL) {
        log_warn("a new connection was closed: no memory for it");
        close(fd);
        return;
    }
    list_push(&worker->conns, &conn->link);
    worker->n_conns++;
    publish_count(worker);
    atomic_fetch_add_explicit(&worker->board->accepted, 1, memory_order_relaxed);
    if (!intro_admit(conn, &why)) {
        refuse_connection(fd, listener, 429, why);
        conn_abort(conn, why);
        return;
    }
    poll_update(conn);
}

/* --- time limits and drain ------------------------------------------------------------------ */

static bool passed(uint64_t since_ms, uint64_t limit_ms, uint64_t now_ms)
{
    return since_ms != 0 && limit_ms != 0 && now_ms >= since_ms + limit_ms;
}

/* The client has sent part of a request's head and then not the rest. */
static void time_out_header(struct conn *conn)
{
    if (conn->listener->proxy_protocol && !conn->introduced) {
        conn_abort(conn, "its PROXY header was not complete in time (limits.header_timeout)");
        return;
    }
    conn->header_since_ms = 0;
    refuse(conn_out(conn), true, 408,
           "the request head was not complete in time (limits.header_timeout)");
    conn->closing = true;
    buf_fini(&conn->in);
    conn_flush_later(conn);
    poll_update(conn);
}

static bool is_idle(const struct conn *conn)
{
    return list_empty(&conn->pending) && list_empty(&conn->ready) && buf_len(&conn->in) == 0 &&
           output_unsent(conn) == 0 && conn->header_since_ms == 0 && !conn->lingering &&
           (conn->ops == NULL || conn->ops->busy == NULL || !conn->ops->busy(conn));
}

/* A site's clients are anybody: one that takes nothing of its response, or sends nothing of its
 * request's body, holds an origin's connection, and one that is idle a descriptor. */
static const char *stalled_site(const struct conn *conn, const struct config_limits *limits,
                                uint64_t now_ms)
{
    bool its_turn =
        conn->blocked || (!list_empty(&conn->pending) && wants_input(conn) && !conn->tunnel);

    if (conn->ops != &session_site)
        return NULL;
    if (its_turn && passed(conn->active_ms, limits->http_stall_ms, now_ms))
        return "stalled (limits.http_stall)";
    if (is_idle(conn) && passed(conn->active_ms, limits->http_idle_ms, now_ms))
        return "idle (limits.http_idle)";
    return NULL;
}

static void check_timeouts(struct conn *conn, uint64_t now_ms)
{
    const struct config_limits *limits = limits_of(conn->worker);
    const char *stalled = stalled_site(conn, limits, now_ms);

    if (conn->lingering) {
        if (passed(conn->active_ms, LINGER_IDLE_MS, now_ms) ||
            passed(conn->linger_since_ms, LINGER_TOTAL_MS, now_ms))
            destroy(conn);
    } else if (passed(conn->over_since_ms, SLOW_READER_MS, now_ms)) {
        log_warn("connection %llu from %s dropped: it does not read, and %zu bytes wait for it "
                 "(limits.output)",
                 (unsigned long long)conn->id, conn->peer, request_backlog(conn));
        destroy(conn);
    } else if (!conn->closing && passed(conn->header_since_ms, limits->header_timeout_ms, now_ms)) {
        time_out_header(conn);
    } else if (list_empty(&conn->pending) &&
               passed(conn->active_ms, limits->idle_timeout_ms, now_ms)) {
        conn_abort(conn, "idle (limits.idle_timeout)");
    } else if (stalled != NULL) {
        conn_abort(conn, stalled);
    }
}

void conn_check_timeouts(struct worker *worker, uint64_t now_ms)
{
    LIST_EACH_SAFE (node, next, &worker->conns) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        output_settle(conn, now_ms);
        if (!conn->dead)
            check_timeouts(conn, now_ms);
    }
}

static void feed_now(struct conn *conn)
{
    if (!read_input(conn))
        return;
    conn->active_ms = clock_now_ms();
    feed(conn);
}

void conn_drain_all(struct worker *worker)
{
    LIST_EACH_SAFE (node, next, &worker->conns) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        /* A request that has arrived and is not read yet is still answered. */
        if (is_idle(conn) && wants_input(conn))
            feed_now(conn);
        if (!conn->dead && is_idle(conn))
            destroy(conn);
        else if (!conn->dead)
            poll_update(conn);
    }
    flush_all(worker);
}
