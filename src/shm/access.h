/* Which keys mapped readers read (reader.h), so that eviction keeps what they use: a ring of key
 * hashes in a memfd of its own for each of them, the only memory they can write.
 *
 * What is in it is untrusted: any hash is only looked up, any position only bounds how many are
 * taken, any count is only added to the statistics. A reader that overwrites what has not been
 * drained yet loses it. The daemon makes the ring, and seals its size, so that draining never
 * faults.
 */
#ifndef SHM_ACCESS_H
#define SHM_ACCESS_H

#include "shm/zone.h"

#include <stdbool.h>
#include <stdint.h>

#define ACCESS_SAMPLE 16 /* one in so many reads is noted: that still beats exact LRU */

struct access; /* a mapping of a ring */

/* The daemon's side. fd: to be sent to the reader, then closed by the caller. ERR_SYSTEM,
 * ERR_NOMEM.
 */
int access_create(struct access **out, int *fd, struct errmsg *msg) MUST_CHECK;

/* The reader's side. fd stays the caller's. */
int access_open(int fd, struct access **out, struct errmsg *msg) MUST_CHECK;
void access_close(struct access *access);

/* The reader has read a key, by its hash in the zone: counted, and one in ACCESS_SAMPLE noted. */
void access_hit(struct access *access, uint64_t hash);
void access_miss(struct access *access);

/* The daemon: mark what was noted since the last call in the zone's table, a ring's length at most,
 * and add what was counted to its statistics. */
void access_drain(struct access *access, struct zone *zone);

#endif
