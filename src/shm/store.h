/* Storing an entry in three steps: write its bytes where nobody looks, publish it under the
 * stripe's lock, and afterwards free what it replaced. Shared by table.c and lease.c. */
#ifndef SHM_STORE_H
#define SHM_STORE_H

#include "shm/index.h"

struct store {
    const struct table_key *key;
    const struct table_write *write;
    struct entry_view view; /* what was written */
    unsigned class;         /* of the open slab it lies in */
    uint32_t first_slab;    /* of a large value: ours until published */
    uint32_t freed;         /* large value that was replaced: to be freed */
};

/* Write the entry, making room as needed. STORED: ready, to be ended with store_end(). TOO_LARGE,
 * FULL: nothing is held. No stripe lock may be held. */
enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms,
                              struct store *store);

/* Point the table to it. spot: from index_find() on this key, under the same lock. */
void store_publish_locked(struct zone *zone, struct stripe *stripe, struct store *store,
                          const struct index_spot *spot, uint64_t seq, uint64_t now_ms);

/* After the lock is released: give back what is not used. published: store_publish_locked() ran. */
void store_end(struct zone *zone, struct store *store, bool published);

#endif
