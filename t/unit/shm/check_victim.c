/* What is kept when the zone is full, what is remembered, and how room is made. */
#include "common/clock.h"
#include "shm/ban.h"
#include "shm/evict.h"
#include "shm/ghost.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/repair.h"
#include "shm/sweep.h"

/* After the headers with inline functions, whose parameters its variable would shadow. */
#include "zone_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB       1024u
#define MIB       (1024u * KIB)
#define ROOMY     (16u * MIB)
#define VALUE_MAX (2u * MIB)

static char value[VALUE_MAX];
static char back[VALUE_MAX];

static struct table_key name_of(char kind, unsigned long i)
{
    static char text[32];

    return table_key(zone,
                     slice_make(text, (size_t)snprintf(text, sizeof(text), "%c%lu", kind, i)));
}

static void store(char kind, unsigned long i, size_t len)
{
    ck_assert_int_eq(put_bytes(name_of(kind, i), value, len), TABLE_STORED);
}

static bool there(char kind, unsigned long i)
{
    struct table_key key = name_of(kind, i);

    return read_value(zone, &key, NOW, back, sizeof(back)) >= 0;
}

static struct table_hit hit_of(struct table_key key)
{
    struct table_hit hit;

    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    return hit;
}

static bool in_main(const char *key)
{
    return slab_is_main(zone, slab_of(zone, hit_of(key_of(key)).at));
}

/* Keys that are stored once and never asked for, so many times the zone's size. */
static void flood(size_t len, double times)
{
    static unsigned long next;
    unsigned long n = (unsigned long)(times * (double)zone_size(zone) / (double)len);

    while (n-- > 0)
        store('f', next++, len);
}

static void credit_setup(void)
{
    struct zone_options options = {
        .name = "test", .size_bytes = ROOMY, .key_max_bytes = 1024, .size_credit = true};
    struct errmsg msg = {""};

    ck_assert_int_eq(zone_create(&options, &zone, &msg), ERR_OK);
    ck_assert_int_eq(zone_join(zone, &msg), ERR_OK);
}

static void roomy_setup(void)
{
    zone_open(ROOMY, 1024);
}

/* --- the queues ------------------------------------------------------------------------------- */

START_TEST(what_was_read_twice_goes_to_the_main_queue)
{
    put("hot", "value");
    put("cold", "value");
    ck_assert(!in_main("hot")); /* one read */
    get("hot");
    flood(1000, 1);
    ck_assert_str_eq(get("hot"), "value");
    ck_assert(in_main("hot"));
    ck_assert_ptr_null(get("cold"));
    ck_assert_uint_ge(counter(STAT_KEPT), 1);
    ck_assert_uint_gt(counter(STAT_EVICTIONS), 0);
}
END_TEST

START_TEST(one_read_is_not_enough)
{
    put("warm", "value");
    get("warm");
    flood(1000, 1);
    ck_assert_ptr_null(get("warm"));
}
END_TEST

START_TEST(what_comes_back_goes_to_the_main_queue_at_once)
{
    put("back", "value");
    flood(1000, 1);
    ck_assert_ptr_null(get("back"));
    ck_assert_uint_eq(counter(STAT_GHOST_HITS), 0);
    put("back", "value");
    ck_assert_uint_eq(counter(STAT_GHOST_HITS), 1);
    ck_assert(in_main("back"));
    put("new", "value");
    ck_assert(!in_main("new"));
}
END_TEST

START_TEST(an_overwrite_keeps_queue_and_frequency)
{
    put("key", "value");
    get("key");
    get("key");
    put("key", "another value, longer by far");
    ck_assert_uint_eq(index_freq(hit_of(key_of("key")).ref.slot), 0); /* a ref has none */
    flood(1000, 1);
    ck_assert_str_eq(get("key"), "another value, longer by far");
    ck_assert(in_main("key"));
    put("key", "short");
    ck_assert(in_main("key"));
}
END_TEST

START_TEST(one_hit_wonders_do_not_push_out_the_working_set)
{
    const unsigned long set = ROOMY / 4 / KIB;
    unsigned long hits = 0;

    for (unsigned long i = 0; i < set; i++)
        store('w', i, KIB);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned long i = 0; i < set; i++) {
            hits += round > 0 && there('w', i);
            if (!there('w', i))
                store('w', i, KIB);
            else
                there('w', i);
            if (i % 8 == 0)
                flood(KIB, 8 * (double)KIB / ROOMY);
        }
        flood(KIB, 1);
    }
    /* LRU would have lost all of them in each flood. */
    ck_assert_uint_ge(hits, 5 * set * 95 / 100);
}
END_TEST

START_TEST(a_set_succeeds_when_everything_is_hot)
{
    unsigned long n = 4 * MIB / KIB;

    for (unsigned long i = 0; i < n; i++) {
        store('h', i, KIB);
        for (unsigned k = 0; k < 10; k++)
            there('h', i);
    }
    flood(KIB, 1);
    ck_assert_uint_gt(counter(STAT_EVICTIONS), 0);
}
END_TEST

/* --- what is not kept ------------------------------------------------------------------------- */

/* Read often, then made invalid: neither kept nor remembered. */
static void expect_forgotten(const char *key)
{
    uint64_t before = counter(STAT_GHOST_HITS);
    uint64_t kept = counter(STAT_KEPT);

    for (unsigned long n = 0; n < 5000; n++) {
        char text[32];

        snprintf(text, sizeof(text), "later%lu", n);
        struct table_key k = key_of(text);
        struct table_write write = {.value = slice_make(value, 1000)};

        ck_assert_int_eq(table_set(zone, &k, &write, NOW + 5000), TABLE_STORED);
    }
    ck_assert_uint_eq(counter(STAT_KEPT), kept);
    put(key, "value");
    ck_assert_uint_eq(counter(STAT_GHOST_HITS), before);
    ck_assert(!in_main(key));
}

static void make_hot(const char *key, uint64_t expires_ms)
{
    struct slice tag = SLICE_LIT("tag");
    struct table_key k = key_of(key);
    struct table_write write = {
        .value = SLICE_LIT("value"), .tags = &tag, .n_tags = 1, .expires_ms = expires_ms};

    ck_assert_int_eq(table_set(zone, &k, &write, NOW), TABLE_STORED);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_ptr_nonnull(get(key));
}

START_TEST(the_expired_is_forgotten)
{
    make_hot("expired", NOW + 1000);
    expect_forgotten("expired");
}
END_TEST

START_TEST(the_cleared_is_forgotten)
{
    make_hot("cleared", 0);
    zone_clear(zone);
    expect_forgotten("cleared");
}
END_TEST

START_TEST(the_banned_is_forgotten)
{
    make_hot("banned", 0);
    ck_assert_int_eq(ban_add(zone, SLICE_LIT("bann*")), BAN_RECORDED);
    expect_forgotten("banned");
}
END_TEST

START_TEST(the_purged_is_forgotten)
{
    make_hot("purged", 0);
    ban_tag(zone, SLICE_LIT("tag"));
    expect_forgotten("purged");
}
END_TEST

/* --- sizes ------------------------------------------------------------------------------------ */

START_TEST(sizes_may_change_at_any_time)
{
    static const size_t sizes[] = {KIB, MIB, 30};

    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < 3; i++)
            flood(sizes[i], sizes[i] < 100 ? 0.2 : 2); /* an entry takes more than 30 bytes */
    }
    expect_sound();
}
END_TEST

START_TEST(a_large_value_is_kept_or_dropped_as_one)
{
    unsigned long n = 0;

    store('L', 1, MIB);
    store('L', 2, MIB);
    memset(back, 1, MIB);
    ck_assert(there('L', 1) && there('L', 1));
    while (there('L', 2) && n++ < 100) /* which reads it, but it is looked at once only */
        flood(300 * KIB, 0.25);
    flood(300 * KIB, 2);
    ck_assert(there('L', 1));
    ck_assert_int_eq(memcmp(back, value, MIB), 0);
    expect_sound();
}
END_TEST

START_TEST(an_unread_large_value_goes_first)
{
    store('L', 1, MIB);
    store('L', 2, MIB);
    ck_assert(there('L', 1) && there('L', 1));
    flood(KIB, 1);
    ck_assert(there('L', 1));
    ck_assert(!there('L', 2));
    store('L', 2, MIB);
    ck_assert_uint_eq(counter(STAT_GHOST_HITS), 1);
    expect_sound();
}
END_TEST

START_TEST(with_the_credit_small_entries_stay_more_easily)
{
    /* The mean becomes about 32 KiB: 16 times the small one's size, an eighth of the large one's.
     */
    for (unsigned i = 0; i < 200; i++)
        store('m', i, 32 * KIB);
    store('s', 1, 2 * KIB);
    store('l', 1, 256 * KIB);
    ck_assert(there('l', 1) && there('l', 1));
    flood(32 * KIB, 1);
    ck_assert(there('s', 1));
    ck_assert(!there('l', 1));
}
END_TEST

START_TEST(without_it_they_do_not)
{
    for (unsigned i = 0; i < 200; i++)
        store('m', i, 32 * KIB);
    store('s', 1, 2 * KIB);
    store('l', 1, 256 * KIB);
    ck_assert(there('l', 1) && there('l', 1));
    flood(32 * KIB, 1);
    ck_assert(!there('s', 1));
    ck_assert(there('l', 1));
}
END_TEST

/* --- making room ------------------------------------------------------------------------------ */

START_TEST(hollow_slabs_are_compacted_before_anything_is_evicted)
{
    unsigned long n = ROOMY / 100 * 85 / (KIB + 40);

    for (unsigned long i = 0; i < n; i++)
        store('a', i, KIB);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
    for (unsigned long i = 0; i < n; i++) {
        struct table_key key = name_of('a', i);

        if (i % 4 != 0)
            ck_assert_int_eq(table_delete(zone, &key, NULL, NOW), TABLE_STORED);
    }
    for (unsigned long i = 0; i < n / 2; i++)
        store('b', i, KIB);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), 0);
    for (unsigned long i = 0; i < n; i += 4)
        ck_assert(there('a', i));
    for (unsigned long i = 0; i < n / 2; i++)
        ck_assert(there('b', i));
}
END_TEST

START_TEST(the_sweeper_keeps_the_reserve)
{
    uint32_t wanted = zone->g.n_slabs / 50;

    flood(KIB, 1.5);
    for (unsigned i = 0; i < 1000 && slab_count_free(zone) < wanted; i++)
        sweep_tick(zone, NOW, (struct sweep_budget){64, 1000000000});
    ck_assert_uint_ge(slab_count_free(zone), wanted);
    ck_assert_uint_gt(wanted, SLAB_KEPT);
}
END_TEST

START_TEST(the_sweeper_promotes_too)
{
    uint64_t reclaims;

    for (unsigned i = 0; i < 100; i++) {
        store('k', i, KIB);
        ck_assert(there('k', i) && there('k', i));
    }
    flood(KIB, 0.8);
    reclaims = counter(STAT_RECLAIMS);
    for (unsigned i = 0; i < 2000; i++) {
        flood(KIB, 16.0 * KIB / ROOMY);
        sweep_tick(zone, NOW, (struct sweep_budget){4096, 1000000000});
    }
    ck_assert_uint_gt(counter(STAT_RECLAIMS), reclaims);
    for (unsigned i = 0; i < 100; i++)
        ck_assert(there('k', i));
}
END_TEST

/* --- ghosts ----------------------------------------------------------------------------------- */

START_TEST(a_ghost_is_taken_once)
{
    atomic_store(&zone->sb->entries_seen, 1000);
    ck_assert(!ghost_take(zone, 12345));
    ghost_add(zone, 12345);
    ck_assert(!ghost_take(zone, 54321));
    ck_assert(ghost_take(zone, 12345));
    ck_assert(!ghost_take(zone, 12345));
}
END_TEST

/* How many of the first hundred are remembered after n others. */
static unsigned remembered_after(unsigned n)
{
    uint64_t seed = 77;
    uint64_t first[100];
    unsigned found = 0;

    for (unsigned i = 0; i < 100; i++) {
        first[i] = next_random(&seed);
        ghost_add(zone, first[i]);
    }
    while (n-- > 0)
        ghost_add(zone, next_random(&seed));
    for (unsigned i = 0; i < 100; i++)
        found += ghost_take(zone, first[i]);
    return found;
}

START_TEST(ghosts_are_a_queue_as_long_as_the_main_one)
{
    atomic_store(&zone->sb->entries_seen, 5000);
    ck_assert_uint_ge(remembered_after(4000), 98); /* of a line's 16 words some are lost early */
    ck_assert_uint_eq(remembered_after(4700), 0);
    atomic_store(&zone->sb->entries_seen, 500);
    ck_assert_uint_eq(remembered_after(4000), 0);
    ck_assert_uint_eq(ghost_check(zone), 0);
}
END_TEST

START_TEST(more_ghosts_than_the_table_holds_are_forgotten)
{
    unsigned words = zone->g.n_ghosts * LAYOUT_GHOSTS;

    atomic_store(&zone->sb->entries_seen, UINT32_MAX);
    ck_assert_uint_eq(remembered_after(8 * words), 0);
}
END_TEST

/* --- overwriting in place ------------------------------------------------------------------------
 */

START_TEST(what_fits_is_overwritten_in_place)
{
    uint64_t at;

    put("key", "value 1");
    at = hit_of(key_of("key")).at;
    put("key", "value 2");
    ck_assert_uint_eq(hit_of(key_of("key")).at, at);
    ck_assert_str_eq(get("key"), "value 2");
    ck_assert_uint_eq(counter(STAT_IN_PLACE), 1);
    put("key", "value2"); /* within the same eight bytes */
    ck_assert_uint_eq(hit_of(key_of("key")).at, at);
    ck_assert_str_eq(get("key"), "value2");
    put("key", "a value that is longer");
    ck_assert_uint_ne(hit_of(key_of("key")).at, at);
    ck_assert_uint_eq(counter(STAT_IN_PLACE), 2);
}
END_TEST

START_TEST(metadata_tags_and_expiry_are_overwritten_too)
{
    struct slice tags[] = {SLICE_LIT("one"), SLICE_LIT("two")};
    struct table_key key = key_of("key");
    struct table_write write = {.value = SLICE_LIT("value 1"),
                                .meta = SLICE_LIT("meta 1"),
                                .tags = &tags[0],
                                .n_tags = 1,
                                .expires_ms = NOW + 1000};
    struct table_hit hit;
    char meta[8] = "";

    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    write.value = SLICE_LIT("value 2");
    write.meta = SLICE_LIT("meta 2");
    write.tags = &tags[1];
    write.flags = TABLE_FLAG_USER;
    write.expires_ms = NOW + 900;
    ck_assert_int_eq(table_set(zone, &key, &write, NOW), TABLE_STORED);
    ck_assert_uint_eq(counter(STAT_IN_PLACE), 1);
    hit = hit_of(key);
    ck_assert_int_eq(table_copy(zone, &hit, meta, back), TABLE_HIT);
    ck_assert_str_eq(meta, "meta 2");
    ck_assert_uint_eq(hit.flags, TABLE_FLAG_USER);
    ck_assert_uint_eq(hit.expires_ms, NOW + 900);
    ban_tag(zone, tags[0]);
    ck_assert_str_eq(get("key"), "value 2");
    ban_tag(zone, tags[1]);
    ck_assert_ptr_null(get("key"));
}
END_TEST

START_TEST(a_longer_expiry_outlives_the_sweeper)
{
    put_until("key", "value 1", NOW + 1000);
    put_until("key", "value 2", NOW + 3000);
    for (unsigned i = 0; i < 10; i++)
        sweep_tick(zone, NOW + 2000, (struct sweep_budget){4096, 1000000000});
    ck_assert_str_eq(get_at("key", NOW + 2000), "value 2");
    ck_assert_ptr_null(get_at("key", NOW + 3000));
}
END_TEST

START_TEST(what_a_worker_could_be_sending_is_not_overwritten)
{
    uint64_t at;

    store('v', 1, 5000);
    at = hit_of(name_of('v', 1)).at;
    store('v', 1, 5000);
    ck_assert_uint_ne(hit_of(name_of('v', 1)).at, at);
    ck_assert_uint_eq(counter(STAT_IN_PLACE), 0);
}
END_TEST

START_TEST(after_a_clear_an_overwrite_counts_again)
{
    put("key", "value 1");
    zone_clear(zone);
    put("key", "value 2");
    ck_assert_str_eq(get("key"), "value 2");
    ck_assert_uint_eq(table_count(zone), 1);
}
END_TEST

/* Overwrites one value with runs of one letter until it is killed. */
static _Noreturn void overwrite_for_ever(void)
{
    struct table_key key = key_of("shared");
    struct errmsg msg;
    char letters[512];

    if (zone_join(zone, &msg) != ERR_OK)
        _exit(1);
    for (unsigned i = 0;; i++) {
        struct table_write write = {.value = slice_make(letters, sizeof(letters))};
        enum table_result result;

        memset(letters, 'a' + (char)(i % 26), sizeof(letters));
        /* On a machine with too much to do a lock may be waited for in vain. */
        result = table_set(zone, &key, &write, clock_now_ms());
        if (result != TABLE_STORED && result != TABLE_BUSY)
            _exit(2);
    }
}

static void expect_one_letter(long len)
{
    ck_assert_int_eq(len, 512);
    for (long i = 1; i < len; i++)
        ck_assert_int_eq(back[i], back[0]);
}

START_TEST(readers_see_the_old_value_or_the_new_one)
{
    struct table_key key = key_of("shared");
    char first = 0;
    unsigned changes = 0;
    int status;
    pid_t child;

    memset(value, 'z', 512);
    ck_assert_int_eq(put_bytes(key, value, 512), TABLE_STORED);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        overwrite_for_ever();
    while (changes < 300) {
        expect_one_letter(read_value(zone, &key, clock_now_ms(), back, sizeof(back)));
        changes += back[0] != first;
        first = back[0];
    }
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    repair_process(zone, child, false, NULL);
    ck_assert_uint_gt(counter(STAT_IN_PLACE), 300);
}
END_TEST

/* Dies with half of a value written. */
static _Noreturn void die_overwriting(void)
{
    struct table_key key = key_of("torn");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    struct errmsg msg;

    if (zone_join(zone, &msg) != ERR_OK || !lock_take(zone, stripe) ||
        !index_find(zone, &a, &key, &spot, &view))
        _exit(1);
    index_over_begin_locked(zone, stripe, &spot, &view);
    memset((char *)layout_at(zone, view.at) + view.key_at + view.key_len, 'x', 2);
    kill(getpid(), SIGKILL);
    _exit(2);
}

START_TEST(a_half_written_value_is_dropped)
{
    struct repair_report report = {0};
    int status;
    pid_t child;

    put("torn", "value");
    put("whole", "value");
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        die_overwriting();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(repair_process(zone, child, false, &report), 1);
    ck_assert_uint_eq(report.slots, 1);
    ck_assert_ptr_null(get("torn"));
    ck_assert_str_eq(get("whole"), "value");
    put("torn", "value");
    ck_assert_str_eq(get("torn"), "value");
}
END_TEST

/* Dies with a slab half emptied. */
static _Noreturn void die_reclaiming(void)
{
    struct evict_budget budget = {.unlinks = 20, .end_ns = UINT64_MAX};
    struct reclaim reclaim = {.slab = LAYOUT_NONE};
    struct errmsg msg;

    if (zone_join(zone, &msg) != ERR_OK)
        _exit(1);
    for (uint32_t i = 0; i < zone->g.n_slabs && reclaim.slab == LAYOUT_NONE; i++) {
        if (slab_state(slab_load(zone, i)) == SLAB_SEALED &&
            !evict_claim(zone, i, EVICT_QUEUE, &reclaim))
            _exit(2);
    }
    if (evict_run(zone, &reclaim, NOW, &budget, true) != EVICT_MORE)
        _exit(3);
    kill(getpid(), SIGKILL);
    _exit(4);
}

START_TEST(a_slab_half_emptied_loses_nothing_more)
{
    uint64_t kept, evicted;
    unsigned left = 0;
    int status;
    pid_t child;

    for (unsigned i = 0; i < 500; i++) {
        store('r', i, 400);
        ck_assert(i % 2 != 0 || (there('r', i) && there('r', i)));
    }
    slab_seal_all(zone);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        die_reclaiming();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    kept = counter(STAT_KEPT);
    evicted = counter(STAT_EVICTIONS);
    ck_assert_uint_gt(kept, 0);
    ck_assert_int_eq(repair_process(zone, child, false, NULL), 1);
    ck_assert_uint_eq(counter(STAT_EVICTIONS), evicted);
    for (unsigned i = 0; i < 500; i++) {
        left += there('r', i);
        ck_assert(i % 2 != 0 || there('r', i));
    }
    ck_assert_uint_eq(left, 500 - evicted);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, void (*setup)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, zone_close);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_roomy(Suite *suite)
{
    TCase *tcase = add_case(suite, "16 MiB", roomy_setup);

    tcase_add_test(tcase, one_hit_wonders_do_not_push_out_the_working_set);
    tcase_add_test(tcase, sizes_may_change_at_any_time);
    tcase_add_test(tcase, a_large_value_is_kept_or_dropped_as_one);
    tcase_add_test(tcase, an_unread_large_value_goes_first);
    tcase_add_test(tcase, without_it_they_do_not);
    tcase_add_test(tcase, hollow_slabs_are_compacted_before_anything_is_evicted);
    tcase_add_test(tcase, the_sweeper_keeps_the_reserve);
    tcase_add_test(tcase, the_sweeper_promotes_too);
    tcase_add_test(tcase, ghosts_are_a_queue_as_long_as_the_main_one);
    tcase_add_test(tcase, more_ghosts_than_the_table_holds_are_forgotten);
    tcase = add_case(suite, "size credit", credit_setup);
    tcase_add_test(tcase, with_the_credit_small_entries_stay_more_easily);
}

static void add_small(Suite *suite)
{
    TCase *tcase = add_case(suite, "4 MiB", zone_small);

    tcase_add_test(tcase, what_was_read_twice_goes_to_the_main_queue);
    tcase_add_test(tcase, one_read_is_not_enough);
    tcase_add_test(tcase, what_comes_back_goes_to_the_main_queue_at_once);
    tcase_add_test(tcase, an_overwrite_keeps_queue_and_frequency);
    tcase_add_test(tcase, a_set_succeeds_when_everything_is_hot);
    tcase_add_test(tcase, the_expired_is_forgotten);
    tcase_add_test(tcase, the_cleared_is_forgotten);
    tcase_add_test(tcase, the_banned_is_forgotten);
    tcase_add_test(tcase, the_purged_is_forgotten);
    tcase_add_test(tcase, a_ghost_is_taken_once);
    tcase_add_test(tcase, what_fits_is_overwritten_in_place);
    tcase_add_test(tcase, metadata_tags_and_expiry_are_overwritten_too);
    tcase_add_test(tcase, a_longer_expiry_outlives_the_sweeper);
    tcase_add_test(tcase, what_a_worker_could_be_sending_is_not_overwritten);
    tcase_add_test(tcase, after_a_clear_an_overwrite_counts_again);
    tcase_add_test(tcase, readers_see_the_old_value_or_the_new_one);
    tcase_add_test(tcase, a_half_written_value_is_dropped);
    tcase_add_test(tcase, a_slab_half_emptied_loses_nothing_more);
}

int main(void)
{
    Suite *suite = suite_create("victim");
    SRunner *runner = srunner_create(suite);
    int failed;

    add_small(suite);
    add_roomy(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
