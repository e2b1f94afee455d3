/* The master: allocates what is shared, opens the sockets, keeps the workers alive, repairs after
 * the dead, sweeps, and applies invalidations from Redis. It serves no client. */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "cache/heritage.h"

struct master_options {
    const struct config *config;
    bool daemonize;
    /* The worker's main function: handed in by main.c, since master and worker do not know each
     * other. */
    int (*worker_run)(const struct heritage *heritage, unsigned slot);
    /* Called once when every listener is open and the workers run (dev run prints its hints); may
     * be NULL. */
    void (*ready)(const struct config *config);
};

/* Run until told to stop. Returns the exit status: 0 after TERM or QUIT. Errors at start go to the
 * log and to stderr. */
int master_run(const struct master_options *options);

#endif
