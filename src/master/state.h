/* The master's state, in one struct handed to each of its parts. Private to src/master. */
#ifndef MASTER_STATE_H
#define MASTER_STATE_H

#include "cache/cache.h"
#include "master/master.h"
#include "master/pidfile.h"
#include "master/signals.h"
#include "master/sockets.h"
#include "redis/subscriber.h"
#include "redis/tracking.h"
#include "shm/watch.h"

#include <uv.h>

enum master_phase {
    MASTER_STARTING, /* until every slot has served once */
    MASTER_RUNNING,
    MASTER_DRAINING, /* QUIT: workers finish what they have */
    MASTER_STOPPING, /* TERM was sent to the workers */
};

/* What the master alone knows of a worker slot; the rest is on the scoreboard. */
struct master_slot {
    pid_t pid; /* 0 = no process */
    uint64_t started_ms;
    unsigned quick_deaths;  /* in a row */
    uint64_t respawn_at_ms; /* while pid is 0 */
};

struct master {
    const struct master_options *options;
    const struct config *config;
    struct heritage heritage;
    struct sockets sockets;
    struct pidfile pidfile;
    struct signals signals;
    int notify_fd; /* background.h; -1 = in the foreground */
    enum master_phase phase;
    bool failed;                            /* exit status 1 */
    void (*settled)(struct master *master); /* every slot is served by its own worker (again) */
    bool closing; /* the workers are gone; the loop's last users are being closed */
    struct master_slot slots[SCOREBOARD_MAX];

    uv_loop_t loop;
    bool loop_open, channels_open; /* what end() has to undo */
    uv_poll_t signal_poll;
    uv_timer_t sweep;     /* config->sweep_interval_ms */
    uv_timer_t heartbeat; /* zone_heartbeat() */
    uv_timer_t second;    /* the journal's replay */
    uv_timer_t supervise; /* only while a slot is not served by its own worker */
    uv_timer_t deadline;  /* of a drain, and of a stop */

    struct watch *watches[CONFIG_MAX_CACHES]; /* one a zone: locks held for too long */
    struct caches *caches;
    struct subscriber *subscriber; /* NULL without Redis invalidation */
    struct tracking *tracking;     /* NULL without redis.tracking */
    bool messages_confirmed, changes_confirmed;
    void (*invalidation_gone)(void *arg); /* of invalidate_stop() */
};

#endif
