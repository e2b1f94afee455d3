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

/* What HELLO and INFO say: clients choose features by it (design section 9). */
#define SERVER_NAME    "redis"
#define SERVER_VERSION "7.2.0"

#define COMMAND_KEYS_MAX                                                                           \
    4 /* keys of one command compared with those of pending ones; beyond: it waits */

/* MULTI and WATCH of one connection (command_multi.c). */
struct transaction {
    bool open;    /* MULTI was sent: commands are queued */
    bool broken;  /* one could not be: EXEC says EXECABORT */
    size_t bytes; /* of what is queued and watched: limits.transaction */
    size_t n;
    struct list queued, watched; /* zeroed until transaction_init() */
};

/* What a RESP connection remembers. */
struct resp_session {
    struct conn *conn;
    struct resp_parser parser;
    struct resp_limits limits;
    struct pass *pass; /* its way to Redis, for commands that are passed on; NULL: none yet */
    struct subscription *subscription; /* subscribe.c's; NULL: none */
    struct cache *cache;               /* SELECT and CACHETASTIC.USE change it */
    int version;                       /* 2 or 3 */
    char name[64];                     /* CLIENT SETNAME */
    char lib_name[64];
    char lib_version[32];
    unsigned db;       /* numbered keyspace inside that cache (keyspace.h); 0 = its own keys */
    uint64_t again_ms; /* since when the command at hand is tried again; 0 = it is not */
    struct transaction transaction;
    struct keyspace_args *keyspace_args; /* keyspace.c's: keys as they are stored */
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
    bool close;  /* set by QUIT */
    bool atomic; /* inside EXEC and its like: the cache is held, nothing may be parked */
    bool whole;  /* a read at one moment: what has to wait is not parked, its reply is not to be
                    used: */
    bool waits;  /* and this says so */
    bool again;  /* could not begin now, and has done nothing: run it again on the next turn */
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
    COMMAND_NATIVE = 0x200,      /* made of several steps under cache_hold(): on a cache with Redis
                                    behind it is Redis' to do (command_upstream()) */
    COMMAND_NO_MULTI = 0x400,    /* refused between MULTI and EXEC, because it may have to wait */
    COMMAND_AT_ONCE = 0x800,     /* run at once between MULTI and EXEC */
    COMMAND_NUMKEYS = 0x1000,    /* argv[2] says how many keys follow */
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

/* What runs instead of call->command (NULL: we have none): itself, or the way to Redis. */
const struct command *command_pass(const struct call *call);
/* From now on its commands are about this database of Redis; -1: about the cache. False: no memory,
 * and it is answered. */
bool command_pass_db(struct call *call, int64_t db);
/* Whether it is EVAL or EVALSHA of one of the scripts that we know. */
bool command_script_is_known(const struct call *call);
/* Whether it has subscriptions in Redis. */
bool session_passes_messages(const struct resp_session *session);

/* Whether call->cache may be used so by the connection's user; false: NOPERM was answered. */
bool command_may(struct call *call, unsigned rights);

/* Whether the client has logged in and may do this; else it is answered. */
bool command_allowed(struct call *call);

/* Check the arity of call->command (NULL: unknown) and the user's rights, and run or queue it. */
void command_run(struct call *call);
/* Run one that has been checked. Plain reads of a memory cache see all of what an EXEC of another
 * process does, or nothing. */
void command_start(struct call *call);
/* Do what Redis decides on a cache with Redis behind. */
void command_upstream(struct call *call);

/* Where the command's keys are: argv[*first], then every *step up to argv[*last]. False: it has
 * none. */
bool command_keys(const struct command *command, int argc, const struct slice *argv, int *first,
                  int *last, int *step);

/* A command of several: CLIENT LIST, CONFIG GET. */
struct subcommand {
    const char *name; /* upper case */
    int arity;        /* with the command's name and its own; negative = at least */
    void (*run)(struct call *call);
};

/* Check the arity of the one that argv[1] names, and run it. */
void command_sub(struct call *call, const struct subcommand *subs, size_t n);

/* ---- several steps as one (command_multi.c) ---- */

/* Run body with the command's keys at rest and the cache to itself: nothing of it is seen half
 * done. Inside EXEC: just run it. When the cache is held by another process: call->again. */
void atomically(struct call *call, void (*body)(struct call *call));
/* The cache is held by another process: call->again, or, when that has gone on for too long, an
 * error is answered. */
void try_again(struct call *call);
/* The same without the error: false when it has gone on for too long. */
bool keep_trying(struct call *call);
void transaction_init(struct transaction *transaction);
void transaction_end(struct transaction *transaction); /* forget queue and watches */
/* Keep a command for EXEC, and say so. */
void transaction_queue(struct call *call);

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
    STEP_PURGE_PAGE, /* of a site, by its key (http/route.h) */
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
    uint64_t token, retry_ms;         /* FILL, FAIL */
    const struct config_route *route; /* PURGE_PAGE: the page's, or NULL */
    bool soft;                        /* likewise */
    bool bulk;                        /* its value goes into the reply as a bulk string */
    int64_t args[2];                  /* for the reply_fn */
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
    bool placed;       /* a value was put into out, */
    size_t mark;       /* which had so many bytes before */
    int64_t args[2];   /* the step's */
};

/* Composes the reply from the outcome. */
typedef void reply_fn(struct outcome *outcome);

/* Run one operation now, for bodies of atomically(): what would have to wait is CACHE_BUSY. sink
 * may be NULL. */
enum cache_status operate_now(struct call *call, const struct step *step, struct cache_sink *sink,
                              struct cache_info *info, int64_t *integer);
/* The error for a status that is a failure. */
void reply_status(struct call *call, enum cache_status status);

/* An entry whole, for bodies of atomically(). */
struct loaded {
    struct cache_sink sink;
    struct buf value;
    struct cache_info info;
    bool present;
};
/* False: an error was answered. loaded_fini() in any case. */
bool load_entry(struct call *call, struct slice key, struct loaded *loaded);
void loaded_fini(struct loaded *loaded);
/* Store with the metadata and expiry of info (NULL: none). False: an error was answered. */
bool store_entry(struct call *call, struct slice key, struct slice value,
                 const struct cache_info *info);
bool remove_entry(struct call *call, struct slice key, bool *had);
bool expire_entry(struct call *call, struct slice key, uint64_t expires_ms);

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
HANDLER(auth);
HANDLER(reset);
HANDLER(time);
HANDLER(swapdb);
HANDLER(wait);
/* command_client.c */
HANDLER(client);
/* command_info.c */
HANDLER(info);
HANDLER(config);
/* command_list.c */
HANDLER(command);
/* command_multi.c */
HANDLER(multi);
HANDLER(exec);
HANDLER(discard);
HANDLER(watch);
HANDLER(unwatch);
/* command_move.c */
HANDLER(rename);
HANDLER(renamenx);
HANDLER(copy);
HANDLER(msetnx);
/* command_range.c */
HANDLER(setrange);
HANDLER(getrange);
HANDLER(incrbyfloat);
/* command_scan.c */
HANDLER(entries);
HANDLER(scan);
HANDLER(keys);
HANDLER(randomkey);
HANDLER(dbsize);
HANDLER(flushdb);
HANDLER(flushall);
/* command_script.c */
HANDLER(eval);
HANDLER(evalsha);
HANDLER(script);
/* command_object.c */
HANDLER(object);
HANDLER(memory);
HANDLER(debug);
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
HANDLER(expiretime);
HANDLER(pexpiretime);
HANDLER(type);
/* command_fetch.c */
HANDLER(fetch);
HANDLER(fill);
HANDLER(fail);
/* command_pass.c */
HANDLER(pass);
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

/* CLIENT SETNAME; false: an error was answered. */
bool client_set_name(struct call *call, struct slice name);

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
