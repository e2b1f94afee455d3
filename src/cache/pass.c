#define _GNU_SOURCE 1 /* memmem */
#include "cache/pass.h"

#include "cache/impl.h"
#include "common/glob.h"
#include "redis/keyspec.h"
#include "redis/redis_conn.h"

#include <stdio.h>
#include <stdlib.h>

/* What a command means for the connection that it is sent on. */
enum errand_kind {
    ERRAND_PLAIN,
    ERRAND_MULTI,
    ERRAND_EXEC,
    ERRAND_DISCARD,
    ERRAND_WATCH,
    ERRAND_UNWATCH,
    ERRAND_SUBSCRIBE, /* and its kin: answered by messages */
    ERRAND_KEYS,
    ERRAND_SCAN,
    ERRAND_FLUSH, /* of a database that is not the caches' */
    ERRAND_SIZE,
};

/* A key that leaves L1 once the command that writes it is answered. */
struct written {
    struct list link;
    struct cache *cache;
    struct slice key;
    char bytes[];
};

/* One command on its way. */
struct errand {
    struct list link; /* in caches->learning, or in pass->flights in the order sent */
    struct pass *pass;
    struct cache *cache;
    struct pass_call *call; /* NULL: nobody asks */
    struct pool_call pool;
    struct cache_op op; /* while a lock keeps a key in L1 */
    enum errand_kind kind;
    bool blocks;
    bool spills;  /* it may write keys that nobody named */
    bool wrapped; /* on the pool, in a transaction with its messages */
    bool queued;  /* between MULTI and EXEC */
    bool is_sent; /* on the client's own connection */
    size_t extra; /* EXEC: replies of our own at its end */
    int argc, n_sent;
    struct slice *argv; /* as the client wrote them; the bytes follow in the same block */
    struct slice *sent; /* as Redis gets them */
    struct buf names;   /* keys' names in Redis; `sent` points into it */
    struct buf bytes;   /* encoded, for the own connection */
    struct list written;
};

struct pass {
    struct caches *caches;
    void (*message)(void *arg, const struct reply *reply);
    void *arg;
    struct redis_conn *conn; /* the client's own; NULL: none */
    struct list flights;
    struct list written; /* since MULTI */
    bool multi, watching, broken, subscribed;
    bool spills;      /* something between MULTI and EXEC does */
    int64_t db;       /* of Redis; -1: the caches' */
    bool gone;        /* the client is; freed once conn and errands are too */
    unsigned errands; /* that refer to this */
};

bool pass_holds(const struct pass *pass)
{
    return pass_transacts(pass) || pass->db >= 0;
}

bool pass_transacts(const struct pass *pass)
{
    return pass->multi || pass->watching;
}

bool pass_subscribed(const struct pass *pass)
{
    return pass->subscribed;
}

/* ---- the end of an errand ---- */

static void free_written(struct list *list)
{
    struct list *node;

    while ((node = list_pop(list)) != NULL)
        free(LIST_ENTRY(node, struct written, link));
}

static void maybe_free(struct pass *pass)
{
    if (!pass->gone || pass->conn != NULL || pass->errands > 0)
        return;
    free_written(&pass->written);
    free(pass);
}

static void errand_free(struct errand *errand)
{
    struct pass *pass = errand->pass;

    list_remove(&errand->link);
    free_written(&errand->written);
    buf_fini(&errand->names);
    buf_fini(&errand->bytes);
    free(errand->sent);
    free(errand->argv);
    free(errand);
    pass->errands--;
    maybe_free(pass);
}

static void settle(struct errand *errand);

static void on_unlocked(struct cache_op *op, enum cache_status status)
{
    (void)status;
    settle(LIST_ENTRY(op, struct errand, op));
}

static void look_again(struct work *work)
{
    work_end(work, CACHE_OK);
}

/* What it wrote leaves L1, then the client is answered. */
static void settle(struct errand *errand)
{
    if (errand->spills)
        (void)zone_epoch_move(errand->cache->zone);
    errand->spills = false;
    while (!list_empty(&errand->written)) {
        struct written *written = LIST_ENTRY(errand->written.next, struct written, link);
        struct table_key key = table_key(written->cache->zone, written->key);
        struct work *work;
        bool had;

        if (!l1_remove(written->cache, &key, &had)) {
            /* A stripe is locked, for a second at the most. Without memory to wait: once more. */
            errand->op.done = on_unlocked;
            work =
                work_begin(errand->cache, &errand->op, (struct slice){0}, (struct slice){0}, NULL);
            if (work != NULL) {
                work_park(work, look_again);
                return;
            }
            continue;
        }
        list_remove(&written->link);
        free(written);
    }
    if (errand->call != NULL)
        errand->call->finish(errand->call);
    errand_free(errand);
}

static void fail(struct errand *errand, enum cache_status status, const char *error)
{
    if (errand->call != NULL)
        errand->call->answer(errand->call, status, NULL, error);
    settle(errand);
}

/* ---- replies ---- */

static bool name_is(const struct errand *errand, const char *name)
{
    return slice_ieq(errand->argv[0], name);
}

/* Replies are ours for the time of the call: what is changed in them is changed in place. */
static struct reply *own(const struct reply *reply)
{
    return (struct reply *)(uintptr_t)reply;
}

/* The value of an envelope, which only we understand, for the value that stands in Redis. */
static void unwrap(struct reply *reply)
{
    struct envelope envelope;

    for (size_t i = 0; reply->type == REPLY_ARRAY && i < reply->n_items; i++)
        unwrap(&reply->items[i]);
    if (reply->type == REPLY_STRING && envelope_decode(reply->str, &envelope) == ERR_OK)
        reply->str = envelope.value;
}

/* Of names in Redis, those that are this cache's keys and match. */
static void keep_keys(const struct errand *errand, struct reply *list, struct slice pattern)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->n_items; i++) {
        struct slice key;

        if (!keyname_decode(errand->cache, list->items[i].str, &key) || !glob_match(pattern, key))
            continue;
        list->items[kept] = list->items[i];
        list->items[kept++].str = key;
    }
    list->n_items = kept;
}

static struct slice scan_pattern(const struct errand *errand)
{
    for (int i = 2; i + 1 < errand->argc; i += 2)
        if (slice_ieq(errand->argv[i], "MATCH"))
            return errand->argv[i + 1];
    return SLICE_LIT("*");
}

/* Commands that tell in their reply which of their keys it is about: two levels deep at most. */
static bool tells_keys(const struct errand *errand)
{
    static const char *const names[] = {"BLPOP", "BRPOP",  "BZPOPMIN", "BZPOPMAX", "LMPOP",
                                        "ZMPOP", "BLMPOP", "BZMPOP",   "XREAD",    "XREADGROUP"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (name_is(errand, names[i]))
            return true;
    return false;
}

/* The first of an array is the name of a key that was sent: the client's own word for it. */
static void rename_first(const struct errand *errand, struct reply *list)
{
    struct slice *first;

    if (list->type != REPLY_ARRAY || list->n_items == 0)
        return;
    first = &list->items[0].str;
    for (int i = 1; list->items[0].type == REPLY_STRING && i < errand->argc; i++) {
        if (!slice_eq(errand->sent[i], *first))
            continue;
        *first = errand->argv[i];
        return;
    }
}

static bool tells_values(const struct errand *errand)
{
    return errand->kind == ERRAND_EXEC || name_is(errand, "GET") || name_is(errand, "MGET") ||
           name_is(errand, "GETSET") || name_is(errand, "GETDEL") || name_is(errand, "GETEX");
}

static void translate(const struct errand *errand, struct reply *reply)
{
    if (errand->kind == ERRAND_FLUSH && reply->type == REPLY_INTEGER) {
        *reply = (struct reply){.type = REPLY_STATUS, .str = SLICE_LIT("OK")};
    } else if (errand->kind == ERRAND_KEYS && reply->type == REPLY_ARRAY) {
        keep_keys(errand, reply, errand->argv[1]);
    } else if (errand->kind == ERRAND_SCAN && reply->type == REPLY_ARRAY && reply->n_items == 2) {
        keep_keys(errand, &reply->items[1], scan_pattern(errand));
    } else if (tells_keys(errand)) {
        rename_first(errand, reply);
        for (size_t i = 0; reply->type == REPLY_ARRAY && i < reply->n_items; i++)
            rename_first(errand, &reply->items[i]);
    } else if (tells_values(errand)) {
        unwrap(reply);
    }
}

static void answer(struct errand *errand, const struct reply *reply)
{
    if (errand->kind == ERRAND_EXEC && reply->type == REPLY_ARRAY)
        own(reply)->n_items -= errand->extra < reply->n_items ? errand->extra : reply->n_items;
    translate(errand, own(reply));
    if (errand->call != NULL)
        errand->call->answer(errand->call, CACHE_OK, reply, "");
    settle(errand);
}

/* ---- messages to other nodes ---- */

struct publication {
    struct pool_call call;
};

static void published(struct pool_call *call, int status, const struct reply *reply)
{
    /* Where it did not arrive, Redis is down, and who listens finds that out by the nonce. */
    (void)status;
    (void)reply;
    free(LIST_ENTRY(call, struct publication, call));
}

/* Of what a blocking command wrote: it cannot stand in a transaction with its messages. */
static void publish_written(struct errand *errand)
{
    LIST_EACH_SAFE (node, next, &errand->written) {
        const struct written *written = LIST_ENTRY(node, struct written, link);
        struct publication *publication = calloc(1, sizeof(*publication));
        struct slice argv[3] = {SLICE_LIT("PUBLISH"),
                                slice_cstr(errand->pass->caches->heritage->config->redis.channel)};
        struct pool_command command = {3, argv};
        struct buf message = {0};

        if (publication == NULL ||
            encode_message(written->cache, MESSAGE_DELETE, written->key, &message) != ERR_OK) {
            free(publication);
            buf_fini(&message);
            continue;
        }
        argv[2] = buf_slice(&message);
        publication->call.done = published;
        publication->call.repeatable = true;
        pool_send(errand->pass->caches->pool, &publication->call, &command, 1);
        buf_fini(&message);
    }
}

/* ---- over the pool ---- */

static void pool_answered(struct pool_call *call, int status, const struct reply *reply)
{
    struct errand *errand = LIST_ENTRY(call, struct errand, pool);
    const struct reply *item = status == ERR_OK && errand->wrapped ? exec_item(reply, 0) : NULL;

    if (status == ERR_OK)
        answer(errand, item != NULL ? item : reply);
    else
        fail(errand, status_of_err(status),
             status == ERR_TIMEOUT || status == ERR_LOST
                 ? "TRYAGAIN Redis did not answer in time (redis.deadline); the outcome is unknown"
                 : "CLUSTERDOWN Redis is down, and this command needs it");
}

/* The command, and with it the messages that its keys have changed. */
static int pool_wrapped(struct errand *errand, const struct pool_command *command)
{
    struct slice multi = SLICE_LIT("MULTI"), exec = SLICE_LIT("EXEC");
    struct slice channel = slice_cstr(errand->pass->caches->heritage->config->redis.channel);
    struct pool_command *commands;
    struct slice(*publish)[3];
    struct buf *texts;
    size_t n = 0, keys = 0;
    int err = ERR_OK;

    LIST_EACH_SAFE (count, next_count, &errand->written)
        keys++;
    commands = calloc(keys + 3, sizeof(*commands));
    publish = calloc(keys + 1, sizeof(*publish));
    texts = calloc(keys + 1, sizeof(*texts));
    if (commands == NULL || publish == NULL || texts == NULL)
        err = ERR_NOMEM;
    LIST_EACH_SAFE (node, next, &errand->written) {
        const struct written *written = LIST_ENTRY(node, struct written, link);

        if (err == ERR_OK)
            err = encode_message(written->cache, MESSAGE_DELETE, written->key, &texts[n]);
        if (err != ERR_OK)
            break;
        publish[n][0] = SLICE_LIT("PUBLISH");
        publish[n][1] = channel;
        publish[n][2] = buf_slice(&texts[n]);
        commands[2 + n] = (struct pool_command){3, publish[n]};
        n++;
    }
    if (err == ERR_OK) {
        commands[0] = (struct pool_command){1, &multi};
        commands[1] = *command;
        commands[2 + n] = (struct pool_command){1, &exec};
        pool_send(errand->pass->caches->pool, &errand->pool, commands, n + 3);
    }
    for (size_t i = 0; texts != NULL && i < keys; i++)
        buf_fini(&texts[i]);
    free(texts);
    free(publish);
    free(commands);
    return err;
}

static void over_pool(struct errand *errand, const struct keyspec_command *command)
{
    struct pool_command plain = {errand->n_sent, errand->sent};

    errand->pool.done = pool_answered;
    errand->pool.repeatable = (command->flags & KEYSPEC_READONLY) != 0;
    errand->wrapped = !list_empty(&errand->written);
    if (!errand->wrapped)
        pool_send(errand->pass->caches->pool, &errand->pool, &plain, 1);
    else if (pool_wrapped(errand, &plain) != ERR_OK)
        fail(errand, CACHE_NOMEM, "ERR out of memory");
}

/* ---- over the client's own connection ---- */

static int encode(struct errand *errand)
{
    int err = buf_printf(&errand->bytes, "*%d\r\n", errand->n_sent);

    for (int i = 0; i < errand->n_sent && err == ERR_OK; i++) {
        err = buf_printf(&errand->bytes, "$%zu\r\n", errand->sent[i].len);
        if (err == ERR_OK && errand->sent[i].len > 0)
            err = buf_append(&errand->bytes, errand->sent[i].data, errand->sent[i].len);
        if (err == ERR_OK)
            err = buf_append(&errand->bytes, "\r\n", 2);
    }
    return err == ERR_OK ? buf_append(&errand->bytes, "", 1) : err;
}

static void write_flights(struct pass *pass)
{
    LIST_EACH_SAFE (node, next, &pass->flights) {
        struct errand *errand = LIST_ENTRY(node, struct errand, link);

        if (errand->is_sent)
            continue;
        /* Not ready after all: its end is told, and ends them. */
        if (redis_conn_send(pass->conn, buf_head(&errand->bytes), buf_len(&errand->bytes) - 1) !=
            ERR_OK)
            return;
        errand->is_sent = true;
        if (errand->kind != ERRAND_SUBSCRIBE)
            continue;
        /* Its answers are messages. */
        list_remove(&errand->link);
        if (errand->call != NULL)
            errand->call->answer(errand->call, CACHE_OK, NULL, "");
        settle(errand);
    }
}

static void on_ready(void *owner)
{
    write_flights(owner);
}

/* Whether this answers no command. */
static bool is_message(const struct pass *pass, const struct reply *reply)
{
    static const char *const words[] = {"message",     "pmessage",     "smessage",
                                        "subscribe",   "psubscribe",   "ssubscribe",
                                        "unsubscribe", "punsubscribe", "sunsubscribe"};

    if (!pass->subscribed || reply->type != REPLY_ARRAY || reply->n_items < 3)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (slice_eq(reply->items[0].str, slice_cstr(words[i])))
            return true;
    return false;
}

static void on_reply(void *owner, const struct reply *reply)
{
    struct pass *pass = owner;
    struct errand *errand;

    if (is_message(pass, reply)) {
        const struct reply *count = &reply->items[2];

        if (count->type == REPLY_INTEGER)
            pass->subscribed = count->integer > 0;
        if (!pass->gone)
            pass->message(pass->arg, reply);
        return;
    }
    if (list_empty(&pass->flights))
        return;
    errand = LIST_ENTRY(list_pop(&pass->flights), struct errand, link);
    if (errand->kind == ERRAND_MULTI && reply->type == REPLY_ERROR)
        pass->multi = false;
    if (errand->blocks && !errand->queued && reply->type != REPLY_ERROR)
        publish_written(errand);
    answer(errand, reply);
}

static void on_closed(void *owner, int why, const char *text)
{
    struct pass *pass = owner;
    struct caches *caches = pass->caches;
    bool was_subscribed = pass->subscribed;
    struct list *node;

    (void)why;
    (void)text;
    pass->conn = NULL;
    caches->n_own--;
    pass->errands++; /* it stays until the end of this */
    pass->broken = pass_transacts(pass);
    pass->subscribed = false;
    while ((node = list_pop(&pass->flights)) != NULL)
        fail(LIST_ENTRY(node, struct errand, link), CACHE_DOWN,
             "CLUSTERDOWN the connection to Redis was lost; the outcome is unknown");
    if (was_subscribed && !pass->gone)
        pass->message(pass->arg, NULL);
    pass->errands--;
    maybe_free(pass);
    if (caches->closing)
        caches_gone_if_done(caches);
}

/* One of our own on the client's connection, whose answer nobody waits for. sent: borrowed but for
 * what is in names, which is taken over. */
static int send_own(struct pass *pass, struct cache *cache, const struct slice *sent, int n,
                    struct buf *names);

static int send_select(struct pass *pass)
{
    int64_t db = pass->db >= 0 ? pass->db : pass->caches->heritage->config->redis.db;
    struct buf number = {0};
    struct slice sent[2] = {SLICE_LIT("SELECT")};

    if (buf_printf(&number, "%lld", (long long)db) != ERR_OK)
        return ERR_NOMEM;
    sent[1] = buf_slice(&number);
    return send_own(pass, &pass->caches->cache[0], sent, 2, &number);
}

void pass_db(struct pass *pass, int64_t db)
{
    bool changes = db != pass->db;

    pass->db = db;
    /* On a connection that cannot be told it must not go on. */
    if (changes && pass->conn != NULL && send_select(pass) != ERR_OK)
        redis_conn_close(pass->conn, ERR_NOMEM, "no memory");
}

static bool open_own(struct pass *pass)
{
    static const struct redis_conn_events events = {on_ready, on_reply, on_closed};

    struct caches *caches = pass->caches;

    if (pass->conn != NULL)
        return true;
    pass->conn = redis_conn_open(caches->loop, &caches->heritage->config->redis, &events, pass);
    caches->n_own += pass->conn != NULL;
    if (pass->conn != NULL && pass->db >= 0 && send_select(pass) != ERR_OK)
        redis_conn_close(pass->conn, ERR_NOMEM, "no memory");
    return pass->conn != NULL;
}

static bool too_many(const struct pass *pass)
{
    const struct caches *caches = pass->caches;

    return pass->conn == NULL &&
           caches->n_own >= (uint64_t)caches->heritage->config->redis.own_connections;
}

static void over_own(struct errand *errand)
{
    struct pass *pass = errand->pass;

    if (too_many(pass)) {
        fail(errand, CACHE_BUSY,
             "ERR too many clients have a connection of their own to Redis "
             "(redis.own_connections)");
        return;
    }
    if (encode(errand) != ERR_OK || !open_own(pass)) {
        fail(errand, CACHE_NOMEM, "ERR out of memory");
        return;
    }
    if (errand->kind == ERRAND_SUBSCRIBE)
        pass->subscribed = true;
    list_push(&pass->flights, &errand->link);
    if (redis_conn_is_ready(pass->conn))
        write_flights(pass);
}

/* ---- keys ---- */

static bool same_names(const struct cache *cache)
{
    return cache->prefix.len == 0 && !cache->escape_at;
}

static int add_written(struct errand *errand, struct slice key)
{
    struct written *written = malloc(sizeof(*written) + key.len);

    if (written == NULL)
        return ERR_NOMEM;
    memcpy(written->bytes, key.data, key.len);
    written->cache = errand->cache;
    written->key = slice_make(written->bytes, key.len);
    list_init(&written->link);
    list_push(&errand->written, &written->link);
    return ERR_OK;
}

struct naming {
    struct errand *errand;
    int err;
    size_t *at; /* of each argument's name in errand->names, plus one; 0: it is no key */
};

static void name_key(void *arg, int at, bool writes)
{
    struct naming *naming = arg;
    struct errand *errand = naming->errand;

    if (naming->err == ERR_OK && writes)
        naming->err = add_written(errand, errand->argv[at]);
    if (naming->at[at] != 0 || naming->err != ERR_OK)
        return;
    naming->at[at] = buf_len(&errand->names) + 1;
    naming->err = keyname_encode(errand->cache, errand->argv[at], &errand->names);
    errand->sent[at].len = buf_len(&errand->names) - (naming->at[at] - 1);
}

/* The keys by their names in Redis, and those that are written. */
static int name_keys(struct errand *errand, const struct keyspec_command *command)
{
    struct naming naming = {.errand = errand};

    naming.at = calloc((size_t)errand->argc, sizeof(*naming.at));
    if (naming.at == NULL)
        return ERR_NOMEM;
    keyspec_each(command, errand->argc, errand->argv, name_key, &naming);
    for (int i = 0; i < errand->argc; i++)
        if (naming.at[i] != 0)
            errand->sent[i].data = buf_head(&errand->names) + naming.at[i] - 1;
    free(naming.at);
    return naming.err;
}

/* KEYS and SCAN ask for this cache's names alone. */
static int name_pattern(struct errand *errand)
{
    bool scan = errand->kind == ERRAND_SCAN;
    struct slice pattern = scan ? scan_pattern(errand) : errand->argv[1];
    int at = scan ? errand->argc + 1 : 1;
    int err = keyname_scan_glob(errand->cache, pattern, &errand->names);

    for (int i = 2; scan && i + 1 < errand->argc; i += 2)
        if (slice_ieq(errand->argv[i], "MATCH"))
            at = i + 1;
    if (at > errand->argc) {
        errand->sent[errand->argc] = SLICE_LIT("MATCH");
        errand->n_sent = errand->argc + 2;
    }
    errand->sent[at] = buf_slice(&errand->names);
    return err;
}

/* ---- one command ---- */

static enum errand_kind kind_of(const struct errand *errand, const struct keyspec_command *command)
{
    static const struct {
        const char *name;
        enum errand_kind kind;
    } kinds[] = {{"MULTI", ERRAND_MULTI},    {"EXEC", ERRAND_EXEC}, {"DISCARD", ERRAND_DISCARD},
                 {"WATCH", ERRAND_WATCH},    {"KEYS", ERRAND_KEYS}, {"SCAN", ERRAND_SCAN},
                 {"UNWATCH", ERRAND_UNWATCH}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (name_is(errand, kinds[i].name))
            return kinds[i].kind;
    if ((command->flags & KEYSPEC_PUBSUB) != 0 && !name_is(errand, "PUBLISH") &&
        !name_is(errand, "SPUBLISH") && !name_is(errand, "PUBSUB"))
        return ERRAND_SUBSCRIBE;
    return ERRAND_PLAIN;
}

/* CONFIG GET maxmemory-policy: clients ask what becomes of their sets. Other settings are nobody's
 * business here: passwords are among them. */
static bool asks_of_memory(const struct errand *errand)
{
    return name_is(errand, "CONFIG") && errand->argc == 3 && slice_ieq(errand->argv[1], "GET") &&
           slice_starts(errand->argv[2], SLICE_LIT("maxmemory"));
}

/* Why it cannot be passed on; NULL: it can. */
static const char *refusal(const struct errand *errand, const struct keyspec_command *command)
{
    static const char *const whole[] = {"FLUSHALL",  "FLUSHDB", "SWAPDB", "SELECT",
                                        "RANDOMKEY", "DBSIZE",  "MOVE",   "MONITOR"};

    if (command->flags & KEYSPEC_ADMIN && !asks_of_memory(errand))
        return "ERR this command administers Redis: send it to Redis itself";
    if (command->flags & KEYSPEC_UNKNOWN && name_is(errand, "SORT")) {
        for (int i = 2; i < errand->argc; i++)
            if (slice_ieq(errand->argv[i], "STORE") || slice_ieq(errand->argv[i], "BY") ||
                slice_ieq(errand->argv[i], "GET"))
                return "ERR SORT with STORE, BY or GET is not passed on: its keys are not known";
        return NULL;
    }
    if (command->flags & KEYSPEC_UNKNOWN && name_is(errand, "MIGRATE"))
        return "ERR MIGRATE is not passed on: its keys are not known";
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        if (name_is(errand, whole[i]))
            return "ERR this command is about a whole Redis database, which is not this cache's "
                   "alone: it is not passed on, nor between MULTI and EXEC";
    if (name_is(errand, "CLIENT") || name_is(errand, "HELLO") || name_is(errand, "AUTH") ||
        name_is(errand, "RESET") || name_is(errand, "QUIT"))
        return "ERR this command is about the connection: not between MULTI and EXEC";
    if (slice_starts(errand->argv[0], SLICE_LIT("CACHETASTIC.")))
        return "ERR not between MULTI and EXEC";
    return NULL;
}

static int send_own(struct pass *pass, struct cache *cache, const struct slice *sent, int n,
                    struct buf *names)
{
    struct errand *errand = calloc(1, sizeof(*errand));

    if (errand == NULL) {
        buf_fini(names);
        return ERR_NOMEM;
    }
    *errand = (struct errand){
        .pass = pass, .cache = cache, .names = *names, .argc = 1, .n_sent = n, .queued = true};
    pass->errands++;
    list_init(&errand->link);
    list_init(&errand->written);
    errand->argv = calloc(1, sizeof(*errand->argv));
    errand->sent = calloc((size_t)n, sizeof(*errand->sent));
    if (errand->argv == NULL || errand->sent == NULL) {
        errand_free(errand);
        return ERR_NOMEM;
    }
    memcpy(errand->sent, sent, (size_t)n * sizeof(*sent));
    errand->argv[0] = sent[0];
    over_own(errand);
    return ERR_OK;
}

/* The messages of a transaction go with it: before its EXEC, on the same connection. */
static int send_messages(struct pass *pass, struct errand *exec)
{
    LIST_EACH_SAFE (node, next, &exec->written) {
        const struct written *written = LIST_ENTRY(node, struct written, link);
        struct slice sent[3] = {SLICE_LIT("PUBLISH"),
                                slice_cstr(pass->caches->heritage->config->redis.channel)};
        struct buf message = {0};

        if (encode_message(written->cache, MESSAGE_DELETE, written->key, &message) != ERR_OK) {
            buf_fini(&message);
            return ERR_NOMEM;
        }
        sent[2] = buf_slice(&message);
        if (send_own(pass, written->cache, sent, 3, &message) != ERR_OK)
            return ERR_NOMEM;
        exec->extra++;
    }
    return ERR_OK;
}

static void join_lists(struct list *to, struct list *from)
{
    struct list *node;

    while ((node = list_pop(from)) != NULL)
        list_push(to, node);
}

/* What the command does to the state of the client's connection. False: it has been answered. */
static bool enter_state(struct errand *errand)
{
    struct pass *pass = errand->pass;
    bool broken = pass->broken && (errand->kind == ERRAND_EXEC || pass->multi);

    errand->queued = pass->multi && errand->kind != ERRAND_EXEC && errand->kind != ERRAND_DISCARD;
    if (errand->kind == ERRAND_MULTI)
        pass->multi = true;
    if (errand->kind == ERRAND_WATCH)
        pass->watching = true;
    if (errand->kind == ERRAND_UNWATCH && !pass->multi)
        pass->watching = pass->broken = false;
    if (errand->queued) {
        pass->spills = pass->spills || errand->spills;
        errand->spills = false;
    }
    if (errand->kind == ERRAND_EXEC) {
        join_lists(&errand->written, &pass->written);
        errand->spills = pass->spills;
    }
    if (errand->kind == ERRAND_EXEC || errand->kind == ERRAND_DISCARD) {
        free_written(&pass->written);
        pass->multi = pass->watching = pass->broken = pass->spills = false;
    }
    if (!broken)
        return true;
    fail(errand, CACHE_DOWN,
         "EXECABORT Transaction discarded because the connection to Redis was lost");
    return false;
}

/* This cache's keys in a database that is not the caches' own: FLUSHDB and DBSIZE as a script,
 * since they are few there and nobody keeps a count. False: it is neither, or may not be. */
static bool name_script(struct errand *errand)
{
    static const struct slice flush = SLICE_LIT(
        "local c, n = '0', 0 repeat local r = redis.call('SCAN', c, 'MATCH', ARGV[1], 'COUNT', "
        "1000) "
        "c = r[1] for _, k in ipairs(r[2]) do n = n + redis.call('UNLINK', k) end until c == '0' "
        "return n");
    static const struct slice size =
        SLICE_LIT("local c, n = '0', 0 repeat local r = redis.call('SCAN', c, 'MATCH', ARGV[1], "
                  "'COUNT', 1000) "
                  "c = r[1] n = n + #r[2] until c == '0' return n");
    bool flushes = name_is(errand, "FLUSHDB") || name_is(errand, "FLUSHALL");

    if ((!flushes && !name_is(errand, "DBSIZE")) ||
        (flushes && errand->cache->prefix.len == 0 &&
         !errand->pass->caches->heritage->config->redis.allow_clear) ||
        keyname_scan_glob(errand->cache, SLICE_LIT("*"), &errand->names) != ERR_OK)
        return false;
    errand->kind = flushes ? ERRAND_FLUSH : ERRAND_SIZE;
    errand->sent[0] = SLICE_LIT("EVAL");
    errand->sent[1] = flushes ? flush : size;
    errand->sent[2] = SLICE_LIT("0");
    errand->sent[3] = buf_slice(&errand->names);
    errand->n_sent = 4;
    return true;
}

/* Lua may do what it wants. */
static bool may_spill(const struct errand *errand)
{
    if (errand->call != NULL && errand->call->keys_named)
        return false;
    return name_is(errand, "EVAL") || name_is(errand, "EVALSHA") || name_is(errand, "FCALL");
}

static void set_out(struct errand *errand)
{
    struct pass *pass = errand->pass;
    const struct keyspec_command *command =
        keyspec_find(pass->caches->commands, errand->argc, errand->argv);
    const char *why;
    int err;

    if (command == NULL) {
        fail(errand, CACHE_REMOTE, "ERR unknown command, here and to Redis");
        return;
    }
    errand->kind = kind_of(errand, command);
    if (pass->db >= 0 && !pass->multi && name_script(errand)) {
        over_own(errand);
        return;
    }
    errand->blocks = (command->flags & KEYSPEC_BLOCKING) != 0;
    why = errand->kind == ERRAND_PLAIN || errand->kind == ERRAND_SUBSCRIBE
              ? refusal(errand, command)
              : NULL;
    if (why == NULL && !l2_usable(errand->cache))
        why = "CLUSTERDOWN Redis is down, and this command needs it";
    if (why != NULL) {
        fail(errand, CACHE_REFUSED, why);
        return;
    }
    err = (errand->kind == ERRAND_KEYS || errand->kind == ERRAND_SCAN) && errand->argc > 1
              ? (same_names(errand->cache) ? ERR_OK : name_pattern(errand))
              : name_keys(errand, command);
    if (err != ERR_OK) {
        free_written(&errand->written);
        fail(errand, CACHE_NOMEM, "ERR out of memory");
        return;
    }
    errand->spills = pass->db < 0 && may_spill(errand);
    if (pass->db >= 0) /* L1 has nothing of that database */
        free_written(&errand->written);
    if (!enter_state(errand))
        return;
    if (errand->queued)
        join_lists(&pass->written, &errand->written);
    if (errand->kind == ERRAND_EXEC && send_messages(pass, errand) != ERR_OK) {
        redis_conn_close(pass->conn, ERR_NOMEM, "no memory");
        fail(errand, CACHE_NOMEM, "ERR out of memory");
        return;
    }
    if (errand->blocks || errand->queued || pass_holds(pass) || pass->subscribed ||
        errand->kind == ERRAND_EXEC || errand->kind == ERRAND_DISCARD ||
        errand->kind == ERRAND_SUBSCRIBE || errand->kind == ERRAND_UNWATCH)
        over_own(errand);
    else
        over_pool(errand, command);
}

/* ---- the server's commands ---- */

static void learned(struct pool_call *call, int status, const struct reply *reply)
{
    struct caches *caches = LIST_ENTRY(call, struct caches, learn_call);
    struct list waiting;
    struct list *node;

    caches->is_learning = false;
    if (status == ERR_OK && keyspec_learn(reply, &caches->commands) != ERR_OK)
        caches->commands = NULL;
    list_init(&waiting);
    join_lists(&waiting, &caches->learning);
    while ((node = list_pop(&waiting)) != NULL) {
        struct errand *errand = LIST_ENTRY(node, struct errand, link);

        if (caches->commands != NULL)
            set_out(errand);
        else
            fail(errand, CACHE_DOWN, "CLUSTERDOWN Redis does not say which commands it has");
    }
}

static void learn(struct caches *caches)
{
    struct slice command = SLICE_LIT("COMMAND");
    struct pool_command commands = {1, &command};

    if (caches->is_learning)
        return;
    caches->is_learning = true;
    caches->learn_call = (struct pool_call){.done = learned, .repeatable = true};
    pool_send(caches->pool, &caches->learn_call, &commands, 1);
}

/* ---- the server's memory policy ---- */

static void policy_told(struct pool_call *call, int status, const struct reply *reply)
{
    static const char field[] = "maxmemory_policy:";
    struct caches *caches = LIST_ENTRY(call, struct caches, policy_call);
    const char *at = NULL;
    size_t len = 0;

    caches->is_asking = false;
    if (status == ERR_OK && reply->type == REPLY_STRING)
        at = memmem(reply->str.data, reply->str.len, field, sizeof(field) - 1);
    if (at == NULL)
        return;
    at += sizeof(field) - 1;
    while (at + len < reply->str.data + reply->str.len && at[len] != '\r' &&
           len < sizeof(caches->policy) - 1)
        len++;
    memcpy(caches->policy, at, len);
    caches->policy[len] = '\0';
}

void policy_ask(struct caches *caches)
{
    struct slice argv[2] = {SLICE_LIT("INFO"), SLICE_LIT("memory")};
    struct pool_command command = {2, argv};

    if (caches->is_asking || caches->closing)
        return;
    caches->is_asking = true;
    caches->policy_call = (struct pool_call){.done = policy_told, .repeatable = true};
    pool_send(caches->pool, &caches->policy_call, &command, 1);
}

const char *cache_memory_policy(struct cache *cache)
{
    if (!cache->l2)
        return "allkeys-lru";
    policy_ask(cache->set);
    return cache->set->policy[0] != '\0' ? cache->set->policy : "noeviction";
}

/* ---- the client's side ---- */

struct pass *pass_create(struct caches *caches,
                         void (*message)(void *arg, const struct reply *reply), void *arg)
{
    struct pass *pass = calloc(1, sizeof(*pass));

    if (pass == NULL)
        return NULL;
    pass->caches = caches;
    pass->message = message;
    pass->arg = arg;
    pass->db = -1;
    list_init(&pass->flights);
    list_init(&pass->written);
    return pass;
}

void pass_destroy(struct pass *pass)
{
    if (pass == NULL)
        return;
    pass->gone = true;
    if (pass->conn != NULL)
        redis_conn_close(pass->conn, ERR_DOWN, "its client is gone");
    else
        maybe_free(pass);
}

/* A copy of the arguments, in one block with their bytes. */
static struct errand *new_errand(struct pass *pass, struct cache *cache, int argc,
                                 const struct slice *argv)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    size_t bytes = (size_t)argc * sizeof(*argv);
    char *to;

    if (errand == NULL)
        return NULL;
    errand->pass = pass;
    pass->errands++;
    list_init(&errand->link);
    list_init(&errand->written);
    for (int i = 0; i < argc; i++)
        bytes += argv[i].len;
    errand->argv = malloc(bytes);
    errand->sent = calloc((size_t)argc + 4, sizeof(*argv)); /* SCAN and FLUSHDB get more */
    if (errand->argv == NULL || errand->sent == NULL) {
        errand_free(errand);
        return NULL;
    }
    to = (char *)(errand->argv + argc);
    for (int i = 0; i < argc; i++) {
        if (argv[i].len > 0)
            memcpy(to, argv[i].data, argv[i].len);
        errand->argv[i] = errand->sent[i] = slice_make(to, argv[i].len);
        to += argv[i].len;
    }
    errand->cache = cache;
    errand->argc = errand->n_sent = argc;
    return errand;
}

void pass_send(struct pass *pass, struct cache *cache, int argc, const struct slice *argv,
               struct pass_call *call)
{
    struct caches *caches = pass->caches;
    struct errand *errand = new_errand(pass, cache, argc, argv);

    if (errand == NULL) {
        call->answer(call, CACHE_NOMEM, NULL, "ERR out of memory");
        call->finish(call);
        return;
    }
    errand->call = call;
    if (!l2_usable(cache)) {
        fail(errand, CACHE_DOWN, "CLUSTERDOWN Redis is down, and this command needs it");
    } else if (caches->commands == NULL) {
        list_push(&caches->learning, &errand->link);
        learn(caches);
    } else {
        set_out(errand);
    }
}
