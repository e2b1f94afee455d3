/* How much memory may still be taken: what the machine has available, and what every control group
 * above this process leaves. Asked before a zone is populated, because populating beyond a group's
 * limit is no error: the kernel kills. */
#ifndef SHM_ROOM_H
#define SHM_ROOM_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

struct room {
    uint64_t bytes;   /* the least of all that was found; UINT64_MAX when nothing was */
    char source[320]; /* what sets it: "MemAvailable", or a limit's file; for people */
};

/* root: in front of /proc and /sys, "" but in tests. Control groups of version 2 (memory.max) and
 * of version 1 (memory.limit_in_bytes), each with all its ancestors; memory that holds cached files
 * counts as free there, as it does in MemAvailable. What cannot be read sets no bound. */
void room_find(const char *root, struct room *room);

/* One cache's wish. */
struct room_ask {
    const char *name;
    uint64_t bytes;
};

/* Whether all of them together fit. ERR_NOMEM: msg has what was asked, what there is, and where
 * that figure comes from. */
int room_check(const struct room *room, const struct room_ask *asks, size_t n,
               struct errmsg *msg) MUST_CHECK;

#endif
