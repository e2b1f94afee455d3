/* What a change makes of an entry, wherever that is kept: shared memory (l1.c) or Redis
 * (exchange.c). */
#include "cache/impl.h"
#include "common/units.h"

#include <stdlib.h>

void draft_fini(struct draft *draft)
{
    buf_fini(&draft->value);
    buf_fini(&draft->meta);
}

uint64_t cache_fingerprint(const struct cache *cache, struct slice value, uint32_t client_flags,
                           uint32_t mark)
{
    /* Flags and mark, spread over all bits. 0 is no unique to some clients, and libmemcached has
     * room for 18 digits. */
    uint64_t beside = (client_flags + UINT64_C(1)) ^ (uint64_t)mark << 32;

    return (table_key(cache->zone, value).hash ^ beside * UINT64_C(0x9e3779b97f4a7c15)) >> 8 | 1;
}

static bool draft_is(const struct cache *cache, const struct draft *draft, uint64_t unique)
{
    return cache_fingerprint(cache, buf_slice(&draft->value), draft->info.client_flags,
                             draft->info.mark) == unique;
}

bool revise_reads(const struct cache_change *change)
{
    switch (change->kind) {
    case CHANGE_SET:
    case CHANGE_EXPIRE:
        return change->want_old || change->when == CHANGE_IF_SAME;
    default:
        return true;
    }
}

bool revise_holds(const struct cache *cache, const struct cache_change *change,
                  const struct draft *draft)
{
    if (change->kind == CHANGE_COUNT && change->create && !draft->present)
        return true;
    if (change->when == CHANGE_IF_SAME)
        return draft->present && (change->or_stale || draft_is(cache, draft, change->same));
    switch (change->kind) {
    case CHANGE_PREPEND:
    case CHANGE_COUNT:
    case CHANGE_MARK:
    case CHANGE_DELETE:
    case CHANGE_TOUCH:
        return draft->present;
    case CHANGE_EXPIRE: /* PERSIST changes only what has an expiry */
        return draft->present && (change->attrs.expires_ms != 0 || draft->info.expires_ms != 0);
    default:
        return change->when == CHANGE_ALWAYS ||
               draft->present == (change->when == CHANGE_IF_PRESENT);
    }
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
    size_t old_len = draft->present ? buf_len(&draft->value) : 0;
    uint64_t by = (uint64_t)change->delta;
    uint64_t number = change->initial;

    if (draft->present && !parse_count(buf_slice(&draft->value), &number))
        return CACHE_NOT_INTEGER;
    if (draft->present)
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
    draft->mark = 0;
    buf_commit(&draft->value, change->value.len);
    memmove(buf_head(&draft->value) + change->value.len, buf_head(&draft->value), old_len);
    if (change->value.len > 0)
        memcpy(buf_head(&draft->value), change->value.data, change->value.len);
    return CACHE_OK;
}

/* A number that no mark had before, as good as surely. */
static uint32_t new_mark(void)
{
    return (uint32_t)mrand48() | 1;
}

static enum cache_status set(const struct cache *cache, const struct cache_change *change,
                             struct draft *draft)
{
    draft->mark = change->attrs.mark;
    if (change->when == CHANGE_IF_SAME && !draft_is(cache, draft, change->same))
        draft->mark = new_mark(); /* or_stale */
    draft->flags = change->attrs.client_flags;
    draft->result = change->value;
    if (!change->keep_ttl)
        draft->expires_ms = change->attrs.expires_ms;
    return CACHE_OK;
}

static enum cache_status append(const struct cache_change *change, struct draft *draft)
{
    draft->mark = 0; /* another value */
    return buf_append(&draft->value, change->value.data, change->value.len) == ERR_OK ? CACHE_OK
                                                                                      : CACHE_NOMEM;
}

static enum cache_status compute(const struct cache *cache, const struct cache_change *change,
                                 struct draft *draft, int64_t *integer)
{
    switch (change->kind) {
    case CHANGE_SET:
        return set(cache, change, draft);
    case CHANGE_APPEND:
        return append(change, draft);
    case CHANGE_INCR:
        return add_delta(draft, change->delta, integer);
    case CHANGE_PREPEND:
        return prepend(change, draft);
    case CHANGE_COUNT:
        return count(change, draft, integer);
    case CHANGE_MARK:
        draft->mark = new_mark();
        return CACHE_OK;
    default:
        return CACHE_OK;
    }
}

/* When what was there, or is created, ends. */
static uint64_t new_expiry(const struct cache_change *change, const struct draft *draft)
{
    if (change->set_ttl && (draft->present || change->kind == CHANGE_MARK))
        return change->attrs.expires_ms;
    if (draft->present)
        return draft->info.expires_ms;
    return change->create ? change->create_expires_ms : 0;
}

enum cache_status revise(const struct cache *cache, const struct cache_change *change,
                         struct draft *draft, int64_t *integer)
{
    enum cache_status status;

    draft->expires_ms = new_expiry(change, draft);
    draft->flags = draft->present ? draft->info.client_flags : 0;
    draft->mark = draft->present ? draft->info.mark : 0;
    status = compute(cache, change, draft, integer);
    if (change->kind != CHANGE_SET)
        draft->result = buf_slice(&draft->value);
    if (change->kind == CHANGE_APPEND || change->kind == CHANGE_PREPEND)
        *integer = (int64_t)draft->result.len;
    if (status == CACHE_OK && draft->result.len > cache->value_max)
        return CACHE_TOO_LARGE;
    if (status == CACHE_OK && change->became != NULL)
        *change->became = (struct cache_changed){
            cache_fingerprint(cache, draft->result, draft->flags, draft->mark), draft->expires_ms};
    return status;
}
