/* Workers use one zone at full speed; the master kills one after the other with SIGKILL wherever it
 * happens to be, repairs, and checks. Every value names its key and carries a checksum; workers
 * verify each one they read. Fails on a wrong value, a problem that the validator finds, or a lock,
 * slab or stub left behind.
 *
 * STRESS_KILLS (300), STRESS_WORKERS (3), STRESS_BYTES (8 MiB), STRESS_SEED. */
#include "common/clock.h"
#include "shm/ban.h"
#include "shm/check.h"
#include "shm/layout.h"
#include "shm/lease.h"
#include "shm/lock.h"
#include "shm/repair.h"
#include "shm/slab.h"
#include "shm/stub.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS        4000
#define WORKERS_MAX 16
#define VALUE_CAP   (900u << 10)
#define LEASE_MS    2000

/* What the processes tell each other. */
struct shared {
    _Atomic uint64_t reads;
    _Atomic uint64_t hits;
    _Atomic uint64_t stores;
    _Atomic uint64_t bad;
    _Atomic uint64_t full;
    char first[600];
};

/* At the start of every value. */
struct stamp {
    uint32_t key;
    uint32_t len;
    uint64_t sum;
};

struct worker {
    pid_t pid; /* 0 = none */
};

static struct zone *zone;
static struct shared *shared;
static struct worker workers[WORKERS_MAX];
static unsigned n_workers;
static uint64_t seed;
static char *value;

static unsigned long number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static uint64_t draw(uint64_t below)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (seed * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "crash: %s: %s\n", what, detail);
    for (unsigned i = 0; i < n_workers; i++) {
        if (workers[i].pid > 0)
            kill(workers[i].pid, SIGKILL);
    }
    exit(1);
}

static uint64_t checksum(const char *data, size_t len, uint64_t key)
{
    uint64_t sum = (key + 1) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t word;

    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&word, data, 8);
        sum = (sum ^ word) * UINT64_C(0x100000001b3);
        sum ^= sum >> 29;
    }
    for (; len > 0; data++, len--)
        sum = (sum ^ (unsigned char)*data) * UINT64_C(0x100000001b3);
    return sum;
}

/* --- the worker ------------------------------------------------------------------------------- */

static void bad_value(uint32_t key, const char *why)
{
    if (atomic_fetch_add(&shared->bad, 1) == 0)
        snprintf(shared->first, sizeof(shared->first), "key %u: %s", key, why);
}

static struct table_key name_of(uint32_t i, char text[32])
{
    return table_key(zone, slice_make(text, (size_t)snprintf(text, 32, "k%u/%u", i % 16, i)));
}

static size_t random_len(void)
{
    uint64_t dice = draw(1000);

    if (dice < 4)
        return sizeof(struct stamp) + draw(VALUE_CAP - sizeof(struct stamp));
    if (dice < 100)
        return sizeof(struct stamp) + draw(16000);
    return sizeof(struct stamp) + draw(400);
}

static struct slice make_value(uint32_t key)
{
    struct stamp stamp = {.key = key, .len = (uint32_t)random_len()};
    uint64_t fill = draw(UINT64_MAX);
    char *body = value + sizeof(stamp);
    size_t n = stamp.len - sizeof(stamp);

    for (size_t i = 0; i < n; i += 8, fill = fill * 5 + 1)
        memcpy(body + i, &fill, n - i < 8 ? n - i : 8);
    stamp.sum = checksum(body, n, key);
    memcpy(value, &stamp, sizeof(stamp));
    return slice_make(value, stamp.len);
}

static void verify(uint32_t key, size_t len)
{
    struct stamp stamp;

    atomic_fetch_add_explicit(&shared->hits, 1, memory_order_relaxed);
    if (len < sizeof(stamp)) {
        bad_value(key, "shorter than its stamp");
        return;
    }
    memcpy(&stamp, value, sizeof(stamp));
    if (stamp.key != key)
        bad_value(key, "another key's value");
    else if (stamp.len != len)
        bad_value(key, "another length");
    else if (stamp.sum != checksum(value + sizeof(stamp), len - sizeof(stamp), key))
        bad_value(key, "torn");
}

static void op_get(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    struct table_hit hit;

    atomic_fetch_add_explicit(&shared->reads, 1, memory_order_relaxed);
    for (int n = 0; n < 4; n++) {
        enum table_result r = table_find(zone, &key, clock_now_ms(), &hit);

        if (r != TABLE_HIT)
            return;
        if (hit.value_len > VALUE_CAP) {
            bad_value(i, "longer than any that was stored");
            return;
        }
        if (table_copy(zone, &hit, NULL, value) == TABLE_HIT) {
            verify(i, hit.value_len);
            return;
        }
    }
    if (table_read_locked(zone, &key, clock_now_ms(), &hit, NULL, 0, value, VALUE_CAP) == TABLE_HIT)
        verify(i, hit.value_len);
}

static void count_store(enum table_result r)
{
    if (r == TABLE_STORED)
        atomic_fetch_add_explicit(&shared->stores, 1, memory_order_relaxed);
    if (r == TABLE_FULL)
        atomic_fetch_add_explicit(&shared->full, 1, memory_order_relaxed);
}

static void op_set(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    struct slice tag = SLICE_LIT("even");
    uint64_t now = clock_now_ms();
    struct table_write write = {
        .value = make_value(i),
        .expires_ms = draw(3) == 0 ? now + 1 + draw(200) : 0,
        .tags = &tag,
        .n_tags = i % 8 == 0,
    };

    count_store(table_set(zone, &key, &write, now));
}

static void op_fill(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();
    struct lease lease;
    struct table_write write;

    if (lease_fill_begin(zone, &key, now, now + LEASE_MS, &lease) != LEASE_GRANTED)
        return;
    if (draw(4) == 0) {
        while (lease_fail(zone, &key, &lease) == TABLE_BUSY)
            continue;
        return;
    }
    write = (struct table_write){.value = make_value(i)};
    count_store(lease_fill_end(zone, &key, &lease, &write, clock_now_ms()));
}

static void op_write(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();
    struct lease lease;
    struct table_write write;

    if (lease_write_begin(zone, &key, now, now + LEASE_MS, &lease) == LEASE_BUSY)
        return;
    write = (struct table_write){.value = make_value(i)};
    if (lease.token == 0 || draw(4) == 0)
        lease_write_abort(zone, &key, &lease, clock_now_ms());
    else
        count_store(lease_write_end(zone, &key, &lease, &write, clock_now_ms()));
}

static void op_rare(void)
{
    char text[16];

    switch (draw(8)) {
    case 0:
        zone_clear(zone);
        break;
    case 1:
        ban_tag(zone, SLICE_LIT("even"));
        break;
    default:
        snprintf(text, sizeof(text), "k%u/*%u", (unsigned)draw(16), (unsigned)draw(10));
        ban_add(zone, slice_cstr(text));
    }
}

static void op_expire(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();

    table_expire(zone, &key, NULL, draw(2) == 0 ? 0 : now + draw(500), now);
}

static void work_once(void)
{
    uint32_t i = (uint32_t)draw(KEYS);
    uint64_t dice = draw(10000);
    char text[32];
    struct table_key key;

    if (dice < 4000) {
        op_get(i);
    } else if (dice < 8000) {
        op_set(i);
    } else if (dice < 8600) {
        key = name_of(i, text);
        table_delete(zone, &key, NULL, clock_now_ms());
    } else if (dice < 9100) {
        op_fill(i);
    } else if (dice < 9600) {
        op_write(i);
    } else if (dice < 9998) {
        op_expire(i);
    } else {
        op_rare();
    }
}

static _Noreturn void worker_main(uint64_t own_seed, pid_t parent)
{
    struct errmsg msg;

    seed = own_seed | 1;
    if (zone_join(zone, &msg) != ERR_OK) {
        bad_value(0, msg.text);
        _exit(1);
    }
    while (getppid() == parent) {
        for (int n = 0; n < 256; n++)
            work_once();
    }
    _exit(0);
}

/* --- the master ------------------------------------------------------------------------------- */

static struct {
    unsigned long kills;
    unsigned long in_lock;
    unsigned long in_reclaim;
    unsigned long with_stub;
    unsigned long stops;
    unsigned long suspects;
    unsigned long repairers; /* killed while they repaired */
    struct repair_report repaired;
    uint64_t repair_ns;
    uint64_t repair_ns_max;
} totals;

static void spawn(struct worker *w)
{
    uint64_t own_seed = draw(UINT64_MAX);
    pid_t parent = getpid();

    fflush(NULL);
    w->pid = fork();
    if (w->pid < 0)
        fail("fork", strerror(errno));
    if (w->pid == 0)
        worker_main(own_seed, parent);
}

static uint32_t owner_of(pid_t pid)
{
    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        if ((pid_t)(atomic_load(&layout_owner(zone, id)->identity) & UINT32_MAX) == pid)
            return id;
    }
    return 0;
}

/* Where it died: for the figures at the end. */
static void look_at_the_dead(pid_t pid)
{
    uint32_t id = owner_of(pid);
    bool lock = false, reclaim = false, stub = false;

    if (id == 0)
        return;
    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++)
        lock |= lock_owner(&zone->stripes[i]) == id;
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint64_t word = slab_load(zone, i);

        reclaim |= slab_state(word) == SLAB_RECLAIM && slab_owner(word) == id;
    }
    for (uint32_t i = 0; i < zone->g.n_stubs; i++)
        stub |= atomic_load(&layout_stub(zone, i)->claim) == id;
    totals.in_lock += lock;
    totals.in_reclaim += reclaim;
    totals.with_stub += stub;
}

static void expect_nothing_left(uint32_t id)
{
    for (uint32_t i = 0; id != 0 && i < LAYOUT_STRIPES; i++) {
        if (lock_owner(&zone->stripes[i]) == id)
            fail("after repair", "a lock is still held by the dead");
    }
    for (uint32_t i = 0; id != 0 && i < zone->g.n_slabs; i++) {
        uint64_t word = slab_load(zone, i);

        if (slab_owner(word) == id && slab_state(word) != SLAB_FREE)
            fail("after repair", "a slab is still held by the dead");
    }
    for (uint32_t i = 0; id != 0 && i < zone->g.n_stubs; i++) {
        const struct stub *s = layout_stub(zone, i);

        if (atomic_load(&s->claim) != 0 && stub_involves(s, id))
            fail("after repair", "a stub is still held by the dead");
    }
}

/* A repairer may die as well; whoever comes next goes on with both. */
static void repair_by_one_who_dies(pid_t dead)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        fail("fork", strerror(errno));
    if (pid == 0) {
        struct errmsg msg;

        if (zone_join(zone, &msg) == ERR_OK)
            repair_process(zone, dead, false, NULL);
        pause();
        _exit(0);
    }
    usleep((useconds_t)draw(600));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    repair_process(zone, pid, false, &totals.repaired);
    totals.repairers++;
}

static void repair(pid_t pid, uint32_t id, bool suspect)
{
    uint64_t begin = clock_now_ns();
    uint64_t ns;

    if (repair_process(zone, pid, suspect, &totals.repaired) != (id != 0))
        fail("repair", "it did not find the slot");
    ns = clock_now_ns() - begin;
    totals.repair_ns += ns;
    if (ns > totals.repair_ns_max)
        totals.repair_ns_max = ns;
    if (owner_of(pid) != 0)
        fail("repair", "the slot is still taken");
    expect_nothing_left(id);
}

static void reap(struct worker *w, int signal)
{
    int status;

    if (waitpid(w->pid, &status, 0) != w->pid)
        fail("waitpid", strerror(errno));
    if (!WIFSIGNALED(status) || WTERMSIG(status) != signal)
        fail("a worker ended", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "by itself");
    look_at_the_dead(w->pid);
    if (signal == SIGKILL && draw(16) == 0)
        repair_by_one_who_dies(w->pid);
    repair(w->pid, owner_of(w->pid), signal != SIGKILL);
    w->pid = 0;
}

static void expect_sound(bool live)
{
    struct check_report report;
    char text[600];

    for (int n = 0; check_zone(zone, live, &report) != ERR_OK; n++) {
        if (n == 20) /* seconds, on a machine that starves whoever holds the lock */
            fail("validator", report.first);
    }
    if (report.problems > 0) {
        snprintf(text, sizeof(text), "%llu problems: %s", (unsigned long long)report.problems,
                 report.first);
        fail(live ? "validator, live" : "validator", text);
    }
    if (atomic_load(&shared->bad) > 0)
        fail("bad value", shared->first);
}

/* Hold a worker still for a moment, perhaps inside a lock: the others must go on or say BUSY. */
static void stop_for_a_while(struct worker *w)
{
    kill(w->pid, SIGSTOP);
    usleep((useconds_t)(1000 + draw(20000)));
    kill(w->pid, SIGCONT);
    totals.stops++;
}

static void kill_one(void)
{
    struct worker *w = &workers[draw(n_workers)];
    bool suspect;

    usleep((useconds_t)draw(2500));
    if (draw(64) == 0)
        stop_for_a_while(w);
    suspect = draw(50) == 0;
    kill(w->pid, suspect ? SIGABRT : SIGKILL);
    reap(w, suspect ? SIGABRT : SIGKILL);
    totals.suspects += suspect;
    totals.kills++;
    sweep_tick(zone, clock_now_ms(), (struct sweep_budget){4096, 2000000});
    spawn(w);
}

/* All at once: the dead hold what the repair of others needs. */
static void kill_all(void)
{
    for (unsigned i = 0; i < n_workers; i++)
        kill(workers[i].pid, SIGKILL);
    for (unsigned i = 0; i < n_workers; i++) {
        reap(&workers[i], SIGKILL);
        totals.kills++;
    }
    expect_sound(false);
}

static void report(void)
{
    printf("kills %lu: %lu in a lock, %lu in reclaim, %lu with a stub; %lu suspect, %lu repairers, "
           "%lu stops\n",
           totals.kills, totals.in_lock, totals.in_reclaim, totals.with_stub, totals.suspects,
           totals.repairers, totals.stops);
    printf("repaired: %u locks, %u slots, %u slabs, %u stubs; %.1f us on average, %.1f at most\n",
           totals.repaired.locks, totals.repaired.slots, totals.repaired.slabs,
           totals.repaired.stubs, (double)totals.repair_ns / 1e3 / (double)totals.kills,
           (double)totals.repair_ns_max / 1e3);
    printf("reads %llu, hits %llu, stores %llu, full %llu, bad %llu\n",
           (unsigned long long)shared->reads, (unsigned long long)shared->hits,
           (unsigned long long)shared->stores, (unsigned long long)shared->full,
           (unsigned long long)shared->bad);
}

static void setup(void)
{
    struct zone_options options = {.name = "stress",
                                   .size_bytes = number("STRESS_BYTES", 8u << 20),
                                   .key_max_bytes = 1024,
                                   .populate = true};
    struct rlimit no_core = {0, 0};
    struct errmsg msg;

    setrlimit(RLIMIT_CORE, &no_core);
    seed = number("STRESS_SEED", clock_now_ns()) | 1;
    printf("STRESS_SEED=%llu\n", (unsigned long long)seed);
    n_workers = (unsigned)number("STRESS_WORKERS", 3);
    n_workers = n_workers < 1 ? 1 : n_workers > WORKERS_MAX ? WORKERS_MAX : n_workers;
    value = malloc(VALUE_CAP);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (value == NULL || shared == MAP_FAILED)
        fail("setup", "no memory");
    if (zone_create(&options, &zone, &msg) != ERR_OK || zone_join(zone, &msg) != ERR_OK)
        fail("setup", msg.text);
}

int main(void)
{
    unsigned long kills = number("STRESS_KILLS", 300);

    setup();
    while (totals.kills < kills) {
        for (unsigned i = 0; i < n_workers; i++)
            spawn(&workers[i]);
        for (int n = 0; n < 40 && totals.kills < kills; n++) {
            kill_one();
            if (n % 10 == 9)
                expect_sound(true);
        }
        kill_all();
    }
    report();
    if (shared->hits == 0 || shared->stores == 0)
        fail("figures", "nothing was stored and read");
    zone_leave(zone);
    zone_destroy(zone);
    return 0;
}
