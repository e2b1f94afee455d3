/* Clients that map a cache's memory read-only (shm/reader.h): who may, and the access rings they
 * write what they read into. One a connection; the ring goes with it. */
#ifndef WORKER_DIRECT_H
#define WORKER_DIRECT_H

#include "worker/worker.h"

struct conn;
struct direct; /* one client's ring, mapped */

/* Whether the process at the other end of conn may map this cache; NULL: it may, else a sentence
 * that says why not and which key changes it. A system call. */
const char *direct_refusal(const struct conn *conn, const struct cache *cache);

/* Make a ring for a client of this cache. fds: the cache's memory (the daemon's, not to be closed)
 * and the ring (the caller closes it). */
int direct_open(struct worker *worker, struct cache *cache, struct direct **out, int fds[2],
                struct errmsg *msg) MUST_CHECK;
void direct_close(struct direct *direct); /* NULL is fine */

/* Take what all rings hold; called from the tick. */
void direct_drain(struct worker *worker);

#endif
