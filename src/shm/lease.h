/* Stubs: what is known of a key while it is being computed, read from L2 or written to L2.
 *
 * A stub is not an entry and is never seen by table_find(). It lives in the zone's stub pool
 * (fixed, bounded), chained from the key's stripe and identified by the key's 64-bit hash: two keys
 * with one hash would share a stub, which costs a missed fill and is otherwise safe. Guarded by the
 * stripe's lock.
 *
 *   fill stub   the right to fill a missing key, held by one owner at a time (token, deadline)
 *   write stub  a put on its way to L2 (token, writers in flight, touched)
 *
 * Rules (design rule 1): a fill is accepted only if its stub is still there with its token and its
 * sequence is not older than the last clear and no newer ban or tag purge hits the key;
 * table_delete(), bans, clears and puts remove fill stubs. A put stores in L1 only if no other
 * write, delete or clear touched its stub meanwhile; of overlapping writers none stores and the key
 * ends absent. No fill is granted or accepted under a write stub. A dead owner's stubs are removed
 * by repair.h; of a key it was writing, the entry is removed too.
 */
#ifndef SHM_LEASE_H
#define SHM_LEASE_H

#include "shm/table.h"

enum lease_result {
    LEASE_GRANTED, /* lease filled in: fill or fail it before its deadline */
    LEASE_HELD,    /* someone else on this host holds it */
    LEASE_WRITING, /* a put is under way: read L2, do not fill */
    LEASE_FULL,    /* no stub left: go on without one, do not fill */
    LEASE_BUSY,    /* the stripe stayed locked: park and try again */
    LEASE_ABSENT,  /* lease_join(): whom it waited for found nothing */
    LEASE_FILLED,  /* lease_join(): there is a value by now */
};

struct lease {
    uint64_t token; /* 0 = none; all that the holder must know */
    uint64_t seq;   /* the zone's sequence at the grant */
};

/* Ask for the right to fill a missing key. deadline_ms: boottime; past it the lease is void. */
enum lease_result lease_fill_begin(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                   uint64_t deadline_ms, struct lease *lease);

/* How lease_join() is to ask. */
struct lease_wish {
    uint64_t deadline_ms; /* of the lease */
    int slot;             /* worker slot to ring, 0..63 */
    bool look;            /* values in this zone count: one that came meanwhile is LEASE_FILLED */
    bool waited; /* not the first try of this read: what the holder found absent is absent */
};

/* The same for one who can wait: on HELD and WRITING the slot is rung when that ends, and *until_ms
 * is when it ends at the latest. With waited, a holder's lease_absent() is the answer (ABSENT),
 * so that not everyone who waited looks for nothing in turn. */
enum lease_result lease_join(struct zone *zone, const struct table_key *key,
                             const struct lease_wish *wish, uint64_t now_ms, struct lease *lease,
                             uint64_t *until_ms);

/* Store what the miss brought back, if the lease still stands; the stub goes either way.
 * write->began_seq is taken from the lease. With write->delta_ms or stale_ms set, and a lease of
 * fetch_begin(), the time from grant to now is stored as delta_ms. STORED, REJECTED, BUSY (stub
 * still there), FULL, TOO_LARGE. */
enum table_result lease_fill_end(struct zone *zone, const struct table_key *key,
                                 const struct lease *lease, const struct table_write *write,
                                 uint64_t now_ms);

/* Give the lease back without a value. BUSY: try again, or let the deadline end it. */
enum table_result lease_fail(struct zone *zone, const struct table_key *key,
                             const struct lease *lease);

/* Give it back because computing failed: until until_ms nobody is to try (a put or delete of the
 * key ends that). BUSY as above. */
enum table_result lease_back_off(struct zone *zone, const struct table_key *key,
                                 const struct lease *lease, uint64_t until_ms);

/* Give it back because L2 has no value: told to those who wait now, until until_ms at most. */
enum table_result lease_absent(struct zone *zone, const struct table_key *key,
                               const struct lease *lease, uint64_t until_ms);

/* The holder of a fill lease has the value and stores it through L2: from now on it is a put under
 * way, with the same token. GRANTED; HELD: the lease is void, do not store; BUSY. */
enum lease_result lease_fill_write(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                   uint64_t deadline_ms, struct lease *lease);

/* How this process rings workers: called with a bit for each slot, after the lock is released, on
 * this process' own calls only. */
void lease_on_ring(struct zone *zone, void (*ring)(void *arg, uint64_t slots), void *arg);

/* A put is about to go to L2. Fill stubs of the key are removed. GRANTED (also when other
 * writers are in flight: then none will store), FULL (go on; the caller must lease_write_abort()
 * with token 0 after L2 answered), BUSY. The entry in L1 stays readable meanwhile. */
enum lease_result lease_write_begin(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                    uint64_t deadline_ms, struct lease *lease);

/* L2 has the value: store it in L1 under rule 1. STORED, or REJECTED: something else touched the
 * key, and it is absent from L1 now. BUSY: nothing done, try again. FULL, TOO_LARGE: the older
 * entry was removed. */
enum table_result lease_write_end(struct zone *zone, const struct table_key *key,
                                  const struct lease *lease, const struct table_write *write,
                                  uint64_t now_ms);

/* L2 failed, or the outcome is unknown, or the change was made by Redis itself: remove the entry
 * from L1 and this writer from the stub. STORED or BUSY. lease->token may be 0 (no stub was to be
 * had). */
enum table_result lease_write_abort(struct zone *zone, const struct table_key *key,
                                    const struct lease *lease, uint64_t now_ms);

#endif
