/* The pid file: who runs here, locked for as long as it does. */
#ifndef MASTER_PIDFILE_H
#define MASTER_PIDFILE_H

#include "common/err.h"

struct pidfile {
    const char *path; /* borrowed; NULL = none */
    int fd;
};

/* Write our pid. path NULL or "": no pid file. ERR_LIMIT when a running daemon holds it (the lock
 * belongs to the process, so it goes with it, and a file left behind is simply taken over). */
int pidfile_open(struct pidfile *pidfile, const char *path, struct errmsg *msg) MUST_CHECK;
/* Remove the file. */
void pidfile_close(struct pidfile *pidfile);

#endif
