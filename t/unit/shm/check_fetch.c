/* One computation a key: who gets a lease, who waits, who is rung, and how it ends. */
#include "shm/fetch.h"

#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/repair.h"
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEASE_MS 1000
#define SOFT     (NOW + 10000)
#define STALE_MS 5000

static struct table_key k;
static struct fetch_got got;
static uint64_t rung;

static void on_ring(void *arg, uint64_t slots)
{
    (void)arg;
    rung |= slots;
}

static void setup(void)
{
    zone_small();
    k = key_of("k");
    rung = 0;
    lease_on_ring(zone, on_ring, NULL);
}

static enum fetch_result fetch_with(uint64_t now_ms, int slot, double beta, uint64_t token)
{
    struct fetch_want want = {
        .lease_ms = LEASE_MS, .stale_ms = UINT64_MAX, .beta = beta, .slot = slot, .token = token};

    return fetch_begin(zone, &k, &want, now_ms, &got);
}

static enum fetch_result fetch_at(uint64_t now_ms, int slot)
{
    return fetch_with(now_ms, slot, 0, 0);
}

/* The right to compute, which must be had. */
static struct lease granted(uint64_t now_ms)
{
    ck_assert_int_eq(fetch_at(now_ms, FETCH_NO_SLOT), FETCH_MISS_LEASE);
    ck_assert_uint_ne(got.lease.token, 0);
    return got.lease;
}

static enum table_result fill_at(const struct lease *lease, const char *value, uint64_t now_ms)
{
    struct table_write write = {
        .value = slice_cstr(value), .expires_ms = SOFT, .stale_ms = STALE_MS, .delta_ms = 1};

    return lease_fill_end(zone, &k, lease, &write, now_ms);
}

/* A value that was computed in 500 ms. */
static void filled(void)
{
    struct lease lease = granted(NOW);

    ck_assert_int_eq(fill_at(&lease, "v", NOW + 500), TABLE_STORED);
}

static void expect_value(const char *value)
{
    char text[64] = "";

    ck_assert_uint_lt(got.hit.value_len, sizeof(text));
    ck_assert_int_eq(table_copy(zone, &got.hit, NULL, text), TABLE_HIT);
    ck_assert_str_eq(text, value);
}

START_TEST(the_first_computes_and_the_others_wait)
{
    uint64_t token = granted(NOW).token;

    ck_assert_int_eq(fetch_at(NOW, 3), FETCH_WAIT);
    ck_assert_uint_eq(got.lease.token, 0);
    ck_assert_uint_eq(got.until_ms, NOW + LEASE_MS);
    ck_assert_int_eq(fetch_at(NOW, FETCH_NO_SLOT), FETCH_BUSY);
    ck_assert_uint_ne(token, 0);
    ck_assert_uint_eq(rung, 0);
}
END_TEST

START_TEST(a_fill_rings_everyone_who_waits)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 3);
    fetch_at(NOW, 63);
    fetch_at(NOW, 3);
    ck_assert_int_eq(fill_at(&lease, "v", NOW + 1), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 3 | UINT64_C(1) << 63);
    ck_assert_int_eq(fetch_at(NOW + 1, 3), FETCH_HIT);
    expect_value("v");
}
END_TEST

START_TEST(the_token_alone_is_enough_to_fill)
{
    struct lease lease = {.token = granted(NOW).token};

    ck_assert_int_eq(fill_at(&lease, "v", NOW + 1), TABLE_STORED);
    ck_assert_str_eq(get("k"), "v");
}
END_TEST

START_TEST(a_fail_rings_and_the_next_one_computes)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 5);
    ck_assert_int_eq(lease_fail(zone, &k, &lease), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 5);
    ck_assert_int_eq(fetch_at(NOW, 5), FETCH_MISS_LEASE);
    ck_assert_int_eq(fill_at(&lease, "late", NOW), TABLE_REJECTED);
}
END_TEST

START_TEST(a_fail_may_ask_for_time)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 5);
    ck_assert_int_eq(lease_back_off(zone, &k, &lease, NOW + 300), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 5);
    ck_assert_int_eq(fetch_at(NOW + 299, 5), FETCH_BUSY);
    ck_assert_uint_eq(got.until_ms, NOW + 300);
    ck_assert_int_eq(fill_at(&lease, "late", NOW), TABLE_REJECTED);
    ck_assert_int_eq(fetch_at(NOW + 300, 5), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(a_put_ends_the_time_asked_for)
{
    struct lease lease = granted(NOW);

    lease_back_off(zone, &k, &lease, NOW + 300);
    put("k", "put");
    ck_assert_int_eq(fetch_at(NOW, 5), FETCH_HIT);
    expect_value("put");
    drop("k");
    ck_assert_int_eq(fetch_at(NOW, 5), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(a_lease_ends_at_its_deadline)
{
    struct lease lease = granted(NOW);

    ck_assert_int_eq(fetch_at(NOW + LEASE_MS - 1, 2), FETCH_WAIT);
    ck_assert_int_eq(fetch_at(NOW + LEASE_MS, 4), FETCH_MISS_LEASE);
    ck_assert_uint_eq(rung, UINT64_C(1) << 2);
    ck_assert_int_eq(fill_at(&lease, "late", NOW + LEASE_MS), TABLE_REJECTED);
}
END_TEST

START_TEST(the_sweeper_rings_for_leases_nobody_asks_for_again)
{
    struct sweep_budget budget = {.unlinks = 1000, .ns = 100000000};

    granted(NOW);
    fetch_at(NOW, 2);
    for (int i = 0; i < 100 && rung == 0; i++)
        sweep_tick(zone, NOW + LEASE_MS, budget);
    ck_assert_uint_eq(rung, UINT64_C(1) << 2);
}
END_TEST

START_TEST(a_put_beside_the_lease_wins_and_rings)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 7);
    put("k", "put");
    ck_assert_uint_eq(rung, UINT64_C(1) << 7);
    ck_assert_int_eq(fill_at(&lease, "late", NOW), TABLE_REJECTED);
    ck_assert_str_eq(get("k"), "put");
}
END_TEST

START_TEST(a_delete_beside_the_lease_wins_and_rings)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 7);
    drop("k");
    ck_assert_uint_eq(rung, UINT64_C(1) << 7);
    ck_assert_int_eq(fill_at(&lease, "late", NOW), TABLE_REJECTED);
    ck_assert_int_eq(fetch_at(NOW, 7), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(after_a_clear_another_computes_and_the_older_fill_is_refused)
{
    struct lease lease = granted(NOW);

    fetch_at(NOW, 7);
    zone_clear(zone);
    ck_assert_int_eq(fetch_at(NOW, 8), FETCH_MISS_LEASE);
    ck_assert_uint_eq(rung, UINT64_C(1) << 7);
    ck_assert_int_eq(fill_at(&lease, "old", NOW), TABLE_REJECTED);
}
END_TEST

START_TEST(a_put_under_way_is_waited_for)
{
    struct table_write write = {.value = SLICE_LIT("put")};
    struct lease writer;

    ck_assert_int_eq(lease_write_begin(zone, &k, NOW, NOW + 77, &writer), LEASE_GRANTED);
    ck_assert_int_eq(fetch_at(NOW, 9), FETCH_WAIT);
    ck_assert_uint_eq(got.until_ms, NOW + 77);
    ck_assert_int_eq(lease_write_end(zone, &k, &writer, &write, NOW), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 9);
    ck_assert_int_eq(fetch_at(NOW, 9), FETCH_HIT);
}
END_TEST

START_TEST(a_fill_may_become_a_put)
{
    struct table_write write = {
        .value = SLICE_LIT("v"), .expires_ms = SOFT, .stale_ms = STALE_MS, .delta_ms = 1};
    struct lease lease = {.token = granted(NOW).token}, other;

    fetch_at(NOW, 9);
    ck_assert_int_eq(lease_fill_write(zone, &k, NOW + 1, NOW + 5000, &lease), LEASE_GRANTED);
    ck_assert_uint_eq(rung, 0);
    ck_assert_int_eq(lease_fill_begin(zone, &k, NOW + 2000, NOW + 3000, &other), LEASE_WRITING);
    ck_assert_int_eq(lease_write_end(zone, &k, &lease, &write, NOW + 600), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 9);
    ck_assert_int_eq(fetch_at(NOW + 600, 9), FETCH_HIT);
    ck_assert_uint_eq(got.hit.delta_ms, 600);
}
END_TEST

START_TEST(a_void_fill_becomes_no_put)
{
    struct lease lease = granted(NOW);

    ck_assert_int_eq(lease_fill_write(zone, &k, NOW + LEASE_MS, NOW + 5000, &lease), LEASE_HELD);
    lease = granted(NOW);
    drop("k");
    ck_assert_int_eq(lease_fill_write(zone, &k, NOW, NOW + 5000, &lease), LEASE_HELD);
}
END_TEST

START_TEST(past_its_soft_expiry_a_value_is_stale_and_one_computes)
{
    filled();
    ck_assert_int_eq(fetch_at(SOFT - 1, 1), FETCH_HIT);
    ck_assert_uint_eq(got.hit.expires_ms, SOFT);
    ck_assert_ptr_nonnull(get_at("k", SOFT - 1));
    ck_assert_int_eq(fetch_at(SOFT, 1), FETCH_STALE_LEASE);
    expect_value("v");
    ck_assert_int_eq(fetch_at(SOFT, 1), FETCH_STALE);
    expect_value("v");
    ck_assert_uint_eq(got.lease.token, 0);
    ck_assert_ptr_null(get_at("k", SOFT));
}
END_TEST

START_TEST(past_its_hard_expiry_it_is_gone)
{
    filled();
    ck_assert_int_eq(fetch_at(SOFT + STALE_MS - 1, 1), FETCH_STALE_LEASE);
    lease_fail(zone, &k, &got.lease);
    ck_assert_int_eq(fetch_at(SOFT + STALE_MS, 1), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(how_stale_is_the_callers_choice)
{
    struct fetch_want want = {.lease_ms = LEASE_MS, .stale_ms = 100, .slot = FETCH_NO_SLOT};

    filled();
    ck_assert_int_eq(fetch_begin(zone, &k, &want, SOFT + 99, &got), FETCH_STALE_LEASE);
    lease_fail(zone, &k, &got.lease);
    ck_assert_int_eq(fetch_begin(zone, &k, &want, SOFT + 100, &got), FETCH_MISS_LEASE);
    lease_fail(zone, &k, &got.lease);
    want.stale_ms = 0;
    ck_assert_int_eq(fetch_begin(zone, &k, &want, SOFT, &got), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(the_sweeper_keeps_what_is_stale)
{
    struct sweep_budget budget = {.unlinks = 100000, .ns = 1000000000};

    filled();
    for (int i = 0; i < 2000; i++)
        sweep_tick(zone, SOFT + 1, budget);
    ck_assert_int_eq(fetch_at(SOFT + 1, 1), FETCH_STALE_LEASE);
    lease_fail(zone, &k, &got.lease);
    for (int i = 0; i < 2000; i++)
        sweep_tick(zone, SOFT + STALE_MS, budget);
    ck_assert_uint_eq(table_count(zone), 0);
}
END_TEST

START_TEST(after_an_epoch_move_a_value_is_stale)
{
    put("k", "v");
    zone_epoch_move(zone);
    ck_assert_int_eq(fetch_at(NOW, 1), FETCH_STALE_LEASE);
    expect_value("v");
    ck_assert_int_eq(fetch_at(NOW, 1), FETCH_STALE);
}
END_TEST

START_TEST(delta_is_the_time_from_grant_to_fill)
{
    filled();
    ck_assert_int_eq(fetch_at(NOW + 600, 1), FETCH_HIT);
    ck_assert_uint_eq(got.hit.delta_ms, 500);
    ck_assert_uint_eq(got.hit.stale_ms, STALE_MS);
}
END_TEST

START_TEST(early_refresh_follows_the_formula)
{
    /* -500 * ln(u) reaches 1000 when u <= e^-2. */
    ck_assert(!fetch_early(SOFT, 500, 1, exp(-2) * 1.001, SOFT - 1000));
    ck_assert(fetch_early(SOFT, 500, 1, exp(-2) * 0.999, SOFT - 1000));
    ck_assert(fetch_early(SOFT, 500, 2, exp(-1) * 0.999, SOFT - 1000));
    ck_assert(!fetch_early(SOFT, 500, 0, 1e-9, SOFT - 1));
    ck_assert(!fetch_early(SOFT, 0, 1, 1e-9, SOFT - 1));
    ck_assert(!fetch_early(0, 500, 1, 1e-9, SOFT));
    ck_assert(fetch_early(SOFT, 500, 1, 1, SOFT));
}
END_TEST

START_TEST(one_refreshes_early_and_the_others_hit)
{
    filled();
    ck_assert_int_eq(fetch_with(SOFT - 1, 1, 1e9, 0), FETCH_HIT_LEASE);
    expect_value("v");
    ck_assert_int_eq(fetch_with(SOFT - 1, 1, 1e9, 0), FETCH_HIT);
    ck_assert_uint_eq(got.lease.token, 0);
    ck_assert_int_eq(fetch_with(SOFT - 1, 1, 0, 0), FETCH_HIT);
}
END_TEST

/* At one delta before the end 1 - e^-1 of all draws are still too late. */
START_TEST(early_refresh_is_as_likely_as_published)
{
    unsigned early = 0;

    filled();
    for (int i = 0; i < 20000; i++) {
        if (fetch_with(SOFT - 500, 1, 1, 0) == FETCH_HIT_LEASE) {
            early++;
            lease_fail(zone, &k, &got.lease);
        }
    }
    ck_assert_uint_gt(early, 6900); /* 7358 +- 5 standard deviations */
    ck_assert_uint_lt(early, 7800);
}
END_TEST

static enum fetch_result fetch_early_at(uint64_t now_ms, uint64_t early_ms)
{
    struct fetch_want want = {.lease_ms = LEASE_MS, .slot = FETCH_NO_SLOT, .early_ms = early_ms};

    return fetch_begin(zone, &k, &want, now_ms, &got);
}

START_TEST(the_caller_may_say_when_to_refresh)
{
    filled();
    ck_assert_int_eq(fetch_early_at(SOFT - 1000, 1000), FETCH_HIT);
    ck_assert_uint_eq(got.until_ms, 0);
    ck_assert_int_eq(fetch_early_at(SOFT - 999, 1000), FETCH_HIT_LEASE);
    /* Another has it: told apart from a value that nobody is to compute. */
    ck_assert_int_eq(fetch_early_at(SOFT - 999, 1000), FETCH_HIT);
    ck_assert_uint_eq(got.until_ms, SOFT - 999 + LEASE_MS);
    put("k", "no expiry");
    ck_assert_int_eq(fetch_early_at(NOW, UINT32_MAX), FETCH_HIT);
    ck_assert_int_eq(fetch_early_at(NOW, FETCH_ANY_TIME), FETCH_HIT_LEASE);
}
END_TEST

START_TEST(a_refill_replaces_the_stale_value)
{
    struct table_write write = {.value = SLICE_LIT("new"), .expires_ms = SOFT + 10000};
    struct lease lease;

    filled();
    ck_assert_int_eq(fetch_at(SOFT, 1), FETCH_STALE_LEASE);
    lease = got.lease;
    ck_assert_int_eq(lease_fill_end(zone, &k, &lease, &write, SOFT + 1), TABLE_STORED);
    ck_assert_int_eq(fetch_at(SOFT + 1, 1), FETCH_HIT);
    expect_value("new");
    ck_assert_uint_eq(got.hit.stale_ms, 0);
}
END_TEST

START_TEST(a_lease_already_held_is_granted_again)
{
    uint64_t token = granted(NOW).token;

    ck_assert_int_eq(fetch_with(NOW, 1, 0, token), FETCH_MISS_LEASE);
    ck_assert_uint_eq(got.lease.token, token);
    put("k", "v");
    ck_assert_int_eq(fetch_with(NOW, 1, 0, token), FETCH_HIT);
    ck_assert_uint_eq(got.lease.token, 0);
}
END_TEST

START_TEST(expire_moves_both_ends)
{
    filled();
    ck_assert_int_eq(table_expire(zone, &k, NULL, NOW + 20000, NOW + 600), TABLE_STORED);
    ck_assert_int_eq(fetch_at(NOW + 19999, 1), FETCH_HIT);
    ck_assert_int_eq(fetch_at(NOW + 20000 + STALE_MS - 1, 1), FETCH_STALE_LEASE);
}
END_TEST

/* ---- a read of L2 on behalf of everyone ---- */

static enum lease_result join(int slot, bool waited, struct lease *lease)
{
    struct lease_wish wish = {
        .deadline_ms = NOW + LEASE_MS, .slot = slot, .look = true, .waited = waited};
    uint64_t until_ms;

    return lease_join(zone, &k, &wish, NOW, lease, &until_ms);
}

START_TEST(one_reads_l2_for_all)
{
    struct table_write write = {.value = SLICE_LIT("l2")};
    struct lease lease, other;

    ck_assert_int_eq(join(1, false, &lease), LEASE_GRANTED);
    ck_assert_int_eq(join(2, false, &other), LEASE_HELD);
    ck_assert_int_eq(lease_fill_end(zone, &k, &lease, &write, NOW), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 2);
    ck_assert_int_eq(join(2, true, &other), LEASE_FILLED);
    ck_assert_str_eq(get("k"), "l2");
}
END_TEST

START_TEST(absence_is_told_to_those_who_waited)
{
    struct lease lease, other;

    ck_assert_int_eq(join(1, false, &lease), LEASE_GRANTED);
    ck_assert_int_eq(join(2, false, &other), LEASE_HELD);
    ck_assert_int_eq(lease_absent(zone, &k, &lease, NOW + 50), TABLE_STORED);
    ck_assert_uint_eq(rung, UINT64_C(1) << 2);
    ck_assert_int_eq(join(2, true, &other), LEASE_ABSENT);
    ck_assert_int_eq(join(4, false, &other), LEASE_GRANTED); /* a new read looks itself */
}
END_TEST

START_TEST(absence_nobody_waits_for_leaves_nothing)
{
    struct lease lease;

    join(1, false, &lease);
    lease_absent(zone, &k, &lease, NOW + 50);
    ck_assert_int_eq(join(2, true, &lease), LEASE_GRANTED);
}
END_TEST

START_TEST(a_put_ends_the_absence)
{
    struct lease lease, other;

    join(1, false, &lease);
    join(2, false, &other);
    lease_absent(zone, &k, &lease, NOW + 50);
    put("k", "v");
    drop("k");
    ck_assert_int_eq(join(2, true, &other), LEASE_GRANTED);
}
END_TEST

/* ---- death ---- */

static pid_t dies_holding_a_lease(void)
{
    int pipe_fds[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        struct errmsg msg;

        if (zone_join(zone, &msg) != ERR_OK || fetch_at(NOW, FETCH_NO_SLOT) != FETCH_MISS_LEASE)
            _exit(1);
        (void)!write(pipe_fds[1], "x", 1);
        pause();
    }
    ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return pid;
}

START_TEST(the_death_of_the_holder_rings_and_frees)
{
    struct repair_report report = {0};
    pid_t pid = dies_holding_a_lease();

    ck_assert_int_eq(fetch_at(NOW, 6), FETCH_WAIT);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(repair_process(zone, pid, false, &report), 1);
    ck_assert_uint_eq(report.stubs, 1);
    ck_assert_uint_eq(rung, UINT64_C(1) << 6);
    ck_assert_int_eq(fetch_at(NOW, 6), FETCH_MISS_LEASE);
}
END_TEST

START_TEST(no_stub_left_is_busy_and_a_value_still_served)
{
    char name[32];
    unsigned granted_n = 0;

    put("k", "v");
    zone_epoch_move(zone);
    for (uint32_t i = 0; i < 2 * zone->g.n_stubs; i++) {
        struct fetch_want want = {.lease_ms = LEASE_MS, .slot = 1};
        struct table_key key;

        snprintf(name, sizeof(name), "key %u", i);
        key = key_of(name);
        granted_n += fetch_begin(zone, &key, &want, NOW, &got) == FETCH_MISS_LEASE;
    }
    ck_assert_uint_eq(granted_n, zone->g.n_stubs);
    ck_assert_int_eq(fetch_at(NOW, 1), FETCH_STALE);
    expect_value("v");
    k = key_of("another");
    ck_assert_int_eq(fetch_at(NOW, 1), FETCH_BUSY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fetch");
    TCase *tc = tcase_create("fetch");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, zone_close);
    tcase_add_test(tc, the_first_computes_and_the_others_wait);
    tcase_add_test(tc, a_fill_rings_everyone_who_waits);
    tcase_add_test(tc, the_token_alone_is_enough_to_fill);
    tcase_add_test(tc, a_fail_rings_and_the_next_one_computes);
    tcase_add_test(tc, a_fail_may_ask_for_time);
    tcase_add_test(tc, a_put_ends_the_time_asked_for);
    tcase_add_test(tc, a_lease_ends_at_its_deadline);
    tcase_add_test(tc, the_sweeper_rings_for_leases_nobody_asks_for_again);
    tcase_add_test(tc, a_put_beside_the_lease_wins_and_rings);
    tcase_add_test(tc, a_delete_beside_the_lease_wins_and_rings);
    tcase_add_test(tc, after_a_clear_another_computes_and_the_older_fill_is_refused);
    tcase_add_test(tc, a_put_under_way_is_waited_for);
    tcase_add_test(tc, a_fill_may_become_a_put);
    tcase_add_test(tc, a_void_fill_becomes_no_put);
    tcase_add_test(tc, past_its_soft_expiry_a_value_is_stale_and_one_computes);
    tcase_add_test(tc, past_its_hard_expiry_it_is_gone);
    tcase_add_test(tc, how_stale_is_the_callers_choice);
    tcase_add_test(tc, the_sweeper_keeps_what_is_stale);
    tcase_add_test(tc, after_an_epoch_move_a_value_is_stale);
    tcase_add_test(tc, delta_is_the_time_from_grant_to_fill);
    tcase_add_test(tc, early_refresh_follows_the_formula);
    tcase_add_test(tc, one_refreshes_early_and_the_others_hit);
    tcase_add_test(tc, early_refresh_is_as_likely_as_published);
    tcase_add_test(tc, a_refill_replaces_the_stale_value);
    tcase_add_test(tc, a_lease_already_held_is_granted_again);
    tcase_add_test(tc, expire_moves_both_ends);
    tcase_add_test(tc, one_reads_l2_for_all);
    tcase_add_test(tc, absence_is_told_to_those_who_waited);
    tcase_add_test(tc, absence_nobody_waits_for_leaves_nothing);
    tcase_add_test(tc, a_put_ends_the_absence);
    tcase_add_test(tc, the_caller_may_say_when_to_refresh);
    tcase_add_test(tc, the_death_of_the_holder_rings_and_frees);
    tcase_add_test(tc, no_stub_left_is_busy_and_a_value_still_served);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
