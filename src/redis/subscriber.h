/* One connection that subscribes to the invalidation channel: reconnects with back-off, sends a nonce of its own through another
 * connection every second, and says when messages may have been lost (design rule 4). Master only. */
#ifndef REDIS_SUBSCRIBER_H
#define REDIS_SUBSCRIBER_H

#include "common/config.h"
#include "redis/message.h"
#include "redis/pool.h"

#include <uv.h>

struct subscriber;

struct subscriber_events {
    /* A message of another node (own ones are filtered by node_id); borrowed for the call. */
    void (*message)(void *arg, const struct message *message);
    /* Messages may have been lost from now on (connection lost, three nonces missed). */
    void (*lost)(void *arg);
    /* The subscription is confirmed; what came before was possibly missed. */
    void (*confirmed)(void *arg);
    void *arg;
};

/* pool: publishes the nonces; borrowed. node_id: this daemon's, borrowed. */
int subscriber_create(uv_loop_t *loop, const struct config_redis *config, struct pool *pool,
                      struct slice node_id, const struct subscriber_events *events,
                      struct subscriber **out, struct errmsg *msg) MUST_CHECK;

struct subscriber_stats {
    uint64_t messages, own, unknown, malformed, losses;
    bool confirmed;
};
void subscriber_stats(const struct subscriber *subscriber, struct subscriber_stats *out);
void subscriber_close(struct subscriber *subscriber, void (*gone)(void *arg), void *arg);

#endif
