#include "redis_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX    48
#define START_TRIES 500 /* of 10 ms */

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Whether it answers a PING, be it with an error that asks for a password. */
static bool answers(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char answer[8] = "";
    bool ok = false;

    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        write(fd, "PING\r\n", 6) == 6 && read(fd, answer, sizeof(answer)) > 0)
        ok = strncmp(answer, "+PONG", 5) == 0 || strncmp(answer, "-NOAUTH", 7) == 0;
    close(fd);
    return ok;
}

static void run(const struct redis_server *server)
{
    char port[8], log_file[128];
    const char *argv[ARGS_MAX] = {"redis-server",
                                  "--port",
                                  port,
                                  "--bind",
                                  "127.0.0.1",
                                  "--dir",
                                  server->dir,
                                  "--unixsocket",
                                  server->unix_address + 5,
                                  "--save",
                                  "",
                                  "--appendonly",
                                  "no",
                                  "--daemonize",
                                  "no"};
    int n = 15, fd;

    snprintf(port, sizeof(port), "%d", server->port);
    snprintf(log_file, sizeof(log_file), "%s/log", server->dir);
    for (const char *const *option = server->options; option != NULL && *option != NULL; option++)
        argv[n++] = *option;
    argv[n] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void redis_server_reserve(struct redis_server *server, const char *const *options)
{
    memset(server, 0, sizeof(*server));
    strcpy(server->dir, "/tmp/check-redis.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server->dir));
    server->port = free_port();
    server->options = options;
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", server->port);
    snprintf(server->unix_address, sizeof(server->unix_address), "unix:%s/sock", server->dir);
}

void redis_server_restart(struct redis_server *server)
{
    ck_assert_int_eq(server->pid, 0);
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0)
        run(server);
    for (int i = 0; i < START_TRIES; i++) {
        if (answers(server->port))
            return;
        ck_assert_msg(waitpid(server->pid, NULL, WNOHANG) == 0, "redis-server ended: see %s/log",
                      server->dir);
        usleep(10000);
    }
    ck_abort_msg("redis-server does not answer: see %s/log", server->dir);
}

void redis_server_start(struct redis_server *server, const char *const *options)
{
    redis_server_reserve(server, options);
    redis_server_restart(server);
}

void redis_server_kill(struct redis_server *server, int signal)
{
    ck_assert_int_gt(server->pid, 0);
    ck_assert_int_eq(kill(server->pid, signal), 0);
    ck_assert_int_eq(waitpid(server->pid, NULL, 0), server->pid);
    server->pid = 0;
}

void redis_server_freeze(struct redis_server *server, bool frozen)
{
    int status;

    ck_assert_int_eq(kill(server->pid, frozen ? SIGSTOP : SIGCONT), 0);
    ck_assert_int_eq(waitpid(server->pid, &status, frozen ? WUNTRACED : WCONTINUED), server->pid);
}

void redis_server_fini(struct redis_server *server)
{
    char path[128];

    if (server->pid > 0)
        redis_server_kill(server, SIGKILL);
    snprintf(path, sizeof(path), "%s/log", server->dir);
    unlink(path);
    unlink(server->unix_address + 5);
    rmdir(server->dir);
}
