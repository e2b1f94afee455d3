#include "zone_fixture.h"

#include "common/clock.h"
#include "shm/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct zone *zone;

void zone_open(uint64_t size_bytes, uint32_t key_max)
{
    struct zone_options options = {
        .name = "test", .size_bytes = size_bytes, .key_max_bytes = key_max};
    struct errmsg msg = {""};

    ck_assert_msg(zone_create(&options, &zone, &msg) == ERR_OK, "%s", msg.text);
    ck_assert_msg(zone_join(zone, &msg) == ERR_OK, "%s", msg.text);
}

void zone_small(void)
{
    zone_open(ZONE_MIN_BYTES, 1024);
}

void expect_sound(void)
{
    struct check_report report;

    ck_assert_int_eq(check_zone(zone, false, &report), ERR_OK);
    ck_assert_msg(report.problems == 0, "%llu problems: %s", (unsigned long long)report.problems,
                  report.first);
}

void zone_close(void)
{
    expect_sound();
    zone_leave(zone);
    expect_sound();
    zone_destroy(zone);
    zone = NULL;
}

struct table_key key_of(const char *text)
{
    return table_key(zone, slice_cstr(text));
}

enum table_result put_until(const char *key, const char *value, uint64_t expires_ms)
{
    struct table_key k = key_of(key);
    struct table_write write = {.value = slice_cstr(value), .expires_ms = expires_ms};

    return table_set(zone, &k, &write, NOW);
}

enum table_result put(const char *key, const char *value)
{
    return put_until(key, value, 0);
}

enum table_result put_bytes(struct table_key key, const void *value, size_t len)
{
    struct table_write write = {.value = slice_make(value, len)};

    return table_set(zone, &key, &write, NOW);
}

enum table_result drop(const char *key)
{
    struct table_key k = key_of(key);

    return table_delete(zone, &k, NULL, NOW);
}

long read_value(struct zone *z, const struct table_key *key, uint64_t now_ms, void *buf, size_t cap)
{
    for (int i = 0; i < 100; i++) {
        struct table_hit hit;
        enum table_result result = table_find(z, key, now_ms, &hit);

        if (result == TABLE_BUSY)
            continue;
        if (result == TABLE_MISS)
            return -1;
        ck_assert_uint_le(hit.value_len, cap);
        if (table_copy(z, &hit, NULL, buf) == TABLE_HIT)
            return (long)hit.value_len;
    }
    for (;;) {
        struct table_hit hit;
        enum table_result result =
            table_read_locked(z, key, now_ms, &hit, NULL, TABLE_META_MAX, buf, cap);

        if (result == TABLE_MISS)
            return -1;
        if (result != TABLE_BUSY)
            return (long)hit.value_len;
    }
}

const char *get_at(const char *key, uint64_t now_ms)
{
    static char text[65536];
    struct table_key k = key_of(key);
    long len = read_value(zone, &k, now_ms, text, sizeof(text) - 1);

    if (len < 0)
        return NULL;
    text[len] = '\0';
    return text;
}

const char *get(const char *key)
{
    return get_at(key, NOW);
}

uint64_t counter(enum counter which)
{
    uint64_t all[STAT_COUNT];

    stat_sum(zone, all);
    return all[which];
}

int zone_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, zone_small, zone_close);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned long test_number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

uint64_t test_seed(void)
{
    uint64_t seed = test_number("SHM_SEED", clock_now_ns());

    printf("SHM_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed | 1;
}
