/* Several keys at once: one pass over the mapped memory, one command or one pipeline for the rest.
 */
#include "client/handle.h"

#include <stdlib.h>

#define MANY_MAX                                                                                   \
    65000             /* keys of one call: the daemon takes 65,536 arguments (limits.resp_args)    \
                       */
#define BATCH    16   /* keys on their way from memory at once */
#define PIPELINE 1000 /* commands sent before their replies are read */

#define NOT_READ ((size_t)-1)

static enum cachetastic_status check_keys(struct cachetastic *cache,
                                          const struct cachetastic_bytes *keys, size_t n)
{
    enum cachetastic_status status = CACHETASTIC_OK;

    if (n > MANY_MAX)
        return handle_fail(cache, CACHETASTIC_E_INVALID, "at most %d keys a call, not %zu",
                           MANY_MAX, n);
    for (size_t i = 0; i < n && status == CACHETASTIC_OK; i++)
        status = verb_check_key(cache, keys[i].len);
    return status;
}

/* ---- reading ---- */

/* A get_many() under way: values read from memory lie one behind the other in cache->value, which
 * moves while it grows. */
struct many {
    struct cachetastic *cache;
    const struct cachetastic_bytes *keys;
    size_t *at;         /* where key i's value lies there; NOT_READ */
    struct slice *argv; /* MGET, and the keys that only the daemon can tell of */
    size_t *asked;      /* which keys those are */
    size_t n_asked;
};

static bool many_init(struct many *many, struct cachetastic *cache,
                      const struct cachetastic_bytes *keys, size_t n)
{
    *many = (struct many){.cache = cache, .keys = keys};
    many->at = calloc(n + 1, sizeof(*many->at));
    many->asked = calloc(n + 1, sizeof(*many->asked));
    many->argv = calloc(n + 1, sizeof(*many->argv));
    return many->at != NULL && many->asked != NULL && many->argv != NULL;
}

static void many_fini(struct many *many)
{
    free(many->at);
    free(many->asked);
    free(many->argv);
}

static void ask_for(struct many *many, size_t i)
{
    many->at[i] = NOT_READ;
    many->asked[many->n_asked++] = i;
    many->argv[many->n_asked] = bytes_slice(&many->keys[i]);
}

/* Copy a value behind those that are there. */
static enum reader_result read_behind(struct cachetastic *cache, const struct table_key *key,
                                      struct reader_value *found)
{
    struct buf *room = &cache->value;
    enum reader_result result;

    do
        result =
            reader_get(cache->reader, key, room->data + room->end, room->cap - room->end, found);
    while (result == READER_TOO_LARGE && buf_reserve(room, found->len) != NULL);
    return result;
}

static void read_one(struct many *many, const struct table_key *key, size_t i,
                     struct cachetastic_bytes *value)
{
    struct cachetastic *cache = many->cache;
    struct reader_value found;
    enum reader_result result =
        direct_foreign(key->bytes) ? READER_ASK : read_behind(cache, key, &found);

    if (result == READER_HIT) {
        many->at[i] = cache->value.end;
        value->len = found.len;
        buf_commit(&cache->value, found.len);
        cache->counts.direct_hits++;
        access_hit(cache->access, key->hash);
    } else if (result == READER_MISS && cache->complete) {
        many->at[i] = NOT_READ;
        cache->counts.direct_misses++;
        access_miss(cache->access);
    } else {
        ask_for(many, i);
    }
}

static void read_all(struct many *many, size_t n, struct cachetastic_bytes *values)
{
    struct cachetastic *cache = many->cache;
    struct table_key batch[BATCH];

    cache->value.start = cache->value.end = 0;
    for (size_t i = 0; i < n; i += BATCH) {
        size_t here = n - i < BATCH ? n - i : BATCH;

        for (size_t j = 0; j < here; j++)
            batch[j] = reader_key(cache->reader, bytes_slice(&many->keys[i + j]));
        reader_prefetch(cache->reader, batch, here);
        for (size_t j = 0; j < here; j++)
            read_one(many, &batch[j], i + j, &values[i + j]);
    }
    for (size_t i = 0; i < n; i++)
        if (many->at[i] != NOT_READ)
            values[i].data = cache->value.data + many->at[i];
    cache->value.start = cache->value.end = 0;
}

static enum cachetastic_status ask_all(struct many *many, struct cachetastic_bytes *values)
{
    struct cachetastic *cache = many->cache;
    const struct resp_value *reply = &cache->reply;
    enum cachetastic_status status;

    many->argv[0] = SLICE_LIT("MGET");
    status = call_send(cache, (int)many->n_asked + 1, many->argv, true, 0);
    if (status != CACHETASTIC_OK)
        return status;
    if (reply->type != RESP_ARRAY || reply->n_items != many->n_asked)
        return call_confused(cache);
    for (size_t i = 0; i < many->n_asked; i++) {
        const struct resp_value *item = &reply->items[i];

        if (item->type == RESP_BULK)
            values[many->asked[i]] =
                (struct cachetastic_bytes){item->str.len == 0 ? "" : item->str.data, item->str.len};
        else if (item->type == RESP_ERROR)
            return call_refused(cache, item->str);
    }
    return CACHETASTIC_OK;
}

enum cachetastic_status cachetastic_get_many(cachetastic *cache,
                                             const struct cachetastic_bytes *keys, size_t n,
                                             struct cachetastic_bytes *values)
{
    enum cachetastic_status status = check_keys(cache, keys, n);
    struct many many;

    if (status != CACHETASTIC_OK || n == 0)
        return status;
    for (size_t i = 0; i < n; i++)
        values[i] = (struct cachetastic_bytes){NULL, 0};
    if (!many_init(&many, cache, keys, n)) {
        status = handle_fail(cache, CACHETASTIC_E_NOMEM, "no memory for %zu keys", n);
    } else {
        if (direct_ready(cache))
            read_all(&many, n, values);
        else
            for (size_t i = 0; i < n; i++)
                ask_for(&many, i);
        if (many.n_asked > 0)
            status = ask_all(&many, values);
    }
    many_fini(&many);
    return status;
}

/* ---- writing ---- */

static int add_sets(struct cachetastic *cache, struct verb_set *set,
                    const struct cachetastic_bytes *keys, const struct cachetastic_bytes *values,
                    size_t n)
{
    int err = ERR_OK;

    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        set->argv[1] = bytes_slice(&keys[i]);
        set->argv[2] = bytes_slice(&values[i]);
        err = wire_add(&cache->wire, set->argc, set->argv);
    }
    return err == ERR_OK ? wire_send(&cache->wire, &cache->error)
                         : err_set(&cache->error, err, "no memory for the commands");
}

/* The replies to n commands; the first failure is the answer, but all of them are read. */
static int take_replies(struct cachetastic *cache, size_t n, enum cachetastic_status *status)
{
    int err = ERR_OK;

    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        enum cachetastic_status one;

        resp_value_fini(&cache->reply);
        err = wire_receive(&cache->wire, 0, &cache->reply, &cache->error);
        if (err != ERR_OK || *status < 0)
            continue;
        one = cache->reply.type == RESP_ERROR ? call_refused(cache, cache->reply.str)
                                              : verb_done(cache);
        if (one != CACHETASTIC_OK)
            *status = one;
        if (cache->wire.fd < 0)
            return ERR_PROTOCOL;
    }
    return err;
}

/* Send n SETs and read their replies. *lost: the connection ended before the first. */
static enum cachetastic_status put_some(struct cachetastic *cache, struct verb_set *set,
                                        const struct cachetastic_bytes *keys,
                                        const struct cachetastic_bytes *values, size_t n,
                                        bool *lost)
{
    enum cachetastic_status status = handle_connect(cache);
    int err;

    *lost = false;
    if (status != CACHETASTIC_OK)
        return status;
    cache->counts.calls++;
    err = add_sets(cache, set, keys, values, n);
    if (err == ERR_OK)
        err = take_replies(cache, n, &status);
    if (err == ERR_OK)
        return status;
    *lost = err == ERR_LOST && !cache->wire.begun;
    handle_disconnect(cache);
    return call_status(err);
}

enum cachetastic_status cachetastic_put_many(cachetastic *cache,
                                             const struct cachetastic_bytes *keys,
                                             const struct cachetastic_bytes *values, size_t n,
                                             const struct cachetastic_put *how)
{
    enum cachetastic_status status = check_keys(cache, keys, n);
    bool again = how == NULL || !(how->if_absent || how->if_present);
    struct verb_set set;
    bool lost;

    if (status == CACHETASTIC_OK)
        status = verb_set(cache, how, &set);
    for (size_t i = 0; i < n && status >= 0; i += PIPELINE) {
        size_t here = n - i < PIPELINE ? n - i : PIPELINE;
        enum cachetastic_status some = put_some(cache, &set, keys + i, values + i, here, &lost);

        if (lost && again)
            some = put_some(cache, &set, keys + i, values + i, here, &lost);
        if (some != CACHETASTIC_OK)
            status = some;
    }
    return status;
}

enum cachetastic_status cachetastic_delete_many(cachetastic *cache,
                                                const struct cachetastic_bytes *keys, size_t n,
                                                uint64_t *removed)
{
    enum cachetastic_status status = check_keys(cache, keys, n);
    struct slice *argv;
    int64_t count = 0;

    if (removed != NULL)
        *removed = 0;
    if (status != CACHETASTIC_OK || n == 0)
        return status;
    argv = calloc(n + 1, sizeof(*argv));
    if (argv == NULL)
        return handle_fail(cache, CACHETASTIC_E_NOMEM, "no memory for %zu keys", n);
    argv[0] = SLICE_LIT("DEL");
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = bytes_slice(&keys[i]);
    status = verb_integer(cache, (int)n + 1, argv, true, &count);
    free(argv);
    if (removed != NULL)
        *removed = (uint64_t)count;
    return status;
}
