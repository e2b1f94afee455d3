/* Going to the background: the command returns when the daemon serves, or with its error. */
#ifndef MASTER_BACKGROUND_H
#define MASTER_BACKGROUND_H

#include "common/err.h"

/* Fork. In the child: a new session, and *notify_fd to be given to background_ready(); returns
 * ERR_OK. The parent does not return: it exits with 0 once the child is ready, with 1 when it ended
 * before. */
int background_enter(int *notify_fd, struct errmsg *msg) MUST_CHECK;

/* Let go of the terminal: before the first worker is forked, when everything that can be wrong with
 * the configuration has been said. */
int background_detach(struct errmsg *msg) MUST_CHECK;

/* Tell the waiting parent. */
void background_ready(int notify_fd);

#endif
