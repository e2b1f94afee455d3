#include "shm/ban.h"

#include "shm/sweep.h"
#include "zone_fixture.h"

#include <stdio.h>

static void sweep_until_retired(void)
{
    for (int i = 0; i < 1000 && ban_active(zone) > 0; i++)
        sweep_tick(zone, NOW, (struct sweep_budget){4096, 2000000});
    ck_assert_uint_eq(ban_active(zone), 0);
}

START_TEST(a_ban_hits_older_entries_that_match_and_nothing_else)
{
    put("user:1", "a");
    put("page:1", "b");
    ck_assert_int_eq(ban_add(zone, SLICE_LIT("user:*")), BAN_RECORDED);
    ck_assert_ptr_null(get("user:1"));
    ck_assert_str_eq(get("page:1"), "b");
    put("user:1", "newer");
    ck_assert_str_eq(get("user:1"), "newer");
}
END_TEST

START_TEST(the_sweeper_removes_what_was_banned_and_retires_the_ban)
{
    char name[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%s:%d", i % 2 ? "user" : "page", i);
        put(name, "v");
    }
    ban_add(zone, SLICE_LIT("user:*"));
    ck_assert_uint_eq(ban_active(zone), 1);
    sweep_until_retired();
    ck_assert_uint_eq(table_count(zone), 500);
    ck_assert_ptr_null(get("user:1"));
    ck_assert_str_eq(get("page:2"), "v");
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(a_set_from_before_a_matching_ban_is_rejected)
{
    struct table_key key = key_of("user:1");
    struct table_write write = {.value = SLICE_LIT("late"), .began_seq = zone_seq(zone)};

    ban_add(zone, SLICE_LIT("user:*"));
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_REJECTED);
    sweep_until_retired();
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_REJECTED);
    ck_assert_ptr_null(get("user:1"));
    write.began_seq = zone_seq(zone);
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
}
END_TEST

START_TEST(a_full_ring_says_so_until_swept)
{
    unsigned n = 0;

    while (ban_add(zone, SLICE_LIT("x*")) == BAN_RECORDED)
        n++;
    ck_assert_uint_eq(n, 64);
    ck_assert_int_eq(ban_add(zone, SLICE_LIT("x*")), BAN_FULL);
    sweep_until_retired();
    ck_assert_int_eq(ban_add(zone, SLICE_LIT("x*")), BAN_RECORDED);
}
END_TEST

START_TEST(a_pattern_may_be_as_long_as_the_header_says)
{
    char pattern[BAN_PATTERN_MAX + 1];

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = '*';
    put("k", "v");
    ck_assert_int_eq(ban_add(zone, slice_make(pattern, sizeof(pattern))), BAN_TOO_LONG);
    ck_assert_str_eq(get("k"), "v");
    ck_assert_int_eq(ban_add(zone, slice_make(pattern, BAN_PATTERN_MAX)), BAN_RECORDED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

static void put_tagged(const char *name, const char *value, const char *a, const char *b)
{
    struct table_key key = key_of(name);
    struct slice tags[2] = {slice_cstr(a), slice_cstr(b)};
    struct table_write write = {.value = slice_cstr(value), .tags = tags, .n_tags = 2};

    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
}

START_TEST(a_purged_tag_hits_its_older_entries)
{
    put_tagged("k1", "one", "red", "round");
    put_tagged("k2", "two", "blue", "round");
    put("k3", "three");
    ban_tag(zone, SLICE_LIT("red"));
    ck_assert_ptr_null(get("k1"));
    ck_assert_str_eq(get("k2"), "two");
    ban_tag(zone, SLICE_LIT("round"));
    ck_assert_ptr_null(get("k2"));
    ck_assert_str_eq(get("k3"), "three");
    put_tagged("k1", "newer", "red", "round");
    ck_assert_str_eq(get("k1"), "newer");
}
END_TEST

/* A store that keeps the tags of what it replaces: by their hashes. */
START_TEST(tags_can_be_kept)
{
    struct table_key key = key_of("k1");
    uint32_t hashes[TABLE_TAGS_MAX];
    struct table_hit hit;
    struct table_write write = {.value = SLICE_LIT("changed"), .expect = &hit.ref};

    put_tagged("k1", "one", "red", "round");
    write.began_seq = zone_seq(zone);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    ck_assert_uint_eq(hit.n_tags, 2);
    ck_assert_int_eq(table_copy_tags(zone, &hit, 2, hashes), TABLE_HIT);
    write.tag_hashes = hashes;
    write.n_tags = hit.n_tags;
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    ck_assert_str_eq(get("k1"), "changed");
    ban_tag(zone, SLICE_LIT("round"));
    ck_assert_ptr_null(get("k1"));
    /* A purge since the change began: it is not stored. */
    write.expect = NULL;
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_REJECTED);
}
END_TEST

START_TEST(other_events_do_not_hit_tagged_entries)
{
    put_tagged("k1", "one", "red", "round");
    ban_tag(zone, SLICE_LIT("green"));
    ban_add(zone, SLICE_LIT("nothing"));
    ck_assert_str_eq(get("k1"), "one");
}
END_TEST

int main(void)
{
    return ZONE_SUITE("ban", a_ban_hits_older_entries_that_match_and_nothing_else,
                      the_sweeper_removes_what_was_banned_and_retires_the_ban,
                      a_set_from_before_a_matching_ban_is_rejected, a_full_ring_says_so_until_swept,
                      a_pattern_may_be_as_long_as_the_header_says,
                      a_purged_tag_hits_its_older_entries, tags_can_be_kept,
                      other_events_do_not_hit_tagged_entries);
}
