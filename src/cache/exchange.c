/* Changes that no command of Redis makes, on a cache with Redis behind (design rule 11): what is
 * there is read, the change is made here, and a script stores the result if Redis still has what
 * was read; else all begins anew. So Redis decides, and whoever else changes the key loses nothing.
 */
#include "cache/impl.h"
#include "common/clock.h"

#include <stdio.h>

/* Each failed try means that somebody else's change got through. */
#define TRIES 200

/* KEYS: the entry. ARGV: whether there was one, it, what becomes of it, how, ms. */
static const char script[] =
    "local old = redis.call('GET', KEYS[1])\n"
    "if ARGV[1] == '0' then if old then return 0 end elseif old ~= ARGV[2] then return 0 end\n"
    "if ARGV[4] == 'delete' then redis.call('DEL', KEYS[1])\n"
    "elseif ARGV[4] == 'keep' then redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')\n"
    "elseif ARGV[4] == 'px' then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])\n"
    "else redis.call('SET', KEYS[1], ARGV[3]) end\n"
    "return 1";

bool exchange_needed(const struct cache_change *change)
{
    return change->kind == CHANGE_PREPEND || change->kind == CHANGE_COUNT ||
           change->kind == CHANGE_MARK || change->when == CHANGE_IF_SAME ||
           (change->kind == CHANGE_APPEND && change->when == CHANGE_IF_PRESENT);
}

/* ---- storing ---- */

static void stored(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    const struct reply *item = status == ERR_OK ? exec_item(reply, 0) : NULL;

    if (status != ERR_OK) {
        work->answer = status_of_err(status);
        /* It may have been done or not: neither layer may go on serving the older value. */
        if (status == ERR_TIMEOUT || status == ERR_LOST)
            journal_key(work->cache, work->key.bytes);
    } else if (item == NULL || item->type != REPLY_INTEGER) {
        work->answer = work_remote(work, item != NULL ? item : reply);
    } else if (item->integer == 1) {
        work->answer = CACHE_OK;
    } else if (++work->tries < TRIES) {
        exchange_begin(work);
        return;
    } else {
        work->answer = CACHE_BUSY;
    }
    change_end(work);
}

/* The entry as it is to be stored. */
static int encode(struct work *work, const struct envelope *old, const struct draft *draft,
                  struct buf *out)
{
    struct envelope envelope = *old;
    struct envelope_tag tags[ENVELOPE_TAGS_MAX];
    size_t at = 0;

    envelope.n_tags = 0;
    if (work->change.kind == CHANGE_SET) {
        envelope = (struct envelope){.content_type = work->attrs.content_type,
                                     .client_flags = work->attrs.client_flags,
                                     .created_wall_ms = work->attrs.created_wall_ms};
    } else {
        while (envelope.n_tags < ENVELOPE_TAGS_MAX &&
               envelope_next_tag(old, &at, &tags[envelope.n_tags]))
            envelope.n_tags++;
    }
    envelope.tags = tags;
    envelope.mark = draft->mark;
    envelope.value = draft->result;
    return envelope_encode(&envelope, out);
}

static const char *how(const struct work *work, const struct draft *draft)
{
    const struct cache_change *change = &work->change;

    if (change->kind == CHANGE_DELETE)
        return "delete";
    if (draft->present && !change->set_ttl && (change->kind != CHANGE_SET || change->keep_ttl))
        return "keep";
    return draft->expires_ms != 0 ? "px" : "none";
}

static void store(struct work *work, const struct reply *was, const struct envelope *old,
                  const struct draft *draft)
{
    struct buf name = {0}, bytes = {0};
    uint64_t now_ms = clock_now_ms();
    char ms[24];
    struct slice argv[9] = {SLICE_LIT("EVAL"), slice_cstr(script), SLICE_LIT("1")};
    struct pool_command command = {9, argv};
    int rc = keyname_encode(work->cache, work->key.bytes, &name);

    if (rc == ERR_OK && work->change.kind != CHANGE_DELETE)
        rc = encode(work, old, draft, &bytes);
    if (rc == ERR_OK) {
        snprintf(ms, sizeof(ms), "%llu",
                 draft->expires_ms > now_ms ? (unsigned long long)(draft->expires_ms - now_ms)
                                            : 1ull);
        argv[3] = buf_slice(&name);
        argv[4] = draft->present ? SLICE_LIT("1") : SLICE_LIT("0");
        argv[5] = draft->present ? was->str : SLICE_LIT("");
        argv[6] = buf_slice(&bytes);
        argv[7] = slice_cstr(how(work, draft));
        argv[8] = slice_cstr(ms);
        work->call.done = stored;
        work->call.repeatable = false;
        send_and_publish(work, &command);
    } else {
        work->answer = status_of_err(rc);
        change_end(work);
    }
    buf_fini(&name);
    buf_fini(&bytes);
}

/* ---- reading ---- */

static int load(struct work *work, const struct reply *value, const struct reply *pttl,
                struct envelope *old, struct draft *draft)
{
    draft->present = value->type == REPLY_STRING && pttl->integer != -2;
    *old = (struct envelope){.content_type = SLICE_LIT("")};
    if (!draft->present)
        return ERR_OK;
    if (envelope_decode(value->str, old) != ERR_OK)
        return ERR_INVALID;
    l1_info(old, &draft->info);
    draft->info.value_len = old->value.len;
    if (pttl->integer >= 0)
        draft->info.expires_ms = work->sent_ms + (uint64_t)pttl->integer;
    return buf_append(&draft->value, old->value.data, old->value.len);
}

/* The change of what was read. False: work->answer says why nothing is to be stored. */
static bool revised(struct work *work, struct draft *draft)
{
    struct cache_change *change = &work->change;

    change->value = work->value;
    change->attrs = work->attrs;
    work->answer = CACHE_MISS;
    work->op->integer = draft->present;
    if (!revise_holds(work->cache, change, draft))
        return false;
    if (change->kind == CHANGE_DELETE)
        return true;
    work->answer = revise(work->cache, change, draft, &work->op->integer);
    return work->answer == CACHE_OK;
}

static void change_read(struct work *work, const struct reply *value, const struct reply *pttl)
{
    struct draft draft = {0};
    struct envelope old;
    int rc = load(work, value, pttl, &old, &draft);

    if (rc != ERR_OK) {
        work->answer = rc == ERR_NOMEM ? CACHE_NOMEM : CACHE_REFUSED; /* not for us to judge */
        change_end(work);
    } else if (revised(work, &draft)) {
        store(work, value, &old, &draft);
    } else {
        change_end(work);
    }
    draft_fini(&draft);
}

static void read_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    const struct reply *value = status == ERR_OK ? exec_item(reply, 0) : NULL;
    const struct reply *pttl = status == ERR_OK ? exec_item(reply, 1) : NULL;

    if (status != ERR_OK) {
        work->answer = status_of_err(status);
        change_end(work);
    } else if (value == NULL || pttl == NULL || value->type == REPLY_ERROR) {
        work->answer = work_remote(work, value != NULL ? value : reply);
        change_end(work);
    } else {
        change_read(work, value, pttl);
    }
}

void exchange_begin(struct work *work)
{
    work->call.done = read_done;
    read_ask(work);
}
