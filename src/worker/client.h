/* What is known of a worker's connections, for CLIENT of this worker's clients and of the others'. */
#ifndef WORKER_CLIENT_H
#define WORKER_CLIENT_H

#include "worker/conn.h"

/* A line each, as CLIENT LIST prints them; only: of one, NULL of all. ERR_NOMEM. */
int client_lines(struct worker *worker, const struct conn *only, struct buf *out) MUST_CHECK;

/* End the connection with this id, or, where id is 0, those from this address. self: not ended but
 * counted, NULL for none. Returns how many. */
uint64_t client_kill(struct worker *worker, struct slice address, uint64_t id,
                     const struct conn *self);

#endif
