#include "shm/zone.h"

#include "common/clock.h"
#include "shm/evict.h"
#include "shm/index.h"
#include "shm/memory.h"
#include "shm/pin.h"
#include "shm/process.h"
#include "shm/stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define VALUE_MAX (UINT32_MAX - UINT32_C(0xffff))
/* Large slabs lose less at their ends (half an entry each), many slabs are the finer queues: 128
 * KiB to 1 MiB, but 32 KiB where a zone would have fewer than SLABS_WANTED of those. */
#define SLAB_SHIFT_MIN 15
#define SLAB_SHIFT_LOW 17
#define SLAB_SHIFT_MAX 20
#define SLABS_WANTED   44
#define SLABS_LEAST    16
#define GHOST_SPACE    512 /* bytes of zone for one ghost */
#define BLOCK_SHIFT    5   /* largest block, log2: its overflow buckets are marked in 32 bits */
#define SIZE_MAX_BYTES (UINT64_C(256) << 30) /* lines of the zone are counted in 32 bits */

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
}

static uint32_t pow2_floor(uint64_t value)
{
    return UINT32_C(1) << (63 - __builtin_clzll(value));
}

static uint64_t place(uint64_t *at, uint64_t bytes)
{
    uint64_t here = *at;

    *at = (here + bytes + LAYOUT_LINE - 1) & ~(uint64_t)(LAYOUT_LINE - 1);
    return here;
}

/* Half a slab must take the longest key with metadata and tags, or such an entry could not be
 * stored. */
static uint32_t slab_shift_for_key(uint32_t key_max)
{
    uint64_t most =
        entry_size(key_max, TABLE_META_MAX, TABLE_TAGS_MAX + ENTRY_FETCH_WORDS, true, 0);
    uint32_t shift = SLAB_SHIFT_MIN;

    while ((UINT64_C(1) << shift) / 2 < most)
        shift++;
    return shift;
}

static void plan_regions(struct geometry *g, uint32_t n_slabs)
{
    uint64_t at = SUPERBLOCK_BYTES;

    g->owners = place(&at, ZONE_MAX_OWNERS * sizeof(struct owner));
    g->counters = place(&at, (ZONE_MAX_OWNERS + 1) * LAYOUT_COUNTERS * sizeof(uint64_t));
    g->tags = place(&at, g->n_tags * sizeof(uint64_t));
    g->ban_numbers = place(&at, g->n_bans * sizeof(uint64_t));
    g->ban_patterns = place(&at, g->n_bans * sizeof(struct ban_record));
    g->stripes = place(&at, LAYOUT_STRIPES * sizeof(struct stripe));
    g->tables = place(&at, LAYOUT_STRIPES * sizeof(uint64_t));
    g->head_dir = place(&at, (uint64_t)LAYOUT_STRIPES * g->head_blocks * sizeof(uint32_t));
    g->spill_dir = place(&at, (uint64_t)LAYOUT_STRIPES * g->spill_blocks * sizeof(uint64_t));
    g->buckets = place(&at, ((uint64_t)LAYOUT_STRIPES << g->block_shift) * sizeof(struct bucket));
    g->stubs = place(&at, g->n_stubs * sizeof(struct stub));
    g->ghosts = place(&at, (uint64_t)g->n_ghosts * LAYOUT_LINE);
    g->free_bits = place(&at, ((uint64_t)n_slabs + 63) / 64 * sizeof(uint64_t));
    g->headers = place(&at, (uint64_t)n_slabs * sizeof(struct slab));
    g->slabs = at;
}

/* As many slabs as fit behind the headers that they need. */
static void plan_slabs(struct geometry *g, uint32_t shift)
{
    g->slab_shift = shift;
    plan_regions(g, (uint32_t)(g->size >> shift));
    g->n_slabs = g->slabs < g->size ? (uint32_t)((g->size - g->slabs) >> shift) : 0;
    plan_regions(g, g->n_slabs);
}

/* The larger the blocks, the more of each stripe's last one stands empty; the smaller, the longer
 * the directories: both cost the least where blocks grow with the square root of a stripe's share.
 * The directories have room for buckets in a fifth of the zone, and for two overflow buckets to
 * five others: entries of about 50 bytes. */
static void plan_index(struct geometry *g)
{
    uint64_t share = g->size / LAYOUT_STRIPES;
    uint32_t shift = (63 - (uint32_t)__builtin_clzll(share / 4096 | 1)) / 2;
    uint64_t block;

    g->block_shift = clamp(shift, 1, BLOCK_SHIFT);
    block = sizeof(struct bucket) << g->block_shift;
    g->head_blocks = (uint32_t)(share / 5 / block) + 1;
    g->spill_blocks = g->head_blocks * 2 / 5 + 1;
}

int layout_plan(uint64_t size, uint32_t key_max, struct geometry *g, struct errmsg *msg)
{
    uint32_t need = slab_shift_for_key(key_max);
    uint32_t shift =
        clamp(63 - (uint32_t)__builtin_clzll(size / 256), SLAB_SHIFT_LOW, SLAB_SHIFT_MAX);

    memset(g, 0, sizeof(*g));
    g->size = size;
    g->key_max = key_max;
    g->n_tags = pow2_floor(clamp(size / 4096, 1024, 4096));
    g->n_bans = size < (UINT64_C(16) << 20) ? 64 : LAYOUT_BANS_MAX;
    g->n_stubs = pow2_floor(clamp(size / 32768, 256, 65536));
    g->n_ghosts = clamp(size / GHOST_SPACE / LAYOUT_GHOSTS, 1, UINT32_C(1) << 26);
    plan_index(g);
    plan_slabs(g, shift > need ? shift : need);
    if (g->n_slabs < SLABS_WANTED)
        plan_slabs(g, need);
    if (g->n_slabs < SLABS_LEAST)
        return err_set(msg, ERR_INVALID,
                       "a zone of %llu bytes is too small for keys of %u bytes: it needs %llu",
                       (unsigned long long)size, key_max,
                       (unsigned long long)(g->slabs + ((uint64_t)SLABS_LEAST << g->slab_shift)));
    g->index_slabs = g->n_slabs / 4;
    g->value_max = size / 8 < VALUE_MAX ? size / 8 : VALUE_MAX;
    return ERR_OK;
}

uint64_t layout_hash(void)
{
    const uint64_t facts[] = {
        LAYOUT_VERSION,
        LAYOUT_LOCKS,
        LAYOUT_STRIPES,
        LAYOUT_SLOTS,
        LAYOUT_COUNTERS,
        LAYOUT_CLASSES,
        ZONE_MAX_OWNERS,
        sizeof(struct superblock),
        offsetof(struct superblock, events),
        sizeof(struct geometry),
        sizeof(struct owner),
        sizeof(struct stripe),
        offsetof(struct stripe, count_seq),
        offsetof(struct events, newest),
        sizeof(struct bucket),
        offsetof(struct superblock, blocks),
        sizeof(struct block_pool),
        sizeof(struct slab),
        offsetof(struct slab, hash),
        LAYOUT_GHOSTS,
        sizeof(struct stub),
        offsetof(struct stub, kind),
        sizeof(struct ban_record),
        ENTRY_HEADER,
        SLOT_LINK,
    };
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a over the words */

    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
        hash = (hash ^ facts[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The kernel's memory is zero: only what is not has to be written. */
static int format(struct zone *zone, const char *name, struct errmsg *msg)
{
    struct superblock *sb = zone->sb;

    if (getrandom(&sb->seed, sizeof(sb->seed), 0) != sizeof(sb->seed))
        return err_set_errno(msg, "cannot read random bytes");
    sb->version = LAYOUT_VERSION;
    sb->lock_protocol = LAYOUT_LOCKS;
    sb->layout_hash = layout_hash();
    sb->base_ms = clock_now_ms() - 1;
    sb->geometry = zone->g;
    snprintf(sb->name, sizeof(sb->name), "%s", name);
    atomic_store(&sb->events.seq, 1);
    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++)
        index_format(zone, &zone->stripes[i]);
    for (uint32_t i = 0; i < zone->g.n_slabs; i++)
        slab_mark_free(zone, i);
    zone->seed = sb->seed;
    zone->base_ms = sb->base_ms;
    sb->magic = LAYOUT_MAGIC;
    atomic_store(&sb->state, SUPERBLOCK_SERVING);
    return ERR_OK;
}

void layout_attach(struct zone *zone)
{
    zone->sb = layout_at(zone, 0);
    zone->events = &zone->sb->events;
    zone->stripes = layout_at(zone, zone->g.stripes);
    zone->tables = layout_at(zone, zone->g.tables);
    zone->head_dir = layout_at(zone, zone->g.head_dir);
    zone->slabs = layout_at(zone, zone->g.headers);
    zone->slabs_end = slab_offset(zone, zone->g.n_slabs);
    zone->pending.slab = LAYOUT_NONE;
}

static int check_options(const struct zone_options *o, struct errmsg *msg)
{
    if (o->name == NULL || strlen(o->name) > ZONE_NAME_MAX)
        return err_set(msg, ERR_INVALID, "a cache name has at most %d bytes", ZONE_NAME_MAX);
    if (o->size_bytes < ZONE_MIN_BYTES)
        return err_set(msg, ERR_INVALID, "cache %s: %llu bytes of memory are less than %u", o->name,
                       (unsigned long long)o->size_bytes, ZONE_MIN_BYTES);
    if (o->size_bytes > SIZE_MAX_BYTES)
        return err_set(msg, ERR_INVALID, "cache %s: %llu bytes of memory are more than %llu",
                       o->name, (unsigned long long)o->size_bytes,
                       (unsigned long long)SIZE_MAX_BYTES);
    if (o->key_max_bytes < 1 || o->key_max_bytes > 65535)
        return err_set(msg, ERR_INVALID, "cache %s: a key limit of %u is not in 1..65535", o->name,
                       o->key_max_bytes);
    return ERR_OK;
}

int zone_create(const struct zone_options *options, struct zone **out, struct errmsg *msg)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct memory memory;
    struct zone *zone;
    int err = check_options(options, msg);

    if (err != ERR_OK)
        return err;
    zone = calloc(1, sizeof(*zone));
    if (zone == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for cache %s", options->name);
    zone->fd = -1;
    err = layout_plan(options->size_bytes & ~(page - 1), options->key_max_bytes, &zone->g, msg);
    zone->g.size_credit = options->size_credit;
    if (err == ERR_OK)
        err = memory_create(options, zone->g.size, &memory, msg);
    if (err == ERR_OK) {
        zone->base = memory.base;
        zone->fd = memory.fd;
        layout_attach(zone);
        err = format(zone, options->name, msg);
    }
    if (err != ERR_OK) {
        zone_destroy(zone);
        return err;
    }
    *out = zone;
    return ERR_OK;
}

/* Forget what fork copied of another process' handle. */
static void handle_reset(struct zone *zone)
{
    zone->pid = 0;
    zone->owner = 0;
    zone->counters = NULL;
    memset(zone->open, 0, sizeof(zone->open));
    zone->classes = 0;
    zone->hollow.n = 0;
    zone->oldest[0].n = 0;
    zone->oldest[1].n = 0;
    zone->pending.slab = LAYOUT_NONE;
    zone->rings = 0;
    zone->ring = NULL;
    memset(zone->pins, 0, sizeof(zone->pins));
    memset(&zone->walk, 0, sizeof(zone->walk));
}

int zone_join(struct zone *zone, struct errmsg *msg)
{
    uint64_t me = process_identity(getpid());

    handle_reset(zone);
    if (me == 0)
        return err_set(msg, ERR_SYSTEM, "cannot read /proc/%d/stat", (int)getpid());
    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        uint64_t free = 0;

        if (!atomic_compare_exchange_strong(&layout_owner(zone, id)->identity, &free, me))
            continue;
        zone->pid = getpid();
        zone->owner = id;
        zone->counters =
            (_Atomic uint64_t *)layout_at(zone, zone->g.counters) + (uint64_t)id * LAYOUT_COUNTERS;
        zone->alloc_hint = id;
        zone->stub_hint = id * 509;
        zone->random = (me ^ clock_now_ns()) | 1;
        return ERR_OK;
    }
    return err_set(msg, ERR_LIMIT, "cache %s has %d processes already", zone_name(zone),
                   ZONE_MAX_OWNERS);
}

void zone_leave(struct zone *zone)
{
    struct evict_budget budget = EVICT_UNLIMITED;

    if (zone->owner == 0 || zone->pid != getpid())
        return;
    if (zone->pending.slab != LAYOUT_NONE)
        evict_run(zone, &zone->pending, clock_now_ms(), &budget, true);
    stub_give_back(zone);
    slab_seal_all(zone);
    pin_forget(zone, zone->owner);
    atomic_store(&layout_owner(zone, zone->owner)->identity, 0);
    handle_reset(zone);
}

void zone_destroy(struct zone *zone)
{
    if (zone == NULL)
        return;
    if (zone->base != NULL)
        munmap(zone->base, zone->g.size);
    if (zone->fd >= 0)
        close(zone->fd);
    free(zone->walk_buf);
    free(zone);
}

int zone_fd(const struct zone *zone)
{
    return zone->fd;
}

const char *zone_name(const struct zone *zone)
{
    return zone->sb->name;
}

uint64_t zone_size(const struct zone *zone)
{
    return zone->g.size;
}

uint64_t zone_value_max(const struct zone *zone)
{
    return zone->g.value_max;
}

uint32_t zone_key_max(const struct zone *zone)
{
    return zone->g.key_max;
}

uint64_t zone_seq(const struct zone *zone)
{
    return atomic_load(&zone->events->seq);
}

uint64_t zone_clear(struct zone *zone)
{
    uint64_t seq = atomic_fetch_add(&zone->events->seq, 1) + 1;

    layout_raise_event(zone->events, &zone->events->last_clear, seq);
    return seq;
}

uint64_t zone_epoch_move(struct zone *zone)
{
    uint64_t seq = atomic_fetch_add(&zone->events->seq, 1) + 1;

    layout_raise_event(zone->events, &zone->events->epoch, seq);
    return seq;
}

void zone_clear_at(struct zone *zone, uint64_t at_ms)
{
    atomic_store_explicit(&zone->sb->clear_at_ms, at_ms, memory_order_relaxed);
}

bool zone_clear_due(struct zone *zone, uint64_t now_ms)
{
    uint64_t at_ms = atomic_load_explicit(&zone->sb->clear_at_ms, memory_order_relaxed);

    return at_ms != 0 && at_ms <= now_ms &&
           atomic_compare_exchange_strong_explicit(&zone->sb->clear_at_ms, &at_ms, 0,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void zone_mark(struct zone *zone, unsigned bit)
{
    if ((zone_marks(zone) >> bit & 1) == 0)
        atomic_fetch_or_explicit(&zone->sb->marks, UINT32_C(1) << bit, memory_order_release);
}

uint32_t zone_marks(const struct zone *zone)
{
    return atomic_load_explicit(&zone->sb->marks, memory_order_acquire);
}

void zone_heartbeat(struct zone *zone, uint64_t now_ms)
{
    atomic_store_explicit(&zone->sb->heartbeat_ms, now_ms, memory_order_release);
}
