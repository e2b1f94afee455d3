/* One connection that subscribes to the invalidation channel: reconnects with back-off, sends a
 * nonce of its own through another connection every second, and says when messages may have been
 * lost (design rule 4). Master only. */
#ifndef REDIS_SUBSCRIBER_H
#define REDIS_SUBSCRIBER_H

#include "common/config.h"
#include "redis/message.h"
#include "redis/pool.h"

#include <uv.h>

struct subscriber;

struct subscriber_events {
    /* A message of another node (own ones are filtered by node_id, and MESSAGE_NONCE and
     * MESSAGE_OTHER never come here); borrowed for the call. */
    void (*message)(void *arg, const struct message *message);
    /* Messages may have been lost from now on (connection lost, three nonces missed). */
    void (*lost)(void *arg);
    /* The subscription is confirmed; what came before was possibly missed. */
    void (*confirmed)(void *arg);
    void *arg;
};

/* Begins at once and goes on until closed, whether or not there is a server. No event from inside a
 * function of this header. pool: publishes the nonces; borrowed, as is config. node_id: this
 * daemon's, borrowed. events: copied. */
int subscriber_create(uv_loop_t *loop, const struct config_redis *config, struct pool *pool,
                      struct slice node_id, const struct subscriber_events *events,
                      struct subscriber **out, struct errmsg *msg) MUST_CHECK;

struct subscriber_stats {
    uint64_t messages; /* of other nodes, given to the callback */
    uint64_t own;      /* our own, nonces apart */
    uint64_t unknown;  /* with an action of a later version */
    uint64_t malformed;
    uint64_t losses; /* times a confirmed subscription was lost */
    bool confirmed;  /* now */
};
void subscriber_stats(const struct subscriber *subscriber, struct subscriber_stats *out);
/* No event follows; gone runs (from the loop) when the memory is free. A nonce under way is waited
 * for: close the subscriber before the pool (or in the same turn of the loop), and do not stop the
 * loop until both are gone. */
void subscriber_close(struct subscriber *subscriber, void (*gone)(void *arg), void *arg);

#endif
