/* Storing an entry in three steps: write its bytes where nobody looks, publish it under the
 * stripe's lock, and afterwards free what it replaced. Shared by table.c and lease.c. Or in one:
 * over an entry of the same key that takes as many bytes. */
#ifndef SHM_STORE_H
#define SHM_STORE_H

#include "shm/index.h"

/* Entries above this are never overwritten in place: a worker may be sending their bytes from the
 * zone, and a short copy is all that should happen under a lock. */
#define STORE_IN_PLACE_MAX 4096

struct store {
    const struct table_key *key;
    const struct table_write *write;
    struct entry_view view; /* what was written */
    unsigned place;         /* where it was appended (slab.h) */
    bool fits;              /* the key has an entry that could be overwritten */
    bool main;              /* the queue it goes to */
    uint32_t first_slab;    /* of a large value: ours until published */
    uint32_t freed;         /* large value that was replaced: to be freed */
};

/* Look, without a lock, at what the key has now: fills fits and main. STORED or TOO_LARGE. */
enum table_result store_look(struct zone *zone, const struct table_key *key,
                             const struct table_write *write, uint64_t now_ms, struct store *store);

/* Overwrite the entry found at spot (store->fits says it is worth trying; store_append() need not
 * have run). false: it does not fit any more; nothing was changed. */
bool store_over_locked(struct zone *zone, struct stripe *stripe, const struct store *store,
                       const struct index_spot *spot, const struct entry_view *view, uint64_t seq,
                       uint64_t now_ms);

/* After store_look(): write the entry, making room as needed. Results as store_begin(). */
enum table_result store_append(struct zone *zone, struct store *store, uint64_t now_ms);

/* Write the entry, making room as needed. STORED: ready, to be ended with store_end(). TOO_LARGE,
 * FULL: nothing is held. No stripe lock may be held. */
enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms,
                              struct store *store);

/* Before that: what computing it took, where write asked for it (delta_ms or stale_ms set). */
void store_delta(struct zone *zone, const struct store *store, uint32_t delta_ms);

/* Point the table to it. spot: from index_find() on this key, under the same lock. */
void store_publish_locked(struct zone *zone, struct stripe *stripe, struct store *store,
                          const struct index_spot *spot, uint64_t seq, uint64_t now_ms);

/* After the lock is released: give back what is not used. published: store_publish_locked() ran. */
void store_end(struct zone *zone, struct store *store, bool published);

#endif
