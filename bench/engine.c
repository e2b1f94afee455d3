/* What a get and a set cost in the engine, beside the least they could cost on this machine.
 *
 * The floor is a hash table of one process in shared memory of the same kind and size, with the
 * same keys and values: the same hash, the same four dependent loads (the table's part, the block
 * of buckets, the bucket's line, the entry), the key compared, the value copied. It has no locks,
 * no versions, no expiry, no eviction, no counters and no chains.
 *
 * Back to back, and one at a time: between two operations that depend on nothing of each other the
 * processor overlaps their loads from memory, as far as its window of instructions reaches.
 *
 * Times are of this process' processor time, so that other work on the machine counts as little as
 * it can; each is the best of several rounds, engine and floor taking turns.
 */
#include "common/clock.h"
#include "shm/entry.h"
#include "shm/stat.h"
#include "shm/table.h"
#include "shm/zone.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY_BYTES 16
#ifndef HOT_KEYS
#define HOT_KEYS 10000u
#endif
#define BATCH 1024u /* keys made ready, then timed together */
#define MULTI 16u
#ifndef ROUNDS
#define ROUNDS 60 /* short ones: some of them find the machine quiet */
#endif
#define RACES 7
#define SLOTS 8u
#ifndef DATA_BYTES
#define DATA_BYTES (UINT64_C(640) << 20)
#endif
#define SET_LIMIT   1.5
#define READ_LIMIT  1.5
#define TWO_LIMIT   1.8
#define WRITE_LIMIT 0.8

struct floor_slot {
    uint64_t tag_at; /* tag 16 | offset 48; 0 = empty */
};

struct floor_bucket {
    struct floor_slot slot[SLOTS];
};

#define PARTS 1024u
#define BLOCK 16u /* buckets */

struct floor {
    uint64_t part[PARTS]; /* where each part's blocks begin */
    uint32_t *blocks;     /* where each block's buckets begin */
    struct floor_bucket *buckets;
    uint64_t mask; /* in a part */
    char *log;     /* entries, one after the other; written round and round */
    uint64_t log_bytes;
    uint64_t at;
};

struct floor_entry {
    uint32_t key_len;
    uint32_t value_len;
    char bytes[];
};

struct bench {
    struct zone *zone;
    struct floor floor;
    uint32_t keys;
    uint32_t value_bytes;
    uint64_t seed;
    bool quick;
    const char *only; /* lines whose name has this text; NULL = all */
    bool failed;
};

struct batch {
    uint64_t key[BATCH][2];
};

static char value[65536];
static char out[65536];

static void die(const char *what)
{
    fprintf(stderr, "bench engine: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

static void make_key(uint64_t key[2], uint32_t i)
{
    key[0] = UINT64_C(0x3a79656b) | (uint64_t)i << 32;
    key[1] = i * UINT64_C(0x9e3779b97f4a7c15);
}

/* Keys first..first+n-1, at random. */
static void fill_batch(struct bench *b, struct batch *batch, uint32_t first, uint32_t n)
{
    for (unsigned i = 0; i < BATCH; i++)
        make_key(batch->key[i], first + (uint32_t)((next_random(&b->seed) >> 32) * n >> 32));
}

static struct slice key_slice(const uint64_t key[2])
{
    return slice_make(key, KEY_BYTES);
}

/* ---- the floor ---- */

static void *shared_memory(uint64_t bytes)
{
    void *p =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (p == MAP_FAILED)
        die("mmap");
    return p;
}

static void floor_open(struct bench *b)
{
    uint64_t n = 1;

    while (n < PARTS * BLOCK || n * SLOTS < b->keys + b->keys / 2)
        n *= 2;
    b->floor.buckets = shared_memory((n + 1) * sizeof(struct floor_bucket));
    b->floor.mask = n / PARTS - 1;
    for (unsigned i = 0; i < PARTS; i++)
        b->floor.part[i] = i * (n / PARTS / BLOCK);
    b->floor.blocks = shared_memory(n / BLOCK * sizeof(uint32_t));
    for (uint32_t i = 0; i < n / BLOCK; i++)
        b->floor.blocks[i] = i * BLOCK;
    b->floor.log_bytes = zone_size(b->zone);
    b->floor.log = shared_memory(b->floor.log_bytes);
    b->floor.at = 64;
}

/* Where to begin; a key that finds no place there is in the next one. */
static struct floor_bucket *floor_bucket(const struct floor *f, uint64_t hash)
{
    uint64_t n = (hash >> 16) & f->mask;

    return &f->buckets[f->blocks[f->part[hash >> 54] + n / BLOCK] + n % BLOCK];
}

static struct floor_slot *floor_find(const struct floor *f, uint64_t hash, struct slice key,
                                     struct floor_entry **entry)
{
    struct floor_bucket *bucket = floor_bucket(f, hash);

    for (unsigned i = 0; i < 2 * SLOTS; i++) {
        uint64_t word = bucket->slot[i].tag_at;

        if (word == 0)
            return NULL;
        if (word >> 48 != (hash & 0xffff))
            continue;
        *entry = (struct floor_entry *)(void *)(f->log + (word & ((UINT64_C(1) << 48) - 1)));
        if ((*entry)->key_len == key.len && memcmp((*entry)->bytes, key.data, key.len) == 0)
            return &bucket->slot[i];
    }
    return NULL;
}

static bool floor_get(const struct bench *b, struct slice key)
{
    uint64_t hash = entry_hash(b->zone, key.data, key.len);
    struct floor_entry *entry;

    if (floor_find(&b->floor, hash, key, &entry) == NULL)
        return false;
    memcpy(out, entry->bytes + entry->key_len, entry->value_len);
    return true;
}

/* Append the entry and point the slot to it; the older one is simply forgotten. */
static void floor_set(struct bench *b, struct slice key, struct slice val)
{
    struct floor *f = &b->floor;
    uint64_t hash = entry_hash(b->zone, key.data, key.len);
    uint64_t size = (sizeof(struct floor_entry) + key.len + val.len + 7) & ~UINT64_C(7);
    struct floor_entry *entry;
    struct floor_slot *slot = floor_find(f, hash, key, &entry);
    struct floor_bucket *bucket = floor_bucket(f, hash);

    for (unsigned i = 0; slot == NULL && i < 2 * SLOTS; i++)
        slot = bucket->slot[i].tag_at == 0 ? &bucket->slot[i] : NULL;
    if (slot == NULL)
        slot = &bucket->slot[hash >> 61];
    if (f->at + size > f->log_bytes)
        f->at = 64;
    entry = (struct floor_entry *)(void *)(f->log + f->at);
    entry->key_len = (uint32_t)key.len;
    entry->value_len = (uint32_t)val.len;
    memcpy(entry->bytes, key.data, key.len);
    memcpy(entry->bytes + key.len, val.data, val.len);
    slot->tag_at = (hash & 0xffff) << 48 | f->at;
    f->at += size;
}

/* Two passes of prefetching, then the gets. */
static unsigned floor_multi(const struct bench *b, const uint64_t keys[][2])
{
    const struct floor *f = &b->floor;
    uint64_t hash[MULTI];
    unsigned found = 0;

    for (unsigned i = 0; i < MULTI; i++) {
        hash[i] = entry_hash(b->zone, keys[i], KEY_BYTES);
        __builtin_prefetch(floor_bucket(f, hash[i]));
    }
    for (unsigned i = 0; i < MULTI; i++) {
        struct floor_bucket *bucket = floor_bucket(f, hash[i]);

        for (unsigned s = 0; s < SLOTS; s++) {
            uint64_t word = bucket->slot[s].tag_at;

            if (word >> 48 == (hash[i] & 0xffff) && word != 0) {
                const char *at = f->log + (word & ((UINT64_C(1) << 48) - 1));

                __builtin_prefetch(at);
                __builtin_prefetch(at + 64);
            }
        }
    }
    for (unsigned i = 0; i < MULTI; i++) {
        struct floor_entry *entry;

        if (floor_find(f, hash[i], key_slice(keys[i]), &entry) == NULL)
            continue;
        memcpy(out + i * 512, entry->bytes + entry->key_len, entry->value_len);
        found++;
    }
    return found;
}

/* ---- the engine ---- */

static bool engine_get(const struct bench *b, struct slice bytes, uint64_t now_ms)
{
    struct table_key key = table_key(b->zone, bytes);
    struct table_value found;

    return table_get(b->zone, &key, now_ms, out, sizeof(out), &found) == TABLE_HIT;
}

/* As a server reads: it learns the length before it makes room for the value. */
static bool engine_find(const struct bench *b, struct slice bytes, uint64_t now_ms)
{
    struct table_key key = table_key(b->zone, bytes);
    struct table_hit hit;

    return table_find(b->zone, &key, now_ms, &hit) == TABLE_HIT &&
           table_copy(b->zone, &hit, NULL, out) == TABLE_HIT;
}

static bool engine_set(struct bench *b, struct slice bytes, struct slice val, uint64_t now_ms)
{
    struct table_key key = table_key(b->zone, bytes);
    struct table_write write = {.value = val};

    return table_set(b->zone, &key, &write, now_ms) == TABLE_STORED;
}

static unsigned engine_multi(const struct bench *b, const uint64_t keys[][2], uint64_t now_ms)
{
    struct table_key key[MULTI];
    struct table_value value_found;
    unsigned found = 0;

    for (unsigned i = 0; i < MULTI; i++)
        key[i] = table_key(b->zone, key_slice(keys[i]));
    table_prefetch_many(b->zone, key, MULTI);
    for (unsigned i = 0; i < MULTI; i++)
        found += table_get(b->zone, &key[i], now_ms, out + i * 512, 512, &value_found) == TABLE_HIT;
    return found;
}

/* ---- one measurement: operations over a range of keys ---- */

enum op { OP_GET, OP_FIND, OP_MULTI, OP_SET, OP_GET_APART, OP_SET_APART };

/* Until here everything is done before anything behind it begins. Back to back, the processor
 * overlaps as many gets as it has room for instructions, and the floor has so few that it is several;
 * a server or a script does other things in between. */
static void come_to_rest(void)
{
#if defined(__x86_64__)
    __asm__ volatile("lfence" ::: "memory");
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static bool is_apart(enum op op)
{
    return op == OP_GET_APART || op == OP_SET_APART;
}

static unsigned run_engine(struct bench *b, enum op op, const struct batch *batch)
{
    uint64_t now_ms = clock_now_ms();
    struct slice val = slice_make(value, b->value_bytes);
    unsigned done = 0;

    for (unsigned i = 0; i < BATCH; i += op == OP_MULTI ? MULTI : 1) {
        if (is_apart(op))
            come_to_rest();
        if (op == OP_GET || op == OP_GET_APART)
            done += engine_get(b, key_slice(batch->key[i]), now_ms);
        else if (op == OP_FIND)
            done += engine_find(b, key_slice(batch->key[i]), now_ms);
        else if (op == OP_SET || op == OP_SET_APART)
            done += engine_set(b, key_slice(batch->key[i]), val, now_ms);
        else
            done += engine_multi(b, &batch->key[i], now_ms);
    }
    return done;
}

static unsigned run_floor(struct bench *b, enum op op, const struct batch *batch)
{
    struct slice val = slice_make(value, b->value_bytes);
    unsigned done = 0;

    for (unsigned i = 0; i < BATCH; i += op == OP_MULTI ? MULTI : 1) {
        if (is_apart(op))
            come_to_rest();
        if (op == OP_GET || op == OP_FIND || op == OP_GET_APART) {
            done += floor_get(b, key_slice(batch->key[i]));
        } else if (op == OP_SET || op == OP_SET_APART) {
            floor_set(b, key_slice(batch->key[i]), val);
            done++;
        } else {
            done += floor_multi(b, &batch->key[i]);
        }
    }
    return done;
}

struct range {
    uint32_t first, n;
};

/* ns an operation over this many batches; *share: of them that found or stored their key. */
static double time_ops(struct bench *b, bool engine, enum op op, struct range range,
                       unsigned batches, double *share)
{
    static struct batch batch;
    uint64_t ns = 0, done = 0;

    for (unsigned i = 0; i < batches; i++) {
        uint64_t start;

        fill_batch(b, &batch, range.first, range.n);
        start = cpu_ns();
        done += engine ? run_engine(b, op, &batch) : run_floor(b, op, &batch);
        ns += cpu_ns() - start;
    }
    *share = (double)done / ((double)batches * BATCH);
    return (double)ns / ((double)batches * BATCH);
}

static void judge(struct bench *b, bool good)
{
    b->failed = b->failed || !good;
    puts(good ? "" : "   MISSED");
}

static void compare(struct bench *b, const char *name, enum op op, struct range range, double limit)
{
    unsigned batches = b->quick ? 8 : 80;
    double best[2] = {INFINITY, INFINITY}, share[2], ratio;

    if (b->only != NULL && strstr(name, b->only) == NULL)
        return;
    /* First what is done once only: raising the access bits of every key. */
    time_ops(b, true, op, range, 4 * batches, &share[1]);
    time_ops(b, false, op, range, 4 * batches, &share[0]);
    for (int round = 0; round < ROUNDS; round++) {
        for (int engine = 0; engine < 2; engine++) {
            double ns;

            time_ops(b, engine, op, range, batches / 4,
                     &share[engine]); /* the other's turn is over */
            ns = time_ops(b, engine, op, range, batches, &share[engine]);
            best[engine] = ns < best[engine] ? ns : best[engine];
        }
    }
    ratio = best[1] / best[0];
    printf("%-34s %8.1f %8.1f %7.2f   at most %.1f   %5.1f %%", name, best[0], best[1], ratio,
           limit, 100 * share[1]);
    judge(b, ratio <= limit);
    if (share[1] < 0.99 || share[0] < 0.99) {
        printf("  (only %.1f %% and, in the floor, %.1f %% of the keys were there)\n",
               100 * share[1], 100 * share[0]);
        b->failed = true;
    }
}

/* ---- several processes ---- */

struct lane {
    enum op op;
    struct range range;
    double rate; /* operations a second of processor time */
};

struct start_line {
    _Atomic unsigned ready;
    _Atomic bool go, stop;
};

static void run_lane(struct bench *b, struct lane *lane, struct start_line *line)
{
    static struct batch batch;
    struct errmsg msg = {""};
    uint64_t ns = 0, ops = 0;

    if (zone_join(b->zone, &msg) != ERR_OK) {
        fprintf(stderr, "bench engine: %s\n", msg.text);
        _exit(2);
    }
    b->seed ^= (uint64_t)getpid() << 20;
    atomic_fetch_add(&line->ready, 1);
    while (!atomic_load(&line->go))
        continue;
    while (!atomic_load_explicit(&line->stop, memory_order_relaxed)) {
        uint64_t start;

        fill_batch(b, &batch, lane->range.first, lane->range.n);
        start = cpu_ns();
        run_engine(b, lane->op, &batch);
        ns += cpu_ns() - start;
        ops += BATCH;
    }
    lane->rate = (double)ops * 1e9 / (double)ns;
    zone_leave(b->zone);
    _exit(0);
}

/* Run the lanes side by side for a while. lanes: in shared memory. */
static void race(struct bench *b, struct lane *lanes, unsigned n)
{
    struct start_line *line = shared_memory(sizeof(*line));
    pid_t pid[2];

    for (unsigned i = 0; i < n; i++) {
        pid[i] = fork();
        if (pid[i] < 0)
            die("fork");
        if (pid[i] == 0)
            run_lane(b, &lanes[i], line);
    }
    while (atomic_load(&line->ready) < n)
        usleep(100);
    atomic_store(&line->go, true);
    usleep(b->quick ? 50000 : 400000);
    atomic_store(&line->stop, true);
    for (unsigned i = 0; i < n; i++) {
        int status;

        if (waitpid(pid[i], &status, 0) != pid[i] || status != 0)
            die("a process of the bench failed");
    }
    munmap(line, sizeof(*line));
}

static double alone(struct bench *b, struct range range)
{
    struct lane *lanes = shared_memory(2 * sizeof(*lanes));
    double rate;

    lanes[0] = (struct lane){.op = OP_GET, .range = range};
    race(b, lanes, 1);
    rate = lanes[0].rate;
    munmap(lanes, 2 * sizeof(*lanes));
    return rate;
}

static void beside(struct bench *b, struct range range, enum op other, struct range other_range,
                   double rate[2])
{
    struct lane *lanes = shared_memory(2 * sizeof(*lanes));

    lanes[0] = (struct lane){.op = OP_GET, .range = range};
    lanes[1] = (struct lane){.op = other, .range = other_range};
    race(b, lanes, 2);
    rate[0] = lanes[0].rate;
    rate[1] = lanes[1].rate;
    munmap(lanes, 2 * sizeof(*lanes));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* Rates in millions a second: alone, and what becomes of it beside the other. */
static void compare_two(struct bench *b, const char *name, struct range range, enum op other,
                        struct range other_range, double limit)
{
    double one[RACES], two[RACES], ratio[RACES], rate[2], r;
    bool readers = other == OP_GET;

    if (b->only != NULL && strstr(name, b->only) == NULL)
        return;
    for (int i = 0; i < RACES; i++) {
        one[i] = alone(b, range);
        beside(b, range, other, other_range, rate);
        two[i] = readers ? rate[0] + rate[1] : rate[0];
        ratio[i] = two[i] / one[i];
    }
    r = median(ratio, RACES);
    printf("%-34s %8.2f %8.2f %7.2f   at least %.1f", name, median(one, RACES) / 1e6,
           median(two, RACES) / 1e6, r, limit);
    judge(b, r >= limit);
}

/* ---- */

static void fill(struct bench *b)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t start = cpu_ns();
    uint64_t key[2];

    for (uint32_t i = 0; i < b->keys; i++) {
        make_key(key, i);
        if (!engine_set(b, key_slice(key), slice_make(value, b->value_bytes), now_ms))
            die("a set failed");
    }
    printf("%u keys of %d bytes with values of %u bytes: %.0f ns a key to fill\n", b->keys,
           KEY_BYTES, b->value_bytes, (double)(cpu_ns() - start) / b->keys);
    for (uint32_t i = 0; i < b->keys; i++) {
        make_key(key, i);
        floor_set(b, key_slice(key), slice_make(value, b->value_bytes));
    }
}

static void open_zone(struct bench *b)
{
    struct zone_options options = {.name = "bench",
                                   .size_bytes = DATA_BYTES + DATA_BYTES / 4,
                                   .key_max_bytes = 1024,
                                   .populate = true};
    struct errmsg msg = {""};

    if (zone_create(&options, &b->zone, &msg) != ERR_OK || zone_join(b->zone, &msg) != ERR_OK) {
        fprintf(stderr, "bench engine: %s\n", msg.text);
        exit(2);
    }
}

static void run(struct bench *b)
{
    struct range hot = {0, HOT_KEYS}, all = {0, b->keys}, apart = {HOT_KEYS, HOT_KEYS};

    printf("\n%-34s %8s %8s %7s\n", "ns an operation", "floor", "engine", "ratio");
    compare(b, "get, 10 k hot keys", OP_GET, hot, READ_LIMIT);
    compare(b, "get, random over 640 MiB", OP_GET, all, READ_LIMIT);
    compare(b, "one get at a time, 10 k hot keys", OP_GET_APART, hot, READ_LIMIT);
    compare(b, "one get at a time, random", OP_GET_APART, all, READ_LIMIT);
    compare(b, "find and copy, 10 k hot keys", OP_FIND, hot, READ_LIMIT);
    compare(b, "find and copy, random over 640 MiB", OP_FIND, all, READ_LIMIT);
    compare(b, "multi-get of 16, random", OP_MULTI, all, READ_LIMIT);
    compare(b, "set, 10 k hot keys", OP_SET, hot, SET_LIMIT);
    compare(b, "set, random over 640 MiB", OP_SET, all, SET_LIMIT);
    compare(b, "one set at a time, 10 k hot keys", OP_SET_APART, hot, SET_LIMIT);
    compare(b, "one set at a time, random", OP_SET_APART, all, SET_LIMIT);
    printf("\n%-34s %8s %8s %7s\n", "million gets a second", "alone", "beside", "ratio");
    compare_two(b, "two readers, hot", hot, OP_GET, hot, TWO_LIMIT);
    compare_two(b, "two readers, random", all, OP_GET, all, TWO_LIMIT);
    compare_two(b, "reader beside a writer, random", all, OP_SET, all, WRITE_LIMIT);
    compare_two(b, "hot reader, writer of other keys", hot, OP_SET, apart, WRITE_LIMIT);
}

int main(int argc, char **argv)
{
    struct bench b = {.seed = UINT64_C(88172645463325252), .value_bytes = 100};
    int c;

    while ((c = getopt(argc, argv, "qo:v:")) != -1) {
        if (c == 'q')
            b.quick = true;
        else if (c == 'o')
            b.only = optarg;
        else if (c == 'v')
            b.value_bytes = (uint32_t)atoi(optarg);
        else
            return 2;
    }
    b.keys = (uint32_t)(DATA_BYTES / entry_size(KEY_BYTES, 0, 0, false, b.value_bytes));
    memset(value, 'v', sizeof(value));
    open_zone(&b);
    floor_open(&b);
    fill(&b);
    run(&b);
    zone_leave(b.zone);
    zone_destroy(b.zone);
    if (b.failed)
        printf("\nnot all of it is as it must be\n");
    return b.failed ? 1 : 0;
}
