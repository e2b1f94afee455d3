/* From hiredis' reply objects to struct reply, without copying the bytes. */
#ifndef REDIS_REPLY_BUILD_H
#define REDIS_REPLY_BUILD_H

#include "common/err.h"
#include "redis/reply.h"

#include <stddef.h>

struct redisReply;

/* Memory for the items of one reply at a time, used again for the next. Zero is empty. */
struct reply_arena {
    struct reply *items;
    size_t cap;
};

/* out and its items are valid until the next build with this arena, and no longer than raw. Types
 * of RESP3, which we never ask for, become the nearest one of RESP2. ERR_NOMEM leaves out alone. */
int reply_build(struct reply_arena *arena, const struct redisReply *raw,
                struct reply *out) MUST_CHECK;
void reply_arena_fini(struct reply_arena *arena);

#endif
