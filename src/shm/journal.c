/* Three arrays in one mapping, sized at the start and touched only as they fill:
 *
 *   index    hashes of the recorded keys, open addressing with linear probing, at most half full. A
 *            record exists from the one store of its hash here until the one store that removes it,
 * so readers need no lock: they compare hashes only. Two keys with one hash cost an L2 miss.
 *   records  beside each index slot: ticket, links of the list by age, and the start of the key
 *   cells    the rest of keys that are longer than a record holds, in chains
 *
 * Writers take the owner-word lock. What the index does not show can be rebuilt from what it shows:
 * journal_repair() makes the list, the counts and the free cells anew from the index and the
 * tickets.
 */
#include "shm/journal.h"

#include "shm/scoreboard.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define JOURNAL_CACHES  64
#define CAPACITY_MAX    (1u << 24)
#define INLINE_BYTES    104
#define CELL_BYTES      124
#define DISTRUSTED      (UINT32_C(1) << 31)
#define NIL             UINT32_MAX /* no slot, no cell */
#define SLOT_EMPTY_HASH 0u         /* never used since the end of its run: probing stops here */
#define SLOT_REMOVED    1u         /* probing goes on */
#define HASH_MIN        2u
/* A reader looks at this many slots; beyond, it says "recorded", which is safe. */
#define PROBE_MAX      256u
#define LOCK_SPINS     64
#define LOCK_WAIT_NS   100000000u
#define MASTER_WAIT_NS 20000000u /* it is the one who frees a dead owner's lock */
#define LOCK_SLEEP_NS  50000u
#define MASTER         ((uint32_t)SCOREBOARD_MAX)

struct record {
    uint64_t ticket;
    uint32_t older; /* slot of the next older record, NIL at the head */
    uint32_t newer;
    uint32_t more; /* cell that holds the key's next bytes, or NIL */
    uint16_t key_len;
    uint8_t cache;
    uint8_t pad;
    char key[INLINE_BYTES];
};

struct cell {
    uint32_t next;
    char bytes[CELL_BYTES];
};

/* Resident in the mapping; pointers are valid in every process, which all inherit it at this
 * address. */
struct journal {
    /* [const after create] */
    size_t map_bytes;
    uint32_t capacity;
    uint32_t key_max;
    uint32_t n_slots; /* a power of two, at least twice the capacity */
    uint32_t n_cells;
    uint64_t seed;
    _Atomic uint64_t *index;
    struct record *records;
    struct cell *cells;
    /* By cache: its records ([lock] to change) and DISTRUSTED ([atomic]), in one word, so that one
     * load says whether there is anything to look for. Never less than what the index shows. */
    _Alignas(64) _Atomic uint32_t state[JOURNAL_CACHES];
    _Atomic uint32_t count; /* [lock] all records; read by anyone */
    _Atomic uint32_t lock;  /* the owner's id, 0 when free */
    /* [lock] */
    uint64_t ticket; /* the last one given */
    uint32_t oldest, newest;
    uint32_t free_cell;   /* chain of cells given back */
    uint32_t cells_used;  /* cells from here on were never used */
    uint64_t hint_ticket; /* where journal_next() was last */
    uint32_t hint_slot;
};

_Static_assert(sizeof(struct record) == 128, "two cache lines a record");
_Static_assert(sizeof(struct cell) == 128, "two cache lines a cell");

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Sizes and places of the arrays; the mapping is one piece so that it is there whole or not at all.
 */
static void lay_out(struct journal *j)
{
    char *base = (char *)j;
    size_t at = round_up(sizeof(*j), 4096);

    j->index = (_Atomic uint64_t *)(void *)(base + at);
    at += round_up((size_t)j->n_slots * sizeof(uint64_t), 4096);
    j->records = (struct record *)(void *)(base + at);
    at += round_up((size_t)j->n_slots * sizeof(struct record), 4096);
    j->cells = (struct cell *)(void *)(base + at);
}

static size_t map_size(uint32_t n_slots, uint32_t n_cells)
{
    return round_up(sizeof(struct journal), 4096) +
           round_up((size_t)n_slots * sizeof(uint64_t), 4096) +
           round_up((size_t)n_slots * sizeof(struct record), 4096) +
           (size_t)n_cells * sizeof(struct cell);
}

int journal_create(uint32_t capacity, uint32_t key_max, struct journal **out, struct errmsg *msg)
{
    struct journal *j;
    uint32_t n_slots = 16;
    uint32_t n_cells;
    size_t bytes;

    if (capacity == 0 || capacity > CAPACITY_MAX)
        return err_set(msg, ERR_INVALID, "the journal holds 1 to %u keys, not %u", CAPACITY_MAX,
                       capacity);
    if (key_max == 0 || key_max > UINT16_MAX)
        return err_set(msg, ERR_INVALID, "a journal key has 1 to %u bytes, not %u", UINT16_MAX,
                       key_max);
    while (n_slots < 2 * capacity)
        n_slots *= 2;
    /* On average 600 bytes a key, and at least a few of the longest. Beyond that it is full. */
    n_cells = 4 * capacity + 4 * (key_max / CELL_BYTES + 1);
    bytes = map_size(n_slots, n_cells);
    j = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
             0);
    if (j == MAP_FAILED)
        return err_set_errno(msg, "cannot map %zu bytes for the journal", bytes);
    madvise(j, bytes, MADV_DONTDUMP); /* keys are user data; refusal changes nothing else */
    j->map_bytes = bytes;
    j->capacity = capacity;
    j->key_max = key_max;
    j->n_slots = n_slots;
    j->n_cells = n_cells;
    if (getentropy(&j->seed, sizeof(j->seed)) != 0) {
        munmap(j, bytes);
        return err_set_errno(msg, "no random seed for the journal");
    }
    j->oldest = NIL;
    j->newest = NIL;
    j->free_cell = NIL;
    j->hint_slot = NIL;
    lay_out(j);
    *out = j;
    return ERR_OK;
}

void journal_destroy(struct journal *journal)
{
    if (journal != NULL)
        munmap(journal, journal->map_bytes);
}

/* --- the lock --- */

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool try_lock(struct journal *j, uint32_t owner)
{
    uint32_t nobody = 0;

    return atomic_compare_exchange_strong_explicit(&j->lock, &nobody, owner, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Held for a microsecond at most, so spinning and short sleeps will do. False when the owner did
 * not let go in time: it is stopped, or dead and not yet reaped. */
static bool lock_take(struct journal *j, uint32_t owner)
{
    const struct timespec nap = {.tv_nsec = LOCK_SLEEP_NS};
    uint64_t until;

    for (int i = 0; i < LOCK_SPINS; i++) {
        if (try_lock(j, owner))
            return true;
        sched_yield();
    }
    until = now_ns() + (owner == MASTER ? MASTER_WAIT_NS : LOCK_WAIT_NS);
    while (now_ns() < until) {
        if (try_lock(j, owner))
            return true;
        nanosleep(&nap, NULL);
    }
    return false;
}

static void lock_release(struct journal *j)
{
    atomic_store_explicit(&j->lock, 0, memory_order_release);
}

/* --- keys --- */

static uint64_t hash_key(const struct journal *j, unsigned cache, struct slice key)
{
    uint64_t hash = XXH3_64bits_withSeed(key.data, key.len,
                                         j->seed + (uint64_t)cache * UINT64_C(0x9e3779b97f4a7c15));

    return hash < HASH_MIN ? hash + HASH_MIN : hash;
}

static uint32_t cell_take_locked(struct journal *j)
{
    uint32_t cell = j->free_cell;

    if (cell != NIL) {
        j->free_cell = j->cells[cell].next;
        return cell;
    }
    return j->cells_used < j->n_cells ? j->cells_used++ : NIL;
}

static void cells_give_locked(struct journal *j, uint32_t cell)
{
    while (cell != NIL) {
        uint32_t next = j->cells[cell].next;

        j->cells[cell].next = j->free_cell;
        j->free_cell = cell;
        cell = next;
    }
}

/* False when the cells run out; then none is taken. */
static bool key_store_locked(struct journal *j, struct record *r, struct slice key)
{
    size_t done = key.len < INLINE_BYTES ? key.len : INLINE_BYTES;
    uint32_t *link = &r->more;

    memcpy(r->key, key.data, done);
    r->key_len = (uint16_t)key.len;
    r->more = NIL;
    while (done < key.len) {
        size_t len = key.len - done < CELL_BYTES ? key.len - done : CELL_BYTES;
        uint32_t cell = cell_take_locked(j);

        if (cell == NIL) {
            cells_give_locked(j, r->more);
            return false;
        }
        j->cells[cell].next = NIL;
        memcpy(j->cells[cell].bytes, key.data + done, len);
        *link = cell;
        link = &j->cells[cell].next;
        done += len;
    }
    return true;
}

static bool key_is_locked(const struct journal *j, const struct record *r, struct slice key)
{
    size_t done = key.len < INLINE_BYTES ? key.len : INLINE_BYTES;

    if (r->key_len != key.len || memcmp(r->key, key.data, done) != 0)
        return false;
    for (uint32_t cell = r->more; done < key.len; cell = j->cells[cell].next) {
        size_t len = key.len - done < CELL_BYTES ? key.len - done : CELL_BYTES;

        if (memcmp(j->cells[cell].bytes, key.data + done, len) != 0)
            return false;
        done += len;
    }
    return true;
}

static void key_copy_locked(const struct journal *j, const struct record *r, char *out)
{
    size_t done = r->key_len < INLINE_BYTES ? r->key_len : INLINE_BYTES;

    memcpy(out, r->key, done);
    for (uint32_t cell = r->more; done < r->key_len; cell = j->cells[cell].next) {
        size_t len = r->key_len - done < CELL_BYTES ? r->key_len - done : CELL_BYTES;

        memcpy(out + done, j->cells[cell].bytes, len);
        done += len;
    }
}

/* --- the list by age --- */

static void list_add_locked(struct journal *j, uint32_t slot)
{
    struct record *r = &j->records[slot];

    r->older = j->newest;
    r->newer = NIL;
    if (j->newest != NIL)
        j->records[j->newest].newer = slot;
    else
        j->oldest = slot;
    j->newest = slot;
}

static void list_drop_locked(struct journal *j, uint32_t slot)
{
    struct record *r = &j->records[slot];

    if (r->older != NIL)
        j->records[r->older].newer = r->newer;
    else
        j->oldest = r->newer;
    if (r->newer != NIL)
        j->records[r->newer].older = r->older;
    else
        j->newest = r->older;
}

/* --- the index --- */

static uint64_t index_get(const struct journal *j, uint32_t slot)
{
    return atomic_load_explicit(&j->index[slot], memory_order_acquire);
}

static uint32_t index_next(const struct journal *j, uint32_t slot)
{
    return (slot + 1) & (j->n_slots - 1);
}

static uint32_t index_home(const struct journal *j, uint64_t hash)
{
    return (uint32_t)hash & (j->n_slots - 1);
}

/* The key's slot, or NIL; then *place is where it can be put. */
static uint32_t index_find_locked(const struct journal *j, uint64_t hash, unsigned cache,
                                  struct slice key, uint32_t *place)
{
    uint32_t slot = index_home(j, hash);
    uint32_t reuse = NIL;

    for (uint32_t i = 0; i < j->n_slots; i++, slot = index_next(j, slot)) {
        uint64_t there = index_get(j, slot);

        if (there == SLOT_EMPTY_HASH) {
            *place = reuse != NIL ? reuse : slot;
            return NIL;
        }
        if (there == SLOT_REMOVED)
            reuse = reuse != NIL ? reuse : slot;
        else if (there == hash && j->records[slot].cache == cache &&
                 key_is_locked(j, &j->records[slot], key))
            return slot;
    }
    *place = reuse;
    return NIL;
}

/* Removal leaves a mark, since probing for others may pass here; but at the end of a run nothing
 * comes after, so the mark and those just before it become empty again. Readers meet no gap before
 * a record that stays. */
static void index_remove_locked(struct journal *j, uint32_t slot)
{
    atomic_store_explicit(&j->index[slot], SLOT_REMOVED, memory_order_release);
    if (index_get(j, index_next(j, slot)) != SLOT_EMPTY_HASH)
        return;
    while (index_get(j, slot) == SLOT_REMOVED) {
        atomic_store_explicit(&j->index[slot], SLOT_EMPTY_HASH, memory_order_release);
        slot = (slot - 1) & (j->n_slots - 1);
    }
}

/* --- the interface --- */

static bool record_new_locked(struct journal *j, uint32_t slot, uint64_t hash, unsigned cache,
                              struct slice key)
{
    struct record *r = &j->records[slot];

    if (slot == NIL || atomic_load_explicit(&j->count, memory_order_relaxed) >= j->capacity)
        return false;
    if (!key_store_locked(j, r, key))
        return false;
    r->cache = (uint8_t)cache;
    r->ticket = ++j->ticket;
    /* Counted first: a visible record is never one that journal_has() does not look for. */
    atomic_fetch_add(&j->state[cache], 1);
    atomic_fetch_add(&j->count, 1);
    atomic_store_explicit(&j->index[slot], hash, memory_order_release);
    list_add_locked(j, slot);
    return true;
}

bool journal_note(struct journal *journal, uint32_t owner, unsigned cache, struct slice key)
{
    uint64_t hash = hash_key(journal, cache, key);
    uint32_t place = NIL;
    uint32_t slot;
    bool recorded = true;

    if (key.len > journal->key_max || !lock_take(journal, owner))
        return false;
    slot = index_find_locked(journal, hash, cache, key, &place);
    if (slot != NIL) {
        journal->records[slot].ticket = ++journal->ticket;
        list_drop_locked(journal, slot);
        list_add_locked(journal, slot);
    } else {
        recorded = record_new_locked(journal, place, hash, cache, key);
    }
    lock_release(journal);
    return recorded;
}

void journal_add(struct journal *journal, uint32_t owner, unsigned cache, struct slice key)
{
    if (!journal_note(journal, owner, cache, key))
        journal_distrust(journal, cache, true);
}

bool journal_has(struct journal *journal, unsigned cache, struct slice key)
{
    uint32_t state = atomic_load_explicit(&journal->state[cache], memory_order_relaxed);
    uint64_t hash;
    uint32_t slot;

    if (state == 0 || state & DISTRUSTED)
        return state != 0;
    hash = hash_key(journal, cache, key);
    slot = index_home(journal, hash);
    for (uint32_t i = 0; i < PROBE_MAX; i++, slot = index_next(journal, slot)) {
        uint64_t there = index_get(journal, slot);

        if (there == hash)
            return true;
        if (there == SLOT_EMPTY_HASH)
            return false;
    }
    return true;
}

/* The oldest record with a ticket over `after`. A caller that asks for one after the other goes on
 * where it was. */
static uint32_t find_after_locked(const struct journal *j, uint64_t after)
{
    uint32_t slot = j->oldest;

    if (after != 0 && after == j->hint_ticket && j->hint_slot != NIL &&
        index_get(j, j->hint_slot) >= HASH_MIN && j->records[j->hint_slot].ticket == after)
        slot = j->hint_slot;
    while (slot != NIL && j->records[slot].ticket <= after)
        slot = j->records[slot].newer;
    return slot;
}

int journal_next(struct journal *journal, uint64_t after, unsigned *cache, char *key,
                 size_t *key_len, uint64_t *ticket)
{
    uint32_t slot;

    if (journal_count(journal) == 0 || !lock_take(journal, MASTER))
        return 0;
    slot = find_after_locked(journal, after);
    if (slot != NIL) {
        const struct record *r = &journal->records[slot];

        key_copy_locked(journal, r, key);
        *key_len = r->key_len;
        *cache = r->cache;
        *ticket = r->ticket;
        journal->hint_ticket = r->ticket;
        journal->hint_slot = slot;
    }
    lock_release(journal);
    return slot != NIL;
}

static void record_drop_locked(struct journal *j, uint32_t slot)
{
    struct record *r = &j->records[slot];

    index_remove_locked(j, slot);
    list_drop_locked(j, slot);
    cells_give_locked(j, r->more);
    atomic_fetch_sub(&j->count, 1);
    atomic_fetch_sub(&j->state[r->cache], 1);
}

bool journal_done(struct journal *journal, uint32_t owner, unsigned cache, struct slice key,
                  uint64_t ticket)
{
    uint64_t hash = hash_key(journal, cache, key);
    uint32_t place;
    uint32_t slot;
    bool same;

    if (!lock_take(journal, owner))
        return false;
    slot = index_find_locked(journal, hash, cache, key, &place);
    same = slot != NIL && journal->records[slot].ticket == ticket;
    if (same)
        record_drop_locked(journal, slot);
    lock_release(journal);
    return same;
}

uint64_t journal_ticket(struct journal *journal)
{
    uint64_t ticket = 0;

    if (lock_take(journal, MASTER)) {
        ticket = journal->ticket;
        lock_release(journal);
    }
    return ticket;
}

uint32_t journal_trim(struct journal *journal, uint64_t ticket, uint32_t max)
{
    uint32_t n = 0;

    if (journal_count(journal) == 0 || !lock_take(journal, MASTER))
        return 0;
    while (n < max && journal->oldest != NIL &&
           journal->records[journal->oldest].ticket <= ticket) {
        record_drop_locked(journal, journal->oldest);
        n++;
    }
    lock_release(journal);
    return n;
}

bool journal_distrusted(struct journal *journal, unsigned cache)
{
    return atomic_load(&journal->state[cache]) & DISTRUSTED;
}

void journal_distrust(struct journal *journal, unsigned cache, bool distrusted)
{
    if (distrusted)
        atomic_fetch_or(&journal->state[cache], DISTRUSTED);
    else
        atomic_fetch_and(&journal->state[cache], ~DISTRUSTED);
}

uint32_t journal_count(const struct journal *journal)
{
    return atomic_load_explicit(&journal->count, memory_order_relaxed);
}

/* --- repair and check --- */

struct aged {
    uint64_t ticket;
    uint32_t slot;
};

static int by_ticket(const void *a, const void *b)
{
    const struct aged *x = a;
    const struct aged *y = b;

    return (x->ticket > y->ticket) - (x->ticket < y->ticket);
}

/* What the index shows: every record, the number of each cache's, and the cells that keys take. */
struct survey {
    struct aged *aged; /* n, in no order */
    uint32_t n;
    uint32_t per_cache[JOURNAL_CACHES];
    uint8_t *taken; /* a bit a cell */
    uint32_t n_taken;
    bool shared; /* two keys have the same cell, or a chain leads astray */
};

static void survey_fini(struct survey *s)
{
    free(s->aged);
    free(s->taken);
}

static void survey_cells(const struct journal *j, const struct record *r, struct survey *s)
{
    size_t left = r->key_len > INLINE_BYTES ? r->key_len - INLINE_BYTES : 0;
    uint32_t cell = r->more;

    for (; left > 0; cell = j->cells[cell].next) {
        uint8_t bit = (uint8_t)(1u << cell % 8);

        if (cell >= j->cells_used || s->taken[cell / 8] & bit) {
            s->shared = true;
            return;
        }
        s->taken[cell / 8] |= bit;
        s->n_taken++;
        left -= left < CELL_BYTES ? left : CELL_BYTES;
    }
}

static int survey_locked(const struct journal *j, struct survey *s)
{
    uint32_t n = 0;

    *s = (struct survey){0};
    for (uint32_t slot = 0; slot < j->n_slots; slot++)
        n += index_get(j, slot) >= HASH_MIN;
    s->aged = malloc((n + 1) * sizeof(*s->aged));
    s->taken = calloc(j->n_cells / 8 + 1, 1);
    if (s->aged == NULL || s->taken == NULL) {
        survey_fini(s);
        return ERR_NOMEM;
    }
    for (uint32_t slot = 0; slot < j->n_slots; slot++) {
        const struct record *r = &j->records[slot];

        if (index_get(j, slot) < HASH_MIN)
            continue;
        s->aged[s->n++] = (struct aged){r->ticket, slot};
        s->per_cache[r->cache % JOURNAL_CACHES]++;
        survey_cells(j, r, s);
    }
    return ERR_OK;
}

/* Marks that a removal cut short left at the end of a run. */
static void marks_sweep_locked(struct journal *j)
{
    for (uint32_t slot = j->n_slots; slot-- > 0;)
        if (index_get(j, slot) == SLOT_REMOVED &&
            index_get(j, index_next(j, slot)) == SLOT_EMPTY_HASH)
            atomic_store_explicit(&j->index[slot], SLOT_EMPTY_HASH, memory_order_release);
}

static void counts_set_locked(struct journal *j, const struct survey *s)
{
    atomic_store(&j->count, s->n);
    for (unsigned cache = 0; cache < JOURNAL_CACHES; cache++) {
        uint32_t state = atomic_load(&j->state[cache]);

        /* The records are ours while we hold the lock; distrust can be set at any time. */
        while (!atomic_compare_exchange_weak(&j->state[cache], &state,
                                             (state & DISTRUSTED) | s->per_cache[cache]))
            continue;
    }
}

static void rebuild_locked(struct journal *j, struct survey *s)
{
    qsort(s->aged, s->n, sizeof(*s->aged), by_ticket);
    j->oldest = NIL;
    j->newest = NIL;
    for (uint32_t i = 0; i < s->n; i++)
        list_add_locked(j, s->aged[i].slot);
    j->free_cell = NIL;
    for (uint32_t cell = j->cells_used; cell-- > 0;)
        if (!(s->taken[cell / 8] & 1 << cell % 8)) {
            j->cells[cell].next = j->free_cell;
            j->free_cell = cell;
        }
    marks_sweep_locked(j);
    counts_set_locked(j, s);
}

/* Without the memory to look at every key none can be kept: trust no cache that has any. */
static void give_up_locked(struct journal *j)
{
    struct survey nothing = {0};

    for (unsigned cache = 0; cache < JOURNAL_CACHES; cache++)
        if (atomic_load(&j->state[cache]) != 0)
            journal_distrust(j, cache, true);
    for (uint32_t slot = 0; slot < j->n_slots; slot++)
        atomic_store_explicit(&j->index[slot], SLOT_EMPTY_HASH, memory_order_release);
    j->oldest = NIL;
    j->newest = NIL;
    j->free_cell = NIL;
    j->cells_used = 0;
    counts_set_locked(j, &nothing);
}

void journal_repair(struct journal *journal, uint32_t owner)
{
    uint32_t held = owner;
    struct survey survey;

    if (!atomic_compare_exchange_strong(&journal->lock, &held, MASTER))
        return;
    if (survey_locked(journal, &survey) != ERR_OK) {
        give_up_locked(journal);
    } else {
        rebuild_locked(journal, &survey);
        survey_fini(&survey);
    }
    lock_release(journal);
}

static uint32_t free_cells_locked(const struct journal *j)
{
    uint32_t n = 0;

    for (uint32_t cell = j->free_cell; cell != NIL && n <= j->cells_used;
         cell = j->cells[cell].next)
        n++;
    return n;
}

static int check_list_locked(const struct journal *j, const struct survey *s, struct errmsg *msg)
{
    uint64_t ticket = 0;
    uint32_t older = NIL;
    uint32_t n = 0;

    for (uint32_t slot = j->oldest; slot != NIL; slot = j->records[slot].newer, n++) {
        const struct record *r = &j->records[slot];

        if (n > s->n || index_get(j, slot) < HASH_MIN)
            return err_set(msg, ERR_INVALID, "slot %u is listed and not in the index", slot);
        if (r->ticket <= ticket || r->older != older)
            return err_set(msg, ERR_INVALID, "slot %u is out of order in the list", slot);
        ticket = r->ticket;
        older = slot;
    }
    if (n != s->n || j->newest != older)
        return err_set(msg, ERR_INVALID, "%u keys are listed, %u in the index", n, s->n);
    return ERR_OK;
}

/* Every key is found where it stands, and stands there once. */
static int check_keys_locked(const struct journal *j, const struct survey *s, struct errmsg *msg)
{
    char *key = malloc(j->key_max);
    int status = ERR_OK;

    if (key == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->n && status == ERR_OK; i++) {
        const struct record *r = &j->records[s->aged[i].slot];
        struct slice bytes = slice_make(key, r->key_len);
        uint64_t hash;
        uint32_t place;

        key_copy_locked(j, r, key);
        hash = hash_key(j, r->cache, bytes);
        if (hash != index_get(j, s->aged[i].slot) ||
            index_find_locked(j, hash, r->cache, bytes, &place) != s->aged[i].slot)
            status = err_set(msg, ERR_INVALID, "the key of slot %u is not found", s->aged[i].slot);
    }
    free(key);
    return status;
}

/* Marks of removed keys stand only where probing has to go on. */
static int check_marks_locked(const struct journal *j, struct errmsg *msg)
{
    for (uint32_t slot = 0; slot < j->n_slots; slot++)
        if (index_get(j, slot) == SLOT_REMOVED &&
            index_get(j, index_next(j, slot)) == SLOT_EMPTY_HASH)
            return err_set(msg, ERR_INVALID, "slot %u has a mark at the end of a run", slot);
    return ERR_OK;
}

static int check_counts_locked(const struct journal *j, const struct survey *s, struct errmsg *msg)
{
    if (journal_count(j) != s->n)
        return err_set(msg, ERR_INVALID, "%u keys counted, %u there", journal_count(j), s->n);
    for (unsigned cache = 0; cache < JOURNAL_CACHES; cache++)
        if ((atomic_load(&j->state[cache]) & ~DISTRUSTED) != s->per_cache[cache])
            return err_set(msg, ERR_INVALID, "cache %u has %u keys and another count", cache,
                           s->per_cache[cache]);
    if (s->n_taken + free_cells_locked(j) != j->cells_used)
        return err_set(msg, ERR_INVALID, "%u cells taken and %u free, of %u", s->n_taken,
                       free_cells_locked(j), j->cells_used);
    return ERR_OK;
}

int journal_check(struct journal *journal, struct errmsg *msg)
{
    struct survey survey;
    int status;

    if (!lock_take(journal, MASTER))
        return err_set(msg, ERR_TIMEOUT, "owner %u holds the journal's lock",
                       atomic_load(&journal->lock));
    status = survey_locked(journal, &survey);
    if (status == ERR_OK) {
        status = survey.shared ? err_set(msg, ERR_INVALID, "a cell belongs to two keys")
                               : check_list_locked(journal, &survey, msg);
        if (status == ERR_OK)
            status = check_keys_locked(journal, &survey, msg);
        if (status == ERR_OK)
            status = check_counts_locked(journal, &survey, msg);
        if (status == ERR_OK)
            status = check_marks_locked(journal, msg);
        survey_fini(&survey);
    }
    lock_release(journal);
    return status;
}
