/* memfd_create, file seals: Linux. */
#define _GNU_SOURCE 1

#include "shm/access.h"

#include "common/clock.h"
#include "shm/look.h"
#include "shm/stat.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_SLOTS 1016 /* with the head: two pages */
/* More than any reader can have read between two drains: what claims to be more counts as this. */
#define COUNT_MAX UINT64_C(10000000)

/* Written by the reader alone. */
struct ring {
    _Atomic uint64_t noted; /* hashes ever */
    _Atomic uint64_t hits;
    _Atomic uint64_t misses;
    uint64_t pad[5];
    _Atomic uint64_t hash[RING_SLOTS];
};

static_assert(sizeof(struct ring) == 8192, "a ring fills two pages");

struct access {
    struct ring *ring;
    uint64_t random;       /* the reader's: which read is noted */
    uint64_t hits, misses; /* the reader's: what it counted; the daemon's: what it has taken */
    uint64_t taken;
};

static int map(int fd, struct access **out, struct errmsg *msg)
{
    struct access *access = calloc(1, sizeof(*access));

    if (access == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for an access ring");
    access->ring = mmap(NULL, sizeof(struct ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (access->ring == MAP_FAILED) {
        free(access);
        return err_set_errno(msg, "cannot map an access ring");
    }
    access->random = clock_now_ns() | 1;
    *out = access;
    return ERR_OK;
}

int access_create(struct access **out, int *fd, struct errmsg *msg)
{
    int err;

    *fd = memfd_create("cachetastic:access", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return err_set_errno(msg, "cannot create an access ring");
    if (ftruncate(*fd, sizeof(struct ring)) != 0 ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        err = err_set_errno(msg, "cannot size and seal an access ring");
    else
        err = map(*fd, out, msg);
    if (err != ERR_OK)
        close(*fd);
    return err;
}

int access_open(int fd, struct access **out, struct errmsg *msg)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(struct ring))
        return err_set(msg, ERR_INVALID, "this is no access ring");
    return map(fd, out, msg);
}

void access_close(struct access *access)
{
    if (access == NULL)
        return;
    munmap(access->ring, sizeof(struct ring));
    free(access);
}

void access_hit(struct access *access, uint64_t hash)
{
    struct ring *ring = access->ring;
    uint64_t at;

    atomic_store_explicit(&ring->hits, ++access->hits, memory_order_relaxed);
    /* A step of a linear congruential generator: its high bits decide. Every 16th would miss keys
     * that are read in turn. */
    access->random = access->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    if (access->random >> 32 & (ACCESS_SAMPLE - 1))
        return;
    at = access->taken++;
    atomic_store_explicit(&ring->hash[at % RING_SLOTS], hash, memory_order_relaxed);
    atomic_store_explicit(&ring->noted, at + 1, memory_order_release);
}

void access_miss(struct access *access)
{
    atomic_store_explicit(&access->ring->misses, ++access->misses, memory_order_relaxed);
}

/* What the reader says it has counted since the last time. */
static uint64_t taken_since(_Atomic uint64_t *word, uint64_t *before)
{
    uint64_t now = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t n = now - *before;

    *before = now;
    return n < COUNT_MAX ? n : COUNT_MAX;
}

/* The first slot of the chain whose tag fits; false: none, or the chain changed meanwhile. */
static bool find_slot(const struct zone *zone, uint64_t hash, struct index_spot *spot)
{
    const struct stripe *stripe = layout_stripe(zone, hash);
    uint64_t table = atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire);
    struct index_array a = index_unpack(zone, stripe, table);
    uint32_t version, hops = INDEX_CHAIN_MAX;
    uint32_t bits = 0;

    spot->head = index_head(&a, hash);
    version = atomic_load_explicit(&spot->head->version, memory_order_acquire);
    for (spot->bucket = spot->head; spot->bucket != NULL && hops > 0; hops--) {
        bits = index_match(spot->bucket, layout_tag(hash));
        if (bits != 0)
            break;
        spot->bucket = index_next(&a, spot->bucket);
    }
    if (bits == 0)
        return false;
    spot->slot = index_first(bits);
    spot->word = index_load(spot->bucket, spot->slot);
    return spot->word != 0 && (spot->word & SLOT_LINK) == 0 && (version & 1) == 0 &&
           index_unchanged(spot->head, version) &&
           atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) == table;
}

/* An entry whose tag is the same by chance may be marked instead: that does no harm. */
static void mark(const struct zone *zone, uint64_t hash)
{
    struct index_spot spot;

    if (find_slot(zone, hash, &spot))
        look_mark(&spot);
}

void access_drain(struct access *access, struct zone *zone)
{
    struct ring *ring = access->ring;
    uint64_t noted = atomic_load_explicit(&ring->noted, memory_order_acquire);
    uint64_t n = noted - access->taken;
    uint64_t hits = taken_since(&ring->hits, &access->hits);

    n = n < RING_SLOTS ? n : RING_SLOTS;
    for (uint64_t at = noted - n; at != noted; at++)
        mark(zone, atomic_load_explicit(&ring->hash[at % RING_SLOTS], memory_order_relaxed));
    access->taken = noted;
    stat_add(zone, STAT_HITS, hits);
    stat_add(zone, STAT_L1_HITS, hits);
    stat_add(zone, STAT_DIRECT_HITS, hits);
    stat_add(zone, STAT_MISSES, taken_since(&ring->misses, &access->misses));
}
