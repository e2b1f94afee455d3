/* The command table. */
#include "worker/command.h"

#include "common/auth.h"
#include "common/units.h"

#include <stdio.h>

#define R          COMMAND_READ
#define W          COMMAND_WRITE
#define L          COMMAND_LOCAL
#define A          COMMAND_ADMIN
#define RETURNS    COMMAND_RETURNS
#define PURGES     COMMAND_PURGES
#define MAINTAINS  COMMAND_MAINTAINS
#define UNKNOWN_OK COMMAND_UNKNOWN_OK
#define SUB_OK     COMMAND_SUBSCRIBED_OK

#define NATIVE   COMMAND_NATIVE
#define NO_MULTI COMMAND_NO_MULTI
#define AT_ONCE  COMMAND_AT_ONCE
#define NUMKEYS  COMMAND_NUMKEYS

static const struct command table[] = {
    {"APPEND", 3, W | RETURNS, 1, 1, 1, cmd_append},
    {"AUTH", -2, L | UNKNOWN_OK, 0, 0, 0, cmd_auth},
    {"CACHETASTIC.ATTACH", -1, L | NO_MULTI, 0, 0, 0, cmd_attach},
    {"CACHETASTIC.CHECK", 1, A | MAINTAINS | NO_MULTI, 0, 0, 0, cmd_check},
    {"CACHETASTIC.CLEAR", 1, A | PURGES, 0, 0, 0, cmd_clear},
    {"CACHETASTIC.ENTRIES", -2, A | R, 0, 0, 0, cmd_entries},
    {"CACHETASTIC.FAIL", -3, W | NO_MULTI, 1, 1, 1, cmd_fail},
    {"CACHETASTIC.FETCH", -2, R | W | NO_MULTI, 1, 1, 1, cmd_fetch},
    {"CACHETASTIC.FILL", -4, W | NO_MULTI, 1, 1, 1, cmd_fill},
    {"CACHETASTIC.PURGE", -3, A | PURGES, 0, 0, 0, cmd_purge},
    {"CACHETASTIC.RESET", -1, A, 0, 0, 0, cmd_stats_reset},
    {"CACHETASTIC.STATS", -1, L, 0, 0, 0, cmd_stats},
    {"CACHETASTIC.USE", 2, L, 0, 0, 0, cmd_use},
    {"CLIENT", -2, L, 0, 0, 0, cmd_client},
    {"COMMAND", -1, L, 0, 0, 0, cmd_command},
    {"CONFIG", -2, L, 0, 0, 0, cmd_config},
    {"COPY", -3, W | NATIVE, 1, 2, 1, cmd_copy},
    {"DBSIZE", 1, A | R, 0, 0, 0, cmd_dbsize},
    {"DEBUG", -2, L, 0, 0, 0, cmd_debug},
    {"DECR", 2, W | RETURNS, 1, 1, 1, cmd_decr},
    {"DECRBY", 3, W | RETURNS, 1, 1, 1, cmd_decrby},
    {"DEL", -2, W, 1, -1, 1, cmd_del},
    {"DISCARD", 1, L | AT_ONCE, 0, 0, 0, cmd_discard},
    {"ECHO", 2, L, 0, 0, 0, cmd_echo},
    {"EVAL", -3, W | RETURNS | NATIVE | NUMKEYS, 0, 0, 0, cmd_eval},
    {"EVALSHA", -3, W | RETURNS | NATIVE | NUMKEYS, 0, 0, 0, cmd_evalsha},
    {"EXEC", 1, A | AT_ONCE, 0, 0, 0, cmd_exec},
    {"EXISTS", -2, R, 1, -1, 1, cmd_exists},
    {"EXPIRE", -3, W, 1, 1, 1, cmd_expire},
    {"EXPIREAT", -3, W, 1, 1, 1, cmd_expireat},
    {"EXPIRETIME", 2, R, 1, 1, 1, cmd_expiretime},
    {"FLUSHALL", -1, A | PURGES, 0, 0, 0, cmd_flushall},
    {"FLUSHDB", -1, A | PURGES, 0, 0, 0, cmd_flushdb},
    {"GET", 2, R, 1, 1, 1, cmd_get},
    {"GETDEL", 2, W | RETURNS, 1, 1, 1, cmd_getdel},
    {"GETEX", -2, W | RETURNS, 1, 1, 1, cmd_getex},
    {"GETRANGE", 4, R, 1, 1, 1, cmd_getrange},
    {"GETSET", 3, W | RETURNS, 1, 1, 1, cmd_getset},
    {"HELLO", -1, L | UNKNOWN_OK, 0, 0, 0, cmd_hello},
    {"INCR", 2, W | RETURNS, 1, 1, 1, cmd_incr},
    {"INCRBY", 3, W | RETURNS, 1, 1, 1, cmd_incrby},
    {"INCRBYFLOAT", 3, W | RETURNS | NATIVE, 1, 1, 1, cmd_incrbyfloat},
    {"INFO", -1, L, 0, 0, 0, cmd_info},
    {"KEYS", 2, A | R | NATIVE | NO_MULTI, 0, 0, 0, cmd_keys},
    {"MEMORY", -2, R, 2, 2, 1, cmd_memory},
    {"MGET", -2, R, 1, -1, 1, cmd_mget},
    {"MSET", -3, W, 1, -1, 2, cmd_mset},
    {"MSETNX", -3, W | NATIVE, 1, -1, 2, cmd_msetnx},
    {"MULTI", 1, L | NATIVE | AT_ONCE, 0, 0, 0, cmd_multi},
    {"OBJECT", -2, R, 2, 2, 1, cmd_object},
    {"PERSIST", 2, W, 1, 1, 1, cmd_persist},
    {"PEXPIRE", -3, W, 1, 1, 1, cmd_pexpire},
    {"PEXPIREAT", -3, W, 1, 1, 1, cmd_pexpireat},
    {"PEXPIRETIME", 2, R, 1, 1, 1, cmd_pexpiretime},
    {"PING", -1, L | SUB_OK, 0, 0, 0, cmd_ping},
    {"PSETEX", 4, W, 1, 1, 1, cmd_psetex},
    {"PSUBSCRIBE", -2, L | SUB_OK | NO_MULTI, 0, 0, 0, cmd_psubscribe},
    {"PTTL", 2, R, 1, 1, 1, cmd_pttl},
    {"PUNSUBSCRIBE", -1, L | SUB_OK | NO_MULTI, 0, 0, 0, cmd_punsubscribe},
    {"QUIT", -1, L | UNKNOWN_OK | SUB_OK | AT_ONCE, 0, 0, 0, cmd_quit},
    {"RANDOMKEY", 1, A | R | NATIVE | NO_MULTI, 0, 0, 0, cmd_randomkey},
    {"RENAME", 3, W | NATIVE, 1, 2, 1, cmd_rename},
    {"RENAMENX", 3, W | NATIVE, 1, 2, 1, cmd_renamenx},
    {"RESET", 1, L | UNKNOWN_OK | SUB_OK | AT_ONCE, 0, 0, 0, cmd_reset},
    {"SCAN", -2, A | R | NATIVE, 0, 0, 0, cmd_scan},
    {"SCRIPT", -2, L, 0, 0, 0, cmd_script},
    {"SELECT", 2, L, 0, 0, 0, cmd_select},
    {"SET", -3, W, 1, 1, 1, cmd_set},
    {"SETEX", 4, W, 1, 1, 1, cmd_setex},
    {"SETNX", 3, W, 1, 1, 1, cmd_setnx},
    {"SETRANGE", 4, W | RETURNS | NATIVE, 1, 1, 1, cmd_setrange},
    {"STRLEN", 2, R, 1, 1, 1, cmd_strlen},
    {"SUBSCRIBE", -2, L | SUB_OK | NO_MULTI, 0, 0, 0, cmd_subscribe},
    {"SUBSTR", 4, R, 1, 1, 1, cmd_getrange},
    {"SWAPDB", 3, L, 0, 0, 0, cmd_swapdb},
    {"TIME", 1, L, 0, 0, 0, cmd_time},
    {"TOUCH", -2, R, 1, -1, 1, cmd_exists},
    {"TTL", 2, R, 1, 1, 1, cmd_ttl},
    {"TYPE", 2, R, 1, 1, 1, cmd_type},
    {"UNLINK", -2, W, 1, -1, 1, cmd_del},
    {"UNSUBSCRIBE", -1, L | SUB_OK | NO_MULTI, 0, 0, 0, cmd_unsubscribe},
    {"UNWATCH", 1, L, 0, 0, 0, cmd_unwatch},
    {"WAIT", 3, L, 0, 0, 0, cmd_wait},
    {"WATCH", -2, R | NATIVE | AT_ONCE, 1, -1, 1, cmd_watch},
};

#define TABLE_LEN  (sizeof(table) / sizeof(table[0]))
#define INDEX_SIZE 512 /* a power of two, several times TABLE_LEN */

_Static_assert(INDEX_SIZE >= 4 * TABLE_LEN, "the index is too full for short probes");

/* FNV-1a of the name in upper case; a name longer than any command's is cut by the caller. */
static uint32_t hash_name(struct slice name)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];

        h = (h ^ (c >= 'a' && c <= 'z' ? c - 32u : c)) * 16777619u;
    }
    return h;
}

static void build_index(uint8_t *slots)
{
    for (size_t i = 0; i < TABLE_LEN; i++) {
        uint32_t at = hash_name(slice_cstr(table[i].name)) % INDEX_SIZE;

        while (slots[at] != 0)
            at = (at + 1) % INDEX_SIZE;
        slots[at] = (uint8_t)(i + 1);
    }
}

const struct command *command_find(struct slice name)
{
    static uint8_t slots[INDEX_SIZE]; /* 1 + place in the table; built at the first call */
    static bool built;
    uint32_t at;

    if (!built) {
        build_index(slots);
        built = true;
    }
    if (name.len == 0 || name.len >= COMMAND_NAME_MAX)
        return NULL;
    for (at = hash_name(name) % INDEX_SIZE; slots[at] != 0; at = (at + 1) % INDEX_SIZE)
        if (slice_ieq(name, table[slots[at] - 1].name))
            return &table[slots[at] - 1];
    return NULL;
}

const struct command *command_at(size_t i)
{
    return i < TABLE_LEN ? &table[i] : NULL;
}

static void lower_name(const char *name, char out[COMMAND_NAME_MAX])
{
    size_t i;

    for (i = 0; name[i] != '\0' && i < COMMAND_NAME_MAX - 1; i++)
        out[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    out[i] = '\0';
}

void command_lower(const struct command *command, char out[COMMAND_NAME_MAX])
{
    lower_name(command->name, out);
}

/* What the command asks of its user. */
static unsigned rights_of(const struct command *command)
{
    unsigned rights = 0;

    rights |= command->flags & (COMMAND_READ | COMMAND_RETURNS) ? AUTH_READ : 0;
    rights |= command->flags & COMMAND_WRITE ? AUTH_WRITE : 0;
    rights |= command->flags & COMMAND_PURGES ? AUTH_PURGE : 0;
    rights |= command->flags & COMMAND_MAINTAINS ? AUTH_ADMIN : 0;
    return rights;
}

bool command_may(struct call *call, unsigned rights)
{
    const struct config *config = call->conn->worker->heritage->config;
    const struct config_cache *cache = cache_config(call->cache);
    char lower[COMMAND_NAME_MAX];

    if (conn_may(call->conn, call->cache, rights))
        return true;
    command_lower(call->command, lower);
    reply_error(call->out,
                "NOPERM User %s has no permissions to run the '%s' command on the cache '%s' "
                "(users.rights: %s)",
                call->conn->user == NULL ? "default" : call->conn->user->name, lower, cache->name,
                auth_missing(call->conn->user, config, cache, rights));
    return false;
}

bool command_allowed(struct call *call)
{
    const struct command *command = call->command;

    if (!auth_required(call->conn->worker->heritage->config))
        return true;
    if (command != NULL && command->flags & COMMAND_UNKNOWN_OK)
        return true;
    if (call->conn->user != NULL)
        return command == NULL || command_may(call, rights_of(command));
    reply_error(call->out, "NOAUTH Authentication required.");
    return false;
}

/* A RESP2 client with subscriptions cannot tell replies from messages. */
static bool subscribed_only(const struct call *call)
{
    return (call->session->subscription != NULL || session_passes_messages(call->session)) &&
           call->session->version == 2 && (call->command->flags & COMMAND_SUBSCRIBED_OK) == 0;
}

bool command_keys(const struct command *command, int argc, const struct slice *argv, int *first,
                  int *last, int *step)
{
    int64_t n;

    *first = command->first;
    *step = command->step;
    *last = command->last < 0 ? argc + command->last : command->last;
    if (command->flags & COMMAND_NUMKEYS) {
        if (argc < 3 || units_parse_int(argv[2], &n) != ERR_OK || n < 1 || n > argc - 3)
            return false;
        *first = 3;
        *step = 1;
        *last = 2 + (int)n;
    }
    if (*last >= argc)
        *last = argc - 1;
    return *first > 0 && *first <= *last;
}

/* Redis shows what came with an unknown command, up to 128 bytes of it. */
static void reply_unknown(struct call *call)
{
    char args[160];
    size_t len = 0;

    args[0] = '\0';
    for (int i = 1; i < call->argc && len < 128; i++) {
        size_t n = call->argv[i].len < 128 - len ? call->argv[i].len : 128 - len;

        len +=
            (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ", (int)n, call->argv[i].data);
        len = len < sizeof(args) ? len : sizeof(args) - 1;
    }
    reply_error(call->out, "ERR unknown command '%.*s', with args beginning with: %s",
                (int)(call->argv[0].len > 128 ? 128 : call->argv[0].len), call->argv[0].data, args);
}

/* Whether the command is known and has as many arguments as it should; else it is answered. */
static bool well_formed(struct call *call)
{
    const struct command *command = call->command;
    char lower[COMMAND_NAME_MAX];

    if (!command_allowed(call))
        return false;
    if (command == NULL) {
        reply_unknown(call);
        return false;
    }
    command_lower(command, lower);
    if (command->arity > 0 ? call->argc != command->arity : call->argc < -command->arity)
        reply_error(call->out, "ERR wrong number of arguments for '%s' command", lower);
    else if (subscribed_only(call))
        reply_error(
            call->out,
            "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
            "RESET are allowed in this context",
            lower);
    else
        return true;
    return false;
}

void command_sub(struct call *call, const struct subcommand *subs, size_t n)
{
    char command[COMMAND_NAME_MAX], lower[COMMAND_NAME_MAX];
    size_t i = 0;

    while (i < n && !slice_ieq(call->argv[1], subs[i].name))
        i++;
    if (i == n) {
        reply_error(call->out, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                    (int)(call->argv[1].len > 128 ? 128 : call->argv[1].len), call->argv[1].data,
                    call->command->name);
        return;
    }
    if (subs[i].arity > 0 ? call->argc == subs[i].arity : call->argc >= -subs[i].arity) {
        subs[i].run(call);
        return;
    }
    command_lower(call->command, command);
    lower_name(subs[i].name, lower);
    reply_error(call->out, "ERR wrong number of arguments for '%s|%s' command", command, lower);
}

void command_upstream(struct call *call)
{
    char lower[COMMAND_NAME_MAX];

    if (!call->atomic && !call->session->transaction.open) {
        cmd_pass(call);
        return;
    }
    command_lower(call->command, lower);
    reply_error(call->out,
                "ERR '%s' is decided by Redis on the cache '%s', and cannot be done in a "
                "transaction that began on a cache in memory alone",
                lower, cache_config(call->cache)->name);
}

/* Tries in one turn of the loop. */
#define READ_TRIES 8

/* A read is done again when another process' EXEC came between: it may have seen half of it. One
 * that has been overtaken for longer than any holder may live answers what it sees. */
static void run_isolated(struct call *call)
{
    size_t mark = buf_len(call->out);
    unsigned pending = call->conn->n_pending;
    uint32_t turn;

    call->whole = true;
    for (int i = 0; i < READ_TRIES && !call->waits && cache_look(call->cache, &turn); i++) {
        call->command->run(call);
        if ((!call->waits && cache_same(call->cache, turn)) || call->conn->n_pending != pending) {
            call->session->again_ms = 0;
            return;
        }
        buf_truncate(call->out, mark);
    }
    call->whole = call->waits = false;
    if (!keep_trying(call))
        call->command->run(call);
}

void command_start(struct call *call)
{
    unsigned flags = call->command->flags;

    if (cache_has_l2(call->cache)) {
        if (flags & COMMAND_NATIVE)
            command_upstream(call);
        else
            call->command->run(call);
    } else if ((flags & (COMMAND_READ | COMMAND_NO_MULTI | COMMAND_AT_ONCE)) == COMMAND_READ &&
               !call->atomic) {
        run_isolated(call);
    } else {
        call->command->run(call);
    }
}

void command_run(struct call *call)
{
    struct transaction *transaction = &call->session->transaction;

    if (!well_formed(call)) {
        transaction->broken = true; /* EXEC of an open transaction will say so */
        return;
    }
    if (transaction->open && (call->command->flags & COMMAND_AT_ONCE) == 0)
        transaction_queue(call);
    else
        command_start(call);
}
