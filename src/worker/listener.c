#define _GNU_SOURCE 1 /* accept4 */
#include "worker/listener.h"

#include "common/config.h"
#include "common/fdpass.h"
#include "common/log.h"
#include "worker/conn.h"
#include "worker/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections taken from one socket in one turn of the loop: a burst must not starve those that are
 * open. */
#define ACCEPT_BATCH 16

/* Handed-over connections taken in one turn. */
#define INBOX_BATCH 64

/* Something that brings connections: a listening socket, or the inbox of a slot (socket NULL). */
struct listener {
    struct list link; /* worker->listeners */
    uv_poll_t poll;
    struct worker *worker;
    const struct heritage_socket *socket;
    int fd;
    unsigned slot; /* whose it is: this worker's or an adopted one's; unix sockets count as this
                      worker's */
};

static void on_listener(uv_poll_t *poll, int status, int events);

/* --- passing connections between workers ---------------------------------------------------- */

unsigned listener_choose(const struct scoreboard *board, unsigned self)
{
    unsigned best = self;
    uint32_t least = atomic_load_explicit(&board->slots[self].connections, memory_order_relaxed);

    for (unsigned i = 0; i < board->n_slots; i++) {
        const struct scoreboard_slot *slot = &board->slots[i];
        uint32_t load;

        if (i == self || atomic_load_explicit(&slot->state, memory_order_relaxed) != SLOT_SERVING)
            continue;
        load = atomic_load_explicit(&slot->connections, memory_order_relaxed) +
               atomic_load_explicit(&slot->handed, memory_order_relaxed);
        if (load < least) {
            least = load;
            best = i;
        }
    }
    return best;
}

/* Give a connection to the least loaded worker; false: keep it. */
static bool hand_over(struct listener *listener, int fd)
{
    struct worker *worker = listener->worker;
    const struct heritage *heritage = worker->heritage;
    struct peer_message message = {.kind = PEER_CONNECTION,
                                   .number = (uint32_t)(listener->socket - heritage->sockets)};
    unsigned target = listener_choose(heritage->board, worker->slot);
    struct scoreboard_slot *slot = &heritage->board->slots[target];

    if (target == worker->slot)
        return false;
    /* Counted before it is sent, so that the receiver cannot reset the count in between. */
    atomic_fetch_add_explicit(&slot->handed, 1, memory_order_relaxed);
    if (peers_send(heritage, target, &message, &fd, 1)) {
        close(fd);
        return true;
    }
    atomic_fetch_sub_explicit(&slot->handed, 1, memory_order_relaxed);
    return false;
}

static void take_message(struct worker *worker, const struct peer_message *message, const int *fds,
                         unsigned n)
{
    const struct heritage *heritage = worker->heritage;

    if (message->kind == PEER_CONNECTION && n == 1 && message->number < heritage->n_sockets) {
        conn_open(worker, fds[0], heritage->sockets[message->number].listener);
    } else if (message->kind != PEER_CONNECTION && n == 2) {
        peers_answer(worker, message, fds[0], fds[1]);
    } else {
        for (unsigned i = 0; i < n; i++)
            close(fds[i]);
    }
}

static void read_inbox(struct listener *listener)
{
    struct worker *worker = listener->worker;

    for (int i = 0; i < INBOX_BATCH; i++) {
        struct peer_message message;
        int fds[FDPASS_MAX];
        unsigned n;

        if (!peers_receive(listener->fd, &message, fds, &n)) {
            atomic_store_explicit(&worker->heritage->board->slots[listener->slot].handed, 0,
                                  memory_order_relaxed);
            return;
        }
        take_message(worker, &message, fds, n);
    }
}

/* --- accepting ------------------------------------------------------------------------------ */

/* No descriptors or no memory in the kernel: accepting again at once would only spin. */
static void pause_accepting(struct worker *worker, int error)
{
    static bool said;

    if (!said)
        log_error("cannot accept connections: %s; trying again every %d ms (said once)",
                  strerror(error), WORKER_TICK_MS);
    said = true;
    worker->accept_paused = true;
    LIST_EACH_SAFE (node, next, &worker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);

        if (listener->socket != NULL)
            uv_poll_stop(&listener->poll);
    }
}

void listener_resume(struct worker *worker)
{
    if (!worker->accept_paused)
        return;
    worker->accept_paused = false;
    LIST_EACH_SAFE (node, next, &worker->listeners)
        uv_poll_start(&LIST_ENTRY(node, struct listener, link)->poll, UV_READABLE, on_listener);
}

/* Accept up to max connections. */
static void accept_some(struct listener *listener, int max)
{
    for (int i = 0; i < max; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (listener->socket->slot >= 0 || listener->worker->draining ||
                !hand_over(listener, fd))
                conn_open(listener->worker, fd, listener->socket->listener);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(listener->worker, errno);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
        /* Anything else is this one connection's trouble (accept(2) names a dozen): take the next.
         */
    }
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)events;
    if (status < 0)
        log_error("a listening socket of slot %u is broken: %s", listener->slot,
                  uv_strerror(status));
    else if (listener->socket == NULL)
        read_inbox(listener);
    else
        accept_some(listener, ACCEPT_BATCH);
}

/* --- the set of what is polled -------------------------------------------------------------- */

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void listener_close(struct listener *listener)
{
    list_remove(&listener->link);
    uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
}

static int listener_add(struct worker *worker, int fd, const struct heritage_socket *socket,
                        unsigned slot)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    if (listener == NULL)
        return ERR_NOMEM;
    if (uv_poll_init(&worker->loop, &listener->poll, fd) != 0) {
        free(listener);
        return ERR_SYSTEM;
    }
    listener->poll.data = listener;
    listener->worker = worker;
    listener->socket = socket;
    listener->fd = fd;
    listener->slot = slot;
    list_push(&worker->listeners, &listener->link);
    if (uv_poll_start(&listener->poll, UV_READABLE, on_listener) != 0) {
        listener_close(listener);
        return ERR_SYSTEM;
    }
    return ERR_OK;
}

/* Poll the slot's inbox and its own (TCP) sockets. */
static int slot_add(struct worker *worker, unsigned slot)
{
    const struct heritage *heritage = worker->heritage;
    int status = listener_add(worker, heritage->handover_fds[slot][0], NULL, slot);

    for (size_t i = 0; i < heritage->n_sockets && status == ERR_OK; i++) {
        const struct heritage_socket *socket = &heritage->sockets[i];

        if (socket->slot == (int)slot)
            status = listener_add(worker, socket->fd, socket, slot);
    }
    return status;
}

static void slot_remove(struct worker *worker, unsigned slot)
{
    LIST_EACH_SAFE (node, next, &worker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);

        if (listener->slot == slot)
            listener_close(listener);
    }
}

static bool slot_is_polled(const struct worker *worker, unsigned slot)
{
    LIST_EACH_SAFE (node, next, &worker->listeners) {
        if (LIST_ENTRY(node, struct listener, link)->slot == slot)
            return true;
    }
    return false;
}

void listener_claim(struct worker *worker)
{
    const struct heritage *heritage = worker->heritage;
    uint32_t adopter = atomic_load_explicit(&worker->board->adopter, memory_order_acquire);
    uint64_t one = 1;

    if (adopter == SCOREBOARD_NOBODY)
        return;
    if (write(heritage->wake_fds[adopter], &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn("cannot wake worker %u: %s", adopter, strerror(errno));
}

int listener_start(struct worker *worker, struct errmsg *msg)
{
    const struct heritage *heritage = worker->heritage;
    int status;

    list_init(&worker->listeners);
    status = slot_add(worker, worker->slot);
    for (size_t i = 0; i < heritage->n_sockets && status == ERR_OK; i++) {
        const struct heritage_socket *socket = &heritage->sockets[i];

        if (socket->slot < 0)
            status = listener_add(worker, socket->fd, socket, worker->slot);
    }
    if (status != ERR_OK)
        return err_set(msg, status, "cannot poll the listening sockets");
    return ERR_OK;
}

/* Whether the slot's connections are this worker's: as long as its own worker does not serve. Else
 * what is handed to the new worker would be taken away from it until the master has noticed that it
 * serves. */
static bool is_mine_to_serve(const struct worker *worker, unsigned slot)
{
    const struct scoreboard_slot *other = &worker->heritage->board->slots[slot];

    return atomic_load_explicit(&other->adopter, memory_order_acquire) == worker->slot &&
           atomic_load_explicit(&other->state, memory_order_acquire) != SLOT_SERVING;
}

void listener_adopt(struct worker *worker)
{
    const struct scoreboard *board = worker->heritage->board;

    if (worker->draining)
        return;
    for (unsigned slot = 0; slot < board->n_slots; slot++) {
        bool wanted = is_mine_to_serve(worker, slot);
        bool polled = slot_is_polled(worker, slot);

        if (slot == worker->slot)
            continue;
        if (wanted && !polled) {
            log_debug("accepting for slot %u", slot);
            if (slot_add(worker, slot) != ERR_OK)
                log_warn("cannot accept for slot %u: no memory", slot);
        } else if (!wanted && polled) {
            log_debug("no longer accepting for slot %u", slot);
            slot_remove(worker, slot);
        }
    }
}

void listener_stop(struct worker *worker)
{
    const struct heritage *heritage = worker->heritage;

    LIST_EACH_SAFE (node, next, &worker->listeners) {
        struct listener *listener = LIST_ENTRY(node, struct listener, link);

        if (listener->socket == NULL)
            read_inbox(listener);
        else
            accept_some(listener, listener->socket->listener->backlog);
        listener_close(listener);
    }
    for (size_t i = 0; i < heritage->n_sockets; i++)
        close(heritage->sockets[i].fd);
}
