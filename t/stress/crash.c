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
#include "workload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 24

struct worker {
    pid_t pid; /* 0 = none */
};

static struct worker workers[WORKERS_MAX];
static unsigned n_workers;
static unsigned set; /* workers in one set; n_workers is twice that while there are two */

static unsigned long number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
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

/* Whether this worker is one of those that are to end in good order. */
static bool told_to_leave(void)
{
    uint32_t n = atomic_load_explicit(&shared->leave, memory_order_relaxed);

    while (n > 0 && !atomic_compare_exchange_weak(&shared->leave, &n, n - 1))
        continue;
    return n > 0;
}

static _Noreturn void worker_main(uint64_t own_seed, pid_t parent)
{
    struct errmsg msg;

    seed = own_seed | 1;
    if (zone_join(zone, &msg) != ERR_OK) {
        bad_value(0, msg.text);
        _exit(1);
    }
    while (getppid() == parent && !told_to_leave()) {
        for (int n = 0; n < 256; n++)
            work_once();
    }
    zone_leave(zone);
    _exit(0);
}

/* --- the master ------------------------------------------------------------------------------- */

static struct {
    unsigned long kills;
    unsigned long in_lock;
    unsigned long in_reclaim;
    unsigned long with_stub;
    unsigned long pinned;
    unsigned long stops;
    unsigned long long_stops; /* over a second */
    unsigned long beside;     /* killed while two sets of workers were alive */
    unsigned long left;       /* ended in good order */
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
    bool lock = false, reclaim = false, stub = false, pinned = false;

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
    for (unsigned i = 0; i < LAYOUT_HAZARDS; i++)
        pinned |= atomic_load(&layout_owner(zone, id)->hazard[i]) != 0;
    totals.pinned += pinned;
    totals.in_lock += lock;
    totals.in_reclaim += reclaim;
    totals.with_stub += stub;
}

static void expect_nothing_left(uint32_t id)
{
    for (unsigned i = 0; id != 0 && i < LAYOUT_HAZARDS; i++) {
        if (atomic_load(&layout_owner(zone, id)->hazard[i]) != 0)
            fail("after repair", "a value is still pinned by the dead");
    }
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
    bool long_one = draw(8) == 0;

    kill(w->pid, SIGSTOP);
    usleep((useconds_t)(long_one ? 1010000 : 1000 + draw(20000)));
    kill(w->pid, SIGCONT);
    totals.stops++;
    totals.long_stops += long_one;
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
    totals.beside += n_workers > set;
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

/* As in a reload: a second set of workers begins beside the first, */
static void begin_second_set(void)
{
    for (unsigned i = set; i < 2 * set; i++)
        spawn(&workers[i]);
    n_workers = 2 * set;
}

/* and as many as there were before leave in good order, those that work elsewhere in the zone as
 * well as those in the middle of something. */
static void end_one_set(void)
{
    unsigned kept = 0;

    atomic_store(&shared->leave, set);
    for (unsigned gone = 0; gone < set; gone++) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);

        if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail("a worker that was told to leave", "it did not");
        if (owner_of(pid) != 0)
            fail("a worker that left", "its slot is still taken");
        for (unsigned i = 0; i < n_workers; i++) {
            if (workers[i].pid == pid)
                workers[i].pid = 0;
        }
        totals.left++;
    }
    for (unsigned i = 0; i < n_workers; i++) {
        if (workers[i].pid != 0)
            workers[kept++] = workers[i];
    }
    n_workers = set;
}

static void report(void)
{
    printf("kills %lu: %lu in a lock, %lu in reclaim, %lu with a stub, %lu with a value pinned; "
           "%lu beside a second set of workers; %lu suspect, %lu repairers\n",
           totals.kills, totals.in_lock, totals.in_reclaim, totals.with_stub, totals.pinned,
           totals.beside, totals.suspects, totals.repairers);
    printf("stops %lu, %lu of them over a second; %lu workers left in good order\n", totals.stops,
           totals.long_stops, totals.left);
    printf("repaired: %u locks, %u slots, %u slabs, %u stubs; %.1f us on average, %.1f at most\n",
           totals.repaired.locks, totals.repaired.slots, totals.repaired.slabs,
           totals.repaired.stubs, (double)totals.repair_ns / 1e3 / (double)totals.kills,
           (double)totals.repair_ns_max / 1e3);
    printf("reads %llu, hits %llu, lent %llu, stores %llu, full %llu, bad %llu\n",
           (unsigned long long)shared->reads, (unsigned long long)shared->hits,
           (unsigned long long)shared->lent,
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
    n_workers = n_workers < 1 ? 1 : n_workers > WORKERS_MAX / 2 ? WORKERS_MAX / 2 : n_workers;
    set = n_workers;
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
            if (n == 10)
                begin_second_set();
            if (n == 30)
                end_one_set();
            kill_one();
            if (n % 10 == 9)
                expect_sound(true);
        }
        kill_all();
        n_workers = set;
    }
    report();
    if (shared->hits == 0 || shared->stores == 0)
        fail("figures", "nothing was stored and read");
    zone_leave(zone);
    zone_destroy(zone);
    return 0;
}
