/* Memcached clients: one connection's state, and the tasks that its three protocols (text, meta,
 * binary) are made of. A protocol fills in a task, task_run() does it, at once or parked, and the
 * task's form composes the reply. */
#ifndef WORKER_MEMCACHED_H
#define WORKER_MEMCACHED_H

#include "proto/memcached.h"
#include "proto/memcached_binary.h"
#include "worker/conn.h"

/* What clients choose features by; the protocol is that of this memcached. */
#define MEMCACHED_RELEASE "1.6.18"

struct memcached_session {
    struct conn *conn;
    struct memcached_limits limits;
    struct cache *cache;
    uint64_t skip;              /* bytes of input to be thrown away */
    unsigned reading, changing; /* parked tasks: that only read, and others */
    struct buf value;           /* of tasks that are done at once */
    struct memcached_meta meta; /* of the request at hand */
    bool sasl;                  /* AUTH without data has come: STEP brings it */
};

enum task_kind {
    TASK_READ,
    TASK_STORE,  /* without conditions */
    TASK_CHANGE, /* cache_change() */
    TASK_REMOVE, /* likewise */
    TASK_CLEAR,
};

struct task;

/* How a protocol answers. */
struct task_form {
    /* What stands before a value of len bytes that is copied straight into the reply. NULL: the
     * value goes into task->value first. */
    int (*head)(struct task *task, struct buf *out, size_t len);
    size_t tail; /* bytes of CR LF behind such a value */
    /* The reply, or what of it is not there yet (task->placed), into task->out. */
    int (*answer)(struct task *task, enum cache_status status);
};

struct task {
    /* The order. Slices are borrowed for the call; of a parked task they are its own. */
    enum task_kind kind;
    struct cache *cache;
    struct slice key, value;
    struct cache_attrs attrs;   /* STORE */
    struct cache_change change; /* CHANGE */
    bool want_value, want_unique;
    bool touch;         /* READ: attrs.expires_ms is the new expiry */
    bool vivify;        /* READ: a miss is a lease for the first who asks */
    bool recache;       /* READ: and so is a value with less than early_ms left */
    bool honours_marks; /* READ: and one that is marked as stale */
    uint64_t lease_ms, early_ms, wait_ms;
    /* How it is answered. */
    const struct task_form *form;
    enum memcached_verb verb;
    bool noreply;
    struct memcached_meta *meta; /* NULL: none */
    struct memcached_binary binary;
    /* What came of it. */
    struct cache_info info;
    int64_t integer;
    struct cache_changed became; /* unique: of READ and STORE too */
    struct slice found;          /* the value, where it was not placed */
    bool placed;                 /* it is in the reply */
    bool won, lost;              /* the lease is the client's; another has it */
    bool empty;                  /* READ: there is no value, but a lease */
    const char *error;           /* for people; "" = cache_status_text() */
    /* task_run()'s own. */
    struct conn *conn; /* NULL: gone */
    struct buf *out, *taken;
    struct cache_sink sink;
    size_t mark;
    int stage;
};

/* Whether a task may begin now, or others of this connection must end first. */
bool task_may_begin(const struct memcached_session *session, bool reads);

/* Do it, and answer: now, or later. The task need not outlive the call. */
void task_run(struct memcached_session *session, struct task *task);

/* An expiry as clients send it, in ms of boottime; 0 = none. */
uint64_t task_expires_ms(int64_t exptime);

/* memcached's sentence for a failure; out: at least 320 bytes, used where it takes some. */
const char *task_failure(const struct task *task, enum cache_status status, char out[320]);

/* ---- the protocols ---- */

/* Do one parsed request; SESSION_MORE, or SESSION_WAIT: others must end first, nothing was done. */
enum session_result memcached_text(struct memcached_session *session,
                                   const struct memcached_request *request);
enum session_result memcached_meta(struct memcached_session *session,
                                   const struct memcached_request *request);
enum session_result memcached_binary(struct memcached_session *session,
                                     const struct memcached_request *request,
                                     const struct memcached_binary *binary);

/* ---- what they share beside (memcached_server.c) ---- */

/* Whether the client has to log in first. */
bool memcached_must_log_in(const struct memcached_session *session);
/* "user password", or SASL PLAIN's data. */
bool memcached_log_in(struct memcached_session *session, struct slice name, struct slice password);
/* Whether the user may do this. */
bool memcached_may(const struct memcached_session *session,
                   const struct memcached_request *request);
/* flush_all: at once by a task, or later. True: later, and it is noted. */
bool memcached_flush_later(struct memcached_session *session, int64_t delay);
/* Calls each() for every statistic. */
void memcached_stats(struct memcached_session *session,
                     void (*each)(void *arg, const char *name, const char *value), void *arg);

#endif
