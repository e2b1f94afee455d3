/* Commands that we do not serve ourselves, and those between MULTI and EXEC: on to Redis
 * (cache/pass.h).
 */
#include "worker/command.h"

#include "cache/pass.h"
#include "common/log.h"
#include "worker/subscribe.h"

/* Waits for what is before it, and what is after it waits: it may be about anything. */
static const struct command row = {.name = "PASS",
                                   .arity = -1,
                                   .flags = COMMAND_ADMIN | COMMAND_READ | COMMAND_WRITE |
                                            COMMAND_SUBSCRIBED_OK,
                                   .run = cmd_pass};

struct passing {
    struct parked parked;
    struct pass_call call;
    int version;
};

static void write_items(struct buf *out, const struct reply *reply, int version);

static void write_reply(struct buf *out, const struct reply *reply, int version)
{
    switch (reply->type) {
    case REPLY_NIL:
        reply_null(out, version);
        break;
    case REPLY_STATUS:
        (void)!buf_printf(out, "+%.*s\r\n", (int)reply->str.len, reply->str.data);
        break;
    case REPLY_ERROR:
        reply_error(out, "%.*s", (int)reply->str.len, reply->str.data);
        break;
    case REPLY_INTEGER:
        reply_integer(out, reply->integer);
        break;
    case REPLY_STRING:
        reply_bulk(out, reply->str);
        break;
    case REPLY_ARRAY:
        (void)!resp_array(out, reply->n_items);
        write_items(out, reply, version);
        break;
    }
}

static void write_items(struct buf *out, const struct reply *reply, int version)
{
    for (size_t i = 0; i < reply->n_items; i++)
        write_reply(out, &reply->items[i], version);
}

static void on_answer(struct pass_call *call, enum cache_status status, const struct reply *reply,
                      const char *error)
{
    struct passing *passing = LIST_ENTRY(call, struct passing, call);
    struct buf *out = &passing->parked.request.reply;

    if (status != CACHE_OK)
        reply_error(out, "%s", error);
    else if (reply != NULL)
        write_reply(out, reply, passing->version);
}

static void on_finish(struct pass_call *call)
{
    request_finish(&LIST_ENTRY(call, struct passing, call)->parked.request);
}

/* A message for a subscriber; NULL: its connection to Redis was lost, and it must subscribe anew.
 */
static void on_message(void *arg, const struct reply *reply)
{
    struct resp_session *session = arg;
    struct conn *conn = session->conn;
    struct buf *out = conn_out(conn);

    if (reply == NULL) {
        conn_abort(conn, "the connection to Redis that it was subscribed on was lost");
        return;
    }
    (void)!resp_push(out, reply->n_items, session->version);
    write_items(out, reply, session->version);
    if (request_backlog(conn) <= conn->worker->heritage->config->limits.output_bytes) {
        conn_flush_later(conn);
        return;
    }
    log_warn("connection %llu from %s dropped: it does not read its messages, and %zu bytes wait "
             "for it (limits.output)",
             (unsigned long long)conn->id, conn->peer, request_backlog(conn));
    conn_abort(conn, NULL);
}

/* The session's way to Redis, made if need be; false: no memory, answered. */
static bool open_pass(struct call *call)
{
    struct resp_session *session = call->session;

    if (session->pass == NULL)
        session->pass = pass_create(call->conn->worker->caches, on_message, session);
    if (session->pass == NULL)
        reply_error(call->out, "ERR out of memory");
    return session->pass != NULL;
}

bool command_pass_db(struct call *call, int64_t db)
{
    if (db < 0 && call->session->pass == NULL)
        return true;
    if (!open_pass(call))
        return false;
    pass_db(call->session->pass, db);
    return true;
}

void cmd_pass(struct call *call)
{
    struct resp_session *session = call->session;
    struct passing *passing;

    if (!open_pass(call))
        return;
    passing = park(call, sizeof(*passing));
    if (passing == NULL)
        return;
    passing->version = session->version;
    passing->call = (struct pass_call){
        .answer = on_answer, .finish = on_finish, .keys_named = command_script_is_known(call)};
    pass_send(session->pass, call->cache, call->argc, call->argv, &passing->call);
}

/* Whether it is about channels of Redis. */
static bool is_foreign_channel(const struct call *call)
{
    static const char *const names[] = {"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"};
    size_t i = 0;

    while (i < 4 && !slice_ieq(call->argv[0], names[i]))
        i++;
    if (i == 4)
        return false;
    for (int k = 1; k < call->argc; k++)
        if (!slice_starts(call->argv[k], SLICE_LIT("cachetastic.")))
            return true;
    return call->argc == 1 && session_passes_messages(call->session);
}

bool session_passes_messages(const struct resp_session *session)
{
    return session->pass != NULL && pass_subscribed(session->pass);
}

/* Whether Redis does it where there is one, although we could. */
static bool is_upstream(const struct command *command)
{
    static const char *const names[] = {"EXEC", "DISCARD", "SCRIPT", "OBJECT", "MEMORY"};

    if (command->flags & COMMAND_NATIVE)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(command->name, names[i]) == 0)
            return true;
    return false;
}

/* Whether it asks about a key of whatever type, and L1, which has strings, cannot say. */
static bool asks_of_any_type(const struct call *call)
{
    static const char *const names[] = {"EXISTS", "TOUCH",      "TTL",        "PTTL",
                                        "TYPE",   "EXPIRETIME", "PEXPIRETIME"};
    struct cache_info info;
    size_t i = 0;

    while (i < sizeof(names) / sizeof(names[0]) && strcmp(call->command->name, names[i]) != 0)
        i++;
    if (i == sizeof(names) / sizeof(names[0]))
        return false;
    for (int k = 1; k < call->argc; k++)
        if (cache_get(call->cache, call->argv[k], NULL, NULL, &info) == CACHE_WAIT)
            return true;
    return false;
}

/* Whether it asks how much memory there is and what happens when it is full: Redis decides that,
 * and clients that keep more than strings choose by it. */
static bool asks_of_memory(const struct call *call)
{
    if (strcmp(call->command->name, "INFO") == 0)
        return call->argc == 2 && slice_ieq(call->argv[1], "memory");
    return strcmp(call->command->name, "CONFIG") == 0 && call->argc == 3 &&
           slice_ieq(call->argv[1], "GET") && slice_starts(call->argv[2], SLICE_LIT("maxmemory"));
}

const struct command *command_pass(const struct call *call)
{
    const struct command *command = call->command;
    const struct pass *pass = call->session->pass;

    if (!cache_has_l2(call->cache) || call->session->transaction.open)
        return command;
    if (command == NULL || is_upstream(command) || is_foreign_channel(call) ||
        asks_of_any_type(call) || asks_of_memory(call))
        return &row;
    if (pass == NULL || !pass_holds(pass) || command->flags & COMMAND_UNKNOWN_OK)
        return command;
    /* In another database the connection's own commands are still ours. */
    return pass_transacts(pass) || (command->flags & COMMAND_LOCAL) == 0 ? &row : command;
}
