/* Reads and read-modify-write in shared memory. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/units.h"
#include "shm/ban.h"

#include <stdlib.h>

/* Lock-free attempts before the stripe's lock is taken: enough for any reader that was merely
 * unlucky. */
#define READ_ATTEMPTS   4
#define CHANGE_ATTEMPTS 1000

void l1_info(const struct envelope *envelope, struct cache_info *info)
{
    size_t len = envelope->content_type.len;

    if (len > sizeof(info->content_type) - 1)
        len = sizeof(info->content_type) - 1;
    if (len > 0)
        memcpy(info->content_type, envelope->content_type.data, len);
    info->content_type[len] = '\0';
    info->client_flags = envelope->client_flags;
    info->created_wall_ms = envelope->created_wall_ms;
}

int l1_meta(const struct cache_attrs *attrs, struct buf *out)
{
    struct envelope envelope = {.content_type = attrs->content_type,
                                .client_flags = attrs->client_flags,
                                .created_wall_ms = attrs->created_wall_ms};

    return envelope_needed(&envelope) ? envelope_encode(&envelope, out) : ERR_OK;
}

static void info_of_hit(const struct table_hit *hit, struct slice meta, struct cache_info *info)
{
    struct envelope envelope = {0};

    info->expires_ms = hit->expires_ms;
    info->value_len = hit->value_len;
    if (meta.len > 0 && envelope_decode(meta, &envelope) != ERR_OK)
        envelope = (struct envelope){0};
    l1_info(&envelope, info);
}

/* Whether the sink has taken the value as it lies in the zone. */
static bool lent(struct cache *cache, const struct table_hit *hit, struct cache_sink *sink,
                 const struct cache_info *info)
{
    struct pin pin;

    if (sink->lend == NULL || !pin_begin(cache->zone, hit, &pin))
        return false;
    if (sink->lend(sink, info, &pin))
        return true;
    pin_end(&pin);
    return false;
}

/* Copy what was found; TABLE_OVERTAKEN when it changed meanwhile, TABLE_FULL when there was no
 * place. */
enum table_result l1_copy(struct cache *cache, const struct table_hit *hit, struct cache_sink *sink,
                          struct cache_info *info)
{
    char meta[TABLE_META_MAX];
    char *place;

    if (hit->meta_len > 0 && table_copy(cache->zone, hit, meta, NULL) != TABLE_HIT)
        return TABLE_OVERTAKEN;
    info_of_hit(hit, slice_make(meta, hit->meta_len), info);
    if (sink == NULL || lent(cache, hit, sink, info))
        return TABLE_HIT;
    place = sink->place(sink, info);
    if (place == NULL)
        return TABLE_FULL;
    return table_copy(cache->zone, hit, NULL, place);
}

/* Under the stripe's lock; the room is made before, so it is tried again when the value has grown
 * since. */
static enum table_result read_locked(struct cache *cache, const struct table_key *key,
                                     uint64_t now_ms, struct cache_sink *sink,
                                     struct cache_info *info)
{
    char meta[TABLE_META_MAX];
    struct table_hit hit = {0};
    enum table_result result;
    size_t room = 0;
    char *place = NULL;

    for (int i = 0; i < READ_ATTEMPTS; i++) {
        result = table_read_locked(cache->zone, key, now_ms, &hit, meta, sizeof(meta), place, room);
        if (result != TABLE_HIT && result != TABLE_STALE)
            return result;
        info_of_hit(&hit, slice_make(meta, hit.meta_len), info);
        if (sink == NULL || (place != NULL && room == hit.value_len))
            return result;
        place = sink->place(sink, info);
        room = hit.value_len;
        if (place == NULL)
            return TABLE_FULL;
    }
    return TABLE_BUSY;
}

enum table_result l1_read(struct cache *cache, const struct table_key *key, uint64_t now_ms,
                          struct cache_sink *sink, struct cache_info *info)
{
    struct table_hit hit;

    info->stale = false; /* what only a fetch knows */
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        enum table_result found = table_find(cache->zone, key, now_ms, &hit);
        enum table_result copied;

        if (found != TABLE_HIT && found != TABLE_STALE)
            return found;
        copied = l1_copy(cache, &hit, sink, info);
        if (copied == TABLE_HIT)
            return found;
        if (copied == TABLE_FULL)
            return TABLE_FULL;
    }
    return read_locked(cache, key, now_ms, sink, info);
}

bool l1_remove(struct cache *cache, const struct table_key *key, bool *had)
{
    enum table_result result = table_delete(cache->zone, key, NULL, clock_now_ms());

    if (result == TABLE_BUSY)
        return false;
    *had = result == TABLE_STORED;
    return true;
}

static enum ban_result add_ban(struct cache *cache, struct slice pattern)
{
    enum ban_result result;
    bool took = false;

    if (!cache->l2 && !hold_event(cache, &took))
        return BAN_FULL;
    result = ban_add(cache->zone, pattern);
    if (!cache->l2)
        hold_event_end(cache, took);
    return result;
}

bool ban_l1(struct cache *cache, struct slice pattern)
{
    switch (add_ban(cache, pattern)) {
    case BAN_RECORDED:
        return true;
    case BAN_TOO_LONG: /* only from another node: invalidating more than asked is safe */
        zone_clear(cache->zone);
        return true;
    default:
        return false;
    }
}

/* ---- read-modify-write: find, compute, store if unchanged ---- */

struct draft {
    struct buf value;
    struct buf meta;
    struct cache_info info; /* of the older entry */
    struct table_hit hit;
    bool present;
};

static void draft_fini(struct draft *draft)
{
    buf_fini(&draft->value);
    buf_fini(&draft->meta);
}

/* The older entry whole, into draft->value (with room for `extra` more) and draft->meta. */
static enum cache_status load(struct cache *cache, const struct table_key *key, uint64_t now_ms,
                              bool want_value, size_t extra, struct draft *draft)
{
    enum table_result result = table_find(cache->zone, key, now_ms, &draft->hit);
    char *meta, *value = NULL;

    draft->present = result == TABLE_HIT || result == TABLE_STALE;
    buf_truncate(&draft->value, 0);
    buf_truncate(&draft->meta, 0);
    if (!draft->present)
        return result == TABLE_MISS ? CACHE_OK : CACHE_WAIT;
    meta = buf_reserve(&draft->meta, draft->hit.meta_len + 1u);
    if (want_value)
        value = buf_reserve(&draft->value, draft->hit.value_len + extra + 1);
    if (meta == NULL || (want_value && value == NULL))
        return CACHE_NOMEM;
    if (table_copy(cache->zone, &draft->hit, meta, value) != TABLE_HIT)
        return CACHE_PENDING; /* overtaken: the caller's loop looks again */
    buf_commit(&draft->meta, draft->hit.meta_len);
    if (want_value)
        buf_commit(&draft->value, draft->hit.value_len);
    info_of_hit(&draft->hit, buf_slice(&draft->meta), &draft->info);
    return CACHE_OK;
}

static enum cache_status give_old(struct draft *draft, struct cache_sink *sink)
{
    char *place;

    if (!draft->present || sink == NULL)
        return CACHE_OK;
    place = sink->place(sink, &draft->info);
    if (place == NULL)
        return CACHE_NOMEM;
    memcpy(place, buf_head(&draft->value), draft->info.value_len);
    return CACHE_OK;
}

static enum cache_status add_delta(struct draft *draft, int64_t delta, int64_t *integer)
{
    int64_t number = 0;

    if (draft->present && units_parse_int(buf_slice(&draft->value), &number) != ERR_OK)
        return CACHE_NOT_INTEGER;
    if (__builtin_add_overflow(number, delta, integer))
        return CACHE_OVERFLOW;
    buf_truncate(&draft->value, 0);
    return buf_printf(&draft->value, "%lld", (long long)*integer) == ERR_OK ? CACHE_OK
                                                                            : CACHE_NOMEM;
}

/* A decimal number without a sign; blanks may follow it. */
static bool parse_count(struct slice text, uint64_t *number)
{
    size_t digits = 0;

    *number = 0;
    for (; digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(*number, 10u, number) ||
            __builtin_add_overflow(*number, (unsigned)(text.data[digits] - '0'), number))
            return false;
    for (size_t i = digits; i < text.len; i++)
        if (text.data[i] != ' ')
            return false;
    return digits > 0;
}

/* memcached's arithmetic (doc/protocol.txt, "Increment/Decrement"). */
static enum cache_status count(const struct cache_change *change, struct draft *draft,
                               int64_t *integer)
{
    size_t old_len = buf_len(&draft->value);
    uint64_t by = (uint64_t)change->delta;
    uint64_t number;

    if (!parse_count(buf_slice(&draft->value), &number))
        return CACHE_NOT_INTEGER;
    number = !change->down ? number + by : by < number ? number - by : 0;
    *integer = (int64_t)number;
    buf_truncate(&draft->value, 0);
    if (buf_printf(&draft->value, "%llu", (unsigned long long)number) != ERR_OK)
        return CACHE_NOMEM;
    while (buf_len(&draft->value) < old_len)
        if (buf_append(&draft->value, " ", 1) != ERR_OK)
            return CACHE_NOMEM;
    return CACHE_OK;
}

static enum cache_status prepend(const struct cache_change *change, struct draft *draft)
{
    size_t old_len = buf_len(&draft->value);
    char *place = buf_reserve(&draft->value, change->value.len);

    if (place == NULL)
        return CACHE_NOMEM;
    buf_commit(&draft->value, change->value.len);
    memmove(buf_head(&draft->value) + change->value.len, buf_head(&draft->value), old_len);
    if (change->value.len > 0)
        memcpy(buf_head(&draft->value), change->value.data, change->value.len);
    return CACHE_OK;
}

uint64_t cache_fingerprint(const struct cache *cache, struct slice value, uint32_t client_flags)
{
    /* The flags, spread over all bits. 0 is no unique to some clients, and libmemcached has room for
     * 18 digits. */
    uint64_t spread = (client_flags + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

    return (table_key(cache->zone, value).hash ^ spread) >> 5 | 1;
}

/* What the entry becomes: write is filled; CACHE_MISS: nothing to change. */
static enum cache_status compute(struct cache *cache, const struct cache_change *change,
                                 struct draft *draft, struct table_write *write, int64_t *integer)
{
    enum cache_status status = CACHE_OK;

    write->expires_ms = draft->present ? draft->hit.expires_ms : 0;
    switch (change->kind) {
    case CHANGE_SET:
        write->value = change->value;
        write->tags = change->attrs.tags;
        write->n_tags = change->attrs.n_tags;
        if (!change->keep_ttl)
            write->expires_ms = change->attrs.expires_ms;
        buf_truncate(&draft->meta, 0);
        if (l1_meta(&change->attrs, &draft->meta) != ERR_OK)
            return CACHE_NOMEM;
        break;
    case CHANGE_APPEND:
        if (buf_append(&draft->value, change->value.data, change->value.len) != ERR_OK)
            return CACHE_NOMEM;
        *integer = (int64_t)buf_len(&draft->value);
        write->value = buf_slice(&draft->value);
        break;
    case CHANGE_INCR:
        status = add_delta(draft, change->delta, integer);
        write->value = buf_slice(&draft->value);
        break;
    case CHANGE_PREPEND:
        status = prepend(change, draft);
        *integer = (int64_t)buf_len(&draft->value);
        write->value = buf_slice(&draft->value);
        break;
    case CHANGE_COUNT:
        status = count(change, draft, integer);
        write->value = buf_slice(&draft->value);
        break;
    default:
        break;
    }
    write->meta = buf_slice(&draft->meta);
    if (status == CACHE_OK && write->value.len > cache->value_max)
        return CACHE_TOO_LARGE;
    return status;
}

static enum cache_status status_of_table(enum table_result result)
{
    switch (result) {
    case TABLE_STORED:
        return CACHE_OK;
    case TABLE_CHANGED:
    case TABLE_REJECTED:
    case TABLE_OVERTAKEN:
        return CACHE_PENDING; /* look again */
    case TABLE_BUSY:
        return CACHE_WAIT;
    case TABLE_TOO_LARGE:
        return CACHE_TOO_LARGE;
    case TABLE_FULL:
        return CACHE_FULL;
    default:
        return CACHE_MISS;
    }
}

static enum cache_status store(struct cache *cache, const struct table_key *key,
                               const struct cache_change *change, struct draft *draft,
                               uint64_t began_seq, uint64_t now_ms, int64_t *integer)
{
    struct table_write write = {.began_seq = began_seq, .expect = &draft->hit.ref};
    enum cache_status status;

    switch (change->kind) {
    case CHANGE_DELETE:
        return status_of_table(table_delete(cache->zone, key, &draft->hit.ref, now_ms));
    case CHANGE_TOUCH:
    case CHANGE_EXPIRE:
        return status_of_table(
            table_expire(cache->zone, key, &draft->hit.ref, change->attrs.expires_ms, now_ms));
    default:
        status = compute(cache, change, draft, &write, integer);
        if (status != CACHE_OK)
            return status;
        return status_of_table(table_set(cache->zone, key, &write, now_ms));
    }
}

static bool condition_holds(const struct cache *cache, const struct cache_change *change,
                            const struct draft *draft)
{
    if (change->when == CHANGE_IF_SAME)
        return draft->present && cache_fingerprint(cache, buf_slice(&draft->value),
                                                   draft->info.client_flags) == change->same;
    if (change->kind == CHANGE_PREPEND || change->kind == CHANGE_COUNT)
        return draft->present;
    if (change->when == CHANGE_IF_ABSENT)
        return !draft->present;
    if (change->when == CHANGE_IF_PRESENT || change->kind == CHANGE_DELETE ||
        change->kind == CHANGE_TOUCH)
        return draft->present;
    if (change->kind == CHANGE_EXPIRE) /* PERSIST changes only what has an expiry */
        return draft->present && (change->attrs.expires_ms != 0 || draft->hit.expires_ms != 0);
    return true;
}

/* One attempt. CACHE_PENDING: overtaken, try again. */
static enum cache_status change_once(struct cache *cache, const struct table_key *key,
                                     const struct cache_change *change, struct cache_sink *sink,
                                     struct draft *draft, int64_t *integer)
{
    bool read = change->want_old || change->kind == CHANGE_APPEND || change->kind == CHANGE_INCR ||
                change->kind == CHANGE_DELETE || change->kind == CHANGE_TOUCH ||
                change->kind == CHANGE_PREPEND || change->kind == CHANGE_COUNT ||
                change->when == CHANGE_IF_SAME;
    uint64_t began_seq = zone_seq(cache->zone);
    uint64_t now_ms = clock_now_ms();
    enum cache_status status;

    status = load(cache, key, now_ms, read, change->value.len, draft);
    if (status != CACHE_OK)
        return status;
    if (!condition_holds(cache, change, draft)) {
        status = change->want_old ? give_old(draft, sink) : CACHE_OK;
        *integer = draft->present;
        return status == CACHE_OK ? CACHE_MISS : status;
    }
    if (sink != NULL) {
        status = give_old(draft, sink);
        *integer = draft->present;
        if (status != CACHE_OK)
            return status;
    }
    return store(cache, key, change, draft, began_seq, now_ms, integer);
}

enum cache_status l1_change(struct cache *cache, const struct table_key *key,
                            const struct cache_change *change, struct cache_sink *sink,
                            int64_t *integer)
{
    struct draft draft = {0};
    enum cache_status status = CACHE_PENDING;

    /* Each failed attempt means that another writer got through, so this ends; the bound is for a
     * writer that never sleeps. */
    for (int i = 0; i < CHANGE_ATTEMPTS && status == CACHE_PENDING; i++)
        status = change_once(cache, key, change, sink, &draft, integer);
    draft_fini(&draft);
    return status == CACHE_PENDING ? CACHE_WAIT : status;
}
