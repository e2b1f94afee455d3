/* A worker process: one event loop, no threads of its own; nothing on the loop blocks. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "cache/cache.h"
#include "common/list.h"
#include "http/api.h"
#include "http/proxy.h"

#include <uv.h>

#define WORKER_TICK_MS         100
#define WORKER_SCRATCH_BYTES   65536
#define WORKER_HOLDING_BUCKETS 512 /* a power of two */

/* Exit status of a worker that could not start (nothing a new try would change soon). */
#define WORKER_EXIT_START 2

/* All state of this process, handed down explicitly. */
struct worker {
    uv_loop_t loop;
    const struct heritage *heritage;
    unsigned slot;
    struct scoreboard_slot *board; /* this slot's */
    struct caches *caches;
    struct api *api;
    struct list conns;                                /* every open connection */
    struct holding *holdings[WORKER_HOLDING_BUCKETS]; /* holding.c's: leases by their tokens */
    struct crowd *crowd;                              /* NULL: addresses have no limits */
    struct proxy *proxy;                              /* NULL: there are no routes */
    struct list ready; /* those whose session goes on at the next turn of the loop */
    struct list dirty; /* those with something to send at the end of this turn */
    unsigned n_conns;
    bool draining;
    bool closing; /* drained: waiting for the caches to close */
    uint64_t next_client_id;
    struct list listeners;     /* listener.c's */
    bool accept_paused;        /* listener.c's: no descriptors left, until the next tick */
    uv_idle_t ready_turn;      /* active only while `ready` has members: the loop does not sleep */
    uv_prepare_t flush_before; /* sends what timers and the ready turn answered */
    uv_check_t flush_after;    /* sends what I/O answered */
    uv_poll_t wake;
    uv_poll_t signals; /* a signalfd: QUIT, TERM, USR1 */
    int signal_fd;
    uv_timer_t tick; /* WORKER_TICK_MS: idle and header time limits, drain */
    unsigned ticks;
    struct list subscribers; /* subscribe.c's: connections with telemetry subscriptions */
    uv_timer_t pump;         /* runs while there are any */
    struct event_cursor event_cursor;
    uint64_t events_lost;
    struct list direct;                 /* clients that map a cache's memory (direct.h) */
    struct list fresh;  /* connections that have read, and were not served yet */
    uint64_t turn_ms;   /* boottime: about now, read once for what a turn of the loop does */
    char scratch[WORKER_SCRATCH_BYTES]; /* input lands here first: idle connections own no room */
};

/* A request was answered (sessions call this): for the scoreboard. */
static inline void worker_count_request(struct worker *worker)
{
    uint64_t n = atomic_load_explicit(&worker->board->requests, memory_order_relaxed);

    atomic_store_explicit(&worker->board->requests, n + 1, memory_order_relaxed);
}

/* The process' main function after fork, called by the master through a pointer. Drops to the
 * configured user, arranges to die with the master, serves until told to stop. Returns the exit
 * status. */
int worker_run(const struct heritage *heritage, unsigned slot);

#endif
