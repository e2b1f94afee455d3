/* Commands about the connection and the daemon. */
#include "worker/command.h"

#include "cache/pass.h"
#include "common/auth.h"
#include "common/clock.h"
#include "common/units.h"
#include "worker/keyspace.h"
#include "worker/subscribe.h"

#include <stdio.h>

void cmd_ping(struct call *call)
{
    if (call->argc > 2)
        reply_error(call->out, "ERR wrong number of arguments for 'ping' command");
    else if ((call->session->subscription != NULL || session_passes_messages(call->session)) &&
             call->session->version == 2) {
        (void)!resp_array(call->out, 2);
        reply_bulk(call->out, SLICE_LIT("pong"));
        reply_bulk(call->out, call->argc == 2 ? call->argv[1] : SLICE_LIT(""));
    } else if (call->argc == 2)
        reply_bulk(call->out, call->argv[1]);
    else
        (void)!resp_status(call->out, "PONG");
}

void cmd_echo(struct call *call)
{
    reply_bulk(call->out, call->argv[1]);
}

void cmd_quit(struct call *call)
{
    reply_ok(call->out);
    call->close = true;
}

void cmd_select(struct call *call)
{
    int64_t db;

    if (units_parse_int(call->argv[1], &db) != ERR_OK)
        reply_error(call->out, "ERR value is not an integer or out of range");
    else if (keyspace_select(call, db))
        reply_ok(call->out);
}

void cmd_swapdb(struct call *call)
{
    reply_error(call->out, "ERR SWAPDB is not supported: a key belongs to one cache");
}

/* Replicas that have the writes: there are none. */
void cmd_wait(struct call *call)
{
    int64_t number;

    if (units_parse_int(call->argv[1], &number) != ERR_OK ||
        units_parse_int(call->argv[2], &number) != ERR_OK)
        reply_error(call->out, "ERR value is not an integer or out of range");
    else
        reply_integer(call->out, 0);
}

/* False: an error was answered. */
static bool log_in(struct call *call, struct slice name, struct slice password)
{
    const struct config *config = call->conn->worker->heritage->config;
    const struct config_user *user;

    if (!auth_required(config)) {
        reply_error(call->out,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return false;
    }
    user = auth_login(config, name, password);
    if (user == NULL) {
        reply_error(call->out, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    call->conn->user = user;
    return true;
}

/* AUTH [name] password. */
void cmd_auth(struct call *call)
{
    struct slice name = call->argc == 3 ? call->argv[1] : SLICE_LIT("default");

    if (call->argc > 3)
        reply_error(call->out, "ERR syntax error");
    else if (log_in(call, name, call->argv[call->argc - 1]))
        reply_ok(call->out);
}

void cmd_time(struct call *call)
{
    uint64_t now_ms = clock_wall_ms();
    char text[32];

    (void)!resp_array(call->out, 2);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(now_ms / 1000));
    reply_bulk(call->out, slice_cstr(text));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(now_ms % 1000 * 1000));
    reply_bulk(call->out, slice_cstr(text));
}

/* ---- HELLO ---- */

static void hello_map(struct call *call)
{
    struct buf *out = call->out;

    (void)!resp_map(out, 7, call->session->version);
    reply_bulk(out, SLICE_LIT("server"));
    reply_bulk(out, SLICE_LIT(SERVER_NAME));
    reply_bulk(out, SLICE_LIT("version"));
    reply_bulk(out, SLICE_LIT(SERVER_VERSION));
    reply_bulk(out, SLICE_LIT("proto"));
    reply_integer(out, call->session->version);
    reply_bulk(out, SLICE_LIT("id"));
    reply_integer(out, (int64_t)call->conn->id);
    reply_bulk(out, SLICE_LIT("mode"));
    reply_bulk(out, SLICE_LIT("standalone"));
    reply_bulk(out, SLICE_LIT("role"));
    reply_bulk(out, SLICE_LIT("master"));
    reply_bulk(out, SLICE_LIT("modules"));
    (void)!resp_array(out, 0);
}

/* Options from argv[2] on; nothing takes effect when one of them is wrong. */
static bool hello_options(struct call *call, struct slice *name, struct slice login[2])
{
    for (int i = 2; i < call->argc; i++) {
        if (slice_ieq(call->argv[i], "AUTH") && i + 2 < call->argc) {
            login[0] = call->argv[i + 1];
            login[1] = call->argv[i + 2];
            i += 2;
            continue;
        }
        if (!slice_ieq(call->argv[i], "SETNAME") || i + 1 >= call->argc) {
            reply_error(call->out, "ERR Syntax error in HELLO option '%.*s'",
                        (int)(call->argv[i].len > 64 ? 64 : call->argv[i].len), call->argv[i].data);
            return false;
        }
        *name = call->argv[++i];
    }
    return true;
}

static bool hello_known(struct call *call)
{
    if (call->conn->user != NULL || !auth_required(call->conn->worker->heritage->config))
        return true;
    reply_error(call->out,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client "
                "and select the RESP protocol version at the same time");
    return false;
}

void cmd_hello(struct call *call)
{
    struct slice name = {0};
    struct slice login[2] = {{0}, {0}};
    int64_t version = call->session->version;

    if (call->argc > 1 && units_parse_int(call->argv[1], &version) != ERR_OK) {
        reply_error(call->out, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2 && version != 3) {
        reply_error(call->out, "NOPROTO unsupported protocol version");
        return;
    }
    if (!hello_options(call, &name, login) ||
        (login[1].data != NULL && !log_in(call, login[0], login[1])) || !hello_known(call) ||
        (name.data != NULL && !client_set_name(call, name)))
        return;
    call->session->version = (int)version;
    hello_map(call);
}

void cmd_reset(struct call *call)
{
    struct resp_session *session = call->session;

    session->version = 2;
    session->name[0] = '\0';
    call->conn->user = conn_trusted(call->conn);
    subscribe_end(session);
    session->db = 0;
    transaction_end(&session->transaction);
    pass_destroy(session->pass);
    session->pass = NULL;
    session->cache =
        caches_find(call->conn->worker->caches, slice_cstr(call->conn->listener->cache));
    (void)!resp_status(call->out, "RESET");
}
