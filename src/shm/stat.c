#include "shm/pin.h"
#include "shm/slab.h"
#include "shm/table.h"

static const char *const names[STAT_COUNT] = {
#define STAT_NAME(id, name, text) [STAT_##id] = name,
    STAT_LIST(STAT_NAME)
#undef STAT_NAME
};

static const char *const texts[STAT_COUNT] = {
#define STAT_TEXT(id, name, text) [STAT_##id] = text,
    STAT_LIST(STAT_TEXT)
#undef STAT_TEXT
};

const char *stat_name(enum counter counter)
{
    return names[counter];
}

const char *stat_text(enum counter counter)
{
    return texts[counter];
}

void stat_add(struct zone *zone, enum counter counter, uint64_t n)
{
    _Atomic uint64_t *word;

    assert(zone->owner != 0);
    word = &zone->counters[counter]; /* nobody else writes it: no read-modify-write needed */
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Row 0 is the baseline, row i the owner with id i. */
static _Atomic uint64_t *row(const struct zone *zone, uint32_t i)
{
    return (_Atomic uint64_t *)layout_at(zone, zone->g.counters) + (uint64_t)i * LAYOUT_COUNTERS;
}

static uint64_t sum(const struct zone *zone, unsigned counter)
{
    uint64_t total = 0;

    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++)
        total += atomic_load_explicit(&row(zone, id)[counter], memory_order_relaxed);
    return total;
}

void stat_sum(const struct zone *zone, uint64_t out[STAT_COUNT])
{
    for (unsigned i = 0; i < STAT_COUNT; i++) {
        uint64_t base = atomic_load_explicit(&row(zone, 0)[i], memory_order_relaxed);

        out[i] = sum(zone, i) - base;
    }
}

void stat_reset(struct zone *zone)
{
    for (unsigned i = 0; i < STAT_COUNT; i++)
        atomic_store_explicit(&row(zone, 0)[i], sum(zone, i), memory_order_relaxed);
}

static void count_slab(const struct zone *zone, uint32_t index, struct stat_memory *out)
{
    const struct slab *slab = &zone->slabs[index];
    enum slab_state state = slab_state(slab_load(zone, index));
    uint32_t used = atomic_load_explicit(&slab->pos, memory_order_relaxed);
    uint32_t live = atomic_load_explicit(&slab->live_bytes, memory_order_relaxed);

    out->slabs_free += state == SLAB_FREE;
    out->slabs_open += state == SLAB_OPEN;
    out->slabs_index += state == SLAB_INDEX;
    if (state == SLAB_FREE || state == SLAB_INDEX)
        return;
    out->slabs_large += state == SLAB_LARGE;
    out->slabs_main += slab_is_main(zone, index);
    out->slabs_small += !slab_is_main(zone, index);
    if (state != SLAB_LARGE && used > live)
        out->dead_bytes += used - live;
}

void stat_memory(const struct zone *zone, struct stat_memory *out)
{
    *out = (struct stat_memory){
        .size_bytes = zone->g.size,
        .index_bytes = zone->g.slabs + (uint64_t)atomic_load(&zone->sb->blocks.slabs) * slab_bytes(zone),
        .slab_bytes = slab_bytes(zone),
        .slabs = zone->g.n_slabs,
        .live_bytes = table_bytes(zone),
        .pinned_bytes = pin_bytes(zone),
    };
    for (uint32_t i = 0; i < zone->g.n_slabs; i++)
        count_slab(zone, i, out);
}
