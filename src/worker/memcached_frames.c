/* The binary commands of memcached: frames to tasks, and tasks to frames. SASL PLAIN (RFC 4616). */
#include "worker/memcached.h"

#include <stdio.h>

/* ---- replies ---- */

static int put_frame(struct buf *out, const struct memcached_binary *binary,
                     const struct binary_reply *reply)
{
    char header[BINARY_HEADER];

    memcached_binary_header(binary, reply, header);
    return buf_append(out, header, sizeof(header));
}

static int put_text(struct buf *out, const struct memcached_binary *binary,
                    enum binary_status status, const char *text)
{
    struct binary_reply reply = {.status = status, .value_len = strlen(text)};

    if (put_frame(out, binary, &reply) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(out, text, reply.value_len);
}

static void tell(struct memcached_session *session, const struct memcached_binary *binary,
                 enum binary_status status, const char *text)
{
    if (put_text(conn_out(session->conn), binary, status, text) != ERR_OK)
        conn_abort(session->conn, "no memory");
}

static enum binary_status code_of(const struct task *task, enum cache_status status)
{
    switch (status) {
    case CACHE_OK:
        return BINARY_OK;
    case CACHE_MISS:
        if (task->change.when == CHANGE_IF_SAME && task->integer != 0)
            return BINARY_EXISTS;
        if (task->verb == MEMCACHED_ADD)
            return BINARY_EXISTS;
        return task->verb == MEMCACHED_APPEND || task->verb == MEMCACHED_PREPEND ? BINARY_NOT_STORED
                                                                                 : BINARY_NOT_FOUND;
    case CACHE_TOO_LARGE:
        return BINARY_TOO_LARGE;
    case CACHE_FULL:
    case CACHE_NOMEM:
        return BINARY_NO_MEMORY;
    case CACHE_NOT_INTEGER:
        return BINARY_NOT_NUMERIC;
    case CACHE_BUSY:
    case CACHE_DOWN:
    case CACHE_TIMEOUT:
        return BINARY_BUSY;
    default:
        return BINARY_INTERNAL;
    }
}

/* A failure, with the cache's own sentence where the protocol has none. */
static int fail(struct task *task, enum cache_status status)
{
    enum binary_status code = code_of(task, status);
    char text[320];

    if (code < BINARY_INTERNAL)
        return put_text(task->out, &task->binary, code, memcached_binary_text(code));
    return put_text(task->out, &task->binary, code, task_failure(task, status, text));
}

/* Header, flags, key; the value is to follow. */
static int value_head(struct task *task, struct buf *out, size_t len)
{
    bool with_key = task->binary.with_key;
    struct binary_reply reply = {
        .extras_len = 4, .key_len = with_key ? task->key.len : 0, .value_len = len};
    char flags[4];

    memcached_binary_u32(flags, task->info.client_flags);
    if (put_frame(out, &task->binary, &reply) != ERR_OK || buf_append(out, flags, 4) != ERR_OK)
        return ERR_NOMEM;
    return with_key ? buf_append(out, task->key.data, task->key.len) : ERR_OK;
}

static int answer_miss(struct task *task)
{
    bool with_key = task->binary.with_key;
    struct binary_reply reply = {.status = BINARY_NOT_FOUND,
                                 .key_len = with_key ? task->key.len : 0};

    if (task->binary.quiet)
        return ERR_OK;
    if (!with_key)
        return put_text(task->out, &task->binary, BINARY_NOT_FOUND,
                        memcached_binary_text(BINARY_NOT_FOUND));
    if (put_frame(task->out, &task->binary, &reply) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, task->key.data, task->key.len);
}

/* The value is in its place, only its unique is not. */
static int answer_get(struct task *task, enum cache_status status)
{
    size_t head = BINARY_HEADER + 4 + (task->binary.with_key ? task->key.len : 0);
    char *frame;

    if (status == CACHE_MISS)
        return answer_miss(task);
    if (status != CACHE_OK)
        return fail(task, status);
    frame = buf_head(task->out) + task->mark;
    memcached_binary_patch(frame, cache_fingerprint(task->cache,
                                                    slice_make(frame + head, task->info.value_len),
                                                    task->info.client_flags, task->info.mark));
    return ERR_OK;
}

/* As of a get, without the value. */
static int answer_touch(struct task *task, enum cache_status status)
{
    struct binary_reply reply = {.extras_len = 4, .unique = task->became.unique};
    char flags[4];

    if (status != CACHE_OK)
        return fail(task, status);
    memcached_binary_u32(flags, task->info.client_flags);
    if (put_frame(task->out, &task->binary, &reply) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, flags, sizeof(flags));
}

static int answer_plain(struct task *task, enum cache_status status)
{
    struct binary_reply reply = {.unique = task->became.unique};

    if (status != CACHE_OK)
        return fail(task, status);
    return task->binary.quiet ? ERR_OK : put_frame(task->out, &task->binary, &reply);
}

static int answer_count(struct task *task, enum cache_status status)
{
    struct binary_reply reply = {.value_len = 8, .unique = task->became.unique};
    char number[8];

    if (status != CACHE_OK)
        return fail(task, status);
    if (task->binary.quiet)
        return ERR_OK;
    memcached_binary_u64(number, (uint64_t)task->integer);
    if (put_frame(task->out, &task->binary, &reply) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, number, sizeof(number));
}

static const struct task_form get_form = {.head = value_head, .answer = answer_get};
static const struct task_form touch_form = {.answer = answer_touch};
static const struct task_form plain_form = {.answer = answer_plain};
static const struct task_form count_form = {.answer = answer_count};

/* ---- frames to tasks ---- */

/* A unique makes each storing command a cas; of add it is ignored. */
static void fill_change(struct task *task, const struct memcached_request *request)
{
    static const struct {
        enum cache_change_kind kind;
        enum cache_change_if when;
    } how[] = {
        [MEMCACHED_SET] = {CHANGE_SET, CHANGE_ALWAYS},
        [MEMCACHED_ADD] = {CHANGE_SET, CHANGE_IF_ABSENT},
        [MEMCACHED_REPLACE] = {CHANGE_SET, CHANGE_IF_PRESENT},
        [MEMCACHED_APPEND] = {CHANGE_APPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_PREPEND] = {CHANGE_PREPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_INCR] = {CHANGE_COUNT, CHANGE_ALWAYS},
        [MEMCACHED_DECR] = {CHANGE_COUNT, CHANGE_ALWAYS},
        [MEMCACHED_DELETE] = {CHANGE_DELETE, CHANGE_ALWAYS},
    };
    const struct memcached_binary *binary = &task->binary;
    bool counts = how[request->verb].kind == CHANGE_COUNT;

    task->change = (struct cache_change){.kind = how[request->verb].kind,
                                         .when = how[request->verb].when,
                                         .same = binary->unique,
                                         .delta = (int64_t)request->number,
                                         .down = request->verb == MEMCACHED_DECR,
                                         .create = counts && binary->create,
                                         .initial = binary->initial};
    if (binary->unique != 0 && request->verb != MEMCACHED_ADD)
        task->change.when = CHANGE_IF_SAME;
    if (counts)
        task->change.create_expires_ms = task->attrs.expires_ms;
    else
        task->change.attrs = task->attrs;
    if (task->change.kind == CHANGE_SET && task->change.when == CHANGE_ALWAYS)
        task->kind = TASK_STORE;
    if (task->change.kind == CHANGE_DELETE && task->change.when == CHANGE_ALWAYS)
        task->kind = TASK_REMOVE;
}

static void run_task(struct memcached_session *session, const struct memcached_request *request,
                     const struct memcached_binary *binary)
{
    struct task task = {.kind = TASK_CHANGE,
                        .key = request->keys,
                        .value = request->value,
                        .attrs = {.client_flags = request->flags},
                        .want_unique = true,
                        .form = &plain_form,
                        .verb = request->verb,
                        .binary = *binary};

    task.attrs.expires_ms = task_expires_ms(request->exptime);
    switch (request->verb) {
    case MEMCACHED_GET:
    case MEMCACHED_GAT:
        task.kind = TASK_READ;
        task.want_value = true;
        task.touch = request->verb == MEMCACHED_GAT;
        task.form = &get_form;
        break;
    case MEMCACHED_TOUCH:
        task.kind = TASK_READ;
        task.touch = true;
        task.form = &touch_form;
        break;
    case MEMCACHED_FLUSH_ALL:
        task.kind = TASK_CLEAR;
        break;
    default:
        fill_change(&task, request);
        if (task.change.kind == CHANGE_COUNT)
            task.form = &count_form;
    }
    task_run(session, &task);
}

struct stats_arg {
    struct memcached_session *session;
    const struct memcached_binary *binary;
};

static void stat_frame(void *arg, const char *name, const char *value)
{
    struct stats_arg *to = arg;
    struct buf *out = conn_out(to->session->conn);
    struct binary_reply reply = {.key_len = strlen(name), .value_len = strlen(value)};

    if (put_frame(out, to->binary, &reply) != ERR_OK ||
        buf_append(out, name, reply.key_len) != ERR_OK ||
        buf_append(out, value, reply.value_len) != ERR_OK)
        conn_abort(to->session->conn, "no memory");
}

static void do_stats(struct memcached_session *session, const struct memcached_request *request,
                     const struct memcached_binary *binary)
{
    struct stats_arg arg = {session, binary};

    if (slice_eq(request->argument, SLICE_LIT("reset")))
        cache_stats_reset(session->cache);
    else if (request->argument.len == 0)
        memcached_stats(session, stat_frame, &arg);
    tell(session, binary, BINARY_OK, ""); /* an empty name ends them */
}

static void do_flush(struct memcached_session *session, const struct memcached_request *request,
                     const struct memcached_binary *binary)
{
    if (!memcached_flush_later(session, request->exptime))
        run_task(session, request, binary);
    else if (!binary->quiet)
        tell(session, binary, BINARY_OK, "");
}

/* ---- SASL ---- */

/* authzid NUL authcid NUL password; who asks to be another than he is gets nothing. */
static bool plain(struct memcached_session *session, struct slice data)
{
    const char *first = data.len == 0 ? NULL : memchr(data.data, '\0', data.len);
    const char *end = data.data + data.len, *second;
    struct slice asked, name;

    if (first == NULL)
        return false;
    second = memchr(first + 1, '\0', (size_t)(end - first - 1));
    if (second == NULL)
        return false;
    asked = slice_make(data.data, (size_t)(first - data.data));
    name = slice_make(first + 1, (size_t)(second - first - 1));
    if (asked.len > 0 && !slice_eq(asked, name))
        return false;
    return memcached_log_in(session, name, slice_make(second + 1, (size_t)(end - second - 1)));
}

static void do_sasl(struct memcached_session *session, const struct memcached_request *request,
                    const struct memcached_binary *binary)
{
    bool continues = binary->sasl == SASL_STEP && session->sasl;

    session->sasl = false;
    if (!auth_required(session->conn->worker->heritage->config)) {
        tell(session, binary, BINARY_UNKNOWN, memcached_binary_text(BINARY_UNKNOWN));
    } else if (binary->sasl == SASL_LIST) {
        tell(session, binary, BINARY_OK, "PLAIN");
    } else if (!slice_eq(request->keys, SLICE_LIT("PLAIN")) ||
               (binary->sasl == SASL_STEP && !continues)) {
        tell(session, binary, BINARY_AUTH, memcached_binary_text(BINARY_AUTH));
    } else if (binary->sasl == SASL_AUTH && request->value.len == 0) {
        session->sasl = true;
        tell(session, binary, BINARY_AUTH_CONTINUE, "");
    } else if (plain(session, request->value)) {
        tell(session, binary, BINARY_OK, "Authenticated");
    } else {
        tell(session, binary, BINARY_AUTH, memcached_binary_text(BINARY_AUTH));
    }
}

static void run(struct memcached_session *session, const struct memcached_request *request,
                const struct memcached_binary *binary)
{
    switch (request->verb) {
    case MEMCACHED_META_NOOP:
    case MEMCACHED_QUIT:
    case MEMCACHED_VERBOSITY: /* the log's level is the configuration's */
        tell(session, binary, BINARY_OK, "");
        break;
    case MEMCACHED_VERSION:
        tell(session, binary, BINARY_OK, MEMCACHED_RELEASE);
        break;
    case MEMCACHED_STATS:
        do_stats(session, request, binary);
        break;
    case MEMCACHED_FLUSH_ALL:
        do_flush(session, request, binary);
        break;
    default:
        run_task(session, request, binary);
    }
}

enum session_result memcached_binary(struct memcached_session *session,
                                     const struct memcached_request *request,
                                     const struct memcached_binary *binary)
{
    bool free_for_all = request->verb == MEMCACHED_VERSION ||
                        request->verb == MEMCACHED_META_NOOP || request->verb == MEMCACHED_QUIT;

    if (!task_may_begin(session, request->verb == MEMCACHED_GET))
        return SESSION_WAIT;
    if (binary->error != BINARY_OK)
        tell(session, binary, binary->error, memcached_binary_text(binary->error));
    else if (binary->sasl != SASL_NONE)
        do_sasl(session, request, binary);
    else if ((memcached_must_log_in(session) && !free_for_all) || !memcached_may(session, request))
        tell(session, binary, BINARY_AUTH, memcached_binary_text(BINARY_AUTH));
    else
        run(session, request, binary);
    return SESSION_MORE;
}
