#include "shm/evict.h"

#include "common/clock.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/valid.h"

#define TRIES      64 /* victims that others took first, at most */
#define BUSY_TRIES 2  /* times LOCK_WAIT_MS that a store waits */

/* A large value goes as one: its first slab stands for all of them. */
static bool candidate(const struct zone *zone, uint32_t slab)
{
    enum slab_state state = slab_state(slab_load(zone, slab));
    uint32_t flags = atomic_load_explicit(&zone->slabs[slab].flags, memory_order_relaxed);

    return state == SLAB_SEALED || (state == SLAB_LARGE && (flags & SLAB_HEAD));
}

/* 0 for a slab that costs nothing to lose, else its age. */
static uint64_t rank(const struct zone *zone, uint32_t index, uint64_t now_ms)
{
    const struct slab *slab = &zone->slabs[index];
    int32_t live = (int32_t)atomic_load_explicit(&slab->live, memory_order_relaxed);
    bool large = slab_state(slab_load(zone, index)) == SLAB_LARGE;

    if ((!large && live <= 0) || slab_dead(zone, index, now_ms))
        return 0;
    return atomic_load_explicit(&slab->stamp, memory_order_relaxed);
}

/* Keep the best in order; the last of a full list falls out. */
static void remember(struct zone *zone, unsigned cap, uint32_t slab, uint64_t order)
{
    unsigned i = zone->n_victims;

    if (i == cap) {
        if (zone->victim_stamps[i - 1] <= order)
            return;
        i--;
    } else {
        zone->n_victims++;
    }
    for (; i > 0 && zone->victim_stamps[i - 1] > order; i--) {
        zone->victims[i] = zone->victims[i - 1];
        zone->victim_stamps[i] = zone->victim_stamps[i - 1];
    }
    zone->victims[i] = slab;
    zone->victim_stamps[i] = order;
}

/* One look over all headers finds several victims, so that a zone of many slabs is not read through
 * for each; few enough of them that the list is still true when its end is used. */
static void survey(struct zone *zone, uint64_t now_ms)
{
    unsigned cap = zone->g.n_slabs / 64;

    cap = cap < 1 ? 1 : cap > LAYOUT_VICTIMS ? LAYOUT_VICTIMS : cap;
    zone->n_victims = 0;
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        if (candidate(zone, i))
            remember(zone, cap, i, rank(zone, i, now_ms));
    }
    /* The best last, to be taken from the end. */
    for (unsigned i = 0, j = zone->n_victims; i + 1 < j; i++) {
        uint32_t slab;
        uint64_t order;

        j--;
        slab = zone->victims[i];
        order = zone->victim_stamps[i];
        zone->victims[i] = zone->victims[j];
        zone->victim_stamps[i] = zone->victim_stamps[j];
        zone->victims[j] = slab;
        zone->victim_stamps[j] = order;
    }
}

/* The best that was seen and is still the slab that was looked at, not one opened and sealed since.
 */
static uint32_t pop(struct zone *zone, uint64_t now_ms)
{
    while (zone->n_victims > 0) {
        uint32_t slab = zone->victims[--zone->n_victims];

        if (candidate(zone, slab) &&
            rank(zone, slab, now_ms) <= zone->victim_stamps[zone->n_victims])
            return slab;
    }
    return LAYOUT_NONE;
}

uint32_t evict_choose(struct zone *zone, uint64_t now_ms)
{
    uint32_t slab = pop(zone, now_ms);

    for (unsigned i = 0; slab == LAYOUT_NONE && i < TRIES; i++) {
        survey(zone, now_ms);
        if (zone->n_victims == 0)
            return LAYOUT_NONE;
        slab = pop(zone, now_ms); /* none when others were faster */
    }
    return slab;
}

bool evict_claim(struct zone *zone, uint32_t slab, bool only_dead, struct reclaim *reclaim)
{
    uint64_t word = slab_load(zone, slab);

    reclaim->slab = LAYOUT_NONE;
    if (slab_state(word) == SLAB_SEALED) {
        if (!slab_move(zone, slab, word, SLAB_RECLAIM, zone->owner))
            return false;
    } else if (slab_state(word) != SLAB_LARGE) {
        return false;
    }
    reclaim->slab = slab;
    reclaim->pos = 0;
    reclaim->large = slab_state(word) == SLAB_LARGE;
    reclaim->only_dead = only_dead;
    reclaim->kept = false;
    return true;
}

static bool get_lock(struct zone *zone, struct stripe *stripe, bool wait)
{
    return wait ? lock_take(zone, stripe) : lock_try(zone, stripe);
}

uint32_t evict_entry_locked(struct zone *zone, struct stripe *stripe, const struct index_spot *spot,
                            const struct entry_view *view, uint64_t now_ms)
{
    struct slice key = slice_make(entry_key(zone, view), view->key_len);
    enum validity v = valid_entry(zone, view, key, now_ms);

    if (v == VALID_EXPIRED)
        stat_add(zone, STAT_EXPIRATIONS, 1);
    else if (v != VALID_GONE)
        stat_add(zone, STAT_EVICTIONS, 1);
    return index_unlink_locked(zone, stripe, spot, view);
}

static bool entry_valid(const struct zone *zone, const struct entry_view *view, uint64_t now_ms)
{
    struct slice key = slice_make(entry_key(zone, view), view->key_len);

    return valid_entry(zone, view, key, now_ms) <= VALID_STALE;
}

/* Unlink one entry of a claimed slab, if the table still points to it. false: locked. */
static bool empty_entry(struct zone *zone, struct reclaim *reclaim, const struct entry_view *view,
                        uint64_t now_ms, struct evict_budget *budget, bool wait)
{
    uint64_t hash = entry_hash(zone, entry_key(zone, view), view->key_len);
    struct stripe *stripe = layout_stripe(zone, hash);
    struct index_spot spot;
    uint32_t large = LAYOUT_NONE;

    if (index_linked(zone, hash, view->at) == 0)
        return true;
    if (!get_lock(zone, stripe, wait))
        return false;
    if (index_spot_locked(zone, stripe, hash, view->at, &spot)) {
        struct entry_view now; /* its expiry may have moved since */

        if (!entry_view(zone, view->at, &now))
            now = *view;
        if (reclaim->only_dead && entry_valid(zone, &now, now_ms)) {
            reclaim->kept = true;
        } else {
            large = evict_entry_locked(zone, stripe, &spot, &now, now_ms);
            budget->unlinks -= budget->unlinks > 0;
        }
    }
    lock_drop(zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(zone, large);
    return true;
}

static enum evict_result give_back(struct zone *zone, struct reclaim *reclaim,
                                   enum evict_result result)
{
    uint64_t word = slab_load(zone, reclaim->slab);
    bool moved = slab_move(zone, reclaim->slab, word, SLAB_SEALED, 0);

    assert(moved); /* nobody else touches what we have in reclaim */
    (void)moved;
    reclaim->slab = LAYOUT_NONE;
    return result;
}

static enum evict_result empty_slab(struct zone *zone, struct reclaim *reclaim, uint64_t now_ms,
                                    struct evict_budget *budget, bool wait)
{
    uint64_t start = slab_offset(zone, reclaim->slab);
    uint32_t end = atomic_load_explicit(&zone->slabs[reclaim->slab].pos, memory_order_acquire);
    unsigned since_clock = 0;

    while (reclaim->pos < end) {
        struct entry_view view;

        if (budget->unlinks == 0 || (++since_clock % 64 == 0 && budget->end_ns != UINT64_MAX &&
                                     clock_now_ns() >= budget->end_ns))
            return EVICT_MORE;
        if (!entry_view(zone, start + reclaim->pos, &view)) {
            if (!evict_purge(zone, reclaim->slab))
                return give_back(zone, reclaim, EVICT_BUSY);
            break;
        }
        if (!empty_entry(zone, reclaim, &view, now_ms, budget, wait))
            return give_back(zone, reclaim, EVICT_BUSY);
        reclaim->pos += view.size;
    }
    if (reclaim->kept)
        return give_back(zone, reclaim, EVICT_DONE);
    slab_free(zone, reclaim->slab);
    stat_add(zone, STAT_RECLAIMS, 1);
    reclaim->slab = LAYOUT_NONE;
    return EVICT_DONE;
}

/* A chain whose entry is gone (its slab's bytes were not to be trusted) is nobody's. Under the
 * stripe's lock, so that no entry of it is about to be published or unlinked. */
static uint32_t claim_orphan(struct zone *zone, uint32_t slab, uint64_t hash)
{
    uint64_t word = slab_load(zone, slab);

    if (slab_state(word) != SLAB_LARGE ||
        atomic_load_explicit(&zone->slabs[slab].hash, memory_order_relaxed) != hash ||
        !slab_move(zone, slab, word, SLAB_RECLAIM, zone->owner))
        return LAYOUT_NONE;
    return slab;
}

/* A large value: unlink its entry, then free its slabs. */
static enum evict_result empty_large(struct zone *zone, struct reclaim *reclaim, uint64_t now_ms,
                                     struct evict_budget *budget, bool wait)
{
    uint32_t slab = reclaim->slab;
    uint64_t hash = atomic_load_explicit(&zone->slabs[slab].hash, memory_order_relaxed);
    struct stripe *stripe = layout_stripe(zone, hash);
    struct index_spot spot;
    struct entry_view view;
    uint32_t large = LAYOUT_NONE;

    reclaim->slab = LAYOUT_NONE;
    if (!get_lock(zone, stripe, wait))
        return EVICT_BUSY;
    if (!index_large_locked(zone, stripe, hash, slab, &spot, &view)) {
        large = claim_orphan(zone, slab, hash);
    } else if (!reclaim->only_dead || !entry_valid(zone, &view, now_ms)) {
        large = evict_entry_locked(zone, stripe, &spot, &view, now_ms);
        budget->unlinks -= budget->unlinks > 0;
    }
    lock_drop(zone, stripe);
    if (large == LAYOUT_NONE)
        return EVICT_BUSY;
    slab_chain_free(zone, large);
    stat_add(zone, STAT_RECLAIMS, 1);
    return EVICT_DONE;
}

enum evict_result evict_run(struct zone *zone, struct reclaim *reclaim, uint64_t now_ms,
                            struct evict_budget *budget, bool wait)
{
    return reclaim->large ? empty_large(zone, reclaim, now_ms, budget, wait)
                          : empty_slab(zone, reclaim, now_ms, budget, wait);
}

enum evict_result evict_one(struct zone *zone, uint64_t now_ms)
{
    struct evict_budget budget = EVICT_UNLIMITED;
    unsigned busy = 0;

    for (uint32_t tries = 0; tries < TRIES && busy < BUSY_TRIES; tries++) {
        uint32_t slab = evict_choose(zone, now_ms);
        struct reclaim reclaim;

        if (slab == LAYOUT_NONE)
            return EVICT_NONE;
        if (!evict_claim(zone, slab, false, &reclaim))
            continue; /* someone else was faster */
        if (evict_run(zone, &reclaim, now_ms, &budget, true) == EVICT_DONE)
            return EVICT_DONE;
        busy++;
    }
    return EVICT_BUSY;
}

/* Clear every slot of one stripe that points into the slab; no byte of the slab is believed. */
static void purge_stripe(struct zone *zone, struct stripe *stripe, uint32_t slab)
{
    struct index_array a = index_array(zone, stripe);

    for (uint32_t h = 0; h < a.primary; h++) {
        struct bucket *head = &a.buckets[h];

        for (struct bucket *b = head; b != NULL; b = index_next(&a, b)) {
            for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
                uint64_t word = index_load(b, i);

                if (word == 0 || (word & SLOT_LINK) || slab_of(zone, index_offset(word)) != slab)
                    continue;
                index_begin_locked(zone, stripe, head, word, 0);
                atomic_store_explicit(&b->slot[i], 0, memory_order_release);
                index_recount(zone, stripe);
                index_end_locked(zone, stripe, head);
            }
        }
    }
}

bool evict_purge(struct zone *zone, uint32_t slab)
{
    for (uint32_t s = 0; s < LAYOUT_STRIPES; s++) {
        if (!lock_take(zone, &zone->stripes[s]))
            return false;
        purge_stripe(zone, &zone->stripes[s], slab);
        lock_drop(zone, &zone->stripes[s]);
    }
    return true;
}
