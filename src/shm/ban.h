/* Bans: recorded patterns that make every older matching entry invalid at once. A ring in the zone;
 * readers test only bans newer than the entry; the sweeper removes what they hit and retires them.
 */
#ifndef SHM_BAN_H
#define SHM_BAN_H

#include "shm/table.h"

#define BAN_PATTERN_MAX 240

enum ban_result {
    BAN_RECORDED,
    BAN_FULL,     /* the ring is full: park, try again after a sweep */
    BAN_TOO_LONG, /* over BAN_PATTERN_MAX */
};

/* Take the next sequence and record the pattern (glob.h). Exact as soon as this returns. */
enum ban_result ban_add(struct zone *zone, struct slice pattern);

/* Purge a tag: every older entry that carries it (or one whose hash collides, which is safe) is
 * invalid at once. Never fails, never waits. */
void ban_tag(struct zone *zone, struct slice tag);

/* Bans not yet retired. */
unsigned ban_active(const struct zone *zone);

/* For src/shm: whether a ban newer than seq matches the key. The entry's own number is not raised
 * after the test: a clear that took a lower number may not have published it yet, and the entry
 * would outlive it. */
bool ban_hits(const struct zone *zone, struct slice key, uint64_t seq);

/* For the sweeper: the bans recorded now (seqs: 256 places), and, after a walk over every entry
 * that began later, their end. */
void ban_snapshot(const struct zone *zone, uint64_t *seqs);
void ban_retire(struct zone *zone, const uint64_t *seqs);

/* For repair: free what a dead owner was recording. Returns how many records. */
unsigned ban_release(struct zone *zone, uint32_t owner);

#endif
