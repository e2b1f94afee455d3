/* Who may map which cache's memory read-only (caches.direct), settled before the first fork: names
 * are looked up here, where it may take time. */
#ifndef MASTER_DIRECT_H
#define MASTER_DIRECT_H

#include "cache/heritage.h"
#include "common/err.h"

/* For every cache with direct = true: open its memory for reading and find its users. The zones are
 * there. ERR_INVALID: there is no such user; ERR_SYSTEM. */
int direct_prepare(struct heritage *heritage, struct errmsg *msg) MUST_CHECK;
void direct_undo(struct heritage *heritage);

#endif
