/* The index follows the entries: splits and merges under readers and writers, and killed at single
 * instructions in the middle of either. */
#include "shm/check.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/repair.h"
#include "shm/sweep.h"
/* Last: its zone must not be in sight of the headers above. */
#include "zone_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB(n) ((uint64_t)(n) << 20)

/* What forked processes tell the test. */
struct shared {
    _Atomic uint32_t stored; /* keys below this one are stored, unless they were evicted */
    _Atomic uint64_t hits;
    _Atomic uint64_t bad;
    _Atomic bool stop;
};

static struct shared *shared;

static void open_zone(uint64_t size)
{
    zone_open(size, 1024);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
}

static void close_zone(void)
{
    zone_close();
    munmap(shared, sizeof(*shared));
}

static void setup(void)
{
    open_zone(MIB(16));
}

/* Each kill leaves a slab that is mostly empty. */
static void setup_large(void)
{
    open_zone(MIB(64));
}

static struct table_key number_key(uint32_t i, char text[16])
{
    return table_key(zone, slice_make(text, (size_t)snprintf(text, 16, "n%u", i)));
}

/* The value says which key it belongs to. */
static enum table_result put_number(uint32_t i)
{
    char text[16];
    uint32_t value = i * 2654435761u;

    return put_bytes(number_key(i, text), &value, sizeof(value));
}

/* 1 found and right, 0 not found, -1 wrong. */
static int get_number(uint32_t i)
{
    char text[16];
    struct table_key key = number_key(i, text);
    uint32_t value[2];
    long len = read_value(zone, &key, NOW, value, sizeof(value));

    if (len < 0)
        return 0;
    return len == 4 && value[0] == i * 2654435761u ? 1 : -1;
}

static enum table_result drop_number(uint32_t i)
{
    char text[16];
    struct table_key key = number_key(i, text);

    return table_delete(zone, &key, NULL, NOW);
}

static uint64_t heads(void)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++)
        n += index_array(zone, &zone->stripes[i]).primary;
    return n;
}

static uint64_t heads_at_first(void)
{
    return (uint64_t)LAYOUT_STRIPES << zone->g.block_shift;
}

static uint32_t index_slabs(void)
{
    return atomic_load(&zone->sb->blocks.slabs);
}

static void tick(void)
{
    sweep_tick(zone, NOW, (struct sweep_budget){4096, 20000000});
}

/* Once over all stripes, at least. */
static void sweep_all(void)
{
    for (int i = 0; i < 2 * LAYOUT_STRIPES / 4 + 8; i++)
        tick();
}

/* --- one process ------------------------------------------------------------------------------ */

START_TEST(grows_without_losing_an_entry)
{
    uint32_t n = 50000;

    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(get_number(i), 1);
    ck_assert_uint_eq(table_count(zone), n);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
    ck_assert_uint_gt(heads(), 2 * heads_at_first());
    ck_assert_uint_gt(index_slabs(), 0);
}
END_TEST

START_TEST(large_values_need_no_more_than_the_first_buckets)
{
    static char value[10000];

    for (uint32_t i = 0; i < 4000; i++) {
        char text[16];

        ck_assert_int_eq(put_bytes(number_key(i, text), value, sizeof(value)), TABLE_STORED);
    }
    ck_assert_uint_eq(heads(), heads_at_first());
    ck_assert_uint_le(index_slabs(), 1);
}
END_TEST

/* The smallest entries there are: the index takes its quarter, and no set fails. */
START_TEST(no_more_than_a_quarter)
{
    for (uint32_t i = 0; i < 600000; i++) {
        char text[8];
        struct table_key key =
            table_key(zone, slice_make(text, (size_t)snprintf(text, 8, "%x", i)));

        ck_assert_int_eq(put_bytes(key, "", 0), TABLE_STORED);
        ck_assert_uint_le(index_slabs(), zone->g.n_slabs / 4);
    }
    ck_assert_uint_gt(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(shrinks_when_there_is_less)
{
    uint32_t n = 120000;
    uint64_t full_heads;
    uint32_t full_slabs;

    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    full_heads = heads();
    full_slabs = index_slabs();
    for (uint32_t i = 0; i < n; i++) {
        if (i % 16 != 0)
            drop_number(i);
    }
    for (int i = 0; i < 8; i++)
        sweep_all();
    expect_sound();
    ck_assert_uint_lt(heads(), full_heads / 2);
    ck_assert_uint_lt(index_slabs(), full_slabs / 2);
    for (uint32_t i = 0; i < n; i += 16)
        ck_assert_int_eq(get_number(i), 1);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    ck_assert_uint_gt(heads(), full_heads / 2);
}
END_TEST

/* A ref from before a merge must not stand for a bucket that is something else by now. */
START_TEST(a_hit_from_before_a_merge_is_overtaken)
{
    static struct table_hit hits[2000];
    static struct table_key keys[2000];
    static char texts[2000][16];
    uint32_t n = 60000;
    unsigned overtaken = 0;
    uint32_t value;

    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    for (uint32_t i = 0; i < 2000; i++) {
        keys[i] = number_key(i, texts[i]);
        ck_assert_int_eq(table_find(zone, &keys[i], NOW, &hits[i]), TABLE_HIT);
    }
    for (uint32_t i = 2000; i < n; i++)
        drop_number(i);
    for (int i = 0; i < 8; i++)
        sweep_all();
    for (uint32_t i = 0; i < 2000; i++) {
        if (table_copy(zone, &hits[i], NULL, &value) == TABLE_OVERTAKEN)
            overtaken++;
        else
            ck_assert_uint_eq(value, i * 2654435761u);
    }
    ck_assert_uint_gt(overtaken, 1000);
}
END_TEST

/* A walk sees each key that is there all the time once, whatever happens between its steps. */
static uint8_t seen[20000];
static uint32_t next_new;

static uint32_t number_of(struct slice key)
{
    char text[16] = "";

    memcpy(text, key.data, key.len < sizeof(text) ? key.len : sizeof(text) - 1);
    return (uint32_t)strtoul(text + 1, NULL, 10);
}

static void visit_and_store(void *arg, struct slice key, const struct table_hit *hit)
{
    uint32_t i = number_of(key);

    (void)arg;
    (void)hit;
    if (i >= sizeof(seen))
        return;
    seen[i]++;
    for (int n = 0; n < 5; n++)
        put_number(next_new++);
}

static void visit_and_drop(void *arg, struct slice key, const struct table_hit *hit)
{
    uint32_t i = number_of(key);

    (void)arg;
    (void)hit;
    if (i < sizeof(seen))
        seen[i]++;
    else
        drop_number(i);
}

static void walk_all(void (*visit)(void *, struct slice, const struct table_hit *), bool sweep)
{
    memset(seen, 0, sizeof(seen));
    for (unsigned s = 0; s < table_stripes(zone); s++) {
        ck_assert_int_eq(table_walk(zone, s, NOW, visit, NULL), TABLE_HIT);
        if (sweep)
            tick();
    }
    for (uint32_t i = 0; i < sizeof(seen); i++)
        ck_assert_msg(seen[i] == 1, "key %u (%d) was visited %u times", i, get_number(i), seen[i]);
}

START_TEST(a_walk_meets_each_key_once)
{
    uint64_t before;

    for (uint32_t i = 0; i < sizeof(seen); i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    next_new = sizeof(seen);
    before = heads();
    walk_all(visit_and_store, false);
    ck_assert_uint_gt(heads(), before + before / 2);
    walk_all(visit_and_drop, true);
    walk_all(visit_and_drop, true);
}
END_TEST

/* Random sets, gets and deletes of tiny values in phases of many and of few keys. */
#define MODEL_KEYS 80000

static void random_phase(uint8_t *there, uint64_t *random, unsigned sets)
{
    for (int n = 0; n < 100000; n++) {
        uint32_t i = (uint32_t)(next_random(random) % MODEL_KEYS);
        unsigned dice = (unsigned)(next_random(random) % 100);

        if (dice < sets) {
            ck_assert_int_eq(put_number(i), TABLE_STORED);
            there[i] = 1;
        } else if (dice < 80) {
            ck_assert_int_eq(drop_number(i) == TABLE_STORED, there[i]);
            there[i] = 0;
        } else {
            ck_assert_int_eq(get_number(i), there[i]);
        }
        if (n % 20000 == 0) {
            sweep_all();
            expect_sound();
        }
    }
}

START_TEST(random_tiny_values)
{
    uint8_t *there = calloc(MODEL_KEYS, 1);
    uint64_t random = test_seed();

    for (int round = 0; round < 2; round++) {
        random_phase(there, &random, 70);
        random_phase(there, &random, 5);
    }
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
    free(there);
}
END_TEST

/* --- many processes --------------------------------------------------------------------------- */

static void join(void)
{
    struct errmsg msg;

    if (zone_join(zone, &msg) != ERR_OK)
        _exit(3);
}

static _Noreturn void write_share(uint32_t first, uint32_t n)
{
    join();
    for (uint32_t i = first; i < first + n; i++) {
        enum table_result r;

        while ((r = put_number(i)) == TABLE_BUSY)
            continue;
        if (r != TABLE_STORED || (get_number(i) < 0))
            atomic_fetch_add(&shared->bad, 1);
    }
    zone_leave(zone);
    _exit(0);
}

static _Noreturn void read_until_stopped(uint32_t below, uint64_t random)
{
    join();
    while (!atomic_load(&shared->stop)) {
        int found = get_number((uint32_t)(next_random(&random) % below));

        if (found < 0)
            atomic_fetch_add(&shared->bad, 1);
        else if (found > 0)
            atomic_fetch_add(&shared->hits, 1);
    }
    zone_leave(zone);
    _exit(0);
}

static void reap(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

START_TEST(grows_under_readers_and_writers)
{
    pid_t readers[2], writers[3];
    uint32_t share = 20000;
    struct check_report report;

    for (unsigned i = 0; i < 2; i++) {
        readers[i] = fork();
        if (readers[i] == 0)
            read_until_stopped(3 * share, i + 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        writers[i] = fork();
        if (writers[i] == 0)
            write_share(i * share, share);
    }
    ck_assert_int_eq(check_zone(zone, true, &report), ERR_OK);
    ck_assert_msg(report.problems == 0, "%s", report.first);
    for (unsigned i = 0; i < 3; i++)
        reap(writers[i]);
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < 2; i++)
        reap(readers[i]);
    ck_assert_uint_eq(atomic_load(&shared->bad), 0);
    ck_assert_uint_gt(atomic_load(&shared->hits), 0);
    ck_assert_uint_gt(heads(), heads_at_first());
    for (uint32_t i = 0; i < 3 * share; i++)
        ck_assert_msg(get_number(i) == 1, "%u is not there; %llu evictions", i,
                      (unsigned long long)counter(STAT_EVICTIONS));
}
END_TEST

/* --- killed ----------------------------------------------------------------------------------- */

/* Whether a stripe is being grown or shrunk: its intent names no slot. */
static bool growing(void)
{
    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++) {
        const struct stripe *s = &zone->stripes[i];

        if (atomic_load(&s->intent) != 0 && atomic_load(&s->intent_old) == 0 &&
            atomic_load(&s->intent_new) == 0)
            return true;
    }
    return false;
}

static void store_for_ever(void)
{
    for (;;) {
        if (put_number(atomic_load(&shared->stored)) == TABLE_STORED)
            atomic_fetch_add(&shared->stored, 1);
    }
}

static void shrink_for_ever(void)
{
    for (;;) {
        uint32_t i = atomic_fetch_add(&shared->stored, 1) % LAYOUT_STRIPES;

        if (!lock_take(zone, &zone->stripes[i]))
            _exit(4);
        index_shrink_locked(zone, &zone->stripes[i]);
        lock_drop(zone, &zone->stripes[i]);
    }
}

/* The timer's interrupt comes between two instructions of whatever this process does then; a kill
 * by the parent would come when the parent happens to run. */
static void kill_myself_in(uint64_t ns)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value.tv_nsec = (long)ns};
    timer_t timer;

    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &when, NULL) != 0)
        _exit(5);
}

/* Let a child work until it is killed, and repair. Whether it was growing or shrinking. */
static bool kill_one(void (*work)(void), uint64_t ns)
{
    int status;
    bool within;
    pid_t pid = fork();

    if (pid == 0) {
        join();
        kill_myself_in(ns);
        work();
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    within = growing();
    ck_assert_int_eq(repair_process(zone, pid, false, NULL), 1);
    expect_sound();
    return within;
}

static void kill_many(void (*work)(void), unsigned rounds, uint64_t ns_max)
{
    uint64_t random = test_seed();
    unsigned within = 0;

    /* A busy machine may kill beside the changes every time: go on until one was hit. */
    for (unsigned i = 0; i < rounds || (within == 0 && i < 20 * rounds); i++)
        within += kill_one(work, 1 + next_random(&random) % ns_max);
    printf("%u of %u were killed while the index changed\n", within, rounds);
    ck_assert_uint_gt(within, 0);
}

START_TEST(killed_while_splitting)
{
    while (heads() == heads_at_first() && atomic_load(&shared->stored) < 100000)
        ck_assert_int_eq(put_number(atomic_fetch_add(&shared->stored, 1)), TABLE_STORED);
    kill_many(store_for_ever, (unsigned)test_number("SHM_ROUNDS", 150), 300000);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
    for (uint32_t i = 0; i < atomic_load(&shared->stored); i++)
        ck_assert_msg(get_number(i) == 1, "key %u is lost", i);
}
END_TEST

START_TEST(killed_while_merging)
{
    uint32_t n = 300000;

    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(put_number(i), TABLE_STORED);
    for (uint32_t i = 0; i < n; i++) {
        if (i % 16 != 0)
            drop_number(i);
    }
    kill_many(shrink_for_ever, (unsigned)test_number("SHM_ROUNDS", 150), 150000);
    for (uint32_t i = 0; i < n; i += 16)
        ck_assert_msg(get_number(i) == 1, "key %u is lost", i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("growth");
    TCase *alone = tcase_create("one process");
    TCase *many = tcase_create("many processes");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(alone, setup, close_zone);
    tcase_set_timeout(alone, 60);
    tcase_add_test(alone, grows_without_losing_an_entry);
    tcase_add_test(alone, large_values_need_no_more_than_the_first_buckets);
    tcase_add_test(alone, no_more_than_a_quarter);
    tcase_add_test(alone, shrinks_when_there_is_less);
    tcase_add_test(alone, a_hit_from_before_a_merge_is_overtaken);
    tcase_add_test(alone, a_walk_meets_each_key_once);
    tcase_add_test(alone, random_tiny_values);
    suite_add_tcase(suite, alone);
    tcase_add_checked_fixture(many, setup_large, close_zone);
    tcase_set_timeout(many, 60);
    tcase_add_test(many, grows_under_readers_and_writers);
    tcase_add_test(many, killed_while_splitting);
    tcase_add_test(many, killed_while_merging);
    suite_add_tcase(suite, many);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
