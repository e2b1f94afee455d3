#define _GNU_SOURCE 1 /* struct ucred */
#include "worker/direct.h"

#include "shm/access.h"
#include "worker/conn.h"

#include <stdlib.h>
#include <sys/socket.h>

struct direct {
    struct list link; /* worker->direct */
    struct zone *zone;
    struct access *access;
};

static const struct heritage_direct *permission(const struct worker *worker,
                                                const struct cache *cache)
{
    const struct heritage *heritage = worker->heritage;

    return &heritage->direct[cache_config(cache) - heritage->config->caches];
}

static bool is_listed(const struct heritage_direct *direct, uid_t uid)
{
    for (size_t i = 0; i < direct->n_uids; i++)
        if (direct->uids[i] == uid)
            return true;
    return direct->n_uids == 0;
}

const char *direct_refusal(const struct conn *conn, const struct cache *cache)
{
    const struct heritage_direct *direct = permission(conn->worker, cache);
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (!direct->on)
        return "this cache may not be mapped (caches.direct)";
    if (!conn->local || getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return "memory is shared over unix sockets only";
    if ((peer.uid == direct->owner || peer.uid == direct->unknown) &&
        !cache_config(cache)->direct_trust)
        return "this user could open the memory for writing (caches.direct_trust)";
    return is_listed(direct, peer.uid) ? NULL : "this user is not listed (caches.direct_users)";
}

int direct_open(struct worker *worker, struct cache *cache, struct direct **out, int fds[2],
                struct errmsg *msg)
{
    struct direct *direct = calloc(1, sizeof(*direct));
    int err;

    if (direct == NULL)
        return err_set(msg, ERR_NOMEM, "out of memory");
    err = access_create(&direct->access, &fds[1], msg);
    if (err != ERR_OK) {
        free(direct);
        return err;
    }
    fds[0] = permission(worker, cache)->fd;
    direct->zone = cache_zone(cache);
    list_push(&worker->direct, &direct->link);
    *out = direct;
    return ERR_OK;
}

void direct_close(struct direct *direct)
{
    if (direct == NULL)
        return;
    access_drain(direct->access, direct->zone);
    access_close(direct->access);
    list_remove(&direct->link);
    free(direct);
}

void direct_drain(struct worker *worker)
{
    LIST_EACH_SAFE (node, tmp, &worker->direct) {
        struct direct *direct = LIST_ENTRY(node, struct direct, link);

        access_drain(direct->access, direct->zone);
    }
}
