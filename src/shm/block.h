/* Memory for the index beyond each stripe's first buckets: blocks of (1 << block_shift) buckets,
 * all of one size, in slabs taken from the common pool.
 *
 * Such a slab begins with a map, one word a block: 0 = free, else the number of the stripe that has
 * it, + 1. The map, the slab's live count and the pool's counts change under the pool's lock, which
 * is only ever tried, for a bounded time, and may be taken under a stripe's lock, never before one.
 *
 * Recovery: what a process that died with the pool's lock has half done are the counts: they are
 * counted again. A block that is marked for a stripe and not in its directory is freed with the
 * repair of that stripe, whose intent was set; a slab not yet or no longer in state INDEX is the
 * dead one's by its own word.
 */
#ifndef SHM_BLOCK_H
#define SHM_BLOCK_H

#include "shm/slab.h"

/* The line of a block for this stripe, which is locked; 0 = none, and another slab is asked for. */
uint32_t block_take(struct zone *zone, const struct stripe *stripe);

/* Give one back that no directory names any more. false: locked, it is still the stripe's. */
bool block_give(struct zone *zone, uint32_t line);

/* Say that a block may be needed soon: a chain has become full. */
void block_expect(struct zone *zone);

/* When blocks have become few, set another slab aside, evicting for it if need be. Called before a
 * store, without any lock. */
void block_feed(struct zone *zone, uint64_t now_ms);

/* Return one slab that holds no block in use, where others have some left. Without any lock. */
void block_tidy(struct zone *zone);

/* Who holds the lock of the blocks; 0 = nobody. */
uint32_t block_lock_owner(const struct zone *zone);

/* Count again what an owner died in the middle of, and free its lock. */
void block_repair(struct zone *zone, uint32_t dead);

/* Free the stripe's blocks that known() does not know. false: locked. */
bool block_mend(struct zone *zone, const struct stripe *stripe,
                bool (*known)(const struct zone *zone, const struct stripe *stripe, uint32_t line));

/* Whether a line is that of a block of the stripe. */
bool block_is_of(const struct zone *zone, const struct stripe *stripe, uint32_t line);

/* How many blocks a slab of the index has, and how many of them are in use by its map. */
uint32_t block_count(const struct zone *zone);
uint32_t block_used(const struct zone *zone, uint32_t slab);

#endif
