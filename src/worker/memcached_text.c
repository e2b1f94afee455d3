/* The text commands of memcached. */
#include "worker/memcached.h"

#include <stdio.h>

#define PREFETCH 32 /* keys of a get on their way from memory at once */

/* ---- replies ---- */

static int say(struct task *task, const char *line)
{
    return task->noreply ? ERR_OK : buf_printf(task->out, "%s\r\n", line);
}

static int fail(struct task *task, enum cache_status status)
{
    char text[320];

    return say(task, task_failure(task, status, text));
}

static int value_head(struct task *task, struct buf *out, size_t len)
{
    return memcached_value(out, task->key, task->info.client_flags, len, NULL);
}

/* One value of several: what cannot be read is left out, as what is not there. */
static int answer_value(struct task *task, enum cache_status status)
{
    if (status != CACHE_OK || task->placed)
        return ERR_OK;
    if (memcached_value(task->out, task->key, task->info.client_flags, task->found.len,
                        &task->became.unique) != ERR_OK ||
        buf_append(task->out, task->found.data, task->found.len) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, "\r\n", 2);
}

/* The only one. */
static int answer_get(struct task *task, enum cache_status status)
{
    if (status != CACHE_OK && status != CACHE_MISS)
        return fail(task, status);
    if (answer_value(task, status) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, "END\r\n", 5);
}

static int answer_store(struct task *task, enum cache_status status)
{
    if (status == CACHE_OK)
        return say(task, "STORED");
    if (status != CACHE_MISS)
        return fail(task, status);
    if (task->verb == MEMCACHED_CAS)
        return say(task, task->integer ? "EXISTS" : "NOT_FOUND");
    return say(task, "NOT_STORED");
}

static int answer_count(struct task *task, enum cache_status status)
{
    char text[24];

    if (status == CACHE_MISS)
        return say(task, "NOT_FOUND");
    if (status != CACHE_OK)
        return fail(task, status);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)task->integer);
    return say(task, text);
}

static int answer_found(struct task *task, enum cache_status status)
{
    if (status == CACHE_MISS)
        return say(task, "NOT_FOUND");
    if (status != CACHE_OK)
        return fail(task, status);
    return say(task, task->verb == MEMCACHED_TOUCH ? "TOUCHED" : "DELETED");
}

static int answer_ok(struct task *task, enum cache_status status)
{
    return status == CACHE_OK ? say(task, "OK") : fail(task, status);
}

static const struct task_form forms[] = {
    [MEMCACHED_SET] = {.answer = answer_store},     [MEMCACHED_ADD] = {.answer = answer_store},
    [MEMCACHED_REPLACE] = {.answer = answer_store}, [MEMCACHED_APPEND] = {.answer = answer_store},
    [MEMCACHED_PREPEND] = {.answer = answer_store}, [MEMCACHED_CAS] = {.answer = answer_store},
    [MEMCACHED_INCR] = {.answer = answer_count},    [MEMCACHED_DECR] = {.answer = answer_count},
    [MEMCACHED_TOUCH] = {.answer = answer_found},   [MEMCACHED_DELETE] = {.answer = answer_found},
    [MEMCACHED_FLUSH_ALL] = {.answer = answer_ok},
};

static void tell(struct memcached_session *session, const struct memcached_request *request,
                 const char *line)
{
    if (!request->noreply && buf_printf(conn_out(session->conn), "%s\r\n", line) != ERR_OK)
        conn_abort(session->conn, "no memory");
}

/* ---- reading ---- */

static void read_one(struct memcached_session *session, const struct memcached_request *request,
                     struct slice key, const struct task_form *form)
{
    bool touch = request->verb == MEMCACHED_GAT || request->verb == MEMCACHED_GATS;
    struct task task = {.kind = TASK_READ,
                        .key = key,
                        .want_value = true,
                        .want_unique = form->head == NULL,
                        .touch = touch,
                        .form = form,
                        .verb = request->verb};

    if (touch)
        task.attrs.expires_ms = task_expires_ms(request->exptime);
    task_run(session, &task);
}

static size_t take_keys(struct slice *keys, struct slice out[PREFETCH])
{
    size_t n = 0;

    while (n < PREFETCH && memcached_key(keys, &out[n]))
        n++;
    return n;
}

static void do_get(struct memcached_session *session, const struct memcached_request *request)
{
    static const struct task_form values[] = {
        {.head = value_head, .tail = 2, .answer = answer_value}, {.answer = answer_value}};
    static const struct task_form single[] = {{.head = value_head, .tail = 2, .answer = answer_get},
                                              {.answer = answer_get}};
    bool unique = request->verb == MEMCACHED_GETS || request->verb == MEMCACHED_GATS;
    struct slice keys = request->keys, some[PREFETCH];
    size_t n = take_keys(&keys, some);

    if (n == 1) {
        read_one(session, request, some[0], &single[unique]);
        return;
    }
    for (; n > 0; n = take_keys(&keys, some)) {
        if (n > 1)
            cache_prefetch(session->cache, some, n);
        for (size_t i = 0; i < n; i++)
            read_one(session, request, some[i], &values[unique]);
    }
    tell(session, request, "END");
}

/* ---- writing ---- */

static void fill_change(struct task *task, const struct memcached_request *request)
{
    static const struct {
        enum cache_change_kind kind;
        enum cache_change_if when;
    } how[] = {
        [MEMCACHED_ADD] = {CHANGE_SET, CHANGE_IF_ABSENT},
        [MEMCACHED_REPLACE] = {CHANGE_SET, CHANGE_IF_PRESENT},
        [MEMCACHED_APPEND] = {CHANGE_APPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_PREPEND] = {CHANGE_PREPEND, CHANGE_IF_PRESENT},
        [MEMCACHED_CAS] = {CHANGE_SET, CHANGE_IF_SAME},
        [MEMCACHED_INCR] = {CHANGE_COUNT, CHANGE_IF_PRESENT},
        [MEMCACHED_DECR] = {CHANGE_COUNT, CHANGE_IF_PRESENT},
        [MEMCACHED_TOUCH] = {CHANGE_TOUCH, CHANGE_IF_PRESENT},
    };

    task->change = (struct cache_change){.kind = how[request->verb].kind,
                                         .when = how[request->verb].when,
                                         .same = request->number,
                                         .delta = (int64_t)request->number,
                                         .down = request->verb == MEMCACHED_DECR,
                                         .attrs = task->attrs};
}

static void do_change(struct memcached_session *session, const struct memcached_request *request)
{
    struct task task = {.kind = TASK_CHANGE,
                        .key = request->keys,
                        .value = request->value,
                        .attrs = {.client_flags = request->flags},
                        .form = &forms[request->verb],
                        .verb = request->verb,
                        .noreply = request->noreply};

    task.attrs.expires_ms = task_expires_ms(request->exptime);
    if (request->verb == MEMCACHED_SET)
        task.kind = TASK_STORE;
    else if (request->verb == MEMCACHED_DELETE)
        task.kind = TASK_REMOVE;
    else if (request->verb == MEMCACHED_FLUSH_ALL)
        task.kind = TASK_CLEAR;
    else
        fill_change(&task, request);
    task_run(session, &task);
}

static void do_flush_all(struct memcached_session *session, const struct memcached_request *request)
{
    if (memcached_flush_later(session, request->exptime))
        tell(session, request, "OK");
    else
        do_change(session, request);
}

/* ---- the rest ---- */

static void stat_line(void *arg, const char *name, const char *value)
{
    struct memcached_session *session = arg;

    if (buf_printf(conn_out(session->conn), "STAT %s %s\r\n", name, value) != ERR_OK)
        conn_abort(session->conn, "no memory");
}

static void do_stats(struct memcached_session *session, const struct memcached_request *request)
{
    if (slice_eq(request->argument, SLICE_LIT("reset"))) {
        cache_stats_reset(session->cache);
        tell(session, request, "RESET");
        return;
    }
    if (request->argument.len == 0)
        memcached_stats(session, stat_line, session);
    /* Slab classes and their items: there are none. */
    tell(session, request, "END");
}

static void do_version(struct memcached_session *session, const struct memcached_request *request)
{
    tell(session, request, "VERSION " MEMCACHED_RELEASE);
}

/* The log's level is the configuration's. */
static void do_verbosity(struct memcached_session *session, const struct memcached_request *request)
{
    tell(session, request, request->argument.len > 0 ? "OK" : "ERROR");
}

typedef void run_fn(struct memcached_session *session, const struct memcached_request *request);

static run_fn *const run[] = {
    [MEMCACHED_GET] = do_get,
    [MEMCACHED_GETS] = do_get,
    [MEMCACHED_GAT] = do_get,
    [MEMCACHED_GATS] = do_get,
    [MEMCACHED_SET] = do_change,
    [MEMCACHED_ADD] = do_change,
    [MEMCACHED_REPLACE] = do_change,
    [MEMCACHED_APPEND] = do_change,
    [MEMCACHED_PREPEND] = do_change,
    [MEMCACHED_CAS] = do_change,
    [MEMCACHED_INCR] = do_change,
    [MEMCACHED_DECR] = do_change,
    [MEMCACHED_TOUCH] = do_change,
    [MEMCACHED_DELETE] = do_change,
    [MEMCACHED_FLUSH_ALL] = do_flush_all,
    [MEMCACHED_VERBOSITY] = do_verbosity,
    [MEMCACHED_VERSION] = do_version,
    [MEMCACHED_STATS] = do_stats,
};

/* As memcached with an authentication file: the first set's value is "user password". */
static void log_in(struct memcached_session *session, const struct memcached_request *request)
{
    struct slice text = request->value;
    const char *blank = text.len == 0 ? NULL : memchr(text.data, ' ', text.len);
    size_t name = blank == NULL ? 0 : (size_t)(blank - text.data);

    if (blank != NULL && memcached_log_in(session, slice_make(text.data, name),
                                          slice_make(blank + 1, text.len - name - 1)))
        tell(session, request, "STORED");
    else
        tell(session, request, "CLIENT_ERROR authentication failure");
}

enum session_result memcached_text(struct memcached_session *session,
                                   const struct memcached_request *request)
{
    bool reads = request->verb == MEMCACHED_GET || request->verb == MEMCACHED_GETS;

    if (!task_may_begin(session, reads))
        return SESSION_WAIT;
    if (request->error != NULL)
        tell(session, request, request->error);
    else if (memcached_must_log_in(session) && request->verb == MEMCACHED_SET)
        log_in(session, request);
    else if (memcached_must_log_in(session))
        tell(session, request, "CLIENT_ERROR unauthenticated");
    else if (!memcached_may(session, request))
        tell(session, request, "CLIENT_ERROR this user may not do that (users.rights)");
    else if (request->verb >= MEMCACHED_META_GET && request->verb <= MEMCACHED_META_NOOP)
        return memcached_meta(session, request);
    else
        run[request->verb](session, request);
    return SESSION_MORE;
}
