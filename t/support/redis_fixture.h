/* A loop, a breaker and a pool for tests, and calls that remember what became of them. */
#ifndef SUPPORT_REDIS_FIXTURE_H
#define SUPPORT_REDIS_FIXTURE_H

#include "redis/pool.h"

#include <stdbool.h>

struct redis_fixture {
    uv_loop_t loop;
    uv_timer_t heart; /* so that no turn of the loop sleeps for long */
    struct config_redis config;
    struct breaker *breaker;
    struct pool *pool;
    bool gone;
};

/* A configuration with short times for this server. The breaker opens after three failures, for 300
 * ms. */
void redis_fixture_init(struct redis_fixture *fixture, const char *server);
/* After changes to the configuration. */
void redis_fixture_open(struct redis_fixture *fixture);
void redis_fixture_close(struct redis_fixture *fixture); /* the pool, and waits for gone */
void redis_fixture_fini(struct redis_fixture *fixture);

/* Turn the loop until *done is true; fails the test after ten seconds. */
void redis_fixture_until(struct redis_fixture *fixture, const bool *done);
void redis_fixture_until_count(struct redis_fixture *fixture, const unsigned *count,
                               unsigned target);
void redis_fixture_sleep(struct redis_fixture *fixture, unsigned ms);

#define REPLY_ITEMS 8

struct redis_call {
    struct pool_call call;
    bool done;
    int status;
    enum reply_type type;
    char text[64]; /* the start of str */
    size_t len;
    int64_t integer;
    size_t n_items;
    struct {
        enum reply_type type;
        char text[64];
        int64_t integer;
    } items[REPLY_ITEMS];
    unsigned *counter; /* raised when done; may be NULL */
};

/* Send one command, its arguments separated by single spaces. */
void redis_call_send(struct redis_fixture *fixture, struct redis_call *call, const char *command);
/* Send several back to back: a NULL-terminated list of such. */
void redis_call_send_batch(struct redis_fixture *fixture, struct redis_call *call,
                           const char *const *commands);
/* Send and wait. */
void redis_call_run(struct redis_fixture *fixture, struct redis_call *call, const char *command);
void redis_call_expect(const struct redis_call *call, int status, enum reply_type type,
                       const char *text);
/* Its done() as above, for calls that are sent by other means. */
void redis_call_done(struct pool_call *call, int status, const struct reply *reply);

#endif
