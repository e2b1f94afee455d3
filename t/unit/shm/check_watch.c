/* Locks that a live process does not let go of. */
#include "shm/gate.h"
#include "shm/lock.h"
#include "shm/repair.h"
#include "shm/watch.h"

#include "zone_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOTHING  (-1)
#define THE_GATE (-2)

static bool hold(int stripe)
{
    return stripe == NOTHING || (stripe == THE_GATE ? gate_take(zone) : lock_take(zone, &zone->stripes[stripe]));
}

/* A child that takes the lock of a stripe, or the gate, or nothing, and stops itself. */
static pid_t stopped_child(int stripe)
{
    pid_t pid = fork();
    struct errmsg msg;

    if (pid == 0) {
        if (zone_join(zone, &msg) != ERR_OK || !hold(stripe))
            _exit(1);
        raise(SIGSTOP);
        if (stripe >= 0)
            lock_drop(zone, &zone->stripes[stripe]);
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
    return pid;
}

static void end_child(pid_t pid)
{
    struct repair_report report;

    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(repair_process(zone, pid, false, &report), 1);
}

START_TEST(who_holds_a_lock_for_a_second_is_named)
{
    pid_t pid = stopped_child(7);
    struct watch *watch;

    ck_assert_int_eq(watch_create(&watch), ERR_OK);
    ck_assert_int_eq(watch_look(watch, zone, NOW), 0);
    ck_assert_int_eq(watch_look(watch, zone, NOW + WATCH_HELD_MS - 1), 0);
    ck_assert_int_eq(watch_look(watch, zone, NOW + WATCH_HELD_MS), pid);
    end_child(pid);
    ck_assert_int_eq(watch_look(watch, zone, NOW + 2 * WATCH_HELD_MS), 0);
    ck_assert(lock_try(zone, &zone->stripes[7]));
    lock_drop(zone, &zone->stripes[7]);
    watch_destroy(watch);
}
END_TEST

START_TEST(who_holds_the_gate_for_a_second_is_named)
{
    pid_t pid = stopped_child(THE_GATE);
    struct watch *watch;

    ck_assert_int_eq(watch_create(&watch), ERR_OK);
    ck_assert_int_eq(watch_look(watch, zone, NOW), 0);
    ck_assert_int_eq(watch_look(watch, zone, NOW + WATCH_HELD_MS), pid);
    ck_assert_int_eq(put("k", "v"), TABLE_BUSY);
    end_child(pid);
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
    watch_destroy(watch);
}
END_TEST

START_TEST(who_let_go_in_between_is_not)
{
    pid_t pid = stopped_child(7);
    struct watch *watch;

    ck_assert_int_eq(watch_create(&watch), ERR_OK);
    ck_assert_int_eq(watch_look(watch, zone, NOW), 0);
    kill(pid, SIGCONT);
    ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
    ck_assert_int_eq(watch_look(watch, zone, NOW + WATCH_HELD_MS), 0);
    end_child(pid);
    watch_destroy(watch);
}
END_TEST

START_TEST(ones_own_locks_and_stopped_processes_without_one_are_left_alone)
{
    pid_t pid = stopped_child(NOTHING);
    struct watch *watch;

    ck_assert_int_eq(watch_create(&watch), ERR_OK);
    ck_assert(lock_try(zone, &zone->stripes[3]));
    ck_assert_int_eq(watch_look(watch, zone, NOW), 0);
    ck_assert_int_eq(watch_look(watch, zone, NOW + 5 * WATCH_HELD_MS), 0);
    lock_drop(zone, &zone->stripes[3]);
    end_child(pid);
    watch_destroy(watch);
}
END_TEST

int main(void)
{
    return ZONE_SUITE("shm: watch", who_holds_a_lock_for_a_second_is_named,
                      who_holds_the_gate_for_a_second_is_named, who_let_go_in_between_is_not,
                      ones_own_locks_and_stopped_processes_without_one_are_left_alone);
}
