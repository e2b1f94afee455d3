/* The meta commands of memcached: flags to tasks, and tasks to lines of flags. */
#include "common/clock.h"
#include "worker/holding.h"
#include "worker/memcached.h"

#include <stdio.h>

#define LEASE_MS 10000 /* of a win that says no other: N's time does */

/* ---- replies ---- */

static bool sent(const struct task *task, char flag)
{
    return memcached_sent(task->meta, flag);
}

/* Seconds that remain; -1: it has no expiry. */
static long long remaining(const struct task *task)
{
    uint64_t now_ms = clock_now_ms(), end_ms = task->info.expires_ms;

    if (task->empty)
        return (long long)((task->won ? task->lease_ms : task->info.retry_ms) + 999) / 1000;
    if (task->kind == TASK_CHANGE)
        end_ms = task->became.expires_ms;
    else if (task->touch)
        end_ms = task->attrs.expires_ms;
    if (end_ms == 0)
        return -1;
    return end_ms > now_ms ? (long long)(end_ms - now_ms + 999) / 1000 : 0;
}

/* One flag of an answer to mg or ma, that needs a number. */
static int number_flag(const struct task *task, struct buf *out, char flag, size_t len)
{
    switch (flag) {
    case 's':
        return buf_printf(out, " s%zu", len);
    case 't':
        return buf_printf(out, " t%lld", remaining(task));
    case 'f':
        return buf_printf(out, " f%u", task->empty ? 0 : task->info.client_flags);
    case 'h':
        return buf_printf(out, " h%d", !task->empty && task->info.accessed);
    case 'l': /* the engine keeps how often an entry is read, not when it was */
        return buf_printf(out, " l-1");
    case 'c':
        return buf_printf(out, " c%llu", (unsigned long long)task->became.unique);
    default:
        return ERR_OK;
    }
}

/* The flags in the order of the request; of those with a number, the ones in `numbers`. */
static int put_flags(const struct task *task, struct buf *out, const char *numbers, size_t len)
{
    int status = ERR_OK;

    for (const char *flag = task->meta->order; *flag != '\0' && status == ERR_OK; flag++)
        if (!memcached_meta_repeat(out, task->meta, *flag, &status) &&
            strchr(numbers, *flag) != NULL)
            status = number_flag(task, out, *flag, len);
    return status;
}

/* A line with a code. */
static int put_code(const struct task *task, const char *code, const char *numbers)
{
    if (buf_printf(task->out, "%s", code) != ERR_OK ||
        put_flags(task, task->out, numbers, 0) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, "\r\n", 2);
}

static int fail(const struct task *task, enum cache_status status)
{
    char text[320];

    return buf_printf(task->out, "%s\r\n", task_failure(task, status, text));
}

/* The line before a value, or that of a hit without one. */
static int hit_line(struct task *task, struct buf *out, size_t len)
{
    bool value = task->want_value;
    int status = value ? buf_printf(out, "VA %zu", len) : buf_printf(out, "HD");

    if (status == ERR_OK)
        status = put_flags(task, out, "stfhlc", task->empty ? 0 : task->info.value_len);
    if (status != ERR_OK)
        return status;
    return buf_printf(out, "%s%s%s\r\n", task->lost ? " Z" : "",
                      !task->empty && task->info.mark != 0 ? " X" : "", task->won ? " W" : "");
}

static int answer_get(struct task *task, enum cache_status status)
{
    if (status == CACHE_MISS)
        return sent(task, 'q') ? ERR_OK : put_code(task, "EN", "");
    if (status != CACHE_OK)
        return fail(task, status);
    if (task->placed)
        return ERR_OK;
    if (hit_line(task, task->out, task->found.len) != ERR_OK)
        return ERR_NOMEM;
    if (!task->want_value)
        return ERR_OK;
    if (buf_append(task->out, task->found.data, task->found.len) != ERR_OK)
        return ERR_NOMEM;
    return buf_append(task->out, "\r\n", 2);
}

static const struct task_form get_straight = {.head = hit_line, .tail = 2, .answer = answer_get};
static const struct task_form get_apart = {.answer = answer_get};

/* EX where a unique did not fit. */
static const char *refusal(const struct task *task, const char *absent)
{
    return task->change.when == CHANGE_IF_SAME && task->integer != 0 ? "EX" : absent;
}

static int answer_set(struct task *task, enum cache_status status)
{
    bool plain = task->change.kind == CHANGE_SET && task->change.when == CHANGE_IF_SAME;

    if (status == CACHE_OK && sent(task, 'q'))
        return ERR_OK;
    if (status != CACHE_OK && status != CACHE_MISS)
        return fail(task, status);
    if (status == CACHE_MISS)
        task->became.unique = 0;
    return put_code(task, status == CACHE_OK ? "HD" : refusal(task, plain ? "NF" : "NS"), "c");
}

static int answer_delete(struct task *task, enum cache_status status)
{
    if (status == CACHE_OK && sent(task, 'q'))
        return ERR_OK;
    if (status != CACHE_OK && status != CACHE_MISS)
        return fail(task, status);
    return put_code(task, status == CACHE_OK ? "HD" : refusal(task, "NF"), "");
}

static int answer_count(struct task *task, enum cache_status status)
{
    char number[24];
    int len;

    if (status == CACHE_MISS)
        return put_code(task, refusal(task, "NF"), "");
    if (status != CACHE_OK)
        return fail(task, status);
    if (sent(task, 'q'))
        return ERR_OK;
    if (!task->want_value)
        return put_code(task, "HD", "tc");
    len = snprintf(number, sizeof(number), "%llu", (unsigned long long)task->integer);
    if (buf_printf(task->out, "VA %d", len) != ERR_OK ||
        put_flags(task, task->out, "tc", (size_t)len) != ERR_OK)
        return ERR_NOMEM;
    return buf_printf(task->out, "\r\n%s\r\n", number);
}

/* Of what memcached tells: what there is here. */
static int answer_debug(struct task *task, enum cache_status status)
{
    struct slice key = task->meta->key_text;

    if (status == CACHE_MISS)
        return buf_printf(task->out, "EN\r\n");
    if (status != CACHE_OK)
        return fail(task, status);
    return buf_printf(task->out, "ME %.*s exp=%lld cas=%llu fetch=%s size=%zu%s\r\n", (int)key.len,
                      key.data, remaining(task), (unsigned long long)task->became.unique,
                      task->info.accessed ? "yes" : "no", task->key.len + task->found.len,
                      task->info.mark != 0 ? " stale=yes" : "");
}

static const struct task_form set_form = {.answer = answer_set};
static const struct task_form delete_form = {.answer = answer_delete};
static const struct task_form count_form = {.answer = answer_count};
static const struct task_form debug_form = {.answer = answer_debug};

/* ---- flags to tasks ---- */

static uint64_t seconds_ms(int64_t seconds)
{
    return seconds <= 0          ? 1
           : seconds > INT32_MAX ? UINT64_C(1000) * INT32_MAX
                                 : (uint64_t)seconds * 1000;
}

static uint64_t at_most(uint64_t value, uint64_t max)
{
    return value < max ? value : max;
}

static void leases(const struct memcached_session *session, const struct memcached_meta *meta,
                   struct task *task)
{
    const struct config_limits *limits = &session->conn->worker->heritage->config->limits;

    task->honours_marks = true;
    task->vivify = memcached_sent(meta, 'N');
    task->recache = memcached_sent(meta, 'R');
    if (task->recache && meta->recache > 0)
        task->early_ms = seconds_ms(meta->recache);
    task->lease_ms =
        at_most(task->vivify && meta->vivify != 0 ? seconds_ms(meta->vivify) : LEASE_MS,
                limits->fetch_lease_ms);
    if (memcached_sent(meta, 'A'))
        task->wait_ms = at_most(meta->wait_ms, limits->fetch_wait_ms);
}

static void do_get(struct memcached_session *session, struct task *task)
{
    const struct memcached_meta *meta = task->meta;

    task->kind = TASK_READ;
    task->want_value = memcached_sent(meta, 'v');
    task->want_unique = memcached_sent(meta, 'c');
    task->touch = memcached_sent(meta, 'T');
    if (task->touch)
        task->attrs.expires_ms = task_expires_ms(meta->ttl);
    leases(session, meta, task);
    task->form = task->want_value && !task->want_unique ? &get_straight : &get_apart;
}

static void set_mode(struct task *task)
{
    switch (task->meta->mode) {
    case 'E':
        task->change.when = CHANGE_IF_ABSENT;
        return; /* whatever the unique says */
    case 'R':
        task->change.when = CHANGE_IF_PRESENT;
        break;
    case 'A':
    case 'P':
        task->change.kind = task->meta->mode == 'A' ? CHANGE_APPEND : CHANGE_PREPEND;
        task->change.when = CHANGE_IF_PRESENT;
        break;
    default:
        break;
    }
    if (sent(task, 'C'))
        task->change.when = CHANGE_IF_SAME;
}

static void do_set(struct task *task, const struct memcached_request *request)
{
    const struct memcached_meta *meta = task->meta;

    task->value = request->value;
    task->want_unique = sent(task, 'c');
    task->attrs.client_flags = meta->client_flags;
    if (sent(task, 'T'))
        task->attrs.expires_ms = task_expires_ms(meta->ttl);
    task->change = (struct cache_change){
        .attrs = task->attrs, .same = meta->unique, .or_stale = sent(task, 'I')};
    set_mode(task);
    task->kind = task->change.kind == CHANGE_SET && task->change.when == CHANGE_ALWAYS
                     ? TASK_STORE
                     : TASK_CHANGE;
    task->form = &set_form;
}

static void do_delete(struct task *task)
{
    const struct memcached_meta *meta = task->meta;
    bool marks = sent(task, 'I');

    task->kind = marks || sent(task, 'C') ? TASK_CHANGE : TASK_REMOVE;
    task->change = (struct cache_change){.kind = marks ? CHANGE_MARK : CHANGE_DELETE,
                                         .when = sent(task, 'C') ? CHANGE_IF_SAME : CHANGE_ALWAYS,
                                         .same = meta->unique,
                                         .set_ttl = marks && sent(task, 'T')};
    if (task->change.set_ttl)
        task->change.attrs.expires_ms = task_expires_ms(meta->ttl);
    task->form = &delete_form;
}

static void do_count(struct task *task)
{
    const struct memcached_meta *meta = task->meta;

    task->kind = TASK_CHANGE;
    task->want_value = sent(task, 'v');
    task->want_unique = sent(task, 'c');
    task->change = (struct cache_change){.kind = CHANGE_COUNT,
                                         .when = sent(task, 'C') ? CHANGE_IF_SAME : CHANGE_ALWAYS,
                                         .same = meta->unique,
                                         .down = meta->mode == 'D' || meta->mode == '-',
                                         .delta = sent(task, 'D') ? (int64_t)meta->delta : 1,
                                         .create = sent(task, 'N'),
                                         .initial = meta->initial,
                                         .set_ttl = sent(task, 'T')};
    if (task->change.create)
        task->change.create_expires_ms = task_expires_ms(meta->vivify);
    if (task->change.set_ttl)
        task->change.attrs.expires_ms = task_expires_ms(meta->ttl);
    task->form = &count_form;
}

static void do_debug(struct task *task)
{
    task->kind = TASK_READ;
    task->want_value = true;
    task->want_unique = true;
    task->form = &debug_form;
}

static const char *fill(struct memcached_session *session, const struct memcached_request *request,
                        struct task *task)
{
    switch (request->verb) {
    case MEMCACHED_META_GET:
        do_get(session, task);
        return holding_room(session->conn)
                   ? NULL
                   : "SERVER_ERROR this connection holds as many leases as it may (limits.leases)";
    case MEMCACHED_META_SET:
        do_set(task, request);
        return NULL;
    case MEMCACHED_META_DELETE:
        do_delete(task);
        return NULL;
    case MEMCACHED_META_COUNT:
        do_count(task);
        return NULL;
    default:
        do_debug(task);
        return NULL;
    }
}

enum session_result memcached_meta(struct memcached_session *session,
                                   const struct memcached_request *request)
{
    struct task task = {.key = request->keys, .verb = request->verb, .meta = &session->meta};
    bool reads = request->verb == MEMCACHED_META_GET && !memcached_sent(task.meta, 'N') &&
                 !memcached_sent(task.meta, 'R') && !memcached_sent(task.meta, 'T');
    const char *error;

    if (!task_may_begin(session, reads))
        return SESSION_WAIT;
    if (request->verb == MEMCACHED_META_NOOP)
        error = "MN";
    else
        error = fill(session, request, &task);
    if (error == NULL)
        task_run(session, &task);
    else if (buf_printf(conn_out(session->conn), "%s\r\n", error) != ERR_OK)
        conn_abort(session->conn, "no memory");
    return SESSION_MORE;
}
