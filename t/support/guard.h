/* Buffers that end at an inaccessible page, so that reading one byte too far kills the test. */
#ifndef SUPPORT_GUARD_H
#define SUPPORT_GUARD_H

#include <stddef.h>

struct guard {
    char *map; /* writable pages, then one PROT_NONE page */
    size_t map_bytes;
    size_t room; /* writable bytes */
};

/* room: rounded up to pages. Aborts when memory is short: a test cannot go on. */
void guard_init(struct guard *guard, size_t room);
void guard_fini(struct guard *guard);

/* A copy of len (at most room) bytes that ends exactly at the inaccessible page. The bytes before
 * it are 0xee. Valid until the next call. data is not evaluated when len is 0. */
char *guard_place(struct guard *guard, const void *data, size_t len);

#endif
