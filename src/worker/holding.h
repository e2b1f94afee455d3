/* The leases that connections hold (cache_fetch()): a connection that closes gives back those it
 * has not ended. A lease may be ended by another connection than the one that got it, since clients
 * keep pools: where that is one of the same worker it is no longer held here; where it is not,
 * giving it back later finds it ended and does nothing.
 *
 * One process, one loop, no locks. A connection holds at most limits.leases.
 */
#ifndef WORKER_HOLDING_H
#define WORKER_HOLDING_H

#include "worker/conn.h"

/* Whether the connection may hold one more. Forgets those past their deadline first. */
bool holding_room(struct conn *conn);

/* The connection holds the lease `token` of key (copied) until until_ms, boottime. ERR_NOMEM;
 * ERR_LIMIT without room. */
int holding_add(struct conn *conn, struct cache *cache, struct slice key, uint64_t token,
                uint64_t until_ms) MUST_CHECK;

/* The lease is being ended by a fill or a fail: nobody has to give it back. */
void holding_end(struct worker *worker, uint64_t token);

/* The connection stores the key: whatever lease of it it holds is over. */
void holding_end_key(struct conn *conn, const struct cache *cache, struct slice key);

/* The connection closes: give back what it holds. */
void holding_close(struct conn *conn);

#endif
