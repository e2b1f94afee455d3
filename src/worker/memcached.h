/* What the worker needs of its memcached sessions beside session_memcached (conn.h). */
#ifndef WORKER_MEMCACHED_H
#define WORKER_MEMCACHED_H

#include "worker/worker.h"

/* Clear the caches whose flush_all with a delay is due; called from the tick. */
void memcached_flush_due(struct worker *worker);

#endif
