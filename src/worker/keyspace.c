#include "worker/keyspace.h"

#include <stdlib.h>

struct keyspace_args {
    struct slice *argv;
    int cap;
    struct buf bytes;
};

/* Of a zone: some numbered keyspace has been chosen. */
#define MARK_NUMBERED 0

bool keyspace_select(struct call *call, int64_t n)
{
    struct worker *worker = call->conn->worker;
    struct cache *own = caches_find(worker->caches, slice_cstr(call->conn->listener->cache));
    struct cache *cache = caches_by_db(worker->caches, n);
    bool numbered = cache == NULL && n != 0;

    if (numbered && (n < 0 || n >= worker->heritage->config->databases)) {
        reply_error(call->out,
                    "ERR DB index is out of range (databases = %lld, and no cache has resp_db = "
                    "%lld)",
                    (long long)worker->heritage->config->databases, (long long)n);
        return false;
    }
    if (!command_pass_db(call, numbered && cache_has_l2(own) ? n : -1))
        return false;
    if (numbered && cache_has_l2(own)) { /* a database of Redis, which is no cache's */
        call->session->cache = own;
        call->session->db = 0;
        return true;
    }
    if (numbered)
        zone_mark(cache_zone(own), MARK_NUMBERED);
    call->session->cache = cache != NULL ? cache : own;
    call->session->db = numbered ? (unsigned)n : 0;
    return true;
}

/* ---- keys to what is stored ---- */

static bool grow(struct resp_session *session, int argc)
{
    struct keyspace_args *args = session->keyspace_args;
    struct slice *argv;

    if (args == NULL) {
        args = calloc(1, sizeof(*args));
        if (args == NULL)
            return false;
        session->keyspace_args = args;
    }
    if (argc <= args->cap)
        return true;
    argv = realloc(args->argv, (size_t)argc * sizeof(*argv));
    if (argv == NULL)
        return false;
    args->argv = argv;
    args->cap = argc;
    return true;
}

static bool differs(const struct call *call, int first, int last, int step)
{
    if (call->session->db != 0)
        return true;
    for (int i = first; i <= last; i += step)
        if (keyspace_foreign(call->argv[i]))
            return true;
    return false;
}

static bool rewrite(struct call *call, int first, int last, int step)
{
    struct keyspace_args *args;
    size_t room = 1;

    for (int i = first; i <= last; i += step)
        room += KEYSPACE_PREFIX + call->argv[i].len;
    if (!grow(call->session, call->argc))
        return false;
    args = call->session->keyspace_args;
    buf_truncate(&args->bytes, 0);
    if (buf_reserve(&args->bytes, room) == NULL)
        return false;
    memcpy(args->argv, call->argv, (size_t)call->argc * sizeof(*args->argv));
    for (int i = first; i <= last; i += step) {
        size_t at = buf_len(&args->bytes);
        char prefix[KEYSPACE_PREFIX] = {'\0', (char)call->session->db};
        size_t n = call->session->db != 0            ? KEYSPACE_PREFIX
                   : keyspace_foreign(call->argv[i]) ? 1
                                                     : 0;

        if (buf_append(&args->bytes, prefix, n) != ERR_OK ||
            buf_append(&args->bytes, call->argv[i].data, call->argv[i].len) != ERR_OK)
            return false;
        args->argv[i] = slice_make(buf_head(&args->bytes) + at, n + call->argv[i].len);
    }
    call->argv = args->argv;
    return true;
}

bool keyspace_enter(struct call *call)
{
    int first, last, step;

    if (call->command == NULL || cache_has_l2(call->cache) ||
        !command_keys(call->command, call->argc, call->argv, &first, &last, &step) ||
        !differs(call, first, last, step))
        return true;
    if (rewrite(call, first, last, step))
        return true;
    reply_error(call->out, "ERR out of memory");
    return false;
}

void keyspace_fini(struct resp_session *session)
{
    if (session->keyspace_args == NULL)
        return;
    buf_fini(&session->keyspace_args->bytes);
    free(session->keyspace_args->argv);
    free(session->keyspace_args);
}

/* ---- and back ---- */

bool keyspace_leave(const struct resp_session *session, struct slice stored, struct slice *key)
{
    size_t skip = 0;

    if (session->db != 0) {
        skip = KEYSPACE_PREFIX;
        if (stored.len < skip || stored.data[0] != '\0' ||
            (unsigned char)stored.data[1] != session->db)
            return false;
    } else if (keyspace_foreign(stored)) {
        skip = 1;
        if (stored.len < 2 || stored.data[1] != '\0')
            return false;
    }
    *key = slice_make(stored.data + skip, stored.len - skip);
    return true;
}

bool keyspace_alone(const struct resp_session *session)
{
    return session->db == 0 && (zone_marks(cache_zone(session->cache)) >> MARK_NUMBERED & 1) == 0;
}

int keyspace_prefix(const struct resp_session *session, struct buf *out)
{
    char prefix[KEYSPACE_PREFIX] = {'\0', (char)session->db};

    return session->db == 0 ? ERR_OK : buf_append(out, prefix, sizeof(prefix));
}
