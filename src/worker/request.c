/* Replies in the order of the requests, whatever the order in which they become known. */
#include "worker/conn.h"

struct buf *conn_out(struct conn *conn)
{
    if (list_empty(&conn->pending))
        return &conn->out;
    return &LIST_ENTRY(conn->pending.prev, struct request, link)->after;
}

size_t request_backlog(const struct conn *conn)
{
    size_t bytes = buf_len(&conn->out) + conn->lent_bytes + conn->held_bytes;

    if (!list_empty(&conn->pending))
        bytes += buf_len(&LIST_ENTRY(conn->pending.prev, struct request, link)->after);
    return bytes;
}

void request_start(struct conn *conn, struct request *request)
{
    if (!list_empty(&conn->pending))
        conn->held_bytes += buf_len(conn_out(conn));
    request->conn = conn;
    list_init(&request->link);
    list_push(&conn->pending, &request->link);
    conn->n_pending++;
}

struct buf *request_out(struct request *request)
{
    bool first = request->conn != NULL && request->conn->pending.next == &request->link;

    return first ? &request->conn->out : &request->reply;
}

static void request_free(struct request *request)
{
    buf_fini(&request->reply);
    buf_fini(&request->after);
    request->free(request);
}

/* Move bytes to the end of out: by handing the memory over where out is empty. */
static int move_bytes(struct buf *out, struct buf *from)
{
    if (buf_len(from) == 0)
        return ERR_OK;
    if (buf_len(out) == 0) {
        struct buf empty = *out;

        *out = *from;
        *from = empty;
        return ERR_OK;
    }
    return buf_append(out, from->data + from->start, buf_len(from));
}

/* Send the replies of the finished requests at the head. */
static int release_finished(struct conn *conn)
{
    while (!list_empty(&conn->pending)) {
        struct request *request = LIST_ENTRY(conn->pending.next, struct request, link);
        bool last = conn->pending.prev == &request->link;
        int status;

        if (!request->finished)
            break;
        list_remove(&request->link);
        conn->n_pending--;
        conn->held_bytes -= buf_len(&request->reply) + (last ? 0 : buf_len(&request->after));
        status = move_bytes(&conn->out, &request->reply);
        if (status == ERR_OK)
            status = move_bytes(&conn->out, &request->after);
        request_free(request);
        if (status != ERR_OK)
            return status;
    }
    return ERR_OK;
}

void request_finish(struct request *request)
{
    struct conn *conn = request->conn;

    request->finished = true;
    if (conn == NULL) {
        request_free(request);
        return;
    }
    conn->held_bytes += buf_len(&request->reply);
    if (release_finished(conn) != ERR_OK) {
        conn_abort(conn, "no memory for its replies");
        return;
    }
    conn_flush_later(conn);
    conn_resume(conn);
}
