/* Splitting and merging the buckets of a stripe, one at a time. The stripe is locked, and no chain
 * is half changed.
 *
 * A split builds the new chain where no reader looks, makes the old head odd, publishes the new
 * table word and then takes what has moved out of the old chain. At any instruction an entry that
 * the table word leads to is in its chain; what is in the wrong one, or twice in the right one,
 * repair drops.
 */
#ifndef SHM_GROW_H
#define SHM_GROW_H

#include "shm/index.h"

/* Whether the stripe's chains have become long. */
bool grow_due(const struct zone *zone, const struct stripe *stripe);

/* One more bucket. false: the index may not grow now; then the intent is left set. */
bool grow_split_locked(struct zone *zone, struct stripe *stripe);

/* One less, if the last one and the one it came from fit into one with at most one overflow bucket.
 */
bool grow_merge_locked(struct zone *zone, struct stripe *stripe);

/* Return one block of heads beyond those in use. false: there is none, or it could not be. */
bool grow_trim_locked(struct zone *zone, struct stripe *stripe);

/* Lengthen a chain by a bucket that is nobody's and already holds word. */
void grow_extend(struct zone *zone, const struct index_array *a, struct bucket *head,
                 struct bucket *fresh, uint64_t word);

/* Fill the holes of a chain from its end, and give back overflow buckets that are not needed. Its
 * head is odd, or nobody reads it. */
void grow_pack_locked(struct zone *zone, struct stripe *stripe, const struct index_array *a,
                      struct bucket *head);

#endif
