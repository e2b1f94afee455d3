#include "master/invalidate.h"

#include "common/config.h"
#include "common/log.h"

static void publish(struct master *master, bool confirmed)
{
    atomic_store_explicit(&master->heritage.board->invalidation, confirmed, memory_order_release);
}

static void on_message(void *arg, const struct message *message)
{
    struct master *master = arg;

    caches_apply(master->caches, message);
}

static void on_lost(void *arg)
{
    struct master *master = arg;

    log_warn("invalidation messages may be missed: older entries are not trusted");
    publish(master, false);
    caches_distrust(master->caches);
}

/* The epoch moves again: entries stored between the loss and now may have missed a message too. */
static void on_confirmed(void *arg)
{
    struct master *master = arg;

    log_info("subscribed to %s", master->config->redis.channel);
    caches_distrust(master->caches);
    publish(master, true);
}

int invalidate_start(struct master *master, struct errmsg *msg)
{
    const struct config_redis *redis = &master->config->redis;
    struct subscriber_events events = {
        .message = on_message, .lost = on_lost, .confirmed = on_confirmed, .arg = master};

    if (!redis->enabled || redis->invalidation != ADAPTER_REDIS)
        return ERR_OK;
    return subscriber_create(&master->loop, redis, caches_pool(master->caches),
                             slice_cstr(master->heritage.node_id), &events, &master->subscriber,
                             msg);
}

void invalidate_stop(struct master *master, void (*gone)(void *arg))
{
    struct subscriber *subscriber = master->subscriber;

    master->subscriber = NULL;
    if (subscriber == NULL)
        gone(master);
    else
        subscriber_close(subscriber, gone, master);
}
