/* /metrics: the Prometheus text format, version 0.0.4. Only what belongs to the whole daemon: a
 * scrape reaches any one of the workers. */
#include "http/api_impl.h"

#include "common/clock.h"

/* Lines go to one buffer; a failure is remembered and ends the response. */
struct page {
    struct buf *out;
    int rc;
};

static void put(struct page *page, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(struct page *page, const char *fmt, ...)
{
    char line[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (page->rc == ERR_OK)
        page->rc = len < 0 || (size_t)len >= sizeof(line)
                       ? ERR_INVALID
                       : buf_append(page->out, line, (size_t)len);
}

static void family(struct page *page, const char *name, const char *type, const char *help)
{
    put(page, "# HELP cachetastic_%s %s\n# TYPE cachetastic_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. */
static void escape_label(const char *text, char *out, size_t size)
{
    size_t len = 0;

    for (; *text != '\0' && len + 3 < size; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            out[len++] = '\\';
        out[len++] = *text == '\n' ? 'n' : *text;
    }
    out[len] = '\0';
}

struct sample {
    char label[2 * (ZONE_NAME_MAX + 1) + 1];
    struct cache_stats stats;
};

/* The page lists one figure of every cache after the other, so the figures are taken first. */
static size_t take(struct caches *caches, struct sample *samples)
{
    size_t n = caches_count(caches);

    for (size_t i = 0; i < n; i++) {
        struct cache *cache = caches_at(caches, i);

        escape_label(cache_config(cache)->name, samples[i].label, sizeof(samples[i].label));
        cache_stats(cache, &samples[i].stats);
    }
    return n;
}

static void put_counters(struct page *page, const struct sample *samples, size_t n)
{
    for (int c = 0; c < STAT_COUNT; c++) {
        char name[64];

        snprintf(name, sizeof(name), "%s_total", stat_name((enum counter)c));
        family(page, name, "counter", stat_text((enum counter)c));
        for (size_t i = 0; i < n; i++)
            put(page, "cachetastic_%s{cache=\"%s\"} %llu\n", name, samples[i].label,
                (unsigned long long)samples[i].stats.counter[c]);
    }
}

struct gauge {
    const char *name, *help;
    size_t offset; /* of a uint64_t in struct cache_stats */
};

static void put_gauges(struct page *page, const struct sample *samples, size_t n)
{
    static const struct gauge gauges[] = {
        {"entries", "live entries", offsetof(struct cache_stats, entries)},
        {"bytes", "bytes of live entries", offsetof(struct cache_stats, bytes)},
#define GAUGE(name, metric, text) {metric, text, offsetof(struct cache_stats, memory.name)},
        STAT_MEMORY_LIST(GAUGE)
#undef GAUGE
    };

    for (size_t g = 0; g < sizeof(gauges) / sizeof(gauges[0]); g++) {
        family(page, gauges[g].name, "gauge", gauges[g].help);
        for (size_t i = 0; i < n; i++) {
            uint64_t value;

            memcpy(&value, (const char *)&samples[i].stats + gauges[g].offset, sizeof(value));
            put(page, "cachetastic_%s{cache=\"%s\"} %llu\n", gauges[g].name, samples[i].label,
                (unsigned long long)value);
        }
    }
}

static void put_slot(struct page *page, const char *name, unsigned slot, uint64_t value)
{
    put(page, "cachetastic_%s{slot=\"%u\"} %llu\n", name, slot, (unsigned long long)value);
}

static void put_workers(struct page *page, const struct scoreboard *board)
{
    unsigned n = board->n_slots < SCOREBOARD_MAX ? board->n_slots : SCOREBOARD_MAX;

    family(page, "worker_connections", "gauge", "open client connections");
    for (unsigned i = 0; i < n; i++)
        put_slot(page, "worker_connections", i, atomic_load(&board->slots[i].connections));
    family(page, "worker_accepted_total", "counter", "connections accepted");
    for (unsigned i = 0; i < n; i++)
        put_slot(page, "worker_accepted_total", i, atomic_load(&board->slots[i].accepted));
    family(page, "worker_requests_total", "counter", "requests answered");
    for (unsigned i = 0; i < n; i++)
        put_slot(page, "worker_requests_total", i, atomic_load(&board->slots[i].requests));
    family(page, "worker_restarts_total", "counter", "times a worker died and was replaced");
    for (unsigned i = 0; i < n; i++)
        put_slot(page, "worker_restarts_total", i, atomic_load(&board->slots[i].restarts));
}

static void put_one(struct page *page, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    family(page, name, type, help);
    put(page, "cachetastic_%s %llu\n", name, (unsigned long long)value);
}

static void put_origins(struct page *page, const struct heritage *heritage)
{
    const struct config *config = heritage->config;
    char url[256];

    if (config->n_routes == 0)
        return;
    family(page, "origin_up", "gauge", "1 while a route's server is used");
    for (size_t i = 0; i < config->n_routes; i++)
        for (size_t k = 0; k < config->routes[i].n_origins; k++) {
            escape_label(config->routes[i].origins[k], url, sizeof(url));
            put(page, "cachetastic_origin_up{route=\"%zu\",origin=\"%s\"} %d\n", i, url,
                health_usable(&heritage->health[i * CONFIG_MAX_ORIGINS + k], clock_now_ms()));
        }
}

static void put_daemon(struct page *page, const struct heritage *heritage)
{
    uint64_t wall_ms = clock_wall_ms(), started_ms = heritage->board->started_wall_ms;

    put_one(page, "uptime_seconds", "gauge", "time since the daemon started",
            wall_ms > started_ms ? (wall_ms - started_ms) / 1000 : 0);
    if (heritage->breaker == NULL)
        return;
    put_one(page, "redis_breaker_state", "gauge", "0 closed, 1 open, 2 half-open",
            (uint64_t)breaker_state(heritage->breaker));
    put_one(page, "redis_breaker_opened_total", "counter", "times Redis was given up",
            breaker_opened(heritage->breaker));
    put_one(page, "redis_journal_keys", "gauge", "keys whose last write in Redis is uncertain",
            journal_count(heritage->journal));
    put_one(page, "redis_doubts_total", "counter",
            "times Redis was another run than the one that had acknowledged writes",
            incarnation_doubts(heritage->incarnation));
    put_one(page, "redis_suspect_connections", "gauge",
            "older connections with unanswered commands that Redis has not ended yet",
            incarnation_suspects(heritage->incarnation));
    put_one(page, "redis_invalidation_confirmed", "gauge", "1 while messages of other nodes arrive",
            atomic_load(&heritage->board->invalidation));
}

enum api_result api_metrics(struct api_call *call)
{
    const struct heritage *heritage = call->api->heritage;
    struct sample samples[CONFIG_MAX_CACHES];
    struct buf text = {0};
    struct page page = {&text, ERR_OK};
    size_t n = take(call->api->caches, samples);

    put_counters(&page, samples, n);
    put_gauges(&page, samples, n);
    put_workers(&page, heritage->board);
    put_daemon(&page, heritage);
    put_origins(&page, heritage);
    if (page.rc == ERR_OK) {
        api_header(call, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
        api_header(call, "Cache-Control: no-store");
        api_send(call, 200, buf_slice(&text));
    } else {
        api_send_error(call, 500, "no memory for the figures");
    }
    buf_fini(&text);
    return API_ANSWERED;
}
