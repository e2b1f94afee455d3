/* One computation a key, over HTTP (design section 6).
 *
 *   GET with "Cache-Fetch: wait=5s, lease=10s, stale=1m, beta=1" (each may be left out), or ?fetch
 *   and the same as query parameters. The response says "Cache-Fetch: hit", "stale", "miss" (404)
 * or "busy" (503: another computes, or failed lately). "Cache-Lease: TOKEN" in it: the client is to
 *   compute the value (the next one, where it got one), and then
 *
 *   PUT with Cache-Lease: TOKEN (or ?token=) and perhaps "Cache-Stale: 1m" (or ?stale=): 204, or
 * 409 when the lease is over; or
 *
 *   DELETE with Cache-Lease and perhaps "Cache-Retry: 5s" (or ?retry=): nobody is to try so long.
 *
 * A request stands for itself in HTTP, so a lease is not bound to the connection: it ends by its
 * deadline where nobody ends it.
 */
#include "http/api_impl.h"

#include "common/units.h"
#include "shm/table.h"

static const struct config_limits *limits_of(const struct api_call *call)
{
    return &call->api->heritage->config->limits;
}

/* ---- settings ---- */

/* A header field, or a query parameter. */
static struct slice setting(const struct api_call *call, const char *header, const char *query)
{
    struct slice field = http1_header(call->request, header);

    return field.data != NULL ? field : http1_query(call->request, query);
}

static bool copy_text(struct slice text, char out[32])
{
    if (text.len == 0 || text.len >= 32)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

/* "500ms", "10s", "0", within limits. False: the refusal has been sent. */
static bool take_time(struct api_call *call, struct slice text, const char *name, uint64_t min_ms,
                      uint64_t max_ms, const char *key, uint64_t *ms)
{
    char copy[32], low[32], high[32];

    if (copy_text(text, copy) && units_parse_time(copy, ms) == ERR_OK && *ms >= min_ms &&
        *ms <= max_ms)
        return true;
    units_format_time(min_ms, low);
    units_format_time(max_ms, high);
    api_send_error(call, 400, "%s is a time such as 500ms or 10s, %s to %s (%s)", name, low, high,
                   key);
    return false;
}

static bool take_beta(struct api_call *call, struct slice text, double *beta)
{
    if (cache_beta_parse(text, beta))
        return true;
    api_send_error(call, 400, "beta is a number, 0 to %d", CACHE_BETA_MAX);
    return false;
}

static bool take_one(struct api_call *call, struct slice name, struct slice value)
{
    const struct config_limits *limits = limits_of(call);
    struct cache_fetch *how = &call->args.how;

    if (slice_ieq(name, "wait"))
        return take_time(call, value, "wait", 0, limits->fetch_wait_ms, "limits.fetch_wait",
                         &how->wait_ms);
    if (slice_ieq(name, "lease"))
        return take_time(call, value, "lease", 1, limits->fetch_lease_ms, "limits.fetch_lease",
                         &how->lease_ms);
    if (slice_ieq(name, "stale"))
        return take_time(call, value, "stale", 0, limits->fetch_stale_ms, "limits.fetch_stale",
                         &how->stale_ms);
    if (slice_ieq(name, "beta"))
        return take_beta(call, value, &how->beta);
    api_send_error(call, 400, "Cache-Fetch takes wait=, lease=, stale= and beta=, with commas");
    return false;
}

/* "wait=5s, lease=10s". */
static bool take_list(struct api_call *call, struct slice field)
{
    while (field.len > 0) {
        const char *comma = memchr(field.data, ',', field.len);
        size_t len = comma == NULL ? field.len : (size_t)(comma - field.data);
        struct slice item = api_trim(slice_make(field.data, len));
        const char *equals = memchr(item.data, '=', item.len);
        size_t name = equals == NULL ? item.len : (size_t)(equals - item.data);
        struct slice value = {0};

        if (equals != NULL)
            value = slice_make(equals + 1, item.len - name - 1);
        if (item.len > 0 && !take_one(call, slice_make(item.data, name), value))
            return false;
        len += comma != NULL;
        field = slice_make(field.data + len, field.len - len);
    }
    return true;
}

static bool take_query(struct api_call *call)
{
    static const char *const names[] = {"wait", "lease", "stale", "beta"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct slice value = http1_query(call->request, names[i]);

        if (value.data != NULL && !take_one(call, slice_cstr(names[i]), value))
            return false;
    }
    return true;
}

bool api_is_fetch(const struct api_call *call)
{
    return setting(call, "cache-fetch", "fetch").data != NULL;
}

bool api_has_lease(const struct api_call *call)
{
    return setting(call, "cache-lease", "token").data != NULL;
}

/* ---- GET ---- */

static enum cache_status run_fetch(struct api_call *call, struct cache_op *op)
{
    return cache_fetch(call->cache, call->args.key, &call->args.how, &call->sink, op, &call->info);
}

/* Nobody is there to compute: the next one may. */
static bool give_back(struct api_call *call)
{
    struct api_exchange *exchange = call->exchange;

    if (exchange->gone == NULL || !exchange->gone(exchange))
        return false;
    (void)cache_fail(call->cache, buf_slice(&call->kept), call->info.lease, 0, NULL);
    return true;
}

static void lease_header(struct api_call *call)
{
    char token[CACHE_TOKEN_LEN + 1];

    if (call->info.lease == 0 || give_back(call))
        return;
    cache_token_text(call->info.lease, token);
    api_header(call, "Cache-Lease: %s", token);
}

static void answer_fetch(struct api_call *call, enum cache_status status)
{
    if (status == CACHE_OK) {
        api_header(call, "Cache-Fetch: %s", call->info.stale ? "stale" : "hit");
        lease_header(call);
        api_entry_send(call);
    } else if (status == CACHE_MISS) {
        api_header(call, "Cache-Fetch: miss");
        lease_header(call);
        api_send_error(call, 404, "this cache has no such key; compute it and put it");
    } else if (status == CACHE_BUSY) {
        api_header(call, "Cache-Fetch: busy");
        api_header(call, "Retry-After: %llu",
                   (unsigned long long)(call->info.retry_ms + 999) / 1000);
        api_send_error(call, 503, "another computes this key, or failed lately");
    } else {
        api_send_failure(call, status);
    }
}

enum api_result api_fetch(struct api_call *call)
{
    struct slice field = http1_header(call->request, "cache-fetch");

    call->args.how = cache_fetch_default(call->cache);
    if (field.data != NULL ? !take_list(call, field) : !take_query(call))
        return API_ANSWERED;
    call->run = run_fetch;
    call->answer = answer_fetch;
    call->keep_key = true;
    return api_call_run(call, false);
}

/* ---- PUT, DELETE ---- */

static bool take_token(struct api_call *call)
{
    if (cache_token_parse(setting(call, "cache-lease", "token"), &call->args.token))
        return true;
    api_send_error(call, 400, "Cache-Lease takes the token of a response to Cache-Fetch");
    return false;
}

static enum cache_status run_fill(struct api_call *call, struct cache_op *op)
{
    return cache_fill(call->cache, call->args.key, call->args.token, call->args.value,
                      &call->args.attrs, op);
}

static void answer_fill(struct api_call *call, enum cache_status status)
{
    if (status == CACHE_OK)
        api_send(call, 204, slice_make("", 0));
    else if (status == CACHE_MISS)
        api_send_error(call, 409,
                       "the lease is over: too late, or the key was written, removed or cleared "
                       "meanwhile");
    else
        api_send_failure(call, status);
}

enum api_result api_fill(struct api_call *call)
{
    struct slice stale = setting(call, "cache-stale", "stale");
    struct slice tags[TABLE_TAGS_MAX];
    uint64_t stale_ms = 0;

    if (!take_token(call) ||
        (stale.data != NULL &&
         !take_time(call, stale, "Cache-Stale", 0, limits_of(call)->fetch_stale_ms,
                    "limits.fetch_stale", &stale_ms)) ||
        !api_entry_read(call, tags))
        return API_ANSWERED;
    if (call->args.when != CHANGE_ALWAYS) {
        api_send_error(call, 400, "Cache-Lease is the condition: no If-Match, no If-None-Match");
        return API_ANSWERED;
    }
    call->args.attrs.stale_ms = (uint32_t)stale_ms;
    call->run = run_fill;
    call->answer = answer_fill;
    return api_call_run(call, false);
}

static enum cache_status run_fail(struct api_call *call, struct cache_op *op)
{
    return cache_fail(call->cache, call->args.key, call->args.token, call->args.retry_ms, op);
}

enum api_result api_fail(struct api_call *call)
{
    struct slice retry = setting(call, "cache-retry", "retry");

    if (!take_token(call) ||
        (retry.data != NULL &&
         !take_time(call, retry, "Cache-Retry", 0, limits_of(call)->fetch_lease_ms,
                    "limits.fetch_lease", &call->args.retry_ms)))
        return API_ANSWERED;
    call->run = run_fail;
    call->answer = answer_fill;
    return api_call_run(call, false);
}
