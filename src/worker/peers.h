/* What workers say to each other, by datagrams on each slot's handover socket: connections that one
 * has accepted for another, and questions about the connections of another. */
#ifndef WORKER_PEERS_H
#define WORKER_PEERS_H

#include "worker/worker.h"

enum peer_kind {
    PEER_CONNECTION, /* number: of the listening socket. With the connection */
    PEER_LIST,       /* number: the slot that is asked. With where the answer goes, and what to ring */
    PEER_KILL,       /* likewise */
};

#define PEER_ADDRESS_MAX 64

struct peer_message {
    uint32_t kind;
    uint32_t number;
    uint64_t id;                     /* PEER_KILL: of the connection; 0 = by its address */
    char address[PEER_ADDRESS_MAX]; /* PEER_KILL: as CLIENT LIST prints it */
};

/* Send a message with its descriptors, which stay open. false: the inbox is full. */
bool peers_send(const struct heritage *heritage, unsigned slot, const struct peer_message *message,
                const int *fds, unsigned n);

/* The next message in an inbox; fds: FDPASS_MAX of them, *n came. false: it is empty. */
bool peers_receive(int inbox, struct peer_message *message, int *fds, unsigned *n);

/* Answer a question: what is known goes into the file, then the eventfd is rung, and both are
 * closed. One that is for a slot whose worker is gone gets an empty answer. */
void peers_answer(struct worker *worker, const struct peer_message *question, int file, int ring);

#endif
