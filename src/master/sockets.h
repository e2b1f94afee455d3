/* The sockets that workers inherit: listening ones, and those by which the daemon's processes reach
 * each other. All are opened before the first fork and stay open in the master, so that no
 * connection is refused while a worker is being replaced. */
#ifndef MASTER_SOCKETS_H
#define MASTER_SOCKETS_H

#include "cache/heritage.h"

#include <sys/types.h>

struct sockets {
    struct heritage_socket *list; /* heritage->sockets points here */
    size_t n;
    /* The files of our unix sockets, to remove only what is still ours. */
    struct socket_file {
        const char *path;
        dev_t dev;
        ino_t ino;
    } files[CONFIG_MAX_LISTENERS];
    size_t n_files;
};

/* Open every listener: TCP one socket a worker slot with SO_REUSEPORT, unix one for all. A
 * stale socket file (nobody answers on it) is replaced; one that a running daemon
 * answers on is an error, as are a TCP port in use and a missing directory (but the default
 * relative directory `run` is made). sockets: zeroed. On failure nothing stays open.
 * Errors: ERR_INVALID (address), ERR_SYSTEM, ERR_LIMIT (in use), ERR_NOMEM. */
int sockets_open(struct sockets *sockets, const struct config *config,
                 struct errmsg *msg) MUST_CHECK;

/* Close them and remove the socket files that are still ours. */
void sockets_close(struct sockets *sockets);

/* An eventfd and a handover socket pair per worker slot. Zero workers' worth stay open on failure.
 */
int sockets_open_channels(struct heritage *heritage, unsigned n_slots,
                          struct errmsg *msg) MUST_CHECK;
void sockets_close_channels(struct heritage *heritage, unsigned n_slots);

/* Wake one worker, or all of them, to look at the shared state again. */
void sockets_ring(const struct heritage *heritage, unsigned slot);
void sockets_ring_all(const struct heritage *heritage);

#endif
