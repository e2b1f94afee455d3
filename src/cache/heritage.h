/* What a worker inherits from the master through fork, in one struct: made by the master before the
 * first fork, read-only afterwards (what its pointers lead to has rules of its own). */
#ifndef CACHE_HERITAGE_H
#define CACHE_HERITAGE_H

#include "cache/job.h"
#include "common/config.h"
#include "redis/breaker.h"
#include "redis/incarnation.h"
#include "shm/event.h"
#include "shm/health.h"
#include "shm/journal.h"
#include "shm/scoreboard.h"
#include "shm/soft.h"
#include "shm/zone.h"

#include <sys/types.h>

/* One listening socket. TCP: one per worker slot (SO_REUSEPORT); unix: one for all (slot -1). */
struct heritage_socket {
    int fd;
    int slot;
    const struct config_listener *listener;
};

/* Who may map a cache's memory read-only (caches.direct). */
struct heritage_direct {
    bool on;
    int fd;        /* read-only, for workers to hand out */
    uid_t owner;   /* of the memory: could open it for writing */
    uid_t unknown; /* stands for the users of other namespaces */
    uid_t uids[CONFIG_MAX_USERS];
    size_t n_uids; /* 0 = every other user */
};

struct heritage {
    const struct config *config;
    struct scoreboard *board;
    struct journal *journal; /* NULL without Redis */
    struct journal *window; /* keys of acknowledged writes that Redis may still lose; NULL without a
                               loss window */
    struct breaker *breaker;         /* NULL without Redis */
    struct incarnation *incarnation; /* NULL without Redis */
    struct jobs *jobs;
    struct health *health; /* of the routes' servers: [route * CONFIG_MAX_ORIGINS + server] */
    struct soft *soft;                     /* by cache number */
    struct events *events;                 /* telemetry */
    struct zone *zones[CONFIG_MAX_CACHES]; /* by cache number: its place in config->caches */
    struct heritage_direct direct[CONFIG_MAX_CACHES]; /* likewise */
    struct heritage_socket *sockets;
    size_t n_sockets;
    int wake_fds[SCOREBOARD_MAX];        /* an eventfd per slot: "look at the shared state again" */
    int handover_fds[SCOREBOARD_MAX][2]; /* a datagram socket pair per slot: [0] the slot receives
                                            accepted connections here, [1] others send to it */
    bool drop_user;                      /* workers become uid and gid (config->user, group) */
    uid_t uid;
    gid_t gid;
    char node_id[40]; /* this daemon's, in invalidation messages */
};

/* The journal's lock owner id of a worker slot, and of the master. */
#define HERITAGE_OWNER(slot)  ((uint32_t)(slot) + 1)
#define HERITAGE_OWNER_MASTER ((uint32_t)SCOREBOARD_MAX)

#endif
