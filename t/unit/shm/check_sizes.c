/* Every size of key and value, whole while others overwrite it. */
#include "zone_fixture.h"

#include "shm/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB(n)     ((size_t)(n) << 20)
#define KEY_MAX    65535
#define VALUE_MAX  MIB(8)
#define N_KEYS     12
#define OVERWRITES 600

static char *key_bytes;
static char *value;
static char *back;
static _Atomic uint64_t *bad;
static _Atomic uint64_t *hits;
static _Atomic bool *stop;

static void setup(void)
{
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(shared, MAP_FAILED);
    bad = (void *)shared;
    hits = (void *)(shared + 64);
    stop = (void *)(shared + 128);
    key_bytes = malloc(KEY_MAX + 1);
    value = malloc(VALUE_MAX + 1);
    back = malloc(VALUE_MAX + 1);
    zone_open(MIB(64), KEY_MAX);
}

static void teardown(void)
{
    zone_close();
    munmap((void *)bad, 4096);
    free(key_bytes);
    free(value);
    free(back);
}

/* A key of len bytes that differs from others at both ends. */
static struct table_key long_key(uint32_t i, size_t len)
{
    memset(key_bytes, 'k', len);
    memcpy(key_bytes, &i, len < sizeof(i) ? len : sizeof(i));
    if (len > 2 * sizeof(i))
        memcpy(key_bytes + len - sizeof(i), &i, sizeof(i));
    return table_key(zone, slice_make(key_bytes, len));
}

/* Bytes that follow from the key, the length and a number: a mix of two values is neither. */
static void fill(char *out, uint32_t i, size_t len, uint32_t version)
{
    uint64_t x = ((uint64_t)version << 32 | i) * UINT64_C(0x9e3779b97f4a7c15) + len;

    if (len >= sizeof(version))
        memcpy(out, &version, sizeof(version));
    for (size_t at = sizeof(version); at < len; at += sizeof(x), x += UINT64_C(0x632be59bd9b4e019))
        memcpy(out + at, &x, len - at < sizeof(x) ? len - at : sizeof(x));
    if (len < sizeof(version))
        memset(out, (int)(i & 0xff), len);
}

static bool is_whole(uint32_t i, size_t len)
{
    uint32_t version = 0;

    if (len >= sizeof(version))
        memcpy(&version, back, sizeof(version));
    fill(value, i, len, version);
    return memcmp(value, back, len) == 0;
}

START_TEST(keys_of_every_length)
{
    static const size_t lens[] = {1,    2,    3,     7,     8,     9,     255,    256,
                                  1023, 1024, 16383, 16384, 32768, 65534, KEY_MAX};

    for (uint32_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        fill(value, i, 100, 0);
        ck_assert_int_eq(put_bytes(long_key(i, lens[i]), value, 100), TABLE_STORED);
    }
    for (uint32_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct table_key key = long_key(i, lens[i]);

        ck_assert_int_eq(read_value(zone, &key, NOW, back, VALUE_MAX), 100);
        ck_assert(is_whole(i, 100));
        ck_assert_int_eq(table_delete(zone, &key, NULL, NOW), TABLE_STORED);
        ck_assert_int_eq(read_value(zone, &key, NOW, back, VALUE_MAX), -1);
    }
    ck_assert_int_eq(put_bytes(long_key(0, KEY_MAX + 1), value, 1), TABLE_TOO_LARGE);
}
END_TEST

/* Far more of the longest keys than fit, with values beside and in slabs of their own. */
START_TEST(a_zone_full_of_the_longest_keys)
{
    static const size_t lens[] = {0, 1, 5000, 200000};
    uint32_t found = 0;

    for (uint32_t i = 0; i < 2000; i++) {
        fill(value, i, lens[i % 4], i);
        ck_assert_int_eq(put_bytes(long_key(i, KEY_MAX), value, lens[i % 4]), TABLE_STORED);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        struct table_key key = long_key(i, KEY_MAX);
        long len = read_value(zone, &key, NOW, back, VALUE_MAX);

        if (len < 0)
            continue;
        found++;
        ck_assert_int_eq(len, (long)lens[i % 4]);
        ck_assert(is_whole(i, (size_t)len));
    }
    ck_assert_uint_gt(found, 100);
    ck_assert_uint_gt(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(values_to_an_eighth_of_the_zone)
{
    ck_assert_uint_eq(zone_value_max(zone), VALUE_MAX);
    for (size_t len = 0; len <= VALUE_MAX; len = len < 16 ? len + 1 : len * 3 / 2) {
        struct table_key key = long_key(1, 20);

        fill(value, 1, len, 7);
        ck_assert_int_eq(put_bytes(key, value, len), TABLE_STORED);
        ck_assert_int_eq(read_value(zone, &key, NOW, back, VALUE_MAX), (long)len);
        ck_assert(is_whole(1, len));
    }
    fill(value, 1, VALUE_MAX, 8);
    ck_assert_int_eq(put_bytes(long_key(1, 20), value, VALUE_MAX), TABLE_STORED);
    ck_assert_int_eq(put_bytes(long_key(1, 20), value, VALUE_MAX + 1), TABLE_TOO_LARGE);
}
END_TEST

static size_t random_len(uint64_t *random)
{
    unsigned bits = (unsigned)(next_random(random) % 24); /* each magnitude as often */
    size_t len = (size_t)1 << bits;

    len += next_random(random) % len;
    return len <= VALUE_MAX ? len : VALUE_MAX;
}

static void join(void)
{
    struct errmsg msg;

    if (zone_join(zone, &msg) != ERR_OK)
        _exit(3);
}

static _Noreturn void overwrite(uint64_t random)
{
    join();
    for (uint32_t n = 0; n < OVERWRITES; n++) {
        uint32_t i = (uint32_t)(next_random(&random) % N_KEYS);
        size_t len = random_len(&random);
        enum table_result r;

        fill(value, i, len, (uint32_t)next_random(&random));
        while ((r = put_bytes(long_key(i, 30), value, len)) == TABLE_BUSY)
            continue;
        if (r != TABLE_STORED)
            atomic_fetch_add(bad, 1);
    }
    zone_leave(zone);
    _exit(0);
}

static _Noreturn void read_all(uint64_t random)
{
    join();
    while (!atomic_load(stop)) {
        uint32_t i = (uint32_t)(next_random(&random) % N_KEYS);
        struct table_key key = long_key(i, 30);
        long len = read_value(zone, &key, NOW, back, VALUE_MAX);

        if (len < 0)
            continue;
        atomic_fetch_add(hits, 1);
        if (!is_whole(i, (size_t)len))
            atomic_fetch_add(bad, 1);
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

START_TEST(whole_under_concurrent_overwrite)
{
    uint64_t random = test_seed();
    pid_t writers[3], readers[3];

    for (unsigned i = 0; i < 3; i++) {
        uint64_t own = next_random(&random) | 1;

        readers[i] = fork();
        if (readers[i] == 0)
            read_all(own);
        writers[i] = fork();
        if (writers[i] == 0)
            overwrite(own * 3);
    }
    for (unsigned i = 0; i < 3; i++)
        reap(writers[i]);
    atomic_store(stop, true);
    for (unsigned i = 0; i < 3; i++)
        reap(readers[i]);
    ck_assert_uint_gt(atomic_load(hits), 0);
    ck_assert_uint_eq(atomic_load(bad), 0);
}
END_TEST

/* Values of one size until they have filled the zone and half of it again; each is stored, and the
 * last ones are there. */
static void fill_with(size_t len)
{
    uint32_t n = (uint32_t)(MIB(64) * 3 / 2 / (len + 48));
    unsigned there = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct table_key key = long_key(i, 12);

        fill(value, i, len, i);
        ck_assert_int_eq(put_bytes(key, value, len), TABLE_STORED);
    }
    for (uint32_t i = n - n / 10 - 1; i < n; i++) {
        struct table_key key = long_key(i, 12);
        long got = read_value(zone, &key, NOW, back, VALUE_MAX);

        ck_assert(got == -1 || ((size_t)got == len && is_whole(i, len)));
        there += got != -1;
    }
    ck_assert_uint_gt(there, n / 20);
}

/* What an allocator of size classes fails at: the memory is all given to one size, and then another
 * one comes. */
START_TEST(one_size_after_another)
{
    static const size_t sizes[] = {1024, MIB(1), 30, 100000, 1};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        fill_with(sizes[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sizes");
    TCase *tcase = tcase_create("sizes");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, keys_of_every_length);
    tcase_add_test(tcase, a_zone_full_of_the_longest_keys);
    tcase_add_test(tcase, values_to_an_eighth_of_the_zone);
    tcase_add_test(tcase, whole_under_concurrent_overwrite);
    tcase_add_test(tcase, one_size_after_another);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
