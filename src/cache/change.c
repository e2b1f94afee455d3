/* cache_change: on a memory cache under the table's compare-and-set, with Redis behind decided by
 * Redis (design rule 11), L1 being invalidated before the reply. */
#include "cache/impl.h"
#include "common/clock.h"

#include <stdio.h>

/* The command that does the change in Redis. argv: at most 8. */
struct draft_command {
    struct slice argv[8];
    int argc;
    char number[24];
    struct buf name, stored;
};

static void add_arg(struct draft_command *draft, struct slice arg)
{
    draft->argv[draft->argc++] = arg;
}

static void add_number(struct draft_command *draft, long long number)
{
    snprintf(draft->number, sizeof(draft->number), "%lld", number);
    add_arg(draft, slice_cstr(draft->number));
}

static long long left_ms(uint64_t expires_ms)
{
    uint64_t now_ms = clock_now_ms();

    return expires_ms > now_ms ? (long long)(expires_ms - now_ms) : 1;
}

static int draft_set(struct work *work, struct draft_command *draft)
{
    const struct cache_change *change = &work->change;
    struct envelope envelope = {.content_type = work->attrs.content_type,
                                .client_flags = work->attrs.client_flags,
                                .created_wall_ms = work->attrs.created_wall_ms,
                                .mark = work->attrs.mark,
                                .value = work->value};
    struct envelope_tag tags[TABLE_TAGS_MAX];
    int rc;

    tags_of(work, &envelope, tags);
    rc = envelope_encode(&envelope, &draft->stored);

    add_arg(draft, buf_slice(&draft->stored));
    if (change->when == CHANGE_IF_ABSENT)
        add_arg(draft, SLICE_LIT("NX"));
    if (change->when == CHANGE_IF_PRESENT)
        add_arg(draft, SLICE_LIT("XX"));
    if (change->want_old)
        add_arg(draft, SLICE_LIT("GET"));
    if (change->keep_ttl)
        add_arg(draft, SLICE_LIT("KEEPTTL"));
    if (!change->keep_ttl && work->attrs.expires_ms != 0) {
        add_arg(draft, SLICE_LIT("PX"));
        add_number(draft, left_ms(work->attrs.expires_ms));
    }
    return rc;
}

static int draft_change(struct work *work, struct draft_command *draft)
{
    static const struct slice names[] = {
        [CHANGE_SET] = SLICE_LIT("SET"),        [CHANGE_APPEND] = SLICE_LIT("APPEND"),
        [CHANGE_INCR] = SLICE_LIT("INCRBY"),    [CHANGE_DELETE] = SLICE_LIT("GETDEL"),
        [CHANGE_EXPIRE] = SLICE_LIT("PERSIST"), [CHANGE_TOUCH] = SLICE_LIT("GETEX"),
    };
    enum cache_change_kind kind = work->change.kind;
    uint64_t expires_ms = work->attrs.expires_ms;
    int rc = keyname_encode(work->cache, work->key.bytes, &draft->name);

    add_arg(draft, kind == CHANGE_EXPIRE && expires_ms != 0 ? SLICE_LIT("PEXPIRE") : names[kind]);
    add_arg(draft, buf_slice(&draft->name));
    switch (kind) {
    case CHANGE_SET:
        return rc == ERR_OK ? draft_set(work, draft) : rc;
    case CHANGE_APPEND:
        add_arg(draft, work->value);
        break;
    case CHANGE_INCR:
        add_number(draft, work->change.delta);
        break;
    case CHANGE_EXPIRE:
        if (expires_ms != 0)
            add_number(draft, left_ms(expires_ms));
        break;
    case CHANGE_TOUCH:
        add_arg(draft, expires_ms != 0 ? SLICE_LIT("PX") : SLICE_LIT("PERSIST"));
        if (expires_ms != 0)
            add_number(draft, left_ms(expires_ms));
        break;
    case CHANGE_DELETE:
    case CHANGE_PREPEND: /* exchange.c's */
    case CHANGE_COUNT:
    case CHANGE_MARK:
        break;
    }
    return rc;
}

/* The older value out of its envelope, to the sink. */
static enum cache_status give_old(struct work *work, const struct reply *reply)
{
    struct cache_info *info = &work->op->info;
    struct envelope envelope;
    char *place;

    work->op->integer = reply->type == REPLY_STRING;
    if (reply->type != REPLY_STRING || work->sink == NULL)
        return CACHE_OK;
    if (envelope_decode(reply->str, &envelope) != ERR_OK)
        envelope = (struct envelope){.value = reply->str};
    l1_info(&envelope, info);
    info->value_len = envelope.value.len;
    place = work->sink->place(work->sink, info);
    if (place == NULL)
        return CACHE_NOMEM;
    if (info->value_len > 0)
        memcpy(place, envelope.value.data, info->value_len);
    return CACHE_OK;
}

/* What Redis' reply means. */
static enum cache_status interpret(struct work *work, const struct reply *reply)
{
    const struct cache_change *change = &work->change;
    enum cache_status status;

    if (reply->type == REPLY_ERROR)
        return work_remote(work, reply);
    switch (change->kind) {
    case CHANGE_SET:
        if (!change->want_old)
            return reply->type == REPLY_NIL ? CACHE_MISS : CACHE_OK;
        status = give_old(work, reply);
        /* With GET the reply tells the older value, and the condition follows from it. */
        if (status == CACHE_OK && change->when == CHANGE_IF_ABSENT && work->op->integer)
            return CACHE_MISS;
        if (status == CACHE_OK && change->when == CHANGE_IF_PRESENT && !work->op->integer)
            return CACHE_MISS;
        return status;
    case CHANGE_DELETE:
    case CHANGE_TOUCH:
        status = give_old(work, reply);
        return status == CACHE_OK && !work->op->integer ? CACHE_MISS : status;
    case CHANGE_EXPIRE:
        return reply->integer == 1 ? CACHE_OK : CACHE_MISS;
    default:
        work->op->integer = reply->integer;
        return CACHE_OK;
    }
}

void change_end(struct work *work)
{
    bool had;

    if (work->cache->l1 || work->cache->fallback) {
        if (!l1_remove(work->cache, &work->key, &had)) {
            work_park(work, change_end);
            return;
        }
    }
    if (work->answer != CACHE_OK && work->answer != CACHE_MISS)
        stat_add(work->cache->zone, STAT_ERRORS, 1);
    work_end(work, work->answer);
}

static void tell_became(const struct work *work)
{
    const struct cache_attrs *attrs = &work->attrs;

    if (work->change.became != NULL)
        *work->change.became = (struct cache_changed){
            cache_fingerprint(work->cache, work->value, attrs->client_flags, attrs->mark),
            attrs->expires_ms};
}

static void change_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    const struct reply *item = status == ERR_OK ? exec_item(reply, 0) : NULL;

    if (status == ERR_OK) {
        work->answer = interpret(work, item != NULL ? item : reply);
        if (work->answer == CACHE_OK && work->change.kind == CHANGE_SET)
            tell_became(work);
    } else {
        work->answer = status_of_err(status);
        /* It may have been done or not: neither layer may go on serving the older value. */
        if (status == ERR_TIMEOUT || status == ERR_LOST)
            journal_key(work->cache, work->key.bytes);
    }
    change_end(work);
}

static void change_send(struct work *work)
{
    struct draft_command draft = {0};
    struct pool_command command = {0, draft.argv};
    int rc;

    if (!tags_known(work, change_send, change_done))
        return;
    rc = draft_change(work, &draft);
    work->call.done = change_done;
    command.argc = draft.argc;
    if (rc == ERR_OK)
        send_and_publish(work, &command);
    else
        work_fail_later(work, rc);
    buf_fini(&draft.name);
    buf_fini(&draft.stored);
}

static enum cache_status change_l2(struct cache *cache, struct slice key,
                                   const struct cache_change *change, struct cache_sink *sink,
                                   struct cache_op *op)
{
    struct work *work;

    /* Rule 11: with Redis down this is an error, never the backup's answer. A journalled key is one
     * whose state in Redis is known to be wrong: the same. */
    if (!l2_usable(cache) || !l2_decides(cache, key)) {
        stat_add(cache->zone, STAT_ERRORS, 1);
        return CACHE_DOWN;
    }
    if (op == NULL)
        return CACHE_WAIT;
    work = work_begin(cache, op, key, change->value, &change->attrs);
    if (work == NULL)
        return CACHE_NOMEM;
    work->change = *change;
    work->sink = sink;
    if (exchange_needed(change))
        exchange_begin(work);
    else
        change_send(work);
    return CACHE_PENDING;
}

static void count_change(struct cache *cache, const struct cache_change *change,
                         enum cache_status status)
{
    if (status == CACHE_OK && change->kind == CHANGE_DELETE)
        stat_add(cache->zone, STAT_DELETES, 1);
    else if (status == CACHE_OK && change->kind != CHANGE_EXPIRE && change->kind != CHANGE_TOUCH)
        stat_add(cache->zone, STAT_PUTS, 1);
    else if (status != CACHE_OK && status != CACHE_MISS && status != CACHE_WAIT)
        stat_add(cache->zone, STAT_ERRORS, 1);
}

static void retry_change(struct work *work)
{
    enum cache_status status;

    work->change.value = work->value;
    work->change.attrs = work->attrs;
    status = l1_change(work->cache, &work->key, &work->change, work->sink, &work->op->integer);
    if (status == CACHE_WAIT) {
        work_park(work, retry_change);
        return;
    }
    count_change(work->cache, &work->change, status);
    work_end(work, status);
}

static enum cache_status change_(struct cache *cache, struct slice key,
                                 const struct cache_change *change, struct cache_sink *sink,
                                 struct cache_op *op, int64_t *integer)
{
    enum cache_status status = check_limits(cache, key, change->value);
    struct cache_change jittered = *change;
    struct table_key tkey;
    struct work *work;
    int64_t ignored;

    if (status != CACHE_OK)
        return status;
    if (change->kind == CHANGE_SET) {
        jittered.attrs.expires_ms = write_jitter(cache, change->attrs.expires_ms);
        change = &jittered;
    }
    if (cache->l2)
        return change_l2(cache, key, change, sink, op);
    tkey = table_key(cache->zone, key);
    status = l1_change(cache, &tkey, change, sink, integer != NULL ? integer : &ignored);
    if (status != CACHE_WAIT || op == NULL) {
        count_change(cache, change, status);
        return status;
    }
    work = work_begin(cache, op, key, change->value, &change->attrs);
    if (work == NULL)
        return CACHE_NOMEM;
    work->change = *change;
    work->sink = sink;
    work_park(work, retry_change);
    return CACHE_PENDING;
}

enum cache_status cache_change(struct cache *cache, struct slice key,
                               const struct cache_change *change, struct cache_sink *sink,
                               struct cache_op *op, int64_t *integer)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, change->kind == CHANGE_DELETE ? TELEMETRY_DELETE : TELEMETRY_PUT,
                         key, began_ns, op, NULL, change_(cache, key, change, sink, op, integer));
}
