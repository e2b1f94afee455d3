/* Who a connection is from, before anything it says counts: the PROXY header of a listener that
 * asks for one, and the limits of its address. */
#ifndef WORKER_INTRO_H
#define WORKER_INTRO_H

#include "worker/conn.h"

/* Whether the address of the connection's peer may have one more; if not, why. Trusted proxies and
 * unix sockets are not counted. */
bool intro_admit(struct conn *conn, const char **why);

/* Take the header off conn->in, where the listener wants one and has not had it. PARSE_OK: what
 * follows is the client's; PARSE_MORE: not complete; anything else: close it, *why says. */
enum parse_status intro_take(struct conn *conn, const char **why);

#endif
