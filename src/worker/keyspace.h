/* Numbered keyspaces: SELECT n where no cache has resp_db = n.
 *
 * They share the memory of the listener's cache. A key of number n is stored there as a zero byte,
 * the byte n, and the key; a key that begins with a zero byte and is of no number as a zero byte
 * and the key: so no key of one keyspace is one of another. Only on memory caches.
 */
#ifndef WORKER_KEYSPACE_H
#define WORKER_KEYSPACE_H

#include "worker/command.h"

#define KEYSPACE_PREFIX 2 /* bytes before the keys of a numbered one */

/* SELECT n. False: there is none of that number, and it is answered. */
bool keyspace_select(struct call *call, int64_t n);

/* Make the keys in call->argv those that are stored. False: no memory, and it is answered. argv is
 * good until the session's next command. */
bool keyspace_enter(struct call *call);
void keyspace_fini(struct resp_session *session);

/* Whether a client's key is stored as another one even without a number. */
static inline bool keyspace_foreign(struct slice key)
{
    return key.len > 0 && key.data[0] == '\0';
}

/* The client's key that a stored one stands for; false: it is of another keyspace. */
bool keyspace_leave(const struct resp_session *session, struct slice stored, struct slice *key);

/* Whether the session's keyspace is all that its cache has ever held. */
bool keyspace_alone(const struct resp_session *session);

/* Append what every stored key of the session's keyspace begins with; empty without a number. */
int keyspace_prefix(const struct resp_session *session, struct buf *out) MUST_CHECK;

#endif
