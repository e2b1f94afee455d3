/* The memory under a zone: one memfd, sealed, mapped, and made present as the options ask. */
#ifndef SHM_MEMORY_H
#define SHM_MEMORY_H

#include "shm/zone.h"

struct memory {
    int fd;
    void *base;
    uint64_t size;
};

/* Make options->size_bytes (already whole pages) of it. What cannot be had but is only faster (huge
 * pages, interleaving) is logged and left out. On failure nothing is held. ERR_SYSTEM, ERR_NOMEM.
 */
int memory_create(const struct zone_options *options, uint64_t size, struct memory *memory,
                  struct errmsg *msg) MUST_CHECK;
void memory_destroy(struct memory *memory);

#endif
