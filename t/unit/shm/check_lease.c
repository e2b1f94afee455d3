#include "shm/lease.h"

#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <stdio.h>

#define DEADLINE (NOW + 1000)

static struct table_key k;
static struct lease lease;
static struct lease other;

static enum lease_result fill_begin(struct lease *l)
{
    k = key_of("k");
    return lease_fill_begin(zone, &k, NOW, DEADLINE, l);
}

static enum lease_result write_begin(struct lease *l)
{
    k = key_of("k");
    return lease_write_begin(zone, &k, NOW, DEADLINE, l);
}

static enum table_result fill_end_at(const struct lease *l, uint64_t now_ms)
{
    struct table_write write = {.value = SLICE_LIT("filled")};

    return lease_fill_end(zone, &k, l, &write, now_ms);
}

static enum table_result fill_end(const struct lease *l)
{
    return fill_end_at(l, NOW);
}

static enum table_result write_end(const struct lease *l)
{
    struct table_write write = {.value = SLICE_LIT("written")};

    return lease_write_end(zone, &k, l, &write, NOW);
}

static unsigned stubs_taken(void)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < zone->g.n_stubs; i++)
        n += atomic_load(&layout_stub(zone, i)->claim) != 0;
    return n;
}

START_TEST(one_fill_at_a_time)
{
    ck_assert_int_eq(fill_begin(&lease), LEASE_GRANTED);
    ck_assert_int_eq(fill_begin(&other), LEASE_HELD);
    ck_assert_uint_eq(other.token, 0);
    ck_assert_ptr_null(get("k"));
    ck_assert_int_eq(fill_end(&lease), TABLE_STORED);
    ck_assert_str_eq(get("k"), "filled");
    ck_assert_int_eq(fill_begin(&other), LEASE_GRANTED);
    ck_assert_uint_ne(other.token, lease.token);
    ck_assert_int_eq(lease_fail(zone, &k, &other), TABLE_STORED);
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(a_failed_fill_frees_the_right)
{
    fill_begin(&lease);
    ck_assert_int_eq(lease_fail(zone, &k, &lease), TABLE_STORED);
    ck_assert_int_eq(fill_begin(&other), LEASE_GRANTED);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_int_eq(fill_end(&other), TABLE_STORED);
}
END_TEST

START_TEST(a_fill_ends_once)
{
    fill_begin(&lease);
    ck_assert_int_eq(fill_end(&lease), TABLE_STORED);
    drop("k");
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_fill_past_its_deadline_is_void)
{
    fill_begin(&lease);
    ck_assert_int_eq(fill_end_at(&lease, DEADLINE), TABLE_REJECTED);
    fill_begin(&lease);
    ck_assert_int_eq(lease_fill_begin(zone, &k, DEADLINE, DEADLINE + 10, &other), LEASE_GRANTED);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_int_eq(fill_end_at(&other, DEADLINE + 9), TABLE_STORED);
}
END_TEST

START_TEST(a_delete_removes_the_fill_though_nothing_is_there)
{
    fill_begin(&lease);
    ck_assert_int_eq(drop("k"), TABLE_MISS);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_put_removes_the_fill)
{
    fill_begin(&lease);
    ck_assert_int_eq(put("k", "put"), TABLE_STORED);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_str_eq(get("k"), "put");
}
END_TEST

START_TEST(a_clear_voids_the_fill)
{
    fill_begin(&lease);
    zone_clear(zone);
    ck_assert_int_eq(fill_begin(&other), LEASE_GRANTED); /* the older one cannot end well */
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_int_eq(fill_end(&other), TABLE_STORED);
}
END_TEST

START_TEST(a_ban_voids_only_fills_it_matches)
{
    fill_begin(&lease);
    ban_add(zone, SLICE_LIT("other*"));
    ck_assert_int_eq(fill_end(&lease), TABLE_STORED);
    ck_assert_str_eq(get("k"), "filled");
    fill_begin(&lease);
    ban_add(zone, SLICE_LIT("k*"));
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_fill_from_before_a_retired_ban_is_refused)
{
    fill_begin(&lease);
    ban_add(zone, SLICE_LIT("k*"));
    for (int i = 0; i < 400 && ban_active(zone) > 0; i++)
        sweep_tick(zone, NOW, (struct sweep_budget){4096, 2000000});
    ck_assert_uint_eq(ban_active(zone), 0);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_purge_of_its_tag_voids_the_fill)
{
    struct slice tag = SLICE_LIT("news");
    struct table_write write = {.value = SLICE_LIT("v"), .tags = &tag, .n_tags = 1};

    fill_begin(&lease);
    ban_tag(zone, tag);
    ck_assert_int_eq(lease_fill_end(zone, &k, &lease, &write, NOW), TABLE_REJECTED);
}
END_TEST

START_TEST(a_put_stores_when_nobody_interferes)
{
    put("k", "older");
    ck_assert_int_eq(write_begin(&lease), LEASE_GRANTED);
    ck_assert_str_eq(get("k"), "older");
    ck_assert_int_eq(write_end(&lease), TABLE_STORED);
    ck_assert_str_eq(get("k"), "written");
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(no_fill_under_a_put)
{
    fill_begin(&lease);
    write_begin(&other);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
    ck_assert_int_eq(fill_begin(&lease), LEASE_WRITING);
    ck_assert_int_eq(write_end(&other), TABLE_STORED);
}
END_TEST

START_TEST(of_overlapping_puts_none_stores)
{
    put("k", "older");
    write_begin(&lease);
    ck_assert_int_eq(write_begin(&other), LEASE_GRANTED);
    ck_assert_int_eq(write_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
    ck_assert_int_eq(fill_begin(&lease), LEASE_WRITING); /* the second is still under way */
    ck_assert_int_eq(write_end(&other), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(a_delete_during_a_put_wins)
{
    write_begin(&lease);
    drop("k");
    ck_assert_int_eq(write_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_set_beside_a_put_ends_absent)
{
    write_begin(&lease);
    put("k", "beside");
    ck_assert_int_eq(write_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_clear_during_a_put_wins)
{
    write_begin(&lease);
    zone_clear(zone);
    ck_assert_int_eq(write_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(an_aborted_put_leaves_the_key_absent)
{
    put("k", "older");
    write_begin(&lease);
    ck_assert_int_eq(lease_write_abort(zone, &k, &lease, NOW), TABLE_STORED);
    ck_assert_ptr_null(get("k"));
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(a_put_without_a_stub_removes_what_was_filled_beside_it)
{
    struct lease none = {0, 0};

    fill_begin(&lease);
    ck_assert_int_eq(lease_write_abort(zone, &k, &none, NOW), TABLE_STORED);
    ck_assert_int_eq(fill_end(&lease), TABLE_REJECTED);
}
END_TEST

START_TEST(a_put_past_its_deadline_removes_the_entry)
{
    write_begin(&lease);
    ck_assert_int_eq(lease_fill_begin(zone, &k, DEADLINE, DEADLINE + 9, &other), LEASE_GRANTED);
    ck_assert_int_eq(fill_end_at(&other, DEADLINE), TABLE_STORED);
    ck_assert_int_eq(write_end(&lease), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

START_TEST(a_put_too_large_removes_the_older_entry)
{
    static char huge[1 << 20];
    struct table_write write = {.value = slice_make(huge, sizeof(huge))};

    put("k", "older");
    write_begin(&lease);
    ck_assert_int_eq(lease_write_end(zone, &k, &lease, &write, NOW), TABLE_TOO_LARGE);
    ck_assert_ptr_null(get("k"));
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(a_ninth_writer_goes_without)
{
    struct lease leases[9];

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(write_begin(&leases[i]), LEASE_GRANTED);
    ck_assert_int_eq(write_begin(&leases[8]), LEASE_FULL);
    ck_assert_uint_eq(leases[8].token, 0);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(write_end(&leases[i]), TABLE_REJECTED);
    ck_assert_int_eq(lease_write_abort(zone, &k, &leases[8], NOW), TABLE_STORED);
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

START_TEST(the_pool_is_bounded_and_swept)
{
    unsigned granted = 0;
    char name[16];

    for (unsigned i = 0; i < 2 * zone->g.n_stubs; i++) {
        struct table_key key;
        enum lease_result r;

        snprintf(name, sizeof(name), "k%u", i);
        key = key_of(name);
        r = lease_fill_begin(zone, &key, NOW, DEADLINE, &lease);
        ck_assert(r == LEASE_GRANTED || r == LEASE_FULL);
        granted += r == LEASE_GRANTED;
    }
    ck_assert_uint_eq(granted, zone->g.n_stubs);
    for (int i = 0; i < 20; i++)
        sweep_tick(zone, DEADLINE, (struct sweep_budget){4096, 2000000});
    ck_assert_uint_eq(stubs_taken(), 0);
}
END_TEST

int main(void)
{
    return ZONE_SUITE(
        "lease", one_fill_at_a_time, a_failed_fill_frees_the_right, a_fill_ends_once,
        a_fill_past_its_deadline_is_void, a_delete_removes_the_fill_though_nothing_is_there,
        a_put_removes_the_fill, a_clear_voids_the_fill, a_ban_voids_only_fills_it_matches,
        a_fill_from_before_a_retired_ban_is_refused, a_purge_of_its_tag_voids_the_fill,
        a_put_stores_when_nobody_interferes, no_fill_under_a_put, of_overlapping_puts_none_stores,
        a_delete_during_a_put_wins, a_set_beside_a_put_ends_absent, a_clear_during_a_put_wins,
        an_aborted_put_leaves_the_key_absent,
        a_put_without_a_stub_removes_what_was_filled_beside_it,
        a_put_past_its_deadline_removes_the_entry, a_put_too_large_removes_the_older_entry,
        a_ninth_writer_goes_without, the_pool_is_bounded_and_swept);
}
