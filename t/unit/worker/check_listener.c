/* Accepting: choice of the worker, handing connections over, adopting a slot without a worker. Two
 * workers on two loops in one process share a scoreboard, as two processes would. */
#include "fake_worker.h"
#include "worker/listener.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define N_WORKERS 2

static struct scoreboard *board;
static struct fake fakes[N_WORKERS];
static struct heritage_socket sockets[3]; /* [0] shared, [1] and [2]: one a slot */
static struct sockaddr_un addresses[3];
static int wake[N_WORKERS];

/* An abstract address (no file), chosen by the kernel. */
static int listen_somewhere(struct sockaddr_un *address, socklen_t *len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    ck_assert_int_eq(bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)), 0);
    *len = sizeof(*address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, len), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    return fd;
}

static socklen_t lengths[3];

static int dial(int number)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addresses[number], lengths[number]), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void turns(void)
{
    for (int i = 0; i < 4; i++) {
        for (int w = 0; w < N_WORKERS; w++)
            fake_turns(&fakes[w]);
    }
}

static void setup(void)
{
    int pairs[N_WORKERS][2];
    struct errmsg msg;

    ck_assert_int_eq(scoreboard_create(N_WORKERS, &board, &msg), ERR_OK);
    for (int i = 0; i < 3; i++) {
        sockets[i].fd = listen_somewhere(&addresses[i], &lengths[i]);
        sockets[i].slot = i - 1;
    }
    for (int i = 0; i < N_WORKERS; i++)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pairs[i]), 0);
    for (int i = 0; i < N_WORKERS; i++) {
        wake[i] = eventfd(0, EFD_NONBLOCK);
        ck_assert_int_ge(wake[i], 0);
    }
    for (unsigned w = 0; w < N_WORKERS; w++) {
        fake_start(&fakes[w], w, N_WORKERS, board);
        fakes[w].heritage.sockets = sockets;
        fakes[w].heritage.n_sockets = 3;
        memcpy(fakes[w].heritage.handover_fds, pairs, sizeof(pairs));
        memcpy(fakes[w].heritage.wake_fds, wake, sizeof(wake));
        ck_assert_int_eq(listener_start(fakes[w].worker, &msg), ERR_OK);
    }
    for (int i = 0; i < 3; i++)
        sockets[i].listener = &fakes[0].listener;
}

static void teardown(void)
{
    for (int w = 0; w < N_WORKERS; w++) {
        fakes[w].worker->draining = true;
        /* Only polls: the descriptors are shared by both workers here. */
        fakes[w].heritage.n_sockets = 0;
        listener_stop(fakes[w].worker);
        fake_end(&fakes[w]);
    }
    for (int i = 0; i < 3; i++)
        close(sockets[i].fd);
    scoreboard_destroy(board);
}

START_TEST(chooses_the_least_loaded_that_serves)
{
    struct scoreboard *other;
    struct errmsg msg;

    ck_assert_int_eq(scoreboard_create(3, &other, &msg), ERR_OK);
    for (int i = 0; i < 3; i++)
        atomic_store(&other->slots[i].state, SLOT_SERVING);
    ck_assert_uint_eq(listener_choose(other, 1), 1);
    atomic_store(&other->slots[1].connections, 1);
    ck_assert_uint_eq(listener_choose(other, 1), 0);
    atomic_store(&other->slots[0].handed, 1);
    ck_assert_uint_eq(listener_choose(other, 1), 2);
    atomic_store(&other->slots[2].state, SLOT_DRAINING);
    ck_assert_uint_eq(listener_choose(other, 1), 1);
    atomic_store(&other->slots[1].connections, 5);
    ck_assert_uint_eq(listener_choose(other, 1), 0);
    scoreboard_destroy(other);
}
END_TEST

START_TEST(balances_a_shared_socket)
{
    int clients[100];

    for (int i = 0; i < 100; i++) {
        clients[i] = dial(0);
        turns();
    }
    ck_assert_uint_eq(fakes[0].worker->n_conns, 50);
    ck_assert_uint_eq(fakes[1].worker->n_conns, 50);
    /* A connection that changed hands works as any other. */
    for (int i = 0; i < 100; i++) {
        fake_send(clients[i], "ehi\n");
        turns();
        shutdown(clients[i], SHUT_WR);
        turns();
        ck_assert_str_eq(fake_received(clients[i]), "hi;EOF");
        close(clients[i]);
    }
}
END_TEST

START_TEST(balances_a_burst)
{
    int clients[60];

    for (int i = 0; i < 60; i++)
        clients[i] = dial(0);
    turns();
    ck_assert_uint_eq(fakes[0].worker->n_conns + fakes[1].worker->n_conns, 60);
    ck_assert_uint_ge(fakes[0].worker->n_conns, 20);
    ck_assert_uint_ge(fakes[1].worker->n_conns, 20);
    ck_assert_uint_eq(atomic_load(&board->slots[0].handed), 0);
    ck_assert_uint_eq(atomic_load(&board->slots[1].handed), 0);
    for (int i = 0; i < 60; i++)
        close(clients[i]);
}
END_TEST

START_TEST(an_own_socket_is_not_shared)
{
    int a = dial(1), b = dial(1), c = dial(1);

    turns();
    ck_assert_uint_eq(fakes[0].worker->n_conns, 3);
    close(a);
    close(b);
    close(c);
}
END_TEST

START_TEST(adopts_and_releases_a_slot)
{
    uint64_t rings;
    int client;

    /* Worker 1 dies: its polls are gone, its socket and its inbox stay. */
    fakes[1].heritage.n_sockets = 0;
    fakes[1].worker->draining = true;
    listener_stop(fakes[1].worker);
    atomic_store(&board->slots[1].state, SLOT_EMPTY);
    client = dial(2);
    turns();
    ck_assert_uint_eq(fakes[0].worker->n_conns, 0);
    atomic_store(&board->slots[1].adopter, 0);
    listener_adopt(fakes[0].worker);
    listener_adopt(fakes[0].worker);
    turns();
    ck_assert_uint_eq(fakes[0].worker->n_conns, 1);
    close(client);
    turns();

    /* Worker 1 is back: that alone ends it, before the master has noticed. */
    atomic_store(&board->slots[1].state, SLOT_SERVING);
    listener_claim(fakes[1].worker);
    ck_assert_int_eq(read(wake[0], &rings, sizeof(rings)), sizeof(rings));
    listener_adopt(fakes[0].worker);
    client = dial(2);
    turns();
    ck_assert_uint_eq(fakes[0].worker->n_conns, 0);
    close(client);
}
END_TEST

START_TEST(an_adopter_reads_the_inbox)
{
    int client;

    /* Handed over to worker 1, which dies before it looks. */
    atomic_store(&board->slots[0].connections, 10);
    client = dial(0);
    fake_turns(&fakes[0]);
    ck_assert_uint_eq(fakes[0].worker->n_conns, 0);
    ck_assert_uint_eq(atomic_load(&board->slots[1].handed), 1);
    atomic_store(&board->slots[1].state, SLOT_EMPTY);
    atomic_store(&board->slots[1].adopter, 0);
    listener_adopt(fakes[0].worker);
    fake_turns(&fakes[0]);
    ck_assert_uint_eq(fakes[0].worker->n_conns, 1);
    fake_send(client, "ehi\n");
    fake_turns(&fakes[0]);
    shutdown(client, SHUT_WR);
    fake_turns(&fakes[0]);
    ck_assert_str_eq(fake_received(client), "hi;EOF");
    close(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, chooses_the_least_loaded_that_serves);
    tcase_add_test(tcase, balances_a_shared_socket);
    tcase_add_test(tcase, balances_a_burst);
    tcase_add_test(tcase, an_own_socket_is_not_shared);
    tcase_add_test(tcase, adopts_and_releases_a_slot);
    tcase_add_test(tcase, an_adopter_reads_the_inbox);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
