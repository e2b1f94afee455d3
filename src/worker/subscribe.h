/* Telemetry subscriptions: SUBSCRIBE cachetastic.cache.get, PSUBSCRIBE cachetastic.cache.*. Each
 * worker that has subscribers reads the ring of events (shm/event.h) every few milliseconds and
 * passes on those they asked for, of caches that their user may read. A subscriber who does not
 * keep up is dropped by limits.output. */
#ifndef WORKER_SUBSCRIBE_H
#define WORKER_SUBSCRIBE_H

#include "worker/conn.h"

struct subscription;
struct resp_session;

/* Channels and patterns together; session->subscription NULL: none. */
unsigned subscribe_count(const struct resp_session *session);
/* End all of them without a word: RESET, or the connection closes. */
void subscribe_end(struct resp_session *session);

#endif
