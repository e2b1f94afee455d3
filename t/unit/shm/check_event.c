#include "shm/event.h"

#include "common/clock.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct events *events;

static void setup(void)
{
    struct errmsg msg;

    ck_assert_int_eq(event_create(&events, &msg), ERR_OK);
}

static void teardown(void)
{
    event_destroy(events);
}

/* An event whose every part follows from one number, so that a torn one is found out. */
static bool write_number(unsigned owner, uint64_t number, size_t key_len)
{
    struct event event = {.duration_ns = number, .kind = (uint8_t)number};
    char key[EVENT_KEY_BYTES + 100];

    memset(key, (int)('a' + number % 26), sizeof(key));
    return event_write(events, owner, &event, slice_make(key, key_len));
}

static void check_whole(const struct event *event)
{
    size_t kept = event->key_len > EVENT_KEY_BYTES ? EVENT_KEY_BYTES : event->key_len;

    ck_assert_uint_eq(event->kind, (uint8_t)event->duration_ns);
    for (size_t i = 0; i < kept; i++)
        ck_assert_int_eq(event->key[i], (int)('a' + event->duration_ns % 26));
}

START_TEST(what_was_written_is_read_in_order)
{
    struct event_cursor cursor;
    struct event event;
    uint64_t lost = 0;

    event_begin(events, &cursor);
    for (uint64_t i = 0; i < 1000; i++)
        ck_assert(write_number(1, i, i % 500));
    for (uint64_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(event_read(events, &cursor, 1, &event, &lost), 1);
        ck_assert_uint_eq(event.duration_ns, i);
        ck_assert_uint_eq(event.key_len, i % 500);
        ck_assert_uint_eq(event.owner, 1);
        check_whole(&event);
    }
    ck_assert_int_eq(event_read(events, &cursor, 1, &event, &lost), 0);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

START_TEST(a_reader_that_is_overtaken_counts_what_it_missed)
{
    struct event_cursor cursor;
    struct event event;
    uint64_t lost = 0, seen = 0;

    event_begin(events, &cursor);
    for (uint64_t i = 0; i < 3 * EVENT_PLACES; i++)
        ck_assert(write_number(1, i, 8));
    while (event_read(events, &cursor, 1, &event, &lost) == 1)
        seen++;
    ck_assert_uint_gt(seen, 0);
    ck_assert_uint_eq(seen + lost, 3 * EVENT_PLACES);
}
END_TEST

START_TEST(listeners_are_seen_by_one_load)
{
    ck_assert(!event_wanted(events));
    event_listen(events, 3, true);
    event_listen(events, 5, true);
    event_listen(events, 3, false);
    ck_assert(event_wanted(events));
    event_repair(events, 6, 5);
    ck_assert(!event_wanted(events));
}
END_TEST

/* A number was taken and its writer is gone: those behind it are read after the grace. */
START_TEST(a_hole_is_passed_over_after_its_time)
{
    struct event_cursor cursor;
    struct event event;
    uint64_t lost = 0;

    event_begin(events, &cursor);
    atomic_fetch_add(&events->next, 1);
    ck_assert(write_number(1, 7, 8));
    ck_assert_int_eq(event_read(events, &cursor, 1000, &event, &lost), 0);
    ck_assert_int_eq(event_read(events, &cursor, 999 + EVENT_GRACE_NS, &event, &lost), 0);
    ck_assert_int_eq(event_read(events, &cursor, 1000 + EVENT_GRACE_NS, &event, &lost), 1);
    ck_assert_uint_eq(event.duration_ns, 7);
    ck_assert_uint_eq(lost, 1);
}
END_TEST

static pid_t fork_writer(unsigned owner)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        for (uint64_t i = 0;; i++)
            (void)write_number(owner, i, EVENT_KEY_BYTES);
    return pid;
}

/* Read for a while; every event must be whole. Returns how many came. */
static uint64_t read_for_ms(struct event_cursor *cursor, uint64_t ms, uint64_t *lost)
{
    uint64_t end_ns = clock_now_ns() + ms * 1000000, seen = 0, now_ns;
    struct event event;

    while ((now_ns = clock_now_ns()) < end_ns) {
        if (event_read(events, cursor, now_ns, &event, lost) == 0)
            continue;
        check_whole(&event);
        seen++;
    }
    return seen;
}

/* Two writers, one of which is killed at some instruction, again and again: nothing torn is read,
 * reading goes on before the repair and after it, and no place stays lost. */
START_TEST(writers_killed_in_the_middle)
{
    struct event_cursor cursor;
    uint64_t lost = 0;
    pid_t stays = fork_writer(1);

    event_begin(events, &cursor);
    for (int round = 0; round < 60; round++) {
        pid_t victim = fork_writer(2);

        (void)read_for_ms(&cursor, 3, &lost);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
        ck_assert_uint_gt(read_for_ms(&cursor, 30, &lost), 0);
        event_repair(events, 2, 2);
    }
    kill(stays, SIGKILL);
    waitpid(stays, NULL, 0);
    event_repair(events, 1, 1);
    atomic_store(&events->dropped, 0);
    for (uint64_t i = 0; i < EVENT_PLACES; i++)
        ck_assert(write_number(1, i, 8));
    ck_assert_uint_eq(atomic_load(&events->dropped), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event");
    TCase *tcase = tcase_create("event");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_was_written_is_read_in_order);
    tcase_add_test(tcase, a_reader_that_is_overtaken_counts_what_it_missed);
    tcase_add_test(tcase, listeners_are_seen_by_one_load);
    tcase_add_test(tcase, a_hole_is_passed_over_after_its_time);
    tcase_add_test(tcase, writers_killed_in_the_middle);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
