/* RESP commands: a table, and what a handler is given.
 *
 * A handler answers into call->out, or hands an operation to operate() or many(), which
 * answer at once where they can and park the command where they must wait. Sources: the Redis
 * command reference, https://redis.io/commands/.
 */
#ifndef WORKER_COMMAND_H
#define WORKER_COMMAND_H

#include "proto/resp.h"
#include "worker/conn.h"

#define COMMAND_KEYS_MAX                                                                           \
    4 /* keys of one command compared with those of pending ones; beyond: it waits */

/* What a RESP connection remembers. */
struct resp_session {
    struct conn *conn;
    struct resp_parser parser;
    struct resp_limits limits;
    struct subscription *subscription; /* subscribe.c's; NULL: none */
    struct cache *cache;               /* SELECT and CACHETASTIC.USE change it */
    int version;                       /* 2 or 3 */
    char name[64];                     /* CLIENT SETNAME */
    char lib_name[64];
    char lib_version[32];
    struct direct *direct; /* the client maps a cache's memory (direct.h); NULL: not */
};

struct call {
    struct conn *conn;
    struct resp_session *session;
    const struct command *command;
    struct cache *cache;
    int argc;
    const struct slice *argv; /* borrowed for the call */
    struct buf *out;
    bool close; /* set by QUIT */
};

enum command_flags {
    COMMAND_READ = 1, /* changes nothing: may overtake other pending reads */
    COMMAND_WRITE = 2,
    COMMAND_LOCAL = 4, /* about the connection or the daemon: touches no key, never waits */
    COMMAND_ADMIN = 8, /* about a whole cache: waits until everything before it is answered */
    /* What the user must be allowed beside READ and WRITE, which say it themselves. */
    COMMAND_RETURNS = 16,        /* a write that tells of the value: needs the right to read too */
    COMMAND_PURGES = 32,         /* needs the right to purge */
    COMMAND_MAINTAINS = 64,      /* needs the right of admin */
    COMMAND_UNKNOWN_OK = 128,    /* may be sent before logging in */
    COMMAND_SUBSCRIBED_OK = 256, /* may be sent by a RESP2 client that has subscriptions */
};

struct command {
    const char *name; /* upper case */
    int arity;        /* as Redis counts: with the name; negative = at least */
    unsigned flags;
    int first, last, step; /* positions of keys; 0 = none; last -1 = to the end */
    void (*run)(struct call *call);
};

/* NULL when unknown. */
const struct command *command_find(struct slice name);
const struct command *command_at(size_t i); /* NULL past the end */

/* The command's name in lower case, as Redis prints it. out: COMMAND_NAME_MAX bytes. */
#define COMMAND_NAME_MAX 33
void command_lower(const struct command *command, char out[COMMAND_NAME_MAX]);

/* Whether call->cache may be used so by the connection's user; false: NOPERM was answered. */
bool command_may(struct call *call, unsigned rights);

/* Check the arity of call->command (NULL: unknown) and the user's rights, and run it. */
void command_run(struct call *call);

/* ---- operations ---- */

enum step_kind {
    STEP_GET,
    STEP_META,
    STEP_PUT,
    STEP_DELETE,
    STEP_CHANGE,
    STEP_CLEAR,
    STEP_PURGE,
    STEP_PURGE_TAG,
    STEP_COUNT,
    STEP_FILL,
    STEP_FAIL
};

/* One operation on a cache, as data. Slices are borrowed for the call. */
struct step {
    enum step_kind kind;
    struct slice key; /* or the pattern or tag */
    struct slice value;
    struct cache_attrs attrs;
    struct cache_change change;
    uint64_t token, retry_ms; /* FILL, FAIL */
    bool bulk;                /* its value goes into the reply as a bulk string */
};

/* What it led to. */
struct outcome {
    enum cache_status status;
    struct cache *cache;
    struct buf *out; /* when a value came, its bulk string is in it already */
    int version;
    int64_t integer;
    const struct cache_info *info;
    const char *error; /* "" = cache_status_text() */
    bool placed;       /* a value was put into out */
};

/* Composes the reply from the outcome. */
typedef void reply_fn(struct outcome *outcome);

/* Run one operation and answer with reply. */
void operate(struct call *call, const struct step *step, reply_fn *reply);

/* How the replies of several operations become one. */
enum many_reply {
    MANY_COUNT,  /* integer: how many were CACHE_OK */
    MANY_SUM,    /* integer: of their integers */
    MANY_VALUES, /* array: the bulk strings, nil where missing */
    MANY_OK,     /* +OK, or the first failure */
};

/* Run n operations, step i given by make(call, i, &step), and answer once. */
void many(struct call *call, size_t n,
          void (*make)(const struct call *call, size_t i, struct step *step),
          enum many_reply reply);

/* Errors. Each writes to out; without memory the connection is closed by conn's own checks. */
void reply_error(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
void reply_failure(struct outcome *outcome); /* for a status that is a failure */
void reply_ok(struct buf *out);
void reply_integer(struct buf *out, int64_t value);
void reply_bulk(struct buf *out, struct slice value);
void reply_null(struct buf *out, int version);
bool is_failure(enum cache_status status);

/* Replies that several commands share. */
reply_fn answer_ok, answer_ok_or_null, answer_value, answer_integer, answer_one_or_zero;

/* ---- handlers, by file ---- */
#define HANDLER(name) void cmd_##name(struct call *call)
/* command_conn.c */
HANDLER(ping);
HANDLER(echo);
HANDLER(select);
HANDLER(hello);
HANDLER(quit);
HANDLER(client);
HANDLER(command);
HANDLER(info);
HANDLER(auth);
HANDLER(reset);
HANDLER(time);
HANDLER(config);
/* command_string.c */
HANDLER(get);
HANDLER(set);
HANDLER(setex);
HANDLER(psetex);
HANDLER(setnx);
HANDLER(getset);
HANDLER(getdel);
HANDLER(getex);
HANDLER(mget);
HANDLER(mset);
HANDLER(strlen);
HANDLER(append);
HANDLER(incr);
HANDLER(decr);
HANDLER(incrby);
HANDLER(decrby);
/* command_key.c */
HANDLER(del);
HANDLER(exists);
HANDLER(ttl);
HANDLER(pttl);
HANDLER(expire);
HANDLER(pexpire);
HANDLER(expireat);
HANDLER(pexpireat);
HANDLER(persist);
HANDLER(type);
HANDLER(dbsize);
HANDLER(flushdb);
/* command_fetch.c */
HANDLER(fetch);
HANDLER(fill);
HANDLER(fail);
/* subscribe.c */
HANDLER(subscribe);
HANDLER(psubscribe);
HANDLER(unsubscribe);
HANDLER(punsubscribe);
/* command_admin.c */
HANDLER(use);
HANDLER(stats);
HANDLER(stats_reset);
HANDLER(purge);
HANDLER(clear);
HANDLER(check);
/* command_direct.c */
HANDLER(attach);
#undef HANDLER

/* "TAGS n tag ..." at argv[*at], which moves on to the last tag. False: an error was answered. */
bool command_tags(struct call *call, int *at, struct cache_attrs *attrs);

/* ---- parked commands (command_run.c) ---- */

/* Start a request for this call: the reply goes to request->reply. NULL without memory (answered).
 * size: of the embedding struct, whose first member is the request. */
struct parked {
    struct request request;
    unsigned flags; /* the command's */
    unsigned n_keys;
    uint64_t keys[COMMAND_KEYS_MAX]; /* hashes */
};
void *park(struct call *call, size_t size);

/* Whether the command must wait for one that is pending on its connection: they share a key and one
 * of them writes. */
bool must_wait(const struct call *call);

#endif
