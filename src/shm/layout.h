/* What lies where in a zone, and this process' handle on it. Only src/shm includes this.
 *
 * Byte map (offsets from the start of the memfd; every region begins on a cache line):
 *
 *   superblock      4096           identity, geometry, event numbers, heartbeat
 *   owners          128 x 256      who has joined; never shared by two live processes
 *   counters        129 x 256      one array an owner (stat.h), and the baseline of a reset
 *   tags            n_tags x 8     last purge of the tags that hash there
 *   ban numbers     n_bans x 8     0 = free; apart from the patterns so that a scan is short
 *   ban patterns    n_bans x 256
 *   stripes         1024 x 64      lock, counts
 *   tables          1024 x 8       how many buckets each stripe has; apart from the locks, so that
 *                                  readers keep them in their caches while others write
 *   head blocks     head_blocks x 1024 x 4    where each stripe's buckets are: its first block, of
 *                                  all stripes, then its second, ...
 *   spill blocks    1024 x spill_blocks x 8   and its overflow buckets
 *   buckets         1024 x one block          each stripe's first
 *   stubs           n_stubs x 64   leases and write stubs
 *   ghosts          n_ghosts x 64  what was evicted lately (ghost.h); hints only
 *   free bits       1 bit a slab   hints only: the slab's state word decides
 *   slab headers    n_slabs x 64
 *   slabs           n_slabs x slab_bytes, to the end of the zone
 *
 * Nothing here is a pointer, and nothing depends on debug flags: a zone may outlive the binary that
 * made it. Whoever changes a struct or a rule raises LAYOUT_VERSION (or LAYOUT_LOCKS when only the
 * lock protocol changes).
 *
 * Index size: it follows the entries. A stripe begins with one block of buckets, about one slot for
 * 4 KiB of zone, and splits one bucket at a time as it fills (index.h); further blocks come from
 * slabs set aside for the index (block.h), at most a quarter of all.
 *
 * Tags on fields: [const after init] [atomic] any process, [stripe] under the stripe's lock,
 * [owner] written by the owner only.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include "shm/stat.h"
#include "shm/zone.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#define LAYOUT_MAGIC   UINT64_C(0x63616368657a6e31)
#define LAYOUT_VERSION 6
#define LAYOUT_LOCKS   2

#define LAYOUT_LINE     64
#define LAYOUT_STRIPES  1024
#define LAYOUT_SLOTS    7
#define LAYOUT_COUNTERS 32
#define LAYOUT_CLASSES  8 /* of remaining time; 0 = no expiry */
#define LAYOUT_PLACES                                                                              \
    (2 * LAYOUT_CLASSES) /* to append: the classes of the small queue, then of the main one */
#define LAYOUT_GHOSTS  16 /* words in one line of ghosts */
#define LAYOUT_HAZARDS 24 /* values that one process sends from the zone at a time */
#define LAYOUT_NONE   UINT32_MAX

#define LAYOUT_SEQ_MASK ((UINT64_C(1) << 48) - 1)

/* Without fences in its model, ThreadSanitizer cannot follow reads without a lock: there, reads
 * take the stripe's lock. The resident layout is the same. */
#if defined(__SANITIZE_THREAD__)
#define LAYOUT_LOCKED_READS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LAYOUT_LOCKED_READS 1
#endif
#endif
#ifndef LAYOUT_LOCKED_READS
#define LAYOUT_LOCKED_READS 0
#endif

/* Where the regions are. [const after init] */
struct geometry {
    uint64_t size;
    uint64_t owners;
    uint64_t counters;
    uint64_t tags;
    uint64_t ban_numbers;
    uint64_t ban_patterns;
    uint64_t stripes;
    uint64_t tables;
    uint64_t head_dir;
    uint64_t spill_dir;
    uint64_t buckets;
    uint64_t stubs;
    uint64_t ghosts;
    uint64_t free_bits;
    uint64_t headers;
    uint64_t slabs;
    uint64_t value_max;
    uint32_t n_tags; /* a power of two */
    uint32_t n_bans;
    uint32_t n_stubs; /* a power of two */
    uint32_t n_slabs;
    uint32_t slab_shift;
    uint32_t key_max;
    uint32_t n_ghosts;    /* lines of LAYOUT_GHOSTS words */
    uint32_t size_credit; /* whether small entries are promoted more easily than large ones */
    uint32_t block_shift;  /* buckets in a block, log2; at most 5 */
    uint32_t head_blocks;  /* a stripe's, at most */
    uint32_t spill_blocks; /* likewise, of overflow buckets */
    uint32_t index_slabs;  /* slabs that the index may take */
};

/* The numbers every read looks at, on a line of their own that changes only with an event. [atomic]
 */
struct events {
    _Atomic uint64_t seq;         /* the last number taken */
    _Atomic uint64_t last_clear;  /* older entries are gone */
    _Atomic uint64_t epoch;       /* older entries are stale */
    _Atomic uint64_t ban_newest;  /* entries at least this new need no look at the bans */
    _Atomic uint64_t ban_retired; /* newest retired ban: an older store cannot be judged any more */
    _Atomic uint64_t newest;      /* raised before each of last_clear, epoch and ban_newest: what is
                                     at least this new is judged by one look */
    _Atomic uint32_t ban_high;    /* ban records ever used: the scan ends there */
    _Atomic uint32_t gate;        /* owner id of who makes several changes as one (gate.h); 0 = none */
    _Atomic uint32_t gate_turn;   /* how often that was */
    char pad[4];
};

/* Blocks of buckets in slabs of the index (block.h). Changed under its own lock. */
struct block_pool {
    _Atomic uint32_t lock;  /* owner id; 0 = free */
    _Atomic uint32_t slabs; /* in state INDEX */
    _Atomic uint32_t free;  /* blocks in them */
    _Atomic uint32_t hint;  /* slab to look into first */
    _Atomic uint32_t low;   /* another slab is wanted */
    char pad[44];
};

struct superblock {
    uint64_t magic;
    uint32_t version;
    uint32_t lock_protocol;
    uint64_t layout_hash; /* over the sizes and offsets this binary was built with */
    uint64_t seed;        /* of the key hash; random */
    uint64_t base_ms;     /* boottime; expiries are counted from here */
    _Atomic uint32_t state;
    _Atomic uint32_t marks; /* the caller's: zone_mark() */
    char pad1[16];
    struct geometry geometry;
    char name[ZONE_NAME_MAX + 1];
    _Alignas(LAYOUT_LINE) struct events events;
    _Alignas(LAYOUT_LINE) struct block_pool blocks;
    _Alignas(LAYOUT_LINE) _Atomic uint64_t heartbeat_ms; /* [master] */
    _Alignas(LAYOUT_LINE) _Atomic uint64_t stamp;        /* slabs opened ever: the age of a slab */
    _Atomic uint32_t shared_slab[LAYOUT_PLACES];         /* slab + 1: where workers without an own
                                                            slab append; a hint */
    _Atomic uint64_t ghost_stamp;                        /* ghosts made ever */
    _Atomic int32_t n_small; /* slabs in the small queue: about, made true by each survey */
    /* What the last survey saw (evict.c). */
    _Atomic uint32_t entries_seen;
    _Atomic uint32_t mean_bytes; /* of an entry; 0 = not known yet */
    _Atomic uint64_t clear_at_ms; /* boottime of a clear to come; 0 = none */
};
#define SUPERBLOCK_BYTES 4096

enum superblock_state { SUPERBLOCK_NEW, SUPERBLOCK_SERVING };

/* One process that has joined. identity is the claim: taken and given back by one CAS. */
struct owner {
    _Atomic uint64_t identity;   /* pid | low 32 bits of the start time << 32; 0 = free */
    _Atomic uint64_t repairer;   /* identity of who repairs after it */
    _Atomic uint64_t token_next; /* [owner] survives the owner, so that tokens never repeat */
    uint64_t reserved[5];
    _Atomic uint64_t hazard[LAYOUT_HAZARDS]; /* [owner] slabs being sent from (pin.h); 0 = none */
};

struct stripe {
    _Atomic uint32_t lock;       /* lock.h */
    _Atomic uint32_t intent;     /* [stripe] line of a head while something is half done */
    uint64_t reserved;
    _Atomic uint64_t count_seq;  /* [stripe] the clear that the two counts are valid for */
    _Atomic uint64_t live_bytes; /* [stripe] */
    _Atomic uint32_t entries;    /* [stripe] */
    _Atomic uint32_t stubs;      /* [stripe] first stub + 1 */
    _Atomic uint64_t
        intent_old; /* [stripe] slot word being replaced: its slab's counts are in doubt */
    _Atomic uint64_t intent_new;    /* [stripe] slot word being published */
    _Atomic uint32_t overflow_hint; /* [stripe] where the search for an overflow bucket begins */
    _Atomic uint32_t overflows;     /* [stripe] overflow buckets in use */
};

/* A slot: tag 16 | frequency 3 | link 1 | offset in 8-byte units 44. 0 = empty. The last
 * slot of a bucket may have the link bit: then the offset is that of an overflow bucket. */
struct bucket {
    _Atomic uint32_t version; /* heads only: odd while the chain changes */
    _Atomic uint32_t number;  /* [stripe] overflow buckets only: which of the stripe's it is */
    _Atomic uint64_t slot[LAYOUT_SLOTS];
};

#define SLOT_OFFSET_MASK ((UINT64_C(1) << 44) - 1)
#define SLOT_LINK        (UINT64_C(1) << 44)
#define SLOT_FREQ_SHIFT  45
#define SLOT_FREQ_MASK   (UINT64_C(7) << SLOT_FREQ_SHIFT)
#define SLOT_TAG_SHIFT   48

/* A slab's header. state: enum slab_state 8 | owner id 8 | unused 16 | generation 32, changed by
 * CAS. */
struct slab {
    _Atomic uint64_t state;
    _Atomic uint32_t pos;        /* bytes written; [owner] while open */
    _Atomic uint32_t live;       /* entries that the table points to */
    _Atomic uint32_t live_bytes; /* theirs */
    _Atomic uint32_t flags;      /* SLAB_* of slab.h */
    _Atomic uint64_t
        max_expiry;           /* ms from base; UINT64_MAX once an entry without expiry is in it */
    _Atomic uint64_t max_seq; /* of its entries */
    _Atomic uint64_t stamp;   /* when it was opened */
    _Atomic uint32_t next;    /* large values: next slab + 1 */
    _Atomic uint32_t head;    /* large values: first slab */
    _Atomic uint64_t hash;    /* large values, first slab: hash of the key */
};

/* 20 bytes, then words[]: the ext word when flagged (n_tags 16 | meta_len 16), the first slab of a
 * large value, the tag hashes; then key, metadata, value. The tag hashes stand before the key, not
 * after it, because there they are aligned. */
struct entry {
    _Atomic uint64_t w0; /* seq 48 | flags 16 */
    _Atomic uint64_t w1; /* expiry, ms from base, 40 | key length 16 | unused 8 */
    _Atomic uint32_t value_len;
    _Atomic uint32_t words[];
};
#define ENTRY_HEADER 20
#define ENTRY_LEAST  24 /* a header and a key of one byte, rounded up */

/* claim: owner id, 0 = free. Everything else is guarded by the lock of the hash's stripe. */
struct stub {
    _Atomic uint32_t claim;
    _Atomic uint32_t next; /* stub + 1 */
    _Atomic uint64_t hash; /* may be looked at without the lock */
    uint64_t token;
    uint64_t seq; /* at the grant */
    uint64_t deadline_ms;
    uint64_t waiters;     /* a bit for each worker slot that wants to hear of its end */
    _Atomic uint8_t kind; /* enum stub_kind; set last, cleared first */
    uint8_t touched;
    uint8_t timed; /* granted by lease_fetch(): what it takes is measured */
    uint8_t pad;
    _Atomic uint8_t writer[8]; /* owner ids of the writers in flight */
    uint32_t granted_ms;       /* from base, modulo 2^32 */
};

#define BAN_RECORD_BYTES 256
struct ban_record {
    _Atomic uint32_t len;
    char pad[4];
    _Atomic uint64_t pattern[BAN_RECORD_BYTES / 8 - 1]; /* read while it may be replaced */
};

static_assert(sizeof(struct events) == LAYOUT_LINE, "events fill one line");
static_assert(sizeof(struct superblock) <= SUPERBLOCK_BYTES, "the superblock is one page");
static_assert(sizeof(struct owner) == 256, "owner");
static_assert(sizeof(struct stripe) == LAYOUT_LINE, "stripe");
static_assert(sizeof(struct bucket) == LAYOUT_LINE, "bucket");
static_assert(sizeof(struct block_pool) == LAYOUT_LINE, "block pool");
static_assert(sizeof(struct slab) == LAYOUT_LINE, "slab header");
static_assert(sizeof(struct stub) == LAYOUT_LINE, "stub");
static_assert(sizeof(struct ban_record) == BAN_RECORD_BYTES, "ban record");
static_assert(offsetof(struct entry, words) == ENTRY_HEADER, "entry header");
static_assert(STAT_COUNT <= LAYOUT_COUNTERS, "counters have room");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "words are lock-free");

/* A slab being emptied in steps (evict.h). */
struct reclaim {
    uint32_t slab; /* LAYOUT_NONE = none */
    uint32_t pos;
    bool large;    /* the first slab of a large value: not claimed until its entry is unlinked */
    bool kept;     /* something was left where it is */
    unsigned mode; /* enum evict_mode */
};

#define LAYOUT_VICTIMS 32

/* Slabs to reclaim, the best last (evict.c). */
struct victims {
    uint32_t slab[LAYOUT_VICTIMS];
    uint64_t order[LAYOUT_VICTIMS];
    unsigned n;
};

#define LAYOUT_BANS_MAX 256

/* The background walk over all entries (sweep.c). */
struct sweep_walk {
    uint32_t stripe;
    uint64_t cursor; /* index_cursor_next() */
    bool running;
    uint64_t bans[LAYOUT_BANS_MAX]; /* those seen when it began: retired when it ends */
};

/* This process' handle. Plain memory, copied by fork; zone_join() makes it the child's own. */
struct zone {
    char *base;
    struct superblock *sb;
    struct events *events;
    struct stripe *stripes;
    _Atomic uint64_t *tables;
    const _Atomic uint32_t *head_dir;
    struct slab *slabs;
    struct geometry g;
    uint64_t slabs_end;
    uint64_t seed;
    uint64_t base_ms;
    int fd;

    pid_t pid;      /* who joined through this handle */
    uint32_t owner; /* its slot + 1; 0 = not joined */
    _Atomic uint64_t *counters;
    uint32_t open[LAYOUT_PLACES]; /* slab + 1 */
    unsigned classes;             /* of each queue in use now; 0 = slabs are shared */
    uint32_t alloc_hint;
    uint32_t stub_hint;

    struct victims hollow; /* mostly dead; then the oldest of the two queues */
    struct victims oldest[2];
    bool hollow_more; /* there were more of them than the list takes */

    struct reclaim pending; /* the sweeper's */
    struct sweep_walk walk;
    uint32_t sweep_slab;
    uint32_t sweep_stub;

    uint64_t rings; /* worker slots to be rung once no lock is held (lease_on_ring()) */
    void (*ring)(void *arg, uint64_t slots);
    void *ring_arg;
    uint64_t random; /* of early refresh; never 0 once joined */

    struct { /* who in this process uses each hazard of its record */
        uint32_t first;
        uint32_t uses;
    } pins[LAYOUT_HAZARDS];

    char *walk_buf; /* table_walk()'s copies; grown outside of locks */
    size_t walk_cap;
};

static inline void *layout_at(const struct zone *zone, uint64_t offset)
{
    return zone->base + offset;
}

static inline struct owner *layout_owner(const struct zone *zone, uint32_t id)
{
    return (struct owner *)layout_at(zone, zone->g.owners) + (id - 1);
}

static inline struct stub *layout_stub(const struct zone *zone, uint32_t index)
{
    return (struct stub *)layout_at(zone, zone->g.stubs) + index;
}

/* Bits of a hash: stripe 10 | bucket 32 | unused 6 | tag 16: the three never share one. */
static inline uint32_t layout_stripe_of(uint64_t hash)
{
    return (uint32_t)(hash >> 54);
}

static inline struct stripe *layout_stripe(const struct zone *zone, uint64_t hash)
{
    return &zone->stripes[layout_stripe_of(hash)];
}

/* [stripe] How many buckets a stripe has (index.h). */
static inline _Atomic uint64_t *layout_table(const struct zone *zone, const struct stripe *stripe)
{
    return &zone->tables[stripe - zone->stripes];
}

static inline uint64_t layout_tag(uint64_t hash)
{
    return hash & 0xffff;
}

static inline void layout_raise(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

    while (old < value && !atomic_compare_exchange_weak(word, &old, value))
        continue;
}

/* Raise one of the event numbers; `newest` goes before it, so that no reader that looks only there
 * misses it. */
static inline void layout_raise_event(struct events *events, _Atomic uint64_t *word, uint64_t seq)
{
    layout_raise(&events->newest, seq);
    layout_raise(word, seq);
}

/* Lay the regions out. ERR_INVALID with the reason when size is too small for key_max. */
int layout_plan(uint64_t size, uint32_t key_max, struct geometry *g, struct errmsg *msg);

/* A number over every size and offset that two binaries must agree on. */
uint64_t layout_hash(void);

/* Fill in where the regions are, once base and g are known. */
void layout_attach(struct zone *zone);

#endif
