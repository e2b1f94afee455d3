/* What a flight brought, into the cache. */
#include "http/proxy_impl.h"

#include "common/clock.h"
#include "common/log.h"
#include "http/route.h"

#include <stdlib.h>
#include <sys/random.h>

/* A page's list of selecting fields outlives its variants by far: without it none is found. */
#define MARKER_MS (UINT64_C(7) * 86400 * 1000)
#define TAGS_MAX  64

void store_release(struct flight *flight, uint64_t retry_after_ms)
{
    if (flight->lease != 0)
        (void)cache_fail(flight->route->cache, buf_slice(&flight->key), flight->lease,
                         retry_after_ms, NULL);
    flight->lease = 0;
}

/* An operation that may have to wait (a locked stripe, Redis). Nobody is told of its end. */
struct storing {
    struct cache_op op;
};

static void on_stored(struct cache_op *op, enum cache_status status)
{
    if (status > CACHE_PENDING)
        log_debug("a response was not stored: %s", op->error);
    free(LIST_ENTRY(op, struct storing, op));
}

/* Under the key it was leased for, or as a plain write. */
static void put(struct flight *flight, struct slice key, uint64_t lease, struct slice value,
                const struct cache_attrs *attrs)
{
    struct cache *cache = flight->route->cache;
    struct storing *storing;
    enum cache_status status = lease != 0 ? cache_fill(cache, key, lease, value, attrs, NULL)
                                          : cache_put(cache, key, value, attrs, NULL);

    if (status != CACHE_WAIT)
        return;
    storing = calloc(1, sizeof(*storing));
    if (storing == NULL) {
        if (lease != 0)
            (void)cache_fail(cache, key, lease, 0, NULL);
        return;
    }
    storing->op.done = on_stored;
    status = lease != 0 ? cache_fill(cache, key, lease, value, attrs, &storing->op)
                        : cache_put(cache, key, value, attrs, &storing->op);
    if (status != CACHE_PENDING)
        free(storing);
}

static void put_note(struct flight *flight, struct slice key, uint64_t lease,
                     const struct object_head *head, struct slice lines, uint64_t ttl_ms)
{
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + ttl_ms};
    struct buf note = {0};

    if (object_begin(&note, head, slice_make("", 0), slice_make("", 0), lines) == ERR_OK)
        put(flight, key, lease, buf_slice(&note), &attrs);
    else if (lease != 0)
        (void)cache_fail(flight->route->cache, key, lease, 0, NULL);
    buf_fini(&note);
}

void store_pass(struct flight *flight)
{
    struct object_head head = {.kind = OBJECT_PASS};
    uint64_t ttl_ms = flight->route->config->pass_ttl_ms;

    if (flight->lease == 0)
        return;
    if (ttl_ms == 0) {
        store_release(flight, 0);
        return;
    }
    put_note(flight, buf_slice(&flight->key), flight->lease, &head, slice_make("", 0), ttl_ms);
    flight->lease = 0;
}

/* The tags of the page: words of the route's field. Returns how many. */
static unsigned split_tags(struct slice text, struct slice tags[TAGS_MAX])
{
    unsigned n = 0;
    size_t i = 0;

    while (i < text.len && n < TAGS_MAX) {
        size_t start;

        while (i < text.len && (text.data[i] == ' ' || text.data[i] == ',' || text.data[i] == '\t'))
            i++;
        start = i;
        while (i < text.len && text.data[i] != ' ' && text.data[i] != ',' && text.data[i] != '\t')
            i++;
        if (i > start)
            tags[n++] = slice_make(text.data + start, i - start);
    }
    return n;
}

/* The table's expiry is the object's: counted from when its head came, not from its body's end. */
static void set_expiry(const struct flight *flight, const struct object_head *head,
                       struct cache_attrs *attrs)
{
    const struct freshness *f = &flight->freshness;
    uint64_t now_ms = clock_now_ms();
    uint64_t beyond_ms = flight->route->config->grace_ms;
    int64_t fresh_ms =
        (head->lifetime_s - head->age_s) * 1000 - ((int64_t)clock_wall_ms() - head->stored_ms);

    if ((uint64_t)f->while_revalidate_s * 1000 > beyond_ms)
        beyond_ms = (uint64_t)f->while_revalidate_s * 1000;
    if (beyond_ms > UINT32_MAX)
        beyond_ms = UINT32_MAX;
    if (f->always_validate) {
        /* Never past its time for the table: nobody is to wait for another's question. */
        attrs->expires_ms = now_ms + beyond_ms + 1;
        return;
    }
    attrs->expires_ms = now_ms + (fresh_ms > 0 ? (uint64_t)fresh_ms : 1);
    /* A part past its time is no part of what the page is by then. */
    if (head->kind == OBJECT_PART)
        return;
    attrs->stale_ms = (uint32_t)beyond_ms;
}

/* The note that says by which fields variants are chosen. */
static void put_marker(struct flight *flight)
{
    struct object_head head = {.kind = OBJECT_VARIES, .generation = flight->generation};
    struct slice page = slice_make(buf_head(&flight->key), flight->page_len);
    bool leased = buf_len(&flight->key) == flight->page_len;

    put_note(flight, page, leased ? flight->lease : 0, &head, buf_slice(&flight->names), MARKER_MS);
    if (leased)
        flight->lease = 0;
}

/* Under which key the response belongs (flight->names and generation are set on). False: nowhere.
 */
static bool choose_key(struct flight *flight, struct slice names, struct buf *key, bool *marker)
{
    struct fields client = {flight->client_list, flight->n_client};
    uint64_t key_max = flight->proxy->heritage->config->limits.key_bytes;

    *marker = false;
    if (names.len == 0 || slice_eq(names, buf_slice(&flight->names)))
        return buf_append(key, buf_head(&flight->key),
                          names.len == 0 ? flight->page_len : buf_len(&flight->key)) == ERR_OK;
    *marker = true;
    buf_truncate(&flight->names, 0);
    if (getrandom(&flight->generation, sizeof(flight->generation), 0) !=
            sizeof(flight->generation) ||
        buf_append(&flight->names, names.data, names.len) != ERR_OK ||
        buf_append(key, buf_head(&flight->key), flight->page_len) != ERR_OK ||
        vary_key(names, flight->generation, client, key) != ERR_OK)
        return false;
    return buf_len(key) <= key_max;
}

void store_object(struct flight *flight, struct slice value)
{
    struct slice tags[TAGS_MAX];
    struct cache_attrs attrs = {.tags = tags};
    struct http1_header list[PROXY_FIELDS_MAX];
    struct fields fields = {.list = list};
    struct object object;
    struct buf names = {0}, key = {0};
    bool marker;
    int status;

    if (!object_parse(value, &object)) {
        store_release(flight, 0);
        return;
    }
    fields.n = object_fields(object.lines, list, PROXY_FIELDS_MAX);
    (void)vary_names(fields, &names, &status);
    if (status == ERR_OK && choose_key(flight, buf_slice(&names), &key, &marker)) {
        bool own = slice_eq(buf_slice(&key), buf_slice(&flight->key));

        set_expiry(flight, &object.head, &attrs);
        attrs.n_tags = split_tags(object.tags, tags);
        put(flight, buf_slice(&key), own ? flight->lease : 0, value, &attrs);
        if (own)
            flight->lease = 0;
        if (marker)
            put_marker(flight);
    }
    store_release(flight, 0);
    buf_fini(&names);
    buf_fini(&key);
}

/* ---- invalidation (RFC 9111 section 4.4) ---- */

static void forget(struct flight *flight, struct slice key)
{
    struct storing *storing;
    struct cache *cache = flight->route->cache;
    enum cache_status status = cache_delete(cache, key, NULL);

    if (status != CACHE_WAIT)
        return;
    storing = calloc(1, sizeof(*storing));
    if (storing == NULL)
        return;
    storing->op.done = on_stored;
    if (cache_delete(cache, key, &storing->op) != CACHE_PENDING)
        free(storing);
}

/* "http://HOST" of the page. */
static struct slice site_of(const struct flight *flight)
{
    const char *start = buf_head(&flight->key);
    size_t scheme = start[4] == 's' ? 8 : 7;
    const char *slash = memchr(start + scheme, '/', flight->page_len - scheme);

    return slice_make(start, slash == NULL ? flight->page_len : (size_t)(slash - start));
}

/* The key of the page that a Location names; false: it is not one of this site's. */
static bool location_key(const struct flight *flight, struct slice location, struct buf *key)
{
    struct slice site = site_of(flight);
    struct slice page = slice_make(buf_head(&flight->key), flight->page_len);
    struct message_page target;
    const char *mark;

    if (message_page_of(location, &target))
        return route_key(flight->route->config, &target, key) == ERR_OK &&
               slice_starts(buf_slice(key), site) && buf_head(key)[site.len] == '/';
    if (location.data[0] == '/')
        return buf_append(key, site.data, site.len) == ERR_OK &&
               buf_append(key, location.data, location.len) == ERR_OK;
    /* Relative to the folder of the request's path. */
    mark = memchr(page.data, '?', page.len);
    page.len = mark == NULL ? page.len : (size_t)(mark - page.data);
    while (page.len > site.len && page.data[page.len - 1] != '/')
        page.len--;
    return buf_append(key, page.data, page.len) == ERR_OK &&
           buf_append(key, location.data, location.len) == ERR_OK;
}

static void forget_location(struct flight *flight, struct slice location)
{
    struct buf key = {0};

    if (location.len > 0 && location_key(flight, location, &key))
        forget(flight, buf_slice(&key));
    buf_fini(&key);
}

void store_invalidate(struct flight *flight, const struct http1_reply *reply)
{
    struct fields fields = {reply->headers, reply->n_headers};

    if (!flight->unsafe || reply->status < 200 || reply->status >= 400)
        return;
    forget(flight, slice_make(buf_head(&flight->key), flight->page_len));
    forget_location(flight, field_get(fields, "Location"));
    forget_location(flight, field_get(fields, "Content-Location"));
}
