/* Overflow buckets of a stripe. Its directory has one word a block: line 32 | marks of those in use
 * 32. All of it is [stripe]; the intent is set before any call that changes something, so that
 * repair marks anew what the chains lead to.
 */
#ifndef SHM_SPILL_H
#define SHM_SPILL_H

#include "shm/layout.h"

/* A free overflow bucket, marked as used; its slots are garbage. NULL: the index may not grow. */
struct bucket *spill_take_locked(struct zone *zone, struct stripe *stripe);

/* Give back one that no chain leads to any more. */
void spill_give_locked(struct zone *zone, struct stripe *stripe, const struct bucket *bucket);

/* Return the last block, if it is not in use. false: it is, or it could not be. */
bool spill_shrink_locked(struct zone *zone, struct stripe *stripe);

/* Forget all marks, then mark what is found. */
void spill_clear(struct zone *zone, struct stripe *stripe);
/* false: it is not an overflow bucket of this stripe. */
bool spill_mark(struct zone *zone, struct stripe *stripe, const struct bucket *bucket);

/* For the validator. */
bool spill_marked(const struct zone *zone, const struct stripe *stripe,
                  const struct bucket *bucket);
uint32_t spill_count(const struct zone *zone, const struct stripe *stripe);

/* The line of block i; 0 = none. */
uint32_t spill_block(const struct zone *zone, const struct stripe *stripe, uint32_t i);

#endif
