/* One operation of a memcached client, in one place for all its protocols: tried at once, and
 * parked where it must wait. */
#include "common/clock.h"
#include "worker/holding.h"
#include "worker/memcached.h"

#include <stdio.h>
#include <stdlib.h>

enum stage {
    STAGE_FIRST,
    STAGE_WIN,    /* READ: found, and due: who computes the next value? */
    STAGE_TOUCH,  /* READ: found: set its expiry */
    STAGE_CHANGE, /* STORE under a lease that is over: as with any other unique */
};

uint64_t task_expires_ms(int64_t exptime)
{
    uint64_t wall_ms = memcached_expiry(exptime, clock_wall_ms());

    return wall_ms == 0 ? 0 : clock_from_wall_ms(wall_ms);
}

const char *task_failure(const struct task *task, enum cache_status status, char out[320])
{
    bool known = task->error != NULL && task->error[0] != '\0';

    switch (status) {
    case CACHE_TOO_LARGE:
        return "SERVER_ERROR object too large for cache";
    case CACHE_FULL:
        return "SERVER_ERROR out of memory storing object";
    case CACHE_NOT_INTEGER:
        return "CLIENT_ERROR cannot increment or decrement non-numeric value";
    default:
        snprintf(out, 320, "SERVER_ERROR %s",
                 known ? task->error : cache_status_text(task->cache, status));
        return out;
    }
}

/* ---- the value ---- */

static struct task *task_of(struct cache_sink *sink)
{
    return (struct task *)(void *)((char *)sink - offsetof(struct task, sink));
}

static char *place(struct cache_sink *sink, const struct cache_info *info)
{
    struct task *task = task_of(sink);
    bool straight = task->form->head != NULL;
    struct buf *out = straight ? task->out : task->taken;
    size_t tail = straight ? task->form->tail : 0;
    char *room;

    buf_truncate(out, straight ? task->mark : 0); /* an overtaken copy begins anew */
    task->placed = false;
    if (info != &task->info)
        task->info = *info;
    task->won = info->lease != 0;
    task->lost = info->computing;
    if (straight && task->form->head(task, out, info->value_len) != ERR_OK)
        return NULL;
    room = buf_reserve(out, info->value_len + tail + 1);
    if (room == NULL)
        return NULL;
    memcpy(room + info->value_len, "\r\n", tail);
    buf_commit(out, info->value_len + tail);
    task->placed = straight;
    return room;
}

static struct cache_sink *sink_of(struct task *task)
{
    return task->want_value || task->want_unique ? &task->sink : NULL;
}

/* ---- the steps ---- */

static enum cache_status fetch(struct task *task, uint64_t early_ms, struct cache_op *op)
{
    struct cache_fetch how = {.lease_ms = task->lease_ms,
                              .wait_ms = task->stage == STAGE_WIN ? 0 : task->wait_ms,
                              .early_ms = early_ms};

    return cache_fetch(task->cache, task->key, &how, sink_of(task), op, &task->info);
}

static enum cache_status act_read(struct task *task, struct cache_op *op)
{
    struct cache_change touch = {.kind = CHANGE_TOUCH, .attrs = task->attrs};

    switch (task->stage) {
    case STAGE_WIN:
        return fetch(task, CACHE_ANY_TIME, op);
    case STAGE_TOUCH:
        return cache_change(task->cache, task->key, &touch, NULL, op, &task->integer);
    default:
        return task->vivify ? fetch(task, task->early_ms, op)
                            : cache_get(task->cache, task->key, sink_of(task), op, &task->info);
    }
}

/* Stored with an expiry that is past: nothing is there afterwards. Redis would keep it for a
 * millisecond. */
static bool is_past(const struct task *task, uint64_t expires_ms)
{
    return expires_ms != 0 && cache_has_l2(task->cache) && expires_ms <= clock_now_ms();
}

static enum cache_status act_store(struct task *task, struct cache_op *op)
{
    if (is_past(task, task->attrs.expires_ms))
        return cache_delete(task->cache, task->key, op);
    return cache_put(task->cache, task->key, task->value, &task->attrs, op);
}

/* Of add, only the question is left. */
static bool asks(const struct task *task)
{
    return task->change.kind == CHANGE_SET && task->change.when == CHANGE_IF_ABSENT &&
           is_past(task, task->change.attrs.expires_ms);
}

/* A unique that is a lease's token: who won it stores under it. */
static bool fills(const struct task *task)
{
    return task->stage == STAGE_FIRST && task->change.kind == CHANGE_SET &&
           task->change.when == CHANGE_IF_SAME && task->change.same >= CACHE_TOKEN_MIN;
}

static enum cache_status act_change(struct task *task, struct cache_op *op)
{
    if (fills(task)) {
        if (task->conn != NULL)
            holding_end(task->conn->worker, task->change.same);
        return cache_fill(task->cache, task->key, task->change.same, task->value,
                          &task->change.attrs, op);
    }
    if (asks(task))
        return cache_get(task->cache, task->key, NULL, op, &task->info);
    task->change.value = task->value;
    task->change.became = &task->became;
    return cache_change(task->cache, task->key, &task->change, NULL, op, &task->integer);
}

static enum cache_status act(struct task *task, struct cache_op *op)
{
    switch (task->kind) {
    case TASK_READ:
        return act_read(task, op);
    case TASK_STORE:
        return act_store(task, op);
    case TASK_CHANGE:
        return act_change(task, op);
    case TASK_REMOVE:
        return cache_delete(task->cache, task->key, op);
    case TASK_CLEAR:
        return cache_clear(task->cache, op);
    }
    return CACHE_REFUSED;
}

/* Whether what was found is to be computed anew, and nobody has been chosen yet. */
static bool is_due(const struct task *task)
{
    uint64_t now_ms = clock_now_ms(), soft_ms = task->info.expires_ms;

    if (task->stage != STAGE_FIRST || task->won || task->lost)
        return false;
    if (task->honours_marks && task->info.mark != 0)
        return true;
    return task->recache && soft_ms != 0 &&
           (soft_ms <= now_ms || soft_ms - now_ms < task->early_ms);
}

/* After a step of a read: which one follows. *status becomes what the client is told. */
static bool next_read(struct task *task, enum cache_status *status)
{
    if (task->stage == STAGE_TOUCH) {
        if (*status == CACHE_OK)
            task->info.expires_ms = task->attrs.expires_ms;
        if (*status == CACHE_MISS) /* it went meanwhile: what was read is an answer all the same */
            *status = CACHE_OK;
        return false;
    }
    if (*status == CACHE_OK) {
        task->won = task->info.lease != 0;
        task->lost = task->info.computing;
        task->stage = is_due(task) ? STAGE_WIN : STAGE_TOUCH;
        return task->stage == STAGE_WIN || task->touch;
    }
    if (task->stage == STAGE_FIRST && task->vivify) {
        task->won = *status == CACHE_MISS && task->info.lease != 0;
        task->lost = *status == CACHE_BUSY && task->info.retry_ms != 0;
        task->empty = task->won || task->lost;
        if (task->empty)
            *status = CACHE_OK;
    } else if (task->stage == STAGE_WIN && *status == CACHE_MISS && task->info.lease != 0) {
        /* It went between the two looks: a miss, of which nobody wants to know more. */
        (void)cache_fail(task->cache, task->key, task->info.lease, 0, NULL);
        task->info.lease = 0;
    }
    if (*status == CACHE_BUSY && task->stage == STAGE_WIN)
        *status = CACHE_MISS;
    return false;
}

static uint64_t unique_of_value(const struct task *task, const struct cache_attrs *attrs)
{
    return cache_fingerprint(task->cache, task->value, attrs->client_flags, attrs->mark);
}

static bool next(struct task *task, enum cache_status *status)
{
    if (task->kind == TASK_READ)
        return next_read(task, status);
    if (task->kind == TASK_STORE && *status == CACHE_MISS)
        *status = CACHE_OK; /* act_store() had nothing to remove */
    if (task->kind == TASK_CHANGE && asks(task) && (*status == CACHE_OK || *status == CACHE_MISS))
        *status = *status == CACHE_OK ? CACHE_MISS : CACHE_OK;
    if (task->kind == TASK_CHANGE && asks(task) && *status == CACHE_OK)
        task->became.unique = unique_of_value(task, &task->change.attrs);
    if (task->kind == TASK_CHANGE && fills(task)) {
        task->stage = STAGE_CHANGE;
        if (*status == CACHE_OK)
            task->became.unique = unique_of_value(task, &task->change.attrs);
        return *status == CACHE_MISS; /* the lease is over: does the unique fit what is there? */
    }
    return false;
}

/* ---- the end ---- */

/* The lease becomes the connection's, or is given back. */
static enum cache_status hold(struct task *task, enum cache_status status)
{
    int err = task->conn == NULL ? ERR_DOWN
                                 : holding_add(task->conn, task->cache, task->key, task->info.lease,
                                               clock_now_ms() + task->lease_ms);

    if (err == ERR_OK)
        return status;
    (void)cache_fail(task->cache, task->key, task->info.lease, 0, NULL);
    task->error = "this connection holds as many leases as it may (limits.leases)";
    return err == ERR_LIMIT ? CACHE_REFUSED : CACHE_NOMEM;
}

static void settle_read(struct task *task, enum cache_status *status)
{
    if (task->won && task->info.lease != 0)
        *status = hold(task, *status);
    if (*status != CACHE_OK || task->empty) {
        buf_truncate(task->out, task->mark);
        task->placed = false;
        task->found = (struct slice){0};
    } else if (task->form->head == NULL) {
        task->found = buf_slice(task->taken);
    }
    if (task->won && task->empty)
        task->became.unique = task->info.lease;
    else if (*status == CACHE_OK && task->want_unique && task->placed)
        task->became.unique = 0; /* the form's: it knows where the value is */
    else if (*status == CACHE_OK && task->want_unique)
        task->became.unique =
            cache_fingerprint(task->cache, task->found, task->info.client_flags, task->info.mark);
}

static void finish(struct task *task, enum cache_status status)
{
    if (task->kind == TASK_READ)
        settle_read(task, &status);
    if (task->kind == TASK_STORE && status == CACHE_OK) {
        if (task->conn != NULL)
            holding_end_key(task->conn, task->cache, task->key);
        if (task->want_unique)
            task->became.unique = unique_of_value(task, &task->attrs);
    }
    if (task->form->answer(task, status) != ERR_OK && task->conn != NULL)
        conn_abort(task->conn, "no memory");
}

/* ---- at once, or parked ---- */

struct parked_task {
    struct request request;
    struct cache_op op;
    struct task task;
    struct memcached_meta meta;
    struct buf value;
    bool reads;
    char bytes[];
};

/* Until the end, CACHE_WAIT (op is NULL) or CACHE_PENDING. */
static enum cache_status proceed(struct task *task, struct cache_op *op)
{
    enum cache_status status;

    do {
        if (op != NULL)
            op->error[0] = '\0';
        status = act(task, op);
        if (status == CACHE_WAIT || status == CACHE_PENDING)
            return status;
    } while (next(task, &status));
    finish(task, status);
    return status;
}

static bool only_reads(const struct task *task)
{
    return task->kind == TASK_READ && !task->touch && !task->vivify && !task->recache;
}

static void end_parked(struct parked_task *parked)
{
    struct conn *conn = parked->request.conn;

    if (conn != NULL) {
        struct memcached_session *session = conn->session;

        if (parked->reads)
            session->reading--;
        else
            session->changing--;
    }
    request_finish(&parked->request);
}

static void free_parked(struct request *request)
{
    struct parked_task *parked = LIST_ENTRY(request, struct parked_task, request);

    buf_fini(&parked->value);
    free(parked);
}

static void op_done(struct cache_op *op, enum cache_status status)
{
    struct parked_task *parked =
        (struct parked_task *)(void *)((char *)op - offsetof(struct parked_task, op));
    struct task *task = &parked->task;

    task->conn = parked->request.conn;
    if (task->stage != STAGE_TOUCH) /* which knows nothing of the value */
        task->info = op->info;
    task->integer = op->integer;
    task->error = op->error;
    if (next(task, &status)) {
        if (proceed(task, op) == CACHE_PENDING)
            return;
    } else {
        finish(task, status);
    }
    end_parked(parked);
}

static struct slice keep(char **at, struct slice bytes)
{
    struct slice kept = slice_make(*at, bytes.len);

    if (bytes.len > 0)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return kept;
}

/* A copy of the task that owns its bytes. */
static struct parked_task *copy(const struct task *task)
{
    size_t bytes = task->key.len + task->value.len;
    struct parked_task *parked;
    char *at;

    if (task->meta != NULL)
        bytes += task->meta->key_text.len + task->meta->opaque.len;
    parked = calloc(1, sizeof(*parked) + bytes);
    if (parked == NULL)
        return NULL;
    at = parked->bytes;
    parked->task = *task;
    parked->task.key = keep(&at, task->key);
    parked->task.value = keep(&at, task->value);
    if (task->meta != NULL) {
        parked->meta = *task->meta;
        parked->meta.key_text = keep(&at, task->meta->key_text);
        parked->meta.opaque = keep(&at, task->meta->opaque);
        parked->task.meta = &parked->meta;
    }
    parked->task.taken = &parked->value;
    parked->task.out = &parked->request.reply;
    parked->task.mark = 0;
    return parked;
}

/* What an earlier step found goes along. */
static int take_along(struct task *task, struct parked_task *parked)
{
    int status = ERR_OK;

    if (task->placed)
        status = buf_append(&parked->request.reply, buf_head(task->out) + task->mark,
                            buf_len(task->out) - task->mark);
    else if (task->stage != STAGE_FIRST && buf_len(task->taken) > 0)
        status = buf_append(&parked->value, buf_head(task->taken), buf_len(task->taken));
    buf_truncate(task->out, task->mark);
    if (status != ERR_OK) {
        buf_fini(&parked->request.reply);
        free(parked);
    }
    return status;
}

static void park(struct memcached_session *session, struct task *task)
{
    struct parked_task *parked = copy(task);

    if (parked == NULL || take_along(task, parked) != ERR_OK) {
        conn_abort(session->conn, "no memory");
        return;
    }
    parked->request.free = free_parked;
    parked->op.done = op_done;
    parked->reads = only_reads(task);
    if (parked->reads)
        session->reading++;
    else
        session->changing++;
    request_start(session->conn, &parked->request);
    if (proceed(&parked->task, &parked->op) != CACHE_PENDING)
        end_parked(parked);
}

bool task_may_begin(const struct memcached_session *session, bool reads)
{
    return session->changing == 0 && (reads || session->reading == 0);
}

void task_run(struct memcached_session *session, struct task *task)
{
    task->conn = session->conn;
    task->cache = session->cache;
    task->out = conn_out(session->conn);
    task->mark = buf_len(task->out);
    task->taken = &session->value;
    task->sink.place = place;
    if (proceed(task, NULL) == CACHE_WAIT)
        park(session, task);
}
