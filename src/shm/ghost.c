#include "shm/ghost.h"

#define STAMP_SHIFT 20
#define STAMP_MASK  UINT32_C(0xfff)
#define PRINT_MASK  ((UINT32_C(1) << STAMP_SHIFT) - 1)

/* The stripes and buckets use the hash's bits as they are: mix them, so that the keys of one bucket
 * do not share a line. */
static uint64_t mix(uint64_t hash)
{
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

static _Atomic uint32_t *line_of(const struct zone *zone, uint64_t mixed)
{
    uint64_t line = ((mixed >> 32) * zone->g.n_ghosts) >> 32;

    return (_Atomic uint32_t *)layout_at(zone, zone->g.ghosts) + line * LAYOUT_GHOSTS;
}

static uint32_t print_of(uint64_t mixed)
{
    uint32_t print = (uint32_t)(mixed ^ mixed >> 44) & PRINT_MASK;

    return print != 0 ? print : 1;
}

/* Ghosts in a step of the stamp: its range is four times the table, so that one is overwritten long
 * before its stamp comes round again. */
static uint64_t step(const struct zone *zone)
{
    return (uint64_t)zone->g.n_ghosts * LAYOUT_GHOSTS / 1024 + 1;
}

static uint32_t age_of(uint32_t word, uint64_t made, uint64_t step)
{
    return ((uint32_t)(made / step) - (word >> STAMP_SHIFT)) & STAMP_MASK;
}

static uint32_t load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

void ghost_add(struct zone *zone, uint64_t hash)
{
    uint64_t mixed = mix(hash);
    uint32_t print = print_of(mixed);
    _Atomic uint32_t *line = line_of(zone, mixed);
    uint64_t made = atomic_fetch_add_explicit(&zone->sb->ghost_stamp, 1, memory_order_relaxed) + 1;
    uint32_t stamp = (uint32_t)(made / step(zone)) & STAMP_MASK;
    uint32_t oldest = 0;
    unsigned place = 0;

    for (unsigned i = 0; i < LAYOUT_GHOSTS; i++) {
        uint32_t word = load(&line[i]);
        uint32_t age = word == 0 ? STAMP_MASK + 1 : age_of(word, made, step(zone));

        if ((word & PRINT_MASK) == print) {
            place = i;
            break;
        }
        if (age > oldest) {
            oldest = age;
            place = i;
        }
    }
    atomic_store_explicit(&line[place], stamp << STAMP_SHIFT | print, memory_order_relaxed);
}

bool ghost_take(struct zone *zone, uint64_t hash)
{
    uint64_t mixed = mix(hash);
    uint32_t print = print_of(mixed);
    _Atomic uint32_t *line = line_of(zone, mixed);
    uint64_t made = atomic_load_explicit(&zone->sb->ghost_stamp, memory_order_relaxed);
    uint64_t entries = atomic_load_explicit(&zone->sb->entries_seen, memory_order_relaxed);

    for (unsigned i = 0; i < LAYOUT_GHOSTS; i++) {
        uint32_t word = load(&line[i]);

        if ((word & PRINT_MASK) != print)
            continue;
        atomic_store_explicit(&line[i], 0, memory_order_relaxed);
        return age_of(word, made, step(zone)) * step(zone) <= entries * 9 / 10;
    }
    return false;
}

uint32_t ghost_check(const struct zone *zone)
{
    const _Atomic uint32_t *words = layout_at(zone, zone->g.ghosts);
    uint32_t wrong = 0;

    for (uint64_t i = 0; i < (uint64_t)zone->g.n_ghosts * LAYOUT_GHOSTS; i++) {
        uint32_t word = load(&words[i]);

        wrong += word != 0 && (word & PRINT_MASK) == 0;
    }
    return wrong;
}
