#include "shm/check.h"

#include "common/clock.h"
#include "shm/block.h"
#include "shm/ghost.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/process.h"
#include "shm/spill.h"
#include "shm/stub.h"

#include <stdio.h>
#include <stdlib.h>

#define LOCK_ROUNDS 20 /* times LOCK_WAIT_MS */

/* What is known of a slab from the table's side. */
struct tally {
    uint32_t entries;
    uint64_t bytes;
};

struct check {
    struct zone *zone;
    struct check_report *report;
    bool live;
    bool totals;           /* per-slab tallies are kept */
    struct tally *tallies; /* n_slabs */
    uint64_t *offsets;     /* of every entry met, to find one that is met twice */
    size_t n_offsets;
    size_t cap_offsets;
    uint8_t *stub_seen; /* n_stubs */
    uint32_t blocks;    /* of the index, in the directories of the stripes */
    uint32_t index_slabs;
    uint32_t blocks_used; /* by the maps of those */
};

static void __attribute__((format(printf, 2, 3))) problem(struct check *c, const char *fmt, ...)
{
    va_list args;

    if (c->report->problems++ > 0)
        return;
    va_start(args, fmt);
    vsnprintf(c->report->first, sizeof(c->report->first), fmt, args);
    va_end(args);
}

static bool remember_offset(struct check *c, uint64_t at)
{
    if (c->n_offsets == c->cap_offsets) {
        size_t cap = c->cap_offsets == 0 ? 4096 : 2 * c->cap_offsets;
        uint64_t *grown = realloc(c->offsets, cap * sizeof(*grown));

        if (grown == NULL)
            return false;
        c->offsets = grown;
        c->cap_offsets = cap;
    }
    c->offsets[c->n_offsets++] = at;
    return true;
}

static void check_large(struct check *c, const struct entry_view *view, uint64_t hash)
{
    uint64_t left = view->value_len;
    uint32_t i = view->first_slab;

    while (left > 0) {
        const struct slab *slab;
        uint64_t n = left < slab_bytes(c->zone) ? left : slab_bytes(c->zone);

        if (i >= c->zone->g.n_slabs) {
            problem(c, "the chain of the large value at %#llx ends early",
                    (unsigned long long)view->at);
            return;
        }
        slab = &c->zone->slabs[i];
        if (slab_state(slab_load(c->zone, i)) != SLAB_LARGE || slab->head != view->first_slab ||
            slab->pos != n)
            problem(c, "slab %u is not what the large value at %#llx needs", i,
                    (unsigned long long)view->at);
        if (i == view->first_slab && slab->hash != hash)
            problem(c, "slab %u names another key than its value has", i);
        if (c->totals)
            c->tallies[i].entries++;
        left -= n;
        i = slab->next - 1;
    }
}

static void check_entry(struct check *c, const struct stripe *stripe, const struct index_array *a,
                        const struct bucket *head, uint64_t word, struct tally *sum)
{
    struct zone *zone = c->zone;
    struct entry_view view;
    uint64_t at = index_offset(word);
    uint64_t hash, state;
    uint32_t slab;

    if (!entry_view(zone, at, &view)) {
        problem(c, "slot leads to %#llx, where no entry is", (unsigned long long)at);
        return;
    }
    hash = entry_hash(zone, entry_key(zone, &view), view.key_len);
    if (layout_stripe(zone, hash) != stripe || index_head(a, hash) != head)
        problem(c, "the entry at %#llx is in another chain's bucket", (unsigned long long)at);
    if (layout_tag(hash) != word >> SLOT_TAG_SHIFT)
        problem(c, "the entry at %#llx has another tag", (unsigned long long)at);
    slab = slab_of(zone, at);
    state = slab_load(zone, slab);
    if (slab_state(state) == SLAB_FREE || slab_state(state) >= SLAB_LARGE)
        problem(c, "the entry at %#llx lies in slab %u in state %d", (unsigned long long)at, slab,
                slab_state(state));
    if (at + view.size > slab_offset(zone, slab) + zone->slabs[slab].pos)
        problem(c, "the entry at %#llx ends beyond its slab's content", (unsigned long long)at);
    if (view.flags & ENTRY_LARGE)
        check_large(c, &view, hash);
    c->report->entries++;
    c->report->bytes += entry_bytes(&view);
    if (view.seq >= stripe->count_seq) {
        sum->entries++;
        sum->bytes += entry_bytes(&view);
    }
    if (!c->totals)
        return;
    c->tallies[slab].entries++;
    c->tallies[slab].bytes += view.size;
    if (!remember_offset(c, at))
        problem(c, "no memory to check for double entries");
}

/* Returns the number of overflow buckets. */
static uint32_t check_chain(struct check *c, struct stripe *stripe, const struct index_array *a,
                            uint32_t h, struct tally *sum)
{
    const struct bucket *head = index_bucket(a, h);
    uint32_t length = 0;

    if (head->version & 1)
        problem(c, "the version of a bucket of stripe %u is odd",
                (unsigned)(stripe - c->zone->stripes));
    for (const struct bucket *b = head; b != NULL; b = index_next(a, b)) {
        if (length++ == INDEX_CHAIN_MAX) {
            problem(c, "a chain of stripe %u is too long or a loop",
                    (unsigned)(stripe - c->zone->stripes));
            break;
        }
        if (b != head && !spill_marked(c->zone, stripe, b))
            problem(c, "a chain leads to what is no overflow bucket of its stripe");
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t word = index_load(b, i);

            if (word & SLOT_LINK) {
                if (i != LAYOUT_SLOTS - 1 || index_next(a, b) == NULL)
                    problem(c, "a link stands in the wrong slot or leads nowhere");
            } else if (word != 0) {
                check_entry(c, stripe, a, head, word, sum);
            }
        }
    }
    return length - 1;
}

static void check_block(struct check *c, const struct stripe *stripe, uint32_t line, uint32_t *n)
{
    if (line == 0)
        return;
    if (!block_is_of(c->zone, stripe, line))
        problem(c, "stripe %u uses a block at line %u that is not its own",
                (unsigned)(stripe - c->zone->stripes), line);
    (*n)++;
}

/* Every block the directories name is the stripe's; c->blocks sums them up. */
static void check_blocks(struct check *c, const struct stripe *stripe, const struct index_array *a)
{
    const struct geometry *g = &c->zone->g;
    uint32_t in_use = ((a->primary - 1) >> g->block_shift) + 1;

    if (in_use > g->head_blocks) {
        problem(c, "stripe %u has %u heads", (unsigned)(stripe - c->zone->stripes), a->primary);
        return;
    }
    for (uint32_t i = 1; i < g->head_blocks; i++) {
        uint32_t line = atomic_load(index_block(c->zone, stripe, i));

        check_block(c, stripe, line, &c->blocks);
        if (line == 0 && i < in_use)
            problem(c, "stripe %u lacks a block of heads", (unsigned)(stripe - c->zone->stripes));
    }
    for (uint32_t i = 0; i < g->spill_blocks; i++)
        check_block(c, stripe, spill_block(c->zone, stripe, i), &c->blocks);
}

static void check_stub_chain(struct check *c, struct stripe *stripe)
{
    uint32_t n = stripe->stubs;

    for (uint32_t hops = 0; n != 0; hops++) {
        struct stub *s;

        if (n > c->zone->g.n_stubs || hops > c->zone->g.n_stubs) {
            problem(c, "a chain of stubs leads nowhere");
            return;
        }
        s = layout_stub(c->zone, n - 1);
        if (s->claim == 0 || s->kind == STUB_NONE || s->kind >= STUB_KINDS ||
            layout_stripe(c->zone, s->hash) != stripe)
            problem(c, "stub %u does not belong in its chain", n - 1);
        if (c->stub_seen != NULL && c->stub_seen[n - 1]++ > 0)
            problem(c, "stub %u is in two chains", n - 1);
        n = s->next;
    }
}

/* The stripe is locked, or nobody else is there. */
static void check_stripe(struct check *c, struct stripe *stripe)
{
    struct index_array a = index_array(c->zone, stripe);
    struct tally sum = {0, 0};
    uint32_t overflows = 0;
    unsigned number = (unsigned)(stripe - c->zone->stripes);

    if ((atomic_load(layout_table(c->zone, stripe)) & (INDEX_CHANGE - 1)) != index_table(a.primary))
        problem(c, "stripe %u has a level that does not follow from its heads", number);
    check_blocks(c, stripe, &a);
    for (uint32_t h = 0; h < a.primary; h++)
        overflows += check_chain(c, stripe, &a, h, &sum);
    if (overflows != stripe->overflows || overflows != spill_count(c->zone, stripe))
        problem(c, "stripe %u counts %u overflow buckets, marks %u and uses %u", number,
                stripe->overflows, spill_count(c->zone, stripe), overflows);
    check_stub_chain(c, stripe);
    if (stripe->entries != sum.entries || stripe->live_bytes != sum.bytes)
        problem(c, "stripe %u counts %u entries of %llu bytes and holds %u of %llu", number,
                stripe->entries, (unsigned long long)stripe->live_bytes, sum.entries,
                (unsigned long long)sum.bytes);
    if (!c->live && (stripe->lock != 0 || stripe->intent != 0))
        problem(c, "stripe %u is locked (%#x, intent %u)", number, stripe->lock, stripe->intent);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void check_doubles(struct check *c)
{
    if (c->n_offsets == 0)
        return;
    qsort(c->offsets, c->n_offsets, sizeof(*c->offsets), compare);
    for (size_t i = 1; i < c->n_offsets; i++) {
        if (c->offsets[i] == c->offsets[i - 1])
            problem(c, "two slots lead to %#llx", (unsigned long long)c->offsets[i]);
    }
}

/* Whether an owner id belongs to a living process. */
static bool owner_alive(const struct zone *zone, uint32_t id)
{
    return id >= 1 && id <= ZONE_MAX_OWNERS &&
           process_alive(atomic_load(&layout_owner(zone, id)->identity));
}

static int check_range(struct check *c, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n && i < LAYOUT_STRIPES; i++) {
        struct stripe *stripe = &c->zone->stripes[i];
        bool locked = !c->live;

        for (int round = 0; round < LOCK_ROUNDS && !locked; round++)
            locked = lock_take(c->zone, stripe);
        if (!locked) {
            snprintf(c->report->first, sizeof(c->report->first),
                     "stripe %u stayed locked by owner %u, which is %s", i, lock_owner(stripe),
                     owner_alive(c->zone, lock_owner(stripe)) ? "alive" : "dead");
            return ERR_TIMEOUT;
        }
        check_stripe(c, stripe);
        if (c->live)
            lock_drop(c->zone, stripe);
    }
    return ERR_OK;
}

static void check_used(struct check *c, uint32_t i)
{
    const struct slab *slab = &c->zone->slabs[i];
    uint64_t at = slab_offset(c->zone, i);
    uint64_t end = at + slab->pos;
    struct entry_view view;

    while (at < end && entry_view(c->zone, at, &view))
        at += view.size;
    if (at != end)
        problem(c, "slab %u cannot be walked beyond %#llx", i, (unsigned long long)at);
    if ((slab->flags & SLAB_INEXACT) == 0 &&
        (slab->live != c->tallies[i].entries || slab->live_bytes != c->tallies[i].bytes))
        problem(c, "slab %u counts %u live entries of %u bytes, the table %u of %llu", i,
                slab->live, slab->live_bytes, c->tallies[i].entries,
                (unsigned long long)c->tallies[i].bytes);
}

static void check_slab_free(struct check *c, uint32_t i)
{
    const struct slab *slab = &c->zone->slabs[i];

    if (slab->pos != 0 || slab->live != 0 || (slab->flags & ~SLAB_INEXACT) != 0)
        problem(c, "free slab %u has content", i);
    if (c->tallies[i].entries != 0)
        problem(c, "the table leads into free slab %u", i);
}

/* Whether the entry of a large value's slab is gone, while the value may still be sent. */
static bool is_parked(const struct zone *zone, uint32_t i)
{
    const struct slab *slab = &zone->slabs[i];

    if ((slab->flags & SLAB_BODY) && slab->head < zone->g.n_slabs)
        slab = &zone->slabs[slab->head];
    return (slab->flags & SLAB_PARKED) != 0;
}

static void check_slab(struct check *c, uint32_t i)
{
    uint64_t word = slab_load(c->zone, i);

    switch (slab_state(word)) {
    case SLAB_FREE:
        check_slab_free(c, i);
        break;
    case SLAB_OPEN:
    case SLAB_RECLAIM: /* a sweeper may pause in the middle of one */
        if (!owner_alive(c->zone, slab_owner(word)))
            problem(c, "slab %u is held by owner %u, which is dead", i, slab_owner(word));
        /* fall through */
    case SLAB_SEALED:
        check_used(c, i);
        break;
    case SLAB_LARGE:
        if (c->tallies[i].entries != (unsigned)!is_parked(c->zone, i))
            problem(c, "large slab %u belongs to %u values", i, c->tallies[i].entries);
        break;
    case SLAB_INDEX:
        c->index_slabs++;
        c->blocks_used += block_used(c->zone, i);
        if (c->zone->slabs[i].live != block_used(c->zone, i) || c->tallies[i].entries != 0)
            problem(c, "slab %u of the index counts %u blocks and has %u", i,
                    c->zone->slabs[i].live, block_used(c->zone, i));
        break;
    default:
        problem(c, "slab %u is in no known state", i);
    }
}

static void check_stub_pool(struct check *c)
{
    for (uint32_t i = 0; i < c->zone->g.n_stubs; i++) {
        const struct stub *s = layout_stub(c->zone, i);

        if (s->claim != 0 && !c->stub_seen[i])
            problem(c, "stub %u is taken by owner %u and in no chain", i, s->claim);
        if (s->claim != 0 && !owner_alive(c->zone, s->claim))
            problem(c, "stub %u is held by owner %u, which is dead", i, s->claim);
    }
}

/* What eviction keeps beside the slabs. */
static void check_queues(struct check *c)
{
    uint32_t wrong = ghost_check(c->zone);

    if (wrong > 0)
        problem(c, "%u words of the ghosts are none", wrong);
    for (unsigned i = 0; i < LAYOUT_PLACES; i++) {
        if (c->zone->sb->shared_slab[i] > c->zone->g.n_slabs)
            problem(c, "place %u leads to slab %u", i, c->zone->sb->shared_slab[i] - 1);
    }
    for (uint32_t i = 0; i < c->zone->g.n_slabs; i++) {
        const struct slab *slab = &c->zone->slabs[i];

        if (slab_state(slab_load(c->zone, i)) != SLAB_FREE &&
            (slab->stamp == 0 || slab->stamp > c->zone->sb->stamp))
            problem(c, "slab %u stands nowhere in its queue (%llu)", i,
                    (unsigned long long)slab->stamp);
    }
}

static void check_block_pool(struct check *c)
{
    const struct block_pool *pool = &c->zone->sb->blocks;

    if (pool->lock != 0)
        problem(c, "the blocks of the index are locked by %u", pool->lock);
    if (c->blocks_used != c->blocks)
        problem(c, "%u blocks of the index are taken and %u of them in use", c->blocks_used,
                c->blocks);
    if (pool->slabs != c->index_slabs ||
        pool->free != c->index_slabs * block_count(c->zone) - c->blocks_used)
        problem(c, "the index counts %u slabs with %u free blocks and has %u with %u used",
                pool->slabs, pool->free, c->index_slabs, c->blocks_used);
}

static void check_events(struct check *c)
{
    const struct events *ev = c->zone->events;

    if (ev->newest < ev->last_clear || ev->newest < ev->epoch || ev->newest < ev->ban_newest)
        problem(c, "an event is newer than the newest one");
}

static int check_quiet(struct check *c)
{
    int err;

    c->tallies = calloc(c->zone->g.n_slabs, sizeof(*c->tallies));
    c->stub_seen = calloc(c->zone->g.n_stubs, 1);
    if (c->tallies == NULL || c->stub_seen == NULL)
        return ERR_NOMEM;
    c->totals = true;
    err = check_range(c, 0, LAYOUT_STRIPES);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < c->zone->g.n_slabs; i++)
        check_slab(c, i);
    check_stub_pool(c);
    check_queues(c);
    check_block_pool(c);
    check_events(c);
    return ERR_OK;
}

int check_zone(struct zone *zone, bool live, struct check_report *report)
{
    struct check c = {.zone = zone, .report = report, .live = live};
    int err;

    *report = (struct check_report){0};
    err = live ? check_range(&c, 0, LAYOUT_STRIPES) : check_quiet(&c);
    if (!live)
        check_doubles(&c);
    free(c.tallies);
    free(c.offsets);
    free(c.stub_seen);
    return err;
}

int check_stripes(struct zone *zone, unsigned first, unsigned n, struct check_report *report)
{
    struct check c = {.zone = zone, .report = report, .live = true};
    int err = check_range(&c, first, n);

    free(c.offsets);
    return err;
}
