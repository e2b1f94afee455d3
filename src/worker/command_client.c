/* CLIENT: what a connection says of itself, and what is known of it. LIST and KILL are about the
 * connections of all workers: the others are asked, and what they have not answered in time is left
 * out. */
#define _GNU_SOURCE 1 /* memfd_create */
#include "worker/command.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "worker/client.h"
#include "worker/peers.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A worker that has not answered by then is busy, or gone. */
#define ANSWER_MS 1000

/* As Redis: no spaces, no control characters, nothing beyond ASCII. */
static bool name_ok(struct slice name, size_t cap)
{
    if (name.len >= cap)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < '!' || name.data[i] > '~')
            return false;
    return true;
}

static void keep_name(char *to, struct slice name)
{
    if (name.len > 0)
        memcpy(to, name.data, name.len);
    to[name.len] = '\0';
}

bool client_set_name(struct call *call, struct slice name)
{
    if (!name_ok(name, sizeof(call->session->name))) {
        reply_error(call->out,
                    "ERR Client names cannot contain spaces, newlines or special characters, "
                    "and have at most %zu bytes.",
                    sizeof(call->session->name) - 1);
        return false;
    }
    keep_name(call->session->name, name);
    return true;
}

static void set_name(struct call *call)
{
    if (client_set_name(call, call->argv[2]))
        reply_ok(call->out);
}

static void get_name(struct call *call)
{
    if (call->session->name[0] == '\0')
        reply_null(call->out, call->session->version);
    else
        reply_bulk(call->out, slice_cstr(call->session->name));
}

static void get_id(struct call *call)
{
    reply_integer(call->out, (int64_t)call->conn->id);
}

static void set_info(struct call *call)
{
    struct resp_session *session = call->session;
    bool name = slice_ieq(call->argv[2], "LIB-NAME");

    if (!name && !slice_ieq(call->argv[2], "LIB-VER")) {
        reply_error(call->out, "ERR Unrecognized option '%.*s'",
                    (int)(call->argv[2].len > 64 ? 64 : call->argv[2].len), call->argv[2].data);
        return;
    }
    if (!name_ok(call->argv[3], name ? sizeof(session->lib_name) : sizeof(session->lib_version))) {
        reply_error(call->out,
                    "ERR %s cannot contain spaces, newlines or special characters, or is too long.",
                    name ? "lib-name" : "lib-ver");
        return;
    }
    keep_name(name ? session->lib_name : session->lib_version, call->argv[3]);
    reply_ok(call->out);
}

/* ---- INFO and LIST ---- */

/* One line in Redis' form. Of a connection that speaks another protocol less is known. */
static int describe(const struct conn *conn, struct buf *out)
{
    const struct resp_session *session = conn->ops == &session_resp ? conn->session : NULL;
    uint64_t now_ms = clock_now_ms();
    int rc = buf_printf(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=N",
                        (unsigned long long)conn->id, conn->peer, conn->listener->address, conn->fd,
                        session != NULL ? session->name : "",
                        (unsigned long long)(now_ms - conn->opened_ms) / 1000,
                        (unsigned long long)(now_ms - conn->active_ms) / 1000);

    if (rc != ERR_OK || session == NULL)
        return rc == ERR_OK ? buf_printf(out, " protocol=%s\n", conn->ops ? conn->ops->name : "-")
                            : rc;
    return buf_printf(out,
                      " db=%u sub=0 psub=0 multi=%d qbuf=%zu obl=%zu user=%s resp=%d "
                      "lib-name=%s lib-ver=%s cache=%s\n",
                      session->db, session->transaction.open ? (int)session->transaction.n : -1,
                      buf_len(&conn->in), buf_len(&conn->out),
                      conn->user == NULL ? "default" : conn->user->name, session->version,
                      session->lib_name, session->lib_version, cache_config(session->cache)->name);
}

int client_lines(struct worker *worker, const struct conn *only, struct buf *out)
{
    int rc = ERR_OK;

    LIST_EACH_SAFE (node, next, &worker->conns) {
        const struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (rc == ERR_OK && (only == NULL || conn == only))
            rc = describe(conn, out);
    }
    return rc;
}

static void info(struct call *call)
{
    struct buf lines = {0};

    if (client_lines(call->conn->worker, call->conn, &lines) == ERR_OK)
        reply_bulk(call->out, buf_slice(&lines));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&lines);
}

/* ---- asking the other workers ---- */

/* LIST or KILL, its answers still to come. */
struct inquiry {
    struct parked parked;
    uv_poll_t poll; /* of ring, which each answer raises by one */
    uv_timer_t timer;
    int ring;
    int files[SCOREBOARD_MAX]; /* where the answers go */
    unsigned asked, answered;
    bool list, integer; /* how the reply is given */
    int64_t killed;
    struct buf lines;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct inquiry *inquiry = handle->data;

    buf_fini(&inquiry->lines);
    free(inquiry);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct inquiry *inquiry = handle->data;

    close(inquiry->ring);
    uv_close((uv_handle_t *)&inquiry->timer, on_timer_closed);
}

static void free_inquiry(struct request *request)
{
    struct inquiry *inquiry = (struct inquiry *)(void *)request;

    uv_close((uv_handle_t *)&inquiry->poll, on_poll_closed);
}

static void reply_killed(struct buf *out, int64_t killed, bool integer)
{
    if (integer)
        reply_integer(out, killed);
    else if (killed > 0)
        reply_ok(out);
    else
        reply_error(out, "ERR No such client");
}

/* What one worker wrote; an answer that is not there yet is empty. */
static int take_answer(struct inquiry *inquiry, int file)
{
    struct stat status;
    size_t len = fstat(file, &status) == 0 && status.st_size > 0 ? (size_t)status.st_size : 0;
    char *place = buf_reserve(&inquiry->lines, len + 1);

    if (place == NULL)
        return ERR_NOMEM;
    if (len == 0 || pread(file, place, len, 0) != (ssize_t)len)
        return ERR_OK;
    if (inquiry->list) {
        buf_commit(&inquiry->lines, len);
    } else {
        place[len] = '\0';
        inquiry->killed += strtoll(place, NULL, 10);
    }
    return ERR_OK;
}

static void inquiry_end(struct inquiry *inquiry)
{
    struct buf *out = &inquiry->parked.request.reply;
    int rc = ERR_OK;

    uv_poll_stop(&inquiry->poll);
    uv_timer_stop(&inquiry->timer);
    for (unsigned i = 0; i < inquiry->asked; i++) {
        if (rc == ERR_OK)
            rc = take_answer(inquiry, inquiry->files[i]);
        close(inquiry->files[i]);
    }
    if (inquiry->answered < inquiry->asked)
        log_warn("%u of %u workers did not answer CLIENT in %d ms",
                 inquiry->asked - inquiry->answered, inquiry->asked, ANSWER_MS);
    if (rc != ERR_OK)
        reply_error(out, "ERR out of memory");
    else if (inquiry->list)
        reply_bulk(out, buf_slice(&inquiry->lines));
    else
        reply_killed(out, inquiry->killed, inquiry->integer);
    request_finish(&inquiry->parked.request);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct inquiry *inquiry = poll->data;
    eventfd_t n;

    (void)events;
    if (status < 0 || eventfd_read(inquiry->ring, &n) != 0)
        return; /* the timer ends it */
    inquiry->answered += (unsigned)n;
    if (inquiry->answered >= inquiry->asked)
        inquiry_end(inquiry);
}

static void on_time(uv_timer_t *timer)
{
    inquiry_end(timer->data);
}

/* Ask one worker; one that cannot be asked now has nothing to say. */
static void ask(struct inquiry *inquiry, const struct heritage *heritage, unsigned slot,
                struct peer_message message)
{
    int fds[2] = {memfd_create("cachetastic:answer", MFD_CLOEXEC), inquiry->ring};

    message.number = slot;
    if (fds[0] < 0)
        return;
    if (peers_send(heritage, slot, &message, fds, 2))
        inquiry->files[inquiry->asked++] = fds[0];
    else
        close(fds[0]);
}

static bool serves(const struct scoreboard *board, unsigned slot)
{
    return slot < board->n_slots && atomic_load_explicit(&board->slots[slot].state,
                                                         memory_order_relaxed) == SLOT_SERVING;
}

/* Whether another worker may know more than this one. Between MULTI and EXEC nobody waits. */
static bool has_peers(const struct call *call, const struct peer_message *message)
{
    const struct worker *worker = call->conn->worker;
    const struct scoreboard *board = worker->heritage->board;

    if (call->atomic)
        return false;
    if (message->id != 0)
        return message->id % SCOREBOARD_MAX != worker->slot &&
               serves(board, message->id % SCOREBOARD_MAX);
    for (unsigned i = 0; i < board->n_slots; i++)
        if (i != worker->slot && serves(board, i))
            return true;
    return false;
}

/* Ask them; lines, which is taken over, and killed are what this worker knows. */
static void ask_peers(struct call *call, const struct peer_message *message, struct buf lines,
                      int64_t killed, bool integer)
{
    struct worker *worker = call->conn->worker;
    const struct scoreboard *board = worker->heritage->board;
    int ring = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct inquiry *inquiry = ring >= 0 ? park(call, sizeof(*inquiry)) : NULL;

    if (inquiry == NULL) {
        if (ring < 0)
            reply_error(call->out, "ERR no descriptor to ask the other workers with");
        else
            close(ring);
        buf_fini(&lines);
        return;
    }
    inquiry->parked.request.free = free_inquiry;
    inquiry->ring = ring;
    inquiry->list = message->kind == PEER_LIST;
    inquiry->integer = integer;
    inquiry->killed = killed;
    inquiry->lines = lines;
    uv_poll_init(&worker->loop, &inquiry->poll, ring);
    uv_timer_init(&worker->loop, &inquiry->timer);
    inquiry->poll.data = inquiry->timer.data = inquiry;
    for (unsigned i = 0; i < board->n_slots && i < SCOREBOARD_MAX; i++) {
        if (i != worker->slot && serves(board, i) &&
            (message->id == 0 || message->id % SCOREBOARD_MAX == i))
            ask(inquiry, worker->heritage, i, *message);
    }
    uv_poll_start(&inquiry->poll, UV_READABLE, on_answer);
    uv_timer_start(&inquiry->timer, on_time, inquiry->asked > 0 ? ANSWER_MS : 0, 0);
}

static void list(struct call *call)
{
    struct peer_message message = {.kind = PEER_LIST};
    struct buf lines = {0};

    if (call->argc != 2 && !(call->argc == 4 && slice_ieq(call->argv[2], "TYPE") &&
                             slice_ieq(call->argv[3], "NORMAL"))) {
        reply_error(call->out, "ERR syntax error: CLIENT LIST [TYPE NORMAL]");
        return;
    }
    if (client_lines(call->conn->worker, NULL, &lines) != ERR_OK) {
        reply_error(call->out, "ERR out of memory");
    } else if (has_peers(call, &message)) {
        ask_peers(call, &message, lines, 0, false);
        return;
    } else {
        reply_bulk(call->out, buf_slice(&lines));
    }
    buf_fini(&lines);
}

/* ---- KILL ---- */

static bool is_victim(const struct conn *conn, struct slice address, uint64_t id)
{
    return id != 0 ? conn->id == id : slice_eq(address, slice_cstr(conn->peer));
}

uint64_t client_kill(struct worker *worker, struct slice address, uint64_t id,
                     const struct conn *self)
{
    uint64_t killed = 0;

    LIST_EACH_SAFE (node, next, &worker->conns) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (!is_victim(conn, address, id))
            continue;
        killed++;
        if (conn != self)
            conn_abort(conn, "CLIENT KILL");
    }
    return killed;
}

static void kill_everywhere(struct call *call, struct slice address, uint64_t id, bool integer)
{
    struct peer_message message = {.kind = PEER_KILL, .id = id};
    int64_t killed =
        (int64_t)client_kill(call->conn->worker, address, id, call->conn);

    call->close = call->close || is_victim(call->conn, address, id);
    if (address.len >= sizeof(message.address) || !has_peers(call, &message)) {
        reply_killed(call->out, killed, integer);
        return;
    }
    if (id == 0)
        memcpy(message.address, address.data, address.len);
    ask_peers(call, &message, (struct buf){0}, killed, integer);
}

/* KILL addr, KILL ADDR addr, KILL ID id. */
static void kill_client(struct call *call)
{
    int64_t id = 0;

    if (!command_may(call, AUTH_ADMIN))
        return;
    if (call->argc == 3) {
        kill_everywhere(call, call->argv[2], 0, false);
    } else if (call->argc == 4 && slice_ieq(call->argv[2], "ADDR")) {
        kill_everywhere(call, call->argv[3], 0, true);
    } else if (call->argc == 4 && slice_ieq(call->argv[2], "ID")) {
        if (units_parse_int(call->argv[3], &id) != ERR_OK || id < 1)
            reply_error(call->out, "ERR client-id should be greater than 0");
        else
            kill_everywhere(call, (struct slice){0}, (uint64_t)id, true);
    } else {
        reply_error(call->out, "ERR syntax error: CLIENT KILL addr | ADDR addr | ID id");
    }
}

/* ---- what changes nothing here ---- */

static void on_or_off(struct call *call)
{
    if (slice_ieq(call->argv[2], "ON") || slice_ieq(call->argv[2], "OFF"))
        reply_ok(call->out);
    else
        reply_error(call->out, "ERR syntax error");
}

static void reply_mode(struct call *call)
{
    if (slice_ieq(call->argv[2], "ON"))
        reply_ok(call->out);
    else
        reply_error(call->out, "ERR CLIENT REPLY OFF and SKIP are not supported");
}

static void unpause(struct call *call)
{
    reply_ok(call->out);
}

static void get_redirection(struct call *call)
{
    reply_integer(call->out, -1);
}

void cmd_client(struct call *call)
{
    static const struct subcommand table[] = {
        {"GETNAME", 2, get_name},   {"GETREDIR", 2, get_redirection}, {"ID", 2, get_id},
        {"INFO", 2, info},          {"KILL", -3, kill_client},        {"LIST", -2, list},
        {"NO-EVICT", 3, on_or_off}, {"NO-TOUCH", 3, on_or_off},       {"REPLY", 3, reply_mode},
        {"SETINFO", 4, set_info},   {"SETNAME", 3, set_name},         {"UNPAUSE", 2, unpause},
    };

    command_sub(call, table, sizeof(table) / sizeof(table[0]));
}
