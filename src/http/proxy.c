/* Routes, and what kind of request this is. */
#include "http/proxy_impl.h"

#include "common/clock.h"
#include "common/glob.h"
#include "http/accesslog.h"
#include "http/route.h"
#include "http/trust.h"

#include <stdlib.h>

static int route_open(struct proxy *proxy, struct site_route *route,
                      const struct config_route *config, struct errmsg *msg)
{
    const struct config *all = proxy->heritage->config;
    struct origin_shared shared;
    size_t value_max;

    route->config = config;
    route->cache = caches_find(proxy->caches, slice_cstr(config->cache));
    if (route->cache == NULL)
        return err_set(msg, ERR_INVALID, "there is no cache \"%s\"", config->cache);
    value_max = zone_value_max(cache_zone(route->cache));
    if (all->limits.value_bytes != 0 && all->limits.value_bytes < value_max)
        value_max = all->limits.value_bytes;
    route->object_max = config->object_bytes < value_max ? config->object_bytes : value_max;
    route->request = (struct routerule_fields){config->set_request, config->n_set_request,
                                               config->remove_request, config->n_remove_request};
    route->response = (struct routerule_fields){config->set_response, config->n_set_response,
                                                config->remove_response, config->n_remove_response};
    route->rules = (struct freshness_rules){
        .ttl_s = (int64_t)config->ttl_ms / 1000,
        .ttl_max_s = (int64_t)config->ttl_max_ms / 1000,
        .stale_if_error_s = (int64_t)config->stale_if_error_ms / 1000,
        .set_cookie = config->store_set_cookie,
    };
    if (config->target != TARGET_ORIGIN)
        return ERR_OK;
    shared = (struct origin_shared){
        .health = &proxy->heritage->health[(size_t)(config - all->routes) * CONFIG_MAX_ORIGINS],
        .slot = proxy->slot,
        .n_slots = proxy->heritage->board->n_slots};
    return origin_create(proxy->loop, config, &all->limits, &shared, &route->origin, msg);
}

int proxy_create(uv_loop_t *loop, struct caches *caches, const struct heritage *heritage,
                 unsigned slot, struct proxy **out, struct errmsg *msg)
{
    const struct config *config = heritage->config;
    struct proxy *proxy = calloc(1, sizeof(*proxy));

    if (proxy != NULL)
        proxy->routes = calloc(config->n_routes + 1, sizeof(*proxy->routes));
    if (proxy == NULL || proxy->routes == NULL) {
        free(proxy);
        return err_set(msg, ERR_NOMEM, "no memory for the routes");
    }
    proxy->loop = loop;
    proxy->caches = caches;
    proxy->heritage = heritage;
    proxy->slot = slot;
    list_init(&proxy->all);
    if (accesslog_open(loop, config, &proxy->log, msg) != ERR_OK)
        return ERR_SYSTEM;
    for (size_t i = 0; i < FLIGHT_BUCKETS; i++)
        list_init(&proxy->flights[i]);
    for (size_t i = 0; i < config->n_routes; i++) {
        int status = route_open(proxy, &proxy->routes[i], &config->routes[i], msg);

        if (status != ERR_OK)
            return status; /* the worker ends; its handles go with it */
        proxy->n_routes++;
    }
    *out = proxy;
    return ERR_OK;
}

void proxy_destroy(struct proxy *proxy)
{
    if (proxy == NULL)
        return;
    proxy->closing = true;
    LIST_EACH_SAFE (node, next, &proxy->all) {
        struct flight *flight = LIST_ENTRY(node, struct flight, all);

        if (!flight->ended)
            origin_cancel(&flight->io);
        flight_close(flight);
    }
    for (size_t i = 0; i < proxy->n_routes; i++)
        origin_destroy(proxy->routes[i].origin);
    accesslog_close(proxy->log);
    free(proxy->routes);
    free(proxy);
}

/* ---- requests ---- */

enum proxy_result proxy_fail(struct proxy_exchange *exchange, int status, const char *why)
{
    respond_own(exchange, status, why);
    return PROXY_ANSWERED;
}

static bool has_cookie(const struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;
    struct cookie_walk walk = cookie_walk(exchange->fields);
    struct slice name, value;

    while (config->n_bypass_cookies > 0 && cookie_next(&walk, &name, &value))
        for (size_t i = 0; i < config->n_bypass_cookies; i++)
            if (glob_match(slice_cstr(config->bypass_cookies[i]), name))
                return true;
    return false;
}

static bool has_header(const struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;

    for (size_t i = 0; config->n_bypass_headers > 0 && i < exchange->fields.n; i++)
        if (routerule_names(config->bypass_headers, config->n_bypass_headers,
                            exchange->fields.list[i].name))
            return true;
    return false;
}

/* What the route says of it. */
static bool is_bypassed(const struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;

    return has_cookie(exchange) || has_header(exchange) ||
           message_has_parameter(exchange->request->query, config->bypass_query,
                                 config->n_bypass_query);
}

/* Why a GET or HEAD is not answered from the cache; NULL: it may be. */
static const char *bypass_reason(const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    struct fields fields = exchange->fields;

    if (request->has_body)
        return "request";
    if (field_get(fields, "If-Match").data != NULL ||
        field_get(fields, "If-Unmodified-Since").data != NULL)
        return "request";
    if (is_bypassed(exchange))
        return "bypass";
    if (buf_len(&exchange->key) > exchange->proxy->heritage->config->limits.key_bytes)
        return "bypass";
    return NULL;
}

static void reset(struct proxy *proxy, struct proxy_exchange *exchange)
{
    exchange->proxy = proxy;
    exchange->route = NULL;
    exchange->fields = (struct fields){exchange->request->headers, exchange->request->n_headers};
    buf_truncate(&exchange->key, 0);
    buf_truncate(&exchange->names, 0);
    buf_truncate(&exchange->found, 0);
    exchange->generation = 0;
    exchange->page_len = 0;
    exchange->broken = false;
    exchange->status = 0;
    exchange->admin = false;
    exchange->has_found = false;
    exchange->has_part = false;
    exchange->cacheable = false;
    exchange->coalesced = false;
    exchange->head_only = exchange->request->method == HTTP1_HEAD;
    exchange->looks = 0;
    exchange->upgrade = NULL;
    exchange->tunnel = false;
    exchange->forward = NULL;
    exchange->lookup = NULL;
    exchange->flight = NULL;
    exchange->at = 0;
    exchange->end = UINT64_MAX;
    exchange->head_sent = false;
    exchange->chunked = false;
    exchange->flushed = false;
    exchange->began_ns = proxy->log != NULL ? clock_now_ns() : 0;
    exchange->body_bytes = 0;
    exchange->origin_ms = 0;
    exchange->origin = NULL;
    exchange->cache_text[0] = '\0';
    list_init(&exchange->link);
    exchange->trusted = trust_covers(proxy->heritage->config, exchange->peer);
    exchange->https =
        exchange->trusted && slice_ieq(field_get(exchange->fields, "X-Forwarded-Proto"), "https");
}

static struct slice host_of(const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;

    return request->authority.len > 0 ? request->authority : field_get(exchange->fields, "Host");
}

static struct slice query_of(const struct http1_request *request)
{
    bool marked = memchr(request->target.data, '?', request->target.len) != NULL;

    return marked ? request->query : slice_make(NULL, 0);
}

/* What cannot be forwarded with one meaning (RFC 9112 section 3.2). */
static const char *refuse_target(const struct proxy_exchange *exchange, int *status)
{
    const struct http1_request *request = exchange->request;
    struct slice host = host_of(exchange);

    *status = 400;
    if (request->target.len >= 7 && strncasecmp(request->target.data, "http://", 7) == 0 &&
        request->authority.len == 0)
        return "the target has no host";
    if (slice_eq(request->method_name, SLICE_LIT("CONNECT"))) {
        *status = 501;
        return "CONNECT is not for a site";
    }
    if (host.len == 0 && request->minor == 0)
        return "a request without a host";
    if (!message_host_valid(host))
        return "the Host is no host name";
    if (request->path.data[0] != '/' &&
        !(request->method == HTTP1_OPTIONS && slice_eq(request->target, SLICE_LIT("*"))))
        return "the target is no path";
    for (size_t i = 0; i < request->target.len; i++)
        if (request->target.data[i] == '#' || (unsigned char)request->target.data[i] <= ' ' ||
            (unsigned char)request->target.data[i] >= 0x7f)
            return "the target has a byte that must be percent-encoded";
    return NULL;
}

static bool is_safe(const struct http1_request *request)
{
    return request->method == HTTP1_GET || request->method == HTTP1_HEAD ||
           request->method == HTTP1_OPTIONS || slice_eq(request->method_name, SLICE_LIT("TRACE")) ||
           slice_eq(request->method_name, SLICE_LIT("PROPFIND")) ||
           slice_eq(request->method_name, SLICE_LIT("REPORT"));
}

/* Straight to the origin. */
static enum proxy_result pass(struct proxy_exchange *exchange, const char *why)
{
    exchange->forward = why;
    if (field_lists(exchange->fields, "Cache-Control", "only-if-cached"))
        return proxy_fail(exchange, 504, "only-if-cached, and nothing is");
    return flight_begin(exchange, 0, false);
}

/* The protocol that the client wants to switch to, and may (RFC 9110 section 7.8); NULL: none. */
static const char *wanted_upgrade(const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    const char *protocol = exchange->route->config->upgrade;

    if (protocol[0] == '\0' || request->method != HTTP1_GET || request->has_body ||
        request->minor == 0 || !field_lists(exchange->fields, "Connection", "upgrade") ||
        !field_lists(exchange->fields, "Upgrade", protocol))
        return NULL;
    return protocol;
}

static enum proxy_result begin_tunnel(struct proxy_exchange *exchange)
{
    const struct config_limits *limits = &exchange->proxy->heritage->config->limits;

    if (exchange->proxy->n_tunnels >= limits->tunnels)
        return proxy_fail(exchange, 503, "too many connections are open (limits.tunnels)");
    return pass(exchange, "bypass");
}

static bool takes_method(const struct config_route *config, const struct http1_request *request)
{
    for (size_t i = 0; i < config->n_methods; i++)
        if (slice_eq(request->method_name, slice_cstr(config->methods[i])))
            return true;
    return config->n_methods == 0;
}

/* What is not for an origin. PROXY_PENDING: it is for one. */
static enum proxy_result begin_elsewhere(struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;

    if (!takes_method(config, exchange->request))
        return proxy_fail(exchange, 405, "the route does not take this method");
    switch (config->target) {
    case TARGET_API:
        return PROXY_API;
    case TARGET_ADMIN:
        /* Who came through a proxy is not of this machine, whatever its connection says. */
        exchange->admin = field_get(exchange->fields, "X-Forwarded-For").data == NULL &&
                          field_get(exchange->fields, "Forwarded").data == NULL &&
                          field_get(exchange->fields, "Via").data == NULL;
        return PROXY_API;
    case TARGET_ANSWER:
        respond_fixed(exchange);
        return PROXY_ANSWERED;
    default:
        return PROXY_PENDING;
    }
}

static enum proxy_result begin(struct proxy *proxy, struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    struct message_page page;
    enum proxy_result result;
    size_t route;
    const char *why;
    int status;

    reset(proxy, exchange);
    why = refuse_target(exchange, &status);
    if (why != NULL) {
        exchange->keep_alive = false;
        return proxy_fail(exchange, status, why);
    }
    route = route_find(proxy->heritage->config, host_of(exchange), request->path);
    if (route == proxy->n_routes)
        return proxy_fail(exchange, 404, "no route is for this host and path");
    exchange->route = &proxy->routes[route];
    result = begin_elsewhere(exchange);
    if (result != PROXY_PENDING)
        return result;
    page = (struct message_page){.https = exchange->https,
                                 .host = host_of(exchange),
                                 .path = request->path,
                                 .query = query_of(request)};
    if (route_key(exchange->route->config, &page, &exchange->key) != ERR_OK)
        return proxy_fail(exchange, 503, "no memory for this request");
    exchange->page_len = buf_len(&exchange->key);
    if (slice_eq(request->method_name, SLICE_LIT("PURGE")))
        return purge_begin(exchange);
    exchange->upgrade = wanted_upgrade(exchange);
    if (exchange->upgrade != NULL)
        return begin_tunnel(exchange);
    if (request->method != HTTP1_GET && request->method != HTTP1_HEAD)
        return pass(exchange, is_safe(request) ? "method" : "method-unsafe");
    why = bypass_reason(exchange);
    if (why != NULL)
        return pass(exchange, why);
    exchange->cacheable = true;
    return lookup_begin(exchange);
}

enum proxy_result proxy_begin(struct proxy *proxy, struct proxy_exchange *exchange)
{
    enum proxy_result result;

    exchange->beginning = true;
    exchange->answered = false;
    result = begin(proxy, exchange);
    exchange->beginning = false;
    if (exchange->answered)
        result = PROXY_ANSWERED;
    if (result == PROXY_ANSWERED)
        accesslog_write(proxy->log, exchange);
    return result;
}

void proxy_reopen_log(struct proxy *proxy)
{
    if (proxy != NULL)
        accesslog_reopen(proxy->log);
}

void proxy_body(struct proxy_exchange *exchange, struct slice piece, bool last)
{
    if (exchange->flight != NULL)
        flight_body(exchange, piece, last);
}

bool proxy_wants_body(const struct proxy_exchange *exchange)
{
    return exchange->flight == NULL || exchange->flight->writable || exchange->flight->ended;
}

void proxy_ended(struct proxy_exchange *exchange)
{
    if (exchange->tunnel && exchange->flight != NULL)
        flight_client_ended(exchange->flight);
}

void proxy_drained(struct proxy_exchange *exchange)
{
    if (exchange->flight != NULL && exchange->head_sent)
        respond_pump(exchange);
}

void proxy_cancel(struct proxy_exchange *exchange)
{
    if (exchange->lookup != NULL)
        lookup_cancel(exchange);
    if (exchange->flight != NULL)
        flight_leave(exchange);
    accesslog_write(exchange->proxy->log, exchange);
}

void proxy_exchange_fini(struct proxy_exchange *exchange)
{
    buf_fini(&exchange->key);
    buf_fini(&exchange->names);
    buf_fini(&exchange->found);
}
