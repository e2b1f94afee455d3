/* A blocking RESP connection with time limits: commands go out, replies come back in order. */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/fdpass.h"
#include "proto/resp.h"

#include <stdbool.h>
#include <stdint.h>

struct wire {
    int fd;              /* -1 = closed */
    uint64_t timeout_ms; /* for connecting, and for each command; 0 = none */
    struct buf out;      /* commands not sent yet */
    struct buf in;       /* holds the last reply */
    size_t taken;        /* its length */
    int fds[FDPASS_MAX]; /* descriptors that came with it, the caller's to close */
    unsigned n_fds;
    bool begun; /* bytes of a reply have come since the last command went out */
};

/* path: of a unix socket. ERR_DOWN with the path in msg and errno set: nobody serves there;
 * ERR_INVALID, ERR_SYSTEM, ERR_TIMEOUT. */
int wire_open_unix(struct wire *wire, const char *path, uint64_t timeout_ms,
                   struct errmsg *msg) MUST_CHECK;
/* address: "HOST:PORT" or "[v6]:PORT". ERR_INVALID, ERR_DOWN, ERR_SYSTEM, ERR_TIMEOUT. */
int wire_open_tcp(struct wire *wire, const char *address, uint64_t timeout_ms,
                  struct errmsg *msg) MUST_CHECK;
void wire_close(struct wire *wire);

/* Put a command behind those not sent yet. ERR_NOMEM: it is not there. */
int wire_add(struct wire *wire, int argc, const struct slice *argv) MUST_CHECK;

/* Send them. ERR_TIMEOUT, ERR_LOST, ERR_SYSTEM: the connection is of no use after any of them. */
int wire_send(struct wire *wire, struct errmsg *msg) MUST_CHECK;

/* Wait for the next reply, which may be an error reply, wait_ms longer than the time limit.
 * reply: freed with resp_value_fini(), its bytes are valid until the next call. ERR_TIMEOUT,
 * ERR_LOST (the other side closed), ERR_PROTOCOL, ERR_SYSTEM, ERR_NOMEM; the connection is of no
 * use after any of them. */
int wire_receive(struct wire *wire, uint64_t wait_ms, struct resp_value *reply,
                 struct errmsg *msg) MUST_CHECK;

/* One command and its reply: the three of them. */
int wire_call(struct wire *wire, int argc, const struct slice *argv, struct resp_value *reply,
              struct errmsg *msg) MUST_CHECK;

/* Whether something has come, or comes within wait_ms: for messages that nobody asked for. */
bool wire_readable(const struct wire *wire, int wait_ms);

/* Whether the other side has closed a connection on which nothing is under way. A system call. */
bool wire_hung_up(const struct wire *wire);

#endif
