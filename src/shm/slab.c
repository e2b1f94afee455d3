#include "shm/slab.h"

#define BITS 64u

bool slab_move(struct zone *zone, uint32_t slab, uint64_t old, enum slab_state state,
               uint32_t owner)
{
    uint64_t word = slab_word(state, owner, old);

    if (state == SLAB_OPEN)
        word += UINT64_C(1) << 32; /* the generation */
    return atomic_compare_exchange_strong(&zone->slabs[slab].state, &old, word);
}

static _Atomic uint64_t *free_bits(const struct zone *zone)
{
    return layout_at(zone, zone->g.free_bits);
}

static uint32_t free_words(const struct zone *zone)
{
    return (zone->g.n_slabs + BITS - 1) / BITS;
}

void slab_mark_free(struct zone *zone, uint32_t slab)
{
    atomic_fetch_or(&free_bits(zone)[slab / BITS], UINT64_C(1) << (slab % BITS));
}

uint32_t slab_count_free(const struct zone *zone)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < free_words(zone); i++)
        n += (uint32_t)__builtin_popcountll(
            atomic_load_explicit(&free_bits(zone)[i], memory_order_relaxed));
    return n;
}

static bool open_free(struct zone *zone, uint32_t index, uint32_t flags)
{
    struct slab *slab = &zone->slabs[index];
    uint64_t word = slab_load(zone, index);

    if (slab_state(word) != SLAB_FREE || !slab_move(zone, index, word, SLAB_OPEN, zone->owner))
        return false;
    atomic_store_explicit(&slab->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&slab->stamp,
                          atomic_fetch_add_explicit(&zone->sb->stamp, 1, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    /* Whoever still reads what lay here must see the versions that its unlinking changed. */
    atomic_thread_fence(memory_order_release);
    return true;
}

/* Take a slab out of one word of bits; a bit that lies is dropped. */
static uint32_t alloc_from(struct zone *zone, uint32_t i, uint32_t flags)
{
    _Atomic uint64_t *word = &free_bits(zone)[i];
    uint64_t bits;

    while ((bits = atomic_load_explicit(word, memory_order_relaxed)) != 0) {
        uint32_t bit = (uint32_t)__builtin_ctzll(bits);

        if ((atomic_fetch_and(word, ~(UINT64_C(1) << bit)) >> bit & 1) == 0)
            continue;
        if (open_free(zone, i * BITS + bit, flags))
            return i * BITS + bit;
    }
    return LAYOUT_NONE;
}

uint32_t slab_alloc(struct zone *zone, uint32_t flags)
{
    uint32_t words = free_words(zone);

    if (zone->alloc_hint >= words)
        zone->alloc_hint = 0;
    for (uint32_t n = 0, i = zone->alloc_hint; n < words; n++, i = i + 1 < words ? i + 1 : 0) {
        uint32_t slab = alloc_from(zone, i, flags);

        if (slab != LAYOUT_NONE) {
            zone->alloc_hint = i;
            return slab;
        }
    }
    return LAYOUT_NONE;
}

void slab_free(struct zone *zone, uint32_t index)
{
    struct slab *slab = &zone->slabs[index];
    uint64_t word = slab_load(zone, index);

    assert(slab_owner(word) == zone->owner);
    atomic_store_explicit(&slab->pos, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->live, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->live_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->max_expiry, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->max_seq, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->stamp, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->next, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->head, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->hash, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->flags, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->state, slab_word(SLAB_FREE, 0, word), memory_order_release);
    slab_mark_free(zone, index);
}

bool slab_dead(const struct zone *zone, uint32_t index, uint64_t now_ms)
{
    const struct slab *slab = &zone->slabs[index];
    uint64_t expiry = atomic_load_explicit(&slab->max_expiry, memory_order_relaxed);

    if (expiry != SLAB_NEVER && expiry + zone->base_ms <= now_ms)
        return true;
    return atomic_load_explicit(&slab->max_seq, memory_order_relaxed) <
           atomic_load_explicit(&zone->events->last_clear, memory_order_acquire);
}

void slab_seal(struct zone *zone, uint32_t index, uint64_t word)
{
    struct slab *slab = &zone->slabs[index];

    if (atomic_load_explicit(&slab->pos, memory_order_relaxed) == 0) {
        if (slab_owner(word) == zone->owner ||
            slab_move(zone, index, word, SLAB_RECLAIM, zone->owner))
            slab_free(zone, index);
        return;
    }
    /* Only repair can have moved it meanwhile; then it is sealed already. */
    if (!slab_move(zone, index, word, SLAB_SEALED, 0))
        return;
}

static void seal_class(struct zone *zone, unsigned class)
{
    uint32_t index = zone->open[class];

    if (index == 0)
        return;
    zone->open[class] = 0;
    slab_seal(zone, index - 1, slab_load(zone, index - 1));
}

void slab_seal_all(struct zone *zone)
{
    for (unsigned i = 0; i < LAYOUT_CLASSES; i++)
        seal_class(zone, i);
}

/* Open slabs of all processes together take at most an eighth of the zone: what that leaves for
 * each is the number of classes it may keep open; 0: they share. */
static void count_classes(struct zone *zone)
{
    unsigned joined = 0;
    unsigned classes;

    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++)
        joined +=
            atomic_load_explicit(&layout_owner(zone, id)->identity, memory_order_relaxed) != 0;
    classes = zone->g.n_slabs / 8 / (joined > 0 ? joined : 1);
    if (classes > LAYOUT_CLASSES)
        classes = LAYOUT_CLASSES;
    for (unsigned i = classes > 0 ? classes : 1; i < LAYOUT_CLASSES; i++)
        seal_class(zone, i);
    zone->classes = classes;
}

/* Classes by remaining time, a factor of 8 apart: up to 16 s, 2 min, 17 min, 2.3 h, 18 h, 6 days,
 * more. With fewer open slabs neighbours share one; the last to be merged is "no expiry". */
static unsigned class_of(const struct zone *zone, uint64_t expires_ms, uint64_t now_ms)
{
    uint64_t units;
    unsigned class = 1;

    if (expires_ms == 0 || zone->classes <= 1)
        return 0;
    units = expires_ms > now_ms ? (expires_ms - now_ms) >> 14 : 0;
    for (; units > 0 && class < LAYOUT_CLASSES - 1; units >>= 3)
        class ++;
    return 1 + (class - 1) * (zone->classes - 1) / (LAYOUT_CLASSES - 1);
}

static bool has_room(const struct zone *zone, uint32_t index, uint32_t size)
{
    return atomic_load_explicit(&zone->slabs[index].pos, memory_order_acquire) + size <=
           slab_bytes(zone);
}

/* Take over a sealed slab that another worker left with room in it. */
static bool open_shared(struct zone *zone, uint32_t size)
{
    for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
        uint32_t index = atomic_load_explicit(&zone->sb->shared_slab[i], memory_order_relaxed);
        uint64_t word;

        if (index == 0 || index > zone->g.n_slabs)
            continue;
        word = slab_load(zone, index - 1);
        if (slab_state(word) != SLAB_SEALED || !has_room(zone, index - 1, size) ||
            !slab_move(zone, index - 1, word, SLAB_OPEN, zone->owner))
            continue;
        atomic_thread_fence(memory_order_release); /* as in open_free() */
        zone->open[0] = index;
        if (has_room(zone, index - 1, size)) /* again, now that it is ours */
            return true;
        seal_class(zone, 0);
    }
    return false;
}

static bool open_new(struct zone *zone, unsigned class)
{
    uint32_t index = slab_alloc(zone, class);

    if (index == LAYOUT_NONE)
        return false;
    zone->open[class] = index + 1;
    return true;
}

uint64_t slab_append(struct zone *zone, uint64_t expires_ms, uint64_t now_ms, uint32_t size,
                     unsigned *class)
{
    uint32_t index;

    *class = class_of(zone, expires_ms, now_ms);
    index = zone->open[*class];
    if (index == 0 || !has_room(zone, index - 1, size)) {
        seal_class(zone, *class);
        count_classes(zone);
        *class = class_of(zone, expires_ms, now_ms);
        index = zone->open[*class];
        if ((index == 0 || !has_room(zone, index - 1, size)) &&
            !(zone->classes == 0 && open_shared(zone, size))) {
            seal_class(zone, *class);
            if (!open_new(zone, *class))
                return 0;
        }
        index = zone->open[*class];
    }
    return slab_offset(zone, index - 1) +
           atomic_load_explicit(&zone->slabs[index - 1].pos, memory_order_relaxed);
}

void slab_append_commit(struct zone *zone, unsigned class, uint32_t size)
{
    struct slab *slab = &zone->slabs[zone->open[class] - 1];
    uint32_t pos = atomic_load_explicit(&slab->pos, memory_order_relaxed);

    atomic_store_explicit(&slab->pos, pos + size, memory_order_release);
}

/* Leave a shared slab where the others find it: in the place it came from, else in an empty or
 * stale one. */
static void share(struct zone *zone, uint32_t index)
{
    unsigned place = index % LAYOUT_CLASSES;

    if (atomic_load_explicit(&zone->sb->shared_slab[place], memory_order_relaxed) != index + 1)
        atomic_store_explicit(&zone->sb->shared_slab[place], index + 1, memory_order_relaxed);
}

void slab_append_done(struct zone *zone, unsigned class)
{
    uint32_t index = zone->open[class];

    if (zone->classes > 0 || index == 0)
        return;
    seal_class(zone, class);
    share(zone, index - 1);
}

uint32_t slab_chain_grow(struct zone *zone, uint32_t first, uint32_t last)
{
    uint32_t index = slab_alloc(zone, last == LAYOUT_NONE ? SLAB_HEAD : SLAB_BODY);

    if (index == LAYOUT_NONE)
        return LAYOUT_NONE;
    atomic_store_explicit(&zone->slabs[index].head, last == LAYOUT_NONE ? index : first,
                          memory_order_relaxed);
    if (last != LAYOUT_NONE)
        atomic_store_explicit(&zone->slabs[last].next, index + 1, memory_order_release);
    return index;
}

uint32_t slab_chain_next(const struct zone *zone, uint32_t index)
{
    uint32_t next = atomic_load_explicit(&zone->slabs[index].next, memory_order_acquire);

    return next == 0 || next > zone->g.n_slabs ? LAYOUT_NONE : next - 1;
}

/* Whether index is a later slab of the chain, in a state that this process may change. */
static bool chain_member(const struct zone *zone, uint32_t first, uint32_t index, uint64_t word)
{
    const struct slab *slab = &zone->slabs[index];

    if (slab_state(word) != SLAB_LARGE && slab_owner(word) != zone->owner)
        return false;
    return (atomic_load_explicit(&slab->flags, memory_order_relaxed) & SLAB_BODY) != 0 &&
           atomic_load_explicit(&slab->head, memory_order_relaxed) == first;
}

void slab_chain_ready(struct zone *zone, uint32_t first, uint64_t hash)
{
    atomic_store_explicit(&zone->slabs[first].hash, hash, memory_order_relaxed);
    for (uint32_t i = slab_chain_next(zone, first); i != LAYOUT_NONE;
         i = slab_chain_next(zone, i)) {
        bool moved = slab_move(zone, i, slab_load(zone, i), SLAB_LARGE, 0);

        assert(moved); /* ours until here */
        (void)moved;
    }
}

static void chain_claim(struct zone *zone, uint32_t first)
{
    for (uint32_t i = slab_chain_next(zone, first); i != LAYOUT_NONE;
         i = slab_chain_next(zone, i)) {
        uint64_t word = slab_load(zone, i);

        if (!chain_member(zone, first, i, word) ||
            !slab_move(zone, i, word, SLAB_RECLAIM, zone->owner))
            return;
    }
}

void slab_chain_free(struct zone *zone, uint32_t first)
{
    uint32_t next;

    chain_claim(zone, first);
    for (uint32_t i = slab_chain_next(zone, first); i != LAYOUT_NONE; i = next) {
        next = slab_chain_next(zone, i);
        if (!chain_member(zone, first, i, slab_load(zone, i)))
            break;
        slab_free(zone, i);
    }
    slab_free(zone, first);
}
