#include "shm/repair.h"

#include "common/clock.h"
#include "shm/ban.h"
#include "shm/block.h"
#include "shm/evict.h"
#include "shm/gate.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/pin.h"
#include "shm/process.h"
#include "shm/stub.h"

#include <unistd.h>

#define LOCK_PATIENCE 200 /* times LOCK_WAIT_MS for a stripe that a living process holds */

struct repair {
    struct zone *zone;
    uint32_t dead; /* owner id */
    bool suspect;
    bool incomplete; /* a stripe stayed locked: the slot is kept, and the next call goes on */
    struct repair_report *report;
};

/* Whether a slot is taken by a process that is no more. */
static bool owner_died(const struct zone *zone, uint32_t id)
{
    uint64_t identity;

    if (id == 0 || id > ZONE_MAX_OWNERS)
        return false;
    identity = atomic_load(&layout_owner(zone, id)->identity);
    return identity != 0 && !process_alive(identity);
}

/* Whether a slot word leads to an entry that belongs in this chain. */
static bool slot_sane(struct zone *zone, const struct stripe *stripe, const struct index_array *a,
                      const struct bucket *head, uint64_t word)
{
    struct entry_view view;
    uint64_t hash;

    if (!entry_view(zone, index_offset(word), &view))
        return false;
    hash = entry_hash(zone, entry_key(zone, &view), view.key_len);
    return layout_stripe(zone, hash) == stripe && index_head(a, hash) == head &&
           layout_tag(hash) == word >> SLOT_TAG_SHIFT &&
           slab_state(slab_load(zone, slab_of(zone, view.at))) != SLAB_FREE;
}

/* The slabs whose counts a half-done change touched. */
static void mark_inexact(struct zone *zone, uint64_t word)
{
    uint64_t at = index_offset(word);

    if (word != 0 && at >= zone->g.slabs && at < zone->slabs_end &&
        slab_state(slab_load(zone, slab_of(zone, at))) != SLAB_FREE)
        atomic_fetch_or(&zone->slabs[slab_of(zone, at)].flags, SLAB_INEXACT);
}

/* The slot whose entry was being overwritten in place; 0 = none. */
static uint64_t overwritten(const struct stripe *stripe)
{
    uint64_t word = atomic_load_explicit(&stripe->intent_old, memory_order_relaxed);

    return word == atomic_load_explicit(&stripe->intent_new, memory_order_relaxed) ? word : 0;
}

/* Whether a word stands in the chain before this slot: an entry that was moving up. */
static bool met_before(const struct index_array *a, const struct bucket *head,
                       const struct bucket *bucket, unsigned slot)
{
    uint64_t word = index_identity(index_load(bucket, slot));

    for (const struct bucket *b = head; b != NULL; b = index_next(a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            if (b == bucket && i == slot)
                return false;
            if (index_identity(index_load(b, i)) == word)
                return true;
        }
    }
    return false;
}

/* The chain of an odd head: every slot was stored whole; what does not lead to an entry of this
 * chain goes, and what is there twice. */
static void check_chain(struct repair *r, const struct stripe *stripe, const struct index_array *a,
                        struct bucket *head)
{
    uint64_t torn = overwritten(stripe);
    unsigned hops = INDEX_CHAIN_MAX;

    for (struct bucket *b = head; b != NULL && hops > 0; b = index_next(a, b), hops--) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t word = index_load(b, i);

            if (word == 0 || ((word & SLOT_LINK) && i == LAYOUT_SLOTS - 1) ||
                (index_identity(word) != torn && slot_sane(r->zone, stripe, a, head, word) &&
                 !met_before(a, head, b, i)))
                continue;
            mark_inexact(r->zone, word);
            atomic_store_explicit(&b->slot[i], 0, memory_order_release);
            r->report->slots++;
        }
    }
}

static void make_even(struct bucket *head)
{
    uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed);

    if (version & 1)
        atomic_store_explicit(&head->version, version + 1, memory_order_release);
}

/* Entries that are about to be dropped: their slabs' counts will be too high. The chain is not to
 * be trusted either, so not all may be found; what is missed is found out when the slab is
 * reclaimed. */
static void forget_chain(struct repair *r, const struct index_array *a, const struct bucket *head)
{
    unsigned hops = INDEX_CHAIN_MAX;

    for (const struct bucket *b = head; b != NULL && hops > 0; b = index_next(a, b), hops--) {
        for (unsigned s = 0; s < LAYOUT_SLOTS; s++) {
            uint64_t word = index_load(b, s);

            if (word == 0 || (word & SLOT_LINK))
                continue;
            mark_inexact(r->zone, word);
            r->report->slots++;
        }
    }
}

/* Drop everything in a stripe whose memory is suspect. Each head's version moves, so that readers
 * notice. */
static void clear_stripe(struct repair *r, const struct index_array *a)
{
    for (uint32_t h = 0; h < a->primary; h++) {
        struct bucket *head = index_bucket(a, h);
        uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed) | 1;

        atomic_store_explicit(&head->version, version, memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
        forget_chain(r, a, head);
        for (unsigned s = 0; s < LAYOUT_SLOTS; s++)
            atomic_store_explicit(&head->slot[s], 0, memory_order_relaxed);
    }
}

/* Make every chain even that the dead one was changing: one, or the two of a merge. */
static void settle_chains(struct repair *r, const struct stripe *stripe,
                          const struct index_array *a, bool even)
{
    for (uint32_t h = 0; h < a->primary; h++) {
        struct bucket *head = index_bucket(a, h);

        if ((atomic_load_explicit(&head->version, memory_order_relaxed) & 1) == 0)
            continue;
        if (even)
            make_even(head);
        else
            check_chain(r, stripe, a, head);
    }
}

/* The stripe's overflow buckets and blocks. Another dead process may hold the lock of the blocks.
 */
static bool mend(struct repair *r, struct stripe *stripe)
{
    for (int i = 0; i < LOCK_PATIENCE; i++) {
        uint32_t holder;

        if (index_mend(r->zone, stripe))
            return true;
        holder = block_lock_owner(r->zone);
        if (owner_died(r->zone, holder))
            block_repair(r->zone, holder);
    }
    r->incomplete = true;
    return false;
}

/* A stripe whose lock the dead owner holds; the word stays its until the end. */
static void repair_stripe(struct repair *r, struct stripe *stripe)
{
    struct index_array a = index_array(r->zone, stripe);
    uint32_t intent = atomic_load_explicit(&stripe->intent, memory_order_acquire);

    if (r->suspect || intent != 0) {
        if (r->suspect)
            clear_stripe(r, &a);
        settle_chains(r, stripe, &a, false);
        mark_inexact(r->zone, atomic_load_explicit(&stripe->intent_old, memory_order_relaxed));
        mark_inexact(r->zone, atomic_load_explicit(&stripe->intent_new, memory_order_relaxed));
        if (!mend(r, stripe))
            return; /* still locked: the next call goes on */
        index_recount(r->zone, stripe);
        settle_chains(r, stripe, &a, true);
    }
    r->report->stubs += stub_mend(r->zone, stripe);
    atomic_store_explicit(&stripe->intent, 0, memory_order_release);
    lock_break(stripe);
    r->report->locks++;
}

static void repair_locks(struct repair *r)
{
    block_repair(r->zone, r->dead);
    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++) {
        if (lock_owner(&r->zone->stripes[i]) == r->dead)
            repair_stripe(r, &r->zone->stripes[i]);
    }
}

/* A stripe's lock, for work on what the dead one left. Its holder may be dead too: then that is
 * repaired first. A living holder is waited for, about a second at most. */
static bool take(struct repair *r, struct stripe *stripe)
{
    for (int i = 0; i < LOCK_PATIENCE; i++) {
        uint32_t holder;

        if (lock_take(r->zone, stripe))
            return true;
        holder = lock_owner(stripe);
        if (holder != r->zone->owner && owner_died(r->zone, holder)) {
            struct repair other = *r;

            other.dead = holder;
            repair_locks(&other);
        }
    }
    r->incomplete = true;
    return false;
}

/* Whether the table points to the entry of a large value. Makes the first slab agree: LARGE when it
 * does, ours when it does not. */
static bool settle_large(struct repair *r, uint32_t first)
{
    struct zone *zone = r->zone;
    uint64_t hash = atomic_load_explicit(&zone->slabs[first].hash, memory_order_relaxed);
    struct stripe *stripe = layout_stripe(zone, hash);
    struct index_spot spot;
    struct entry_view view;
    bool linked, moved;

    if (!take(r, stripe))
        return true;
    linked = index_large_locked(zone, stripe, hash, first, &spot, &view);
    moved = linked ? slab_move(zone, first, slab_load(zone, first), SLAB_LARGE, 0)
                   : slab_move(zone, first, slab_load(zone, first), SLAB_RECLAIM, zone->owner);
    lock_drop(zone, stripe);
    return linked || !moved;
}

/* Later slabs of a chain that a dead process was building or freeing: ours, so that the walk along
 * the chain from its first slab can go through them to those that are nobody's yet. Of any dead
 * process: one may have died repairing after another, and the chain is in the hands of both. */
static void take_body(struct repair *r, uint32_t slab)
{
    uint64_t word = slab_load(r->zone, slab);
    uint32_t flags = atomic_load_explicit(&r->zone->slabs[slab].flags, memory_order_relaxed);

    if ((flags & SLAB_BODY) == 0 ||
        (slab_state(word) != SLAB_OPEN && slab_state(word) != SLAB_RECLAIM) ||
        slab_owner(word) == r->zone->owner ||
        (slab_owner(word) != r->dead && !owner_died(r->zone, slab_owner(word))))
        return;
    if (slab_move(r->zone, slab, word, SLAB_RECLAIM, r->zone->owner))
        r->report->slabs++;
}

static void repair_head(struct repair *r, uint32_t slab)
{
    if (!settle_large(r, slab)) {
        slab_chain_free(r->zone, slab);
        r->report->slabs++;
    }
}

/* An ordinary slab that was open or being emptied is sealed; what a suspect one holds is not to be
 * trusted. */
static void repair_slab(struct repair *r, uint32_t slab, uint64_t word)
{
    struct reclaim reclaim = {.slab = slab, .mode = EVICT_DROP};
    struct evict_budget budget = EVICT_UNLIMITED;

    /* Every entry of a slab half emptied is in one whole place: whoever reclaims it goes on. */
    if (!r->suspect) {
        slab_seal(r->zone, slab, word);
        r->report->slabs++;
        return;
    }
    if (!slab_move(r->zone, slab, word, SLAB_RECLAIM, r->zone->owner))
        return;
    r->report->slabs++;
    if (evict_purge(r->zone, slab))
        slab_free(r->zone, slab);
    else
        evict_run(r->zone, &reclaim, clock_now_ms(), &budget, true);
}

static bool owned(struct repair *r, uint32_t slab, uint32_t kind, uint64_t *word)
{
    uint32_t flags = atomic_load_explicit(&r->zone->slabs[slab].flags, memory_order_relaxed);

    *word = slab_load(r->zone, slab);
    return slab_owner(*word) == r->dead && (flags & (SLAB_HEAD | SLAB_BODY)) == kind &&
           (slab_state(*word) == SLAB_OPEN || slab_state(*word) == SLAB_RECLAIM);
}

/* Whether the first slab that a later one names still leads to it. */
static bool reached(const struct zone *zone, uint32_t body)
{
    uint32_t i = atomic_load_explicit(&zone->slabs[body].head, memory_order_relaxed);
    uint32_t hops = zone->g.n_slabs;

    if (i >= zone->g.n_slabs ||
        (atomic_load_explicit(&zone->slabs[i].flags, memory_order_relaxed) & SLAB_HEAD) == 0)
        return false;
    while (i != LAYOUT_NONE && i != body && hops-- > 0)
        i = slab_chain_next(zone, i);
    return i == body;
}

/* A later slab of a chain whose first one is gone. A living process freed that chain as far as a slab
 * that a dead one held, where its walk ended; nobody else knows of the rest. While a chain is built
 * its slabs are not LARGE yet, and while one is freed all are claimed first: what is LARGE and not
 * led to is nobody's. */
static bool claim_lost(struct repair *r, uint32_t body, uint64_t word)
{
    return slab_state(word) == SLAB_LARGE && !reached(r->zone, body) &&
           slab_move(r->zone, body, word, SLAB_RECLAIM, r->zone->owner);
}

/* Bodies that no first slab led to. One that is still led to belongs to a chain whose owner is dead
 * too and not yet repaired: without it the walk along that chain would end early. */
static void free_bodies(struct repair *r)
{
    for (uint32_t i = 0; i < r->zone->g.n_slabs; i++) {
        uint64_t word = slab_load(r->zone, i);
        uint32_t flags = atomic_load_explicit(&r->zone->slabs[i].flags, memory_order_relaxed);
        bool ours = slab_state(word) == SLAB_RECLAIM && slab_owner(word) == r->zone->owner;

        if ((flags & SLAB_BODY) && ((ours && !reached(r->zone, i)) || claim_lost(r, i, word)))
            slab_free(r->zone, i);
    }
}

/* Large values whose entries went with memory that was not to be trusted. */
static void free_orphans(struct repair *r)
{
    struct evict_budget budget = EVICT_UNLIMITED;

    for (uint32_t i = 0; i < r->zone->g.n_slabs; i++) {
        uint32_t flags = atomic_load_explicit(&r->zone->slabs[i].flags, memory_order_relaxed);
        struct reclaim reclaim;

        if (slab_state(slab_load(r->zone, i)) == SLAB_LARGE && (flags & SLAB_HEAD) &&
            evict_claim(r->zone, i, EVICT_DEAD, &reclaim) &&
            evict_run(r->zone, &reclaim, clock_now_ms(), &budget, true) == EVICT_DONE)
            r->report->slabs++;
    }
}

/* Ordinary slabs first, because emptying them may unlink large values; then chains. */
static void repair_slabs(struct repair *r)
{
    uint64_t word;

    for (uint32_t i = 0; i < r->zone->g.n_slabs; i++) {
        if (slab_state(slab_load(r->zone, i)) == SLAB_FREE)
            slab_mark_free(r->zone, i); /* it may have died between the two */
        if (owned(r, i, 0, &word))
            repair_slab(r, i, word);
    }
    for (uint32_t i = 0; i < r->zone->g.n_slabs; i++)
        take_body(r, i);
    for (uint32_t i = 0; i < r->zone->g.n_slabs; i++) {
        if (owned(r, i, SLAB_HEAD, &word))
            repair_head(r, i);
    }
    if (!r->incomplete)
        free_bodies(r);
    if (r->suspect)
        free_orphans(r);
}

/* Remove every entry of the chain with this hash: the key itself is not known any more. */
static uint32_t unlink_hash_locked(struct repair *r, struct stripe *stripe, uint64_t hash)
{
    struct zone *zone = r->zone;
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot = {.head = index_head(&a, hash)};

    for (struct bucket *b = spot.head; b != NULL; b = index_next(&a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            struct entry_view view;

            spot.bucket = b;
            spot.slot = i;
            spot.word = index_load(b, i);
            if (spot.word >> SLOT_TAG_SHIFT != layout_tag(hash) || spot.word == 0 ||
                (spot.word & SLOT_LINK) || !entry_view(zone, index_offset(spot.word), &view) ||
                entry_hash(zone, entry_key(zone, &view), view.key_len) != hash)
                continue;
            return index_unlink_locked(zone, stripe, &spot, &view);
        }
    }
    return LAYOUT_NONE;
}

/* A stub that the dead owner held or wrote under. A write of unknown outcome leaves the key absent.
 */
static void repair_stub(struct repair *r, struct stub *stub)
{
    uint64_t hash = atomic_load_explicit(&stub->hash, memory_order_relaxed);
    struct stripe *stripe = layout_stripe(r->zone, hash);
    uint32_t large = LAYOUT_NONE;

    if (atomic_load_explicit(&stub->kind, memory_order_acquire) == STUB_NONE) {
        uint32_t dead = r->dead; /* claimed and not yet in a chain, or out of it and not yet free */

        atomic_compare_exchange_strong(&stub->claim, &dead, 0);
        return;
    }
    if (!take(r, stripe))
        return;
    if (stub->hash == hash && stub_involves(stub, r->dead)) {
        if (atomic_load_explicit(&stub->kind, memory_order_relaxed) == STUB_WRITE) {
            large = unlink_hash_locked(r, stripe, hash);
            stub->touched = 1;
        }
        stub_forget_locked(r->zone, stripe, stub, r->dead);
        r->report->stubs++;
    }
    lock_drop(r->zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(r->zone, large);
}

static void repair_stubs(struct repair *r)
{
    for (uint32_t i = 0; i < r->zone->g.n_stubs; i++) {
        struct stub *stub = layout_stub(r->zone, i);

        if (atomic_load_explicit(&stub->claim, memory_order_acquire) != 0 &&
            stub_involves(stub, r->dead))
            repair_stub(r, stub);
    }
}

static void wake_all(struct zone *zone)
{
    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++)
        lock_wake(&zone->stripes[i]);
}

/* One repairer at a time; one that died itself is succeeded. */
static bool claim_repair(struct owner *owner, uint64_t me)
{
    uint64_t other = atomic_load(&owner->repairer);

    if (other == me)
        return true;
    if (other != 0 && process_alive(other))
        return false;
    return atomic_compare_exchange_strong(&owner->repairer, &other, me);
}

static void repair_owner(struct repair *r)
{
    struct owner *owner = layout_owner(r->zone, r->dead);

    gate_break(r->zone, r->dead);
    pin_forget(r->zone, r->dead);
    repair_locks(r);
    repair_slabs(r);
    repair_stubs(r);
    ban_release(r->zone, r->dead);
    wake_all(r->zone);
    stat_add(r->zone, STAT_REPAIRS, 1);
    if (r->incomplete)
        return;
    atomic_store(&owner->repairer, 0);
    atomic_store(&owner->identity, 0);
}

/* Whether a slot is for this call to repair: the process', or one that an earlier call left. */
static bool concerns(struct owner *owner, pid_t pid)
{
    uint64_t identity = atomic_load(&owner->identity);

    if (identity == 0 || (process_pid(identity) != pid && atomic_load(&owner->repairer) == 0))
        return false;
    return !process_alive(identity);
}

int repair_process(struct zone *zone, pid_t pid, bool suspect, struct repair_report *report)
{
    struct repair_report ignored = {0};
    uint64_t me = process_identity(getpid());
    int found = 0;

    assert(zone->owner != 0);
    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        struct owner *owner = layout_owner(zone, id);
        struct repair r = {.zone = zone,
                           .dead = id,
                           .suspect = suspect,
                           .report = report != NULL ? report : &ignored};

        if (!concerns(owner, pid))
            continue;
        found |= process_pid(atomic_load(&owner->identity)) == pid;
        if (claim_repair(owner, me))
            repair_owner(&r);
    }
    lock_ring(zone);
    return found;
}
