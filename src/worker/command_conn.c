/* Commands about the connection and the daemon. */
#include "worker/command.h"

#include "config.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/units.h"
#include "shm/table.h"
#include "worker/subscribe.h"

#include <stdio.h>
#include <unistd.h>

/* What HELLO and INFO say: clients choose features by it (design section 9). */
#define SERVER_NAME    "redis"
#define SERVER_VERSION "7.2.0"

void cmd_ping(struct call *call)
{
    if (call->argc > 2)
        reply_error(call->out, "ERR wrong number of arguments for 'ping' command");
    else if (call->session->subscription != NULL && call->session->version == 2) {
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
    struct cache *cache;
    int64_t db;

    if (units_parse_int(call->argv[1], &db) != ERR_OK) {
        reply_error(call->out, "ERR value is not an integer or out of range");
        return;
    }
    cache = caches_by_db(call->conn->worker->caches, db);
    if (cache == NULL) {
        reply_error(call->out, "ERR DB index is out of range (no cache has resp_db = %lld)",
                    (long long)db);
        return;
    }
    call->session->cache = cache;
    reply_ok(call->out);
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

/* ---- names that a client gives itself ---- */

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

static bool set_name(struct call *call, struct slice name)
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
        (name.data != NULL && !set_name(call, name)))
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
    session->cache =
        caches_find(call->conn->worker->caches, slice_cstr(call->conn->listener->cache));
    (void)!resp_status(call->out, "RESET");
}

/* ---- CLIENT ---- */

static void client_info(struct call *call)
{
    struct resp_session *session = call->session;
    struct conn *conn = call->conn;
    struct buf line = {0};

    if (buf_printf(
            &line,
            "id=%llu addr=%s name=%s age=%llu resp=%d user=%s lib-name=%s lib-ver=%s cache=%s\n",
            (unsigned long long)conn->id, conn->peer, session->name,
            (unsigned long long)(clock_now_ms() - conn->opened_ms) / 1000, session->version,
            conn->user == NULL ? "default" : conn->user->name, session->lib_name,
            session->lib_version, cache_config(session->cache)->name) == ERR_OK)
        reply_bulk(call->out, buf_slice(&line));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&line);
}

static void client_setinfo(struct call *call)
{
    struct resp_session *session = call->session;
    bool name = call->argc == 4 && slice_ieq(call->argv[2], "LIB-NAME");
    bool version = call->argc == 4 && slice_ieq(call->argv[2], "LIB-VER");

    if (!name && !version) {
        reply_error(call->out, "ERR Unrecognized option for CLIENT SETINFO");
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

static bool client_is(const struct call *call, const char *subcommand, int argc)
{
    return call->argc == argc && slice_ieq(call->argv[1], subcommand);
}

void cmd_client(struct call *call)
{
    if (client_is(call, "ID", 2)) {
        reply_integer(call->out, (int64_t)call->conn->id);
    } else if (client_is(call, "SETNAME", 3)) {
        if (set_name(call, call->argv[2]))
            reply_ok(call->out);
    } else if (client_is(call, "GETNAME", 2)) {
        if (call->session->name[0] == '\0')
            reply_null(call->out, call->session->version);
        else
            reply_bulk(call->out, slice_cstr(call->session->name));
    } else if (slice_ieq(call->argv[1], "SETINFO")) {
        client_setinfo(call);
    } else if (client_is(call, "INFO", 2) || client_is(call, "LIST", 2)) {
        client_info(call);
    } else if (client_is(call, "NO-EVICT", 3) || client_is(call, "NO-TOUCH", 3)) {
        reply_ok(call->out);
    } else {
        reply_error(call->out,
                    "ERR unknown subcommand or wrong number of arguments for 'client' command");
    }
}

/* ---- COMMAND ---- */

static void describe(struct buf *out, const struct command *command)
{
    char lower[COMMAND_NAME_MAX];

    command_lower(command, lower);
    (void)!resp_array(out, 6);
    reply_bulk(out, slice_cstr(lower));
    reply_integer(out, command->arity);
    (void)!resp_array(out, 1);
    (void)!resp_status(out, command->flags & COMMAND_WRITE  ? "write"
                            : command->flags & COMMAND_READ ? "readonly"
                                                            : "admin");
    reply_integer(out, command->first);
    reply_integer(out, command->last);
    reply_integer(out, command->step);
}

static size_t command_count(void)
{
    size_t n = 0;

    while (command_at(n) != NULL)
        n++;
    return n;
}

void cmd_command(struct call *call)
{
    if (call->argc == 1) {
        (void)!resp_array(call->out, command_count());
        for (size_t i = 0; command_at(i) != NULL; i++)
            describe(call->out, command_at(i));
    } else if (slice_ieq(call->argv[1], "COUNT") && call->argc == 2) {
        reply_integer(call->out, (int64_t)command_count());
    } else if (slice_ieq(call->argv[1], "INFO")) {
        (void)!resp_array(call->out, (size_t)call->argc - 2);
        for (int i = 2; i < call->argc; i++) {
            const struct command *command = command_find(call->argv[i]);

            if (command != NULL)
                describe(call->out, command);
            else
                reply_null(call->out, call->session->version);
        }
    } else if (slice_ieq(call->argv[1], "DOCS")) {
        (void)!resp_map(call->out, 0, call->session->version);
    } else {
        reply_error(call->out,
                    "ERR unknown subcommand or wrong number of arguments for 'command' command");
    }
}

/* CONFIG GET of the few settings that clients and redis-benchmark ask for. */
void cmd_config(struct call *call)
{
    char memory[32];
    struct slice pairs[][2] = {
        {SLICE_LIT("maxmemory"), {0}},
        {SLICE_LIT("maxmemory-policy"), SLICE_LIT("allkeys-lru")},
        {SLICE_LIT("save"), SLICE_LIT("")},
        {SLICE_LIT("appendonly"), SLICE_LIT("no")},
    };
    size_t n = sizeof(pairs) / sizeof(pairs[0]);

    if (!slice_ieq(call->argv[1], "GET") || call->argc != 3) {
        reply_error(call->out, "ERR settings are read from the configuration file only");
        return;
    }
    snprintf(memory, sizeof(memory), "%llu",
             (unsigned long long)cache_config(call->cache)->memory_bytes);
    pairs[0][1] = slice_cstr(memory);
    for (size_t i = 0; i < n; i++) {
        if (!slice_ieq(call->argv[2], pairs[i][0].data))
            continue;
        (void)!resp_map(call->out, 1, call->session->version);
        reply_bulk(call->out, pairs[i][0]);
        reply_bulk(call->out, pairs[i][1]);
        return;
    }
    (void)!resp_map(call->out, 0, call->session->version);
}

/* ---- INFO ---- */

static int info_server(struct call *call, struct buf *text)
{
    const struct heritage *heritage = call->conn->worker->heritage;
    uint64_t up_s = (clock_wall_ms() - heritage->board->started_wall_ms) / 1000;

    return buf_printf(
        text,
        "# Server\r\nredis_version:" SERVER_VERSION "\r\nserver_name:cachetastic\r\n"
        "cachetastic_version:%s\r\nredis_mode:standalone\r\nprocess_id:%d\r\nrun_id:%s\r\n"
        "worker:%u\r\nuptime_in_seconds:%llu\r\n",
        PACKAGE_VERSION, (int)getpid(), heritage->node_id, call->conn->worker->slot,
        (unsigned long long)up_s);
}

static int info_clients(struct call *call, struct buf *text)
{
    const struct scoreboard *board = call->conn->worker->heritage->board;
    unsigned long connected = 0;

    for (uint32_t i = 0; i < board->n_slots; i++)
        connected += atomic_load(&board->slots[i].connections);
    return buf_printf(text, "# Clients\r\nconnected_clients:%lu\r\n", connected);
}

static int info_memory(struct call *call, struct buf *text)
{
    struct cache_stats stats;

    cache_stats(call->cache, &stats);
    return buf_printf(
        text, "# Memory\r\nused_memory:%llu\r\nmaxmemory:%llu\r\nmaxmemory_policy:allkeys-lru\r\n",
        (unsigned long long)stats.bytes, (unsigned long long)stats.memory.size_bytes);
}

static int info_stats(struct call *call, struct buf *text)
{
    struct cache_stats stats;
    int rc;

    cache_stats(call->cache, &stats);
    rc = buf_printf(text,
                    "# Stats\r\nkeyspace_hits:%llu\r\nkeyspace_misses:%llu\r\nevicted_keys:%llu\r\n"
                    "expired_keys:%llu\r\n",
                    (unsigned long long)stats.counter[STAT_HITS],
                    (unsigned long long)stats.counter[STAT_MISSES],
                    (unsigned long long)stats.counter[STAT_EVICTIONS],
                    (unsigned long long)stats.counter[STAT_EXPIRATIONS]);
    if (rc == ERR_OK)
        rc = buf_printf(text, "cachetastic_events_dropped:%llu\r\n",
                        (unsigned long long)atomic_load_explicit(
                            &call->conn->worker->heritage->events->dropped, memory_order_relaxed));
    for (int i = 0; rc == ERR_OK && i < STAT_COUNT; i++)
        rc = buf_printf(text, "cachetastic_%s:%llu\r\n", stat_name((enum counter)i),
                        (unsigned long long)stats.counter[i]);
    return rc;
}

static int info_replication(struct call *call, struct buf *text)
{
    (void)call;
    return buf_printf(text, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static int info_keyspace(struct call *call, struct buf *text)
{
    struct caches *caches = call->conn->worker->caches;
    int rc = buf_printf(text, "# Keyspace\r\n");

    for (size_t i = 0; rc == ERR_OK && i < caches_count(caches); i++) {
        struct cache *cache = caches_at(caches, i);
        uint64_t keys = table_count(cache_zone(cache));

        if (keys > 0 && cache_config(cache)->resp_db >= 0)
            rc = buf_printf(text, "db%lld:keys=%llu,expires=0,avg_ttl=0\r\n",
                            (long long)cache_config(cache)->resp_db, (unsigned long long)keys);
    }
    return rc;
}

void cmd_info(struct call *call)
{
    static const struct {
        const char *name;
        int (*print)(struct call *call, struct buf *text);
    } sections[] = {
        {"server", info_server}, {"clients", info_clients},         {"memory", info_memory},
        {"stats", info_stats},   {"replication", info_replication}, {"keyspace", info_keyspace},
    };
    struct slice want = call->argc > 1 ? call->argv[1] : SLICE_LIT("default");
    bool all =
        slice_ieq(want, "default") || slice_ieq(want, "all") || slice_ieq(want, "everything");
    struct buf text = {0};
    int rc = ERR_OK;

    for (size_t i = 0; rc == ERR_OK && i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!all && !slice_ieq(want, sections[i].name))
            continue;
        if (buf_len(&text) > 0)
            rc = buf_append(&text, "\r\n", 2);
        if (rc == ERR_OK)
            rc = sections[i].print(call, &text);
    }
    if (rc == ERR_OK)
        reply_bulk(call->out, buf_slice(&text));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&text);
}
