/* Which slab to reclaim next, and how: the only place that decides (the rules are in evict.h). */
#ifndef SHM_VICTIM_H
#define SHM_VICTIM_H

#include "shm/evict.h"

/* LAYOUT_NONE when there is none. Looks over all slab headers now and then; no locks. */
uint32_t victim_choose(struct zone *zone, uint64_t now_ms, enum evict_mode *mode);

/* Whether other processes have slabs open or in reclaim: what they hold may be free soon. */
bool victim_elsewhere(const struct zone *zone);

#endif
