#include "shm/evict.h"

#include "common/clock.h"
#include "shm/ghost.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/valid.h"
#include "shm/victim.h"

#define EVICT_TRIES 64 /* victims that others took first, at most */
#define BUSY_TRIES  2  /* times LOCK_WAIT_MS that a store waits */
#define COPIED_UNIT 4096 /* so many bytes copied cost as much as an entry unlinked */

static bool is_head(const struct zone *zone, uint32_t slab)
{
    return (atomic_load_explicit(&zone->slabs[slab].flags, memory_order_relaxed) & SLAB_HEAD) != 0;
}

/* A claimed large value is not in RECLAIM yet: its owner of record is the table until it is
 * unlinked. */
bool evict_claim(struct zone *zone, uint32_t slab, enum evict_mode mode, struct reclaim *reclaim)
{
    uint64_t word = slab_load(zone, slab);

    reclaim->slab = LAYOUT_NONE;
    if (slab_state(word) == SLAB_SEALED) {
        if (!slab_move(zone, slab, word, SLAB_RECLAIM, zone->owner))
            return false;
    } else if (slab_state(word) != SLAB_LARGE || !is_head(zone, slab)) {
        return false;
    }
    reclaim->slab = slab;
    reclaim->pos = 0;
    reclaim->large = slab_state(word) == SLAB_LARGE;
    reclaim->mode = mode;
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

/* log2(mean size / size), rounded, between -3 and 3. */
static int size_credit(double mean, double size)
{
    static const double halfway[] = {0.1767767, 0.3535534, 0.7071068,
                                     1.4142136, 2.8284271, 5.6568542};
    int credit = -3;

    for (unsigned i = 0; i < sizeof(halfway) / sizeof(halfway[0]); i++)
        credit += mean >= halfway[i] * size;
    return credit;
}

/* Whether an entry that is valid stays, and the frequency it goes on with. */
static bool worth_keeping(const struct zone *zone, const struct reclaim *reclaim,
                          const struct entry_view *view, unsigned *freq)
{
    uint32_t mean = atomic_load_explicit(&zone->sb->mean_bytes, memory_order_relaxed);
    int price = 2;

    if (reclaim->mode == EVICT_COMPACT)
        return true;
    if (reclaim->mode == EVICT_DROP)
        return false;
    if (slab_is_main(zone, reclaim->slab)) {
        if (*freq == 0)
            return false;
        --*freq;
        return true;
    }
    if (zone->g.size_credit && mean > 0)
        price -= size_credit(mean, (double)entry_bytes(view));
    if ((int)*freq < price)
        return false;
    *freq = 0;
    return true;
}

/* One entry of a slab that is being emptied. */
struct passage {
    uint64_t hash;
    struct stripe *stripe;
    struct entry_view view;
    struct index_glimpse seen; /* before the lock */
    unsigned freq;
    uint64_t to; /* where its copy lies; 0 = there is none */
    unsigned place;
    bool evicted;
    uint32_t large; /* to be freed */
};

/* See whether the entry is still in the table. false: locked. p->seen.word is 0 when it is not. */
static bool glimpse(struct zone *zone, struct passage *p, bool wait)
{
    struct index_spot spot;

    if (index_glimpse(zone, p->hash, p->view.at, &p->seen) >= 0)
        return true;
    if (!get_lock(zone, p->stripe, wait))
        return false;
    index_spot_locked(zone, p->stripe, p->hash, p->view.at, &spot);
    p->seen = (struct index_glimpse){.word = spot.word}; /* and no state that the chain can be in */
    lock_drop(zone, p->stripe);
    return true;
}

/* Before the lock: the verdict as it seems now. true: to be kept. */
static bool seems_worth(struct zone *zone, const struct reclaim *reclaim, struct passage *p,
                        uint64_t now_ms)
{
    p->freq = index_freq(p->seen.word);
    return reclaim->mode != EVICT_DEAD && entry_valid(zone, &p->view, now_ms) &&
           ((p->view.flags & ENTRY_LARGE) ? reclaim->mode != EVICT_DROP
                                          : worth_keeping(zone, reclaim, &p->view, &p->freq));
}

/* The copy is made before the lock, because copying takes long. Whether it is true is seen under
 * the lock: nothing may have happened in the chain since the glimpse. */
static void copy_ahead(struct zone *zone, const struct reclaim *reclaim, struct passage *p,
                       uint64_t now_ms)
{
    struct slab_want want = {
        .size = p->view.size,
        .expires_ms = entry_expires_ms(zone, &p->view),
        .main = slab_is_main(zone, reclaim->slab) || reclaim->mode == EVICT_QUEUE,
        .last = true,
    };

    p->to = slab_append(zone, &want, now_ms, &p->place);
    if (p->to != 0 && !LAYOUT_LOCKED_READS)
        entry_copy(layout_at(zone, p->to), layout_at(zone, p->view.at), p->view.size);
}

/* Make the copy the entry. */
static void move_locked(struct zone *zone, struct passage *p, const struct index_spot *spot,
                        const struct entry_view *now)
{
    struct entry_view copy = *now;

    if (LAYOUT_LOCKED_READS || !index_still(zone, p->stripe, p->hash, &p->seen))
        entry_copy(layout_at(zone, p->to), layout_at(zone, now->at), now->size);
    copy.at = p->to;
    slab_raise(zone, slab_of(zone, p->to), now->seq, now->expiry);
    slab_append_commit(zone, p->place, now->size);
    index_move_locked(zone, p->stripe, spot, now, &copy, p->freq);
}

/* Under the lock the entry is what it is: move it, drop it or leave it. */
static void settle_locked(struct zone *zone, struct reclaim *reclaim, struct passage *p,
                          uint64_t now_ms)
{
    struct index_spot spot;
    struct entry_view now; /* its expiry, or its value, may be others since */
    bool valid;

    if (!index_spot_locked(zone, p->stripe, p->hash, p->view.at, &spot))
        return;
    if (!entry_view(zone, p->view.at, &now))
        now = p->view;
    valid = entry_valid(zone, &now, now_ms);
    if (valid && reclaim->mode == EVICT_DEAD) {
        reclaim->kept = true;
    } else if (valid && p->to != 0) {
        move_locked(zone, p, &spot, &now);
        stat_add(zone, STAT_KEPT, 1);
    } else {
        p->large = evict_entry_locked(zone, p->stripe, &spot, &now, now_ms);
        p->evicted = valid;
    }
}

static void spend(struct evict_budget *budget, uint32_t bytes)
{
    unsigned cost = 1 + bytes / COPIED_UNIT;

    budget->unlinks -= budget->unlinks < cost ? budget->unlinks : cost;
}

/* Take one entry out of a claimed slab, if the table still points to it. false: locked. */
static bool empty_entry(struct zone *zone, struct reclaim *reclaim, const struct entry_view *view,
                        uint64_t now_ms, struct evict_budget *budget, bool wait)
{
    struct passage p = {.view = *view, .large = LAYOUT_NONE};
    bool locked;

    p.hash = entry_hash(zone, entry_key(zone, view), view->key_len);
    p.stripe = layout_stripe(zone, p.hash);
    if (!glimpse(zone, &p, wait))
        return false;
    if (p.seen.word == 0)
        return true;
    if (seems_worth(zone, reclaim, &p, now_ms))
        copy_ahead(zone, reclaim, &p, now_ms);
    locked = get_lock(zone, p.stripe, wait);
    if (locked) {
        settle_locked(zone, reclaim, &p, now_ms);
        lock_drop(zone, p.stripe);
        spend(budget, p.to != 0 ? view->size : 0);
    }
    if (p.to != 0)
        slab_append_done(zone, p.place);
    if (p.large != LAYOUT_NONE)
        slab_chain_free(zone, p.large);
    if (p.evicted && !slab_is_main(zone, reclaim->slab))
        ghost_add(zone, p.hash);
    return locked;
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

    /* It may be another value's since it was chosen, and then not even its first: a later slab has
     * no hash, and no entry leads to it by itself. The word's generation, in the CAS, makes what is
     * looked at here the state of one and the same use. */
    if (slab_state(word) != SLAB_LARGE || !is_head(zone, slab) ||
        atomic_load_explicit(&zone->slabs[slab].hash, memory_order_relaxed) != hash ||
        !slab_move(zone, slab, word, SLAB_RECLAIM, zone->owner))
        return LAYOUT_NONE;
    return slab;
}

/* Drop the large value, or leave it, to be looked at again. true: it was kept. */
static bool settle_large_locked(struct zone *zone, struct stripe *stripe,
                                const struct reclaim *reclaim, const struct index_spot *spot,
                                const struct entry_view *view, uint64_t now_ms, uint32_t *large)
{
    bool valid = entry_valid(zone, view, now_ms);
    unsigned freq = index_freq(spot->word);

    if (valid && reclaim->mode == EVICT_DEAD)
        return false;
    if (valid && worth_keeping(zone, reclaim, view, &freq)) {
        index_set_freq_locked(zone, stripe, spot, freq);
        slab_requeue(zone, reclaim->slab);
        stat_add(zone, STAT_KEPT, 1);
        return true;
    }
    *large = evict_entry_locked(zone, stripe, spot, view, now_ms);
    return false;
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
    bool kept = false;

    if (!get_lock(zone, stripe, wait)) {
        reclaim->slab = LAYOUT_NONE;
        return EVICT_BUSY;
    }
    if (!index_large_locked(zone, stripe, hash, slab, &spot, &view))
        large = claim_orphan(zone, slab, hash);
    else
        kept = settle_large_locked(zone, stripe, reclaim, &spot, &view, now_ms, &large);
    lock_drop(zone, stripe);
    reclaim->slab = LAYOUT_NONE;
    spend(budget, 0);
    if (large == LAYOUT_NONE)
        return kept ? EVICT_DONE : EVICT_BUSY;
    if (!slab_is_main(zone, large))
        ghost_add(zone, hash);
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

enum evict_result evict_one(struct zone *zone, uint64_t now_ms, unsigned tries)
{
    struct evict_budget budget = EVICT_UNLIMITED;
    unsigned busy = 0;

    for (unsigned n = 0; n < EVICT_TRIES && busy < BUSY_TRIES; n++) {
        enum evict_mode mode;
        uint32_t slab = victim_choose(zone, now_ms, &mode);
        struct reclaim reclaim;

        if (slab == LAYOUT_NONE)
            return victim_elsewhere(zone) ? EVICT_BUSY : EVICT_NONE;
        if (tries >= EVICT_PATIENCE)
            mode = EVICT_DROP;
        if (!evict_claim(zone, slab, mode, &reclaim))
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
        struct bucket *head = index_bucket(&a, h);

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
