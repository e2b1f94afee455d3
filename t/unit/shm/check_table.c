#include "shm/table.h"

#include "shm/layout.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char big[200000];

START_TEST(every_length_reads_back)
{
    static const size_t lengths[] = {0,   1,   3,    4,    7,     8,     9,     15,    63,    64,
                                     511, 512, 4095, 4096, 16000, 16383, 16384, 40000, 100000};
    static char back[sizeof(big)];

    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct table_key key = key_of("k");

        ck_assert_int_eq(put_bytes(key, big + i, lengths[i]), TABLE_STORED);
        memset(back, 0, sizeof(back));
        ck_assert_int_eq(read_value(zone, &key, NOW, back, sizeof(back)), (long)lengths[i]);
        ck_assert_int_eq(memcmp(back, big + i, lengths[i]), 0);
    }
    ck_assert_uint_eq(table_count(zone), 1);
}
END_TEST

START_TEST(every_key_length_is_told_apart)
{
    char name[1025];
    char value[32];

    memset(name, 'x', sizeof(name));
    for (size_t len = 1; len <= 1024; len += len < 40 ? 1 : 123) {
        snprintf(value, sizeof(value), "%zu", len);
        ck_assert_int_eq(put_bytes(table_key(zone, slice_make(name, len)), value, strlen(value)),
                         TABLE_STORED);
    }
    for (size_t len = 1; len <= 1024; len += len < 40 ? 1 : 123) {
        struct table_key key = table_key(zone, slice_make(name, len));
        long n = read_value(zone, &key, NOW, value, sizeof(value) - 1);

        ck_assert_int_gt(n, 0);
        value[n] = '\0';
        ck_assert_uint_eq(strtoul(value, NULL, 10), len);
    }
}
END_TEST

START_TEST(an_entry_may_end_where_its_slab_ends)
{
    uint64_t seed = test_seed();

    for (int i = 0; i < 50000; i++) {
        char name[2] = {(char)('a' + next_random(&seed) % 26), 0};
        size_t len = next_random(&seed) % 20; /* entries of 24 to 40 bytes */
        char back[20];
        struct table_key key = key_of(name);

        ck_assert_int_eq(put_bytes(key, big, len), TABLE_STORED);
        ck_assert_int_eq(read_value(zone, &key, NOW, back, sizeof(back)), (long)len);
    }
}
END_TEST

START_TEST(keys_are_bytes)
{
    struct table_key a = table_key(zone, slice_make("a\0b", 3));
    struct table_key b = table_key(zone, slice_make("a\0c", 3));
    char back[8];

    ck_assert_int_eq(put_bytes(a, "one", 3), TABLE_STORED);
    ck_assert_int_eq(read_value(zone, &b, NOW, back, sizeof(back)), -1);
    ck_assert_int_eq(read_value(zone, &a, NOW, back, sizeof(back)), 3);
}
END_TEST

START_TEST(a_newer_value_replaces_the_older)
{
    ck_assert_int_eq(put("k", "one"), TABLE_STORED);
    ck_assert_int_eq(put("k", "two"), TABLE_STORED);
    ck_assert_str_eq(get("k"), "two");
    ck_assert_uint_eq(table_count(zone), 1);
}
END_TEST

START_TEST(a_deleted_key_is_absent)
{
    put("k", "v");
    ck_assert_int_eq(drop("k"), TABLE_STORED);
    ck_assert_ptr_null(get("k"));
    ck_assert_int_eq(drop("k"), TABLE_MISS);
    ck_assert_uint_eq(table_count(zone), 0);
    ck_assert_uint_eq(table_bytes(zone), 0);
}
END_TEST

START_TEST(metadata_flags_and_expiry_come_back)
{
    struct table_key key = key_of("k");
    struct slice tag = SLICE_LIT("t");
    struct table_write write = {.value = SLICE_LIT("value"),
                                .meta = SLICE_LIT("text/html"),
                                .tags = &tag,
                                .n_tags = 1,
                                .expires_ms = NOW + 77,
                                .flags = 0xfff0 | 0xf};
    struct table_hit hit;
    char meta[16], value[16];

    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    ck_assert_uint_eq(hit.flags, 0xfff0);
    ck_assert_uint_eq(hit.expires_ms, NOW + 77);
    ck_assert_uint_eq(hit.meta_len, 9);
    ck_assert_uint_eq(hit.value_len, 5);
    ck_assert_int_eq(table_copy(zone, &hit, meta, value), TABLE_HIT);
    ck_assert_int_eq(memcmp(meta, "text/html", 9), 0);
    ck_assert_int_eq(memcmp(value, "value", 5), 0);
}
END_TEST

START_TEST(what_is_over_a_limit_is_refused)
{
    char *huge = calloc(1, zone_value_max(zone) + 1);
    static char name[1025];
    struct table_key key = key_of("k");
    struct table_write write = {.value = SLICE_LIT("v"),
                                .meta = slice_make(big, TABLE_META_MAX + 1)};

    memset(name, 'n', sizeof(name));
    ck_assert_uint_eq(zone_value_max(zone), zone_size(zone) / 8);
    ck_assert_int_eq(put_bytes(key, huge, zone_value_max(zone)), TABLE_STORED);
    ck_assert_int_eq(put_bytes(key, huge, zone_value_max(zone) + 1), TABLE_TOO_LARGE);
    ck_assert_int_eq(put_bytes(table_key(zone, slice_make(name, 1024)), "v", 1), TABLE_STORED);
    ck_assert_int_eq(put_bytes(table_key(zone, slice_make(name, 1025)), "v", 1), TABLE_TOO_LARGE);
    ck_assert_int_eq(put_bytes(table_key(zone, slice_make(name, 0)), "v", 1), TABLE_TOO_LARGE);
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_TOO_LARGE);
    free(huge);
}
END_TEST

static enum table_result set_expecting(const char *name, const char *value,
                                       const struct table_ref *expect)
{
    struct table_key key = key_of(name);
    struct table_write write = {.value = slice_cstr(value), .expect = expect};

    return table_set(zone, &key, &write, NOW);
}

static struct table_hit look(const char *name)
{
    struct table_key key = key_of(name);
    struct table_hit hit;

    table_find(zone, &key, NOW, &hit);
    return hit;
}

START_TEST(a_change_holds_only_on_what_was_seen)
{
    struct table_hit seen;

    put("k", "1");
    seen = look("k");
    ck_assert_int_eq(set_expecting("k", "2", &seen.ref), TABLE_STORED);
    ck_assert_int_eq(set_expecting("k", "3", &seen.ref), TABLE_CHANGED);
    ck_assert_str_eq(get("k"), "2");
}
END_TEST

START_TEST(absence_can_be_insisted_on)
{
    struct table_hit absent = look("k");

    ck_assert_int_eq(set_expecting("k", "first", &absent.ref), TABLE_STORED);
    ck_assert_int_eq(set_expecting("k", "second", &absent.ref), TABLE_CHANGED);
    drop("k");
    absent = look("k");
    put("k", "third");
    ck_assert_int_eq(set_expecting("k", "fourth", &absent.ref), TABLE_CHANGED);
    ck_assert_str_eq(get("k"), "third");
}
END_TEST

START_TEST(delete_and_expire_insist_too)
{
    struct table_key key = key_of("k");
    struct table_hit seen;

    put("k", "1");
    seen = look("k");
    put("k", "2");
    ck_assert_int_eq(table_delete(zone, &key, &seen.ref, NOW), TABLE_CHANGED);
    ck_assert_int_eq(table_expire(zone, &key, &seen.ref, NOW + 5, NOW), TABLE_CHANGED);
    seen = look("k");
    ck_assert_int_eq(table_expire(zone, &key, &seen.ref, NOW + 5, NOW), TABLE_STORED);
    ck_assert_int_eq(table_delete(zone, &key, &seen.ref, NOW), TABLE_CHANGED);
    seen = look("k");
    ck_assert_int_eq(table_delete(zone, &key, &seen.ref, NOW), TABLE_STORED);
}
END_TEST

START_TEST(a_value_seen_before_a_clear_is_no_base_for_a_change)
{
    struct table_hit seen;

    put("n", "41");
    seen = look("n");
    zone_clear(zone);
    ck_assert_int_eq(set_expecting("n", "42", &seen.ref), TABLE_CHANGED);
    ck_assert_ptr_null(get("n"));
}
END_TEST

START_TEST(a_copy_that_was_overtaken_says_so)
{
    struct table_hit seen;
    char back[16];

    put("k", "one");
    seen = look("k");
    ck_assert_int_eq(table_copy(zone, &seen, NULL, back), TABLE_HIT);
    put("k", "two");
    ck_assert_int_eq(table_copy(zone, &seen, NULL, back), TABLE_OVERTAKEN);
}
END_TEST

START_TEST(clear_is_exact_at_once)
{
    for (int i = 0; i < 500; i++) {
        char name[16];

        snprintf(name, sizeof(name), "k%d", i);
        put(name, "v");
    }
    ck_assert_uint_eq(table_count(zone), 500);
    zone_clear(zone);
    ck_assert_uint_eq(table_count(zone), 0);
    ck_assert_uint_eq(table_bytes(zone), 0);
    ck_assert_ptr_null(get("k7"));
    put("k7", "new");
    put("other", "new");
    ck_assert_uint_eq(table_count(zone), 2);
    ck_assert_int_eq(drop("k8"), TABLE_MISS); /* unlinks the old one: no longer counted */
    ck_assert_uint_eq(table_count(zone), 2);
    ck_assert_str_eq(get("k7"), "new");
}
END_TEST

START_TEST(a_set_that_began_before_a_clear_is_rejected)
{
    struct table_key key = key_of("k");
    struct table_write write = {.value = SLICE_LIT("late"), .began_seq = zone_seq(zone)};

    zone_clear(zone);
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
    write.began_seq = zone_seq(zone);
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    ck_assert_str_eq(get("k"), "late");
}
END_TEST

START_TEST(older_than_the_epoch_is_stale)
{
    struct table_key key = key_of("k");
    struct table_hit hit;

    put("k", "v");
    zone_epoch_move(zone);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_STALE);
    ck_assert_uint_eq(table_count(zone), 1);
    put("k", "w");
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
}
END_TEST

START_TEST(read_locked_reports_lengths_and_fills_what_fits)
{
    struct table_key key = key_of("k");
    struct table_hit hit;
    char back[5] = "....";

    put("k", "value");
    ck_assert_int_eq(table_read_locked(zone, &key, NOW, &hit, NULL, 0, back, 4), TABLE_HIT);
    ck_assert_uint_eq(hit.value_len, 5);
    ck_assert_str_eq(back, "....");
    ck_assert_int_eq(table_read_locked(zone, &key, NOW, &hit, NULL, 0, back, 5), TABLE_HIT);
    ck_assert_int_eq(memcmp(back, "value", 5), 0);
}
END_TEST

START_TEST(a_held_lock_makes_changes_busy_and_reads_go_on)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    uint32_t waits = (uint32_t)counter(STAT_LOCK_WAITS);

    put("k", "v");
    atomic_store(&stripe->lock, 99);
    ck_assert_int_eq(put("k", "w"), TABLE_BUSY);
    ck_assert_int_eq(drop("k"), TABLE_BUSY);
    if (!LAYOUT_LOCKED_READS)
        ck_assert_str_eq(get("k"), "v");
    ck_assert_uint_gt(counter(STAT_LOCK_WAITS), waits);
    atomic_store(&stripe->lock, 0);
    ck_assert_int_eq(put("k", "w"), TABLE_STORED);
}
END_TEST

START_TEST(a_reader_meets_an_odd_version_and_takes_the_lock)
{
    struct table_key key = key_of("k");
    struct table_hit hit;
    struct bucket *head;

    put("k", "v");
    table_find(zone, &key, NOW, &hit);
    head = layout_at(zone, hit.ref.bucket);
    atomic_fetch_add(&head->version, 1);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    if (!LAYOUT_LOCKED_READS)
        ck_assert_uint_ge(counter(STAT_READ_RETRIES), 3);
    atomic_fetch_add(&head->version, 1);
}
END_TEST

#define WALKED 300
static unsigned seen_in_walk[WALKED];

static void visit(void *arg, struct slice key, const struct table_hit *hit)
{
    unsigned long n = strtoul(key.data + 1, NULL, 10);

    (void)arg;
    ck_assert_uint_lt(n, WALKED);
    ck_assert_uint_eq(hit->value_len, 1 + n % 5);
    seen_in_walk[n]++;
}

START_TEST(a_walk_visits_each_valid_entry_once)
{
    char name[16];

    memset(seen_in_walk, 0, sizeof(seen_in_walk));
    for (unsigned i = 0; i < WALKED; i++) {
        struct table_key key;

        snprintf(name, sizeof(name), "k%03u", i);
        key = key_of(name);
        ck_assert_int_eq(put_bytes(key, "vvvvv", 1 + i % 5), TABLE_STORED);
    }
    put_until("k999", "expired", NOW);
    for (unsigned s = 0; s < table_stripes(zone); s++)
        ck_assert_int_eq(table_walk(zone, s, NOW, visit, NULL), TABLE_HIT);
    for (unsigned i = 0; i < WALKED; i++)
        ck_assert_uint_eq(seen_in_walk[i], 1);
}
END_TEST

START_TEST(many_small_entries_overflow_their_buckets_and_stay_sound)
{
    unsigned there = 0;
    char name[16];

    for (unsigned i = 0; i < 60000; i++) {
        snprintf(name, sizeof(name), "%u", i);
        ck_assert_int_eq(put(name, name), TABLE_STORED);
        ck_assert_str_eq(get(name), name);
    }
    expect_sound();
    for (unsigned i = 0; i < 60000; i++) {
        snprintf(name, sizeof(name), "%u", i);
        there += get(name) != NULL;
    }
    ck_assert_uint_eq(there, table_count(zone));
    ck_assert_uint_eq(there + counter(STAT_EVICTIONS), 60000);
    for (unsigned i = 0; i < 60000; i++) {
        snprintf(name, sizeof(name), "%u", i);
        drop(name);
    }
    ck_assert_uint_eq(table_count(zone), 0);
}
END_TEST

START_TEST(a_tag_is_not_confused_with_a_link)
{
    /* Keys whose tag is 0 share their first 16 bits with every link. */
    unsigned found = 0;
    char name[24];

    for (unsigned i = 0; i < 400000 && found < 5; i++) {
        struct table_key key;

        snprintf(name, sizeof(name), "zero%u", i);
        key = key_of(name);
        if (layout_tag(key.hash) != 0)
            continue;
        found++;
        ck_assert_ptr_null(get(name));
        put(name, "v");
        ck_assert_str_eq(get(name), "v");
        ck_assert_int_eq(drop(name), TABLE_STORED);
    }
    ck_assert_uint_gt(found, 0);
}
END_TEST

int main(void)
{
    return ZONE_SUITE(
        "table", every_length_reads_back, every_key_length_is_told_apart,
        an_entry_may_end_where_its_slab_ends, keys_are_bytes, a_newer_value_replaces_the_older,
        a_deleted_key_is_absent, metadata_flags_and_expiry_come_back,
        what_is_over_a_limit_is_refused, a_change_holds_only_on_what_was_seen,
        absence_can_be_insisted_on, delete_and_expire_insist_too,
        a_value_seen_before_a_clear_is_no_base_for_a_change, a_copy_that_was_overtaken_says_so,
        clear_is_exact_at_once, a_set_that_began_before_a_clear_is_rejected,
        older_than_the_epoch_is_stale, read_locked_reports_lengths_and_fills_what_fits,
        a_held_lock_makes_changes_busy_and_reads_go_on,
        a_reader_meets_an_odd_version_and_takes_the_lock, a_walk_visits_each_valid_entry_once,
        many_small_entries_overflow_their_buckets_and_stay_sound,
        a_tag_is_not_confused_with_a_link);
}
