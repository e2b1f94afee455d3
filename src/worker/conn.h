/* A client connection: bytes in, bytes out, replies in the order of the requests.
 *
 * Input goes to a session (one protocol's state machine), chosen when the listener names a protocol or by the
 * first bytes. A session answers at once into conn_out(), or starts a request that is answered later; replies that come after an
 * unanswered request wait behind it. Writes are gathered: one send for all replies of a loop turn.
 */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include "common/buf.h"
#include "common/list.h"
#include "worker/worker.h"

enum session_result {
    SESSION_MORE,  /* all whole requests were taken; wait for more bytes */
    SESSION_YIELD, /* limits.pipeline_bytes were used up: give others a turn, call again */
    SESSION_WAIT,  /* the next request must wait until a pending one is answered: call again then */
    SESSION_CLOSE, /* send what is in conn_out(), then close */
};

struct conn;

struct session_ops {
    const char *name; /* "resp", "http" */
    int (*open)(struct conn *conn); /* sets conn->session; ERR_NOMEM closes the connection */
    /* Take whole requests from conn->in (buf_consume()). */
    enum session_result (*input)(struct conn *conn);
    void (*close)(struct conn *conn); /* frees conn->session */
};

extern const struct session_ops session_resp;
extern const struct session_ops session_http;

struct conn {
    struct list link; /* worker->conns */
    struct worker *worker;
    const struct config_listener *listener;
    uv_poll_t poll;
    int fd;
    uint64_t id; /* CLIENT ID: unique in the daemon: slot in the low bits */
    const struct session_ops *ops; /* NULL until the protocol is known */
    void *session;
    struct buf in;
    struct buf out;
    struct list pending; /* requests in order */
    unsigned n_pending;
    bool local, loopback; /* unix socket; TCP from a loopback address */
    bool closing;         /* no more input; close when out is sent and nothing is pending */
    bool waiting;         /* SESSION_WAIT */
    uint64_t opened_ms, active_ms; /* boottime of accept, of the last byte in */
    uint64_t header_since_ms; /* HTTP: first byte of an incomplete request head, else 0 */
    char peer[64]; /* "127.0.0.1:4711" or "unix" */
};

/* A request whose reply comes later. The session embeds it in its own struct. */
struct request {
    struct list link;  /* conn->pending */
    struct conn *conn; /* NULL once the connection is gone: the reply is dropped */
    struct buf reply;  /* this request's reply */
    struct buf after;  /* replies of later requests that were answered at once */
    bool finished;
    void (*free)(struct request *request); /* frees the embedding struct, not the bufs */
};

/* Take over an accepted, non-blocking socket. Closes it on failure (limit, memory), with a clear refusal where the
 * protocol is known. */
void conn_open(struct worker *worker, int fd, const struct config_listener *listener);

/* Where a reply that is known now goes. */
struct buf *conn_out(struct conn *conn);

/* Put a zeroed request (with free set) at the end of the pending ones. */
void request_start(struct conn *conn, struct request *request);

/* request->reply is complete: send it as soon as those before it are. May free request before it returns;
 * lets a waiting session go on (on the next turn of the loop). */
void request_finish(struct request *request);

/* Ask that what is in conn->out is sent at the end of this loop turn. */
void conn_flush_later(struct conn *conn);

/* Close now, dropping unsent bytes. Pending requests stay until they finish. */
void conn_abort(struct conn *conn, const char *why);

/* QUIT drain: close idle connections, let the others finish their pending requests. */
void conn_drain_all(struct worker *worker);
/* Every tick: idle and header time limits. */
void conn_check_timeouts(struct worker *worker, uint64_t now_ms);

#endif
