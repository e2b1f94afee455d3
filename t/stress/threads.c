/* The workload of crash.c as threads with a handle each on one mapping, and a sweeper: what
 * ThreadSanitizer can watch, because it does not see other processes (./dev tsan builds it so; the
 * daemon itself has no threads). Fails on a wrong value or a problem that the validator finds.
 *
 * STRESS_THREADS (4), STRESS_OPERATIONS (20000) of each, STRESS_BYTES (8 MiB), STRESS_SEED. */
#include "common/clock.h"
#include "shm/check.h"
#include "shm/layout.h"
#include "shm/sweep.h"
#include "workload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX 16

struct thread {
    pthread_t id;
    struct zone handle;
    uint64_t seed;
    unsigned long operations;
};

static struct thread threads[THREADS_MAX];
static _Atomic bool over;

static unsigned long number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "threads: %s: %s\n", what, detail);
    exit(1);
}

static void *work(void *arg)
{
    struct thread *t = arg;

    zone = &t->handle;
    seed = t->seed;
    value = malloc(VALUE_CAP);
    for (unsigned long n = 0; value != NULL && n < t->operations; n++)
        work_once();
    if (value == NULL)
        bad_value(0, "no memory");
    free(value);
    return NULL;
}

static void *sweep(void *arg)
{
    while (!atomic_load(&over))
        sweep_tick(arg, clock_now_ms(), (struct sweep_budget){1000, 1000000});
    return NULL;
}

static void start(struct thread *t, void *(*run)(void *), void *arg)
{
    struct errmsg msg;

    t->handle = *zone;
    t->seed = draw(UINT64_MAX) | 1;
    if (zone_join(&t->handle, &msg) != ERR_OK)
        fail("join", msg.text);
    if (pthread_create(&t->id, NULL, run, arg) != 0)
        fail("start", "no thread");
}

static void expect_sound(void)
{
    struct check_report report = {0};

    if (check_zone(zone, false, &report) != ERR_OK || report.problems > 0)
        fail("validator", report.first);
    if (atomic_load(&shared->bad) > 0)
        fail("bad value", shared->first);
    if (shared->hits == 0 || shared->stores == 0 || shared->lent == 0)
        fail("figures", "nothing was stored, read and lent");
}

int main(void)
{
    static struct shared told;
    static struct thread sweeper;
    struct zone_options options = {.name = "threads",
                                   .size_bytes = number("STRESS_BYTES", 8u << 20),
                                   .key_max_bytes = 1024,
                                   .populate = true};
    unsigned n = (unsigned)number("STRESS_THREADS", 4);
    struct errmsg msg;

    shared = &told;
    seed = number("STRESS_SEED", clock_now_ns()) | 1;
    printf("STRESS_SEED=%llu\n", (unsigned long long)seed);
    n = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
    if (zone_create(&options, &zone, &msg) != ERR_OK)
        fail("zone", msg.text);
    start(&sweeper, sweep, &sweeper.handle);
    for (unsigned i = 0; i < n; i++) {
        threads[i].operations = number("STRESS_OPERATIONS", 20000);
        start(&threads[i], work, &threads[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i].id, NULL);
        zone_leave(&threads[i].handle);
    }
    atomic_store(&over, true);
    pthread_join(sweeper.id, NULL);
    zone_leave(&sweeper.handle);
    if (zone_join(zone, &msg) != ERR_OK)
        fail("join", msg.text);
    expect_sound();
    printf("reads %llu, hits %llu, lent %llu, stores %llu, full %llu, bad %llu\n",
           (unsigned long long)shared->reads, (unsigned long long)shared->hits,
           (unsigned long long)shared->lent, (unsigned long long)shared->stores,
           (unsigned long long)shared->full, (unsigned long long)shared->bad);
    zone_leave(zone);
    zone_destroy(zone);
    return 0;
}
