#include "shm/slab.h"

#include "shm/entry.h"
#include "shm/pin.h"

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

static uint64_t next_stamp(struct zone *zone)
{
    return atomic_fetch_add_explicit(&zone->sb->stamp, 1, memory_order_relaxed) + 1;
}

static bool open_free(struct zone *zone, uint32_t index, uint32_t flags)
{
    struct slab *slab = &zone->slabs[index];
    uint64_t word = slab_load(zone, index);

    if (slab_state(word) != SLAB_FREE || !slab_move(zone, index, word, SLAB_OPEN, zone->owner))
        return false;
    atomic_store_explicit(&slab->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&slab->stamp, next_stamp(zone), memory_order_relaxed);
    if ((flags & SLAB_MAIN) == 0)
        atomic_fetch_add_explicit(&zone->sb->n_small, 1, memory_order_relaxed);
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
    if (!slab_is_main(zone, index))
        atomic_fetch_sub_explicit(&zone->sb->n_small, 1, memory_order_relaxed);
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

bool slab_is_main(const struct zone *zone, uint32_t index)
{
    uint32_t flags = atomic_load_explicit(&zone->slabs[index].flags, memory_order_relaxed);

    if (flags & SLAB_BODY) {
        uint32_t head = atomic_load_explicit(&zone->slabs[index].head, memory_order_relaxed);

        if (head < zone->g.n_slabs)
            flags = atomic_load_explicit(&zone->slabs[head].flags, memory_order_relaxed);
    }
    return (flags & SLAB_MAIN) != 0;
}

void slab_raise(struct zone *zone, uint32_t index, uint64_t seq, uint64_t expiry)
{
    layout_raise(&zone->slabs[index].max_seq, seq);
    layout_raise(&zone->slabs[index].max_expiry, expiry == 0 ? SLAB_NEVER : expiry);
}

bool slab_dead(const struct zone *zone, uint32_t index, uint64_t now_ms)
{
    const struct slab *slab = &zone->slabs[index];
    uint64_t expiry = atomic_load_explicit(&slab->max_expiry, memory_order_relaxed);

    if ((atomic_load_explicit(&slab->flags, memory_order_relaxed) & SLAB_PARKED) != 0)
        return !pin_held(zone, index);
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

static void seal_place(struct zone *zone, unsigned place)
{
    uint32_t index = zone->open[place];

    if (index == 0)
        return;
    zone->open[place] = 0;
    slab_seal(zone, index - 1, slab_load(zone, index - 1));
}

void slab_seal_all(struct zone *zone)
{
    for (unsigned i = 0; i < LAYOUT_PLACES; i++)
        seal_place(zone, i);
}

static unsigned place_of(bool main, unsigned class)
{
    return main ? LAYOUT_CLASSES + class : class;
}

/* An open slab is half empty on average. Open slabs of all processes together take at most an
 * eighth of the zone: what that leaves for each, divided by the two queues, is the number of
 * classes it may keep open. Where even one of each would cost more than a fiftieth, processes
 * share: 0. */
static void count_classes(struct zone *zone)
{
    unsigned joined = 0;
    unsigned classes;

    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++)
        joined +=
            atomic_load_explicit(&layout_owner(zone, id)->identity, memory_order_relaxed) != 0;
    if (joined == 0)
        joined = 1;
    classes = zone->g.n_slabs / 16 / joined;
    if (classes > LAYOUT_CLASSES)
        classes = LAYOUT_CLASSES;
    if (zone->g.n_slabs < 50 * joined)
        classes = 0;
    for (unsigned i = classes > 0 ? classes : 1; i < LAYOUT_CLASSES; i++) {
        seal_place(zone, place_of(false, i));
        seal_place(zone, place_of(true, i));
    }
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

bool slab_suits(struct zone *zone, uint32_t index, uint64_t expires_ms, uint64_t now_ms)
{
    const struct slab *slab = &zone->slabs[index];
    uint64_t last = atomic_load_explicit(&slab->max_expiry, memory_order_relaxed);

    if (last == SLAB_NEVER || (expires_ms != 0 && expires_ms <= zone->base_ms + last))
        return true; /* it keeps the slab no longer than it stays anyway */
    return SLAB_CLASS(atomic_load_explicit(&slab->flags, memory_order_relaxed)) ==
           class_of(zone, expires_ms, now_ms);
}

static bool has_room(const struct zone *zone, uint32_t index, uint32_t size)
{
    return atomic_load_explicit(&zone->slabs[index].pos, memory_order_acquire) + size <=
           slab_bytes(zone);
}

static _Atomic uint32_t *shared_places(struct zone *zone, bool main)
{
    return &zone->sb->shared_slab[main ? LAYOUT_CLASSES : 0];
}

/* Take over a sealed slab that another worker left with room in it. */
static bool open_shared(struct zone *zone, const struct slab_want *want)
{
    unsigned place = place_of(want->main, 0);

    for (unsigned i = 0; i < LAYOUT_CLASSES; i++) {
        uint32_t index =
            atomic_load_explicit(&shared_places(zone, want->main)[i], memory_order_relaxed);
        uint64_t word;

        if (index == 0 || index > zone->g.n_slabs)
            continue;
        word = slab_load(zone, index - 1);
        if (slab_state(word) != SLAB_SEALED || !has_room(zone, index - 1, want->size) ||
            slab_is_main(zone, index - 1) != want->main ||
            !slab_move(zone, index - 1, word, SLAB_OPEN, zone->owner))
            continue;
        atomic_thread_fence(memory_order_release); /* before it is refilled: see open_free() */
        zone->open[place] = index;
        /* Again, now that it is ours. */
        if (has_room(zone, index - 1, want->size) && slab_is_main(zone, index - 1) == want->main)
            return true;
        seal_place(zone, place);
    }
    return false;
}

static bool open_new(struct zone *zone, const struct slab_want *want, unsigned place)
{
    uint32_t index;

    if (!want->last && slab_count_free(zone) <= SLAB_KEPT)
        return false;
    index = slab_alloc(zone, place % LAYOUT_CLASSES | (want->main ? SLAB_MAIN : 0));
    if (index == LAYOUT_NONE)
        return false;
    zone->open[place] = index + 1;
    return true;
}

/* The place has no slab with room: give it one. */
static bool open_place(struct zone *zone, const struct slab_want *want, uint64_t now_ms,
                       unsigned *place)
{
    uint32_t index;

    seal_place(zone, *place);
    count_classes(zone);
    *place = place_of(want->main, class_of(zone, want->expires_ms, now_ms));
    index = zone->open[*place];
    if (index != 0 && has_room(zone, index - 1, want->size))
        return true;
    seal_place(zone, *place);
    return (zone->classes == 0 && open_shared(zone, want)) || open_new(zone, want, *place);
}

uint64_t slab_append(struct zone *zone, const struct slab_want *want, uint64_t now_ms,
                     unsigned *place)
{
    uint32_t index;

    *place = place_of(want->main, class_of(zone, want->expires_ms, now_ms));
    index = zone->open[*place];
    if ((index == 0 || !has_room(zone, index - 1, want->size)) &&
        !open_place(zone, want, now_ms, place))
        return 0;
    index = zone->open[*place];
    return slab_offset(zone, index - 1) +
           atomic_load_explicit(&zone->slabs[index - 1].pos, memory_order_relaxed);
}

void slab_append_commit(struct zone *zone, unsigned place, uint32_t size)
{
    struct slab *slab = &zone->slabs[zone->open[place] - 1];
    uint32_t pos = atomic_load_explicit(&slab->pos, memory_order_relaxed);

    atomic_store_explicit(&slab->pos, pos + size, memory_order_release);
}

/* Leave a shared slab where the others find it: in the place it came from, else in an empty or
 * stale one. */
static void share(struct zone *zone, uint32_t index, bool main)
{
    _Atomic uint32_t *hint = &shared_places(zone, main)[index % LAYOUT_CLASSES];

    if (atomic_load_explicit(hint, memory_order_relaxed) != index + 1)
        atomic_store_explicit(hint, index + 1, memory_order_relaxed);
}

void slab_append_done(struct zone *zone, unsigned place)
{
    uint32_t index = zone->open[place];

    if (zone->classes > 0 || index == 0)
        return;
    seal_place(zone, place);
    share(zone, index - 1, place >= LAYOUT_CLASSES);
}

uint32_t slab_chain_grow(struct zone *zone, bool main, uint32_t first, uint32_t last)
{
    uint32_t index = LAYOUT_NONE;

    if (slab_count_free(zone) > SLAB_KEPT)
        index = slab_alloc(zone,
                           (last == LAYOUT_NONE ? SLAB_HEAD : SLAB_BODY) | (main ? SLAB_MAIN : 0));
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

void slab_requeue(struct zone *zone, uint32_t first)
{
    struct slab *slab = &zone->slabs[first];
    int32_t n = 0;

    for (uint32_t i = first; i != LAYOUT_NONE && n < (int32_t)zone->g.n_slabs;
         i = slab_chain_next(zone, i))
        n++;
    atomic_store_explicit(&slab->stamp, next_stamp(zone), memory_order_relaxed);
    if ((atomic_fetch_or_explicit(&slab->flags, SLAB_MAIN, memory_order_relaxed) & SLAB_MAIN) == 0)
        atomic_fetch_sub_explicit(&zone->sb->n_small, n, memory_order_relaxed);
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

bool slab_parked(const struct zone *zone, uint32_t first)
{
    uint32_t flags = atomic_load_explicit(&zone->slabs[first].flags, memory_order_relaxed);

    return (flags & SLAB_PARKED) != 0 && pin_held(zone, first);
}

/* Nobody's from now on, the first slab last: until then the chain is in our hands, and repair would
 * find it there. Later slabs are ours only when repair took them from a dead process. */
static void chain_park(struct zone *zone, uint32_t first)
{
    bool moved;

    for (uint32_t i = slab_chain_next(zone, first); i != LAYOUT_NONE;
         i = slab_chain_next(zone, i)) {
        uint64_t word = slab_load(zone, i);

        if (slab_state(word) == SLAB_RECLAIM && slab_owner(word) == zone->owner) {
            moved = slab_move(zone, i, word, SLAB_LARGE, 0);
            assert(moved); /* ours */
        }
    }
    atomic_fetch_or_explicit(&zone->slabs[first].flags, SLAB_PARKED, memory_order_relaxed);
    moved = slab_move(zone, first, slab_load(zone, first), SLAB_LARGE, 0);
    assert(moved); /* ours */
    (void)moved;
}

void slab_chain_free(struct zone *zone, uint32_t first)
{
    uint32_t next;

    atomic_thread_fence(memory_order_seq_cst); /* between the unlinking and the look: pin.h */
    if (slab_state(slab_load(zone, first)) == SLAB_RECLAIM && pin_held(zone, first)) {
        chain_park(zone, first);
        return;
    }
    chain_claim(zone, first);
    for (uint32_t i = slab_chain_next(zone, first); i != LAYOUT_NONE; i = next) {
        next = slab_chain_next(zone, i);
        if (!chain_member(zone, first, i, slab_load(zone, i)))
            break;
        slab_free(zone, i);
    }
    slab_free(zone, first);
}

bool slab_copy_large(const struct zone *zone, uint32_t first, char *out, size_t len)
{
    for (uint32_t slab = first; len > 0;) {
        size_t n = len < slab_bytes(zone) ? len : slab_bytes(zone);
        uint32_t next;

        if (slab >= zone->g.n_slabs)
            return false;
        entry_copy(out, layout_at(zone, slab_offset(zone, slab)), n);
        out += n;
        len -= n;
        next = atomic_load_explicit(&zone->slabs[slab].next, memory_order_relaxed);
        slab = next - 1; /* 0, the end, becomes out of range */
    }
    return true;
}
