/* Names of keys in Redis, design section 8:
 *
 *   default cache          PREFIX:KEY          a leading '@' of KEY doubled
 *   another cache          PREFIX:@CACHE:KEY
 *   own redis_prefix       REDIS_PREFIX:KEY    (an Elixir neighbour's)
 *   a tag of a cache       PREFIX:@:CACHE:TAG  no cache has an empty name
 *   where it has its own   PREFIX:@:=REDIS_PREFIX:TAG
 *
 * An empty prefix leaves out the prefix and its colon. */
#include "cache/impl.h"
#include "common/glob.h"

#include <stdlib.h>

int keyname_init(struct cache *cache, const struct config *config)
{
    const struct config_cache *c = cache->config;
    bool own = c->redis_prefix_set;
    const char *prefix = own ? c->redis_prefix : config->redis.prefix;
    struct buf name = {0};
    int rc = ERR_OK;

    if (prefix != NULL && prefix[0] != '\0')
        rc = buf_printf(&name, "%s:", prefix);
    if (rc == ERR_OK && !own && cache->number != 0)
        rc = buf_printf(&name, "@%s:", c->name);
    if (rc != ERR_OK) {
        buf_fini(&name);
        return rc;
    }
    cache->prefix = buf_slice(&name); /* the cache owns the buffer from here */
    name = (struct buf){0};
    if (config->redis.prefix != NULL && config->redis.prefix[0] != '\0')
        rc = buf_printf(&name, "%s:", config->redis.prefix);
    if (rc == ERR_OK)
        rc = buf_printf(&name, "@:%s%s:", own ? "=" : "",
                        own && prefix != NULL ? prefix
                        : own                 ? ""
                                              : c->name);
    cache->tag_prefix = buf_slice(&name); /* likewise */
    if (rc != ERR_OK)
        return rc;
    cache->escape_at = !own && cache->number == 0;
    return ERR_OK;
}

void keyname_fini(struct cache *cache)
{
    if (cache->prefix.len > 0)
        free((char *)(uintptr_t)cache->prefix.data);
    if (cache->tag_prefix.len > 0)
        free((char *)(uintptr_t)cache->tag_prefix.data);
}

int keyname_encode(const struct cache *cache, struct slice key, struct buf *out)
{
    size_t at = cache->escape_at && key.len > 0 && key.data[0] == '@';
    char *p = buf_reserve(out, cache->prefix.len + at + key.len + 1);

    if (p == NULL)
        return ERR_NOMEM;
    memcpy(p, cache->prefix.data, cache->prefix.len);
    p[cache->prefix.len] = '@';
    if (key.len > 0)
        memcpy(p + cache->prefix.len + at, key.data, key.len);
    buf_commit(out, cache->prefix.len + at + key.len);
    return ERR_OK;
}

size_t keyname_tag_len(const struct cache *cache, struct slice tag)
{
    return cache->tag_prefix.len + tag.len;
}

int keyname_encode_tag(const struct cache *cache, struct slice tag, struct buf *out)
{
    int rc = buf_append(out, cache->tag_prefix.data, cache->tag_prefix.len);

    return rc == ERR_OK ? buf_append(out, tag.data, tag.len) : rc;
}

bool keyname_decode(const struct cache *cache, struct slice name, struct slice *key)
{
    struct slice rest;

    if (!slice_starts(name, cache->prefix))
        return false;
    rest = slice_make(name.data + cache->prefix.len, name.len - cache->prefix.len);
    if (cache->escape_at && rest.len > 0 && rest.data[0] == '@') {
        /* "@name:" belongs to another cache; only a doubled one is ours. */
        if (rest.len < 2 || rest.data[1] != '@')
            return false;
        rest.data++;
        rest.len--;
    }
    *key = rest;
    return true;
}

int keyname_scan_glob(const struct cache *cache, struct slice pattern, struct buf *out)
{
    /* Only a plain first character can be handed to Redis as it is: one that matches '@' would meet
     * the doubled form there. The caller filters with the exact pattern anyway. */
    bool plain = pattern.len > 0 && strchr("@*?[\\", pattern.data[0]) == NULL;
    int rc = glob_escape(cache->prefix, out);

    if (rc == ERR_OK && (plain || !cache->escape_at))
        return buf_append(out, pattern.data, pattern.len);
    return rc == ERR_OK ? buf_append(out, "*", 1) : rc;
}
