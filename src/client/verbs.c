/* The operations on a cache, each one command. */
#include "client/handle.h"

#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slice verb_decimal(struct verb_number *out, int64_t value)
{
    return slice_make(out->text,
                      (size_t)snprintf(out->text, sizeof(out->text), "%lld", (long long)value));
}

enum cachetastic_status verb_check_key(struct cachetastic *cache, size_t len)
{
    if (len >= 1 && len <= VERB_KEY_MAX)
        return CACHETASTIC_OK;
    return handle_fail(cache, CACHETASTIC_E_INVALID, "a key has 1 to %d bytes, not %zu",
                       VERB_KEY_MAX, len);
}

/* ---- reading ---- */

static enum cachetastic_status value_of(struct cachetastic *cache, const struct resp_value *reply,
                                        struct cachetastic_bytes *value)
{
    if (reply->type == RESP_NULL)
        return CACHETASTIC_MISS;
    if (reply->type != RESP_BULK)
        return call_confused(cache);
    *value = (struct cachetastic_bytes){reply->str.len == 0 ? "" : reply->str.data, reply->str.len};
    return CACHETASTIC_OK;
}

static enum cachetastic_status ask(struct cachetastic *cache, struct slice key,
                                   struct cachetastic_bytes *value)
{
    const struct slice argv[] = {SLICE_LIT("GET"), key};
    enum cachetastic_status status = call_send(cache, 2, argv, true, 0);

    return status == CACHETASTIC_OK ? value_of(cache, &cache->reply, value) : status;
}

enum cachetastic_status cachetastic_get(cachetastic *cache, const char *key, size_t key_len,
                                        struct cachetastic_bytes *value)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);

    if (status != CACHETASTIC_OK)
        return status;
    if (direct_ready(cache)) {
        status = direct_get(cache, slice_make(key, key_len), value, NULL);
        if (status != CACHETASTIC_BUSY)
            return status;
    }
    return ask(cache, slice_make(key, key_len), value);
}

enum cachetastic_status cachetastic_peek(cachetastic *cache, const char *key, size_t key_len,
                                         struct cachetastic_bytes *value)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);

    if (status != CACHETASTIC_OK)
        return status;
    return direct_mapped(cache) ? direct_get(cache, slice_make(key, key_len), value, NULL)
                                : CACHETASTIC_BUSY;
}

enum cachetastic_status cachetastic_has(cachetastic *cache, const char *key, size_t key_len)
{
    const struct slice argv[] = {SLICE_LIT("EXISTS"), slice_make(key, key_len)};
    enum cachetastic_status status = verb_check_key(cache, key_len);
    struct cachetastic_bytes value;
    int64_t found;

    if (status == CACHETASTIC_OK && direct_ready(cache)) {
        status = direct_get(cache, argv[1], &value, NULL);
        if (status != CACHETASTIC_BUSY)
            return status;
        status = CACHETASTIC_OK;
    }
    if (status == CACHETASTIC_OK)
        status = verb_integer(cache, 2, argv, true, &found);
    return status == CACHETASTIC_OK && found == 0 ? CACHETASTIC_MISS : status;
}

enum cachetastic_status cachetastic_ttl(cachetastic *cache, const char *key, size_t key_len,
                                        uint64_t *ttl_ms)
{
    const struct slice argv[] = {SLICE_LIT("PTTL"), slice_make(key, key_len)};
    enum cachetastic_status status = verb_check_key(cache, key_len);
    int64_t left;

    if (status == CACHETASTIC_OK)
        status = verb_integer(cache, 2, argv, true, &left);
    if (status != CACHETASTIC_OK)
        return status;
    if (left == -2)
        return CACHETASTIC_MISS;
    *ttl_ms = left < 0 ? 0 : left == 0 ? 1 : (uint64_t)left;
    return CACHETASTIC_OK;
}

enum cachetastic_status cachetastic_stats(cachetastic *cache, struct cachetastic_bytes *json)
{
    const struct slice name = slice_cstr(cache->name == NULL ? "default" : cache->name);
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.STATS"), name};
    enum cachetastic_status status = call_send(cache, 2, argv, true, 0);

    return status == CACHETASTIC_OK ? value_of(cache, &cache->reply, json) : status;
}

/* ---- writing ---- */

enum cachetastic_status verb_integer(struct cachetastic *cache, int argc, const struct slice *argv,
                                     bool again, int64_t *result)
{
    enum cachetastic_status status = call_send(cache, argc, argv, again, 0);

    if (status != CACHETASTIC_OK)
        return status;
    if (cache->reply.type != RESP_INTEGER)
        return call_confused(cache);
    *result = cache->reply.integer;
    return CACHETASTIC_OK;
}

enum cachetastic_status verb_done(struct cachetastic *cache)
{
    if (cache->reply.type == RESP_NULL)
        return CACHETASTIC_MISS;
    return cache->reply.type == RESP_STATUS ? CACHETASTIC_OK : call_confused(cache);
}

static enum cachetastic_status check_put(struct cachetastic *cache,
                                         const struct cachetastic_put *how)
{
    if (how->n_tags > VERB_TAGS_MAX)
        return handle_fail(cache, CACHETASTIC_E_INVALID, "an entry has at most %d tags, not %zu",
                           VERB_TAGS_MAX, how->n_tags);
    if (how->if_absent && how->if_present)
        return handle_fail(cache, CACHETASTIC_E_INVALID,
                           "if_absent and if_present exclude each other");
    if (how->ttl_ms > INT64_MAX / 2 || how->stale_ms > INT64_MAX / 2)
        return handle_fail(cache, CACHETASTIC_E_INVALID, "a time of %llu ms is out of range",
                           (unsigned long long)(how->ttl_ms | how->stale_ms));
    return CACHETASTIC_OK;
}

enum cachetastic_status verb_set(struct cachetastic *cache, const struct cachetastic_put *how,
                                 struct verb_set *set)
{
    static const struct cachetastic_put plain;
    enum cachetastic_status status;
    int n = 3;

    how = how == NULL ? &plain : how;
    status = check_put(cache, how);
    set->argv[0] = SLICE_LIT("SET");
    if (how->if_absent || how->if_present)
        set->argv[n++] = how->if_absent ? SLICE_LIT("NX") : SLICE_LIT("XX");
    set->argc = verb_attrs(how, set->argv, n, set->numbers);
    return status;
}

int verb_attrs(const struct cachetastic_put *how, struct slice *argv, int n,
               struct verb_number numbers[3])
{
    if (how->ttl_ms > 0) {
        argv[n++] = SLICE_LIT("PX");
        argv[n++] = verb_decimal(&numbers[0], (int64_t)how->ttl_ms);
    }
    if (how->stale_ms > 0) {
        argv[n++] = SLICE_LIT("STALE");
        argv[n++] = verb_decimal(&numbers[1], (int64_t)how->stale_ms);
    }
    if (how->n_tags == 0 || how->n_tags > VERB_TAGS_MAX)
        return n;
    argv[n++] = SLICE_LIT("TAGS");
    argv[n++] = verb_decimal(&numbers[2], (int64_t)how->n_tags);
    for (size_t i = 0; i < how->n_tags; i++)
        argv[n++] = bytes_slice(&how->tags[i]);
    return n;
}

enum cachetastic_status cachetastic_put(cachetastic *cache, const char *key, size_t key_len,
                                        const void *value, size_t value_len,
                                        const struct cachetastic_put *how)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);
    struct verb_set set;

    if (status == CACHETASTIC_OK)
        status = verb_set(cache, how, &set);
    if (status != CACHETASTIC_OK)
        return status;
    set.argv[1] = slice_make(key, key_len);
    set.argv[2] = slice_make(value, value_len);
    status = call_send(cache, set.argc, set.argv,
                       how == NULL || !(how->if_absent || how->if_present), 0);
    return status == CACHETASTIC_OK ? verb_done(cache) : status;
}

enum cachetastic_status cachetastic_delete(cachetastic *cache, const char *key, size_t key_len)
{
    const struct slice argv[] = {SLICE_LIT("DEL"), slice_make(key, key_len)};
    enum cachetastic_status status = verb_check_key(cache, key_len);
    int64_t removed;

    if (status == CACHETASTIC_OK)
        status = verb_integer(cache, 2, argv, true, &removed);
    return status == CACHETASTIC_OK && removed == 0 ? CACHETASTIC_MISS : status;
}

enum cachetastic_status cachetastic_increment(cachetastic *cache, const char *key, size_t key_len,
                                              int64_t delta, int64_t *result)
{
    struct verb_number number;
    const struct slice argv[] = {SLICE_LIT("INCRBY"), slice_make(key, key_len),
                                 verb_decimal(&number, delta)};
    enum cachetastic_status status = verb_check_key(cache, key_len);
    int64_t sum = 0;

    if (status == CACHETASTIC_OK)
        status = verb_integer(cache, 3, argv, false, &sum);
    if (result != NULL)
        *result = sum;
    return status;
}

enum cachetastic_status cachetastic_touch(cachetastic *cache, const char *key, size_t key_len,
                                          uint64_t ttl_ms)
{
    struct verb_number number;
    const struct slice expire[] = {SLICE_LIT("PEXPIRE"), slice_make(key, key_len),
                                   verb_decimal(&number, (int64_t)ttl_ms)};
    const struct slice persist[] = {SLICE_LIT("PERSIST"), expire[1]};
    enum cachetastic_status status = verb_check_key(cache, key_len);
    int64_t changed = 0;

    if (status == CACHETASTIC_OK && ttl_ms > INT64_MAX / 2)
        return handle_fail(cache, CACHETASTIC_E_INVALID, "a time of %llu ms is out of range",
                           (unsigned long long)ttl_ms);
    if (status == CACHETASTIC_OK)
        status = ttl_ms > 0 ? verb_integer(cache, 3, expire, true, &changed)
                            : verb_integer(cache, 2, persist, true, &changed);
    if (status != CACHETASTIC_OK || changed == 1)
        return status;
    /* PERSIST says 0 of a key without an expiry, too. */
    return ttl_ms > 0 ? CACHETASTIC_MISS : cachetastic_has(cache, key, key_len);
}

enum cachetastic_status cachetastic_clear(cachetastic *cache)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.CLEAR")};
    int64_t removed;

    return verb_integer(cache, 1, argv, true, &removed);
}

enum cachetastic_status cachetastic_delete_pattern(cachetastic *cache, const char *pattern,
                                                   size_t pattern_len)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.PURGE"), SLICE_LIT("PATTERN"),
                                 slice_make(pattern, pattern_len)};
    int64_t removed;

    return verb_integer(cache, 3, argv, true, &removed);
}

enum cachetastic_status cachetastic_invalidate_tags(cachetastic *cache,
                                                    const struct cachetastic_bytes *tags, size_t n)
{
    enum cachetastic_status status = CACHETASTIC_OK;

    for (size_t i = 0; i < n && status == CACHETASTIC_OK; i++) {
        const struct slice argv[] = {SLICE_LIT("CACHETASTIC.PURGE"), SLICE_LIT("TAG"),
                                     bytes_slice(&tags[i])};
        int64_t removed;

        status = verb_integer(cache, 3, argv, true, &removed);
    }
    return status;
}
