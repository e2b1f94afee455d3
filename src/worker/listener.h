/* Accepting: this slot's own TCP sockets, the unix sockets that all workers share, those of a slot
 * without a worker (adopted), and connections handed over by other workers.
 *
 * The kernel spreads TCP connections over the slots' SO_REUSEPORT sockets. A unix socket has no
 * such thing: whoever wakes first accepts, and passes the connection to the serving worker with the
 * fewest (SCM_RIGHTS on that slot's handover socket) when that is not itself. */
#ifndef WORKER_LISTENER_H
#define WORKER_LISTENER_H

#include "worker/worker.h"

/* Poll everything that is this slot's. */
int listener_start(struct worker *worker, struct errmsg *msg) MUST_CHECK;
/* This worker serves now: tell the one that has accepted for its slot. */
void listener_claim(struct worker *worker);
/* The scoreboard changed: adopt or release other slots' sockets. */
void listener_adopt(struct worker *worker);
/* Accept again after a pause for lack of descriptors; called from the tick. */
void listener_resume(struct worker *worker);
/* No more accepting (drain): takes what is queued already, then closes this process' listening
 * sockets. */
void listener_stop(struct worker *worker);

/* Who should serve a connection that `self` has accepted on a shared socket: the serving slot with
 * the fewest connections (those on their way to it included), `self` unless another has strictly
 * fewer. */
unsigned listener_choose(const struct scoreboard *board, unsigned self);

#endif
