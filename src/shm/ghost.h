/* Ghosts: which keys were evicted from the small queue lately, so that one that comes back is taken
 * for a key worth keeping (S3-FIFO). A fixed table of 4-byte words in lines of LAYOUT_GHOSTS:
 *
 *   stamp 12 | fingerprint 20      0 = empty
 *
 * The stamp counts ghosts made, in steps of a thousandth of the table. A ghost counts while no more
 * than nine tenths as many were made since as there are entries in the cache, so the table behaves
 * as a queue of that length, or of its own if that is shorter; a new one takes the place of the
 * oldest in its line. In about one look-up in 65,000 a fingerprint is another key's: that key then
 * skips the small queue, nothing worse.
 *
 * No locks: words are loaded and stored whole, and a lost or doubled ghost is only a worse guess.
 * No word is wrong after a crash. Source: Yang et al., "FIFO queues are all you need for cache
 * eviction", SOSP 2023. */
#ifndef SHM_GHOST_H
#define SHM_GHOST_H

#include "shm/layout.h"

/* Remember the key with this hash. */
void ghost_add(struct zone *zone, uint64_t hash);

/* Whether it is remembered; it is not any more afterwards. */
bool ghost_take(struct zone *zone, uint64_t hash);

/* For the validator: the words that are neither empty nor a ghost. */
uint32_t ghost_check(const struct zone *zone);

#endif
