/* Sending what a connection has to say: conn.c's own. */
#ifndef WORKER_OUTPUT_H
#define WORKER_OUTPUT_H

#include "worker/conn.h"

#define LOANS_MAX 16 /* a connection's; later values are copied */

/* One send; what the socket does not take waits for it to become writable (conn->blocked). May end
 * the connection. */
void output_send(struct conn *conn);

/* Bytes of conn->out and of what is lent behind them. */
size_t output_unsent(const struct conn *conn);

/* Called from the tick: what has been lent to a reader that takes nothing for some seconds becomes
 * a copy of the connection's own, under limits.output, so that nobody holds the zone's memory by
 * not reading. */
void output_settle(struct conn *conn, uint64_t now_ms);

void output_fini(struct conn *conn);

#endif
