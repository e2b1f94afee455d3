#include "redis/tracking.h"

#include "common/buf.h"
#include "common/log.h"
#include "redis/redis_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SIGN_MS     1000
#define SIGN_MISSED 3
#define CHANNEL     "__redis__:invalidate" /* where Redis sends to; RESP2 has no other way */

/* In the order in which they follow each other. SUBSCRIBE comes before TRACKING, so that nothing is
 * sent to a connection that does not listen yet. */
enum tracking_state {
    TRACKING_RESTING, /* the timer opens the listener */
    TRACKING_OPENING,
    TRACKING_ASKING_ID,
    TRACKING_SUBSCRIBING,
    TRACKING_OPENING_TRACKER,
    TRACKING_STARTING,  /* CLIENT TRACKING is sent */
    TRACKING_CONFIRMED, /* the timer sends signs of life */
    TRACKING_ENDING,    /* the connections were told to close */
    TRACKING_CLOSED,    /* by tracking_close() */
};

struct tracking {
    uv_loop_t *loop;
    const struct config_redis *config;
    struct tracking_events events;
    enum tracking_state state;
    struct redis_conn *listener;
    struct redis_conn *tracker;
    struct buf prefixes; /* "$6\r\nPREFIX\r\n$..." as it stands in the command */
    size_t n_prefixes;
    struct buf alive; /* the channel of our signs of life, a NUL behind */
    struct buf out;   /* the command being sent */
    uv_timer_t timer;
    unsigned subscribed; /* channels acknowledged */
    unsigned failures;   /* pairs begun since the last confirmation */
    bool down;           /* a failure has been logged, and no confirmation since */
    bool timer_open;
    int64_t id;     /* of the listener, as Redis counts clients */
    char text[256]; /* why the pair ends */
    uint64_t sign_sent, sign_back;
    unsigned short seed[3];
    void (*gone)(void *arg);
    void *gone_arg;
    struct tracking_stats stats;
};

static void on_open_time(uv_timer_t *timer);

/* --- prefixes --- */

static bool covered(const struct slice *prefixes, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (k != i && slice_starts(prefixes[i], prefixes[k]) &&
            (prefixes[k].len < prefixes[i].len || k < i))
            return true;
    return false;
}

size_t tracking_reduce(struct slice *prefixes, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (covered(prefixes, n, i))
            prefixes[i] = prefixes[--n];
        else
            i++;
    }
    return n;
}

/* --- the end --- */

static void maybe_gone(struct tracking *t)
{
    void (*gone)(void *arg) = t->gone;
    void *arg = t->gone_arg;

    if (t->state != TRACKING_CLOSED || t->listener != NULL || t->tracker != NULL || t->timer_open)
        return;
    buf_fini(&t->prefixes);
    buf_fini(&t->alive);
    buf_fini(&t->out);
    free(t);
    if (gone != NULL)
        gone(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct tracking *t = handle->data;

    t->timer_open = false;
    maybe_gone(t);
}

static void rest(struct tracking *t)
{
    uint64_t ms = t->config->reconnect_min_ms;

    for (unsigned i = 1; i < t->failures && ms < t->config->reconnect_max_ms; i++)
        ms *= 2;
    if (ms > t->config->reconnect_max_ms)
        ms = t->config->reconnect_max_ms;
    t->state = TRACKING_RESTING;
    ms = ms - ms / 2 + (uint64_t)nrand48(t->seed) % (ms / 2 + 1);
    uv_timer_start(&t->timer, on_open_time, ms, 0);
}

/* From now on changes pass unheard. */
static void leave_confirmed(struct tracking *t)
{
    if (t->state != TRACKING_CONFIRMED)
        return;
    t->stats.confirmed = false;
    t->stats.losses++;
    t->state = TRACKING_ENDING;
    t->events.lost(t->events.arg);
}

/* One without the other is worth nothing. */
static void end_pair(struct tracking *t, int why, const char *text)
{
    uv_timer_stop(&t->timer);
    leave_confirmed(t);
    if (t->state == TRACKING_CLOSED)
        return; /* lost() closed us */
    t->state = TRACKING_ENDING;
    if (t->listener != NULL)
        redis_conn_close(t->listener, why, text);
    if (t->tracker != NULL)
        redis_conn_close(t->tracker, why, text);
}

static void closed(struct tracking *t, int why, const char *text)
{
    if (t->state == TRACKING_CLOSED) {
        maybe_gone(t);
        return;
    }
    if (!t->down)
        log_warn("the keys of redis %s are not tracked: %s", t->config->server, text);
    t->down = true;
    end_pair(t, why, text);
    if (t->state != TRACKING_CLOSED && t->listener == NULL && t->tracker == NULL)
        rest(t);
}

static void on_listener_closed(void *owner, int why, const char *text)
{
    struct tracking *t = owner;

    t->listener = NULL;
    closed(t, why, text);
}

static void on_tracker_closed(void *owner, int why, const char *text)
{
    struct tracking *t = owner;

    t->tracker = NULL;
    closed(t, why, text);
}

/* --- commands --- */

/* Send what t->out holds. */
static bool send_out(struct tracking *t, struct redis_conn *conn, int encoded)
{
    if (encoded == ERR_OK)
        encoded = buf_append(&t->out, "", 1); /* hiredis looks one byte beyond */
    if (encoded == ERR_OK)
        encoded = redis_conn_send(conn, buf_head(&t->out), buf_len(&t->out) - 1);
    buf_truncate(&t->out, 0);
    return encoded == ERR_OK;
}

static void on_step_timeout(uv_timer_t *timer)
{
    end_pair(timer->data, ERR_TIMEOUT, "no answer within command_timeout");
}

/* The next step, which has to be answered in time. */
static void step(struct tracking *t, enum tracking_state state, bool sent)
{
    if (!sent) {
        end_pair(t, ERR_LOST, "cannot write");
        return;
    }
    t->state = state;
    uv_timer_start(&t->timer, on_step_timeout, t->config->command_timeout_ms, 0);
}

static void ask_id(struct tracking *t)
{
    int rc = buf_printf(&t->out, "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");

    step(t, TRACKING_ASKING_ID, send_out(t, t->listener, rc));
}

static void subscribe(struct tracking *t)
{
    const char *alive = buf_head(&t->alive);
    int rc = buf_printf(&t->out, "*3\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                        strlen(CHANNEL), CHANNEL, strlen(alive), alive);

    t->subscribed = 0;
    step(t, TRACKING_SUBSCRIBING, send_out(t, t->listener, rc));
}

static void start_tracking(struct tracking *t)
{
    char id[24];
    int rc;

    snprintf(id, sizeof(id), "%" PRId64, t->id);
    rc = buf_printf(&t->out,
                    "*%zu\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$8\r\nREDIRECT\r\n"
                    "$%zu\r\n%s\r\n$5\r\nBCAST\r\n",
                    6 + 2 * t->n_prefixes, strlen(id), id);

    if (rc == ERR_OK && t->n_prefixes > 0)
        rc = buf_append(&t->out, buf_head(&t->prefixes), buf_len(&t->prefixes));
    step(t, TRACKING_STARTING, send_out(t, t->tracker, rc));
}

/* --- signs of life: published on the one connection, heard on the other --- */

static void send_sign(struct tracking *t)
{
    const char *alive = buf_head(&t->alive);
    char number[24];
    int rc;

    snprintf(number, sizeof(number), "%" PRIu64, ++t->sign_sent);
    rc = buf_printf(&t->out, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(alive),
                    alive, strlen(number), number);
    if (!send_out(t, t->tracker, rc))
        end_pair(t, ERR_LOST, "cannot write");
}

static void on_sign_time(uv_timer_t *timer)
{
    struct tracking *t = timer->data;

    if (t->sign_sent - t->sign_back >= SIGN_MISSED)
        end_pair(t, ERR_TIMEOUT, "no sign of life from a connection of the pair");
    else
        send_sign(t);
}

static void on_sign(struct tracking *t, struct slice text)
{
    char number[24];
    uint64_t sign;

    if (text.len >= sizeof(number))
        return;
    memcpy(number, text.data, text.len);
    number[text.len] = '\0';
    sign = strtoull(number, NULL, 10);
    if (sign > t->sign_back && sign <= t->sign_sent)
        t->sign_back = sign;
}

/* --- what the listener hears --- */

static void on_changes(struct tracking *t, const struct reply *names)
{
    if (names->type != REPLY_ARRAY) {
        t->stats.flushes++;
        t->events.flushed(t->events.arg);
        return;
    }
    for (size_t i = 0; i < names->n_items && t->state != TRACKING_CLOSED; i++) {
        t->stats.changes++;
        t->events.changed(t->events.arg, names->items[i].str);
    }
}

static const struct redis_conn_events tracker_events;

static void open_tracker(struct tracking *t)
{
    t->tracker = redis_conn_open(t->loop, t->config, &tracker_events, t);
    if (t->tracker == NULL) {
        end_pair(t, ERR_NOMEM, "no memory");
        return;
    }
    uv_timer_stop(&t->timer); /* opening has a time limit of its own */
    t->state = TRACKING_OPENING_TRACKER;
}

static void on_listener_array(struct tracking *t, const struct reply *items)
{
    if (slice_eq(items[0].str, SLICE_LIT("subscribe"))) {
        if (t->state == TRACKING_SUBSCRIBING && ++t->subscribed == 2)
            open_tracker(t);
    } else if (slice_eq(items[1].str, SLICE_LIT(CHANNEL))) {
        on_changes(t, &items[2]);
    } else {
        on_sign(t, items[2].str);
    }
}

static void on_listener_reply(void *owner, const struct reply *reply)
{
    struct tracking *t = owner;

    if (t->state == TRACKING_CLOSED || t->state == TRACKING_ENDING)
        return;
    if (t->state == TRACKING_ASKING_ID && reply->type == REPLY_INTEGER) {
        t->id = reply->integer;
        subscribe(t);
    } else if (reply->type == REPLY_ARRAY && reply->n_items == 3) {
        on_listener_array(t, reply->items);
    } else if (reply->type == REPLY_ERROR) {
        snprintf(t->text, sizeof(t->text), "%.*s", (int)reply->str.len, reply->str.data);
        end_pair(t, ERR_REMOTE, t->text);
    } else {
        end_pair(t, ERR_PROTOCOL, "what came is neither a message nor an acknowledgement");
    }
}

static void on_listener_ready(void *owner)
{
    struct tracking *t = owner;

    if (t->state == TRACKING_OPENING)
        ask_id(t);
}

static const struct redis_conn_events listener_events = {on_listener_ready, on_listener_reply,
                                                         on_listener_closed};

/* --- what the tracker is answered --- */

static void on_tracker_ready(void *owner)
{
    struct tracking *t = owner;

    if (t->state == TRACKING_OPENING_TRACKER)
        start_tracking(t);
}

static void confirm(struct tracking *t)
{
    t->state = TRACKING_CONFIRMED;
    t->stats.confirmed = true;
    t->failures = 0;
    t->sign_back = t->sign_sent;
    uv_timer_start(&t->timer, on_sign_time, SIGN_MS, SIGN_MS);
    if (t->down)
        log_info("the keys of redis %s are tracked again", t->config->server);
    t->down = false;
    t->events.confirmed(t->events.arg);
    if (t->state == TRACKING_CONFIRMED)
        send_sign(t);
}

static void on_tracker_reply(void *owner, const struct reply *reply)
{
    struct tracking *t = owner;

    if (t->state == TRACKING_CLOSED || t->state == TRACKING_ENDING)
        return;
    if (reply->type == REPLY_ERROR) {
        snprintf(t->text, sizeof(t->text), "%.*s", (int)reply->str.len, reply->str.data);
        end_pair(t, ERR_REMOTE, t->text);
    } else if (t->state == TRACKING_STARTING) {
        confirm(t);
    }
}

static const struct redis_conn_events tracker_events = {on_tracker_ready, on_tracker_reply,
                                                        on_tracker_closed};

/* --- the interface --- */

static void on_open_time(uv_timer_t *timer)
{
    struct tracking *t = timer->data;

    t->failures++; /* until it is confirmed */
    t->listener = redis_conn_open(t->loop, t->config, &listener_events, t);
    if (t->listener == NULL)
        rest(t);
    else
        t->state = TRACKING_OPENING;
}

static int encode_prefixes(struct tracking *t, const struct slice *prefixes, size_t n)
{
    struct slice *kept = malloc((n + 1) * sizeof(*kept));
    int rc = kept == NULL ? ERR_NOMEM : ERR_OK;

    if (kept != NULL && n > 0)
        memcpy(kept, prefixes, n * sizeof(*kept));
    n = kept == NULL ? 0 : tracking_reduce(kept, n);
    /* All keys are asked for by naming no prefix. */
    if (n == 1 && kept[0].len == 0)
        n = 0;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        rc = buf_printf(&t->prefixes, "$6\r\nPREFIX\r\n$%zu\r\n", kept[i].len);
        if (rc == ERR_OK)
            rc = buf_append(&t->prefixes, kept[i].data, kept[i].len);
        if (rc == ERR_OK)
            rc = buf_append(&t->prefixes, "\r\n", 2);
    }
    t->n_prefixes = n;
    free(kept);
    return rc;
}

int tracking_create(uv_loop_t *loop, const struct config_redis *config,
                    const struct slice *prefixes, size_t n, struct slice node_id,
                    const struct tracking_events *events, struct tracking **out, struct errmsg *msg)
{
    struct tracking *t;
    uint64_t seed = uv_hrtime() ^ (uint64_t)getpid() << 32;
    int status = redis_conn_check_server(config->server, msg);

    if (status != ERR_OK)
        return status;
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return err_set(msg, ERR_NOMEM, "no memory to track keys");
    t->loop = loop;
    t->config = config;
    t->events = *events;
    memcpy(t->seed, &seed, sizeof(t->seed));
    if (encode_prefixes(t, prefixes, n) != ERR_OK ||
        buf_printf(&t->alive, "%s:%.*s", config->channel, (int)node_id.len, node_id.data) !=
            ERR_OK ||
        buf_append(&t->alive, "", 1) != ERR_OK) {
        buf_fini(&t->prefixes);
        buf_fini(&t->alive);
        free(t);
        return err_set(msg, ERR_NOMEM, "no memory to track keys");
    }
    uv_timer_init(loop, &t->timer);
    t->timer.data = t;
    t->timer_open = true;
    uv_timer_start(&t->timer, on_open_time, 0, 0);
    *out = t;
    return ERR_OK;
}

void tracking_stats(const struct tracking *tracking, struct tracking_stats *out)
{
    *out = tracking->stats;
}

void tracking_close(struct tracking *tracking, void (*gone)(void *arg), void *arg)
{
    tracking->gone = gone;
    tracking->gone_arg = arg;
    tracking->state = TRACKING_CLOSED;
    tracking->stats.confirmed = false;
    if (tracking->listener != NULL)
        redis_conn_close(tracking->listener, ERR_DOWN, "the daemon ends");
    if (tracking->tracker != NULL)
        redis_conn_close(tracking->tracker, ERR_DOWN, "the daemon ends");
    uv_close((uv_handle_t *)&tracking->timer, on_timer_closed);
}
