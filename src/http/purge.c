#include "http/purge.h"

#include "common/clock.h"
#include "common/glob.h"
#include "http/object.h"

/* Pages of a route with key_headers or key_cookies: all keys that begin with this one and a line
 * end. */
static enum cache_status purge_all(struct cache *cache, struct slice key, struct cache_op *op)
{
    struct buf pattern = {0};
    enum cache_status status = CACHE_NOMEM;

    if (glob_escape(key, &pattern) == ERR_OK && buf_append(&pattern, "\n*", 2) == ERR_OK)
        status = cache_purge(cache, buf_slice(&pattern), op);
    buf_fini(&pattern);
    return status;
}

/* A copy's first bytes tell a page from a list of variants. */
struct look {
    struct cache_sink sink;
    struct buf value;
};

static char *place(struct cache_sink *sink, const struct cache_info *info)
{
    struct look *look = (struct look *)(void *)((char *)sink - offsetof(struct look, sink));
    char *room;

    buf_truncate(&look->value, 0);
    room = buf_reserve(&look->value, info->value_len + 1);
    if (room != NULL)
        buf_commit(&look->value, info->value_len);
    return room;
}

static bool is_page(struct cache *cache, struct slice key)
{
    struct look look = {.sink.place = place};
    struct cache_info info;
    struct object object;
    bool page = cache_get(cache, key, &look.sink, NULL, &info) == CACHE_OK &&
                object_parse(buf_slice(&look.value), &object) && object.head.kind == OBJECT_PAGE;

    buf_fini(&look.value);
    return page;
}

enum cache_status purge_page(struct cache *cache, const struct config_route *route,
                             struct slice key, bool soft, struct cache_op *op)
{
    struct cache_change change = {.kind = CHANGE_EXPIRE};
    enum cache_status status;

    if (route != NULL && route->n_key_headers + route->n_key_cookies > 0)
        return purge_all(cache, key, op);
    /* Redis keeps nothing past its time. */
    if (!soft || cache_has_l2(cache) || !is_page(cache, key))
        return cache_purge_key(cache, key, op);
    change.attrs.expires_ms = clock_now_ms(); /* now: exact to the millisecond */
    status = cache_change(cache, key, &change, NULL, op, NULL);
    /* What the others have under this key is not known here, a list of variants perhaps: gone. */
    if (status != CACHE_WAIT)
        cache_tell_purge(cache, key);
    return status;
}
