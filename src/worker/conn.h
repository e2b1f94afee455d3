/* A client connection: bytes in, bytes out, replies in the order of the requests.
 *
 * Input goes to a session (one protocol's state machine), chosen when the listener names a protocol
 * or by the first bytes (detect.h). A session answers at once into conn_out(), or starts a request
 * that is answered later; replies that come after an unanswered request wait behind it. Writes are
 * gathered: one send for all replies of a loop turn.
 *
 * Input is read once per readiness, and only after the session has taken all it could: what a
 * client pipelines stays in the kernel while its session yields, waits, or its replies are not
 * being read. A connection ends with a shutdown of our side and a short time in which its input is
 * thrown away, so that a client still sending can read the last reply instead of a reset.
 */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include "common/auth.h"
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
    const char *name;               /* "resp", "http" */
    int (*open)(struct conn *conn); /* sets conn->session; ERR_NOMEM closes the connection */
    /* Take whole requests from conn->in (buf_consume()). */
    enum session_result (*input)(struct conn *conn);
    void (*close)(struct conn *conn); /* frees conn->session */
    /* A guess, before input(): the keys that the requests in conn->in ask for, as they are stored
     * in *cache, at most max; returns how many. Their memory is fetched ahead, nothing else. NULL:
     * none. */
    size_t (*peek)(struct conn *conn, struct cache **cache, struct slice *keys, size_t max);
    /* Whether part of a request has been taken from conn->in and the rest is to come (an upload):
     * the drain waits for it. NULL: never, what is incomplete stays in conn->in. */
    bool (*busy)(const struct conn *conn);
    /* The client has read all but a little of what waited for it: a response that streams can go
     * on. NULL: nothing streams. */
    void (*drained)(struct conn *conn);
    /* The client has ended its side. NULL: what it asked for is still answered. */
    void (*ended)(struct conn *conn);
};

extern const struct session_ops session_resp;
extern const struct session_ops session_http; /* the API */
extern const struct session_ops session_memcached;
extern const struct session_ops session_site; /* the site behind the caching proxy */

struct conn {
    struct list link;  /* worker->conns */
    struct list ready; /* worker->ready: the session goes on at the next turn */
    struct list dirty; /* worker->dirty: flush at the end of this turn */
    struct list fresh; /* worker->fresh: has read in this turn */
    struct worker *worker;
    const struct config_listener *listener;
    const struct config_user *user; /* logged in, or trusted; NULL: nobody (common/auth.h) */
    uv_poll_t poll;
    int events; /* what poll waits for now */
    int fd;
    uint64_t id;                   /* CLIENT ID: unique in the daemon: slot in the low bits */
    const struct session_ops *ops; /* NULL until the protocol is known */
    void *session;
    struct buf in;
    struct buf out;
    struct list pending; /* requests in order */
    unsigned n_pending;
    unsigned n_leases;
    struct list leases; /* holding.c's: given back at its end */
    struct list loans;  /* output.c's: values sent from shared memory, in order */
    unsigned n_loans;
    size_t lent_bytes;         /* of them, unsent */
    size_t held_bytes;         /* waiting behind an unanswered request, the last `after` apart */
    bool local, loopback;      /* unix socket; TCP from a loopback address */
    bool introduced;           /* its PROXY header has been taken */
    struct crowd_place *place; /* its address' (crowd.h); NULL: not counted */
    bool eof;                  /* the client has ended its side */
    bool tunnel;               /* it carries another protocol, which may be silent */
    bool closing;              /* no more input; close when out is sent and nothing is pending */
    bool waiting;              /* SESSION_WAIT */
    bool blocked;              /* the socket took less than we had: wait until it is writable */
    bool lingering; /* our side is shut down; input is thrown away until the client closes */
    bool feeding;   /* inside ops->input(): conn_abort() must wait for its return */
    bool aborted;   /* conn_abort() was called meanwhile */
    bool dead;      /* closed; the memory goes when libuv has let go of the handle */
    uint64_t opened_ms, active_ms; /* boottime of accept, of the last byte in or out */
    uint64_t header_since_ms;      /* HTTP: first byte of an incomplete request head, else 0 */
    uint64_t over_since_ms; /* more than limits.output unsent and nothing taken since, else 0 */
    uint64_t linger_since_ms;
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

/* What connections need of struct worker: once, before the first conn_open(). */
int conn_init(struct worker *worker) MUST_CHECK;

/* Take over an accepted, non-blocking socket. Closes it on failure (limit, memory), with a clear
 * refusal where the protocol is known. */
void conn_open(struct worker *worker, int fd, const struct config_listener *listener);

/* The user that this connection is without a login: a trusted peer's, or NULL. A system call. */
const struct config_user *conn_trusted(const struct conn *conn);
/* Whether its user has all these rights (enum auth_right) on the cache. Sessions ask before every
 * operation; they log in by auth_login() into conn->user. */
static inline bool conn_may(const struct conn *conn, const struct cache *cache, unsigned rights)
{
    return auth_may(conn->worker->heritage->config, conn->user, cache_config(cache), rights);
}

/* Where a reply that is known now goes. */
struct buf *conn_out(struct conn *conn);

/* Whether a value could be sent from shared memory now: no reply is waiting for one before it. */
bool conn_can_lend(const struct conn *conn);

/* The value is next, after the bytes that conn_out() has now. Takes the pin over; ERR_NOMEM has
 * ended it. */
int conn_lend(struct conn *conn, struct pin *pin) MUST_CHECK;

/* Put a zeroed request (with free set) at the end of the pending ones. */
void request_start(struct conn *conn, struct request *request);

/* Where a request's reply grows before it is finished: at the head of the queue straight into what
 * is being sent. */
struct buf *request_out(struct request *request);

/* request->reply is complete: send it as soon as those before it are. May free request before it
 * returns; lets a waiting session go on (on the next turn of the loop). */
void request_finish(struct request *request);

/* More than half of limits.output waits to be sent: a session should stop after the request
 * at hand and return SESSION_YIELD; it is called again when the client has read its replies. */
bool conn_congested(const struct conn *conn);

/* Bytes that wait to be sent, those behind unanswered requests included. */
size_t request_backlog(const struct conn *conn);

/* A request was answered: a session that waits (SESSION_WAIT) goes on at the next turn. */
void conn_resume(struct conn *conn);

/* Ask that what is in conn->out is sent at the end of this loop turn. */
void conn_flush_later(struct conn *conn);

/* Close now, dropping unsent bytes. Pending requests stay until they finish. From inside a
 * session's input(): the connection closes when that returns. why: for the log (debug); NULL says
 * nothing. */
void conn_abort(struct conn *conn, const char *why);

/* QUIT drain, called until worker->n_conns is 0: close idle connections, let the others finish. */
void conn_drain_all(struct worker *worker);
/* Idle, header, slow-reader and linger time limits; called from the tick. */
void conn_check_timeouts(struct worker *worker, uint64_t now_ms);

#endif
