/* Fetch: leases over the wire, and the whole of it around a callback. */
#include "client/handle.h"

#include "common/clock.h"
#include "shm/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 5000
#define BETA    1.0
/* What asks for the next value whenever it is asked for at all: the dice were thrown here. */
#define BETA_SURE "100"

static const struct cachetastic_fetch plain;

static uint64_t wait_of(const struct cachetastic_fetch *how)
{
    return how->no_wait ? 0 : how->wait_ms != 0 ? how->wait_ms : WAIT_MS;
}

static double beta_of(const struct cachetastic_fetch *how)
{
    return how->beta == 0 ? BETA : how->beta < 0 ? 0 : how->beta;
}

/* xorshift64*, as a number in (0, 1]. */
static double uniform(struct cachetastic *cache)
{
    uint64_t x = cache->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    cache->random = x;
    return (double)((x * UINT64_C(0x2545f4914f6cdd1d) >> 11) + 1) * 0x1p-53;
}

/* A value from the mapped memory that is not to be refreshed early. *early: it is. */
static bool read_direct(struct cachetastic *cache, struct slice key,
                        const struct cachetastic_fetch *how, struct cachetastic_bytes *value,
                        bool *early)
{
    struct reader_value found;

    if (direct_get(cache, key, value, &found) != CACHETASTIC_OK)
        return false;
    *early = found.delta_ms > 0 && fetch_early(found.expires_ms, found.delta_ms, beta_of(how),
                                               uniform(cache), clock_now_ms());
    return !*early;
}

/* As the daemon writes them. */
static struct slice token_text(struct verb_number *out, uint64_t token)
{
    return slice_make(out->text,
                      (size_t)snprintf(out->text, sizeof(out->text), "%016" PRIx64, token));
}

struct options {
    struct slice argv[2 + 8];
    int argc;
    struct verb_number numbers[3];
    char beta[32];
};

static void add_ms(struct options *o, unsigned number, const char *name, uint64_t ms)
{
    o->argv[o->argc++] = slice_cstr(name);
    o->argv[o->argc++] =
        verb_decimal(&o->numbers[number], (int64_t)(ms < INT64_MAX ? ms : INT64_MAX));
}

static void fetch_options(struct options *o, const struct cachetastic_fetch *how, bool early)
{
    add_ms(o, 0, "WAIT", wait_of(how));
    if (how->lease_ms != 0)
        add_ms(o, 1, "LEASE", how->lease_ms);
    if (how->stale_ms != 0)
        add_ms(o, 2, "STALE", how->stale_ms);
    o->argv[o->argc++] = SLICE_LIT("BETA");
    snprintf(o->beta, sizeof(o->beta), "%g", beta_of(how));
    o->argv[o->argc++] = early ? SLICE_LIT(BETA_SURE) : slice_cstr(o->beta);
}

/* The token and the milliseconds of a reply; false: they are none. */
static bool take_numbers(const struct resp_value *token, const struct resp_value *ms,
                         struct cachetastic_fetched *out)
{
    char text[24] = "";

    if (ms->type != RESP_INTEGER)
        return false;
    out->retry_ms = ms->integer > 0 ? (uint64_t)ms->integer : 0;
    if (token->type != RESP_BULK || token->str.len >= sizeof(text))
        return token->type == RESP_NULL;
    memcpy(text, token->str.data, token->str.len);
    out->token = strtoull(text, NULL, 16);
    return out->token != 0;
}

/* What the four parts of the reply mean (worker's CACHETASTIC.FETCH). */
static enum cachetastic_status understand(struct cachetastic *cache,
                                          struct cachetastic_fetched *out)
{
    const struct resp_value *reply = &cache->reply;
    const struct resp_value *item = reply->items;

    if (reply->type != RESP_ARRAY || reply->n_items != 4 ||
        !take_numbers(&item[2], &item[3], out) ||
        (item[0].type != RESP_BULK && item[0].type != RESP_STATUS))
        return call_confused(cache);
    if (slice_ieq(item[0].str, "BUSY"))
        return CACHETASTIC_BUSY;
    out->retry_ms = 0;
    if (slice_ieq(item[0].str, "MISS") && out->token != 0)
        return CACHETASTIC_MISS;
    out->stale = slice_ieq(item[0].str, "STALE");
    if (item[1].type != RESP_BULK || (!out->stale && !slice_ieq(item[0].str, "HIT")))
        return call_confused(cache);
    out->value =
        (struct cachetastic_bytes){item[1].str.len == 0 ? "" : item[1].str.data, item[1].str.len};
    return CACHETASTIC_OK;
}

enum cachetastic_status cachetastic_fetch_begin(cachetastic *cache, const char *key, size_t key_len,
                                                const struct cachetastic_fetch *how,
                                                struct cachetastic_fetched *out)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);
    struct options o = {.argv = {SLICE_LIT("CACHETASTIC.FETCH"), slice_make(key, key_len)},
                        .argc = 2};
    bool early;

    how = how == NULL ? &plain : how;
    early = how->refresh;
    memset(out, 0, sizeof(*out));
    if (status != CACHETASTIC_OK || (!early && direct_ready(cache) &&
                                     read_direct(cache, o.argv[1], how, &out->value, &early)))
        return status;
    out->value = (struct cachetastic_bytes){NULL, 0};
    fetch_options(&o, how, early);
    status = call_send(cache, o.argc, o.argv, true, wait_of(how));
    return status == CACHETASTIC_OK ? understand(cache, out) : status;
}

enum cachetastic_status cachetastic_fetch_peek(cachetastic *cache, const char *key, size_t key_len,
                                               const struct cachetastic_fetch *how,
                                               struct cachetastic_bytes *value, bool *early)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);

    *early = false;
    if (status != CACHETASTIC_OK)
        return status;
    return direct_mapped(cache) && read_direct(cache, slice_make(key, key_len),
                                               how == NULL ? &plain : how, value, early)
               ? CACHETASTIC_OK
               : CACHETASTIC_BUSY;
}

enum cachetastic_status cachetastic_fill(cachetastic *cache, const char *key, size_t key_len,
                                         uint64_t token, const void *value, size_t value_len,
                                         const struct cachetastic_put *how)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);
    struct verb_number number;
    struct verb_set set;
    int64_t stored = 0;

    if (status == CACHETASTIC_OK)
        status = verb_set(cache, how, &set);
    if (status != CACHETASTIC_OK)
        return status;
    set.argv[0] = SLICE_LIT("CACHETASTIC.FILL");
    set.argv[1] = slice_make(key, key_len);
    set.argv[2] = token_text(&number, token);
    set.argv[3] = slice_make(value, value_len);
    set.argc = how == NULL ? 4 : verb_attrs(how, set.argv, 4, set.numbers);
    status = verb_integer(cache, set.argc, set.argv, false, &stored);
    return status == CACHETASTIC_OK && stored == 0 ? CACHETASTIC_MISS : status;
}

enum cachetastic_status cachetastic_fail(cachetastic *cache, const char *key, size_t key_len,
                                         uint64_t token, uint64_t retry_ms)
{
    enum cachetastic_status status = verb_check_key(cache, key_len);
    struct verb_number numbers[2];
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.FAIL"), slice_make(key, key_len),
                                 token_text(&numbers[0], token), SLICE_LIT("RETRY"),
                                 verb_decimal(&numbers[1], (int64_t)retry_ms)};

    if (status == CACHETASTIC_OK)
        status = call_send(cache, retry_ms == 0 ? 3 : 5, argv, false, 0);
    return status == CACHETASTIC_OK ? verb_done(cache) : status;
}

/* ---- around a callback ---- */

/* Make bytes the handle's: they outlive the calls that follow. */
static enum cachetastic_status hold(struct cachetastic *cache, struct cachetastic_bytes *bytes)
{
    struct buf *room = &cache->value;

    if (bytes->data == room->data)
        return CACHETASTIC_OK; /* a direct read */
    room->start = room->end = 0;
    if (buf_reserve(room, bytes->len + 1) == NULL)
        return handle_fail(cache, CACHETASTIC_E_NOMEM, "no memory for %zu bytes", bytes->len);
    if (bytes->len > 0)
        memcpy(room->data, bytes->data, bytes->len);
    bytes->data = room->data;
    return CACHETASTIC_OK;
}

struct computing {
    struct cachetastic *cache;
    struct slice key;
    const struct cachetastic_fetch *how;
    cachetastic_compute *compute;
    void *arg;
};

/* Run the callback; its bytes are in value, the handle's, and, with a token, in the cache. */
static enum cachetastic_status compute_one(const struct computing *c, uint64_t token,
                                           struct cachetastic_bytes *value)
{
    struct cachetastic_computed made = {0};
    struct cachetastic *cache = c->cache;
    enum cachetastic_status status, stored = CACHETASTIC_OK;

    if (c->compute(c->arg, &made) != 0) {
        if (token != 0)
            cachetastic_fail(cache, c->key.data, c->key.len, token, c->how->retry_ms);
        return handle_fail(cache, CACHETASTIC_E_COMPUTE, "computing the value failed");
    }
    if (token != 0)
        stored =
            cachetastic_fill(cache, c->key.data, c->key.len, token, made.data, made.len, &made.how);
    *value = (struct cachetastic_bytes){made.data, made.len};
    cache->value.start = cache->value.end = 0;
    status = hold(cache, value);
    if (made.release != NULL)
        made.release(made.data);
    /* What is over a limit is the caller's mistake; a daemon that went away is none. */
    return stored == CACHETASTIC_E_INVALID || stored == CACHETASTIC_E_REMOTE ? stored : status;
}

/* The callback may read through the handle: the older value is kept apart from it. */
static enum cachetastic_status refresh(const struct computing *c,
                                       const struct cachetastic_fetched *got,
                                       struct cachetastic_bytes *value)
{
    struct cachetastic_bytes older = got->value;
    char *copy = malloc(older.len + 1);
    enum cachetastic_status status;

    if (copy == NULL) {
        cachetastic_fail(c->cache, c->key.data, c->key.len, got->token, 0);
        return handle_fail(c->cache, CACHETASTIC_E_NOMEM, "no memory for %zu bytes", older.len);
    }
    memcpy(copy, older.data, older.len);
    status = compute_one(c, got->token, value);
    if (status != CACHETASTIC_OK) {
        older.data = copy;
        status = hold(c->cache, &older);
        *value = older;
    }
    free(copy);
    return status;
}

enum cachetastic_status cachetastic_fetch(cachetastic *cache, const char *key, size_t key_len,
                                          const struct cachetastic_fetch *how,
                                          cachetastic_compute *compute, void *arg,
                                          struct cachetastic_bytes *value)
{
    struct computing c = {cache, slice_make(key, key_len), how == NULL ? &plain : how, compute,
                          arg};
    struct cachetastic_fetched got;
    enum cachetastic_status status = cachetastic_fetch_begin(cache, key, key_len, c.how, &got);

    switch (status) {
    case CACHETASTIC_OK:
        if (got.token != 0)
            return refresh(&c, &got, value);
        *value = got.value;
        return status;
    case CACHETASTIC_MISS:
        return compute_one(&c, got.token, value);
    case CACHETASTIC_BUSY:
        return c.how->or_compute ? compute_one(&c, 0, value) : status;
    default:
        return status;
    }
}
