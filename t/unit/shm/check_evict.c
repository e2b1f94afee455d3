/* Filling a zone beyond its size, with values of every size. */
#include "shm/evict.h"

#include "shm/lock.h"
#include "shm/slab.h"
#include "shm/table.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static char *value;

static void setup_64(void)
{
    zone_open(64 * MIB, 1024);
    value = malloc(9 * MIB);
    for (size_t i = 0; i < 9 * MIB; i++)
        value[i] = (char)(i ^ i >> 9);
}

static void teardown_64(void)
{
    zone_close();
    free(value);
}

static struct table_key numbered(const char *prefix, unsigned i, char text[32])
{
    return table_key(zone, slice_make(text, (size_t)snprintf(text, 32, "%s%u", prefix, i)));
}

static void fill(const char *prefix, unsigned n, size_t len)
{
    char text[32];

    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(put_bytes(numbered(prefix, i, text), value + i % 100, len), TABLE_STORED);
}

static bool holds(const char *prefix, unsigned i, size_t len)
{
    static char back[9 * MIB];
    char text[32];
    struct table_key key = numbered(prefix, i, text);
    long n = read_value(zone, &key, NOW, back, sizeof(back));

    if (n < 0)
        return false;
    ck_assert_int_eq(n, (long)len);
    ck_assert_int_eq(memcmp(back, value + i % 100, len), 0);
    return true;
}

START_TEST(no_size_starves_another)
{
    fill("small", 200000, 1024);
    fill("large", 200, MIB);
    ck_assert(holds("large", 199, MIB));
    fill("tiny", 500000, 30);
    ck_assert(holds("tiny", 499999, 30));
    fill("large", 100, MIB);
    ck_assert(holds("large", 99, MIB));
    expect_sound();
}
END_TEST

START_TEST(a_value_of_4_mib_fits_a_zone_of_64)
{
    fill("v", 40, 4 * MIB);
    ck_assert(holds("v", 39, 4 * MIB));
    ck_assert(holds("v", 38, 4 * MIB));
    ck_assert(!holds("v", 0, 4 * MIB));
    fill("w", 1, 8 * MIB);
    ck_assert(holds("w", 0, 8 * MIB));
}
END_TEST

START_TEST(large_values_give_their_slabs_back)
{
    struct stat_memory empty, memory;
    char text[32];
    struct table_key key = numbered("v", 0, text);

    put("warm", "up");
    drop("warm");
    stat_memory(zone, &empty);
    for (int i = 0; i < 100; i++)
        fill("v", 1, 3 * MIB);
    ck_assert_int_eq(table_delete(zone, &key, NULL, NOW), TABLE_STORED);
    stat_memory(zone, &memory);
    ck_assert_uint_eq(memory.slabs_free, empty.slabs_free);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(a_refused_store_gives_its_slabs_back)
{
    struct stat_memory before, after;
    char text[32];
    struct table_key key = numbered("v", 0, text);
    struct table_write write = {.value = slice_make(value, 3 * MIB), .began_seq = zone_seq(zone)};

    put("warm", "up");
    zone_clear(zone);
    stat_memory(zone, &before);
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_REJECTED);
    stat_memory(zone, &after);
    ck_assert_uint_eq(before.slabs_free, after.slabs_free);
}
END_TEST

START_TEST(the_oldest_go_first)
{
    unsigned kept = 0;

    fill("v", 120000, 1000); /* about twice what fits */
    for (unsigned i = 0; i < 30000; i++)
        kept += holds("v", i, 1000);
    ck_assert_uint_eq(kept, 0);
    for (unsigned i = 100000; i < 120000; i++)
        kept += holds("v", i, 1000);
    ck_assert_uint_eq(kept, 20000);
    ck_assert_uint_gt(counter(STAT_EVICTIONS), 30000);
    ck_assert_uint_eq(counter(STAT_EVICTIONS) + table_count(zone), 120000);
}
END_TEST

START_TEST(dead_slabs_go_before_live_ones)
{
    char text[32];

    fill("keep", 1000, 1000);
    fill("dead", 30000, 1000);
    for (unsigned i = 0; i < 30000; i++) {
        struct table_key key = numbered("dead", i, text);

        table_delete(zone, &key, NULL, NOW);
    }
    fill("more", 30000, 1000); /* fits only where the dead were */
    for (unsigned i = 0; i < 1000; i++)
        ck_assert(holds("keep", i, 1000));
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(live_bytes_never_exceed_the_zone)
{
    struct stat_memory memory;

    fill("v", 3000, 100000);
    stat_memory(zone, &memory);
    ck_assert_uint_le(memory.index_bytes + memory.slabs * memory.slab_bytes, memory.size_bytes);
    ck_assert_uint_le(memory.live_bytes, memory.slabs * memory.slab_bytes);
    ck_assert_uint_gt(memory.live_bytes, memory.size_bytes / 2);
}
END_TEST

/* A slab that was chosen as a large value's first may be a later one of another value by the time it
 * is claimed: emptying it would tear that value. */
START_TEST(a_later_slab_of_a_value_is_no_victim)
{
    static char large[300000];
    struct table_key key = key_of("large");
    struct evict_budget budget = EVICT_UNLIMITED;
    struct reclaim reclaim;
    struct table_hit hit;
    uint32_t body;

    memset(large, 'l', sizeof(large));
    ck_assert_int_eq(put_bytes(key, large, sizeof(large)), TABLE_STORED);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    body = slab_chain_next(zone, hit.first_slab);
    ck_assert_uint_ne(body, LAYOUT_NONE);
    ck_assert(!evict_claim(zone, body, EVICT_QUEUE, &reclaim));
    /* And when it became one after it was claimed. */
    reclaim = (struct reclaim){.slab = body, .large = true, .mode = EVICT_QUEUE};
    ck_assert_int_eq(evict_run(zone, &reclaim, NOW, &budget, true), EVICT_BUSY);
    ck_assert_int_eq(read_value(zone, &key, NOW, large, sizeof(large)), sizeof(large));
    ck_assert_int_eq(drop("large"), TABLE_STORED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("evict");
    TCase *tcase = tcase_create("64 MiB");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_64, teardown_64);
    tcase_add_test(tcase, no_size_starves_another);
    tcase_add_test(tcase, a_value_of_4_mib_fits_a_zone_of_64);
    tcase_add_test(tcase, large_values_give_their_slabs_back);
    tcase_add_test(tcase, a_refused_store_gives_its_slabs_back);
    tcase_add_test(tcase, the_oldest_go_first);
    tcase_add_test(tcase, dead_slabs_go_before_live_ones);
    tcase_add_test(tcase, live_bytes_never_exceed_the_zone);
    tcase_add_test(tcase, a_later_slab_of_a_value_is_no_victim);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
