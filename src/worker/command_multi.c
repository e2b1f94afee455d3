/* MULTI, EXEC, DISCARD, WATCH, UNWATCH on memory caches.
 *
 * EXEC holds the cache (cache_hold()), waits for what is under way on its keys, compares what is
 * watched, and runs the queue without a turn of the loop in between: no other process' write comes
 * between, and no RESP read of another process sees a part of it. WATCH remembers where the key was
 * and the version of its chain: a change of the key is never missed, and one of a neighbour in the
 * chain, or a move of the entry, may be taken for one. Source:
 * https://redis.io/docs/interact/transactions/.
 */
#include "worker/command.h"

#include "common/clock.h"
#include "shm/table.h"
#include "worker/keyspace.h"

#include <stdlib.h>

struct queued {
    struct list link;
    const struct command *command;
    int argc;
    struct slice argv[]; /* then their bytes */
};

struct watched {
    struct list link;
    struct cache *cache;
    struct table_ref ref;
    size_t key_len;
    char key[];
};

void transaction_init(struct transaction *transaction)
{
    list_init(&transaction->queued);
    list_init(&transaction->watched);
}

static void drop_queue(struct transaction *transaction)
{
    LIST_EACH_SAFE (node, next, &transaction->queued) {
        list_remove(node);
        free(LIST_ENTRY(node, struct queued, link));
    }
    transaction->n = 0;
    transaction->open = false;
    transaction->broken = false;
}

static void drop_watches(struct transaction *transaction)
{
    LIST_EACH_SAFE (node, next, &transaction->watched) {
        list_remove(node);
        free(LIST_ENTRY(node, struct watched, link));
    }
}

void transaction_end(struct transaction *transaction)
{
    drop_queue(transaction);
    drop_watches(transaction);
    transaction->bytes = 0;
}

/* Whether so much more fits; else it is answered. */
static bool charge(struct call *call, size_t bytes)
{
    const struct config_limits *limits = &call->conn->worker->heritage->config->limits;
    struct transaction *transaction = &call->session->transaction;

    if (bytes > limits->transaction_bytes ||
        transaction->bytes > limits->transaction_bytes - bytes) {
        reply_error(call->out, "ERR the transaction is over limits.transaction (%llu bytes)",
                    (unsigned long long)limits->transaction_bytes);
        return false;
    }
    transaction->bytes += bytes;
    return true;
}

/* ---- MULTI ---- */

static struct queued *copy_call(const struct call *call, size_t size)
{
    struct queued *queued = malloc(size);
    char *bytes;

    if (queued == NULL)
        return NULL;
    queued->command = call->command;
    queued->argc = call->argc;
    bytes = (char *)&queued->argv[call->argc];
    for (int i = 0; i < call->argc; i++) {
        if (call->argv[i].len > 0)
            memcpy(bytes, call->argv[i].data, call->argv[i].len);
        queued->argv[i] = slice_make(bytes, call->argv[i].len);
        bytes += call->argv[i].len;
    }
    return queued;
}

static bool queue(struct call *call)
{
    struct transaction *transaction = &call->session->transaction;
    size_t size = sizeof(struct queued) + (size_t)call->argc * sizeof(struct slice);
    struct queued *queued;

    if (call->command->flags & COMMAND_NO_MULTI) {
        reply_error(call->out, "ERR Command not allowed inside a transaction");
        return false;
    }
    for (int i = 0; i < call->argc; i++)
        size += call->argv[i].len;
    if (!charge(call, size))
        return false;
    queued = copy_call(call, size);
    if (queued == NULL) {
        reply_error(call->out, "ERR out of memory");
        return false;
    }
    list_init(&queued->link);
    list_push(&transaction->queued, &queued->link);
    transaction->n++;
    return true;
}

void transaction_queue(struct call *call)
{
    if (queue(call))
        (void)!resp_status(call->out, "QUEUED");
    else
        call->session->transaction.broken = true;
}

void cmd_multi(struct call *call)
{
    if (call->session->transaction.open) {
        reply_error(call->out, "ERR MULTI calls can not be nested");
        return;
    }
    call->session->transaction.open = true;
    call->session->transaction.broken = false;
    reply_ok(call->out);
}

void cmd_discard(struct call *call)
{
    if (!call->session->transaction.open) {
        reply_error(call->out, "ERR DISCARD without MULTI");
        return;
    }
    transaction_end(&call->session->transaction);
    reply_ok(call->out);
}

/* ---- WATCH ---- */

static bool watch(struct call *call, struct slice key)
{
    struct zone *zone = cache_zone(call->cache);
    struct table_key tkey = table_key(zone, key);
    struct table_hit hit = {0};
    struct watched *watched;

    if (!charge(call, sizeof(*watched) + key.len))
        return false;
    if (table_find(zone, &tkey, clock_now_ms(), &hit) == TABLE_BUSY) {
        reply_status(call, CACHE_BUSY);
        return false;
    }
    watched = malloc(sizeof(*watched) + key.len);
    if (watched == NULL) {
        reply_error(call->out, "ERR out of memory");
        return false;
    }
    watched->cache = call->cache;
    watched->ref = hit.ref;
    watched->key_len = key.len;
    if (key.len > 0)
        memcpy(watched->key, key.data, key.len);
    list_init(&watched->link);
    list_push(&call->session->transaction.watched, &watched->link);
    return true;
}

void cmd_watch(struct call *call)
{
    if (call->session->transaction.open) {
        reply_error(call->out, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (int i = 1; i < call->argc; i++)
        if (!watch(call, call->argv[i]))
            return;
    reply_ok(call->out);
}

void cmd_unwatch(struct call *call)
{
    if (!call->atomic) /* inside EXEC they are over anyway */
        transaction_end(&call->session->transaction);
    reply_ok(call->out);
}

/* Whether nothing has happened to it; its stripe is at rest. */
static bool untouched(const struct watched *watched)
{
    struct zone *zone = cache_zone(watched->cache);
    struct table_key key = table_key(zone, slice_make(watched->key, watched->key_len));
    struct table_hit hit = {0};

    return table_find(zone, &key, clock_now_ms(), &hit) != TABLE_BUSY &&
           hit.ref.bucket == watched->ref.bucket && hit.ref.version == watched->ref.version &&
           hit.ref.shrinks == watched->ref.shrinks && hit.ref.slot == watched->ref.slot;
}

/* ---- EXEC ---- */

/* Every memory cache: what SELECT in the queue may lead to. */
static void release_all(struct caches *caches, size_t n)
{
    while (n-- > 0)
        if (!cache_has_l2(caches_at(caches, n)))
            cache_release(caches_at(caches, n));
}

static bool hold_all(struct caches *caches)
{
    for (size_t i = 0; i < caches_count(caches); i++) {
        if (!cache_has_l2(caches_at(caches, i)) && !cache_hold(caches_at(caches, i))) {
            release_all(caches, i);
            return false;
        }
    }
    return true;
}

/* Whether a queued command leads to another cache, or to more than its keys. */
static bool wanders(const struct queued *queued)
{
    return slice_ieq(queued->argv[0], "SELECT") || slice_ieq(queued->argv[0], "CACHETASTIC.USE");
}

struct holding_plan {
    bool all;   /* every memory cache is held, not the session's alone */
    bool whole; /* all stripes have come to rest, not the keys' alone */
};

static struct holding_plan make_plan(const struct call *call)
{
    const struct transaction *transaction = &call->session->transaction;
    struct holding_plan plan = {.whole = call->session->db != 0};

    LIST_EACH_SAFE (node, next, &transaction->queued) {
        const struct queued *queued = LIST_ENTRY(node, struct queued, link);

        plan.all = plan.all || wanders(queued);
        plan.whole = plan.whole || plan.all || (queued->command->flags & COMMAND_ADMIN);
    }
    LIST_EACH_SAFE (node, next, &transaction->watched)
        plan.all = plan.all || LIST_ENTRY(node, struct watched, link)->cache != call->cache;
    plan.whole = plan.whole || plan.all;
    return plan;
}

static bool settle_queued(struct call *call, const struct queued *queued)
{
    int first, last, step;

    if (!command_keys(queued->command, queued->argc, queued->argv, &first, &last, &step))
        return true;
    for (int i = first; i <= last; i += step) {
        if (keyspace_foreign(queued->argv[i]) ? !cache_settle_all(call->cache)
                                              : !cache_settle(call->cache, queued->argv[i]))
            return false;
    }
    return true;
}

static bool settle_plan(struct call *call, const struct holding_plan *plan)
{
    struct caches *caches = call->conn->worker->caches;
    struct transaction *transaction = &call->session->transaction;

    for (size_t i = 0; plan->whole && i < caches_count(caches); i++) {
        struct cache *cache = caches_at(caches, i);

        if (!cache_has_l2(cache) && (plan->all || cache == call->cache) && !cache_settle_all(cache))
            return false;
    }
    if (plan->whole)
        return true;
    LIST_EACH_SAFE (node, next, &transaction->queued)
        if (!settle_queued(call, LIST_ENTRY(node, struct queued, link)))
            return false;
    LIST_EACH_SAFE (node, next, &transaction->watched) {
        const struct watched *watched = LIST_ENTRY(node, struct watched, link);

        if (!cache_settle(watched->cache, slice_make(watched->key, watched->key_len)))
            return false;
    }
    return true;
}

static bool hold_plan(struct call *call, const struct holding_plan *plan)
{
    struct caches *caches = call->conn->worker->caches;

    if (!(plan->all ? hold_all(caches) : cache_hold(call->cache)))
        return false;
    if (settle_plan(call, plan))
        return true;
    if (plan->all)
        release_all(caches, caches_count(caches));
    else
        cache_release(call->cache);
    return false;
}

static void run_queued(struct call *exec, const struct queued *queued)
{
    struct call call = {.conn = exec->conn,
                        .session = exec->session,
                        .command = queued->command,
                        .cache = exec->session->cache,
                        .argc = queued->argc,
                        .argv = queued->argv,
                        .out = exec->out,
                        .atomic = true};

    /* SELECT may have led to another cache since it was queued. */
    if (!command_allowed(&call))
        return;
    if (cache_has_l2(call.cache) && (call.command->flags & COMMAND_LOCAL) == 0)
        command_upstream(&call);
    else if (keyspace_enter(&call))
        command_start(&call);
}

static void run_queue(struct call *call)
{
    struct transaction *transaction = &call->session->transaction;

    LIST_EACH_SAFE (node, next, &transaction->watched) {
        if (untouched(LIST_ENTRY(node, struct watched, link)))
            continue;
        (void)!resp_null_array(call->out, call->session->version);
        return;
    }
    transaction->open = false; /* what runs now is not queued */
    (void)!resp_array(call->out, transaction->n);
    LIST_EACH_SAFE (node, next, &transaction->queued)
        run_queued(call, LIST_ENTRY(node, struct queued, link));
}

/* The body is told its cache at the start: SELECT in the queue changes the session's. */
static void exec_held(struct call *call, const struct holding_plan *plan)
{
    struct caches *caches = call->conn->worker->caches;
    struct cache *cache = call->cache;

    run_queue(call);
    if (plan->all)
        release_all(caches, caches_count(caches));
    else
        cache_release(cache);
}

void cmd_exec(struct call *call)
{
    struct transaction *transaction = &call->session->transaction;
    struct holding_plan plan;

    if (!transaction->open) {
        reply_error(call->out, "ERR EXEC without MULTI");
        return;
    }
    if (transaction->broken) {
        reply_error(call->out, "EXECABORT Transaction discarded because of previous errors.");
        transaction_end(transaction);
        return;
    }
    plan = make_plan(call);
    if (!hold_plan(call, &plan)) {
        try_again(call);
        if (!call->again)
            transaction_end(transaction);
        return;
    }
    call->session->again_ms = 0;
    exec_held(call, &plan);
    transaction_end(transaction);
}
