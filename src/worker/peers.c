#include "worker/peers.h"

#include "common/fdpass.h"
#include "common/log.h"
#include "worker/client.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool peers_send(const struct heritage *heritage, unsigned slot, const struct peer_message *message,
                const int *fds, unsigned n)
{
    return fdpass_send(heritage->handover_fds[slot][1], message, sizeof(*message), fds, n) ==
           (ssize_t)sizeof(*message);
}

bool peers_receive(int inbox, struct peer_message *message, int *fds, unsigned *n)
{
    return fdpass_receive(inbox, message, sizeof(*message), fds, n, MSG_DONTWAIT) ==
           (ssize_t)sizeof(*message);
}

static int compose(struct worker *worker, const struct peer_message *question, struct buf *answer)
{
    struct slice address = slice_make(question->address,
                                      strnlen(question->address, sizeof(question->address)));

    if (question->number != worker->slot)
        return ERR_OK;
    if (question->kind == PEER_LIST)
        return client_lines(worker, NULL, answer);
    return buf_printf(answer, "%llu",
                      (unsigned long long)client_kill(worker, address, question->id, NULL));
}

void peers_answer(struct worker *worker, const struct peer_message *question, int file, int ring)
{
    struct buf answer = {0};

    if (compose(worker, question, &answer) != ERR_OK)
        buf_truncate(&answer, 0);
    /* Into memory: it takes all of it or none. */
    if (write(file, buf_slice(&answer).data, buf_len(&answer)) < 0 || eventfd_write(ring, 1) != 0)
        log_warn("another worker's question was not answered: %s", strerror(errno));
    buf_fini(&answer);
    close(file);
    close(ring);
}
