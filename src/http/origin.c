/* Exchanges: which server gets them, and whether another try follows. */
#include "http/origin_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>

#define TICK_MS 100

static bool can_have(const struct origin *origin, unsigned i, uint32_t tried, uint64_t now_ms)
{
    return (tried & 1u << i) == 0 && health_usable(origin->servers[i].health, now_ms);
}

static struct origin_server *by_turn(struct origin *origin, uint32_t tried, uint64_t now_ms)
{
    for (unsigned i = 0; i < origin->n_servers; i++) {
        unsigned at = origin->turn++ % origin->n_servers;

        if (can_have(origin, at, tried, now_ms))
            return &origin->servers[at];
    }
    return NULL;
}

/* Of those with equally few, each in turn. */
static struct origin_server *least_busy(struct origin *origin, uint32_t tried, uint64_t now_ms)
{
    struct origin_server *best = NULL;
    unsigned turn = origin->turn++, least = 0;

    for (unsigned i = 0; i < origin->n_servers; i++) {
        unsigned at = (turn + i) % origin->n_servers;
        unsigned busy = origin_server_busy(&origin->servers[at]);

        if ((best == NULL || busy < least) && can_have(origin, at, tried, now_ms)) {
            best = &origin->servers[at];
            least = busy;
        }
    }
    return best;
}

/* The server whose number mixed with the key's hash is highest: when one is out, only its own keys
 * move. Source: Thaler, Ravishankar, "Using name-based mappings to increase hit rates", 1998. */
static struct origin_server *by_hash(struct origin *origin, uint32_t tried, uint64_t hash,
                                     uint64_t now_ms)
{
    struct origin_server *best = NULL;
    uint64_t highest = 0;

    for (unsigned i = 0; i < origin->n_servers; i++) {
        uint64_t weight = (hash ^ (i + 1)) * UINT64_C(0x9e3779b97f4a7c15);

        weight ^= weight >> 32;
        if ((best == NULL || weight > highest) && can_have(origin, i, tried, now_ms)) {
            best = &origin->servers[i];
            highest = weight;
        }
    }
    return best;
}

static struct origin_server *choose(struct origin *origin, const struct origin_exchange *exchange)
{
    uint64_t now_ms = clock_now_ms();

    switch (origin->route->balance) {
    case BALANCE_LEAST_CONNECTIONS:
        return least_busy(origin, exchange->tried, now_ms);
    case BALANCE_HASH:
        return by_hash(origin, exchange->tried, exchange->hash, now_ms);
    default:
        return by_turn(origin, exchange->tried, now_ms);
    }
}

static int send_somewhere(struct origin *origin, struct origin_exchange *exchange)
{
    struct origin_server *server;

    while ((server = choose(origin, exchange)) != NULL) {
        int status;

        exchange->tried |= 1u << server->number;
        if (!origin_server_take(server, exchange))
            continue; /* another worker was faster */
        exchange->tries++;
        if (server->n_addresses == 0) {
            exchange->server = server;
            origin_server_look(server);
            if (server->looking) {
                list_push(&server->waiting, &exchange->link);
                return ERR_OK;
            }
        }
        status = origin_conn_send(server, exchange);
        if (status == ERR_OK || status == ERR_NOMEM)
            return status;
        origin_server_bad(server, "no connection");
    }
    if (exchange->error == NULL)
        exchange->error = "no origin server is up";
    return ERR_DOWN;
}

int origin_start(struct origin *origin, struct origin_exchange *exchange)
{
    exchange->origin = origin;
    exchange->conn = NULL;
    exchange->server = NULL;
    exchange->tries = 0;
    exchange->tried = 0;
    exchange->began = false;
    exchange->body_sent = false;
    exchange->paused = false;
    exchange->trial = false;
    exchange->tunnel = false;
    exchange->until_ms = 0;
    exchange->error = NULL;
    list_init(&exchange->link);
    return send_somewhere(origin, exchange);
}

void origin_go_on(struct origin_server *server)
{
    struct list *node;

    while ((node = list_pop(&server->waiting)) != NULL) {
        struct origin_exchange *exchange = LIST_ENTRY(node, struct origin_exchange, link);

        if (origin_conn_send(server, exchange) != ERR_OK)
            origin_failed(exchange, ERR_DOWN, "its name was not found");
    }
}

/* Whether the failure says something of the server, or only of an old connection. */
static bool blames(const struct origin_exchange *exchange, bool reused)
{
    return !(reused && !exchange->began) && !exchange->tunnel;
}

void origin_failed(struct origin_exchange *exchange, int err, const char *why)
{
    struct origin_server *server = exchange->server;
    bool check = server->checking && exchange == &server->check;
    bool again = !exchange->began && !exchange->body_sent && !check &&
                 (exchange->repeatable || err == ERR_DOWN);

    log_debug("origin %s: %s", server->url, why);
    exchange->error = why;
    if (!check && blames(exchange, exchange->reused))
        origin_server_bad(server, why);
    else if (!check)
        exchange->tried &= ~(1u << server->number); /* the server itself was not tried yet */
    exchange->trial = false;
    if (again && exchange->tries <= exchange->origin->n_servers + 1) {
        err = send_somewhere(exchange->origin, exchange);
        if (err == ERR_OK)
            return;
        exchange->error = why;
    }
    exchange->on_end(exchange, err);
}

void origin_done(struct origin_exchange *exchange)
{
    exchange->trial = false;
    origin_server_good(exchange->server);
    exchange->on_end(exchange, ERR_OK);
}

const char *origin_name(const struct origin_exchange *exchange)
{
    return exchange->server == NULL ? NULL : exchange->server->url;
}

size_t origin_write(struct origin_exchange *exchange, struct slice bytes)
{
    if (exchange->conn == NULL)
        return 0;
    exchange->body_sent = true;
    return origin_conn_write(exchange->conn, bytes);
}

void origin_tunnel(struct origin_exchange *exchange, uint64_t idle_ms)
{
    exchange->tunnel = true;
    exchange->conn->tunnel_ms = idle_ms;
}

void origin_pause(struct origin_exchange *exchange)
{
    exchange->paused = true;
    if (exchange->conn != NULL)
        origin_conn_read(exchange->conn, false);
}

void origin_resume(struct origin_exchange *exchange)
{
    if (!exchange->paused)
        return;
    exchange->paused = false;
    if (exchange->conn != NULL)
        origin_conn_read(exchange->conn, true);
}

void origin_cancel(struct origin_exchange *exchange)
{
    list_remove(&exchange->link);
    if (exchange->trial)
        health_leave(exchange->server->health);
    exchange->trial = false;
    if (exchange->conn != NULL)
        origin_conn_close(exchange->conn);
}

/* ---- from start to end ---- */

static void on_tick(uv_timer_t *timer)
{
    struct origin *origin = timer->data;
    uint64_t now_ms = clock_now_ms();

    for (unsigned i = 0; i < origin->n_servers; i++) {
        origin_conn_check(&origin->servers[i], now_ms);
        origin_server_tick(&origin->servers[i], now_ms);
    }
}

static void origin_free(struct origin *origin)
{
    for (unsigned i = 0; i < origin->n_servers; i++)
        buf_fini(&origin->servers[i].check_head);
    origin_tls_context_destroy(origin->tls);
    free(origin);
}

static bool speaks_tls(const struct origin *origin)
{
    for (unsigned i = 0; i < origin->n_servers; i++)
        if (origin->servers[i].tls)
            return true;
    return false;
}

int origin_create(uv_loop_t *loop, const struct config_route *route,
                  const struct config_limits *limits, const struct origin_shared *shared,
                  struct origin **out, struct errmsg *msg)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    int status = ERR_OK;

    if (origin == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the origins");
    origin->loop = loop;
    origin->route = route;
    origin->shared = *shared;
    origin->limits = (struct http1_limits){.line_bytes = limits->http_line_bytes,
                                           .header_bytes = limits->http_header_bytes,
                                           .header_count = limits->http_header_count};
    for (size_t i = 0; i < route->n_origins && status == ERR_OK; i++) {
        origin->servers[i].number = (unsigned)i;
        origin->servers[i].health = &shared->health[i];
        /* What a worker of this slot left that died. */
        atomic_store(&shared->health[i].busy[shared->slot], 0);
        status = origin_server_init(&origin->servers[i], origin, route->origins[i], msg);
    }
    origin->n_servers = (unsigned)route->n_origins;
    if (status == ERR_OK && speaks_tls(origin))
        status = origin_tls_context_create(route, &origin->tls, msg);
    if (status != ERR_OK) {
        origin_free(origin);
        return status;
    }
    origin->timer.data = origin;
    uv_timer_init(loop, &origin->timer);
    uv_timer_start(&origin->timer, on_tick, TICK_MS, TICK_MS);
    origin->handles = 1;
    for (unsigned i = 0; i < origin->n_servers; i++)
        origin_server_look(&origin->servers[i]);
    *out = origin;
    return ERR_OK;
}

void origin_handle_closed(struct origin *origin)
{
    if (--origin->handles > 0 || !origin->closing)
        return;
    origin_free(origin);
}

static void on_timer_closed(uv_handle_t *handle)
{
    origin_handle_closed(handle->data);
}

static void close_all(struct list *conns)
{
    LIST_EACH_SAFE (node, next, conns)
        origin_conn_close(LIST_ENTRY(node, struct origin_conn, link));
}

void origin_destroy(struct origin *origin)
{
    if (origin == NULL)
        return;
    origin->closing = true;
    for (unsigned i = 0; i < origin->n_servers; i++) {
        close_all(&origin->servers[i].idle);
        close_all(&origin->servers[i].busy);
        if (origin->servers[i].looking)
            uv_cancel((uv_req_t *)&origin->servers[i].lookup);
    }
    uv_close((uv_handle_t *)&origin->timer, on_timer_closed);
}
