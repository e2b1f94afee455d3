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
    info->mark = envelope->mark;
}

int l1_meta(const struct cache_attrs *attrs, struct buf *out)
{
    struct envelope envelope = {.content_type = attrs->content_type,
                                .client_flags = attrs->client_flags,
                                .created_wall_ms = attrs->created_wall_ms,
                                .mark = attrs->mark};

    return envelope_needed(&envelope) ? envelope_encode(&envelope, out) : ERR_OK;
}

static void info_of_hit(const struct table_hit *hit, struct slice meta, struct cache_info *info)
{
    struct envelope envelope = {0};

    info->expires_ms = hit->expires_ms;
    info->value_len = hit->value_len;
    info->accessed = hit->accessed;
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
    if (table_copy_tags(cache->zone, &draft->hit, key->bytes.len, draft->tag_hashes) != TABLE_HIT)
        return CACHE_PENDING;
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

/* The metadata of what is stored: of the change, or the older entry's. */
static enum cache_status new_meta(const struct cache_change *change, struct draft *draft)
{
    struct cache_attrs attrs = {.content_type = slice_cstr(draft->info.content_type),
                                .client_flags = draft->info.client_flags,
                                .created_wall_ms = draft->info.created_wall_ms};

    if (change->kind != CHANGE_SET && draft->present && draft->mark == draft->info.mark)
        return CACHE_OK; /* as it is */
    if (change->kind == CHANGE_SET)
        attrs = change->attrs;
    else if (!draft->present)
        attrs = (struct cache_attrs){0};
    attrs.mark = draft->mark;
    buf_truncate(&draft->meta, 0);
    return l1_meta(&attrs, &draft->meta) == ERR_OK ? CACHE_OK : CACHE_NOMEM;
}

static void keep_tags(const struct draft *draft, struct table_write *write)
{
    if (!draft->present)
        return;
    write->tag_hashes = draft->tag_hashes;
    write->n_tags = draft->hit.n_tags;
    write->stale_ms = draft->hit.stale_ms;
    write->delta_ms = draft->hit.delta_ms;
}

static enum cache_status rewrite(struct cache *cache, const struct table_key *key,
                                 const struct cache_change *change, struct draft *draft,
                                 uint64_t began_seq, uint64_t now_ms, int64_t *integer)
{
    struct table_write write = {.began_seq = began_seq, .expect = &draft->hit.ref};
    enum cache_status status = revise(cache, change, draft, integer);

    if (status == CACHE_OK)
        status = new_meta(change, draft);
    if (status != CACHE_OK)
        return status;
    write.value = draft->result;
    write.meta = buf_slice(&draft->meta);
    write.expires_ms = draft->expires_ms;
    if (change->kind == CHANGE_SET) {
        write.tags = change->attrs.tags;
        write.n_tags = change->attrs.n_tags;
    } else {
        keep_tags(draft, &write);
    }
    return status_of_table(table_set(cache->zone, key, &write, now_ms));
}

static enum cache_status store(struct cache *cache, const struct table_key *key,
                               const struct cache_change *change, struct draft *draft,
                               uint64_t began_seq, uint64_t now_ms, int64_t *integer)
{
    switch (change->kind) {
    case CHANGE_DELETE:
        return status_of_table(table_delete(cache->zone, key, &draft->hit.ref, now_ms));
    case CHANGE_TOUCH:
    case CHANGE_EXPIRE:
        return status_of_table(
            table_expire(cache->zone, key, &draft->hit.ref, change->attrs.expires_ms, now_ms));
    default:
        return rewrite(cache, key, change, draft, began_seq, now_ms, integer);
    }
}

/* One attempt. CACHE_PENDING: overtaken, try again. */
static enum cache_status change_once(struct cache *cache, const struct table_key *key,
                                     const struct cache_change *change, struct cache_sink *sink,
                                     struct draft *draft, int64_t *integer)
{
    bool read = revise_reads(change);
    uint64_t began_seq = zone_seq(cache->zone);
    uint64_t now_ms = clock_now_ms();
    enum cache_status status;

    status = load(cache, key, now_ms, read, change->value.len, draft);
    if (status != CACHE_OK)
        return status;
    if (!revise_holds(cache, change, draft)) {
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
