/* Several processes on one zone. */
#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS    200
#define WRITERS 2
#define READERS 2
#define LONGEST 60000

static struct shared {
    _Atomic uint64_t generation;
    _Atomic uint32_t done;
    _Atomic uint32_t stop;
    _Atomic uint64_t hits;
} * shared;

static void open_shared(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    zone_open(8u << 20, 1024);
}

static void close_shared(void)
{
    zone_close();
    munmap(shared, sizeof(*shared));
}

/* Run act in a process of its own that has joined; it exits 0 when all was well. */
static pid_t start(void (*act)(uint64_t seed), uint64_t seed)
{
    struct errmsg msg;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    if (zone_join(zone, &msg) != ERR_OK)
        _exit(2);
    act(seed | 1);
    zone_leave(zone);
    _exit(0);
}

static void expect_well(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process ended with status %#x",
                  (unsigned)status);
}

static struct table_key numbered(uint64_t i, char text[32])
{
    return table_key(zone, slice_make(text, (size_t)snprintf(text, 32, "k%u", (unsigned)i)));
}

/* Every byte follows from the key, the length and the first eight bytes. */
static void fill_value(char *value, size_t len, uint64_t key, uint64_t salt)
{
    uint64_t state = (salt ^ (key + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ len) | 1;

    memcpy(value, &salt, 8);
    for (size_t i = 8; i < len; i += 8) {
        uint64_t word = next_random(&state);

        memcpy(value + i, &word, len - i < 8 ? len - i : 8);
    }
}

static void write_values(uint64_t seed)
{
    static char value[LONGEST];
    char text[32];

    for (int n = 0; n < 30000; n++) {
        uint64_t i = next_random(&seed) % KEYS;
        size_t len = 8 + (next_random(&seed) % 16 == 0 ? next_random(&seed) % (LONGEST - 8)
                                                       : next_random(&seed) % 200);
        struct table_key key = numbered(i, text);
        enum table_result r;

        fill_value(value, len, i, next_random(&seed));
        if (next_random(&seed) % 8 == 0)
            r = table_delete(zone, &key, NULL, NOW);
        else
            r = put_bytes(key, value, len);
        if (r != TABLE_STORED && r != TABLE_MISS && r != TABLE_BUSY)
            _exit(10 + r);
    }
    atomic_fetch_add(&shared->done, 1);
}

static void read_values(uint64_t seed)
{
    static char value[LONGEST], expected[LONGEST];
    char text[32];

    while (atomic_load(&shared->done) < WRITERS) {
        uint64_t i = next_random(&seed) % KEYS;
        struct table_key key = numbered(i, text);
        long len = read_value(zone, &key, NOW, value, sizeof(value));
        uint64_t salt;

        if (len < 0)
            continue;
        if (len < 8)
            _exit(3);
        memcpy(&salt, value, 8);
        fill_value(expected, (size_t)len, i, salt);
        if (memcmp(value, expected, (size_t)len) != 0)
            _exit(4);
        atomic_fetch_add(&shared->hits, 1);
    }
}

START_TEST(readers_see_whole_values_of_the_right_key)
{
    uint64_t seed = test_seed();
    pid_t pids[WRITERS + READERS];

    for (int i = 0; i < WRITERS; i++)
        pids[i] = start(write_values, next_random(&seed));
    for (int i = 0; i < READERS; i++)
        pids[WRITERS + i] = start(read_values, next_random(&seed));
    for (int i = 0; i < WRITERS + READERS; i++)
        expect_well(pids[i]);
    ck_assert_uint_gt(atomic_load(&shared->hits), 0);
}
END_TEST

/* Sets that carry the generation they began in. */
static void write_generations(uint64_t seed)
{
    char text[32];

    while (!atomic_load(&shared->stop)) {
        uint64_t i = next_random(&seed) % KEYS;
        struct table_key key = numbered(i, text);
        struct table_write write = {.began_seq = zone_seq(zone)};
        uint64_t generation = atomic_load(&shared->generation);
        enum table_result r;

        write.value = slice_make(&generation, sizeof(generation));
        r = table_set(zone, &key, &write, NOW);
        if (r != TABLE_STORED && r != TABLE_REJECTED && r != TABLE_BUSY)
            _exit(10 + r);
    }
}

/* After an invalidation has returned, no value from before it may be seen, ever. */
static void expect_generation(uint64_t least)
{
    char text[32];

    for (uint64_t i = 0; i < KEYS; i++) {
        struct table_key key = numbered(i, text);
        uint64_t seen;

        if (read_value(zone, &key, NOW, &seen, sizeof(seen)) > 0)
            ck_assert_uint_ge(seen, least);
    }
}

static void race(void (*invalidate)(void))
{
    uint64_t seed = test_seed();
    pid_t pids[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        pids[i] = start(write_generations, next_random(&seed));
    for (int n = 0; n < 300; n++) {
        uint64_t generation = atomic_fetch_add(&shared->generation, 1) + 1;

        invalidate();
        expect_generation(generation);
        sweep_tick(zone, NOW, (struct sweep_budget){4096, 200000});
        expect_generation(generation);
    }
    atomic_store(&shared->stop, 1);
    for (int i = 0; i < WRITERS; i++)
        expect_well(pids[i]);
}

static void clear(void)
{
    zone_clear(zone);
}

static void ban(void)
{
    while (ban_add(zone, SLICE_LIT("k*")) == BAN_FULL)
        sweep_tick(zone, NOW, (struct sweep_budget){UINT32_MAX, UINT64_C(1000000000)});
}

START_TEST(a_clear_beats_every_set_that_began_before_it)
{
    race(clear);
}
END_TEST

START_TEST(a_ban_beats_every_set_that_began_before_it)
{
    race(ban);
}
END_TEST

static void count_up(uint64_t seed)
{
    struct table_key key = key_of("n");

    (void)seed;
    for (int done = 0; done < 5000;) {
        struct table_hit hit;
        uint64_t n = 0;
        struct table_write write = {.value = {(const char *)&n, sizeof(n)}, .expect = &hit.ref};
        enum table_result r = table_find(zone, &key, NOW, &hit);

        if (r == TABLE_HIT && table_copy(zone, &hit, NULL, &n) != TABLE_HIT)
            continue;
        n++;
        if (r != TABLE_BUSY && table_set(zone, &key, &write, NOW) == TABLE_STORED)
            done++;
    }
}

START_TEST(no_increment_is_lost)
{
    struct table_key key = key_of("n");
    pid_t pids[3];
    uint64_t n;

    for (int i = 0; i < 3; i++)
        pids[i] = start(count_up, 0);
    for (int i = 0; i < 3; i++)
        expect_well(pids[i]);
    ck_assert_int_eq(read_value(zone, &key, NOW, &n, sizeof(n)), sizeof(n));
    ck_assert_uint_eq(n, 15000);
}
END_TEST

/* Fill leases of many processes on few keys: whoever is granted one is alone. */
static void fill_keys(uint64_t seed)
{
    for (int n = 0; n < 20000; n++) {
        struct table_key key = key_of(next_random(&seed) % 2 ? "a" : "b");
        struct table_write write = {.value = SLICE_LIT("v")};
        struct lease lease;
        uint64_t before;

        if (lease_fill_begin(zone, &key, NOW, NOW + 10, &lease) != LEASE_GRANTED)
            continue;
        before = atomic_fetch_add(&shared->generation, key.bytes.data[0] == 'a' ? 1 : 1u << 16);
        if ((key.bytes.data[0] == 'a' ? before & 0xffff : before >> 16) != 0)
            _exit(5);
        atomic_fetch_sub(&shared->generation, key.bytes.data[0] == 'a' ? 1 : 1u << 16);
        while (lease_fill_end(zone, &key, &lease, &write, NOW) == TABLE_BUSY)
            continue;
    }
}

START_TEST(one_fill_of_a_key_across_processes)
{
    uint64_t seed = test_seed();
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = start(fill_keys, next_random(&seed));
    for (int i = 0; i < 3; i++)
        expect_well(pids[i]);
    ck_assert_ptr_nonnull(get("a"));
}
END_TEST

/* More processes than the zone has slabs to give one each: they share. */
static void store_some(uint64_t seed)
{
    char text[32];

    atomic_fetch_add(&shared->done, 1);
    while (atomic_load(&shared->done) < 100) /* all have joined */
        usleep(100);
    for (int n = 0; n < 50; n++) {
        struct table_key key = numbered(next_random(&seed) % 1000, text);
        enum table_result r = put_bytes(key, text, sizeof(text));

        if (r != TABLE_STORED && r != TABLE_BUSY)
            _exit(10 + r);
    }
}

START_TEST(a_hundred_workers_share_a_small_zone)
{
    uint64_t seed = test_seed();
    pid_t pids[100];

    for (int i = 0; i < 100; i++)
        pids[i] = start(store_some, next_random(&seed));
    for (int i = 0; i < 100; i++)
        expect_well(pids[i]);
    ck_assert_uint_gt(table_count(zone), 900);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared");
    TCase *tcase = tcase_create("processes");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, open_shared, close_shared);
    tcase_add_test(tcase, readers_see_whole_values_of_the_right_key);
    tcase_add_test(tcase, a_clear_beats_every_set_that_began_before_it);
    tcase_add_test(tcase, a_ban_beats_every_set_that_began_before_it);
    tcase_add_test(tcase, no_increment_is_lost);
    tcase_add_test(tcase, one_fill_of_a_key_across_processes);
    tcase_add_test(tcase, a_hundred_workers_share_a_small_zone);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
