/* Signals as flags: handlers run nothing, one function of the master acts on what has been seen. */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

#include "common/err.h"

#include <stdbool.h>

struct signals {
    int fd;       /* a signalfd; not uv_signal, whose process-wide handler would outlive fork */
    bool stop;    /* TERM, INT */
    bool drain;   /* QUIT */
    bool reopen;  /* USR1 */
    bool child;   /* CHLD */
    bool reload;  /* HUP */
    bool upgrade; /* USR2 */
};

/* Block the signals that the master acts on and open the descriptor. SIGPIPE is ignored. */
int signals_open(struct signals *signals, struct errmsg *msg) MUST_CHECK;
/* Take what has arrived into the flags. */
void signals_read(struct signals *signals);
void signals_close(struct signals *signals);

#endif
