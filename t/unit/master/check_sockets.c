/* Listening sockets: stale and live socket files, ports in use, directories, modes, errors that say
 * what is wrong. */
#include "master/pidfile.h"
#include "master/sockets.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/check_sockets.XXXXXX";
static char address[160];
static struct config config;
static struct sockets sockets;
static struct errmsg msg;

static const char *path(void)
{
    return address + strlen("unix:");
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    config = (struct config){.workers = 2, .n_listeners = 1};
    config.listeners[0] = (struct config_listener){.address = address, .mode = 0660, .backlog = 16};
    sockets = (struct sockets){0};
    msg.text[0] = '\0';
}

static void teardown(void)
{
    sockets_close(&sockets);
    ck_assert_int_ne(access(path(), F_OK), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void check_fails(int status, const char *words)
{
    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), status);
    ck_assert_msg(strstr(msg.text, words) != NULL, "'%s' does not say '%s'", msg.text, words);
    ck_assert_uint_eq(sockets.n, 0);
}

START_TEST(one_unix_socket_for_all_with_its_mode)
{
    struct stat st;

    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), ERR_OK);
    ck_assert_uint_eq(sockets.n, 1);
    ck_assert_int_eq(sockets.list[0].slot, -1);
    ck_assert_ptr_eq(sockets.list[0].listener, &config.listeners[0]);
    ck_assert_int_eq(stat(path(), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0660);
    ck_assert_int_eq(fcntl(sockets.list[0].fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_uint_lt(strlen(path()), sizeof(un.sun_path));
    memcpy(un.sun_path, path(), strlen(path()) + 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    close(fd);
    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), ERR_OK);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    close(fd);
}
END_TEST

START_TEST(a_socket_in_use_is_refused)
{
    struct sockets first = {0};

    ck_assert_int_eq(sockets_open(&first, &config, &msg), ERR_OK);
    check_fails(ERR_LIMIT, "already in use by a running daemon");
    ck_assert_int_eq(access(path(), F_OK), 0);
    sockets_close(&first);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_left_alone)
{
    int fd = open(path(), O_CREAT | O_WRONLY, 0600);

    close(fd);
    check_fails(ERR_INVALID, "is not a socket");
    ck_assert_int_eq(unlink(path()), 0);
}
END_TEST

START_TEST(only_our_own_file_is_removed)
{
    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), ERR_OK);
    ck_assert_int_eq(unlink(path()), 0);
    close(open(path(), O_CREAT | O_WRONLY, 0600));
    sockets_close(&sockets);
    ck_assert_int_eq(unlink(path()), 0);
}
END_TEST

START_TEST(a_missing_directory_is_named)
{
    snprintf(address, sizeof(address), "unix:%s/nowhere/s", dir);
    check_fails(ERR_SYSTEM, "/nowhere: No such file or directory");
}
END_TEST

START_TEST(the_default_directory_is_made)
{
    struct stat st;

    snprintf(address, sizeof(address), "unix:run/s");
    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), ERR_OK);
    ck_assert_int_eq(stat("run", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777 & ~0750u, 0);
    sockets_close(&sockets);
    ck_assert_int_eq(rmdir("run"), 0);
}
END_TEST

START_TEST(a_path_too_long_is_said)
{
    memset(address + 5, 'x', 120);
    address[125] = '\0';
    check_fails(ERR_INVALID, "107 bytes");
}
END_TEST

START_TEST(an_unknown_owner_is_said)
{
    config.listeners[0].owner = "no-such-user";
    check_fails(ERR_INVALID, "there is no user no-such-user");
}
END_TEST

/* "127.0.0.1:PORT" with a port that is free now. */
static void find_free(char *text, size_t size)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    snprintf(text, size, "127.0.0.1:%u", ntohs(in.sin_port));
}

START_TEST(tcp_has_a_socket_a_slot)
{
    struct sockets second = {0};

    find_free(address, sizeof(address));
    ck_assert_int_eq(sockets_open(&sockets, &config, &msg), ERR_OK);
    ck_assert_uint_eq(sockets.n, 2);
    ck_assert_int_eq(sockets.list[0].slot, 0);
    ck_assert_int_eq(sockets.list[1].slot, 1);
    /* A second daemon must not slip in beside us, as SO_REUSEPORT would let it. */
    ck_assert_int_eq(sockets_open(&second, &config, &msg), ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(msg.text, "Address already in use"));
}
END_TEST

START_TEST(addresses_that_are_none)
{
    static const char *const bad[] = {
        "127.0.0.1",    "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
        "localhost:80", "[::1:80",    "1.2.3:80",    ""};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        config.listeners[0].address = (char *)(uintptr_t)bad[i];
        check_fails(ERR_INVALID, "listener ");
    }
}
END_TEST

START_TEST(channels_ring)
{
    struct heritage heritage = {0};
    uint64_t rings = 0;

    ck_assert_int_eq(scoreboard_create(2, &heritage.board, &msg), ERR_OK);
    ck_assert_int_eq(sockets_open_channels(&heritage, 2, &msg), ERR_OK);
    sockets_ring_all(&heritage);
    sockets_ring(&heritage, 1);
    ck_assert_int_eq(read(heritage.wake_fds[1], &rings, sizeof(rings)), sizeof(rings));
    ck_assert_uint_eq(rings, 2);
    ck_assert_int_eq(read(heritage.wake_fds[1], &rings, sizeof(rings)), -1);
    sockets_close_channels(&heritage, 2);
    scoreboard_destroy(heritage.board);
}
END_TEST

START_TEST(the_pid_file_is_held)
{
    struct pidfile pidfile;
    char text[32] = "";
    int status, fd;
    pid_t child;

    ck_assert_int_eq(pidfile_open(&pidfile, "pid", &msg), ERR_OK);
    child = fork();
    if (child == 0) {
        struct pidfile second;

        _exit(pidfile_open(&second, "pid", &msg) == ERR_LIMIT ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    fd = open("pid", O_RDONLY);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    ck_assert_int_eq(atol(text), getpid());
    pidfile_close(&pidfile);
    ck_assert_int_ne(access("pid", F_OK), 0);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockets");
    TCase *tcase = tcase_create("sockets");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, one_unix_socket_for_all_with_its_mode);
    tcase_add_test(tcase, a_stale_socket_is_replaced);
    tcase_add_test(tcase, a_socket_in_use_is_refused);
    tcase_add_test(tcase, a_file_that_is_no_socket_is_left_alone);
    tcase_add_test(tcase, only_our_own_file_is_removed);
    tcase_add_test(tcase, a_missing_directory_is_named);
    tcase_add_test(tcase, the_default_directory_is_made);
    tcase_add_test(tcase, a_path_too_long_is_said);
    tcase_add_test(tcase, an_unknown_owner_is_said);
    tcase_add_test(tcase, tcp_has_a_socket_a_slot);
    tcase_add_test(tcase, addresses_that_are_none);
    tcase_add_test(tcase, channels_ring);
    tcase_add_test(tcase, the_pid_file_is_held);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
