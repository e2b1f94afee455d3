/* Tags with Redis behind (design section 7). There a tag is a key with a random value, and what
 * carries the tag holds the value it had when that was stored: a missing or different one means
 * invalid. So a purge is one UNLINK, however many entries carry the tag, and holds for every node
 * at once. In shared memory tags are those of the engine, purged by message.
 *
 * A put reads (or makes) its tags' values after its stub was granted and before it writes; a get
 * checks them after it has read the value. So whatever a purge overtakes is invalid in both layers.
 */
#include "cache/impl.h"
#include "common/clock.h"
#include "shm/ban.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* What cannot be a value: that of a tag which somebody else has set to something strange. */
static const char no_value[ENVELOPE_TAG_VALUE] = {0};

/* The names in Redis of n tags, one behind the other; name[i] points into out. */
static int encode_names(const struct cache *cache, const struct slice *tags, unsigned n,
                        struct buf *out, struct slice *name)
{
    size_t len = 0;
    const char *at;

    for (unsigned i = 0; i < n; i++)
        if (keyname_encode_tag(cache, tags[i], out) != ERR_OK)
            return ERR_NOMEM;
    at = buf_head(out);
    for (unsigned i = 0; i < n; i++) {
        len = keyname_tag_len(cache, tags[i]);
        name[i] = slice_make(at, len);
        at += len;
    }
    return ERR_OK;
}

static bool random_value(char value[ENVELOPE_TAG_VALUE + 1])
{
    uint64_t bits;

    if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
        return false;
    snprintf(value, ENVELOPE_TAG_VALUE + 1, "%016" PRIx64, bits);
    return true;
}

/* --- before a put --- */

static void put_values_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = (struct work *)(void *)((char *)call - offsetof(struct work, call));
    unsigned n = work->attrs.n_tags;

    work->call.repeatable = false;
    if (status == ERR_OK && reply->type == REPLY_ARRAY && reply->n_items == n)
        work->tag_values = malloc(n * ENVELOPE_TAG_VALUE);
    if (work->tag_values == NULL) {
        /* Nothing was written; what that means is for the write itself to say. */
        work->tags_next.done(
            call, status == ERR_OK && reply->type != REPLY_ERROR ? ERR_NOMEM : status, reply);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        struct slice value = reply->items[i].str;
        bool good = reply->items[i].type == REPLY_STRING && value.len == ENVELOPE_TAG_VALUE;

        memcpy(work->tag_values + (size_t)i * ENVELOPE_TAG_VALUE, good ? value.data : no_value,
               ENVELOPE_TAG_VALUE);
    }
    work->tags_next.send(work);
}

/* SET NX of each, then MGET of all: whoever was first has made the value. */
static int ask_values(struct work *work)
{
    unsigned n = work->attrs.n_tags;
    struct slice name[TABLE_TAGS_MAX], mget[TABLE_TAGS_MAX + 1] = {SLICE_LIT("MGET")};
    struct slice set[TABLE_TAGS_MAX][4];
    struct pool_command commands[TABLE_TAGS_MAX + 1];
    char value[TABLE_TAGS_MAX][ENVELOPE_TAG_VALUE + 1];
    struct buf names = {0};
    int rc = encode_names(work->cache, work->attrs.tags, n, &names, name);

    for (unsigned i = 0; i < n && rc == ERR_OK; i++) {
        rc = random_value(value[i]) ? ERR_OK : ERR_NOMEM;
        set[i][0] = SLICE_LIT("SET");
        set[i][1] = name[i];
        set[i][2] = slice_cstr(value[i]);
        set[i][3] = SLICE_LIT("NX");
        commands[i] = (struct pool_command){4, set[i]};
        mget[i + 1] = name[i];
    }
    commands[n] = (struct pool_command){(int)n + 1, mget};
    if (rc == ERR_OK)
        pool_send(work->cache->set->pool, &work->call, commands, n + 1);
    buf_fini(&names);
    return rc;
}

bool tags_known(struct work *work, void (*send)(struct work *work),
                void (*done)(struct pool_call *call, int status, const struct reply *reply))
{
    int rc;

    if (work->attrs.n_tags == 0 || work->tag_values != NULL)
        return true;
    work->tags_next.send = send;
    work->tags_next.done = done;
    work->call.done = put_values_done;
    work->call.repeatable = true;
    rc = ask_values(work);
    if (rc != ERR_OK)
        work_fail_later(work, rc);
    return false;
}

void tags_of(const struct work *work, struct envelope *envelope,
             struct envelope_tag tags[TABLE_TAGS_MAX])
{
    for (unsigned i = 0; i < work->attrs.n_tags; i++)
        tags[i] = (struct envelope_tag){
            work->attrs.tags[i],
            slice_make(work->tag_values + (size_t)i * ENVELOPE_TAG_VALUE, ENVELOPE_TAG_VALUE)};
    envelope->tags = tags;
    envelope->n_tags = work->attrs.n_tags;
}

/* --- after a get --- */

static bool values_agree(const struct work *work, const struct reply *reply)
{
    struct envelope_tag tag;
    size_t at = 0;

    for (size_t i = 0; envelope_next_tag(&work->envelope, &at, &tag); i++)
        if (i >= reply->n_items || reply->items[i].type != REPLY_STRING ||
            !slice_eq(reply->items[i].str, tag.value))
            return false;
    return true;
}

static void check_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);

    if (status != ERR_OK || reply->type != REPLY_ARRAY)
        read_checked(work, status != ERR_OK ? status : ERR_REMOTE, false);
    else
        read_checked(work, ERR_OK, values_agree(work, reply));
}

int tags_check(struct work *work)
{
    struct slice tags[TABLE_TAGS_MAX], mget[TABLE_TAGS_MAX + 1] = {SLICE_LIT("MGET")};
    struct envelope_tag tag;
    struct pool_command command = {0, mget};
    struct buf names = {0};
    unsigned n = 0;
    size_t at = 0;
    int rc;

    while (n < TABLE_TAGS_MAX && envelope_next_tag(&work->envelope, &at, &tag))
        tags[n++] = tag.name;
    rc = encode_names(work->cache, tags, n, &names, mget + 1);
    if (rc == ERR_OK) {
        command.argc = (int)n + 1;
        work->call.done = check_done;
        work->call.repeatable = true;
        pool_send(work->cache->set->pool, &work->call, &command, 1);
    }
    buf_fini(&names);
    return rc;
}

/* --- the purge --- */

static void purge_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    struct cache *cache = work->cache;
    const struct reply *count = status == ERR_OK ? exec_item(reply, 0) : NULL;

    window_whole(cache);
    if (count == NULL || count->type != REPLY_INTEGER) {
        work_end(work, job_failed(cache, status != ERR_OK ? status : ERR_REMOTE));
        return;
    }
    /* Again: a reader between the first time and the UNLINK has found the tag as it was. */
    ban_tag(cache->zone, work->key.bytes);
    work->op->integer = count->integer;
    work_end(work, CACHE_OK);
}

static void purge_send(struct work *work)
{
    struct buf name = {0};
    struct slice unlink[2] = {SLICE_LIT("UNLINK")};
    struct pool_command command = {2, unlink};
    int rc = keyname_encode_tag(work->cache, work->key.bytes, &name);

    work->call.done = purge_done;
    work->call.repeatable = true;
    if (rc == ERR_OK) {
        unlink[1] = buf_slice(&name);
        send_with_message(work, &command, MESSAGE_TAG);
    } else {
        work_fail_later(work, rc);
    }
    buf_fini(&name);
}

static enum cache_status purge(struct cache *cache, struct slice tag, struct cache_op *op)
{
    struct work *work;

    if (cache->l2 && op == NULL)
        return CACHE_WAIT;
    ban_tag(cache->zone, tag);
    stat_add(cache->zone, STAT_PURGES, 1);
    tell_purge(cache, MESSAGE_TAG, tag);
    if (!cache->l2)
        return CACHE_OK;
    op->integer = 0;
    if (!l2_usable(cache))
        return job_failed(cache, ERR_DOWN);
    work = work_begin(cache, op, tag, (struct slice){0}, NULL);
    if (work == NULL)
        return CACHE_NOMEM;
    purge_send(work);
    return CACHE_PENDING;
}

enum cache_status cache_purge_tag(struct cache *cache, struct slice tag, struct cache_op *op)
{
    uint64_t began_ns = telemetry_begin(cache);

    return telemetry_end(cache, TELEMETRY_DELETE_PATTERN, tag, began_ns, op, NULL,
                         purge(cache, tag, op));
}
