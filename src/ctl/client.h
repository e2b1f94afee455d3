/* A blocking RESP client with a time limit: one command, one reply. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "common/buf.h"
#include "common/err.h"
#include "proto/resp.h"

#include <stdint.h>

struct client {
    int fd;
    uint64_t timeout_ms; /* for connecting, and for each command; 0 = none */
    struct buf in;       /* holds the last reply */
    size_t taken;        /* its length */
};

/* path: of a unix socket. ERR_SYSTEM with the path in msg. */
int client_open_unix(struct client *client, const char *path, uint64_t timeout_ms,
                     struct errmsg *msg) MUST_CHECK;
/* address: "HOST:PORT" or "[v6]:PORT". ERR_INVALID, ERR_SYSTEM, ERR_TIMEOUT. */
int client_open_tcp(struct client *client, const char *address, uint64_t timeout_ms,
                    struct errmsg *msg) MUST_CHECK;
void client_close(struct client *client);

/* Send a command and wait for its reply, which may be an error reply. reply: freed with
 * resp_value_fini(), its bytes are valid until the next call. ERR_TIMEOUT, ERR_LOST (the other side
 * closed), ERR_PROTOCOL, ERR_SYSTEM, ERR_NOMEM; the connection is of no use after any of them. */
int client_call(struct client *client, int argc, const struct slice *argv, struct resp_value *reply,
                struct errmsg *msg) MUST_CHECK;

#endif
