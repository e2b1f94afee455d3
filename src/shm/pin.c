#include "shm/pin.h"

#include "shm/layout.h"
#include "shm/lock.h"
#include "shm/slab.h"
#include "shm/stat.h"

#define SHARE 8 /* the pins of all processes hold one part of the zone in so many, at most */

/* A hazard: first slab + 1 in the low half, how many slabs it stands for in the high one. */
static uint64_t hazard_word(uint32_t first, uint32_t slabs)
{
    return (uint64_t)slabs << 32 | (first + 1);
}

static uint32_t chain_slabs(const struct zone *zone, size_t len)
{
    return (uint32_t)((len + slab_bytes(zone) - 1) / slab_bytes(zone));
}

/* Acquire: what a reader read before it let go comes before what is written there next. */
static uint64_t load(const struct owner *owner, unsigned i)
{
    return atomic_load_explicit(&owner->hazard[i], memory_order_acquire);
}

static bool joined(const struct owner *owner)
{
    return atomic_load_explicit(&owner->identity, memory_order_relaxed) != 0;
}

bool pin_held(const struct zone *zone, uint32_t first)
{
    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        const struct owner *owner = layout_owner(zone, id);

        if (!joined(owner))
            continue;
        for (unsigned i = 0; i < LAYOUT_HAZARDS; i++) {
            if ((uint32_t)load(owner, i) == first + 1)
                return true;
        }
    }
    return false;
}

uint64_t pin_bytes(const struct zone *zone)
{
    uint64_t slabs = 0;

    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        const struct owner *owner = layout_owner(zone, id);

        for (unsigned i = 0; i < LAYOUT_HAZARDS && joined(owner); i++)
            slabs += load(owner, i) >> 32;
    }
    return slabs << zone->g.slab_shift;
}

void pin_forget(struct zone *zone, uint32_t owner)
{
    struct owner *record = layout_owner(zone, owner);

    for (unsigned i = 0; i < LAYOUT_HAZARDS; i++)
        atomic_store_explicit(&record->hazard[i], 0, memory_order_release);
}

/* Several connections may send one value: they share a place. LAYOUT_HAZARDS: there is none. */
static unsigned find_place(const struct zone *zone, uint32_t first)
{
    unsigned free = LAYOUT_HAZARDS;

    for (unsigned i = 0; i < LAYOUT_HAZARDS; i++) {
        if (zone->pins[i].uses == 0)
            free = i;
        else if (zone->pins[i].first == first)
            return i;
    }
    return free;
}

static void let_go(struct zone *zone, unsigned place)
{
    struct owner *record = layout_owner(zone, zone->owner);

    if (--zone->pins[place].uses == 0)
        atomic_store_explicit(&record->hazard[place], 0, memory_order_release);
}

/* Whether the entry is still the one that was seen: then nobody has freed its slabs, and nobody
 * will who looks at the records after unlinking it. */
static bool still_linked(struct zone *zone, const struct table_hit *hit)
{
    struct stripe *stripe = &zone->stripes[hit->stripe];
    bool linked;

    if (!LAYOUT_LOCKED_READS)
        return table_unchanged(zone, hit);
    if (!lock_take(zone, stripe))
        return false;
    linked = table_unchanged(zone, hit);
    lock_drop(zone, stripe);
    return linked;
}

bool pin_begin(struct zone *zone, const struct table_hit *hit, struct pin *pin)
{
    struct owner *record;
    unsigned place;

    if (hit->first_slab >= zone->g.n_slabs || zone->owner == 0 || hit->value_len == 0)
        return false;
    place = find_place(zone, hit->first_slab);
    if (place == LAYOUT_HAZARDS)
        return false;
    record = layout_owner(zone, zone->owner);
    zone->pins[place].first = hit->first_slab;
    if (zone->pins[place].uses++ == 0)
        atomic_store(&record->hazard[place],
                     hazard_word(hit->first_slab, chain_slabs(zone, hit->value_len)));
    atomic_thread_fence(memory_order_seq_cst);
    if (!still_linked(zone, hit) || pin_bytes(zone) > zone->g.size / SHARE) {
        let_go(zone, place);
        return false;
    }
    *pin = (struct pin){
        .zone = zone, .slab = hit->first_slab, .left = hit->value_len, .place = place};
    stat_add(zone, STAT_LENT, 1);
    return true;
}

struct slice pin_piece(const struct pin *pin)
{
    size_t n;

    if (pin->left == 0)
        return slice_make("", 0);
    n = slab_bytes(pin->zone) - pin->at;
    return slice_make(layout_at(pin->zone, slab_offset(pin->zone, pin->slab) + pin->at),
                      n < pin->left ? n : pin->left);
}

void pin_skip(struct pin *pin, size_t n)
{
    pin->left -= n;
    while (n > 0) {
        size_t here = slab_bytes(pin->zone) - pin->at;

        if (n < here) {
            pin->at += (uint32_t)n;
            return;
        }
        n -= here;
        pin->at = 0;
        if (pin->left > 0 || n > 0)
            pin->slab = slab_chain_next(pin->zone, pin->slab);
    }
}

void pin_end(struct pin *pin)
{
    if (pin->zone != NULL)
        let_go(pin->zone, pin->place);
    *pin = (struct pin){0};
}
