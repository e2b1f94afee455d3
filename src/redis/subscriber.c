#include "redis/subscriber.h"

#include "common/log.h"
#include "redis/redis_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NONCE_MS     1000
#define NONCE_MISSED 3
#define NONCE_LEN    20

enum subscriber_state {
    SUBSCRIBER_RESTING, /* the timer opens the connection */
    SUBSCRIBER_OPENING,
    SUBSCRIBER_ASKING,    /* SUBSCRIBE is sent; the timer bounds the wait */
    SUBSCRIBER_CONFIRMED, /* the timer sends nonces */
    SUBSCRIBER_ENDING,    /* the connection was told to close */
    SUBSCRIBER_CLOSED,    /* by subscriber_close() */
};

struct subscriber {
    uv_loop_t *loop;
    const struct config_redis *config;
    struct pool *pool;
    struct slice node_id;
    struct subscriber_events events;
    enum subscriber_state state;
    struct redis_conn *conn;
    struct buf subscribe; /* the command, encoded, and a NUL */
    uv_timer_t timer;
    unsigned failures; /* connections opened since the last confirmation */
    bool down;         /* a failure has been logged, and no confirmation since */
    unsigned short seed[3];
    /* Nonces are numbered; those sent and not come back yet are the missed ones. */
    uint64_t nonce_sent, nonce_back;
    struct pool_call nonce_call;
    struct buf nonce_json; /* not empty while nonce_call is the pool's */
    bool nonce_busy;
    bool timer_open;
    void (*gone)(void *arg);
    void *gone_arg;
    struct subscriber_stats stats;
};

static void on_open_time(uv_timer_t *timer);

/* --- the end --- */

static void maybe_gone(struct subscriber *s)
{
    void (*gone)(void *arg) = s->gone;
    void *arg = s->gone_arg;

    if (s->state != SUBSCRIBER_CLOSED || s->conn != NULL || s->nonce_busy || s->timer_open)
        return;
    buf_fini(&s->nonce_json);
    buf_fini(&s->subscribe);
    free(s);
    if (gone != NULL)
        gone(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct subscriber *s = handle->data;

    s->timer_open = false;
    maybe_gone(s);
}

/* --- loss --- */

static void rest(struct subscriber *s)
{
    uint64_t ms = s->config->reconnect_min_ms;

    for (unsigned i = 1; i < s->failures && ms < s->config->reconnect_max_ms; i++)
        ms *= 2;
    if (ms > s->config->reconnect_max_ms)
        ms = s->config->reconnect_max_ms;
    s->state = SUBSCRIBER_RESTING;
    ms = ms - ms / 2 + (uint64_t)nrand48(s->seed) % (ms / 2 + 1);
    uv_timer_start(&s->timer, on_open_time, ms, 0);
}

/* From now on messages pass unheard. */
static void leave_confirmed(struct subscriber *s)
{
    if (s->state != SUBSCRIBER_CONFIRMED)
        return;
    s->stats.confirmed = false;
    s->stats.losses++;
    s->state = SUBSCRIBER_ENDING;
    s->events.lost(s->events.arg);
}

static void end_conn(struct subscriber *s, int why, const char *text)
{
    uv_timer_stop(&s->timer);
    leave_confirmed(s);
    if (s->state == SUBSCRIBER_CLOSED)
        return; /* lost() closed us */
    s->state = SUBSCRIBER_ENDING;
    redis_conn_close(s->conn, why, text);
}

static void on_closed(void *owner, int why, const char *text)
{
    struct subscriber *s = owner;

    (void)why;
    s->conn = NULL;
    if (s->state != SUBSCRIBER_CLOSED)
        leave_confirmed(s);
    if (s->state == SUBSCRIBER_CLOSED) {
        maybe_gone(s);
        return;
    }
    if (!s->down)
        log_warn("no invalidation messages from redis %s: %s", s->config->server, text);
    s->down = true;
    rest(s);
}

/* --- nonces --- */

static void on_nonce_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct subscriber *s = LIST_ENTRY(call, struct subscriber, nonce_call);

    /* A nonce that could not be published is missed like one that was not heard. */
    (void)status;
    (void)reply;
    s->nonce_busy = false;
    buf_truncate(&s->nonce_json, 0);
    maybe_gone(s);
}

static void publish_nonce(struct subscriber *s)
{
    char number[NONCE_LEN + 1];
    struct slice argv[] = {SLICE_LIT("PUBLISH"), slice_cstr(s->config->channel), SLICE_LIT("")};
    struct pool_command command = {3, argv};

    s->nonce_sent++;
    if (s->nonce_busy)
        return; /* the one before is still on its way */
    snprintf(number, sizeof(number), "%" PRIu64, s->nonce_sent);
    if (message_encode(MESSAGE_NONCE, SLICE_LIT("default"), slice_cstr(number), s->node_id,
                       &s->nonce_json) != ERR_OK)
        return;
    argv[2] = buf_slice(&s->nonce_json);
    s->nonce_busy = true;
    s->nonce_call = (struct pool_call){.done = on_nonce_done};
    pool_send(s->pool, &s->nonce_call, &command, 1);
}

static void on_nonce_time(uv_timer_t *timer)
{
    struct subscriber *s = timer->data;

    if (s->nonce_sent - s->nonce_back >= NONCE_MISSED)
        end_conn(s, ERR_TIMEOUT, "our own messages do not come back");
    else
        publish_nonce(s);
}

static void on_own(struct subscriber *s, const struct message *message)
{
    uint64_t number;

    if (message->action != MESSAGE_NONCE) {
        s->stats.own++;
        return;
    }
    number = strtoull(message->key, NULL, 10);
    if (number > s->nonce_back && number <= s->nonce_sent)
        s->nonce_back = number;
}

/* --- messages --- */

static void on_message(struct subscriber *s, struct slice json)
{
    struct message message;

    if (message_decode(json, &message) != ERR_OK) {
        s->stats.malformed++;
        log_debug("malformed invalidation message of %zu bytes", json.len);
        return;
    }
    if (slice_eq(slice_cstr(message.node_id), s->node_id)) {
        on_own(s, &message);
    } else if (message.action == MESSAGE_OTHER) {
        s->stats.unknown++;
    } else if (message.action !=
               MESSAGE_NONCE) { /* other daemons' signs of life are none of ours */
        s->stats.messages++;
        s->events.message(s->events.arg, &message);
    }
    message_fini(&message);
}

static void on_subscribed(struct subscriber *s)
{
    s->state = SUBSCRIBER_CONFIRMED;
    s->stats.confirmed = true;
    s->failures = 0;
    s->nonce_back = s->nonce_sent;
    uv_timer_start(&s->timer, on_nonce_time, NONCE_MS, NONCE_MS);
    if (s->down)
        log_info("invalidation messages from redis %s again", s->config->server);
    s->down = false;
    s->events.confirmed(s->events.arg);
    if (s->state == SUBSCRIBER_CONFIRMED)
        publish_nonce(s);
}

static void on_reply(void *owner, const struct reply *reply)
{
    struct subscriber *s = owner;
    const struct reply *items = reply->items;

    if (reply->type != REPLY_ARRAY || reply->n_items != 3)
        end_conn(s, ERR_PROTOCOL, "what came is neither a message nor an acknowledgement");
    else if (s->state == SUBSCRIBER_ASKING && slice_eq(items[0].str, SLICE_LIT("subscribe")))
        on_subscribed(s);
    else if (s->state == SUBSCRIBER_CONFIRMED && slice_eq(items[0].str, SLICE_LIT("message")))
        on_message(s, items[2].str);
}

/* --- the connection --- */

static void on_ask_timeout(uv_timer_t *timer)
{
    end_conn(timer->data, ERR_TIMEOUT, "SUBSCRIBE is not answered");
}

static void on_ready(void *owner)
{
    struct subscriber *s = owner;

    if (s->state != SUBSCRIBER_OPENING)
        return;
    if (redis_conn_send(s->conn, buf_head(&s->subscribe), buf_len(&s->subscribe) - 1) != ERR_OK) {
        end_conn(s, ERR_LOST, "cannot subscribe");
        return;
    }
    s->state = SUBSCRIBER_ASKING;
    uv_timer_start(&s->timer, on_ask_timeout, s->config->command_timeout_ms, 0);
}

static const struct redis_conn_events conn_events = {on_ready, on_reply, on_closed};

static void on_open_time(uv_timer_t *timer)
{
    struct subscriber *s = timer->data;

    s->failures++; /* until it is confirmed */
    s->conn = redis_conn_open(s->loop, s->config, &conn_events, s);
    if (s->conn == NULL)
        rest(s);
    else
        s->state = SUBSCRIBER_OPENING;
}

/* --- the interface --- */

static int encode_subscribe(struct subscriber *s)
{
    const char *channel = s->config->channel;
    int status;

    status = buf_printf(&s->subscribe, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n", strlen(channel),
                        channel);
    if (status == ERR_OK)
        status = buf_append(&s->subscribe, "", 1); /* hiredis looks one byte beyond */
    return status;
}

int subscriber_create(uv_loop_t *loop, const struct config_redis *config, struct pool *pool,
                      struct slice node_id, const struct subscriber_events *events,
                      struct subscriber **out, struct errmsg *msg)
{
    struct subscriber *s;
    uint64_t seed = uv_hrtime() ^ (uint64_t)getpid() << 32;
    int status = redis_conn_check_server(config->server, msg);

    if (status != ERR_OK)
        return status;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the subscriber");
    s->loop = loop;
    s->config = config;
    s->pool = pool;
    s->node_id = node_id;
    s->events = *events;
    memcpy(s->seed, &seed, sizeof(s->seed));
    if (encode_subscribe(s) != ERR_OK) {
        buf_fini(&s->subscribe);
        free(s);
        return err_set(msg, ERR_NOMEM, "no memory for the subscriber");
    }
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    s->timer_open = true;
    uv_timer_start(&s->timer, on_open_time, 0, 0);
    *out = s;
    return ERR_OK;
}

void subscriber_stats(const struct subscriber *subscriber, struct subscriber_stats *out)
{
    *out = subscriber->stats;
}

void subscriber_close(struct subscriber *subscriber, void (*gone)(void *arg), void *arg)
{
    subscriber->gone = gone;
    subscriber->gone_arg = arg;
    subscriber->state = SUBSCRIBER_CLOSED;
    subscriber->stats.confirmed = false;
    if (subscriber->conn != NULL)
        redis_conn_close(subscriber->conn, ERR_DOWN, "the subscriber closes");
    uv_close((uv_handle_t *)&subscriber->timer, on_timer_closed);
}
