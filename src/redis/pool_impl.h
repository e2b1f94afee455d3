/* What pool.c (calls: queue, retries, ends) and member.c (connections: open, write, answer, close)
 * share. */
#ifndef REDIS_POOL_IMPL_H
#define REDIS_POOL_IMPL_H

#include "redis/pool.h"
#include "redis/redis_conn.h"

enum member_state {
    MEMBER_UNUSED, /* never needed yet */
    MEMBER_OPENING,
    MEMBER_READY,
    MEMBER_ENDING,  /* its connection was told to close */
    MEMBER_RESTING, /* until reopen_ms */
};

/* A place for one connection. */
struct member {
    struct pool *pool;
    enum member_state state;
    struct redis_conn *conn; /* in OPENING, READY and ENDING */
    struct list flights;     /* what was written, oldest first */
    unsigned in_flight;      /* commands in it */
    bool late;       /* its oldest command is over its time; nothing arrived since that was seen */
    char run_id[64]; /* of the server, while ready and until the connection's end was dealt with */
    int64_t client_id;
    bool suspect;      /* a call on it was given up, and the server may still run its commands */
    unsigned failures; /* connections opened since one was last ready */
    uint64_t reopen_ms;
};

struct pool {
    uv_loop_t *loop;
    const struct config_redis *config;
    struct breaker *breaker;
    struct incarnation *incarnation; /* NULL: nobody keeps it */
    struct member *members;
    unsigned n_members;
    struct list queue;    /* calls that wait for a ready member; there is none while it holds any */
    struct list resting;  /* calls that wait for retry_at_ms */
    struct list finished; /* calls whose done() is due in the next loop turn */
    unsigned unanswered;  /* commands in queue, resting and flights (PINGs apart) */
    uv_timer_t timer;     /* runs janitor() when the earliest time limit is reached */
    bool armed;
    uint64_t due_ms;
    uv_idle_t deliver; /* active while finished holds any */
    bool down;         /* a failure to connect has been logged, and no success since */
    int down_why;
    bool closing, handles_closing;
    unsigned handles;
    void (*gone)(void *arg);
    void *gone_arg;
    unsigned short seed[3]; /* of nrand48() */
    struct pool_stats stats;
};

/* pool.c */

/* The time on the loop's clock, read now: uv_now() is that of the turn's start, which may be long
 * ago. */
uint64_t pool_now_ms(void);
/* Have the janitor run at this time of the loop's clock, or earlier. */
void pool_due(struct pool *pool, uint64_t at_ms);
/* Between half and the whole of ms, at random, so that processes do not move in step. */
uint64_t pool_jitter(struct pool *pool, uint64_t ms);
/* The call's done() will run with this status in the next loop turn. */
void pool_finish(struct pool_call *call, int status);
/* Put the call to rest until its next try; false when it has no tries or no time left. */
bool pool_retry(struct pool_call *call);
/* It was written and will not be answered: try again if it may be, else finish with this status. */
void pool_call_lost(struct pool_call *call, int status);
/* The last answer has come: call done(), or try again after a passing refusal. */
void pool_call_answered(struct pool_call *call, const struct reply *reply, bool refused);
/* A member is ready: write all that waits. */
void pool_flush_queue(struct pool *pool, struct member *member);
/* A connection could not be had, and none is left: that was a try of every call that waits. */
void pool_queue_tried(struct pool *pool);
/* End every call that is not written: the breaker has opened. */
void pool_refuse_waiting(struct pool *pool);
void pool_maybe_gone(struct pool *pool);

/* member.c */

/* The ready member with the fewest commands in flight; NULL when none is ready. */
struct member *member_pick(struct pool *pool);
/* Open one more, unless one is being opened or none may be now. */
void member_open_one(struct pool *pool);
void member_write(struct member *member, struct pool_call *call);
/* Ask the server whether it is there: on a ready connection, else by opening one. */
void member_probe(struct pool *pool);
/* Time limits of everything in flight, and connections that are to be opened again. */
void member_janitor(struct member *member, uint64_t now_ms);
/* End the connection, and every call on it with ERR_LOST. */
void member_shut(struct member *member);

#endif
