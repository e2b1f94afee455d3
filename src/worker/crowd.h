/* How many connections each address has open in this worker, and how fast it opens them: a bucket
 * of tokens an address. IPv6 addresses count by their /64, which is what one client has. */
#ifndef WORKER_CROWD_H
#define WORKER_CROWD_H

#include "common/config.h"

struct crowd;       /* one per worker */
struct crowd_place; /* an address in it; held by each of its connections */

/* NULL: no memory. limits: connections_per_address, connection_rate and connection_burst. */
struct crowd *crowd_create(const struct config_limits *limits);
void crowd_destroy(struct crowd *crowd);

enum crowd_answer {
    CROWD_WELCOME,
    CROWD_TOO_MANY, /* limits.connections_per_address */
    CROWD_TOO_FAST, /* limits.connection_rate */
};

/* A connection from peer ("IP:PORT"). *place: to be given to crowd_leave() when it ends; NULL where
 * nothing is counted: no limits, no address, no memory (a limit must not turn everybody away). */
enum crowd_answer crowd_enter(struct crowd *crowd, const char *peer, uint64_t now_ms,
                              struct crowd_place **place);
void crowd_leave(struct crowd_place *place);
/* Forget addresses that have nothing open and their bucket full. From the tick. */
void crowd_tidy(struct crowd *crowd, uint64_t now_ms);
/* Addresses that are remembered. */
size_t crowd_size(const struct crowd *crowd);

#endif
