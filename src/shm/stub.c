#include "shm/stub.h"

#include "shm/lock.h"

#define PROBES 256

static uint64_t hash_of(const struct stub *stub)
{
    return atomic_load_explicit(&stub->hash, memory_order_relaxed);
}

static uint32_t writer(const struct stub *stub, unsigned i)
{
    return atomic_load_explicit(&stub->writer[i], memory_order_relaxed);
}

static void set_writer(struct stub *stub, unsigned i, uint32_t owner)
{
    atomic_store_explicit(&stub->writer[i], (uint8_t)owner, memory_order_relaxed);
}

static uint32_t index_of(const struct zone *zone, const struct stub *stub)
{
    return (uint32_t)(stub - layout_stub(zone, 0));
}

static struct stub *follow(const struct zone *zone, _Atomic uint32_t *link)
{
    uint32_t i = atomic_load_explicit(link, memory_order_relaxed);

    return i == 0 || i > zone->g.n_stubs ? NULL : layout_stub(zone, i - 1);
}

static struct stub *find(struct zone *zone, struct stripe *stripe, uint64_t hash)
{
    struct stub *s = follow(zone, &stripe->stubs);

    lock_assert(zone, stripe);
    while (s != NULL && hash_of(s) != hash)
        s = follow(zone, &s->next);
    return s;
}

struct stub *stub_find_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                              uint64_t now_ms)
{
    struct stub *s = find(zone, stripe, hash);

    if (s == NULL || now_ms < s->deadline_ms)
        return s;
    stub_remove_locked(zone, stripe, s);
    return NULL;
}

struct stub *stub_by_token_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                                  uint64_t token)
{
    struct stub *s = find(zone, stripe, hash);

    return s != NULL && token != 0 && s->token == token ? s : NULL;
}

/* Owner id 8 | count 56: never given twice in the life of the zone. */
static uint64_t new_token(struct zone *zone)
{
    struct owner *me = layout_owner(zone, zone->owner);
    uint64_t n = atomic_load_explicit(&me->token_next, memory_order_relaxed) + 1;

    atomic_store_explicit(&me->token_next, n, memory_order_relaxed);
    return (uint64_t)zone->owner << 56 | n;
}

static struct stub *claim(struct zone *zone)
{
    uint32_t mask = zone->g.n_stubs - 1;

    for (uint32_t n = 0; n < PROBES; n++) {
        struct stub *s = layout_stub(zone, zone->stub_hint++ & mask);
        uint32_t free = 0;

        if (atomic_load_explicit(&s->claim, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&s->claim, &free, zone->owner))
            return s;
    }
    return NULL;
}

struct stub *stub_add_locked(struct zone *zone, struct stripe *stripe, uint64_t hash,
                             enum stub_kind kind, uint64_t deadline_ms)
{
    struct stub *s = claim(zone);

    lock_assert(zone, stripe);
    if (s == NULL)
        return NULL;
    atomic_store_explicit(&s->hash, hash, memory_order_relaxed);
    s->token = new_token(zone);
    s->seq = zone_seq(zone);
    s->deadline_ms = deadline_ms;
    s->waiters = 0;
    s->touched = 0;
    s->timed = 0;
    s->granted_ms = 0;
    for (unsigned i = 0; i < STUB_WRITERS; i++)
        set_writer(s, i, kind == STUB_WRITE && i == 0 ? zone->owner : 0);
    atomic_store_explicit(&s->next, atomic_load_explicit(&stripe->stubs, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&s->kind, (uint8_t)kind, memory_order_release);
    atomic_store_explicit(&stripe->stubs, index_of(zone, s) + 1, memory_order_release);
    return s;
}

void stub_ring_locked(struct zone *zone, struct stub *stub)
{
    zone->rings |= stub->waiters;
    stub->waiters = 0;
}

static void release(struct zone *zone, struct stub *stub)
{
    stub_ring_locked(zone, stub);
    atomic_store_explicit(&stub->kind, STUB_NONE, memory_order_release);
    atomic_store_explicit(&stub->hash, 0, memory_order_relaxed);
    stub->token = 0;
    atomic_store_explicit(&stub->claim, 0, memory_order_release);
}

void stub_remove_locked(struct zone *zone, struct stripe *stripe, struct stub *stub)
{
    _Atomic uint32_t *link = &stripe->stubs;
    struct stub *s;

    lock_assert(zone, stripe);
    while ((s = follow(zone, link)) != NULL && s != stub)
        link = &s->next;
    if (s == NULL)
        return;
    atomic_store_explicit(link, atomic_load_explicit(&stub->next, memory_order_relaxed),
                          memory_order_release);
    release(zone, stub);
}

void stub_touch_locked(struct zone *zone, struct stripe *stripe, uint64_t hash)
{
    struct stub *s;

    if (atomic_load_explicit(&stripe->stubs, memory_order_relaxed) == 0)
        return;
    s = find(zone, stripe, hash);
    if (s == NULL)
        return;
    if (atomic_load_explicit(&s->kind, memory_order_relaxed) == STUB_WRITE)
        s->touched = 1;
    else
        stub_remove_locked(zone, stripe, s);
}

bool stub_enter_locked(struct zone *zone, struct stub *stub)
{
    for (unsigned i = 0; i < STUB_WRITERS; i++) {
        if (writer(stub, i) == 0) {
            set_writer(stub, i, zone->owner);
            return true;
        }
    }
    return false;
}

void stub_leave_locked(struct zone *zone, struct stripe *stripe, struct stub *stub, uint32_t owner)
{
    bool left = false;
    bool others = false;

    for (unsigned i = 0; i < STUB_WRITERS; i++) {
        if (!left && writer(stub, i) == owner) {
            set_writer(stub, i, 0);
            left = true;
        }
        others |= writer(stub, i) != 0;
    }
    if (!others)
        stub_remove_locked(zone, stripe, stub);
}

void stub_forget_locked(struct zone *zone, struct stripe *stripe, struct stub *stub, uint32_t owner)
{
    uint32_t heir = 0;

    for (unsigned i = 0; i < STUB_WRITERS; i++) {
        if (writer(stub, i) == owner)
            set_writer(stub, i, 0);
        else if (writer(stub, i) != 0)
            heir = writer(stub, i);
    }
    if (heir == 0)
        stub_remove_locked(zone, stripe, stub);
    else
        atomic_store_explicit(&stub->claim, heir, memory_order_release);
}

static bool writes(const struct stub *stub, uint32_t owner)
{
    for (unsigned i = 0; i < STUB_WRITERS; i++) {
        if (writer(stub, i) == owner)
            return true;
    }
    return false;
}

bool stub_involves(const struct stub *stub, uint32_t owner)
{
    return atomic_load_explicit(&stub->claim, memory_order_acquire) == owner ||
           writes(stub, owner);
}

static bool chained(const struct zone *zone, struct stripe *stripe, const struct stub *stub)
{
    uint32_t hops = zone->g.n_stubs;

    for (struct stub *s = follow(zone, &stripe->stubs); s != NULL && hops > 0;
         s = follow(zone, &s->next), hops--) {
        if (s == stub)
            return true;
    }
    return false;
}

unsigned stub_mend(struct zone *zone, struct stripe *stripe)
{
    uint32_t number = (uint32_t)(stripe - zone->stripes);
    unsigned freed = 0;

    for (uint32_t i = 0; i < zone->g.n_stubs; i++) {
        struct stub *s = layout_stub(zone, i);

        if (atomic_load_explicit(&s->claim, memory_order_acquire) == 0 ||
            atomic_load_explicit(&s->kind, memory_order_acquire) == STUB_NONE ||
            layout_stripe_of(hash_of(s)) != number || chained(zone, stripe, s))
            continue;
        release(zone, s);
        freed++;
    }
    return freed;
}

void stub_give_back(struct zone *zone)
{
    for (uint32_t i = 0; i < zone->g.n_stubs; i++) {
        struct stub *s = layout_stub(zone, i);
        struct stripe *stripe = layout_stripe(zone, hash_of(s));

        if (!stub_involves(s, zone->owner) || !lock_take(zone, stripe))
            continue;
        if (chained(zone, stripe, s) && stub_involves(s, zone->owner)) {
            /* Ours did not end: what others write under the stub is not stored either. */
            if (writes(s, zone->owner))
                s->touched = 1;
            stub_forget_locked(zone, stripe, s, zone->owner);
        }
        lock_drop(zone, stripe);
    }
}

static void sweep_one(struct zone *zone, struct stub *s, uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, hash_of(s));

    if (!lock_try(zone, stripe))
        return;
    if (chained(zone, stripe, s) && now_ms >= s->deadline_ms)
        stub_remove_locked(zone, stripe, s);
    lock_drop(zone, stripe);
}

void stub_sweep(struct zone *zone, uint32_t first, uint32_t n, uint64_t now_ms)
{
    for (uint32_t i = 0; i < n; i++) {
        struct stub *s = layout_stub(zone, (first + i) & (zone->g.n_stubs - 1));

        if (atomic_load_explicit(&s->kind, memory_order_acquire) != STUB_NONE)
            sweep_one(zone, s, now_ms);
    }
}
