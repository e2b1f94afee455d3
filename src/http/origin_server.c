/* One server of a route: its addresses, looked up again and again, and its health. */
#include "http/origin_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <strings.h>

/* Names are looked up again after so long; sooner while there is no address. */
#define LOOKUP_EVERY_MS 30000
#define LOOKUP_RETRY_MS 1000

/* Beyond a check's own time, until another worker takes over: its worker is gone. */
#define CHECK_GRACE_MS 1000

static int bad_url(struct errmsg *msg, const char *url, const char *why)
{
    return err_set(msg, ERR_INVALID, "origin \"%s\": %s", url, why);
}

static int parse_tcp(struct origin_server *server, const char *authority, struct errmsg *msg)
{
    char text[ADDR_HOST_MAX + 16];
    const char *close = strchr(authority, ']');
    struct addr *literal = &server->addresses[0];
    struct errmsg why;

    /* A port of its own, or the scheme's. */
    if (strchr(close != NULL ? close : authority, ':') != NULL)
        snprintf(text, sizeof(text), "%s", authority);
    else
        snprintf(text, sizeof(text), "%s:%d", authority, server->tls ? 443 : 80);
    if (addr_split(text, server->host, &server->port, &why) != ERR_OK)
        return bad_url(msg, server->url, why.text);
    if (addr_parse(text, literal, &why) == ERR_OK) {
        server->literal = true;
        server->n_addresses = 1;
    }
    return ERR_OK;
}

static int parse_unix(struct origin_server *server, struct errmsg *msg)
{
    struct errmsg why;

    server->is_unix = true;
    server->literal = true;
    server->n_addresses = 1;
    snprintf(server->host, sizeof(server->host), "localhost");
    return addr_parse(server->url, &server->addresses[0], &why) == ERR_OK
               ? ERR_OK
               : bad_url(msg, server->url, why.text);
}

static int parse_url(struct origin_server *server, char authority[ADDR_HOST_MAX + 8],
                     struct errmsg *msg)
{
    const char *url = server->url;
    size_t scheme = 7, len;

    server->tls = strncasecmp(url, "https://", 8) == 0;
    if (server->tls)
        scheme = 8;
    else if (strncasecmp(url, "http://", 7) != 0)
        return bad_url(msg, url, "write http://HOST[:PORT], https://HOST[:PORT] or unix:PATH");
    url += scheme;
    len = strcspn(url, "/");
    if (len == 0 || len >= ADDR_HOST_MAX + 8 || (url[len] == '/' && url[len + 1] != '\0'))
        return bad_url(msg, server->url, "write http://HOST[:PORT], without a path");
    memcpy(authority, url, len);
    authority[len] = '\0';
    return parse_tcp(server, authority, msg);
}

int origin_server_init(struct origin_server *server, struct origin *origin, const char *url,
                       struct errmsg *msg)
{
    const struct config_route *route = origin->route;
    char authority[ADDR_HOST_MAX + 8] = "localhost";
    int status;

    server->origin = origin;
    server->url = url;
    list_init(&server->waiting);
    list_init(&server->idle);
    list_init(&server->busy);
    status =
        addr_unix_path(url) != NULL ? parse_unix(server, msg) : parse_url(server, authority, msg);
    server->tls_name = route->tls_name[0] != '\0' ? route->tls_name : server->host;
    if (status != ERR_OK || route->health_path[0] == '\0')
        return status;
    status = buf_printf(&server->check_head,
                        "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: cachetastic\r\n"
                        "Connection: close\r\n\r\n",
                        route->health_path,
                        route->host_header[0] != '\0' ? route->host_header : authority);
    return status == ERR_OK ? ERR_OK : err_set(msg, status, "no memory for the origins");
}

/* ---- addresses ---- */

static void take_addresses(struct origin_server *server, const struct addrinfo *found)
{
    unsigned n = 0;

    for (; found != NULL && n < ORIGIN_MAX_ADDRESSES; found = found->ai_next) {
        struct addr *addr = &server->addresses[n];

        if (found->ai_addrlen > sizeof(addr->sock))
            continue;
        if (addr->len != (socklen_t)found->ai_addrlen ||
            memcmp(&addr->sock, found->ai_addr, found->ai_addrlen) != 0)
            server->failed_ms[n] = 0; /* another one */
        memcpy(&addr->sock, found->ai_addr, found->ai_addrlen);
        addr->len = (socklen_t)found->ai_addrlen;
        n++;
    }
    if (n > 0)
        server->n_addresses = n;
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct origin_server *server = lookup->data;
    struct origin *origin = server->origin;

    server->looking = false;
    if (!origin->closing) {
        server->looked_ms = clock_now_ms();
        if (status == 0)
            take_addresses(server, found);
        else
            log_warn("origin %s: its name was not found: %s%s", server->url, uv_strerror(status),
                     server->n_addresses > 0 ? "; the old addresses stay in use" : "");
        origin_go_on(server);
    }
    uv_freeaddrinfo(found);
    origin_handle_closed(origin);
}

void origin_server_look(struct origin_server *server)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];

    if (server->literal || server->looking)
        return;
    snprintf(port, sizeof(port), "%u", server->port);
    server->lookup.data = server;
    if (uv_getaddrinfo(server->origin->loop, &server->lookup, on_found, server->host, port,
                       &hints) != 0)
        return; /* the next tick tries again */
    server->looking = true;
    server->origin->handles++;
}

const struct addr *origin_server_address(struct origin_server *server)
{
    if (server->n_addresses == 0)
        return NULL;
    for (unsigned i = 0; i < server->n_addresses; i++) {
        unsigned at = server->next_address++ % server->n_addresses;

        if (server->failed_ms[at] == 0 ||
            clock_now_ms() >= server->failed_ms[at] + server->origin->route->fail_timeout_ms)
            return &server->addresses[at];
    }
    return &server->addresses[server->next_address++ % server->n_addresses];
}

void origin_server_reached(struct origin_server *server, const struct addr *addr, bool reached)
{
    server->failed_ms[addr - server->addresses] = reached ? 0 : clock_now_ms();
}

/* ---- health ---- */

bool origin_server_take(struct origin_server *server, struct origin_exchange *exchange)
{
    const struct config_route *route = server->origin->route;

    return health_take(server->health, clock_now_ms(),
                       route->connect_timeout_ms + route->first_byte_timeout_ms, &exchange->trial);
}

void origin_server_good(struct origin_server *server)
{
    if (health_good(server->health))
        log_info("origin %s is back", server->url);
}

void origin_server_bad(struct origin_server *server, const char *why)
{
    const struct config_route *route = server->origin->route;

    if (health_bad(server->health, clock_now_ms(), (uint32_t)route->fail_count,
                   route->fail_timeout_ms))
        log_warn("origin %s is left out for a while: %s", server->url, why);
}

unsigned origin_server_busy(const struct origin_server *server)
{
    return health_busy(server->health, server->origin->shared.n_slots);
}

void origin_server_count(struct origin_server *server, bool more)
{
    server->n_busy += more ? 1 : -1u;
    atomic_store_explicit(&server->health->busy[server->origin->shared.slot], server->n_busy,
                          memory_order_relaxed);
}

/* ---- checks ---- */

static void checked(struct origin_server *server, bool well, const char *why)
{
    uint64_t next_ms = clock_now_ms() + server->origin->route->health_interval_ms;

    if (health_checked(server->health, well, next_ms)) {
        if (well)
            log_info("origin %s: its check went well again", server->url);
        else
            log_warn("origin %s: its check failed: %s", server->url, why);
    }
    if (well)
        origin_server_good(server);
}

static void on_check_head(struct origin_exchange *check, const struct http1_reply *reply)
{
    if (reply->status >= 200)
        check->server->check_well = reply->status < 400;
}

static void on_check_body(struct origin_exchange *check, struct slice piece)
{
    (void)check;
    (void)piece;
}

static void on_check_end(struct origin_exchange *check, int err)
{
    struct origin_server *server = check->server;

    server->checking = false;
    checked(server, err == ERR_OK && server->check_well,
            err == ERR_OK ? "its status is 400 or more" : check->error);
}

static void begin_check(struct origin_server *server, uint64_t now_ms)
{
    struct origin *origin = server->origin;

    server->check = (struct origin_exchange){
        .head = buf_slice(&server->check_head),
        .on_head = on_check_head,
        .on_body = on_check_body,
        .on_end = on_check_end,
        .origin = origin,
        .server = server,
        .tries = UINT32_MAX / 2,
        .until_ms = now_ms + origin->route->health_timeout_ms,
    };
    list_init(&server->check.link);
    server->check_well = false;
    server->checking = true;
    if (origin_conn_send(server, &server->check) == ERR_OK)
        return;
    server->checking = false;
    checked(server, false, "no connection");
}

void origin_server_tick(struct origin_server *server, uint64_t now_ms)
{
    const struct config_route *route = server->origin->route;
    uint64_t every_ms = server->n_addresses > 0 ? LOOKUP_EVERY_MS : LOOKUP_RETRY_MS;

    if (now_ms >= server->looked_ms + every_ms)
        origin_server_look(server);
    if (route->health_path[0] != '\0' && !server->checking &&
        health_check_due(server->health, now_ms, route->health_timeout_ms + CHECK_GRACE_MS))
        begin_check(server, now_ms);
}
