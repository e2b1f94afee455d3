/* Expiry, seen by readers and by the sweeper. */
#include "shm/sweep.h"

#include "shm/layout.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <string.h>

static const struct sweep_budget ample = {UINT32_MAX, UINT64_C(1000000000)};

START_TEST(expiry_is_exact_to_the_millisecond)
{
    put_until("k", "v", NOW + 1000);
    ck_assert_str_eq(get_at("k", NOW + 999), "v");
    ck_assert_ptr_null(get_at("k", NOW + 1000));
    ck_assert_ptr_null(get_at("k", NOW + 1001));
}
END_TEST

START_TEST(an_expiry_in_the_past_stores_nothing_to_be_seen)
{
    put("k", "older");
    ck_assert_int_eq(put_until("k", "v", 1), TABLE_STORED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(expiry_can_be_moved_both_ways_and_taken_away)
{
    struct table_key key = key_of("k");

    put_until("k", "v", NOW + 100);
    ck_assert_int_eq(table_expire(zone, &key, NULL, NOW + 200, NOW), TABLE_STORED);
    ck_assert_str_eq(get_at("k", NOW + 199), "v");
    ck_assert_ptr_null(get_at("k", NOW + 200));
    ck_assert_int_eq(table_expire(zone, &key, NULL, NOW + 50, NOW), TABLE_STORED);
    ck_assert_ptr_null(get_at("k", NOW + 50));
    ck_assert_int_eq(table_expire(zone, &key, NULL, 0, NOW), TABLE_STORED);
    ck_assert_str_eq(get_at("k", NOW + 1000000), "v");
    ck_assert_int_eq(table_expire(zone, &key, NULL, NOW + 5, NOW), TABLE_STORED);
    ck_assert_int_eq(table_expire(zone, &key, NULL, NOW + 500, NOW + 5), TABLE_CHANGED);
}
END_TEST

/* Enough to fill several slabs of one class. */
static void fill_expiring(unsigned n, uint64_t expires_ms)
{
    static char value[3000];
    char name[16];

    for (unsigned i = 0; i < n; i++) {
        struct table_key key;
        struct table_write write = {.value = slice_make(value, sizeof(value)),
                                    .expires_ms = expires_ms};

        snprintf(name, sizeof(name), "e%u", i);
        key = key_of(name);
        ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    }
}

START_TEST(slabs_whose_last_expiry_has_passed_are_dropped)
{
    struct stat_memory before, after;

    fill_expiring(300, NOW + 1000);
    stat_memory(zone, &before);
    sweep_tick(zone, NOW + 999, ample);
    ck_assert_uint_eq(counter(STAT_EXPIRATIONS), 0);
    sweep_tick(zone, NOW + 1000, ample);
    stat_memory(zone, &after);
    /* 300 entries of 3 kB fill more than ten slabs of any size that this zone can have. */
    ck_assert_uint_gt(after.slabs_free, before.slabs_free + 10);
    ck_assert_uint_gt(counter(STAT_EXPIRATIONS), 250);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(a_lengthened_entry_outlives_its_slab)
{
    struct table_key key = key_of("e7");

    fill_expiring(300, NOW + 1000);
    ck_assert_int_eq(table_expire(zone, &key, NULL, NOW + 9000, NOW), TABLE_STORED);
    for (int i = 0; i < 500; i++)
        sweep_tick(zone, NOW + 2000, ample);
    ck_assert_uint_eq(table_count(zone), 1);
    ck_assert_ptr_nonnull(get_at("e7", NOW + 8999));
}
END_TEST

START_TEST(expired_entries_in_open_slabs_go_too)
{
    put_until("short", "v", NOW + 10);
    put("long", "v");
    for (int i = 0; i < 300; i++)
        sweep_tick(zone, NOW + 10, ample);
    ck_assert_uint_eq(table_count(zone), 1);
    ck_assert_uint_eq(counter(STAT_EXPIRATIONS), 1);
}
END_TEST

START_TEST(slabs_from_before_a_clear_are_dropped)
{
    struct stat_memory memory;

    fill_expiring(300, 0);
    zone_clear(zone);
    sweep_tick(zone, NOW, ample);
    stat_memory(zone, &memory);
    ck_assert_uint_ge(memory.slabs_free, memory.slabs - 2);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(a_tick_stays_within_its_budget_and_goes_on_next_time)
{
    unsigned total = 0;
    unsigned ticks = 0;

    fill_expiring(300, NOW + 1);
    while (total < 250 && ticks < 500) {
        unsigned n = sweep_tick(zone, NOW + 1, (struct sweep_budget){7, UINT64_C(1000000000)});

        ck_assert_uint_le(n, 7);
        total += n;
        ticks++;
    }
    ck_assert_uint_ge(total, 250);
    ck_assert_uint_ge(ticks, 250 / 7);
}
END_TEST

START_TEST(the_free_reserve_is_kept)
{
    struct stat_memory memory;

    fill_expiring(3000, 0);
    sweep_tick(zone, NOW, ample);
    stat_memory(zone, &memory);
    ck_assert_uint_ge(memory.slabs_free, memory.slabs / 50);
}
END_TEST

START_TEST(a_locked_stripe_stops_no_tick)
{
    struct table_key key = key_of("e3");
    struct stripe *stripe = layout_stripe(zone, key.hash);

    fill_expiring(300, NOW + 1);
    atomic_store(&stripe->lock, 99);
    for (int i = 0; i < 10; i++)
        sweep_tick(zone, NOW + 1, ample);
    atomic_store(&stripe->lock, 0);
    for (int i = 0; i < 300; i++)
        sweep_tick(zone, NOW + 1, ample);
    ck_assert_uint_eq(table_count(zone), 0);
}
END_TEST

int main(void)
{
    return ZONE_SUITE("sweep", expiry_is_exact_to_the_millisecond,
                      an_expiry_in_the_past_stores_nothing_to_be_seen,
                      expiry_can_be_moved_both_ways_and_taken_away,
                      slabs_whose_last_expiry_has_passed_are_dropped,
                      a_lengthened_entry_outlives_its_slab, expired_entries_in_open_slabs_go_too,
                      slabs_from_before_a_clear_are_dropped,
                      a_tick_stays_within_its_budget_and_goes_on_next_time,
                      the_free_reserve_is_kept, a_locked_stripe_stops_no_tick);
}
