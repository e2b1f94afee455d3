/* One test a place to die at. The child does a part of an operation and kills itself there. */
#include "shm/repair.h"

#include "shm/ban.h"
#include "shm/block.h"
#include "shm/evict.h"
#include "shm/index.h"
#include "shm/lock.h"
#include "shm/spill.h"
#include "shm/store.h"
#include "shm/stub.h"
#include "shm/victim.h"
#include "zone_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct repair_report report;
static char large[300000];

static _Noreturn void die(void)
{
    kill(getpid(), SIGKILL);
    abort();
}

/* Run act in a process that has joined, until it kills itself. */
static pid_t die_in(void (*act)(void))
{
    struct errmsg msg;
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (zone_join(zone, &msg) == ERR_OK)
            act();
        _exit(3);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return pid;
}

static void repair_after(void (*act)(void), bool suspect)
{
    pid_t pid = die_in(act);

    memset(&report, 0, sizeof(report));
    ck_assert_int_eq(repair_process(zone, pid, suspect, &report), 1);
    ck_assert_int_eq(repair_process(zone, pid, suspect, NULL), 0);
    expect_sound();
}

static void take(const struct table_key *key)
{
    if (!lock_take(zone, layout_stripe(zone, key->hash)))
        _exit(4);
}

static void die_with_lock(void)
{
    struct table_key key = key_of("k");

    take(&key);
    die();
}

START_TEST(a_lock_is_freed)
{
    put("k", "v");
    repair_after(die_with_lock, false);
    ck_assert_uint_eq(report.locks, 1);
    ck_assert_uint_eq(report.slots, 0);
    ck_assert_int_eq(put("k", "w"), TABLE_STORED);
}
END_TEST

static void die_with_odd_version(void)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    take(&key);
    index_find(zone, &a, &key, &spot, &view);
    index_begin_locked(zone, stripe, spot.head, spot.word, 0);
    atomic_store(&spot.bucket->slot[spot.slot], 0); /* unlinked, nothing counted yet */
    die();
}

START_TEST(an_odd_version_becomes_even_and_counts_are_right)
{
    put("k", "v");
    put("other", "v");
    repair_after(die_with_odd_version, false);
    ck_assert_uint_eq(report.locks, 1);
    ck_assert_uint_eq(table_count(zone), 1);
    ck_assert_ptr_null(get("k"));
    ck_assert_str_eq(get("other"), "v");
}
END_TEST

static void die_with_bad_slot(void)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    take(&key);
    index_find(zone, &a, &key, &spot, &view);
    index_begin_locked(zone, stripe, spot.head, 0, 0);
    atomic_store(&spot.head->slot[3], index_word(key.hash, zone->slabs_end - 32));
    die();
}

START_TEST(a_slot_that_leads_nowhere_is_dropped)
{
    put("k", "v");
    repair_after(die_with_bad_slot, false);
    ck_assert_uint_eq(report.slots, 1);
    ck_assert_str_eq(get("k"), "v");
}
END_TEST

static void die_with_overflow_bucket(void)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct bucket *head = index_head(&a, key.hash);

    block_expect(zone);
    block_feed(zone, NOW);
    take(&key);
    index_begin_locked(zone, stripe, head, 0, 0);
    if (spill_take_locked(zone, stripe) != NULL)
        die();
}

START_TEST(an_overflow_bucket_not_yet_linked_is_freed)
{
    repair_after(die_with_overflow_bucket, false);
}
END_TEST

static void die_after_storing(void)
{
    if (put("theirs", "v") == TABLE_STORED)
        die();
}

/* In a zone of 4 MiB workers share their slabs; here each has its own. */
static void larger_zone(void)
{
    zone_close();
    zone_open(32u << 20, 1024);
}

START_TEST(open_slabs_are_sealed_and_entries_stay)
{
    larger_zone();
    repair_after(die_after_storing, false);
    ck_assert_uint_eq(report.slabs, 1);
    ck_assert_str_eq(get("theirs"), "v");
}
END_TEST

START_TEST(a_suspect_process_loses_what_it_had_open)
{
    larger_zone();
    put("mine", "v");
    repair_after(die_after_storing, true);
    ck_assert_ptr_null(get("theirs"));
    ck_assert_str_eq(get("mine"), "v");
}
END_TEST

START_TEST(a_suspect_process_loses_the_stripe_it_had_locked)
{
    put("k", "v");
    repair_after(die_with_lock, true);
    ck_assert_uint_ge(report.slots, 1);
    ck_assert_ptr_null(get("k"));
    ck_assert_int_eq(put("k", "w"), TABLE_STORED);
}
END_TEST

static void die_in_reclaim(void)
{
    struct evict_budget budget = {5, UINT64_MAX};
    struct reclaim reclaim;
    enum evict_mode mode;
    uint32_t slab = victim_choose(zone, NOW, &mode);

    if (slab != LAYOUT_NONE && evict_claim(zone, slab, mode, &reclaim) &&
        evict_run(zone, &reclaim, NOW, &budget, true) == EVICT_MORE)
        die();
}

/* What was taken out of the slab is gone or elsewhere, the rest is still there, and the slab is
 * anybody's to reclaim. */
START_TEST(a_reclaim_is_given_back)
{
    static const char value[] = "a value of some length, so that slabs fill up and are sealed ......";
    uint64_t found = 0;
    char name[16];

    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        put(name, value);
    }
    repair_after(die_in_reclaim, false);
    for (int i = 0; i < 2000; i++) {
        const char *seen;

        snprintf(name, sizeof(name), "k%d", i);
        seen = get(name);
        ck_assert(seen == NULL || strcmp(seen, value) == 0);
        found += seen != NULL;
    }
    ck_assert_uint_ge(found, 2000 - 5);
    ck_assert_uint_lt(found, 2000);
    ck_assert_uint_eq(found, table_count(zone));
}
END_TEST

static void die_with_large_value_unpublished(void)
{
    struct table_key key = key_of("large");
    struct table_write write = {.value = slice_make(large, sizeof(large))};
    struct store store;

    if (store_begin(zone, &key, &write, NOW, &store) == TABLE_STORED)
        die();
}

START_TEST(the_slabs_of_a_large_value_never_published_are_freed)
{
    struct stat_memory before, after;

    stat_memory(zone, &before);
    repair_after(die_with_large_value_unpublished, false);
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
    ck_assert_uint_ge(report.slabs, 2);
}
END_TEST

static void die_with_half_a_chain(void)
{
    uint32_t first = slab_chain_grow(zone, false, LAYOUT_NONE, LAYOUT_NONE);
    uint32_t second = slab_chain_grow(zone, false, first, first);

    slab_chain_grow(zone, false, first, second);
    die();
}

START_TEST(half_a_chain_is_freed)
{
    struct stat_memory before, after;

    stat_memory(zone, &before);
    repair_after(die_with_half_a_chain, false);
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
}
END_TEST

static void die_with_large_value_unlinked(void)
{
    struct table_key key = key_of("large");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    take(&key);
    if (index_find(zone, &a, &key, &spot, &view)) {
        index_unlink_locked(zone, stripe, &spot, &view);
        lock_drop(zone, stripe);
        die();
    }
}

START_TEST(the_slabs_of_a_large_value_just_unlinked_are_freed)
{
    struct stat_memory before, after;

    put("warm", "up");
    stat_memory(zone, &before);
    ck_assert_int_eq(put_bytes(key_of("large"), large, sizeof(large)), TABLE_STORED);
    repair_after(die_with_large_value_unlinked, false);
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
    ck_assert_ptr_null(get("large"));
}
END_TEST

static void die_with_large_value_marked(void)
{
    struct table_key key = key_of("large");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;

    take(&key);
    index_find(zone, &a, &key, &spot, &view);
    index_begin_locked(zone, stripe, spot.head, spot.word, 0);
    if (slab_move(zone, view.first_slab, slab_load(zone, view.first_slab), SLAB_RECLAIM,
                  zone->owner))
        die();
}

START_TEST(a_large_value_marked_but_not_unlinked_stays)
{
    struct table_key key = key_of("large");
    static char back[sizeof(large)];

    memset(large, 'x', sizeof(large));
    ck_assert_int_eq(put_bytes(key, large, sizeof(large)), TABLE_STORED);
    repair_after(die_with_large_value_marked, false);
    ck_assert_int_eq(read_value(zone, &key, NOW, back, sizeof(back)), sizeof(back));
    ck_assert_int_eq(memcmp(back, large, sizeof(large)), 0);
}
END_TEST

static void die_with_fill_lease(void)
{
    struct table_key key = key_of("k");
    struct lease lease;

    if (lease_fill_begin(zone, &key, NOW, NOW + 10000, &lease) == LEASE_GRANTED)
        die();
}

START_TEST(a_fill_lease_is_freed)
{
    struct table_key key = key_of("k");
    struct lease lease;

    repair_after(die_with_fill_lease, false);
    ck_assert_uint_eq(report.stubs, 1);
    ck_assert_int_eq(lease_fill_begin(zone, &key, NOW, NOW + 1, &lease), LEASE_GRANTED);
    lease_fail(zone, &key, &lease);
}
END_TEST

static void die_writing(void)
{
    struct table_key key = key_of("k");
    struct lease lease;

    if (lease_write_begin(zone, &key, NOW, NOW + 10000, &lease) == LEASE_GRANTED)
        die();
}

START_TEST(a_write_of_unknown_outcome_leaves_the_key_absent)
{
    put("k", "older");
    put("other", "v");
    repair_after(die_writing, false);
    ck_assert_uint_eq(report.stubs, 1);
    ck_assert_ptr_null(get("k"));
    ck_assert_str_eq(get("other"), "v");
}
END_TEST

START_TEST(of_two_writers_the_living_one_goes_on_and_does_not_store)
{
    struct table_key key = key_of("k");
    struct table_write write = {.value = SLICE_LIT("v")};
    struct lease lease;

    ck_assert_int_eq(lease_write_begin(zone, &key, NOW, NOW + 10000, &lease), LEASE_GRANTED);
    repair_after(die_writing, false);
    ck_assert_int_eq(lease_write_end(zone, &key, &lease, &write, NOW), TABLE_REJECTED);
    ck_assert_ptr_null(get("k"));
}
END_TEST

static void die_claiming_a_stub(void)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);

    take(&key);
    stub_add_locked(zone, stripe, key.hash, STUB_FILL, NOW + 10);
    atomic_store(&stripe->stubs, 0); /* as if it had not been linked yet */
    die();
}

START_TEST(a_stub_in_no_chain_is_freed)
{
    repair_after(die_claiming_a_stub, false);
}
END_TEST

static void die_sharing_everything(void)
{
    struct table_key key = key_of("k");
    struct lease lease;

    put("theirs", "v");
    lease_write_begin(zone, &key, NOW, NOW + 10000, &lease);
    take(&key); /* and this is what the repair of the other needs */
    die();
}

START_TEST(the_dead_hold_what_the_repair_of_others_needs)
{
    pid_t first = die_in(die_writing);
    pid_t second = die_in(die_sharing_everything);

    ck_assert_int_eq(repair_process(zone, first, false, &report), 1);
    ck_assert_int_eq(repair_process(zone, second, false, &report), 1);
    expect_sound();
    ck_assert_ptr_null(get("k"));
}
END_TEST

static void die_repairing(void)
{
    /* The repairer takes over the dead one's slabs and dies before it has freed them. */
    for (uint32_t id = 1; id <= ZONE_MAX_OWNERS; id++) {
        struct owner *owner = layout_owner(zone, id);

        if (id != zone->owner && atomic_load(&owner->identity) != 0 &&
            (pid_t)(atomic_load(&owner->identity) & UINT32_MAX) != getppid())
            atomic_store(&owner->repairer, atomic_load(&layout_owner(zone, zone->owner)->identity));
    }
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint64_t word = slab_load(zone, i);

        if (slab_state(word) == SLAB_OPEN && slab_owner(word) != zone->owner &&
            (atomic_load(&zone->slabs[i].flags) & SLAB_BODY) &&
            !slab_move(zone, i, word, SLAB_RECLAIM, zone->owner))
            _exit(5);
    }
    die();
}

START_TEST(a_dead_repairer_is_succeeded)
{
    struct stat_memory before, after;
    pid_t first, second;

    stat_memory(zone, &before);
    first = die_in(die_with_half_a_chain);
    second = die_in(die_repairing);
    ck_assert_int_eq(repair_process(zone, second, false, &report), 1);
    repair_process(zone, first, false, &report);
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
}
END_TEST

static void die_freeing_a_large_value(void)
{
    struct table_key key = key_of("large");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    uint32_t body;

    take(&key);
    index_find(zone, &a, &key, &spot, &view);
    index_unlink_locked(zone, stripe, &spot, &view);
    lock_drop(zone, stripe);
    body = slab_chain_next(zone, view.first_slab); /* marks one of several later slabs as its own */
    if (slab_move(zone, body, slab_load(zone, body), SLAB_RECLAIM, zone->owner))
        die();
}

static void die_having_taken_a_body(void)
{
    for (uint32_t i = 0; i < zone->g.n_slabs; i++) {
        uint64_t word = slab_load(zone, i);

        if (slab_state(word) == SLAB_RECLAIM && (atomic_load(&zone->slabs[i].flags) & SLAB_BODY) &&
            slab_move(zone, i, word, SLAB_RECLAIM, zone->owner))
            die();
    }
}

static void free_after_two(bool second_first)
{
    struct stat_memory before, after;
    pid_t first, second;

    put("warm", "up");
    stat_memory(zone, &before);
    ck_assert_int_eq(put_bytes(key_of("large"), large, sizeof(large)), TABLE_STORED);
    first = die_in(die_freeing_a_large_value);
    second = die_in(die_having_taken_a_body);
    ck_assert_int_eq(repair_process(zone, second_first ? second : first, false, &report), 1);
    ck_assert_int_eq(repair_process(zone, second_first ? first : second, false, &report), 1);
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
}

START_TEST(a_chain_in_the_hands_of_two_dead_is_freed)
{
    free_after_two(false);
    free_after_two(true);
}
END_TEST

/* As a repairer does with the first of the later slabs, before it dies itself. */
static void die_holding_a_body(void)
{
    struct table_key key = key_of("large");
    struct table_hit hit;
    uint32_t body;

    if (table_find(zone, &key, NOW, &hit) != TABLE_HIT)
        return;
    body = slab_chain_next(zone, hit.first_slab);
    if (slab_move(zone, body, slab_load(zone, body), SLAB_RECLAIM, zone->owner))
        die();
}

/* A living process frees the value meanwhile, and its walk along the chain ends at that slab. */
START_TEST(what_lies_behind_a_dead_ones_slab_is_not_lost)
{
    struct stat_memory before, after;
    pid_t pid;

    put("warm", "up");
    stat_memory(zone, &before);
    ck_assert_int_eq(put_bytes(key_of("large"), large, sizeof(large)), TABLE_STORED);
    pid = die_in(die_holding_a_body);
    ck_assert_int_eq(drop("large"), TABLE_STORED);
    ck_assert_int_eq(repair_process(zone, pid, false, &report), 1);
    expect_sound();
    stat_memory(zone, &after);
    ck_assert_uint_eq(after.slabs_free, before.slabs_free);
}
END_TEST

START_TEST(the_living_are_left_alone)
{
    put("k", "v");
    ck_assert_int_eq(repair_process(zone, getpid(), false, &report), 0);
    ck_assert_int_eq(repair_process(zone, 1, false, &report), 0);
    ck_assert_int_eq(put("k", "w"), TABLE_STORED);
}
END_TEST

static void die_recording_a_ban(void)
{
    _Atomic uint64_t *number = layout_at(zone, zone->g.ban_numbers);

    atomic_store(number, UINT64_C(1) << 63 | zone->owner);
    die();
}

START_TEST(a_half_recorded_ban_is_freed)
{
    unsigned n = 0;

    repair_after(die_recording_a_ban, false);
    while (ban_add(zone, SLICE_LIT("x")) == BAN_RECORDED)
        n++;
    ck_assert_uint_eq(n, zone->g.n_bans);
}
END_TEST

int main(void)
{
    return ZONE_SUITE(
        "repair", a_lock_is_freed, an_odd_version_becomes_even_and_counts_are_right,
        a_slot_that_leads_nowhere_is_dropped, an_overflow_bucket_not_yet_linked_is_freed,
        open_slabs_are_sealed_and_entries_stay, a_suspect_process_loses_what_it_had_open,
        a_suspect_process_loses_the_stripe_it_had_locked, a_reclaim_is_given_back,
        the_slabs_of_a_large_value_never_published_are_freed, half_a_chain_is_freed,
        the_slabs_of_a_large_value_just_unlinked_are_freed,
        a_large_value_marked_but_not_unlinked_stays, a_fill_lease_is_freed,
        a_write_of_unknown_outcome_leaves_the_key_absent,
        of_two_writers_the_living_one_goes_on_and_does_not_store, a_stub_in_no_chain_is_freed,
        the_dead_hold_what_the_repair_of_others_needs, a_dead_repairer_is_succeeded,
        a_chain_in_the_hands_of_two_dead_is_freed, what_lies_behind_a_dead_ones_slab_is_not_lost,
        the_living_are_left_alone, a_half_recorded_ban_is_freed);
}
