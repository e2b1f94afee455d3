/* The command table. */
#include "worker/command.h"

#include "common/auth.h"

#define R          COMMAND_READ
#define W          COMMAND_WRITE
#define L          COMMAND_LOCAL
#define A          COMMAND_ADMIN
#define RETURNS    COMMAND_RETURNS
#define PURGES     COMMAND_PURGES
#define MAINTAINS  COMMAND_MAINTAINS
#define UNKNOWN_OK COMMAND_UNKNOWN_OK
#define SUB_OK     COMMAND_SUBSCRIBED_OK

static const struct command table[] = {
    {"APPEND", 3, W | RETURNS, 1, 1, 1, cmd_append},
    {"AUTH", -2, L | UNKNOWN_OK, 0, 0, 0, cmd_auth},
    {"CACHETASTIC.ATTACH", -1, L, 0, 0, 0, cmd_attach},
    {"CACHETASTIC.CHECK", 1, A | MAINTAINS, 0, 0, 0, cmd_check},
    {"CACHETASTIC.CLEAR", 1, A | PURGES, 0, 0, 0, cmd_clear},
    {"CACHETASTIC.FAIL", -3, W, 1, 1, 1, cmd_fail},
    {"CACHETASTIC.FETCH", -2, R | W, 1, 1, 1, cmd_fetch},
    {"CACHETASTIC.FILL", -4, W, 1, 1, 1, cmd_fill},
    {"CACHETASTIC.PURGE", -3, A | PURGES, 0, 0, 0, cmd_purge},
    {"CACHETASTIC.RESET", -1, A, 0, 0, 0, cmd_stats_reset},
    {"CACHETASTIC.STATS", -1, L, 0, 0, 0, cmd_stats},
    {"CACHETASTIC.USE", 2, L, 0, 0, 0, cmd_use},
    {"CLIENT", -2, L, 0, 0, 0, cmd_client},
    {"COMMAND", -1, L, 0, 0, 0, cmd_command},
    {"CONFIG", -2, L, 0, 0, 0, cmd_config},
    {"DBSIZE", 1, A | R, 0, 0, 0, cmd_dbsize},
    {"DECR", 2, W | RETURNS, 1, 1, 1, cmd_decr},
    {"DECRBY", 3, W | RETURNS, 1, 1, 1, cmd_decrby},
    {"DEL", -2, W, 1, -1, 1, cmd_del},
    {"ECHO", 2, L, 0, 0, 0, cmd_echo},
    {"EXISTS", -2, R, 1, -1, 1, cmd_exists},
    {"EXPIRE", -3, W, 1, 1, 1, cmd_expire},
    {"EXPIREAT", -3, W, 1, 1, 1, cmd_expireat},
    {"FLUSHDB", -1, A | PURGES, 0, 0, 0, cmd_flushdb},
    {"GET", 2, R, 1, 1, 1, cmd_get},
    {"GETDEL", 2, W | RETURNS, 1, 1, 1, cmd_getdel},
    {"GETEX", -2, W | RETURNS, 1, 1, 1, cmd_getex},
    {"GETSET", 3, W | RETURNS, 1, 1, 1, cmd_getset},
    {"HELLO", -1, L | UNKNOWN_OK, 0, 0, 0, cmd_hello},
    {"INCR", 2, W | RETURNS, 1, 1, 1, cmd_incr},
    {"INCRBY", 3, W | RETURNS, 1, 1, 1, cmd_incrby},
    {"INFO", -1, L, 0, 0, 0, cmd_info},
    {"MGET", -2, R, 1, -1, 1, cmd_mget},
    {"MSET", -3, W, 1, -1, 2, cmd_mset},
    {"PERSIST", 2, W, 1, 1, 1, cmd_persist},
    {"PEXPIRE", -3, W, 1, 1, 1, cmd_pexpire},
    {"PEXPIREAT", -3, W, 1, 1, 1, cmd_pexpireat},
    {"PING", -1, L | SUB_OK, 0, 0, 0, cmd_ping},
    {"PSETEX", 4, W, 1, 1, 1, cmd_psetex},
    {"PSUBSCRIBE", -2, L | SUB_OK, 0, 0, 0, cmd_psubscribe},
    {"PTTL", 2, R, 1, 1, 1, cmd_pttl},
    {"PUNSUBSCRIBE", -1, L | SUB_OK, 0, 0, 0, cmd_punsubscribe},
    {"QUIT", -1, L | UNKNOWN_OK | SUB_OK, 0, 0, 0, cmd_quit},
    {"RESET", 1, L | UNKNOWN_OK | SUB_OK, 0, 0, 0, cmd_reset},
    {"SELECT", 2, L, 0, 0, 0, cmd_select},
    {"SET", -3, W, 1, 1, 1, cmd_set},
    {"SETEX", 4, W, 1, 1, 1, cmd_setex},
    {"SETNX", 3, W, 1, 1, 1, cmd_setnx},
    {"STRLEN", 2, R, 1, 1, 1, cmd_strlen},
    {"SUBSCRIBE", -2, L | SUB_OK, 0, 0, 0, cmd_subscribe},
    {"TIME", 1, L, 0, 0, 0, cmd_time},
    {"TTL", 2, R, 1, 1, 1, cmd_ttl},
    {"TYPE", 2, R, 1, 1, 1, cmd_type},
    {"UNLINK", -2, W, 1, -1, 1, cmd_del},
    {"UNSUBSCRIBE", -1, L | SUB_OK, 0, 0, 0, cmd_unsubscribe},
};

#define TABLE_LEN  (sizeof(table) / sizeof(table[0]))
#define INDEX_SIZE 256 /* a power of two, several times TABLE_LEN */

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

void command_lower(const struct command *command, char out[COMMAND_NAME_MAX])
{
    size_t i;

    for (i = 0; command->name[i] != '\0' && i < COMMAND_NAME_MAX - 1; i++)
        out[i] = (char)(command->name[i] >= 'A' && command->name[i] <= 'Z' ? command->name[i] + 32
                                                                           : command->name[i]);
    out[i] = '\0';
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

/* Whether the client has logged in and its user has the right to this. */
static bool allowed(struct call *call)
{
    const struct command *command = call->command;

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
    return call->session->subscription != NULL && call->session->version == 2 &&
           (call->command->flags & COMMAND_SUBSCRIBED_OK) == 0;
}

void command_run(struct call *call)
{
    const struct command *command = call->command;

    if (auth_required(call->conn->worker->heritage->config) && !allowed(call))
        return;
    if (command == NULL) {
        reply_error(call->out, "ERR unknown command '%.*s'",
                    (int)(call->argv[0].len > 128 ? 128 : call->argv[0].len), call->argv[0].data);
        return;
    }
    if ((command->arity > 0 && call->argc != command->arity) ||
        (command->arity < 0 && call->argc < -command->arity)) {
        char lower[COMMAND_NAME_MAX];

        command_lower(command, lower);
        reply_error(call->out, "ERR wrong number of arguments for '%s' command", lower);
        return;
    }
    if (subscribed_only(call)) {
        char lower[COMMAND_NAME_MAX];

        command_lower(command, lower);
        reply_error(
            call->out,
            "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
            "RESET are allowed in this context",
            lower);
        return;
    }
    command->run(call);
}
