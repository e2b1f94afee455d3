/* CACHETASTIC.ATTACH: hand a cache's memory to a local client, for reading. */
#include "worker/command.h"

#include "common/auth.h"
#include "common/fdpass.h"
#include "worker/direct.h"

#include <unistd.h>

/* The reply's first byte carries the descriptors, so nothing may stand between it and the socket.
 */
static bool alone(const struct call *call)
{
    const struct conn *conn = call->conn;

    return buf_len(&conn->out) == 0 && conn->lent_bytes == 0 && list_empty(&conn->pending) && !conn->blocked;
}

static void send_descriptors(struct call *call, struct cache *cache, const int fds[2])
{
    struct conn *conn = call->conn;
    struct buf reply = {0};
    size_t len;

    if (resp_array(&reply, 2) != ERR_OK ||
        resp_bulk(&reply, slice_cstr(cache_config(cache)->name)) != ERR_OK ||
        resp_integer(&reply, !cache_has_l2(cache)) != ERR_OK) {
        reply_error(call->out, "ERR out of memory");
    } else {
        len = buf_len(&reply);
        /* Its buffer is empty: a few bytes fit, or it is broken. */
        if (fdpass_send(conn->fd, buf_head(&reply), len, fds, 2) != (ssize_t)len)
            conn_abort(conn, "cannot pass descriptors");
    }
    buf_fini(&reply);
}

/* CACHETASTIC.ATTACH [cache]: an array of the cache's name and whether its memory is all there is
 * (1: what it misses is nowhere; 0: Redis stands behind it), with two descriptors: the memory,
 * read-only, and this client's access ring. */
void cmd_attach(struct call *call)
{
    struct worker *worker = call->conn->worker;
    struct cache *cache = call->cache;
    struct errmsg msg = {.text = ""};
    struct direct *direct;
    const char *refusal;
    int fds[2];

    if (call->argc == 2)
        cache = caches_find(worker->caches, call->argv[1]);
    if (call->argc > 2 || cache == NULL) {
        reply_error(call->out, call->argc > 2 ? "ERR syntax error" : "ERR no cache has that name");
        return;
    }
    call->cache = cache;
    if (!command_may(call, AUTH_READ))
        return;
    refusal = call->session->db != 0 ? "a numbered keyspace is not the whole of its cache"
                                     : direct_refusal(call->conn, cache);
    if (refusal != NULL || !alone(call)) {
        reply_error(call->out, "NODIRECT %s",
                    refusal != NULL ? refusal : "CACHETASTIC.ATTACH must be sent alone");
        return;
    }
    if (direct_open(worker, cache, &direct, fds, &msg) != ERR_OK) {
        reply_error(call->out, "NODIRECT %s", msg.text);
        return;
    }
    direct_close(call->session->direct);
    call->session->direct = direct;
    send_descriptors(call, cache, fds);
    close(fds[1]);
}
