/* /v1/caches/{cache}/entries/{key}: GET HEAD PUT DELETE. */
#include "http/api_impl.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/units.h"
#include "http/etag.h"
#include "shm/table.h"

/* A TTL beyond this is a mistake in the unit. */
#define TTL_MAX_MS (UINT64_C(10) * 366 * 24 * 3600 * 1000)

static const char default_type[] = "application/octet-stream";

/* ---- GET, HEAD ---- */

static enum cache_status run_get(struct api_call *call, struct cache_op *op)
{
    return cache_get(call->cache, call->args.key, &call->sink, op, &call->info);
}

static void entry_headers(struct api_call *call, const char *etag)
{
    const struct cache_info *info = &call->info;
    uint64_t now_ms = clock_now_ms(), wall_ms = clock_wall_ms();
    char date[HTTP1_DATE_LEN + 1];

    if (etag[0] != '\0')
        api_header(call, "ETag: %s", etag);
    api_header(call, "Cache-Control: no-cache"); /* ask again: an entry can change at any time */
    if (info->expires_ms != 0)
        api_header(call, "Cache-TTL-Remaining: %llums",
                   (unsigned long long)(info->expires_ms > now_ms ? info->expires_ms - now_ms : 0));
    if (info->created_wall_ms == 0)
        return;
    http1_date(info->created_wall_ms, date);
    api_header(call, "Last-Modified: %s", date);
    api_header(call, "Age: %llu",
               (unsigned long long)(wall_ms > info->created_wall_ms
                                        ? (wall_ms - info->created_wall_ms) / 1000
                                        : 0));
}

void api_entry_send(struct api_call *call)
{
    struct slice value = buf_slice(&call->value);
    char etag[ETAG_LEN + 1];

    etag_of(value, etag);
    entry_headers(call, etag);
    if (call->if_none_match.data != NULL && etag_listed(call->if_none_match, etag)) {
        api_send(call, 304, slice_make("", 0));
        return;
    }
    api_header(call, "Content-Type: %s",
               call->info.content_type[0] != '\0' ? call->info.content_type : default_type);
    api_send(call, 200, value);
}

static void answer_get(struct api_call *call, enum cache_status status)
{
    if (status == CACHE_OK)
        api_entry_send(call);
    else if (status == CACHE_MISS)
        api_send_error(call, 404, "this cache has no such key");
    else
        api_send_failure(call, status);
}

static enum api_result get(struct api_call *call)
{
    call->if_none_match = http1_header(call->request, "if-none-match");
    call->run = run_get;
    call->answer = answer_get;
    return api_call_run(call, false);
}

/* ---- PUT ---- */

/* "10s", "500ms", "2h" or whole seconds; 0 is no expiry. */
static bool parse_ttl(struct slice text, uint64_t *ttl_ms)
{
    char copy[32];
    int64_t seconds;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (units_parse_int(text, &seconds) == ERR_OK) {
        *ttl_ms = (uint64_t)seconds * 1000;
        return seconds >= 0 && seconds <= (int64_t)(TTL_MAX_MS / 1000);
    }
    return units_parse_time(copy, ttl_ms) == ERR_OK && *ttl_ms <= TTL_MAX_MS;
}

static bool read_ttl(struct api_call *call)
{
    struct slice text = http1_header(call->request, "cache-ttl");
    uint64_t ttl_ms = cache_config(call->cache)->ttl_ms;

    if (text.data == NULL)
        text = http1_query(call->request, "ttl");
    if (text.data != NULL && !parse_ttl(text, &ttl_ms)) {
        api_send_error(call, 400,
                       "a TTL is like 10s, 500ms or 5m, or whole seconds; 0 is none; ten "
                       "years at most");
        return false;
    }
    call->args.attrs.expires_ms = ttl_ms == 0 ? 0 : clock_now_ms() + ttl_ms;
    return true;
}

/* Types that say nothing are not kept: a value without one needs no envelope in Redis, and stays
 * readable to everybody. The second is what curl --data sends whatever the data is. */
static bool type_says_nothing(struct slice type)
{
    return slice_ieq(type, default_type) || slice_ieq(type, "application/x-www-form-urlencoded");
}

static bool read_type(struct api_call *call)
{
    struct slice type = http1_header(call->request, "content-type");

    if (type.len >= sizeof(call->info.content_type)) {
        api_send_error(call, 400, "Content-Type has at most %zu bytes",
                       sizeof(call->info.content_type) - 1);
        return false;
    }
    if (type.len > 0 && !type_says_nothing(type))
        call->args.attrs.content_type = type;
    /* Likewise: the time of the put is kept where it costs no envelope that is not there anyway. */
    if (!cache_has_l2(call->cache) || call->args.attrs.content_type.len > 0)
        call->args.attrs.created_wall_ms = clock_wall_ms();
    return true;
}

struct slice api_trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_make(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Split "a, b" into tags; returns their number, TABLE_TAGS_MAX + 1 when there are more. */
static unsigned split_tags(struct slice field, struct slice tags[TABLE_TAGS_MAX])
{
    const char *p = field.data;
    const char *end = p + field.len;
    unsigned n = 0;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma == NULL ? end : comma;
        struct slice tag = api_trim(slice_make(p, (size_t)(stop - p)));

        if (tag.len > 0) {
            if (n == TABLE_TAGS_MAX)
                return TABLE_TAGS_MAX + 1;
            tags[n++] = tag;
        }
        p = stop + 1;
    }
    return n;
}

static bool read_tags(struct api_call *call, struct slice tags[TABLE_TAGS_MAX])
{
    struct slice field = http1_header(call->request, "cache-tags");
    unsigned n = field.data == NULL ? 0 : split_tags(field, tags);

    if (n > TABLE_TAGS_MAX) {
        api_send_error(call, 400, "an entry has at most %d tags", TABLE_TAGS_MAX);
        return false;
    }
    call->args.attrs.tags = tags;
    call->args.attrs.n_tags = n;
    return true;
}

/* If-Match: * and If-None-Match: *. Comparing entity tags in a write is not offered: it would have
 * to be decided where the value is (rule 11). */
static bool read_conditions(struct api_call *call)
{
    struct slice match = http1_header(call->request, "if-match");
    struct slice none = http1_header(call->request, "if-none-match");
    bool etags = (match.data != NULL && !slice_eq(match, SLICE_LIT("*"))) ||
                 (none.data != NULL && !slice_eq(none, SLICE_LIT("*")));

    if (etags || (match.data != NULL && none.data != NULL)) {
        api_send_error(call, etags ? 501 : 400,
                       etags ? "writes take If-Match: * and If-None-Match: * only"
                             : "If-Match: * and If-None-Match: * exclude each other");
        return false;
    }
    call->if_match = match.data != NULL;
    call->args.when = call->if_match      ? CHANGE_IF_PRESENT
                      : none.data != NULL ? CHANGE_IF_ABSENT
                                          : CHANGE_ALWAYS;
    return true;
}

static enum cache_status run_put(struct api_call *call, struct cache_op *op)
{
    return cache_put(call->cache, call->args.key, call->args.value, &call->args.attrs, op);
}

static enum cache_status run_put_if(struct api_call *call, struct cache_op *op)
{
    struct cache_change change = {.kind = CHANGE_SET,
                                  .when = call->args.when,
                                  .value = call->args.value,
                                  .attrs = call->args.attrs};

    return cache_change(call->cache, call->args.key, &change, NULL, op, NULL);
}

static void answer_put(struct api_call *call, enum cache_status status)
{
    if (status == CACHE_OK)
        api_send(call, 204, slice_make("", 0));
    else if (status == CACHE_MISS)
        api_send_error(call, 412,
                       call->if_match ? "this cache has no such key"
                                      : "this cache has the key already");
    else
        api_send_failure(call, status);
}

bool api_entry_read(struct api_call *call, struct slice *tags)
{
    if (!read_conditions(call) || !read_ttl(call) || !read_type(call) || !read_tags(call, tags))
        return false;
    call->args.value = call->request->body;
    if (call->args.value.len <= api_value_max(call->api, call->cache))
        return true;
    api_send_failure(call, CACHE_TOO_LARGE);
    return false;
}

static enum api_result put(struct api_call *call)
{
    struct slice tags[TABLE_TAGS_MAX];

    if (!api_entry_read(call, tags))
        return API_ANSWERED;
    call->run = call->args.when == CHANGE_ALWAYS ? run_put : run_put_if;
    call->answer = answer_put;
    return api_call_run(call, false);
}

/* ---- DELETE ---- */

static enum cache_status run_delete(struct api_call *call, struct cache_op *op)
{
    return cache_delete(call->cache, call->args.key, op);
}

static void answer_delete(struct api_call *call, enum cache_status status)
{
    if (status == CACHE_OK)
        api_send(call, 204, slice_make("", 0));
    else if (status == CACHE_MISS)
        api_send_error(call, call->if_match ? 412 : 404, "this cache has no such key");
    else
        api_send_failure(call, status);
}

static enum api_result delete_entry(struct api_call *call)
{
    if (!read_conditions(call))
        return API_ANSWERED;
    if (call->args.when == CHANGE_IF_ABSENT) {
        api_send_error(call, 400, "If-None-Match makes no sense with DELETE");
        return API_ANSWERED;
    }
    call->run = run_delete;
    call->answer = answer_delete;
    return api_call_run(call, false);
}

/* What the request asks of its user. */
static unsigned rights_of(const struct api_call *call)
{
    switch (call->request->method) {
    case HTTP1_GET:
        return api_is_fetch(call) ? AUTH_READ | AUTH_WRITE : AUTH_READ;
    case HTTP1_HEAD:
        return AUTH_READ;
    case HTTP1_PUT:
    case HTTP1_DELETE:
        return AUTH_WRITE;
    default:
        return 0;
    }
}

enum api_result api_entry(struct api_call *call)
{
    if (!api_guard_may(call, call->cache, rights_of(call)))
        return API_ANSWERED;
    switch (call->request->method) {
    case HTTP1_GET:
        return api_is_fetch(call) ? api_fetch(call) : get(call);
    case HTTP1_HEAD:
        return get(call);
    case HTTP1_PUT:
        return api_has_lease(call) ? api_fill(call) : put(call);
    case HTTP1_DELETE:
        return api_has_lease(call) ? api_fail(call) : delete_entry(call);
    default:
        api_send_allow(call, "GET, HEAD, PUT, DELETE");
        return API_ANSWERED;
    }
}
