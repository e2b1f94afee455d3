/* Invalidations from other nodes, by Redis pub/sub, applied to shared memory by the master
 * (design.md rule 4). */
#ifndef MASTER_INVALIDATE_H
#define MASTER_INVALIDATE_H

#include "master/state.h"

/* Subscribe, when the configuration asks for it. Until the subscription is confirmed nothing is
 * trusted. */
int invalidate_start(struct master *master, struct errmsg *msg) MUST_CHECK;
/* End the subscription; gone runs from the loop, or at once when there is none. */
void invalidate_stop(struct master *master, void (*gone)(void *arg));

#endif
