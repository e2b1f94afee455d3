/* The method PURGE: for users with the right to purge, and for whoever has the API's token. Off
 * where there is neither. */
#include "http/proxy_impl.h"

#include "http/credential.h"
#include "http/purge.h"

#include <stdlib.h>

/* One that has to wait (Redis, a locked stripe). */
struct waiting {
    struct cache_op op;
};

static void on_purged(struct cache_op *op, enum cache_status status)
{
    (void)status; /* the client was told that it is under way */
    free(LIST_ENTRY(op, struct waiting, op));
}

/* 0: the client may; else the status of the refusal. */
static int refusal(const struct proxy_exchange *exchange)
{
    const struct config *config = exchange->proxy->heritage->config;
    const struct config_cache *cache = cache_config(exchange->route->cache);
    const struct config_user *user;

    if (!auth_required(config) && config->api_token == NULL)
        return 405;
    if (config->api_token != NULL && credential_token(exchange->request, config->api_token))
        return 0;
    user = auth_required(config) ? credential_user(config, exchange->request) : NULL;
    if (user == NULL)
        return 401;
    return auth_may(config, user, cache, AUTH_PURGE) ? 0 : 403;
}

static const char *refusal_text(int status)
{
    switch (status) {
    case 405:
        return "PURGE needs users, or api_token_file, in the configuration";
    case 401:
        return "PURGE needs a user, or the API's token: Authorization";
    default:
        return "this user has no right to purge this cache (users.rights)";
    }
}

static enum proxy_result purge(struct proxy_exchange *exchange)
{
    bool soft = field_lists(exchange->fields, "Purge", "soft");
    struct slice key = buf_slice(&exchange->key);
    struct cache *cache = exchange->route->cache;
    enum cache_status status = purge_page(cache, exchange->route->config, key, soft, NULL);
    struct waiting *waiting;

    if (status == CACHE_OK)
        return proxy_fail(exchange, 200, soft ? "stale from now on" : "purged");
    if (status == CACHE_MISS)
        return proxy_fail(exchange, 404, "not stored");
    if (status != CACHE_WAIT)
        return proxy_fail(exchange, 503, cache_status_text(cache, status));
    waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL)
        return proxy_fail(exchange, 503, "no memory for this request");
    waiting->op.done = on_purged;
    status = purge_page(cache, exchange->route->config, key, soft, &waiting->op);
    if (status == CACHE_PENDING)
        return proxy_fail(exchange, 202, "being purged");
    free(waiting);
    return proxy_fail(exchange, status == CACHE_OK ? 200 : 503,
                      status == CACHE_OK ? "purged" : cache_status_text(cache, status));
}

enum proxy_result purge_begin(struct proxy_exchange *exchange)
{
    int status = refusal(exchange);

    return status == 0 ? purge(exchange) : proxy_fail(exchange, status, refusal_text(status));
}
