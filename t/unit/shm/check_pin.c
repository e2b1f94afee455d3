/* Values that are sent from where they lie: never torn, never freed under who sends them, and freed
 * once nobody does. */
#include "shm/pin.h"

#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/repair.h"
#include "shm/slab.h"
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE 200000u

static char bytes[600000];

static void put_large(const char *key, char fill, size_t len)
{
    memset(bytes, fill, len);
    ck_assert_int_eq(put_bytes(key_of(key), bytes, len), TABLE_STORED);
}

static bool pin_key(const char *text, struct pin *pin)
{
    struct table_key key = key_of(text);
    struct table_hit hit;

    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    return pin_begin(zone, &hit, pin);
}

/* Every byte of what is left, on a copy of the pin. */
static void expect_lent(struct pin pin, char fill, size_t len)
{
    size_t seen = 0;

    while (pin.left > 0) {
        struct slice piece = pin_piece(&pin);

        ck_assert_uint_gt(piece.len, 0);
        for (size_t i = 0; i < piece.len; i++)
            ck_assert_int_eq(piece.data[i], fill);
        seen += piece.len;
        pin_skip(&pin, piece.len);
    }
    ck_assert_uint_eq(seen, len);
    ck_assert_uint_eq(pin_piece(&pin).len, 0);
}

static uint32_t free_slabs(void)
{
    return slab_count_free(zone);
}

static void sweep_all(void)
{
    for (int i = 0; i < 100; i++)
        sweep_tick(zone, NOW, (struct sweep_budget){100000, 100000000});
}

START_TEST(small_values_are_copied)
{
    struct pin pin = {0};

    ck_assert_int_eq(put("k", "small"), TABLE_STORED);
    ck_assert(!pin_key("k", &pin));
    pin_end(&pin);
    ck_assert_uint_eq(pin_bytes(zone), 0);
}
END_TEST

START_TEST(pieces_are_the_value)
{
    struct pin pin;
    struct pin part;

    put_large("k", 'a', LARGE);
    ck_assert(pin_key("k", &pin));
    ck_assert_uint_eq(pin.left, LARGE);
    expect_lent(pin, 'a', LARGE);
    part = pin;
    pin_skip(&part, 70001);
    expect_lent(part, 'a', LARGE - 70001);
    pin_skip(&part, LARGE - 70001);
    ck_assert_uint_eq(pin_piece(&part).len, 0);
    ck_assert_uint_ge(pin_bytes(zone), LARGE);
    ck_assert_uint_eq(counter(STAT_LENT), 1);
    pin_end(&pin);
    pin_end(&pin);
    ck_assert_uint_eq(pin_bytes(zone), 0);
}
END_TEST

/* What may happen to the key while its value is being sent. */
static void drop_it(void)
{
    ck_assert_int_eq(drop("k"), TABLE_STORED);
}

static void overwrite_it(void)
{
    put_large("k", 'b', LARGE);
}

static void clear_it(void)
{
    zone_clear(zone);
}

static void ban_it(void)
{
    ban_add(zone, SLICE_LIT("k*"));
}

static void (*const event[])(void) = {drop_it, overwrite_it, clear_it, ban_it};

/* After it, so many stores and sweeps that every slab nobody pins has been used again. */
START_TEST(whatever_happens_to_the_key)
{
    struct pin pin;
    char name[32];

    put_large("k", 'a', LARGE);
    ck_assert(pin_key("k", &pin));
    event[_i]();
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "other%d", i);
        put_large(name, 'x', LARGE);
        if (i % 20 == 0)
            sweep_all();
    }
    expect_lent(pin, 'a', LARGE);
    expect_sound();
    ck_assert_uint_ge(pin_bytes(zone), LARGE);
    pin_end(&pin);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "later%d", i);
        put_large(name, 'y', LARGE);
    }
    expect_sound();
}
END_TEST

START_TEST(parked_slabs_are_freed_by_the_sweeper)
{
    uint32_t before = free_slabs();
    struct pin pin;

    put_large("k", 'a', LARGE);
    ck_assert(pin_key("k", &pin));
    drop_it();
    ck_assert_uint_lt(free_slabs() + LARGE / slab_bytes(zone), before);
    sweep_all();
    ck_assert_uint_lt(free_slabs() + LARGE / slab_bytes(zone), before);
    expect_lent(pin, 'a', LARGE);
    pin_end(&pin);
    sweep_all();
    ck_assert_uint_ge(free_slabs() + 1, before); /* one is open: the entry's */
}
END_TEST

START_TEST(connections_share_a_place)
{
    struct pin pin[LAYOUT_HAZARDS + 8];
    size_t n = LAYOUT_HAZARDS + 8;

    put_large("k", 'a', LARGE);
    for (size_t i = 0; i < n; i++)
        ck_assert(pin_key("k", &pin[i]));
    drop_it();
    for (size_t i = 0; i + 1 < n; i++)
        pin_end(&pin[i]);
    expect_lent(pin[n - 1], 'a', LARGE);
    sweep_all();
    expect_lent(pin[n - 1], 'a', LARGE);
    pin_end(&pin[n - 1]);
    ck_assert_uint_eq(pin_bytes(zone), 0);
}
END_TEST

/* An eighth of the zone of 4 MiB are two of these. */
START_TEST(an_eighth_of_the_zone)
{
    struct pin pin[8] = {0};
    unsigned pinned = 0;
    char name[8];

    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        put_large(name, 'a', LARGE);
        pinned += pin_key(name, &pin[i]);
    }
    ck_assert_uint_gt(pinned, 0);
    ck_assert_uint_lt(pinned, 8);
    ck_assert_uint_le(pin_bytes(zone), zone_size(zone) / 8);
    for (unsigned i = 0; i < 8; i++)
        pin_end(&pin[i]);
    ck_assert(pin_key("k7", &pin[0]));
    pin_end(&pin[0]);
}
END_TEST

START_TEST(overtaken_before_it_was_pinned)
{
    struct table_key key = key_of("k");
    struct table_hit hit;
    struct pin pin;

    put_large("k", 'a', LARGE);
    ck_assert_int_eq(table_find(zone, &key, NOW, &hit), TABLE_HIT);
    overwrite_it();
    ck_assert(!pin_begin(zone, &hit, &pin));
    ck_assert_uint_eq(pin_bytes(zone), 0);
}
END_TEST

START_TEST(the_dead_pin_nothing)
{
    struct errmsg msg;
    struct pin pin;
    int status;
    pid_t pid;

    put_large("k", 'a', LARGE);
    pid = fork();
    if (pid == 0) {
        if (zone_join(zone, &msg) != ERR_OK || !pin_key("k", &pin))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_uint_ge(pin_bytes(zone), LARGE);
    drop_it();
    ck_assert_int_eq(repair_process(zone, pid, false, NULL), 1);
    ck_assert_uint_eq(pin_bytes(zone), 0);
    sweep_all();
    expect_sound();
}
END_TEST

/* The one who frees dies with the chain in its hands, while another sends from it. */
START_TEST(freed_by_one_who_dies)
{
    struct errmsg msg;
    struct pin pin;
    int status;
    pid_t pid;

    put_large("k", 'a', LARGE);
    ck_assert(pin_key("k", &pin));
    pid = fork();
    if (pid == 0) {
        if (zone_join(zone, &msg) != ERR_OK)
            _exit(1);
        slab_move(zone, pin.slab, slab_load(zone, pin.slab), SLAB_RECLAIM, zone->owner)
            ? kill(getpid(), SIGKILL)
            : 0;
        _exit(2);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(repair_process(zone, pid, false, NULL), 1);
    expect_lent(pin, 'a', LARGE);
    pin_end(&pin);
    expect_sound();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pin");
    TCase *events = tcase_create("events");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(events, zone_small, zone_close);
    tcase_add_loop_test(events, whatever_happens_to_the_key, 0, 4);
    suite_add_tcase(suite, events);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return ZONE_SUITE("pin", small_values_are_copied, pieces_are_the_value,
                      parked_slabs_are_freed_by_the_sweeper, connections_share_a_place,
                      an_eighth_of_the_zone, overtaken_before_it_was_pinned, the_dead_pin_nothing,
                      freed_by_one_who_dies) +
           (failed > 0);
}
