/* CLIENT: what a connection says of itself, and what is known of it. LIST and KILL know the
 * connections of the worker that serves the asking one; the others are the other workers'. */
#include "worker/command.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/units.h"

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

static void reply_lines(struct call *call, const struct conn *only)
{
    struct buf lines = {0};
    int rc = ERR_OK;

    LIST_EACH_SAFE (node, next, &call->conn->worker->conns) {
        const struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (rc == ERR_OK && (only == NULL || conn == only))
            rc = describe(conn, &lines);
    }
    if (rc == ERR_OK)
        reply_bulk(call->out, buf_slice(&lines));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&lines);
}

static void info(struct call *call)
{
    reply_lines(call, call->conn);
}

static void list(struct call *call)
{
    if (call->argc == 2 ||
        (call->argc == 4 && slice_ieq(call->argv[2], "TYPE") && slice_ieq(call->argv[3], "NORMAL")))
        reply_lines(call, NULL);
    else
        reply_error(call->out, "ERR syntax error: CLIENT LIST [TYPE NORMAL]");
}

/* ---- KILL ---- */

static bool is_victim(const struct conn *conn, struct slice address, int64_t id)
{
    return address.data != NULL ? slice_eq(address, slice_cstr(conn->peer))
                                : conn->id == (uint64_t)id;
}

static int64_t kill_conns(struct call *call, struct slice address, int64_t id)
{
    int64_t killed = 0;

    LIST_EACH_SAFE (node, next, &call->conn->worker->conns) {
        struct conn *conn = LIST_ENTRY(node, struct conn, link);

        if (!is_victim(conn, address, id))
            continue;
        killed++;
        if (conn == call->conn)
            call->close = true;
        else
            conn_abort(conn, "CLIENT KILL");
    }
    return killed;
}

/* KILL addr, KILL ADDR addr, KILL ID id. */
static void kill_client(struct call *call)
{
    int64_t id = 0;

    if (!command_may(call, AUTH_ADMIN))
        return;
    if (call->argc == 3) {
        if (kill_conns(call, call->argv[2], 0) > 0)
            reply_ok(call->out);
        else
            reply_error(call->out, "ERR No such client");
    } else if (call->argc == 4 && slice_ieq(call->argv[2], "ADDR")) {
        reply_integer(call->out, kill_conns(call, call->argv[3], 0));
    } else if (call->argc == 4 && slice_ieq(call->argv[2], "ID")) {
        if (units_parse_int(call->argv[3], &id) != ERR_OK || id < 1)
            reply_error(call->out, "ERR client-id should be greater than 0");
        else
            reply_integer(call->out, kill_conns(call, (struct slice){0}, id));
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
