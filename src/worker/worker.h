/* A worker process: one event loop, no threads of its own; nothing on the loop blocks. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "cache/cache.h"
#include "common/list.h"
#include "http/api.h"

#include <uv.h>

/* All state of this process, handed down explicitly. */
struct worker {
    uv_loop_t loop;
    const struct heritage *heritage;
    unsigned slot;
    struct scoreboard_slot *board; /* this slot's */
    struct caches *caches;
    struct api *api;
    struct list conns; /* every open connection */
    unsigned n_conns;
    bool draining;
    uint64_t next_client_id;
    struct list listeners; /* listener.c's */
    uv_poll_t wake;
    uv_poll_t handover;
    uv_poll_t signals; /* a signalfd: QUIT, TERM, USR1 */
    int signal_fd;
    uv_timer_t tick;   /* 100 ms: idle and header time limits, drain */
};

/* The process' main function after fork, called by the master through a pointer. Drops to the configured user,
 * arranges to die with the master, serves until told to stop. Returns the exit status. */
int worker_run(const struct heritage *heritage, unsigned slot);

#endif
