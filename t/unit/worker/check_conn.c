/* Connections: order of replies, waiting, yielding, closing, limits. */
#include "fake_worker.h"

#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fake fake;

static void setup(void)
{
    fake_start(&fake, 0, 1, NULL);
}

static void teardown(void)
{
    fake_end(&fake);
    ck_assert_uint_eq(fake_open_requests(), 0);
    ck_assert_uint_eq(fake_open_sessions(), 0);
    scoreboard_destroy(fake.board);
}

static struct conn *only_conn(void)
{
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    return LIST_ENTRY(fake.worker->conns.next, struct conn, link);
}

START_TEST(answers_pipelined_lines)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "eone\netwo\neth");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "one;two;");
    fake_send(fd, "ree\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "three;");
    ck_assert_uint_eq(atomic_load(&fake.board->slots[0].connections), 1);
    ck_assert_uint_eq(atomic_load(&fake.board->slots[0].accepted), 1);
    close(fd);
}
END_TEST

START_TEST(keeps_the_order_of_late_replies)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "ea\nl1\neb\nl2\nec\ned\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "a;");
    fake_answer(2);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "");
    ck_assert_uint_eq(request_backlog(only_conn()), strlen("b;l2;c;d;"));
    fake_answer(1);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "l1;b;l2;c;d;");
    ck_assert_uint_eq(request_backlog(only_conn()), 0);
    ck_assert_uint_eq(only_conn()->held_bytes, 0);
    close(fd);
}
END_TEST

START_TEST(waits_until_the_pending_one_is_answered)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "l1\nw\nea\n");
    fake_turns(&fake);
    fake_send(fd, "eb\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "");
    /* What comes while it waits stays in the kernel. */
    ck_assert_uint_eq(buf_len(&only_conn()->in), strlen("w\nea\n"));
    fake_answer(1);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "l1;w;a;b;");
    close(fd);
}
END_TEST

START_TEST(a_yielding_client_lets_others_go_first)
{
    int busy = fake_connect(&fake);
    int other = fake_connect(&fake);

    fake_send(busy, "y\ny\ny\ny\n");
    fake_send(other, "ehi\n");
    uv_run(&fake.worker->loop, UV_RUN_NOWAIT);
    ck_assert_str_eq(fake_received(busy), "y;");
    ck_assert_str_eq(fake_received(other), "hi;");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(busy), "y;y;y;");
    ck_assert(!uv_is_active((uv_handle_t *)&fake.worker->ready_turn));
    close(busy);
    close(other);
}
END_TEST

START_TEST(close_sends_what_was_said_and_lingers)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "l1\nea\nq\nenever\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "");
    fake_answer(1);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "l1;a;bye;EOF");
    /* Until the client closes, what it still sends is thrown away instead of resetting the
     * connection. */
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    ck_assert_uint_eq(fake_open_sessions(), 0);
    fake_send(fd, "more and more");
    fake_turns(&fake);
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    close(fd);
    fake_turns(&fake);
    ck_assert_uint_eq(fake.worker->n_conns, 0);
}
END_TEST

START_TEST(lingering_is_bounded)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "q\n");
    fake_turns(&fake);
    conn_check_timeouts(fake.worker, only_conn()->active_ms + 1000);
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    conn_check_timeouts(fake.worker, only_conn()->active_ms + 2000);
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    close(fd);
}
END_TEST

START_TEST(a_half_closed_client_gets_its_replies)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "ea\nl1\neb\n");
    shutdown(fd, SHUT_WR);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "a;");
    fake_answer(1);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "l1;b;EOF");
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    close(fd);
}
END_TEST

START_TEST(a_reply_outlives_its_connection)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "l1\nl2\n");
    fake_turns(&fake);
    conn_abort(only_conn(), "test");
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    ck_assert_uint_eq(fake_open_requests(), 2);
    fake_answer(2);
    fake_answer(1);
    ck_assert_str_eq(fake_received(fd), "EOF");
    close(fd);
}
END_TEST

START_TEST(abort_from_inside_the_session)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "ea\na\neb\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "EOF");
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    close(fd);
}
END_TEST

START_TEST(a_full_reader_stops_being_read)
{
    int fd = fake_connect(&fake);
    size_t got = 0;

    fake.config.limits.output_bytes = 1000000;
    /* 40 x 100 kB: the second half stays unread until the first replies are. */
    for (int i = 0; i < 40; i++)
        fake_send(fd, "b100000\n");
    fake_turns(&fake);
    ck_assert(conn_congested(only_conn()));
    ck_assert_uint_le(request_backlog(only_conn()), 700000);
    ck_assert_uint_gt(only_conn()->over_since_ms == 0, 0);
    for (int i = 0; i < 1000 && got < 4000000; i++) {
        got += strlen(fake_received(fd));
        fake_turns(&fake);
    }
    ck_assert_uint_eq(got, 4000000);
    ck_assert_uint_eq(request_backlog(only_conn()), 0);
    fake_send(fd, "eon\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "on;");
    close(fd);
}
END_TEST

START_TEST(a_reader_that_takes_nothing_is_dropped)
{
    int fd = fake_connect(&fake);
    uint64_t since;

    fake.config.limits.output_bytes = 1000000;
    fake_send(fd, "b3000000\n");
    fake_turns(&fake);
    since = only_conn()->over_since_ms;
    ck_assert_uint_ne(since, 0);
    conn_check_timeouts(fake.worker, since + 1000);
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    conn_check_timeouts(fake.worker, since + 5000);
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    close(fd);
}
END_TEST

START_TEST(a_large_reply_to_a_reading_client_is_not_dropped)
{
    int fd = fake_connect(&fake);

    fake.config.limits.output_bytes = 1000000;
    fake_send(fd, "b3000000\n");
    fake_turns(&fake);
    only_conn()->over_since_ms = 1;
    for (int i = 0; i < 4; i++)
        ck_assert_str_ne(fake_received(fd), "");
    fake_turns(&fake);
    ck_assert_uint_ne(only_conn()->over_since_ms, 1);
    close(fd);
}
END_TEST

START_TEST(refuses_over_the_limit)
{
    int first, second;

    fake.config.limits.connections = 1;
    first = fake_connect(&fake);
    second = fake_connect(&fake);
    ck_assert_str_eq(fake_received(second),
                     "-ERR max number of clients reached (limits.connections)\r\nEOF");
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    close(second);
    fake.listener.protocol = PROTOCOL_HTTP;
    second = fake_connect(&fake);
    ck_assert_str_eq(fake_received(second),
                     "HTTP 503 max number of clients reached (limits.connections)EOF");
    close(first);
    close(second);
}
END_TEST

START_TEST(a_pinned_resp_listener_refuses_http)
{
    int fd = fake_connect(&fake);

    fake_send(fd, "GET / HTTP/1.1\r\n\r\n");
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "HTTP 400 this listener speaks resp onlyEOF");
    close(fd);
}
END_TEST

START_TEST(chooses_by_the_first_bytes)
{
    int fd;

    fake.listener.protocol = PROTOCOL_AUTO;
    fd = fake_connect(&fake);
    fake_send(fd, "echo k\n");
    fake_turns(&fake);
    ck_assert_ptr_eq(only_conn()->ops, &session_memcached);
    close(fd);
    fake_turns(&fake);
    fd = fake_connect(&fake);
    fake_send(fd, "GET / HTT");
    fake_turns(&fake);
    ck_assert_ptr_null(only_conn()->ops);
    ck_assert_str_eq(fake_received(fd), "");
    close(fd);
}
END_TEST

START_TEST(undecided_and_incomplete_heads_time_out)
{
    int fd;

    fake.config.limits.header_timeout_ms = 1000;
    fake.listener.protocol = PROTOCOL_AUTO;
    fd = fake_connect(&fake);
    fake_send(fd, "GET / HTT");
    fake_turns(&fake);
    conn_check_timeouts(fake.worker, only_conn()->header_since_ms + 999);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(fd), "");
    conn_check_timeouts(fake.worker, only_conn()->header_since_ms + 1000);
    fake_turns(&fake);
    ck_assert_int_eq(strncmp(fake_received(fd), "HTTP 408 ", 9), 0);
    close(fd);
}
END_TEST

START_TEST(idle_connections_time_out_only_when_asked)
{
    int idle = fake_connect(&fake);
    int busy = fake_connect(&fake);
    uint64_t later;

    fake_send(busy, "l1\n");
    fake_turns(&fake);
    later = LIST_ENTRY(fake.worker->conns.next, struct conn, link)->opened_ms + 1000000;
    conn_check_timeouts(fake.worker, later);
    ck_assert_uint_eq(fake.worker->n_conns, 2);
    fake.config.limits.idle_timeout_ms = 60000;
    conn_check_timeouts(fake.worker, later);
    ck_assert_uint_eq(fake.worker->n_conns, 1);
    ck_assert_str_eq(fake_received(idle), "EOF");
    fake_answer(1);
    fake_turns(&fake);
    ck_assert_str_eq(fake_received(busy), "l1;");
    close(idle);
    close(busy);
}
END_TEST

START_TEST(drain_closes_the_idle_and_finishes_the_rest)
{
    int idle = fake_connect(&fake);
    int unread = fake_connect(&fake);
    int busy = fake_connect(&fake);

    fake_send(busy, "l1\n");
    fake_turns(&fake);
    fake_send(unread, "elate\n");
    fake.worker->draining = true;
    conn_drain_all(fake.worker);
    ck_assert_str_eq(fake_received(idle), "EOF");
    ck_assert_str_eq(fake_received(unread), "late;");
    ck_assert_str_eq(fake_received(busy), "");
    fake_answer(1);
    fake_turns(&fake);
    conn_drain_all(fake.worker);
    ck_assert_str_eq(fake_received(busy), "l1;EOF");
    ck_assert_uint_eq(fake.worker->n_conns, 0);
    close(idle);
    close(unread);
    close(busy);
}
END_TEST

START_TEST(an_idle_connection_owns_little_memory)
{
    int fd = fake_connect(&fake);
    char line[9000];

    memset(line, 'x', sizeof(line));
    line[0] = 'e';
    line[sizeof(line) - 2] = '\n';
    line[sizeof(line) - 1] = '\0';
    fake_send(fd, line);
    fake_turns(&fake);
    ck_assert_uint_eq(strlen(fake_received(fd)), sizeof(line) - 2);
    ck_assert_uint_le(sizeof(struct conn) + only_conn()->in.cap + only_conn()->out.cap, 2048);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn");
    TCase *tcase = tcase_create("conn");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, answers_pipelined_lines);
    tcase_add_test(tcase, keeps_the_order_of_late_replies);
    tcase_add_test(tcase, waits_until_the_pending_one_is_answered);
    tcase_add_test(tcase, a_yielding_client_lets_others_go_first);
    tcase_add_test(tcase, close_sends_what_was_said_and_lingers);
    tcase_add_test(tcase, lingering_is_bounded);
    tcase_add_test(tcase, a_half_closed_client_gets_its_replies);
    tcase_add_test(tcase, a_reply_outlives_its_connection);
    tcase_add_test(tcase, abort_from_inside_the_session);
    tcase_add_test(tcase, a_full_reader_stops_being_read);
    tcase_add_test(tcase, a_reader_that_takes_nothing_is_dropped);
    tcase_add_test(tcase, a_large_reply_to_a_reading_client_is_not_dropped);
    tcase_add_test(tcase, refuses_over_the_limit);
    tcase_add_test(tcase, a_pinned_resp_listener_refuses_http);
    tcase_add_test(tcase, chooses_by_the_first_bytes);
    tcase_add_test(tcase, undecided_and_incomplete_heads_time_out);
    tcase_add_test(tcase, idle_connections_time_out_only_when_asked);
    tcase_add_test(tcase, drain_closes_the_idle_and_finishes_the_rest);
    tcase_add_test(tcase, an_idle_connection_owns_little_memory);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
