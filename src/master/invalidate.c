/* What other machines and other clients of Redis change, to the caches: by messages on the channel
 * and, with redis.tracking, by Redis' own reports. Each of the two can fail alone; entries are
 * trusted without doubt only while both are confirmed. */
#include "master/invalidate.h"

#include "common/config.h"
#include "common/log.h"

static void publish(struct master *master)
{
    bool confirmed =
        master->messages_confirmed && (master->tracking == NULL || master->changes_confirmed);

    atomic_store_explicit(&master->heritage.board->invalidation, confirmed, memory_order_release);
}

/* --- messages --- */

static void on_message(void *arg, const struct message *message)
{
    struct master *master = arg;

    caches_apply(master->caches, message);
}

static void on_lost(void *arg)
{
    struct master *master = arg;

    log_warn("invalidation messages may be missed: older entries are not trusted");
    master->messages_confirmed = false;
    publish(master);
    caches_distrust(master->caches);
}

/* The epoch moves again: entries stored between the loss and now may have missed a message too. */
static void on_confirmed(void *arg)
{
    struct master *master = arg;

    log_info("subscribed to %s", master->config->redis.channel);
    caches_distrust(master->caches);
    master->messages_confirmed = true;
    publish(master);
}

/* --- tracking --- */

static void on_changed(void *arg, struct slice name)
{
    struct master *master = arg;

    caches_changed(master->caches, name);
}

static void on_flushed(void *arg)
{
    struct master *master = arg;

    log_info("a database of Redis was emptied");
    caches_flushed(master->caches);
}

static void on_tracking_lost(void *arg)
{
    struct master *master = arg;

    log_warn("changes by other clients of Redis may be missed: older entries are not trusted");
    master->changes_confirmed = false;
    publish(master);
    caches_distrust(master->caches);
}

static void on_tracking_confirmed(void *arg)
{
    struct master *master = arg;

    log_info("tracking the keys of Redis");
    caches_distrust(master->caches);
    master->changes_confirmed = true;
    publish(master);
}

static int start_tracking(struct master *master, struct errmsg *msg)
{
    struct tracking_events events = {.changed = on_changed,
                                     .flushed = on_flushed,
                                     .lost = on_tracking_lost,
                                     .confirmed = on_tracking_confirmed,
                                     .arg = master};
    struct slice prefixes[CONFIG_MAX_CACHES];
    size_t n = caches_prefixes(master->caches, prefixes);

    if (n == 0)
        return ERR_OK;
    return tracking_create(&master->loop, &master->config->redis, prefixes, n,
                           slice_cstr(master->heritage.node_id), &events, &master->tracking, msg);
}

/* --- start and end --- */

int invalidate_start(struct master *master, struct errmsg *msg)
{
    const struct config_redis *redis = &master->config->redis;
    struct subscriber_events events = {
        .message = on_message, .lost = on_lost, .confirmed = on_confirmed, .arg = master};
    int status;

    if (!redis->enabled || redis->invalidation != ADAPTER_REDIS)
        return ERR_OK;
    status =
        subscriber_create(&master->loop, redis, caches_pool(master->caches),
                          slice_cstr(master->heritage.node_id), &events, &master->subscriber, msg);
    if (status == ERR_OK && redis->tracking)
        status = start_tracking(master, msg);
    return status;
}

static void on_subscriber_gone(void *arg)
{
    struct master *master = arg;

    master->invalidation_gone(master);
}

static void stop_subscriber(void *arg)
{
    struct master *master = arg;
    struct subscriber *subscriber = master->subscriber;

    master->subscriber = NULL;
    if (subscriber == NULL)
        on_subscriber_gone(master);
    else
        subscriber_close(subscriber, on_subscriber_gone, master);
}

void invalidate_stop(struct master *master, void (*gone)(void *arg))
{
    struct tracking *tracking = master->tracking;

    master->tracking = NULL;
    master->invalidation_gone = gone;
    if (tracking == NULL)
        stop_subscriber(master);
    else
        tracking_close(tracking, stop_subscriber, master);
}
