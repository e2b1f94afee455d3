/* The cache's answer to a GET or HEAD, and what follows from it. */
#include "http/proxy_impl.h"

#include "common/clock.h"

#include <stdlib.h>

/* A look that had to wait. It outlives the exchange when the client goes away meanwhile: then what
 * it brings is given back. */
struct lookup {
    struct cache_op op;
    struct cache_sink sink;
    struct buf value;
    struct buf key;
    struct cache *cache;
    struct proxy_exchange *exchange; /* NULL: gone */
};

static void lookup_free(struct lookup *lookup)
{
    buf_fini(&lookup->value);
    buf_fini(&lookup->key);
    free(lookup);
}

/* The look that answers at once copies into the response's room. */
struct direct {
    struct cache_sink sink;
    struct proxy_exchange *exchange;
    char *place;
    size_t len;
    struct pin pin; /* of a large value that needs no copy */
};

static char *place_direct(struct cache_sink *sink, const struct cache_info *info)
{
    struct direct *direct = LIST_ENTRY(sink, struct direct, sink);
    struct buf *out = direct->exchange->owner->out(direct->exchange);
    char *room = buf_reserve(out, RESPOND_ROOM + info->value_len);

    direct->place = room == NULL ? NULL : room + RESPOND_ROOM;
    direct->len = info->value_len;
    return direct->place;
}

static bool lend_direct(struct cache_sink *sink, const struct cache_info *info,
                        const struct pin *pin)
{
    struct direct *direct = LIST_ENTRY(sink, struct direct, sink);
    struct proxy_exchange *exchange = direct->exchange;

    (void)info;
    if (exchange->head_only || !exchange->owner->can_lend(exchange))
        return false;
    direct->pin = *pin;
    return true;
}

static char *place_value(struct cache_sink *sink, const struct cache_info *info)
{
    struct lookup *lookup = LIST_ENTRY(sink, struct lookup, sink);

    char *room;

    buf_truncate(&lookup->value, 0);
    room = buf_reserve(&lookup->value, info->value_len + 1);
    if (room != NULL)
        buf_commit(&lookup->value, info->value_len);
    return room;
}

bool lookup_variant(struct proxy_exchange *exchange)
{
    uint64_t key_max = exchange->proxy->heritage->config->limits.key_bytes;

    buf_truncate(&exchange->key, exchange->page_len);
    return vary_key(buf_slice(&exchange->names), exchange->generation, exchange->fields,
                    &exchange->key) == ERR_OK &&
           buf_len(&exchange->key) <= key_max;
}

static void give_back(struct proxy_exchange *exchange, uint64_t lease)
{
    if (lease != 0)
        (void)cache_fail(exchange->route->cache, buf_slice(&exchange->key), lease, 0, NULL);
}

static struct cache_fetch how_to_fetch(const struct proxy_exchange *exchange, bool stale_too)
{
    const struct config_route *config = exchange->route->config;

    return (struct cache_fetch){
        .lease_ms =
            config->connect_timeout_ms + config->first_byte_timeout_ms + config->idle_timeout_ms,
        .wait_ms = config->lease_wait_ms,
        .stale_ms = stale_too ? UINT32_MAX : 0,
    };
}

/* ---- what the client says, where the route lets it count ---- */

enum reuse { REUSE_FRESH, REUSE_STALE, REUSE_VALIDATE };

/* Whether this object may be used as it is (RFC 9111 section 4). */
static enum reuse judge(const struct proxy_exchange *exchange, const struct object_head *head,
                        int64_t now_ms, bool purged)
{
    int64_t ttl_s = object_ttl_s(head, now_ms);
    struct cachecontrol cc;

    /* Stale for the table before its time: purged softly, or from before the epoch moved. */
    if (purged && ttl_s > 0)
        return head->while_revalidate_s > 0 ? REUSE_STALE : REUSE_VALIDATE;

    if ((head->flags & OBJECT_ALWAYS_VALIDATE) != 0)
        return REUSE_VALIDATE;
    if (exchange->route->config->honor_client) {
        cc = cachecontrol_parse(exchange->fields, "Cache-Control");
        if (cc.no_cache || (!cc.present && field_lists(exchange->fields, "Pragma", "no-cache")))
            return REUSE_VALIDATE;
        if (cc.max_age != CACHECONTROL_NONE && object_age_s(head, now_ms) > cc.max_age)
            return REUSE_VALIDATE;
        if (cc.min_fresh != CACHECONTROL_NONE && ttl_s < cc.min_fresh)
            return REUSE_VALIDATE;
        if (cc.max_stale != CACHECONTROL_NONE && ttl_s <= 0 && -ttl_s <= cc.max_stale &&
            (head->flags & OBJECT_NEVER_STALE) == 0)
            return REUSE_FRESH;
    }
    if (ttl_s > 0)
        return REUSE_FRESH;
    return -ttl_s < head->while_revalidate_s ? REUSE_STALE : REUSE_VALIDATE;
}

static bool only_if_cached(const struct proxy_exchange *exchange)
{
    return cachecontrol_parse(exchange->fields, "Cache-Control").only_if_cached;
}

/* ---- to the origin ---- */

static enum proxy_result ask_origin(struct proxy_exchange *exchange, uint64_t lease, bool join,
                                    const char *why)
{
    if (exchange->forward == NULL)
        exchange->forward = why;
    if (only_if_cached(exchange)) {
        give_back(exchange, lease);
        return proxy_fail(exchange, 504, "only-if-cached, and nothing is");
    }
    return flight_begin(exchange, lease, join);
}

/* ---- what was found ---- */

static enum proxy_result look(struct proxy_exchange *exchange);
static enum proxy_result wait_for_other(struct proxy_exchange *exchange);

static void keep_found(struct proxy_exchange *exchange, struct slice value)
{
    buf_truncate(&exchange->found, 0);
    exchange->has_part = false;
    exchange->has_found = buf_append(&exchange->found, value.data, value.len) == ERR_OK;
}

static enum proxy_result found_variants(struct proxy_exchange *exchange,
                                        const struct object *object, uint64_t lease)
{
    give_back(exchange, lease);        /* the marker is past its time: it will be written anew */
    if (buf_len(&exchange->names) > 0) /* a marker under a variant's key: not ours */
        return ask_origin(exchange, 0, false, "bypass");
    exchange->generation = object->head.generation;
    if (buf_append(&exchange->names, object->lines.data, object->lines.len) != ERR_OK ||
        !lookup_variant(exchange)) {
        exchange->cacheable = false;
        return ask_origin(exchange, 0, false, "bypass");
    }
    return look(exchange);
}

/* Whether a soft purge by pattern or tag has hit it since it was stored. */
static bool is_softened(const struct proxy_exchange *exchange, const struct object *object)
{
    struct slice page = slice_make(buf_head(&exchange->key), exchange->page_len);

    return cache_softened(exchange->route->cache, page, object->tags,
                          (uint64_t)object->head.stored_ms);
}

/* Let the table know, so that one gets its lease, and the others wait or take it stale. False: not
 * now. */
static bool soften(struct proxy_exchange *exchange)
{
    struct cache_change change = {.kind = CHANGE_EXPIRE, .attrs.expires_ms = clock_now_ms()};
    enum cache_status status =
        cache_change(exchange->route->cache, buf_slice(&exchange->key), &change, NULL, NULL, NULL);

    return status == CACHE_OK || status == CACHE_MISS;
}

static enum proxy_result found_page(struct proxy_exchange *exchange, struct slice value,
                                    char *place, const struct object *object,
                                    const struct cache_info *info)
{
    uint64_t lease = info->lease;
    enum reuse reuse = judge(exchange, &object->head, (int64_t)clock_wall_ms(), info->stale);

    if (lease == 0 && !info->stale && is_softened(exchange, object)) {
        if (!exchange->head_only && soften(exchange))
            return look(exchange);
        keep_found(exchange, value);
        return ask_origin(exchange, 0, false, "stale");
    }
    if (reuse == REUSE_VALIDATE) {
        keep_found(exchange, value);
        /* What must always be asked about is asked about by everyone, without waiting in line. */
        if (lease != 0 || exchange->head_only ||
            (object->head.flags & OBJECT_ALWAYS_VALIDATE) != 0 ||
            (!info->stale && object_ttl_s(&object->head, (int64_t)clock_wall_ms()) > 0))
            return ask_origin(exchange, lease, lease != 0, "stale");
        exchange->forward = "stale";
        return wait_for_other(exchange);
    }
    if (reuse == REUSE_STALE && lease != 0)
        flight_refresh(exchange, value, lease);
    else
        give_back(exchange, lease);
    if (place != NULL)
        respond_placed(exchange, place, object, NULL);
    else
        respond_object(exchange, value, NULL);
    return PROXY_ANSWERED;
}

static bool found_in_part(struct proxy_exchange *exchange)
{
    struct object object;

    return object_parse(buf_slice(&exchange->found), &object) && respond_part(exchange, &object);
}

/* A part of the page. Where it does not suffice it leaves the cache, so that everyone waits for
 * what this one brings, and goes on with it: what comes is put together. */
static enum proxy_result found_part(struct proxy_exchange *exchange, struct slice value,
                                    const struct object *object, const struct cache_info *info)
{
    bool fresh =
        judge(exchange, &object->head, (int64_t)clock_wall_ms(), info->stale) == REUSE_FRESH &&
        !is_softened(exchange, object);
    enum cache_status status;
    struct buf copy = {0};

    /* Copied first: it may lie in the room that the answer is appended to. */
    if (buf_append(&copy, value.data, value.len) != ERR_OK) {
        give_back(exchange, info->lease);
        return proxy_fail(exchange, 503, "no memory for this request");
    }
    buf_fini(&exchange->found);
    exchange->found = copy;
    if (fresh && !exchange->head_only && found_in_part(exchange)) {
        give_back(exchange, info->lease);
        return PROXY_ANSWERED;
    }
    exchange->forward = fresh ? "partial-miss" : "stale";
    exchange->has_part = fresh;
    if (!fresh || info->lease != 0 || exchange->head_only)
        return ask_origin(exchange, info->lease, info->lease != 0, exchange->forward);
    status = cache_delete(exchange->route->cache, buf_slice(&exchange->key), NULL);
    if (status != CACHE_OK && status != CACHE_MISS)
        return ask_origin(exchange, 0, false, exchange->forward);
    return look(exchange);
}

static enum proxy_result found(struct proxy_exchange *exchange, struct slice value, char *place,
                               const struct cache_info *info)
{
    struct object object;

    if (!object_parse(value, &object))
        return ask_origin(exchange, info->lease, false, "bypass");
    switch (object.head.kind) {
    case OBJECT_VARIES:
        return found_variants(exchange, &object, info->lease);
    case OBJECT_PART:
        return found_part(exchange, value, &object, info);
    case OBJECT_PASS:
        return ask_origin(exchange, info->lease, info->lease != 0, "bypass");
    default:
        return found_page(exchange, value, place, &object, info);
    }
}

/* A page that is sent from shared memory as it lies there; anything that needs a closer look needs
 * its bytes. */
static bool sent_as_it_lies(struct proxy_exchange *exchange, struct pin *pin,
                            const struct cache_info *info)
{
    struct slice piece = pin_piece(pin);
    struct object object;

    return info->lease == 0 && object_parse_head(piece, pin->left, &object) &&
           object.head.kind == OBJECT_PAGE &&
           judge(exchange, &object.head, (int64_t)clock_wall_ms(), info->stale) == REUSE_FRESH &&
           !is_softened(exchange, &object) && respond_lent(exchange, &object, pin);
}

static enum proxy_result found_lent(struct proxy_exchange *exchange, struct direct *direct,
                                    const struct cache_info *info)
{
    char *to;

    if (sent_as_it_lies(exchange, &direct->pin, info))
        return PROXY_ANSWERED;
    to = place_direct(&direct->sink, info);
    while (to != NULL && direct->pin.left > 0) {
        struct slice piece = pin_piece(&direct->pin);

        memcpy(to, piece.data, piece.len);
        to += piece.len;
        pin_skip(&direct->pin, piece.len);
    }
    pin_end(&direct->pin);
    if (to != NULL)
        return found(exchange, slice_make(direct->place, direct->len), direct->place, info);
    give_back(exchange, info->lease);
    exchange->cacheable = false;
    return ask_origin(exchange, 0, false, "bypass");
}

static enum proxy_result missing(struct proxy_exchange *exchange, uint64_t lease)
{
    const char *why = exchange->has_part              ? "partial-miss"
                      : buf_len(&exchange->names) > 0 ? "vary-miss"
                                                      : "uri-miss";

    return ask_origin(exchange, lease, lease != 0, why);
}

/* ---- waiting ---- */

static enum proxy_result took(struct proxy_exchange *exchange, enum cache_status status,
                              const struct cache_info *info, struct slice value)
{
    if (status == CACHE_OK)
        return found(exchange, value, NULL, info);
    if (status == CACHE_MISS)
        return missing(exchange, info->lease);
    /* It takes too long, or there is no way to wait: one of this worker's asks for all of them. */
    if (status == CACHE_BUSY) {
        struct flight *flight = flight_find(exchange);

        return flight != NULL ? flight_join(flight, exchange)
                              : ask_origin(exchange, 0, true, "uri-miss");
    }
    exchange->cacheable = false;
    return ask_origin(exchange, 0, false, "bypass");
}

static void on_looked(struct cache_op *op, enum cache_status status)
{
    struct lookup *lookup = LIST_ENTRY(op, struct lookup, op);
    struct proxy_exchange *exchange = lookup->exchange;

    if (exchange == NULL) {
        if ((status == CACHE_OK || status == CACHE_MISS) && op->info.lease != 0)
            (void)cache_fail(lookup->cache, buf_slice(&lookup->key), op->info.lease, 0, NULL);
    } else {
        exchange->lookup = NULL;
        if (took(exchange, status, &op->info, buf_slice(&lookup->value)) == PROXY_ANSWERED)
            respond_done(exchange);
    }
    lookup_free(lookup);
}

/* Whoever has the lease is waited for, or joined where that is one of this worker's. */
static enum proxy_result wait_for_other(struct proxy_exchange *exchange)
{
    struct flight *flight = flight_find(exchange);
    struct cache_fetch how = how_to_fetch(exchange, !exchange->has_found);
    struct lookup *lookup;
    enum cache_status status;
    enum proxy_result result;
    struct cache_info info;

    if (flight != NULL)
        return flight_join(flight, exchange);
    /* A page that the table gives out and its own head calls stale must not be looked at for ever.
     */
    if (++exchange->looks > PROXY_LOOKS_MAX)
        return ask_origin(exchange, 0, true, "stale");
    lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL ||
        buf_append(&lookup->key, buf_head(&exchange->key), buf_len(&exchange->key)) != ERR_OK) {
        free(lookup);
        return proxy_fail(exchange, 503, "no memory for this request");
    }
    lookup->op.done = on_looked;
    lookup->sink.place = place_value;
    lookup->cache = exchange->route->cache;
    lookup->exchange = exchange;
    exchange->lookup = lookup;
    status = cache_fetch(lookup->cache, buf_slice(&lookup->key), &how, &lookup->sink, &lookup->op,
                         &info);
    if (status == CACHE_PENDING)
        return PROXY_PENDING;
    exchange->lookup = NULL;
    result = took(exchange, status, &info, buf_slice(&lookup->value));
    lookup_free(lookup);
    return result;
}

void lookup_cancel(struct proxy_exchange *exchange)
{
    exchange->lookup->exchange = NULL;
    exchange->lookup = NULL;
}

/* ---- looking ---- */

static enum proxy_result look(struct proxy_exchange *exchange)
{
    struct direct direct = {.sink = {.place = place_direct, .lend = lend_direct},
                            .exchange = exchange};
    struct cache_fetch how = how_to_fetch(exchange, true);
    struct cache *cache = exchange->route->cache;
    struct slice key = buf_slice(&exchange->key);
    struct cache_info info = {0};
    enum cache_status status;

    if (++exchange->looks > PROXY_LOOKS_MAX) {
        exchange->cacheable = false;
        return ask_origin(exchange, 0, false, "bypass");
    }
    /* HEAD takes what is there; it computes nothing that could be stored, so it gets no lease. */
    if (exchange->head_only)
        status = cache_get(cache, key, &direct.sink, NULL, &info);
    else
        status = cache_fetch(cache, key, &how, &direct.sink, NULL, &info);
    if (status == CACHE_OK && direct.pin.zone != NULL)
        return found_lent(exchange, &direct, &info);
    pin_end(&direct.pin);
    if (status == CACHE_OK)
        return found(exchange, slice_make(direct.place, direct.len), direct.place, &info);
    if (status == CACHE_MISS || exchange->head_only)
        return missing(exchange, info.lease);
    if (status == CACHE_WAIT || status == CACHE_BUSY)
        return wait_for_other(exchange);
    exchange->cacheable = false;
    return ask_origin(exchange, 0, false, "bypass");
}

/* The cookie's values as a line of the key: none is not an empty one. */
static int add_key_cookie(struct proxy_exchange *exchange, struct slice wanted)
{
    struct cookie_walk walk = cookie_walk(exchange->fields);
    struct slice name, value;
    int status = buf_append(&exchange->key, "\n", 1);

    while (status == ERR_OK && cookie_next(&walk, &name, &value)) {
        if (!slice_eq(name, wanted))
            continue;
        status = buf_append(&exchange->key, ";", 1);
        if (status == ERR_OK)
            status = buf_append(&exchange->key, value.data, value.len);
    }
    return status;
}

/* The header fields and cookies that the route makes part of every key. */
static bool add_key_parts(struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;

    for (size_t i = 0; i < config->n_key_headers; i++) {
        struct slice name = slice_cstr(config->key_headers[i]);

        if (vary_key(name, 0, exchange->fields, &exchange->key) != ERR_OK)
            return false;
    }
    for (size_t i = 0; i < config->n_key_cookies; i++)
        if (add_key_cookie(exchange, slice_cstr(config->key_cookies[i])) != ERR_OK)
            return false;
    exchange->page_len = buf_len(&exchange->key);
    return exchange->page_len <= exchange->proxy->heritage->config->limits.key_bytes;
}

enum proxy_result lookup_begin(struct proxy_exchange *exchange)
{
    if (!add_key_parts(exchange)) {
        exchange->cacheable = false;
        return ask_origin(exchange, 0, false, "bypass");
    }
    if (exchange->route->config->honor_client &&
        cachecontrol_parse(exchange->fields, "Cache-Control").no_store) {
        exchange->cacheable = false;
        return ask_origin(exchange, 0, false, "request");
    }
    return look(exchange);
}

void lookup_again(struct proxy_exchange *exchange)
{
    buf_truncate(&exchange->key, exchange->page_len);
    buf_truncate(&exchange->names, 0);
    exchange->has_found = false;
    exchange->has_part = false;
    exchange->forward = NULL;
    if (look(exchange) == PROXY_ANSWERED)
        respond_done(exchange);
}
