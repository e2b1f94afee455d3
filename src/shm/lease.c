#include "shm/lease.h"

#include "shm/lock.h"
#include "shm/look.h"
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

static enum stub_kind kind_of(const struct stub *stub)
{
    return (enum stub_kind)atomic_load_explicit(&stub->kind, memory_order_relaxed);
}

/* Another's stub, or NULL in *stub when the lease was granted or there is none to be had. */
static enum lease_result fill_begin_locked(struct zone *zone, struct stripe *stripe,
                                           const struct table_key *key, uint64_t now_ms,
                                           uint64_t deadline_ms, struct lease *lease,
                                           struct stub **other)
{
    struct stub *stub = stub_find_locked(zone, stripe, key->hash, now_ms);

    *other = stub;
    if (stub != NULL && kind_of(stub) == STUB_WRITE)
        return LEASE_WRITING;
    if (stub != NULL && kind_of(stub) == STUB_BACKOFF)
        return LEASE_FULL; /* reading L2 is no computing; but there is one stub a key */
    if (stub != NULL) {
        if (kind_of(stub) == STUB_FILL && !valid_refuses(zone, key->bytes, stub->seq, NULL))
            return LEASE_HELD;
        stub_remove_locked(zone, stripe, stub); /* its fill would be refused */
    }
    *other = NULL;
    stub = stub_add_locked(zone, stripe, key->hash, STUB_FILL, deadline_ms);
    return stub == NULL ? LEASE_FULL : grant(stub, lease);
}

enum lease_result lease_fill_begin(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                   uint64_t deadline_ms, struct lease *lease)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct stub *other;
    enum lease_result result;

    *lease = (struct lease){0, 0};
    if (!lock_take(zone, stripe))
        return LEASE_BUSY;
    result = fill_begin_locked(zone, stripe, key, now_ms, deadline_ms, lease, &other);
    lock_drop(zone, stripe);
    return result;
}

static bool told_absent(struct zone *zone, struct stripe *stripe, const struct table_key *key,
                        uint64_t now_ms)
{
    const struct stub *stub = stub_find_locked(zone, stripe, key->hash, now_ms);

    return stub != NULL && kind_of(stub) == STUB_ABSENT &&
           !valid_refuses(zone, key->bytes, stub->seq, NULL);
}

static bool filled(struct zone *zone, struct stripe *stripe, const struct table_key *key,
                   uint64_t now_ms)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    return look(zone, &a, key, now_ms, &spot, &view) == TABLE_HIT;
}

static enum lease_result join_locked(struct zone *zone, struct stripe *stripe,
                                     const struct table_key *key, const struct lease_wish *wish,
                                     uint64_t now_ms, struct lease *lease, uint64_t *until_ms)
{
    struct stub *other;
    enum lease_result result;

    if (wish->look && filled(zone, stripe, key, now_ms))
        return LEASE_FILLED;
    if (wish->waited && told_absent(zone, stripe, key, now_ms))
        return LEASE_ABSENT;
    result = fill_begin_locked(zone, stripe, key, now_ms, wish->deadline_ms, lease, &other);
    if (other != NULL) {
        other->waiters |= UINT64_C(1) << wish->slot;
        *until_ms = other->deadline_ms;
    }
    return result;
}

enum lease_result lease_join(struct zone *zone, const struct table_key *key,
                             const struct lease_wish *wish, uint64_t now_ms, struct lease *lease,
                             uint64_t *until_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum lease_result result;

    *lease = (struct lease){0, 0};
    *until_ms = 0;
    if (!lock_take(zone, stripe))
        return LEASE_BUSY;
    result = join_locked(zone, stripe, key, wish, now_ms, lease, until_ms);
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
    if (stub->timed)
        store_delta(zone, store, (uint32_t)(now_ms - zone->base_ms) - stub->granted_ms);
    stands = now_ms < stub->deadline_ms && !valid_refuses(zone, key->bytes, stub->seq, write);
    if (stands) {
        index_find(zone, &a, key, &spot, &view);
        store_publish_locked(zone, stripe, store, &spot, stub->seq, now_ms);
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

/* The holder gives up: its stub goes, or stays as something without a holder until until_ms. */
static enum table_result end_fill(struct zone *zone, const struct table_key *key,
                                  const struct lease *lease, enum stub_kind becomes,
                                  uint64_t until_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct stub *stub;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);
    if (stub != NULL && kind_of(stub) == STUB_FILL) {
        if (becomes == STUB_NONE || (becomes == STUB_ABSENT && stub->waiters == 0)) {
            stub_remove_locked(zone, stripe, stub);
        } else {
            stub_ring_locked(zone, stub);
            stub->token = 0;
            stub->deadline_ms = until_ms;
            atomic_store_explicit(&stub->kind, (uint8_t)becomes, memory_order_release);
        }
    }
    lock_drop(zone, stripe);
    return TABLE_STORED;
}

enum table_result lease_fail(struct zone *zone, const struct table_key *key,
                             const struct lease *lease)
{
    return end_fill(zone, key, lease, STUB_NONE, 0);
}

enum table_result lease_back_off(struct zone *zone, const struct table_key *key,
                                 const struct lease *lease, uint64_t until_ms)
{
    return end_fill(zone, key, lease, STUB_BACKOFF, until_ms);
}

enum table_result lease_absent(struct zone *zone, const struct table_key *key,
                               const struct lease *lease, uint64_t until_ms)
{
    return end_fill(zone, key, lease, STUB_ABSENT, until_ms);
}

void lease_on_ring(struct zone *zone, void (*ring)(void *arg, uint64_t slots), void *arg)
{
    zone->ring = ring;
    zone->ring_arg = arg;
}

/* The stub becomes a write stub with this process as its writer; the order is that of a new one:
 * what it is comes last. A crash in between leaves a fill stub, which repair removes. */
static enum lease_result fill_write_locked(struct zone *zone, struct stripe *stripe,
                                           const struct table_key *key, uint64_t now_ms,
                                           uint64_t deadline_ms, struct lease *lease)
{
    struct stub *stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);

    if (stub == NULL || kind_of(stub) != STUB_FILL || now_ms >= stub->deadline_ms ||
        valid_refuses(zone, key->bytes, stub->seq, NULL)) {
        if (stub != NULL && kind_of(stub) == STUB_FILL)
            stub_remove_locked(zone, stripe, stub);
        return LEASE_HELD;
    }
    if (!stub_enter_locked(zone, stub))
        return LEASE_HELD;
    stub->deadline_ms = deadline_ms;
    stub->touched = 0;
    atomic_store_explicit(&stub->claim, zone->owner, memory_order_relaxed);
    atomic_store_explicit(&stub->kind, STUB_WRITE, memory_order_release);
    return grant(stub, lease);
}

enum lease_result lease_fill_write(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                   uint64_t deadline_ms, struct lease *lease)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum lease_result result;

    if (!lock_take(zone, stripe))
        return LEASE_BUSY;
    result = fill_write_locked(zone, stripe, key, now_ms, deadline_ms, lease);
    lock_drop(zone, stripe);
    return result;
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
           !valid_refuses(zone, key->bytes, lease->seq, write);
}

static void publish_write_locked(struct zone *zone, struct stripe *stripe,
                                 const struct table_key *key, const struct lease *lease,
                                 struct store *store, uint64_t now_ms)
{
    struct stub *stub = stub_by_token_locked(zone, stripe, key->hash, lease->token);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    if (stub->timed)
        store_delta(zone, store, (uint32_t)(now_ms - zone->base_ms) - stub->granted_ms);
    index_find(zone, &a, key, &spot, &view);
    store_publish_locked(zone, stripe, store, &spot, lease->seq, now_ms);
    stub_leave_locked(zone, stripe, stub, zone->owner);
}

enum table_result lease_write_end(struct zone *zone, const struct table_key *key,
                                  const struct lease *lease, const struct table_write *write,
                                  uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct store store;
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
        publish_write_locked(zone, stripe, key, lease, &store, now_ms);
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
