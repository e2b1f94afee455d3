/* Ties a hiredis context to a libuv loop.
 *
 * Not the adapter that hiredis brings: that of 0.14 ignores a poll error, which is how libuv
 * reports a refused connection, and all of them ask the kernel to watch for writability whenever
 * there is something to write. Here a command only marks the connection; all commands of a loop
 * turn leave in one write just before the loop sleeps, and writability is watched only while
 * connecting and when the socket is full. */
#ifndef REDIS_ADAPTER_H
#define REDIS_ADAPTER_H

#include "common/err.h"

#include <uv.h>

struct redisAsyncContext;

/* The adapter frees itself when hiredis lets go of the context; gone then runs from the loop. */
int adapter_attach(struct redisAsyncContext *context, uv_loop_t *loop, void (*gone)(void *arg),
                   void *arg) MUST_CHECK;

#endif
