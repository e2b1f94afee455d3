/* What a connection sends: the bytes of conn->out, and between them values that are lent from
 * shared memory (shm/pin.h). */
#include "worker/output.h"

#include "common/clock.h"
#include "common/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECES_MAX 64 /* a send */

/* A reader that takes nothing of a value for so long gets the rest as a copy. */
#define LOAN_STALL_MS 5000

struct loan {
    struct list link;
    size_t before; /* bytes of conn->out that go out before it and after the loan before it */
    struct pin pin;
};

static struct loan *loan_of(struct list *node)
{
    return LIST_ENTRY(node, struct loan, link);
}

static void loan_free(struct conn *conn, struct loan *loan)
{
    list_remove(&loan->link);
    conn->n_loans--;
    conn->lent_bytes -= loan->pin.left;
    pin_end(&loan->pin);
    free(loan);
}

bool conn_can_lend(const struct conn *conn)
{
    return list_empty(&conn->pending) && !conn->aborted && conn->n_loans < LOANS_MAX;
}

int conn_lend(struct conn *conn, struct pin *pin)
{
    struct loan *loan = malloc(sizeof(*loan));

    if (loan == NULL) {
        pin_end(pin);
        return ERR_NOMEM;
    }
    loan->before = buf_len(&conn->out);
    for (struct list *node = conn->loans.next; node != &conn->loans; node = node->next)
        loan->before -= loan_of(node)->before;
    loan->pin = *pin;
    *pin = (struct pin){0};
    list_push(&conn->loans, &loan->link);
    conn->n_loans++;
    conn->lent_bytes += loan->pin.left;
    return ERR_OK;
}

size_t output_unsent(const struct conn *conn)
{
    return buf_len(&conn->out) + conn->lent_bytes;
}

void output_fini(struct conn *conn)
{
    while (!list_empty(&conn->loans))
        loan_free(conn, loan_of(conn->loans.next));
    buf_fini(&conn->out);
}

/* ---- sending ---- */

static size_t add_piece(struct iovec *iov, size_t n, struct slice piece)
{
    if (piece.len == 0)
        return n;
    iov[n] = (struct iovec){.iov_base = (char *)(uintptr_t)piece.data, .iov_len = piece.len};
    return n + 1;
}

/* The stream's next pieces, in order; at most PIECES_MAX, and whole slabs of them. */
static size_t gather(const struct conn *conn, struct iovec iov[PIECES_MAX])
{
    struct slice own = buf_slice(&conn->out);
    size_t n = 0;

    for (struct list *node = conn->loans.next; node != &conn->loans; node = node->next) {
        const struct loan *loan = loan_of(node);
        struct pin pin = loan->pin; /* a copy, to walk along */

        if (n == PIECES_MAX)
            return n;
        n = add_piece(iov, n, slice_make(own.data, loan->before));
        own = slice_make(own.data + loan->before, own.len - loan->before);
        while (pin.left > 0) {
            struct slice piece = pin_piece(&pin);

            if (n == PIECES_MAX)
                return n;
            n = add_piece(iov, n, piece);
            pin_skip(&pin, piece.len);
        }
    }
    return n < PIECES_MAX ? add_piece(iov, n, own) : n;
}

static ssize_t send_pieces(struct conn *conn)
{
    struct iovec iov[PIECES_MAX];
    struct msghdr message = {.msg_iov = iov};

    message.msg_iovlen = gather(conn, iov);
    return sendmsg(conn->fd, &message, MSG_NOSIGNAL);
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* n bytes of the stream are gone. */
static void sent(struct conn *conn, size_t n)
{
    while (n > 0 && !list_empty(&conn->loans)) {
        struct loan *loan = loan_of(conn->loans.next);
        size_t own = lesser(n, loan->before);
        size_t lent = lesser(n - own, loan->pin.left);

        buf_consume(&conn->out, own);
        loan->before -= own;
        pin_skip(&loan->pin, lent);
        conn->lent_bytes -= lent;
        n -= own + lent;
        if (loan->before > 0 || loan->pin.left > 0)
            return;
        loan_free(conn, loan);
    }
    buf_consume(&conn->out, n);
}

void output_send(struct conn *conn)
{
    uint64_t output_bytes = conn->worker->heritage->config->limits.output_bytes;
    ssize_t n = list_empty(&conn->loans)
                    ? send(conn->fd, buf_head(&conn->out), buf_len(&conn->out), MSG_NOSIGNAL)
                    : send_pieces(conn);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_abort(conn, strerror(errno));
        return;
    }
    if (n > 0) {
        sent(conn, (size_t)n);
        conn->active_ms = conn->worker->turn_ms;
        conn->over_since_ms = 0;
    }
    conn->blocked = output_unsent(conn) > 0;
    if (conn->over_since_ms == 0 && request_backlog(conn) > output_bytes)
        conn->over_since_ms = conn->worker->turn_ms;
}

/* ---- a reader that stalls ---- */

static int copy_loan(struct buf *out, struct pin *pin)
{
    while (pin->left > 0) {
        struct slice piece = pin_piece(pin);

        if (buf_append(out, piece.data, piece.len) != ERR_OK)
            return ERR_NOMEM;
        pin_skip(pin, piece.len);
    }
    return ERR_OK;
}

static int copy_loans(struct conn *conn, struct buf *out)
{
    while (!list_empty(&conn->loans)) {
        struct loan *loan = loan_of(conn->loans.next);

        conn->lent_bytes -= loan->pin.left;
        if (buf_append(out, buf_head(&conn->out), loan->before) != ERR_OK ||
            copy_loan(out, &loan->pin) != ERR_OK) {
            conn->lent_bytes += loan->pin.left;
            return ERR_NOMEM;
        }
        buf_consume(&conn->out, loan->before);
        loan_free(conn, loan);
    }
    return buf_append(out, buf_head(&conn->out), buf_len(&conn->out));
}

void output_settle(struct conn *conn, uint64_t now_ms)
{
    struct buf whole = {0};

    if (list_empty(&conn->loans) || now_ms < conn->active_ms + LOAN_STALL_MS)
        return;
    if (copy_loans(conn, &whole) != ERR_OK) {
        buf_fini(&whole);
        conn_abort(conn, "no memory for what it does not read");
        return;
    }
    buf_fini(&conn->out);
    conn->out = whole;
}
