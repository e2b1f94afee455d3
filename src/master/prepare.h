/* What the master makes before its first fork: the heritage of the workers, apart from the sockets.
 */
#ifndef MASTER_PREPARE_H
#define MASTER_PREPARE_H

#include "cache/heritage.h"

/* Fill the heritage: user, node id, scoreboard, journal and breaker (with Redis), jobs, one zone a
 * cache. heritage: zeroed, with config set. On failure the caller runs prepare_undo(). */
int prepare_heritage(struct heritage *heritage, struct errmsg *msg) MUST_CHECK;
void prepare_undo(struct heritage *heritage);

/* Raise RLIMIT_NOFILE to what limits.connections may need; warns when that is not possible. */
void prepare_file_limit(const struct config *config);

#endif
