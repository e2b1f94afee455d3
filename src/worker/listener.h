/* Accepting: this slot's own TCP sockets, the unix sockets that all workers share, those of a slot without a worker (adopted),
 * and connections handed over by other workers. */
#ifndef WORKER_LISTENER_H
#define WORKER_LISTENER_H

#include "worker/worker.h"

int listener_start(struct worker *worker, struct errmsg *msg) MUST_CHECK;
/* The scoreboard changed: adopt or release other slots' sockets. */
void listener_adopt(struct worker *worker);
/* No more accepting (drain). */
void listener_stop(struct worker *worker);

#endif
