#include "shm/fetch.h"

#include "shm/lock.h"
#include "shm/look.h"
#include "shm/stub.h"

#include <math.h>

bool fetch_early(uint64_t soft_ms, uint32_t delta_ms, double beta, double u, uint64_t now_ms)
{
    if (soft_ms == 0 || delta_ms == 0 || beta <= 0)
        return false;
    return (double)now_ms - delta_ms * beta * log(u) >= (double)soft_ms;
}

/* xorshift64*, as a number in (0, 1]. */
static double draw(struct zone *zone)
{
    uint64_t x = zone->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    zone->random = x;
    return (double)((x * UINT64_C(0x2545f4914f6cdd1d) >> 11) + 1) / 9007199254740992.0;
}

/* Whether the caller itself asks for a refresh. */
static bool wanted(const struct fetch_want *want, uint64_t soft_ms, uint64_t now_ms)
{
    if (want->early_ms == FETCH_ANY_TIME)
        return true;
    return soft_ms > now_ms && soft_ms - now_ms < want->early_ms;
}

/* What is there, for a fetch. */
enum state { FRESH, OLD, NOTHING };

static enum state look_locked(struct zone *zone, struct stripe *stripe, const struct table_key *key,
                              const struct fetch_want *want, uint64_t now_ms, struct table_hit *hit)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    enum validity v = VALID_GONE;
    uint64_t soft_ms;
    bool past;

    if (index_find(zone, &a, key, &spot, &view))
        v = valid_entry(zone, &view, key->bytes, now_ms);
    if (v > VALID_STALE)
        return NOTHING;
    past = look_past(zone, &view, now_ms);
    soft_ms = zone->base_ms + entry_soft(&view);
    if (past && now_ms - soft_ms >= want->stale_ms)
        return NOTHING;
    if (v == VALID_STALE && want->stale_ms == 0)
        return NOTHING;
    hit->stripe = layout_stripe_of(key->hash);
    look_finish(zone, &spot, atomic_load_explicit(&spot.head->version, memory_order_relaxed),
                atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed), &view,
                TABLE_HIT, hit);
    return past || v == VALID_STALE ? OLD : FRESH;
}

/* The lease, when nobody else has it. */
static bool grant_locked(struct zone *zone, struct stripe *stripe, const struct table_key *key,
                         const struct fetch_want *want, uint64_t now_ms, struct fetch_got *got)
{
    struct stub *stub =
        stub_add_locked(zone, stripe, key->hash, STUB_FILL, now_ms + want->lease_ms);

    if (stub == NULL)
        return false;
    stub->timed = 1;
    stub->granted_ms = (uint32_t)(now_ms - zone->base_ms);
    got->lease = (struct lease){stub->token, stub->seq};
    return true;
}

/* Another's stub that still means something; NULL when the way is free. */
static struct stub *others_locked(struct zone *zone, struct stripe *stripe,
                                  const struct table_key *key, const struct fetch_want *want,
                                  uint64_t now_ms, struct fetch_got *got)
{
    struct stub *stub = stub_find_locked(zone, stripe, key->hash, now_ms);
    enum stub_kind kind;

    if (stub == NULL)
        return NULL;
    kind = (enum stub_kind)atomic_load_explicit(&stub->kind, memory_order_relaxed);
    if (kind == STUB_FILL && want->token != 0 && stub->token == want->token) {
        got->lease = (struct lease){stub->token, stub->seq};
        return NULL;
    }
    /* A look elsewhere says nothing about computing; a fill begun before a clear is refused. */
    if (kind == STUB_ABSENT ||
        (kind == STUB_FILL && valid_refuses(zone, key->bytes, stub->seq, NULL))) {
        stub_remove_locked(zone, stripe, stub);
        return NULL;
    }
    return stub;
}

static enum fetch_result wait_locked(struct stub *stub, const struct fetch_want *want)
{
    if (want->slot < 0 || atomic_load_explicit(&stub->kind, memory_order_relaxed) == STUB_BACKOFF)
        return FETCH_BUSY;
    stub->waiters |= UINT64_C(1) << want->slot;
    return FETCH_WAIT;
}

static enum fetch_result decide_locked(struct zone *zone, struct stripe *stripe,
                                       const struct table_key *key, const struct fetch_want *want,
                                       bool early, uint64_t now_ms, struct fetch_got *got)
{
    static const enum fetch_result with_lease[] = {
        [FRESH] = FETCH_HIT_LEASE, [OLD] = FETCH_STALE_LEASE, [NOTHING] = FETCH_MISS_LEASE};
    static const enum fetch_result without[] = {
        [FRESH] = FETCH_HIT, [OLD] = FETCH_STALE, [NOTHING] = FETCH_BUSY};
    enum state state = look_locked(zone, stripe, key, want, now_ms, &got->hit);
    struct stub *stub;

    stub = others_locked(zone, stripe, key, want, now_ms, got);
    if (state == FRESH && !early && got->lease.token == 0)
        return FETCH_HIT;
    if (stub != NULL) {
        got->until_ms = stub->deadline_ms;
        return state == NOTHING ? wait_locked(stub, want) : without[state];
    }
    if (got->lease.token == 0 && !grant_locked(zone, stripe, key, want, now_ms, got))
        return without[state];
    return with_lease[state];
}

enum fetch_result fetch_begin(struct zone *zone, const struct table_key *key,
                              const struct fetch_want *want, uint64_t now_ms, struct fetch_got *got)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum fetch_result result;
    bool early = false;

    got->lease = (struct lease){0, 0};
    got->until_ms = 0;
    if (want->token == 0 && table_find(zone, key, now_ms, &got->hit) == TABLE_HIT) {
        early =
            wanted(want, got->hit.expires_ms, now_ms) ||
            fetch_early(got->hit.expires_ms, got->hit.delta_ms, want->beta, draw(zone), now_ms);
        if (!early)
            return FETCH_HIT;
    }
    if (!lock_take(zone, stripe))
        return FETCH_BUSY;
    result = decide_locked(zone, stripe, key, want, early, now_ms, got);
    lock_drop(zone, stripe);
    return result;
}
