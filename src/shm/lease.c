#include "shm/lease.h"

#include "shm/lock.h"
#include "shm/store.h"
#include "shm/stub.h"
#include "shm/valid.h"

static enum lease_result grant(const struct stub *stub, struct lease *lease)
{
    lease->token = stub->token;
    lease->seq = stub->seq;
    return LEASE_GRANTED;
}

static bool is_write(const struct stub *stub)
{
    return atomic_load_explicit(&stub->kind, memory_order_relaxed) == STUB_WRITE;
}

static enum lease_result fill_begin_locked(struct zone *zone, struct stripe *stripe,
                                           const struct table_key *key, uint64_t now_ms,
                                           uint64_t deadline_ms, struct lease *lease)
{
    struct stub *stub = stub_find_locked(zone, stripe, key->hash, now_ms);

    if (stub != NULL && is_write(stub))
        return LEASE_WRITING;
    if (stub != NULL) {
        if (!valid_refuses(zone, key->bytes, stub->seq, NULL, 0))
            return LEASE_HELD;
        stub_remove_locked(zone, stripe, stub); /* its fill would be refused */
    }
    stub = stub_add_locked(zone, stripe, key->hash, STUB_FILL, deadline_ms);
    return stub == NULL ? LEASE_FULL : grant(stub, lease);
}

enum lease_result lease_fill_begin(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                   uint64_t deadline_ms, struct lease *lease)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum lease_result result;

    *lease = (struct lease){0, 0};
    if (!lock_take(zone, stripe))
        return LEASE_BUSY;
    result = fill_begin_locked(zone, stripe, key, now_ms, deadline_ms, lease);
    lock_drop(zone, stripe);
    return result;
}

/* store: NULL when the value could not be written (result says why). */
static enum table_result fill_end_locked(struct zone *zone, struct stripe *stripe,
                                         const struct table_key *key, const struct lease *lease,
                                         struct store *store, uint64_t now_ms)
{
    struct stub *stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);
    const struct table_write *write = store->write;
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    bool stands;

    if (stub == NULL || is_write(stub))
        return TABLE_REJECTED;
    stands = now_ms < stub->deadline_ms &&
             !valid_refuses(zone, key->bytes, lease->seq, write->tags, write->n_tags);
    if (stands) {
        index_find(zone, &a, key, &spot, &view);
        store_publish_locked(zone, stripe, store, &spot, lease->seq, now_ms);
    }
    stub_remove_locked(zone, stripe, stub);
    return stands ? TABLE_STORED : TABLE_REJECTED;
}

enum table_result lease_fill_end(struct zone *zone, const struct table_key *key,
                                 const struct lease *lease, const struct table_write *write,
                                 uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct store store;
    enum table_result result = store_begin(zone, key, write, now_ms, &store);

    if (result == TABLE_BUSY)
        return result;
    if (result != TABLE_STORED)
        return lease_fail(zone, key, lease) == TABLE_BUSY ? TABLE_BUSY : result;
    if (!lock_take(zone, stripe)) {
        store_end(zone, &store, false);
        return TABLE_BUSY;
    }
    result = fill_end_locked(zone, stripe, key, lease, &store, now_ms);
    lock_drop(zone, stripe);
    store_end(zone, &store, result == TABLE_STORED);
    return result;
}

enum table_result lease_fail(struct zone *zone, const struct table_key *key,
                             const struct lease *lease)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct stub *stub;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);
    if (stub != NULL && !is_write(stub))
        stub_remove_locked(zone, stripe, stub);
    lock_drop(zone, stripe);
    return TABLE_STORED;
}

static enum lease_result write_begin_locked(struct zone *zone, struct stripe *stripe,
                                            const struct table_key *key, uint64_t now_ms,
                                            uint64_t deadline_ms, struct lease *lease)
{
    struct stub *stub = stub_find_locked(zone, stripe, key->hash, now_ms);

    if (stub != NULL && !is_write(stub)) {
        stub_remove_locked(zone, stripe, stub);
        stub = NULL;
    }
    if (stub == NULL) {
        stub = stub_add_locked(zone, stripe, key->hash, STUB_WRITE, deadline_ms);
        return stub == NULL ? LEASE_FULL : grant(stub, lease);
    }
    stub->touched = 1; /* writers overlap: none of them will store */
    if (!stub_enter_locked(zone, stub))
        return LEASE_FULL;
    if (stub->deadline_ms < deadline_ms)
        stub->deadline_ms = deadline_ms;
    return grant(stub, lease);
}

enum lease_result lease_write_begin(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                    uint64_t deadline_ms, struct lease *lease)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum lease_result result;

    *lease = (struct lease){0, 0};
    if (!lock_take(zone, stripe))
        return LEASE_BUSY;
    result = write_begin_locked(zone, stripe, key, now_ms, deadline_ms, lease);
    lock_drop(zone, stripe);
    return result;
}

static uint32_t unlink_key_locked(struct zone *zone, struct stripe *stripe,
                                  const struct table_key *key)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    if (!index_find(zone, &a, key, &spot, &view))
        return LAYOUT_NONE;
    return index_unlink_locked(zone, stripe, &spot, &view);
}

/* The key ends absent: the entry goes, and this writer from its stub. Whoever holds another stub of
 * the key by now began before this writer ended, and will not store either. */
static uint32_t give_up_locked(struct zone *zone, struct stripe *stripe,
                               const struct table_key *key, const struct lease *lease)
{
    struct stub *stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);

    if (stub != NULL && is_write(stub))
        stub_leave_locked(zone, stripe, stub, zone->owner);
    else
        stub_touch_locked(zone, stripe, key->hash);
    return unlink_key_locked(zone, stripe, key);
}

static enum table_result give_up(struct zone *zone, const struct table_key *key,
                                 const struct lease *lease, enum table_result result)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    uint32_t large;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    large = give_up_locked(zone, stripe, key, lease);
    lock_drop(zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(zone, large);
    return result;
}

static bool write_stands_locked(struct zone *zone, struct stripe *stripe,
                                const struct table_key *key, const struct lease *lease,
                                const struct table_write *write, uint64_t now_ms)
{
    struct stub *stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);

    return stub != NULL && is_write(stub) && !stub->touched && now_ms < stub->deadline_ms &&
           !valid_refuses(zone, key->bytes, lease->seq, write->tags, write->n_tags);
}

enum table_result lease_write_end(struct zone *zone, const struct table_key *key,
                                  const struct lease *lease, const struct table_write *write,
                                  uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct index_array a;
    struct store store;
    struct index_spot spot;
    struct entry_view view;
    uint32_t large = LAYOUT_NONE;
    bool stands;
    enum table_result result = store_begin(zone, key, write, now_ms, &store);

    if (result == TABLE_BUSY)
        return result;
    if (result != TABLE_STORED)
        return give_up(zone, key, lease, result);
    if (!lock_take(zone, stripe)) {
        store_end(zone, &store, false);
        return TABLE_BUSY;
    }
    stands = write_stands_locked(zone, stripe, key, lease, write, now_ms);
    if (stands) {
        a = index_array(zone, stripe);
        index_find(zone, &a, key, &spot, &view);
        store_publish_locked(zone, stripe, &store, &spot, lease->seq, now_ms);
        stub_leave_locked(zone, stripe, stub_by_token_locked(zone, stripe, key->hash, lease->token),
                          zone->owner);
    } else {
        large = give_up_locked(zone, stripe, key, lease);
    }
    lock_drop(zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(zone, large);
    store_end(zone, &store, stands);
    return stands ? TABLE_STORED : TABLE_REJECTED;
}

enum table_result lease_write_abort(struct zone *zone, const struct table_key *key,
                                    const struct lease *lease, uint64_t now_ms)
{
    (void)now_ms;
    return give_up(zone, key, lease, TABLE_STORED);
}
