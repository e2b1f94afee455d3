#include "scripted_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(int fd, const char *answer)
{
    if (write(fd, answer, strlen(answer)) != (ssize_t)strlen(answer))
        _exit(1);
}

/* Have close() reset the connection instead of ending it in order. */
static void prepare_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) != 0)
        _exit(1);
}

/* CLIENT SETNAME, CLIENT ID, INFO and PING come first on every connection. Returns the script's
 * next answer. */
static const char *const *serve(int fd, const char *const *next)
{
    static const char *const greeting[] = {"+OK\r\n", ":1\r\n", "$0\r\n\r\n", "+PONG\r\n"};
    unsigned greeted = 0;
    char bytes[4096];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '*')
                continue;
            if (greeted < sizeof(greeting) / sizeof(greeting[0])) {
                say(fd, greeting[greeted++]);
            } else if (*next != NULL && strcmp(*next, SCRIPTED_RESET) == 0) {
                prepare_reset(fd);
                return next + 1;
            } else if (*next != NULL) {
                say(fd, *next++);
            }
        }
    }
    return next;
}

void scripted_server_start(struct scripted_server *server, const char *const *answers)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", ntohs(address.sin_port));
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
            int client = accept(fd, NULL, NULL);

            if (client < 0)
                _exit(1);
            answers = serve(client, answers);
            close(client);
        }
    }
    close(fd);
}

void scripted_server_fini(struct scripted_server *server)
{
    ck_assert_int_eq(kill(server->pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server->pid, NULL, 0), server->pid);
}
