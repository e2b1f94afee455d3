/* Running operations for commands: at once where possible, parked where they must wait. */
#include "worker/command.h"

#include "http/purge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- replies ---- */

void reply_error(struct buf *out, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)!resp_error(out, "%s", text);
}

void reply_ok(struct buf *out)
{
    (void)!resp_status(out, "OK");
}

void reply_integer(struct buf *out, int64_t value)
{
    (void)!resp_integer(out, value);
}

void reply_bulk(struct buf *out, struct slice value)
{
    (void)!resp_bulk(out, value);
}

void reply_null(struct buf *out, int version)
{
    (void)!resp_null(out, version);
}

bool is_failure(enum cache_status status)
{
    return status != CACHE_OK && status != CACHE_MISS;
}

void reply_failure(struct outcome *outcome)
{
    const char *text = outcome->error != NULL && outcome->error[0] != '\0'
                           ? outcome->error
                           : cache_status_text(outcome->cache, outcome->status);

    switch (outcome->status) {
    case CACHE_REMOTE: /* carries its own code */
        reply_error(outcome->out, "%s", text);
        break;
    case CACHE_FULL:
        reply_error(outcome->out, "OOM %s", text);
        break;
    case CACHE_DOWN:
        reply_error(outcome->out, "CLUSTERDOWN %s", text);
        break;
    case CACHE_TIMEOUT:
    case CACHE_BUSY:
        reply_error(outcome->out, "TRYAGAIN %s", text);
        break;
    default:
        reply_error(outcome->out, "ERR %s", text);
        break;
    }
}

void answer_ok(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else
        reply_ok(outcome->out);
}

void answer_ok_or_null(struct outcome *outcome)
{
    if (outcome->status == CACHE_MISS)
        reply_null(outcome->out, outcome->version);
    else
        answer_ok(outcome);
}

void answer_value(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else if (!outcome->placed)
        reply_null(outcome->out, outcome->version);
}

void answer_integer(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else
        reply_integer(outcome->out, outcome->integer);
}

void answer_one_or_zero(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else
        reply_integer(outcome->out, outcome->status == CACHE_OK);
}

/* ---- a value straight into a reply ---- */

struct bulk_sink {
    struct cache_sink sink;
    struct buf *out;
    size_t mark; /* content of out before the value */
    bool reads;  /* a miss means that there is no value, whatever was placed before */
    bool placed;
    struct pin pin; /* of a value that needs no copy */
};

static char *bulk_place(struct cache_sink *sink, const struct cache_info *info)
{
    struct bulk_sink *bulk = (struct bulk_sink *)(void *)sink;
    char *place;

    buf_truncate(bulk->out, bulk->mark); /* an overtaken copy begins anew */
    bulk->placed = false;
    if (resp_bulk_header(bulk->out, info->value_len) != ERR_OK)
        return NULL;
    place = buf_reserve(bulk->out, info->value_len + 2);
    if (place == NULL)
        return NULL;
    memcpy(place + info->value_len, "\r\n", 2);
    buf_commit(bulk->out, info->value_len + 2);
    bulk->placed = true;
    return place;
}

static bool bulk_lend(struct cache_sink *sink, const struct cache_info *info, const struct pin *pin)
{
    struct bulk_sink *bulk = (struct bulk_sink *)(void *)sink;

    (void)info;
    bulk->pin = *pin;
    return true;
}

/* The value that was lent, between its length and its end. */
static void bulk_send(struct bulk_sink *bulk, struct conn *conn)
{
    if (resp_bulk_header(bulk->out, bulk->pin.left) != ERR_OK ||
        conn_lend(conn, &bulk->pin) != ERR_OK || buf_append(bulk->out, "\r\n", 2) != ERR_OK) {
        pin_end(&bulk->pin);
        conn_abort(conn, "no memory for its reply");
    }
    bulk->placed = true;
}

static void bulk_init(struct bulk_sink *bulk, struct buf *out, const struct step *step)
{
    *bulk = (struct bulk_sink){.sink = {.place = bulk_place},
                               .out = out,
                               .mark = buf_len(out),
                               .reads = step->kind == STEP_GET};
}

/* A value that was placed before a failure is no answer, nor is a stale one that Redis has no more.
 */
static void bulk_settle(struct bulk_sink *bulk, enum cache_status status)
{
    if (is_failure(status) || (bulk->reads && status == CACHE_MISS)) {
        buf_truncate(bulk->out, bulk->mark);
        bulk->placed = false;
    }
}

/* ---- one operation ---- */

static enum cache_status try_step(struct cache *cache, const struct step *step,
                                  struct cache_sink *sink, struct cache_op *op,
                                  struct cache_info *info, int64_t *integer)
{
    switch (step->kind) {
    case STEP_GET:
        return cache_get(cache, step->key, sink, op, info);
    case STEP_META:
        return cache_get(cache, step->key, NULL, op, info);
    case STEP_PUT:
        return cache_put(cache, step->key, step->value, &step->attrs, op);
    case STEP_DELETE:
        return cache_delete(cache, step->key, op);
    case STEP_CHANGE:
        return cache_change(cache, step->key, &step->change, step->bulk ? sink : NULL, op, integer);
    case STEP_CLEAR:
        return cache_clear(cache, op);
    case STEP_PURGE:
        return cache_purge(cache, step->key, op);
    case STEP_PURGE_TAG:
        return cache_purge_tag(cache, step->key, op);
    case STEP_PURGE_PAGE:
        return purge_page(cache, step->route, step->key, step->soft, op);
    case STEP_COUNT:
        return cache_count(cache, op, integer);
    case STEP_FILL:
        return cache_fill(cache, step->key, step->token, step->value, &step->attrs, op);
    case STEP_FAIL:
        return cache_fail(cache, step->key, step->token, step->retry_ms, op);
    }
    return CACHE_REFUSED;
}

/* Tries of one that cannot be parked, each up to LOCK_WAIT_MS. */
#define NOW_TRIES 10

enum cache_status operate_now(struct call *call, const struct step *step, struct cache_sink *sink,
                              struct cache_info *info, int64_t *integer)
{
    enum cache_status status = CACHE_WAIT;

    for (int i = 0; i < NOW_TRIES && status == CACHE_WAIT; i++)
        status = try_step(call->cache, step, sink, NULL, info, integer);
    return status == CACHE_WAIT ? CACHE_BUSY : status;
}

void reply_status(struct call *call, enum cache_status status)
{
    struct outcome outcome = {.status = status, .cache = call->cache, .out = call->out};

    reply_failure(&outcome);
}

/* At once, or, where nothing may be parked, with patience. */
static enum cache_status first_try(struct call *call, const struct step *step,
                                   struct cache_sink *sink, struct cache_info *info,
                                   int64_t *integer)
{
    return call->atomic ? operate_now(call, step, sink, info, integer)
                        : try_step(call->cache, step, sink, NULL, info, integer);
}

/* Whether to ask again with an op: it has to wait, or the op will have a refusal's reason. */
static bool ask_again(struct call *call, enum cache_status status)
{
    if (call->whole && status == CACHE_WAIT) {
        call->waits = true;
        return false;
    }
    return !call->atomic && (status == CACHE_WAIT || status == CACHE_REFUSED);
}

struct single {
    struct parked parked;
    struct cache_op op;
    struct bulk_sink bulk;
    struct cache *cache;
    reply_fn *reply;
    int version;
    int64_t args[2];
};

static void single_done(struct cache_op *op, enum cache_status status)
{
    struct single *single = (struct single *)(void *)((char *)op - offsetof(struct single, op));
    struct outcome outcome = {.status = status,
                              .cache = single->cache,
                              .out = &single->parked.request.reply,
                              .version = single->version,
                              .integer = op->integer,
                              .info = &op->info,
                              .error = op->error};

    bulk_settle(&single->bulk, status);
    outcome.placed = single->bulk.placed;
    outcome.mark = single->bulk.mark;
    memcpy(outcome.args, single->args, sizeof(outcome.args));
    single->reply(&outcome);
    request_finish(&single->parked.request);
}

static void operate_parked(struct call *call, const struct step *step, reply_fn *reply)
{
    struct single *single = park(call, sizeof(*single));
    enum cache_status status;

    if (single == NULL)
        return;
    single->op.done = single_done;
    single->cache = call->cache;
    single->reply = reply;
    single->version = call->session->version;
    memcpy(single->args, step->args, sizeof(single->args));
    bulk_init(&single->bulk, &single->parked.request.reply, step);
    status = try_step(call->cache, step, &single->bulk.sink, &single->op, &single->op.info,
                      &single->op.integer);
    if (status != CACHE_PENDING)
        single_done(&single->op, status);
}

void operate(struct call *call, const struct step *step, reply_fn *reply)
{
    struct conn *conn = call->session->conn;
    struct bulk_sink bulk;
    struct cache_info info;
    struct outcome outcome = {
        .cache = call->cache, .out = call->out, .info = &info, .version = call->session->version};

    bulk_init(&bulk, call->out, step);
    if (reply == answer_value && step->kind == STEP_GET && !call->atomic && conn_can_lend(conn))
        bulk.sink.lend = bulk_lend;
    outcome.status = first_try(call, step, &bulk.sink, &info, &outcome.integer);
    if (bulk.pin.zone != NULL && outcome.status == CACHE_OK)
        bulk_send(&bulk, conn);
    pin_end(&bulk.pin);
    if (ask_again(call, outcome.status)) {
        buf_truncate(call->out, bulk.mark);
        operate_parked(call, step, reply);
        return;
    }
    bulk_settle(&bulk, outcome.status);
    outcome.placed = bulk.placed;
    outcome.mark = bulk.mark;
    memcpy(outcome.args, step->args, sizeof(outcome.args));
    reply(&outcome);
}

/* ---- several operations, one answer ---- */

typedef void make_fn(const struct call *call, size_t i, struct step *step);

struct batch;

struct item {
    struct cache_op op;
    struct bulk_sink bulk;
    struct buf reply; /* MANY_VALUES: this item's bulk string */
    struct batch *batch;
};

/* What is known so far of n operations. */
struct tally {
    int64_t found;             /* how many were CACHE_OK */
    int64_t sum;               /* of their integers */
    enum cache_status failure; /* the first one, else CACHE_OK */
    char error[256];
};

struct batch {
    struct parked parked;
    struct cache *cache;
    enum many_reply reply;
    int version;
    struct tally tally;
    size_t n, left; /* items; those that are not done, and one while they are being started */
    struct item *items;
};

static void count_in(struct tally *tally, enum cache_status status, int64_t integer,
                     const char *error)
{
    tally->found += status == CACHE_OK;
    tally->sum += status == CACHE_OK ? integer : 0;
    if (is_failure(status) && tally->failure == CACHE_OK) {
        tally->failure = status;
        snprintf(tally->error, sizeof(tally->error), "%s", error);
    }
}

static void answer_tally(const struct tally *tally, enum many_reply reply, struct cache *cache,
                         struct buf *out)
{
    struct outcome outcome = {
        .status = tally->failure, .cache = cache, .out = out, .error = tally->error};

    if (tally->failure != CACHE_OK)
        reply_failure(&outcome);
    else if (reply == MANY_OK)
        reply_ok(out);
    else
        reply_integer(out, reply == MANY_SUM ? tally->sum : tally->found);
}

static void free_batch(struct request *request)
{
    struct batch *batch = (struct batch *)(void *)request;

    for (size_t i = 0; i < batch->n; i++)
        buf_fini(&batch->items[i].reply);
    free(batch->items);
    free(batch);
}

static void batch_answer(struct batch *batch)
{
    struct buf *out = &batch->parked.request.reply;

    if (batch->reply != MANY_VALUES || batch->tally.failure != CACHE_OK) {
        answer_tally(&batch->tally, batch->reply, batch->cache, out);
        return;
    }
    (void)!resp_array(out, batch->n);
    for (size_t i = 0; i < batch->n; i++) {
        struct item *item = &batch->items[i];

        if (item->bulk.placed)
            (void)!buf_append(out, buf_head(&item->reply), buf_len(&item->reply));
        else
            reply_null(out, batch->version);
    }
}

static void batch_step_done(struct batch *batch)
{
    if (--batch->left > 0)
        return;
    batch_answer(batch);
    request_finish(&batch->parked.request);
}

static void item_done(struct cache_op *op, enum cache_status status)
{
    struct item *item = (struct item *)(void *)((char *)op - offsetof(struct item, op));

    bulk_settle(&item->bulk, status);
    count_in(&item->batch->tally, status, op->integer, op->error);
    batch_step_done(item->batch);
}

static void item_start(struct call *call, struct item *item, const struct step *step)
{
    enum cache_status status;

    item->op.done = item_done;
    bulk_init(&item->bulk, &item->reply, step);
    status =
        try_step(call->cache, step, &item->bulk.sink, &item->op, &item->op.info, &item->op.integer);
    if (status != CACHE_PENDING)
        item_done(&item->op, status);
}

/* The operations from number `from` on, parked; tally has those before. */
static void many_parked(struct call *call, size_t from, size_t n, make_fn *make,
                        enum many_reply reply, const struct tally *tally)
{
    struct batch *batch = park(call, sizeof(*batch));

    if (batch == NULL)
        return;
    batch->cache = call->cache;
    batch->reply = reply;
    batch->version = call->session->version;
    batch->tally = *tally;
    batch->parked.request.free = free_batch;
    batch->items = calloc(n - from, sizeof(*batch->items));
    if (batch->items == NULL)
        count_in(&batch->tally, CACHE_NOMEM, 0, "");
    else
        batch->n = n - from;
    batch->left = batch->n + 1;
    for (size_t i = 0; i < batch->n; i++) {
        struct step step = {0};

        batch->items[i].batch = batch;
        make(call, from + i, &step);
        item_start(call, &batch->items[i], &step);
    }
    batch_step_done(batch);
}

/* One step at once, its value (or nil) straight into the reply. */
static enum cache_status value_now(struct call *call, const struct step *step)
{
    struct bulk_sink bulk;
    struct cache_info info;
    enum cache_status status;

    bulk_init(&bulk, call->out, step);
    status = first_try(call, step, &bulk.sink, &info, &(int64_t){0});
    bulk_settle(&bulk, status);
    if (!is_failure(status) && !bulk.placed)
        reply_null(call->out, call->session->version);
    return status;
}

static void many_values(struct call *call, size_t n, make_fn *make)
{
    struct outcome outcome = {.cache = call->cache, .out = call->out};
    size_t mark = buf_len(call->out);
    size_t i;

    (void)!resp_array(call->out, n);
    for (i = 0; i < n && !is_failure(outcome.status); i++) {
        struct step step = {0};

        make(call, i, &step);
        outcome.status = value_now(call, &step);
    }
    if (!is_failure(outcome.status))
        return;
    buf_truncate(call->out, mark);
    if (outcome.status == CACHE_WAIT &&
        ask_again(call, CACHE_WAIT)) /* reads: once more is no harm */
        many_parked(call, 0, n, make, MANY_VALUES, &(struct tally){0});
    else
        reply_failure(&outcome);
}

void many(struct call *call, size_t n, make_fn *make, enum many_reply reply)
{
    struct tally tally = {0};

    if (reply == MANY_VALUES) {
        many_values(call, n, make);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct step step = {0};
        struct cache_info info;
        int64_t integer = 0;
        enum cache_status status;

        make(call, i, &step);
        status = first_try(call, &step, NULL, &info, &integer);
        if (ask_again(call, status)) {
            many_parked(call, i, n, make, reply, &tally);
            return;
        }
        if (call->waits)
            return;
        count_in(&tally, status, integer, "");
    }
    answer_tally(&tally, reply, call->cache, call->out);
}

/* ---- order on one connection ---- */

static uint64_t hash_key(struct slice key)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.data[i]) * 1099511628211u;
    return h;
}

/* Hashes of the command's keys; COMMAND_KEYS_MAX + 1 when they are too many to compare. */
static unsigned key_hashes(const struct call *call, uint64_t out[COMMAND_KEYS_MAX])
{
    unsigned n = 0;
    int first, last, step;

    if (!command_keys(call->command, call->argc, call->argv, &first, &last, &step))
        return 0;
    for (int i = first; i <= last; i += step) {
        if (n == COMMAND_KEYS_MAX)
            return COMMAND_KEYS_MAX + 1;
        out[n++] = hash_key(call->argv[i]);
    }
    return n;
}

static void free_parked(struct request *request)
{
    free(request);
}

void *park(struct call *call, size_t size)
{
    struct parked *parked = calloc(1, size);

    if (parked == NULL) {
        reply_error(call->out, "ERR out of memory");
        return NULL;
    }
    parked->flags = call->command->flags;
    parked->n_keys = key_hashes(call, parked->keys);
    parked->request.free = free_parked;
    request_start(call->conn, &parked->request);
    return parked;
}

static bool share_a_key(const struct parked *parked, const uint64_t *keys, unsigned n)
{
    if (parked->n_keys > COMMAND_KEYS_MAX || n > COMMAND_KEYS_MAX)
        return true;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < parked->n_keys; j++)
            if (keys[i] == parked->keys[j])
                return true;
    return false;
}

bool must_wait(const struct call *call)
{
    uint64_t keys[COMMAND_KEYS_MAX];
    unsigned flags = call->command != NULL ? call->command->flags : COMMAND_LOCAL;
    unsigned n;

    if (call->conn->n_pending == 0 || (flags & COMMAND_LOCAL))
        return false;
    if (flags & COMMAND_ADMIN)
        return true;
    n = key_hashes(call, keys);
    LIST_EACH_SAFE (node, next, &call->conn->pending) {
        const struct parked *parked = LIST_ENTRY(node, struct parked, request.link);

        if (parked->flags & COMMAND_ADMIN)
            return true;
        if ((flags & COMMAND_READ) && (parked->flags & COMMAND_READ))
            continue;
        if (share_a_key(parked, keys, n))
            return true;
    }
    return false;
}
