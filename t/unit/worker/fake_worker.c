#include "fake_worker.h"

#include "worker/client.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REQUESTS 16

struct fake_request {
    struct request request;
    unsigned number;
};

static struct fake_request *open_requests[MAX_REQUESTS];
static unsigned n_open_requests, n_open_sessions;

static void free_request(struct request *request)
{
    struct fake_request *fake = LIST_ENTRY(request, struct fake_request, request);

    open_requests[fake->number] = NULL;
    n_open_requests--;
    free(fake);
}

static void start_request(struct conn *conn, unsigned number)
{
    struct fake_request *fake = calloc(1, sizeof(*fake));

    ck_assert_ptr_nonnull(fake);
    ck_assert_uint_lt(number, MAX_REQUESTS);
    fake->number = number;
    fake->request.free = free_request;
    open_requests[number] = fake;
    n_open_requests++;
    request_start(conn, &fake->request);
}

void fake_answer(unsigned number)
{
    struct fake_request *fake = open_requests[number];

    ck_assert_ptr_nonnull(fake);
    ck_assert_int_eq(buf_printf(&fake->request.reply, "l%u;", number), ERR_OK);
    request_finish(&fake->request);
}

unsigned fake_open_requests(void)
{
    return n_open_requests;
}

unsigned fake_open_sessions(void)
{
    return n_open_sessions;
}

static void say(struct conn *conn, struct slice text)
{
    struct buf *out = conn_out(conn);

    ck_assert_int_eq(buf_append(out, text.data, text.len), ERR_OK);
    ck_assert_int_eq(buf_append(out, ";", 1), ERR_OK);
}

static void say_bytes(struct conn *conn, size_t n)
{
    char *place = buf_reserve(conn_out(conn), n);

    ck_assert_ptr_nonnull(place);
    memset(place, 'x', n);
    buf_commit(conn_out(conn), n);
}

static enum session_result run_line(struct conn *conn, struct slice line)
{
    struct slice rest = slice_make(line.data + 1, line.len - 1);

    switch (line.data[0]) {
    case 'e':
        say(conn, rest);
        break;
    case 'l':
        start_request(conn, (unsigned)atoi(rest.data));
        break;
    case 'b':
        say_bytes(conn, (size_t)atol(rest.data));
        break;
    case 'w':
        if (conn->n_pending > 0)
            return SESSION_WAIT;
        say(conn, line);
        break;
    case 'y':
        say(conn, line);
        return SESSION_YIELD;
    case 'q':
        say(conn, SLICE_LIT("bye"));
        return SESSION_CLOSE;
    case 'a':
        conn_abort(conn, "asked to");
        break;
    default:
        ck_abort_msg("unknown line %.*s", (int)line.len, line.data);
    }
    return SESSION_MORE;
}

static enum session_result input(struct conn *conn)
{
    while (buf_len(&conn->in) > 0) {
        struct slice all = buf_slice(&conn->in);
        const char *newline = memchr(all.data, '\n', all.len);
        enum session_result result;

        if (newline == NULL)
            break;
        result = run_line(conn, slice_make(all.data, (size_t)(newline - all.data)));
        if (result == SESSION_WAIT)
            return result;
        buf_consume(&conn->in, (size_t)(newline - all.data) + 1);
        if (result != SESSION_MORE)
            return result;
        if (conn_congested(conn))
            return SESSION_YIELD;
    }
    return SESSION_MORE;
}

static int open_session(struct conn *conn)
{
    conn->session = conn;
    n_open_sessions++;
    return ERR_OK;
}

static void close_session(struct conn *conn)
{
    ck_assert_ptr_eq(conn->session, conn);
    n_open_sessions--;
}

const struct session_ops session_resp = {
    .name = "resp", .open = open_session, .input = input, .close = close_session};
const struct session_ops session_http = {
    .name = "http", .open = open_session, .input = input, .close = close_session};
const struct session_ops session_memcached = {
    .name = "memcached", .open = open_session, .input = input, .close = close_session};

const struct session_ops session_site = {
    .name = "site", .open = open_session, .input = input, .close = close_session};

/* Stands in for the HTTP layer, which these tests do not need. */
int api_refuse(struct buf *out, int status, const char *why)
{
    return buf_printf(out, "HTTP %d %s", status, why);
}

void fake_start(struct fake *fake, unsigned self, unsigned n_slots, struct scoreboard *board)
{
    struct errmsg msg;

    *fake = (struct fake){.board = board};
    if (board == NULL)
        ck_assert_int_eq(scoreboard_create(n_slots, &fake->board, &msg), ERR_OK);
    fake->config.limits = (struct config_limits){
        .connections = 100, .http_line_bytes = 1024, .output_bytes = 1 << 20};
    fake->listener = (struct config_listener){.protocol = PROTOCOL_RESP, .backlog = 128};
    fake->heritage.config = &fake->config;
    fake->heritage.board = fake->board;
    fake->worker = calloc(1, sizeof(*fake->worker));
    ck_assert_ptr_nonnull(fake->worker);
    fake->worker->heritage = &fake->heritage;
    fake->worker->slot = self;
    fake->worker->board = &fake->board->slots[self];
    atomic_store(&fake->worker->board->state, SLOT_SERVING);
    ck_assert_int_eq(uv_loop_init(&fake->worker->loop), 0);
    ck_assert_int_eq(conn_init(fake->worker), ERR_OK);
    list_init(&fake->worker->listeners);
    list_init(&fake->worker->direct);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void fake_end(struct fake *fake)
{
    LIST_EACH_SAFE (node, next, &fake->worker->conns)
        conn_abort(LIST_ENTRY(node, struct conn, link), NULL);
    ck_assert_uint_eq(fake->worker->n_conns, 0);
    ck_assert_uint_eq(atomic_load(&fake->worker->board->connections), 0);
    uv_walk(&fake->worker->loop, close_handle, NULL);
    uv_run(&fake->worker->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&fake->worker->loop), 0);
    free(fake->worker);
}

int fake_connect(struct fake *fake)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    conn_open(fake->worker, fds[0], &fake->listener);
    return fds[1];
}

void fake_turns(struct fake *fake)
{
    for (int i = 0; i < 8; i++)
        uv_run(&fake->worker->loop, UV_RUN_NOWAIT);
}

void fake_send(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

const char *fake_received(int fd)
{
    static char text[65536];
    size_t room = sizeof(text) - sizeof("EOF");
    size_t len = 0;
    ssize_t n = -1;

    while (len < room && (n = read(fd, text + len, room - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    if (n == 0)
        strcpy(text + len, "EOF");
    return text;
}

/* ---- nobody asks about connections ---- */

int client_lines(struct worker *worker, const struct conn *only, struct buf *out)
{
    ck_abort_msg("lines of %p, only %p, to %p", (void *)worker, (const void *)only, (void *)out);
}

uint64_t client_kill(struct worker *worker, struct slice address, uint64_t id,
                     const struct conn *self)
{
    ck_abort_msg("kill in %p from %.*s number %llu, but not %p", (void *)worker, (int)address.len,
                 address.data, (unsigned long long)id, (const void *)self);
}
