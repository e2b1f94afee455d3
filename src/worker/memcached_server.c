/* What the protocols of memcached share beside tasks: rights, logging in, flush_all, statistics. */
#include "common/clock.h"
#include "worker/memcached.h"

#include <stdio.h>

bool memcached_must_log_in(const struct memcached_session *session)
{
    const struct conn *conn = session->conn;

    return conn->user == NULL && auth_required(conn->worker->heritage->config);
}

bool memcached_log_in(struct memcached_session *session, struct slice name, struct slice password)
{
    struct conn *conn = session->conn;

    conn->user = auth_login(conn->worker->heritage->config, name, password);
    return conn->user != NULL;
}

bool memcached_may(const struct memcached_session *session, const struct memcached_request *request)
{
    static const unsigned rights[] = {
        [MEMCACHED_GET] = AUTH_READ,
        [MEMCACHED_GETS] = AUTH_READ,
        [MEMCACHED_GAT] = AUTH_READ | AUTH_WRITE,
        [MEMCACHED_GATS] = AUTH_READ | AUTH_WRITE,
        [MEMCACHED_SET] = AUTH_WRITE,
        [MEMCACHED_ADD] = AUTH_WRITE,
        [MEMCACHED_REPLACE] = AUTH_WRITE,
        [MEMCACHED_APPEND] = AUTH_WRITE,
        [MEMCACHED_PREPEND] = AUTH_WRITE,
        [MEMCACHED_CAS] = AUTH_WRITE,
        [MEMCACHED_INCR] = AUTH_READ | AUTH_WRITE,
        [MEMCACHED_DECR] = AUTH_READ | AUTH_WRITE,
        [MEMCACHED_TOUCH] = AUTH_WRITE,
        [MEMCACHED_DELETE] = AUTH_WRITE,
        [MEMCACHED_FLUSH_ALL] = AUTH_PURGE,
        [MEMCACHED_META_GET] = AUTH_READ,
        [MEMCACHED_META_SET] = AUTH_WRITE,
        [MEMCACHED_META_DELETE] = AUTH_WRITE,
        [MEMCACHED_META_COUNT] = AUTH_READ | AUTH_WRITE,
        [MEMCACHED_META_DEBUG] = AUTH_READ,
        [MEMCACHED_NONE] = 0,
    };
    const struct memcached_meta *meta = &session->meta;
    unsigned needed = rights[request->verb];

    if (request->verb == MEMCACHED_STATS && request->argument.len > 0)
        needed = AUTH_ADMIN;
    /* A lease that is not used keeps others waiting: it is for those who may fill it. */
    if (request->verb == MEMCACHED_META_GET &&
        (memcached_sent(meta, 'N') || memcached_sent(meta, 'R') || memcached_sent(meta, 'T')))
        needed |= AUTH_WRITE;
    return needed == 0 || conn_may(session->conn, session->cache, needed);
}

bool memcached_flush_later(struct memcached_session *session, int64_t delay)
{
    if (delay <= 0) {
        cache_clear_at(session->cache, 0); /* one that was to come is forgotten, as in memcached */
        return false;
    }
    cache_clear_at(session->cache, clock_from_wall_ms(memcached_expiry(delay, clock_wall_ms())));
    return true;
}

struct stats_out {
    void (*each)(void *arg, const char *name, const char *value);
    void *arg;
};

static void number(const struct stats_out *out, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    out->each(out->arg, name, text);
}

void memcached_stats(struct memcached_session *session,
                     void (*each)(void *arg, const char *name, const char *value), void *arg)
{
    struct worker *worker = session->conn->worker;
    struct stats_out out = {each, arg};
    struct cache_stats stats;

    cache_stats(session->cache, &stats);
    number(&out, "pid", (uint64_t)atomic_load(&worker->heritage->board->master_pid));
    number(&out, "time", clock_wall_ms() / 1000);
    each(arg, "version", MEMCACHED_RELEASE);
    number(&out, "pointer_size", 8 * sizeof(void *));
    number(&out, "curr_connections", worker->n_conns);
    number(&out, "cmd_get", stats.counter[STAT_HITS] + stats.counter[STAT_MISSES]);
    number(&out, "cmd_set", stats.counter[STAT_PUTS]);
    number(&out, "cmd_flush", stats.counter[STAT_CLEARS]);
    number(&out, "get_hits", stats.counter[STAT_HITS]);
    number(&out, "get_misses", stats.counter[STAT_MISSES]);
    number(&out, "evictions", stats.counter[STAT_EVICTIONS]);
    number(&out, "reclaimed", stats.counter[STAT_EXPIRATIONS]);
    number(&out, "bytes", stats.bytes);
    number(&out, "curr_items", stats.entries);
    number(&out, "limit_maxbytes", stats.memory.size_bytes);
    number(&out, "threads", (uint64_t)worker->heritage->config->workers);
}
