/* Events on their way to whoever subscribed to them: a bounded ring in memory shared by fork, many
 * writers, many readers that each read all of it.
 *
 * Nobody listens: a writer's cost is one relaxed load (event_wanted()). Nobody waits for anybody: a
 * writer that finds its place taken drops the event and counts it, a reader that was overtaken
 * counts what it missed. An event is seen whole or not at all: each place has a state word, which
 * says whose event is there and whether it is being written, and a reader looks at it before and
 * after it copies.
 *
 * A writer killed in the middle leaves its place marked as being written: readers pass over it
 * after EVENT_GRACE_NS, writers of later rounds leave it out, and event_repair() frees it. One
 * killed between taking a number and marking the place leaves nothing but a number that readers
 * pass over likewise.
 */
#ifndef SHM_EVENT_H
#define SHM_EVENT_H

#include "common/err.h"
#include "common/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EVENT_PLACES    4096 /* a power of two */
#define EVENT_KEY_BYTES 464  /* of longer keys the beginning is kept */
#define EVENT_GRACE_NS  UINT64_C(20000000)

struct event {
    uint64_t duration_ns;
    uint16_t key_len; /* of the key itself; kept are at most EVENT_KEY_BYTES */
    uint8_t kind;     /* these three are the user's */
    uint8_t cache;
    uint8_t result;
    uint8_t owner; /* who wrote it: worker slot + 1 */
    uint8_t spare[2];
    char key[EVENT_KEY_BYTES];
};

struct events {
    _Atomic uint64_t listeners; /* a bit for each worker slot that has subscribers */
    _Atomic uint64_t dropped;   /* by writers, since the start */
    _Alignas(64) _Atomic uint64_t next;
    /* Then the places. */
};

/* Where a reader is. */
struct event_cursor {
    uint64_t next;
    uint64_t waiting_since_ns; /* for the writer of that one; 0: not waiting */
};

int event_create(struct events **out, struct errmsg *msg) MUST_CHECK;
void event_destroy(struct events *events);

static inline bool event_wanted(const struct events *events)
{
    return atomic_load_explicit(&events->listeners, memory_order_relaxed) != 0;
}

/* owner: 1..255. key: borrowed; its beginning is copied into event->key here. Returns false when it
 * was dropped. No locks, no system calls. */
bool event_write(struct events *events, unsigned owner, struct event *event, struct slice key);

/* slot: 0..63. */
void event_listen(struct events *events, unsigned slot, bool on);

/* From now on. */
void event_begin(const struct events *events, struct event_cursor *cursor);
/* The next event: 1; 0 when there is none yet. Adds those missed to *lost. */
int event_read(struct events *events, struct event_cursor *cursor, uint64_t now_ns,
               struct event *out, uint64_t *lost);

/* Master only: after the death of the process that wrote as owner and listened as slot. */
void event_repair(struct events *events, unsigned owner, unsigned slot);

#endif
