#include "shm/journal.h"

#include "shm/scoreboard.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 64
#define KEY_MAX  2000
#define OWNER    1
#define MASTER   SCOREBOARD_MAX

static struct journal *journal;

static void make(uint32_t capacity, uint32_t key_max)
{
    struct errmsg msg;

    ck_assert_msg(journal_create(capacity, key_max, &journal, &msg) == ERR_OK, "%s", msg.text);
}

static void setup(void)
{
    make(CAPACITY, KEY_MAX);
}

static void expect_consistent(void)
{
    struct errmsg msg;

    ck_assert_msg(journal_check(journal, &msg) == ERR_OK, "%s", msg.text);
}

static void teardown(void)
{
    expect_consistent();
    journal_destroy(journal);
}

/* The key number i, of len bytes. */
static struct slice key_of(unsigned i, size_t len)
{
    static char key[65536];

    memset(key, 'k', len);
    memcpy(key, &i, len < sizeof(i) ? len : sizeof(i));
    return slice_make(key, len);
}

static void expect_next(uint64_t after, unsigned cache, struct slice key, uint64_t *ticket)
{
    static char got[65536];
    unsigned got_cache;
    size_t len;

    ck_assert_int_eq(journal_next(journal, after, &got_cache, got, &len, ticket), 1);
    ck_assert_uint_eq(got_cache, cache);
    ck_assert(slice_eq(slice_make(got, len), key));
}

START_TEST(remembers_and_forgets)
{
    struct slice key = SLICE_LIT("key");
    uint64_t ticket;

    ck_assert(!journal_has(journal, 3, key));
    journal_add(journal, OWNER, 3, key);
    ck_assert(journal_has(journal, 3, key));
    ck_assert(!journal_has(journal, 3, SLICE_LIT("other")));
    ck_assert(!journal_has(journal, 4, key));
    ck_assert_uint_eq(journal_count(journal), 1);
    expect_next(0, 3, key, &ticket);
    ck_assert(!journal_done(journal, MASTER, 4, key, ticket));
    ck_assert(journal_done(journal, MASTER, 3, key, ticket));
    ck_assert(!journal_done(journal, MASTER, 3, key, ticket));
    ck_assert(!journal_has(journal, 3, key));
    ck_assert_uint_eq(journal_count(journal), 0);
}
END_TEST

START_TEST(one_record_a_key)
{
    for (int i = 0; i < 10 * CAPACITY; i++)
        journal_add(journal, OWNER, 0, SLICE_LIT("again"));
    ck_assert_uint_eq(journal_count(journal), 1);
    ck_assert(!journal_distrusted(journal, 0));
}
END_TEST

START_TEST(a_key_recorded_again_stays)
{
    struct slice key = SLICE_LIT("key");
    uint64_t first, second;

    journal_add(journal, OWNER, 0, key);
    expect_next(0, 0, key, &first);
    journal_add(journal, OWNER, 0, key);
    ck_assert(!journal_done(journal, MASTER, 0, key, first));
    ck_assert(journal_has(journal, 0, key));
    expect_next(0, 0, key, &second);
    ck_assert_uint_gt(second, first);
    ck_assert(journal_done(journal, MASTER, 0, key, second));
}
END_TEST

START_TEST(oldest_first)
{
    uint64_t ticket = 0;
    unsigned cache;
    char key[KEY_MAX];
    size_t len;

    for (unsigned i = 0; i < 10; i++)
        journal_add(journal, OWNER, i % 2, key_of(i, 10));
    journal_add(journal, OWNER, 0, key_of(0, 10)); /* makes it the newest */
    for (unsigned i = 1; i <= 10; i++)
        expect_next(ticket, i % 10 % 2, key_of(i % 10, 10), &ticket);
    ck_assert_int_eq(journal_next(journal, ticket, &cache, key, &len, &ticket), 0);
}
END_TEST

/* The place where the last look was may be gone by the next one. */
START_TEST(next_after_a_removed_key)
{
    uint64_t tickets[4], ticket;

    for (unsigned i = 0; i < 4; i++) {
        journal_add(journal, OWNER, 0, key_of(i, 8));
        expect_next(i == 0 ? 0 : tickets[i - 1], 0, key_of(i, 8), &tickets[i]);
    }
    expect_next(tickets[0], 0, key_of(1, 8), &ticket);
    ck_assert(journal_done(journal, MASTER, 0, key_of(1, 8), tickets[1]));
    ck_assert(journal_done(journal, MASTER, 0, key_of(2, 8), tickets[2]));
    expect_next(tickets[1], 0, key_of(3, 8), &ticket);
}
END_TEST

START_TEST(keys_of_every_length)
{
    static const size_t lens[] = {1, 103, 104, 105, 227, 228, 229, 1000, KEY_MAX};
    uint64_t ticket;

    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            journal_add(journal, OWNER, 1, key_of('x', lens[i]));
            ck_assert(journal_has(journal, 1, key_of('x', lens[i])));
        }
        expect_consistent();
        for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            expect_next(0, 1, key_of('x', lens[i]), &ticket);
            ck_assert(journal_done(journal, OWNER, 1, key_of('x', lens[i]), ticket));
        }
        ck_assert_uint_eq(journal_count(journal), 0);
    }
    ck_assert(!journal_distrusted(journal, 1));
}
END_TEST

START_TEST(full_is_distrust_of_that_cache)
{
    for (unsigned i = 0; i < CAPACITY; i++)
        journal_add(journal, OWNER, 5, key_of(i, 12));
    ck_assert(!journal_distrusted(journal, 5));
    journal_add(journal, OWNER, 6, key_of(CAPACITY, 12));
    ck_assert(journal_distrusted(journal, 6));
    ck_assert(!journal_distrusted(journal, 5));
    ck_assert(journal_has(journal, 6, SLICE_LIT("any key at all")));
    ck_assert(!journal_has(journal, 5, SLICE_LIT("any key at all")));
    ck_assert_uint_eq(journal_count(journal), CAPACITY);
    journal_distrust(journal, 6, false);
    ck_assert(!journal_has(journal, 6, SLICE_LIT("any key at all")));
}
END_TEST

START_TEST(long_keys_that_do_not_fit_are_distrust)
{
    unsigned i;

    for (i = 0; i < CAPACITY && !journal_distrusted(journal, 0); i++)
        journal_add(journal, OWNER, 0, key_of(i, KEY_MAX));
    ck_assert_uint_lt(i, CAPACITY);
    ck_assert_uint_eq(journal_count(journal), i - 1);
    expect_consistent();
    journal_add(journal, OWNER, 1, key_of(0, KEY_MAX + 1));
    ck_assert(journal_distrusted(journal, 1));
}
END_TEST

/* Many keys come and go; the index must not fill with marks of removed ones. */
START_TEST(churn)
{
    uint64_t ticket;

    for (unsigned i = 0; i < 20000; i++) {
        journal_add(journal, OWNER, i % 64, key_of(i, 4 + i % 300));
        if (i >= CAPACITY / 2) {
            unsigned old = i - CAPACITY / 2;

            expect_next(0, old % 64, key_of(old, 4 + old % 300), &ticket);
            ck_assert(journal_done(journal, OWNER, old % 64, key_of(old, 4 + old % 300), ticket));
            ck_assert(!journal_has(journal, old % 64, key_of(old, 4 + old % 300)));
        }
        if (i % 1000 == 0)
            expect_consistent();
    }
}
END_TEST

START_TEST(bad_sizes)
{
    struct journal *none;
    struct errmsg msg;

    ck_assert_int_eq(journal_create(0, 10, &none, &msg), ERR_INVALID);
    ck_assert_int_eq(journal_create(UINT32_MAX, 10, &none, &msg), ERR_INVALID);
    ck_assert_int_eq(journal_create(10, 0, &none, &msg), ERR_INVALID);
    ck_assert_int_eq(journal_create(10, 70000, &none, &msg), ERR_INVALID);
}
END_TEST

/* Add, forget and add again as fast as possible until killed. */
static void write_for_ever(uint32_t owner, unsigned seed)
{
    unsigned cache;
    uint64_t ticket;
    char key[KEY_MAX];
    size_t len;

    for (;;) {
        seed = seed * 1664525u + 1013904223u;
        journal_add(journal, owner, seed >> 8 & 3,
                    key_of(seed >> 10 & 255, 8 + (seed >> 20) % 500));
        if (journal_count(journal) > seed >> 22 &&
            journal_next(journal, 0, &cache, key, &len, &ticket) == 1)
            journal_done(journal, owner, cache, slice_make(key, len), ticket);
    }
}

static void reap_and_repair(pid_t pid, uint32_t owner)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    journal_repair(journal, owner);
    /* journal_next() takes the lock in the master's name, which the writers here do as well. */
    journal_repair(journal, MASTER);
}

/* A hundred processes, one after the other, each killed at a random moment while it writes alone.
 */
START_TEST(killed_while_writing)
{
    struct slice marker = SLICE_LIT("written before all that");

    journal_destroy(journal);
    make(4096, KEY_MAX);
    journal_add(journal, OWNER, 63, marker);
    for (unsigned i = 0; i < 100; i++) {
        uint32_t owner = 2 + i % 60;
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            write_for_ever(owner, i);
        usleep(500 + (i * 7919) % 3000);
        kill(pid, SIGKILL);
        reap_and_repair(pid, owner);
        expect_consistent();
    }
    for (unsigned cache = 0; cache < 4; cache++)
        ck_assert_msg(!journal_distrusted(journal, cache), "the lock was not freed");
    journal_add(journal, OWNER, 0, SLICE_LIT("after all that"));
    ck_assert(journal_has(journal, 0, SLICE_LIT("after all that")));
}
END_TEST

/* Only adds, so what was acknowledged before the kill must be there afterwards. */
START_TEST(what_was_added_survives_the_kill)
{
    journal_destroy(journal);
    make(60000, KEY_MAX);
    for (unsigned round = 0; round < 20; round++) {
        int pipe_fds[2];
        unsigned done = 0, next;
        pid_t pid;

        ck_assert_int_eq(pipe(pipe_fds), 0);
        pid = fork();
        if (pid == 0) {
            for (unsigned i = 0;; i++) {
                journal_add(journal, 7, round, key_of(i, 8 + i % 200));
                if (write(pipe_fds[1], &i, sizeof(i)) != sizeof(i))
                    _exit(1);
            }
        }
        close(pipe_fds[1]);
        while (done < 50 + round * 20 && read(pipe_fds[0], &next, sizeof(next)) == sizeof(next))
            done = next + 1;
        kill(pid, SIGKILL);
        while (read(pipe_fds[0], &next, sizeof(next)) == sizeof(next))
            done = next + 1;
        close(pipe_fds[0]);
        reap_and_repair(pid, 7);
        for (unsigned i = 0; i < done; i++)
            ck_assert(journal_has(journal, round, key_of(i, 8 + i % 200)));
        expect_consistent();
    }
}
END_TEST

/* The lock of a dead owner that nobody has reaped costs a bounded wait, then distrust, never a
 * hang. */
START_TEST(a_held_lock_is_distrust)
{
    unsigned tries;

    /* Kill writers until one dies with the lock in its hand: then the check cannot have it. */
    for (tries = 0; tries < 2000; tries++) {
        struct errmsg msg;
        pid_t pid = fork();

        if (pid == 0)
            for (unsigned i = 0;; i++)
                journal_add(journal, 9, 0, key_of(i % 8, KEY_MAX));
        usleep(300 + tries % 700);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        if (journal_check(journal, &msg) == ERR_TIMEOUT)
            break;
        journal_repair(journal, 9);
    }
    ck_assert_msg(tries < 2000, "no writer was killed while it held the lock");
    journal_add(journal, OWNER, 2, SLICE_LIT("key"));
    ck_assert(journal_distrusted(journal, 2));
    journal_repair(journal, 8); /* not the owner: changes nothing */
    journal_add(journal, OWNER, 3, SLICE_LIT("key"));
    ck_assert(journal_distrusted(journal, 3));
    journal_repair(journal, 9);
    journal_add(journal, OWNER, 4, SLICE_LIT("key"));
    ck_assert(!journal_distrusted(journal, 4));
    ck_assert(journal_has(journal, 4, SLICE_LIT("key")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal");
    TCase *basics = tcase_create("basics");
    TCase *crash = tcase_create("crash");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(basics, setup, teardown);
    tcase_add_test(basics, remembers_and_forgets);
    tcase_add_test(basics, one_record_a_key);
    tcase_add_test(basics, a_key_recorded_again_stays);
    tcase_add_test(basics, oldest_first);
    tcase_add_test(basics, next_after_a_removed_key);
    tcase_add_test(basics, keys_of_every_length);
    tcase_add_test(basics, full_is_distrust_of_that_cache);
    tcase_add_test(basics, long_keys_that_do_not_fit_are_distrust);
    tcase_add_test(basics, churn);
    tcase_add_test(basics, bad_sizes);
    suite_add_tcase(suite, basics);
    tcase_add_checked_fixture(crash, setup, teardown);
    tcase_set_timeout(crash, 60);
    tcase_add_test(crash, killed_while_writing);
    tcase_add_test(crash, what_was_added_survives_the_kill);
    tcase_add_test(crash, a_held_lock_is_distrust);
    suite_add_tcase(suite, crash);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
