#include "worker/subscribe.h"

#include "cache/telemetry.h"
#include "common/clock.h"
#include "common/glob.h"
#include "common/log.h"
#include "worker/command.h"

#include <stdlib.h>

#define PUMP_MS       5
#define PUMP_EVENTS   1024 /* in one turn of the loop */
#define PATTERNS_MAX  16
#define PATTERN_BYTES 64

struct pattern {
    char text[PATTERN_BYTES];
    size_t len;
    unsigned kinds; /* bits of enum telemetry_kind that it matches */
};

struct subscription {
    struct list link; /* worker->subscribers */
    struct resp_session *session;
    unsigned channels; /* bits of enum telemetry_kind */
    struct pattern patterns[PATTERNS_MAX];
    unsigned n_patterns;
};

unsigned subscribe_count(const struct resp_session *session)
{
    const struct subscription *subscription = session->subscription;

    if (subscription == NULL)
        return 0;
    return (unsigned)__builtin_popcount(subscription->channels) + subscription->n_patterns;
}

/* ---- passing events on ---- */

static void message(struct subscription *subscription, const struct pattern *pattern,
                    const char *channel, struct slice json)
{
    struct buf *out = conn_out(subscription->session->conn);

    (void)!resp_push(out, pattern == NULL ? 3 : 4, subscription->session->version);
    reply_bulk(out, pattern == NULL ? SLICE_LIT("message") : SLICE_LIT("pmessage"));
    if (pattern != NULL)
        reply_bulk(out, slice_make(pattern->text, pattern->len));
    reply_bulk(out, slice_cstr(channel));
    reply_bulk(out, json);
}

static void deliver(struct subscription *subscription, const struct event *event, struct slice json)
{
    struct conn *conn = subscription->session->conn;
    const struct cache *cache = caches_at(conn->worker->caches, event->cache);
    const char *channel = telemetry_name((enum telemetry_kind)event->kind);
    unsigned bit = 1u << event->kind;

    if (!conn_may(conn, cache, AUTH_READ))
        return;
    if (subscription->channels & bit)
        message(subscription, NULL, channel, json);
    for (unsigned i = 0; i < subscription->n_patterns; i++)
        if (subscription->patterns[i].kinds & bit)
            message(subscription, &subscription->patterns[i], channel, json);
    if (request_backlog(conn) <= conn->worker->heritage->config->limits.output_bytes) {
        conn_flush_later(conn);
        return;
    }
    log_warn("connection %llu from %s dropped: it does not read its events, and %zu bytes wait for "
             "it (limits.output)",
             (unsigned long long)conn->id, conn->peer, request_backlog(conn));
    conn_abort(conn, NULL);
}

static void pump(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    struct event event;
    struct buf json = {0};

    for (int i = 0; i < PUMP_EVENTS; i++) {
        if (event_read(worker->heritage->events, &worker->event_cursor, clock_now_ns(), &event,
                       &worker->events_lost) == 0)
            break;
        buf_truncate(&json, 0);
        if (event.kind >= TELEMETRY_KINDS ||
            telemetry_json(worker->caches, &event, &json) != ERR_OK) {
            worker->events_lost++;
            continue;
        }
        LIST_EACH_SAFE (node, next, &worker->subscribers)
            deliver(LIST_ENTRY(node, struct subscription, link), &event, buf_slice(&json));
    }
    buf_fini(&json);
}

static void start_pump(struct worker *worker)
{
    if (!list_empty(&worker->subscribers))
        return;
    event_begin(worker->heritage->events, &worker->event_cursor);
    event_listen(worker->heritage->events, worker->slot, true);
    uv_timer_start(&worker->pump, pump, PUMP_MS, PUMP_MS);
}

void subscribe_end(struct resp_session *session)
{
    struct subscription *subscription = session->subscription;
    struct worker *worker = session->conn->worker;

    if (subscription == NULL)
        return;
    session->subscription = NULL;
    list_remove(&subscription->link);
    free(subscription);
    if (!list_empty(&worker->subscribers))
        return;
    event_listen(worker->heritage->events, worker->slot, false);
    uv_timer_stop(&worker->pump);
}

/* ---- commands ---- */

static unsigned kind_bit(struct slice channel)
{
    for (unsigned i = 0; i < TELEMETRY_KINDS; i++)
        if (slice_eq(channel, slice_cstr(telemetry_name((enum telemetry_kind)i))))
            return 1u << i;
    return 0;
}

static unsigned kinds_matching(struct slice pattern)
{
    unsigned kinds = 0;

    for (unsigned i = 0; i < TELEMETRY_KINDS; i++)
        if (glob_match(pattern, slice_cstr(telemetry_name((enum telemetry_kind)i))))
            kinds |= 1u << i;
    return kinds;
}

/* The session's subscription, made if need be; NULL: no memory, answered. */
static struct subscription *subscription_of(struct call *call)
{
    struct resp_session *session = call->session;
    struct worker *worker = call->conn->worker;

    if (session->subscription != NULL)
        return session->subscription;
    session->subscription = calloc(1, sizeof(*session->subscription));
    if (session->subscription == NULL) {
        reply_error(call->out, "ERR out of memory");
        return NULL;
    }
    session->subscription->session = session;
    start_pump(worker);
    list_init(&session->subscription->link);
    list_push(&worker->subscribers, &session->subscription->link);
    return session->subscription;
}

/* One change of the set, as Redis confirms it. name.data NULL: there was none. */
static void confirm(struct call *call, const char *what, struct slice name)
{
    (void)!resp_push(call->out, 3, call->session->version);
    reply_bulk(call->out, slice_cstr(what));
    if (name.data == NULL)
        reply_null(call->out, call->session->version);
    else
        reply_bulk(call->out, name);
    reply_integer(call->out, subscribe_count(call->session));
}

void cmd_subscribe(struct call *call)
{
    for (int i = 1; i < call->argc; i++) {
        unsigned bit = kind_bit(call->argv[i]);
        struct subscription *subscription;

        if (bit == 0) {
            reply_error(call->out, "ERR no such channel: cachetastic.cache.get, put, delete, "
                                   "delete_pattern, clear, fetch, fallback");
            continue;
        }
        subscription = subscription_of(call);
        if (subscription == NULL)
            return;
        subscription->channels |= bit;
        confirm(call, "subscribe", call->argv[i]);
    }
}

/* The place of a pattern, or n_patterns. */
static unsigned find_pattern(const struct subscription *subscription, struct slice text)
{
    unsigned i = 0;

    while (
        i < subscription->n_patterns &&
        !slice_eq(text, slice_make(subscription->patterns[i].text, subscription->patterns[i].len)))
        i++;
    return i;
}

static bool add_pattern(struct subscription *subscription, struct slice text)
{
    struct pattern *pattern = &subscription->patterns[subscription->n_patterns];

    if (find_pattern(subscription, text) < subscription->n_patterns)
        return true;
    if (subscription->n_patterns == PATTERNS_MAX)
        return false;
    memcpy(pattern->text, text.data, text.len);
    pattern->len = text.len;
    pattern->kinds = kinds_matching(text);
    subscription->n_patterns++;
    return true;
}

void cmd_psubscribe(struct call *call)
{
    for (int i = 1; i < call->argc; i++) {
        struct slice text = call->argv[i];
        struct subscription *subscription;

        if (text.len > PATTERN_BYTES || kinds_matching(text) == 0) {
            reply_error(call->out,
                        "ERR that pattern (at most %d bytes) matches no channel such as "
                        "cachetastic.cache.get",
                        PATTERN_BYTES);
            continue;
        }
        subscription = subscription_of(call);
        if (subscription == NULL)
            return;
        if (add_pattern(subscription, text))
            confirm(call, "psubscribe", text);
        else
            reply_error(call->out, "ERR a connection has at most %d patterns", PATTERNS_MAX);
    }
}

static void end_if_empty(struct resp_session *session)
{
    if (subscribe_count(session) == 0)
        subscribe_end(session);
}

static void drop_channel(struct call *call, unsigned bit, struct slice name)
{
    if (call->session->subscription != NULL)
        call->session->subscription->channels &= ~bit;
    confirm(call, "unsubscribe", name);
}

void cmd_unsubscribe(struct call *call)
{
    struct subscription *subscription = call->session->subscription;
    unsigned channels = subscription == NULL ? 0 : subscription->channels;

    for (int i = 1; i < call->argc; i++)
        drop_channel(call, kind_bit(call->argv[i]), call->argv[i]);
    if (call->argc == 1 && channels == 0)
        confirm(call, "unsubscribe", (struct slice){0});
    for (unsigned i = 0; call->argc == 1 && i < TELEMETRY_KINDS; i++)
        if (channels & 1u << i)
            drop_channel(call, 1u << i, slice_cstr(telemetry_name((enum telemetry_kind)i)));
    end_if_empty(call->session);
}

static void drop_pattern(struct call *call, struct slice text)
{
    struct subscription *subscription = call->session->subscription;
    unsigned at = subscription == NULL ? 0 : find_pattern(subscription, text);

    if (subscription != NULL && at < subscription->n_patterns) {
        subscription->n_patterns--;
        memmove(&subscription->patterns[at], &subscription->patterns[at + 1],
                (subscription->n_patterns - at) * sizeof(subscription->patterns[0]));
    }
    confirm(call, "punsubscribe", text);
}

void cmd_punsubscribe(struct call *call)
{
    const struct subscription *subscription = call->session->subscription;

    for (int i = 1; i < call->argc; i++)
        drop_pattern(call, call->argv[i]);
    if (call->argc == 1 && (subscription == NULL || subscription->n_patterns == 0))
        confirm(call, "punsubscribe", (struct slice){0});
    while (call->argc == 1 && subscription != NULL && subscription->n_patterns > 0) {
        struct pattern first = subscription->patterns[0];

        drop_pattern(call, slice_make(first.text, first.len));
    }
    end_if_empty(call->session);
}
