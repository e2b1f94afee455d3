/* One connection to a Redis server, from the resolution of its name to its end: connect (each
 * address of the name in turn), log in (AUTH, CLIENT SETNAME and ID, INFO, SELECT, PING), exchange, close. Never
 * reconnects: that is for its owner, who opens another.
 *
 * Everything up to the answer to the PING has to happen within connect_timeout_ms; so a server that
 * accepts and does not answer, or that is loading, is not "ready". */
#ifndef REDIS_REDIS_CONN_H
#define REDIS_REDIS_CONN_H

#include "common/config.h"
#include "common/err.h"
#include "redis/reply.h"

#include <stdbool.h>
#include <uv.h>

struct redis_conn;

/* Called from the loop, never from inside a function of this header. */
struct redis_conn_events {
    void (*ready)(void *owner);
    /* The next answer, in the order of the commands; for a subscriber also each message. Borrowed.
     */
    void (*reply)(void *owner, const struct reply *reply);
    /* It is over, for whatever reason, and its memory is gone. Exactly once; no other event
     * follows. why: what redis_conn_close() was given, or ERR_DOWN not reachable, ERR_TIMEOUT not
     * ready in time, ERR_REMOTE login refused, ERR_LOST ended when ready. text: for people. */
    void (*closed)(void *owner, int why, const char *text);
};

/* Whether "HOST:PORT", "[IPv6]:PORT" or "unix:PATH" can be understood: ERR_OK or ERR_INVALID. */
int redis_conn_check_server(const char *server, struct errmsg *msg) MUST_CHECK;

/* Begin. config and events are borrowed for as long as the connection lives. NULL: no memory. */
struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct config_redis *config,
                                   const struct redis_conn_events *events, void *owner) MUST_CHECK;

/* Who is at the other end, once ready; borrowed. "" where the server does not say (INFO is not
 * allowed to our user). */
struct slice redis_conn_run_id(const struct redis_conn *conn);
/* What the server calls this connection; 0 where it does not say. */
int64_t redis_conn_client_id(const struct redis_conn *conn);

bool redis_conn_is_ready(const struct redis_conn *conn);

/* Hand over one encoded command, to be written at the end of this loop turn; bytes[len] must be
 * readable and 0. Only when ready; ERR_DOWN otherwise. */
int redis_conn_send(struct redis_conn *conn, const char *bytes, size_t len) MUST_CHECK;

/* End it now; closed follows. Nothing when it is ending already. text: copied. */
void redis_conn_close(struct redis_conn *conn, int why, const char *text);

#endif
