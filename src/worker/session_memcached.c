/* The memcached session: the text protocol on a memory cache. Everything is answered at once. */
#include "common/clock.h"
#include "proto/memcached.h"
#include "worker/conn.h"
#include "worker/memcached.h"

#include <stdio.h>
#include <stdlib.h>

/* Tries of an operation that another process' lock holds up, each of a few milliseconds. */
#define TRIES    20
#define PREFETCH 32 /* keys of a get on their way from memory at once */

/* What clients choose features by; the protocol is that of this memcached. */
#define SERVER_VERSION "1.6.18"

struct memcached_session {
    struct memcached_limits limits;
    struct cache *cache; /* NULL: none that this protocol serves */
    uint64_t skip;       /* bytes of input to be thrown away */
    struct buf value;    /* of gets */
};

struct asked {
    struct conn *conn;
    struct memcached_session *session;
    struct cache *cache;
    const struct memcached_request *request;
    struct buf *out;
};

static void answer(const struct asked *a, const char *line)
{
    if (!a->request->noreply && buf_printf(a->out, "%s\r\n", line) != ERR_OK)
        conn_abort(a->conn, "no memory");
}

static void answer_failure(const struct asked *a, enum cache_status status)
{
    switch (status) {
    case CACHE_TOO_LARGE:
        answer(a, "SERVER_ERROR object too large for cache");
        return;
    case CACHE_FULL:
        answer(a, "SERVER_ERROR out of memory storing object");
        return;
    case CACHE_NOT_INTEGER:
        answer(a, "CLIENT_ERROR cannot increment or decrement non-numeric value");
        return;
    default:
        if (!a->request->noreply && buf_printf(a->out, "SERVER_ERROR %s\r\n",
                                               cache_status_text(a->cache, status)) != ERR_OK)
            conn_abort(a->conn, "no memory");
    }
}

static bool is_answer(enum cache_status status)
{
    return status == CACHE_OK || status == CACHE_MISS;
}

static uint64_t expires_ms(const struct asked *a)
{
    uint64_t wall_ms = memcached_expiry(a->request->exptime, clock_wall_ms());

    return wall_ms == 0 ? 0 : clock_from_wall_ms(wall_ms);
}

static enum cache_status change(const struct asked *a, struct slice key,
                                const struct cache_change *what, struct cache_sink *sink,
                                int64_t *integer)
{
    enum cache_status status = CACHE_WAIT;

    for (int i = 0; i < TRIES && status == CACHE_WAIT; i++)
        status = cache_change(a->cache, key, what, sink, NULL, integer);
    return status == CACHE_WAIT ? CACHE_BUSY : status;
}

/* ---- reading ---- */

/* Where a value goes: into the reply behind its line, or, where that line needs to know the value
 * first, into a buffer apart. */
struct value_sink {
    struct cache_sink sink;
    struct buf *out;
    size_t mark; /* what was in out before */
    struct slice key;
    bool bare; /* the value alone */
    size_t len;
    uint32_t flags;
};

static char *value_place(struct cache_sink *sink, const struct cache_info *info)
{
    struct value_sink *v = (struct value_sink *)(void *)sink;
    char *place;

    buf_truncate(v->out, v->mark); /* an overtaken copy begins anew */
    v->len = info->value_len;
    v->flags = info->client_flags;
    if (!v->bare && memcached_value(v->out, v->key, v->flags, v->len, NULL) != ERR_OK)
        return NULL;
    place = buf_reserve(v->out, v->len + 2);
    if (place == NULL)
        return NULL;
    memcpy(place + v->len, "\r\n", 2);
    buf_commit(v->out, v->len + 2);
    return place;
}

/* Read the value (and change its time, with touch) into the sink. */
static enum cache_status read_value(const struct asked *a, struct value_sink *v, bool touch)
{
    struct cache_change what = {
        .kind = CHANGE_TOUCH, .want_old = true, .attrs = {.expires_ms = touch ? expires_ms(a) : 0}};
    enum cache_status status = CACHE_WAIT;
    struct cache_info info;
    int64_t ignored;

    if (touch)
        return change(a, v->key, &what, &v->sink, &ignored);
    for (int i = 0; i < TRIES && status == CACHE_WAIT; i++)
        status = cache_get(a->cache, v->key, &v->sink, NULL, &info);
    return status == CACHE_WAIT ? CACHE_BUSY : status;
}

static enum cache_status get_plain(const struct asked *a, struct slice key, bool touch)
{
    struct value_sink v = {
        .sink = {.place = value_place}, .out = a->out, .mark = buf_len(a->out), .key = key};
    enum cache_status status = read_value(a, &v, touch);

    if (status != CACHE_OK)
        buf_truncate(a->out, v.mark);
    return status;
}

static enum cache_status get_unique(const struct asked *a, struct slice key, bool touch)
{
    struct buf *value = &a->session->value;
    struct value_sink v = {.sink = {.place = value_place}, .out = value, .key = key, .bare = true};
    enum cache_status status;
    uint64_t unique;

    buf_truncate(value, 0);
    status = read_value(a, &v, touch);
    if (status != CACHE_OK)
        return status;
    unique = cache_fingerprint(a->cache, slice_make(buf_head(value), v.len), v.flags);
    if (memcached_value(a->out, key, v.flags, v.len, &unique) != ERR_OK ||
        buf_append(a->out, buf_head(value), v.len + 2) != ERR_OK)
        return CACHE_NOMEM;
    return CACHE_OK;
}

static size_t take_keys(struct slice *keys, struct slice out[PREFETCH])
{
    size_t n = 0;

    while (n < PREFETCH && memcached_key(keys, &out[n]))
        n++;
    return n;
}

static void do_get(const struct asked *a)
{
    enum memcached_verb verb = a->request->verb;
    bool touch = verb == MEMCACHED_GAT || verb == MEMCACHED_GATS;
    bool unique = verb == MEMCACHED_GETS || verb == MEMCACHED_GATS;
    struct slice keys = a->request->keys, some[PREFETCH];
    size_t mark = buf_len(a->out), n;

    while ((n = take_keys(&keys, some)) > 0) {
        if (n > 1)
            cache_prefetch(a->cache, some, n);
        for (size_t i = 0; i < n; i++) {
            enum cache_status status =
                unique ? get_unique(a, some[i], touch) : get_plain(a, some[i], touch);

            if (!is_answer(status)) {
                buf_truncate(a->out, mark); /* half an answer is none */
                answer_failure(a, status);
                return;
            }
        }
    }
    answer(a, "END");
}

/* ---- writing ---- */

static void do_set(const struct asked *a)
{
    struct cache_attrs attrs = {.expires_ms = expires_ms(a), .client_flags = a->request->flags};
    enum cache_status status = CACHE_WAIT;

    for (int i = 0; i < TRIES && status == CACHE_WAIT; i++)
        status = cache_put(a->cache, a->request->keys, a->request->value, &attrs, NULL);
    if (status == CACHE_OK)
        answer(a, "STORED");
    else
        answer_failure(a, status == CACHE_WAIT ? CACHE_BUSY : status);
}

/* add, replace, append, prepend, cas */
static void do_store(const struct asked *a)
{
    static const struct {
        enum cache_change_kind kind;
        enum cache_change_if when;
    } how[] = {
        [MEMCACHED_ADD] = {CHANGE_SET, CHANGE_IF_ABSENT},
        [MEMCACHED_REPLACE] = {CHANGE_SET, CHANGE_IF_PRESENT},
        [MEMCACHED_APPEND] = {CHANGE_APPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_PREPEND] = {CHANGE_PREPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_CAS] = {CHANGE_SET, CHANGE_IF_SAME},
    };
    enum memcached_verb verb = a->request->verb;
    struct cache_change what = {
        .kind = how[verb].kind,
        .when = how[verb].when,
        .same = a->request->number,
        .value = a->request->value,
        .attrs = {.expires_ms = expires_ms(a), .client_flags = a->request->flags}};
    int64_t present = 0;
    enum cache_status status = change(a, a->request->keys, &what, NULL, &present);

    if (status == CACHE_OK)
        answer(a, "STORED");
    else if (status != CACHE_MISS)
        answer_failure(a, status);
    else if (verb == MEMCACHED_CAS)
        answer(a, present ? "EXISTS" : "NOT_FOUND");
    else
        answer(a, "NOT_STORED");
}

static void do_count(const struct asked *a)
{
    struct cache_change what = {.kind = CHANGE_COUNT,
                                .down = a->request->verb == MEMCACHED_DECR,
                                .delta = (int64_t)a->request->number};
    int64_t number = 0;
    enum cache_status status = change(a, a->request->keys, &what, NULL, &number);
    char text[24];

    if (status == CACHE_MISS) {
        answer(a, "NOT_FOUND");
    } else if (status != CACHE_OK) {
        answer_failure(a, status);
    } else {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
        answer(a, text);
    }
}

static void do_touch(const struct asked *a)
{
    struct cache_change what = {.kind = CHANGE_TOUCH, .attrs = {.expires_ms = expires_ms(a)}};
    int64_t ignored;
    enum cache_status status = change(a, a->request->keys, &what, NULL, &ignored);

    if (is_answer(status))
        answer(a, status == CACHE_OK ? "TOUCHED" : "NOT_FOUND");
    else
        answer_failure(a, status);
}

static void do_delete(const struct asked *a)
{
    enum cache_status status = CACHE_WAIT;

    for (int i = 0; i < TRIES && status == CACHE_WAIT; i++)
        status = cache_delete(a->cache, a->request->keys, NULL);
    if (is_answer(status))
        answer(a, status == CACHE_OK ? "DELETED" : "NOT_FOUND");
    else
        answer_failure(a, status == CACHE_WAIT ? CACHE_BUSY : status);
}

/* ---- the whole cache ---- */

static bool clear_now(struct cache *cache)
{
    for (int i = 0; i < TRIES; i++)
        if (cache_clear(cache, NULL) == CACHE_OK)
            return true;
    return false;
}

static uint64_t *flush_time(struct worker *worker, struct cache *cache)
{
    return &worker->flush_ms[cache_config(cache) - worker->heritage->config->caches];
}

/* A later flush_all takes an earlier one's place, as in memcached. */
static void do_flush_all(const struct asked *a)
{
    uint64_t *at = flush_time(a->conn->worker, a->cache);

    if (a->request->exptime > 0) {
        *at = clock_from_wall_ms(memcached_expiry(a->request->exptime, clock_wall_ms()));
        answer(a, "OK");
        return;
    }
    *at = 0;
    if (clear_now(a->cache))
        answer(a, "OK");
    else
        answer_failure(a, CACHE_BUSY);
}

void memcached_flush_due(struct worker *worker)
{
    uint64_t now_ms = 0;

    for (size_t i = 0; i < caches_count(worker->caches); i++) {
        struct cache *cache = caches_at(worker->caches, i);
        uint64_t *at = flush_time(worker, cache);

        if (*at == 0)
            continue;
        now_ms = now_ms == 0 ? clock_now_ms() : now_ms;
        if (*at <= now_ms && clear_now(cache))
            *at = 0;
    }
}

static void stat_line(const struct asked *a, const char *name, uint64_t value)
{
    if (buf_printf(a->out, "STAT %s %llu\r\n", name, (unsigned long long)value) != ERR_OK)
        conn_abort(a->conn, "no memory");
}

static void general_stats(const struct asked *a)
{
    struct worker *worker = a->conn->worker;
    struct cache_stats stats;

    cache_stats(a->cache, &stats);
    stat_line(a, "pid", (uint64_t)atomic_load(&worker->heritage->board->master_pid));
    stat_line(a, "time", clock_wall_ms() / 1000);
    if (buf_printf(a->out, "STAT version " SERVER_VERSION "\r\n") != ERR_OK)
        conn_abort(a->conn, "no memory");
    stat_line(a, "pointer_size", 8 * sizeof(void *));
    stat_line(a, "curr_connections", worker->n_conns);
    stat_line(a, "cmd_get", stats.counter[STAT_HITS] + stats.counter[STAT_MISSES]);
    stat_line(a, "cmd_set", stats.counter[STAT_PUTS]);
    stat_line(a, "cmd_flush", stats.counter[STAT_CLEARS]);
    stat_line(a, "get_hits", stats.counter[STAT_HITS]);
    stat_line(a, "get_misses", stats.counter[STAT_MISSES]);
    stat_line(a, "evictions", stats.counter[STAT_EVICTIONS]);
    stat_line(a, "reclaimed", stats.counter[STAT_EXPIRATIONS]);
    stat_line(a, "bytes", stats.bytes);
    stat_line(a, "curr_items", stats.entries);
    stat_line(a, "limit_maxbytes", stats.memory.size_bytes);
    stat_line(a, "threads", (uint64_t)worker->heritage->config->workers);
}

static void do_stats(const struct asked *a)
{
    struct slice what = a->request->argument;

    if (slice_eq(what, SLICE_LIT("reset"))) {
        cache_stats_reset(a->cache);
        answer(a, "RESET");
        return;
    }
    if (what.len == 0)
        general_stats(a);
    /* Slab classes and their items: there are none. */
    answer(a, "END");
}

static void do_version(const struct asked *a)
{
    answer(a, "VERSION " SERVER_VERSION);
}

/* The log's level is the configuration's. */
static void do_verbosity(const struct asked *a)
{
    answer(a, a->request->argument.len > 0 ? "OK" : "ERROR");
}

static const struct {
    void (*run)(const struct asked *a);
    unsigned rights;
} commands[] = {
    [MEMCACHED_GET] = {do_get, AUTH_READ},
    [MEMCACHED_GETS] = {do_get, AUTH_READ},
    [MEMCACHED_GAT] = {do_get, AUTH_READ | AUTH_WRITE},
    [MEMCACHED_GATS] = {do_get, AUTH_READ | AUTH_WRITE},
    [MEMCACHED_SET] = {do_set, AUTH_WRITE},
    [MEMCACHED_ADD] = {do_store, AUTH_WRITE},
    [MEMCACHED_REPLACE] = {do_store, AUTH_WRITE},
    [MEMCACHED_APPEND] = {do_store, AUTH_WRITE},
    [MEMCACHED_PREPEND] = {do_store, AUTH_WRITE},
    [MEMCACHED_CAS] = {do_store, AUTH_WRITE},
    [MEMCACHED_INCR] = {do_count, AUTH_READ | AUTH_WRITE},
    [MEMCACHED_DECR] = {do_count, AUTH_READ | AUTH_WRITE},
    [MEMCACHED_TOUCH] = {do_touch, AUTH_WRITE},
    [MEMCACHED_DELETE] = {do_delete, AUTH_WRITE},
    [MEMCACHED_FLUSH_ALL] = {do_flush_all, AUTH_PURGE},
    [MEMCACHED_VERBOSITY] = {do_verbosity, 0},
    [MEMCACHED_VERSION] = {do_version, 0},
    [MEMCACHED_STATS] = {do_stats, 0},
};

/* ---- logging in, and one request ---- */

/* As memcached with an authentication file: the first set's value is "user password". */
static void log_in(const struct asked *a)
{
    struct slice text = a->request->value;
    const char *blank = text.len == 0 ? NULL : memchr(text.data, ' ', text.len);
    size_t name = blank == NULL ? text.len : (size_t)(blank - text.data);

    if (blank != NULL)
        a->conn->user = auth_login(a->conn->worker->heritage->config, slice_make(text.data, name),
                                   slice_make(blank + 1, text.len - name - 1));
    answer(a, a->conn->user != NULL ? "STORED" : "CLIENT_ERROR authentication failure");
}

static bool must_log_in(const struct conn *conn)
{
    return conn->user == NULL && auth_required(conn->worker->heritage->config);
}

static bool may(const struct asked *a)
{
    unsigned rights = commands[a->request->verb].rights;

    if (a->request->verb == MEMCACHED_STATS && a->request->argument.len > 0)
        rights = AUTH_ADMIN;
    if (rights == 0 || conn_may(a->conn, a->cache, rights))
        return true;
    answer(a, "CLIENT_ERROR this user may not do that (users.rights)");
    return false;
}

static void run(const struct asked *a)
{
    if (a->request->error != NULL) {
        answer(a, a->request->error);
    } else if (must_log_in(a->conn)) {
        if (a->request->verb == MEMCACHED_SET)
            log_in(a);
        else
            answer(a, "CLIENT_ERROR unauthenticated");
    } else if (may(a)) {
        commands[a->request->verb].run(a);
    }
}

/* ---- the session ---- */

/* The listener's cache, or, where Redis stands behind that, the first in memory alone. */
static struct cache *find_cache(struct conn *conn)
{
    struct caches *caches = conn->worker->caches;
    struct cache *cache = caches_find(caches, slice_cstr(conn->listener->cache));

    for (size_t i = 0; i < caches_count(caches) && (cache == NULL || cache_has_l2(cache)); i++)
        cache = caches_at(caches, i);
    return cache != NULL && cache_has_l2(cache) ? NULL : cache;
}

static int memcached_open(struct conn *conn)
{
    const struct config_limits *limits = &conn->worker->heritage->config->limits;
    struct memcached_session *session = calloc(1, sizeof(*session));

    if (session == NULL)
        return ERR_NOMEM;
    session->cache = find_cache(conn);
    session->limits.line_bytes = limits->memcached_line_bytes;
    if (session->cache != NULL) {
        uint64_t most = zone_value_max(cache_zone(session->cache));

        session->limits.value_bytes =
            limits->value_bytes != 0 && limits->value_bytes < most ? limits->value_bytes : most;
    }
    conn->session = session;
    return ERR_OK;
}

static void memcached_close(struct conn *conn)
{
    struct memcached_session *session = conn->session;

    buf_fini(&session->value);
    free(session);
}

static enum session_result refuse(struct conn *conn, const char *line)
{
    if (buf_printf(conn_out(conn), "%s\r\n", line) != ERR_OK)
        conn_abort(conn, "no memory");
    return SESSION_CLOSE;
}

/* Throw away what is to be skipped. */
static void skip(struct memcached_session *session, struct buf *in)
{
    size_t n = buf_len(in) < session->skip ? buf_len(in) : (size_t)session->skip;

    buf_consume(in, n);
    session->skip -= n;
}

static enum session_result take_one(struct conn *conn, uint64_t *taken)
{
    struct memcached_session *session = conn->session;
    struct memcached_request request;
    struct asked a = {conn, session, session->cache, &request, conn_out(conn)};

    switch (memcached_parse(buf_slice(&conn->in), &session->limits, &request)) {
    case PARSE_OK:
        break;
    case PARSE_MORE:
        return SESSION_WAIT; /* for bytes */
    default:
        return refuse(conn, request.error);
    }
    worker_count_request(conn->worker);
    if (request.verb == MEMCACHED_QUIT)
        return SESSION_CLOSE;
    run(&a);
    *taken += request.used;
    session->skip = request.skip;
    buf_consume(&conn->in, request.used);
    return SESSION_MORE;
}

static enum session_result memcached_input(struct conn *conn)
{
    struct memcached_session *session = conn->session;
    uint64_t budget = conn->worker->heritage->config->limits.pipeline_bytes;
    uint64_t taken = 0;

    if (session->cache == NULL)
        return refuse(conn, "SERVER_ERROR memcached clients are served caches with backend = "
                            "\"memory\", and there is none (caches.backend)");
    while (buf_len(&conn->in) > 0) {
        enum session_result result;

        if (session->skip > 0) {
            skip(session, &conn->in);
            continue;
        }
        if (*buf_head(&conn->in) == (char)0x80)
            return refuse(conn, "ERROR the binary protocol is not served; use the text protocol");
        result = take_one(conn, &taken);
        if (result == SESSION_WAIT)
            return SESSION_MORE;
        if (result != SESSION_MORE)
            return result;
        if (taken >= budget || conn_congested(conn))
            return SESSION_YIELD;
    }
    return SESSION_MORE;
}

const struct session_ops session_memcached = {
    .name = "memcached",
    .open = memcached_open,
    .input = memcached_input,
    .close = memcached_close,
};
