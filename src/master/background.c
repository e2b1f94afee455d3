#define _GNU_SOURCE 1 /* pipe2 */
#include "master/background.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The parent: the first byte says ready, the end of the pipe says it has failed. */
static _Noreturn void wait_for_child(int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    fprintf(stderr, "cachetastic: the daemon did not start; its log says why\n");
    _exit(1);
}

int background_enter(int *notify_fd, struct errmsg *msg)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_set_errno(msg, "cannot create a pipe");
    pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return err_set_errno(msg, "cannot go to the background");
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0]);
    }
    close(fds[0]);
    setsid();
    *notify_fd = fds[1];
    return ERR_OK;
}

int background_detach(struct errmsg *msg)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return err_set_errno(msg, "cannot open /dev/null");
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0)
        return err_set_errno(msg, "cannot let go of the terminal");
    if (null > STDERR_FILENO)
        close(null);
    return ERR_OK;
}

void background_ready(int notify_fd)
{
    char byte = 1;

    if (write(notify_fd, &byte, 1) != 1)
        log_warn("the process that started this daemon is gone");
    close(notify_fd);
}
