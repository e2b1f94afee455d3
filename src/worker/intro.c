#include "worker/intro.h"

#include "common/clock.h"
#include "http/trust.h"
#include "proto/proxyhead.h"
#include "worker/crowd.h"

#include <stdio.h>

bool intro_admit(struct conn *conn, const char **why)
{
    struct worker *worker = conn->worker;

    if (worker->crowd == NULL || trust_covers(worker->heritage->config, conn->peer))
        return true;
    switch (crowd_enter(worker->crowd, conn->peer, clock_now_ms(), &conn->place)) {
    case CROWD_TOO_MANY:
        *why = "too many connections from this address (limits.connections_per_address)";
        return false;
    case CROWD_TOO_FAST:
        *why = "connections from this address come too fast (limits.connection_rate)";
        return false;
    case CROWD_WELCOME:
        break;
    }
    return true;
}

/* From now on the connection is the client's, and nothing of it is of this machine. */
static void introduce(struct conn *conn, const struct proxyhead *head)
{
    snprintf(conn->peer, sizeof(conn->peer), "%s", head->peer);
    conn->local = false;
    conn->loopback = false;
    conn->user = NULL;
}

enum parse_status intro_take(struct conn *conn, const char **why)
{
    struct proxyhead head;
    enum parse_status status;
    size_t used;

    if (!conn->listener->proxy_protocol || conn->introduced)
        return PARSE_OK;
    *why = "a PROXY header from an address that trusted_proxies does not have";
    if (!trust_covers(conn->worker->heritage->config, conn->peer))
        return PARSE_INVALID;
    *why = "no PROXY header";
    status = proxyhead_parse(buf_slice(&conn->in), &used, &head);
    if (status != PARSE_OK)
        return status;
    buf_consume(&conn->in, used);
    conn->introduced = true;
    if (head.known) {
        introduce(conn, &head);
        if (!intro_admit(conn, why))
            return PARSE_INVALID;
    }
    return PARSE_OK;
}
