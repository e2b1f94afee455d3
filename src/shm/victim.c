#include "shm/victim.h"

#define SURVEYS     64 /* at most, when others are faster at each */
#define SMALL_SHARE 10 /* the small queue is one part in so many */

/* A large value goes as one: its first slab stands for all of them. */
static bool candidate(const struct zone *zone, uint32_t slab)
{
    enum slab_state state = slab_state(slab_load(zone, slab));
    uint32_t flags = atomic_load_explicit(&zone->slabs[slab].flags, memory_order_relaxed);

    return state == SLAB_SEALED ||
           (state == SLAB_LARGE && (flags & SLAB_HEAD) && !slab_parked(zone, slab));
}

static uint32_t load32(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t age_rank(const struct zone *zone, uint32_t slab)
{
    return atomic_load_explicit(&zone->slabs[slab].stamp, memory_order_relaxed);
}

/* What emptying the slab would leave to be copied, when that is at most half of what lies in it;
 * UINT64_MAX otherwise. */
static uint64_t hollow_rank(const struct zone *zone, uint32_t index, uint64_t now_ms)
{
    const struct slab *slab = &zone->slabs[index];
    uint32_t live = load32(&slab->live_bytes);

    if (slab_dead(zone, index, now_ms))
        return 0;
    if (slab_state(slab_load(zone, index)) == SLAB_LARGE ||
        (load32(&slab->flags) & SLAB_INEXACT) != 0 || live > load32(&slab->pos) / 2)
        return UINT64_MAX;
    return live;
}

/* Keep the lowest in order; the last of a full list falls out. */
static void remember(struct victims *v, unsigned cap, uint32_t slab, uint64_t order)
{
    unsigned i = v->n;

    if (i == cap) {
        if (v->order[i - 1] <= order)
            return;
        i--;
    } else {
        v->n++;
    }
    for (; i > 0 && v->order[i - 1] > order; i--) {
        v->slab[i] = v->slab[i - 1];
        v->order[i] = v->order[i - 1];
    }
    v->slab[i] = slab;
    v->order[i] = order;
}

/* The best last, to be taken from the end. */
static void turn(struct victims *v)
{
    for (unsigned i = 0, j = v->n; i + 1 < j; i++) {
        uint32_t slab = v->slab[i];
        uint64_t order = v->order[i];

        j--;
        v->slab[i] = v->slab[j];
        v->order[i] = v->order[j];
        v->slab[j] = slab;
        v->order[j] = order;
    }
}

struct census {
    uint64_t entries;
    uint64_t bytes;
    int32_t small; /* slabs */
};

static void count(const struct zone *zone, uint32_t index, struct census *sum)
{
    const struct slab *slab = &zone->slabs[index];
    enum slab_state state = slab_state(slab_load(zone, index));

    if (state == SLAB_FREE || state == SLAB_INDEX)
        return;
    sum->small += !slab_is_main(zone, index);
    sum->entries += load32(&slab->live);
    sum->bytes += state == SLAB_LARGE ? load32(&slab->pos) : load32(&slab->live_bytes);
}

static void publish(struct zone *zone, const struct census *sum)
{
    uint64_t mean = sum->entries > 0 ? sum->bytes / sum->entries : 0;

    atomic_store_explicit(&zone->sb->n_small, sum->small, memory_order_relaxed);
    atomic_store_explicit(&zone->sb->entries_seen, (uint32_t)sum->entries, memory_order_relaxed);
    atomic_store_explicit(&zone->sb->mean_bytes, (uint32_t)mean, memory_order_relaxed);
}

/* One look over all headers finds several victims, so that a zone of many slabs is not read through
 * for each; few enough of them that the list is still true when its end is used. */
static void survey(struct zone *zone, uint64_t now_ms)
{
    unsigned cap = zone->g.n_slabs / 64;
    struct census sum = {0, 0, 0};

    cap = cap < 1 ? 1 : cap > LAYOUT_VICTIMS ? LAYOUT_VICTIMS : cap;
    zone->hollow.n = 0;
    zone->oldest[0].n = 0;
    zone->oldest[1].n = 0;
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint64_t rank;

        count(zone, i, &sum);
        if (!candidate(zone, i))
            continue;
        rank = hollow_rank(zone, i, now_ms);
        if (rank != UINT64_MAX)
            remember(&zone->hollow, cap, i, rank);
        else
            remember(&zone->oldest[slab_is_main(zone, i)], cap, i, age_rank(zone, i));
    }
    zone->hollow_more = zone->hollow.n == cap;
    turn(&zone->hollow);
    turn(&zone->oldest[0]);
    turn(&zone->oldest[1]);
    publish(zone, &sum);
}

static uint32_t take_hollow(struct zone *zone, uint64_t now_ms)
{
    while (zone->hollow.n > 0) {
        uint32_t slab = zone->hollow.slab[--zone->hollow.n];

        if (candidate(zone, slab) && hollow_rank(zone, slab, now_ms) != UINT64_MAX)
            return slab;
    }
    return LAYOUT_NONE;
}

static uint32_t take_oldest(struct zone *zone, bool main)
{
    struct victims *v = &zone->oldest[main];

    while (v->n > 0) {
        uint32_t slab = v->slab[--v->n];

        /* Still the slab that was looked at, not one opened and sealed since. */
        if (candidate(zone, slab) && age_rank(zone, slab) == v->order[v->n] &&
            slab_is_main(zone, slab) == main)
            return slab;
    }
    return LAYOUT_NONE;
}

/* The small queue while it is more than its share. */
static bool main_is_due(const struct zone *zone)
{
    int32_t share = (int32_t)(zone->g.n_slabs / SMALL_SHARE);

    return atomic_load_explicit(&zone->sb->n_small, memory_order_relaxed) <= share;
}

static uint32_t take(struct zone *zone, uint64_t now_ms, bool any, enum evict_mode *mode)
{
    uint32_t slab = take_hollow(zone, now_ms);
    bool main;

    *mode = slab != LAYOUT_NONE ? EVICT_COMPACT : EVICT_QUEUE;
    if (slab != LAYOUT_NONE || (zone->hollow_more && !any))
        return slab;
    main = main_is_due(zone);
    slab = take_oldest(zone, main);
    return slab == LAYOUT_NONE && any ? take_oldest(zone, !main) : slab;
}

uint32_t victim_choose(struct zone *zone, uint64_t now_ms, enum evict_mode *mode)
{
    uint32_t slab = take(zone, now_ms, false, mode);

    for (unsigned i = 0; slab == LAYOUT_NONE && i < SURVEYS; i++) {
        survey(zone, now_ms);
        if (zone->hollow.n + zone->oldest[0].n + zone->oldest[1].n == 0)
            return LAYOUT_NONE;
        slab = take(zone, now_ms, true, mode); /* none when others were faster */
    }
    return slab;
}

bool victim_elsewhere(const struct zone *zone)
{
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint64_t word = slab_load(zone, i);

        if ((slab_state(word) == SLAB_RECLAIM || slab_state(word) == SLAB_OPEN) &&
            slab_owner(word) != zone->owner)
            return true;
    }
    return false;
}
