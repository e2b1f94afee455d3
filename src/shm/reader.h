/* Reading a zone through a read-only mapping: what local processes that are not the daemon's do
 * (libcachetastic). They cannot write a byte of it, so they take no lock, mark no access and count
 * nothing in it; what they cannot decide alone they ask the daemon through the socket.
 *
 * A reader trusts the daemon that handed it the descriptor, not its life: without a heartbeat for
 * READER_DEAD_MS it answers READER_ASK and nothing else. One thread at a time.
 */
#ifndef SHM_READER_H
#define SHM_READER_H

#include "shm/table.h"

/* The master beats at least every 250 ms (zone_heartbeat()). */
#define READER_DEAD_MS 1000

struct reader; /* a mapping, and when its master was last heard of */

enum reader_result {
    READER_HIT,
    READER_MISS,      /* the zone does not have it, or no longer */
    READER_TOO_LARGE, /* value->len is more than the caller's room; nothing was copied */
    READER_ASK,       /* only the daemon can tell: banned perhaps, not to be trusted since the last
                         epoch move, being changed, or the daemon is not heard of */
};

/* What was found, beside the bytes. */
struct reader_value {
    uint64_t expires_ms; /* boottime; 0 = none */
    uint32_t len;
    uint32_t delta_ms; /* what computing it took, where it was computed under a lease */
    uint16_t flags;    /* as in table_hit */
};

/* The daemon: a descriptor of the zone's memory that cannot be mapped writable, for another uid
 * than the memory's owner (who could open it anew). The caller closes it. ERR_SYSTEM. */
int reader_descriptor(const struct zone *zone, struct errmsg *msg) MUST_CHECK;

/* Map what such a descriptor leads to. fd stays the caller's. ERR_INVALID: it is no zone, or one
 * of another layout than this library's; ERR_SYSTEM: the map was refused. */
int reader_open(int fd, struct reader **out, struct errmsg *msg) MUST_CHECK;
void reader_close(struct reader *reader);

/* The key's hash in this zone. */
struct table_key reader_key(const struct reader *reader, struct slice bytes);

/* Find a key and copy its value, without its metadata, into room for cap bytes. value: filled on
 * HIT and TOO_LARGE. Expiry is exact to the millisecond. No system call where the clock needs none.
 * Locks: none. Source: bucket versions as in index.h. */
enum reader_result reader_get(struct reader *reader, const struct table_key *key, void *buf,
                              size_t cap, struct reader_value *value);

/* The keys are about to be read: worth it from about four on. */
void reader_prefetch(const struct reader *reader, const struct table_key *keys, size_t n);

/* Whether the master has been heard of within READER_DEAD_MS. */
bool reader_alive(struct reader *reader);

#endif
