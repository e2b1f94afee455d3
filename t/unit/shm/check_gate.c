#include "shm/gate.h"

#include "shm/lock.h"
#include "shm/repair.h"
#include "zone_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

/* A process of its own that has joined the zone; ends with what work() returns. */
static pid_t other_process(int (*work)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        struct errmsg msg;

        if (zone_join(zone, &msg) != ERR_OK)
            _exit(99);
        _exit(work());
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static int status_of(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int put_and_drop(void)
{
    int set = put("k", "theirs");
    int gone = drop("k");

    return set == TABLE_BUSY && gone == TABLE_BUSY ? 0 : 10 * set + gone;
}

static int put_now(void)
{
    return put("k", "theirs") == TABLE_STORED ? 0 : 1;
}

static int take_and_die(void)
{
    return gate_take(zone) ? 0 : 1;
}

static int take_it_too(void)
{
    return gate_take(zone) ? 1 : 0;
}

START_TEST(others_cannot_write_while_it_is_held)
{
    ck_assert_int_eq(put("k", "mine"), TABLE_STORED);
    ck_assert(gate_take(zone));
    ck_assert_int_eq(status_of(other_process(put_and_drop)), 0);
    ck_assert_int_eq(put("k2", "the holder's"), TABLE_STORED);
    ck_assert_str_eq(get("k"), "mine");
    gate_drop(zone);
    ck_assert_int_eq(status_of(other_process(put_now)), 0);
    ck_assert_str_eq(get("k"), "theirs");
}
END_TEST

START_TEST(one_holder_at_a_time)
{
    ck_assert(gate_take(zone));
    ck_assert_int_eq(status_of(other_process(take_it_too)), 0);
    gate_drop(zone);
    ck_assert(gate_take(zone));
    gate_drop(zone);
}
END_TEST

START_TEST(a_reader_learns_that_a_holder_came)
{
    uint32_t turn, later;

    ck_assert(gate_look(zone, &turn));
    ck_assert(gate_same(zone, turn));
    ck_assert(gate_take(zone));
    ck_assert(gate_same(zone, turn)); /* the holder reads its own */
    gate_drop(zone);
    ck_assert(!gate_same(zone, turn));
    ck_assert(gate_look(zone, &later));
    ck_assert(gate_same(zone, later));
}
END_TEST

START_TEST(a_dead_holder_keeps_nobody_out)
{
    uint32_t turn;
    pid_t pid = other_process(take_and_die);

    ck_assert_int_eq(status_of(pid), 0);
    ck_assert(!gate_look(zone, &turn));
    ck_assert_int_eq(put("k", "v"), TABLE_BUSY);
    ck_assert_int_eq(repair_process(zone, pid, false, NULL), 1);
    ck_assert(gate_look(zone, &turn));
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
}
END_TEST

START_TEST(settling_waits_for_who_has_the_stripe)
{
    struct table_key key = key_of("k");
    struct stripe *stripe = layout_stripe(zone, key.hash);
    unsigned number = gate_stripe(zone, key.bytes);

    ck_assert_uint_eq(number, layout_stripe_of(key.hash));
    ck_assert(gate_take(zone));
    ck_assert(gate_settle(zone, number));
    atomic_store(&stripe->lock, 77); /* somebody who came before the gate closed */
    ck_assert(!gate_settle(zone, number));
    atomic_store(&stripe->lock, 0);
    ck_assert(gate_settle(zone, number));
    gate_drop(zone);
}
END_TEST

int main(void)
{
    return ZONE_SUITE("gate", others_cannot_write_while_it_is_held, one_holder_at_a_time,
                      a_reader_learns_that_a_holder_came, a_dead_holder_keeps_nobody_out,
                      settling_waits_for_who_has_the_stripe);
}
