/* A zone: the shared memory of one named cache, one memfd, offsets only.
 *
 * The resident layout is in layout.h; `struct zone` here is this process' handle on it. The master
 * creates the zone before it forks; each process that writes joins with a slot of its own (pid and
 * start time), never shared by two live processes. Repair of a dead process is in repair.h.
 */
#ifndef SHM_ZONE_H
#define SHM_ZONE_H

#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct zone; /* opaque; members in layout.h for src/shm only */

#define ZONE_MIN_BYTES  (4u << 20)
#define ZONE_MAX_OWNERS 128 /* two sets of 62 workers and their masters, and spares */
#define ZONE_NAME_MAX   63

struct zone_options {
    const char *name;       /* the named cache; at most ZONE_NAME_MAX bytes */
    uint64_t size_bytes;    /* rounded down to pages; at least ZONE_MIN_BYTES */
    uint32_t key_max_bytes; /* 1..65535 */
    bool size_credit;       /* small entries are promoted more easily than large ones (evict.h) */
    bool populate;          /* touch every page now, so that lack of memory is an error here */
    bool huge_pages;        /* where the kernel has them: pages of 2 MiB */
    bool lock;              /* never swapped out; an error where that is not allowed */
};

/* Allocate, format, map and seal. out: this process' handle, not joined yet.
 * Errors: ERR_INVALID for sizes out of range, ERR_SYSTEM, ERR_NOMEM (populate failed; msg has both
 * figures). */
int zone_create(const struct zone_options *options, struct zone **out,
                struct errmsg *msg) MUST_CHECK;

/* Take a slot for this process, in a mapping inherited through fork or just created. Call once
 * in each process. ERR_LIMIT when all slots are held by live processes. */
int zone_join(struct zone *zone, struct errmsg *msg) MUST_CHECK;

/* Seal this process' open slabs, give back its leases and the slot. Must hold no lock or write stub.
 */
void zone_leave(struct zone *zone);

/* Unmap and close; the memory goes with the last process that maps it. */
void zone_destroy(struct zone *zone);

int zone_fd(const struct zone *zone);
const char *zone_name(const struct zone *zone);
uint64_t zone_size(const struct zone *zone);
/* The largest value this zone takes: an eighth of it. */
uint64_t zone_value_max(const struct zone *zone);
uint32_t zone_key_max(const struct zone *zone);

/* The event number (design rule 1). zone_seq: the current one, what an operation "begins at".
 * zone_clear: take the next one and make every entry stored under an older one invalid at once;
 * returns it. zone_epoch_move: likewise for trust: older entries become stale (TABLE_STALE). */
uint64_t zone_seq(const struct zone *zone);
uint64_t zone_clear(struct zone *zone);
uint64_t zone_epoch_move(struct zone *zone);

/* A clear to come, at a boottime; 0 = none. A later call takes an earlier one's place. */
void zone_clear_at(struct zone *zone, uint64_t at_ms);
/* Whether it is due: true for one caller, who clears. */
bool zone_clear_due(struct zone *zone, uint64_t now_ms);

/* A bit that any process has set stays set as long as the zone lives: 0..31, the caller's meaning. */
void zone_mark(struct zone *zone, unsigned bit);
uint32_t zone_marks(const struct zone *zone);

/* The master says it lives (at least every 250 ms); mapped readers distrust an old heartbeat. */
void zone_heartbeat(struct zone *zone, uint64_t now_ms);

#endif
