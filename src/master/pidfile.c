#include "master/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int write_pid(int fd, const char *path, struct errmsg *msg)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return err_set_errno(msg, "cannot write the pid file %s", path);
    return ERR_OK;
}

int pidfile_open(struct pidfile *pidfile, const char *path, struct errmsg *msg)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int status;

    *pidfile = (struct pidfile){.fd = -1};
    if (path == NULL || path[0] == '\0')
        return ERR_OK;
    pidfile->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (pidfile->fd < 0)
        return err_set_errno(msg, "cannot open the pid file %s", path);
    if (fcntl(pidfile->fd, F_SETLK, &lock) == 0)
        status = write_pid(pidfile->fd, path, msg);
    else if (errno == EAGAIN || errno == EACCES)
        status = err_set(msg, ERR_LIMIT, "the pid file %s is held by a running daemon", path);
    else
        status = err_set_errno(msg, "cannot lock the pid file %s", path);
    if (status == ERR_OK) {
        pidfile->path = path;
    } else {
        close(pidfile->fd);
        pidfile->fd = -1;
    }
    return status;
}

void pidfile_close(struct pidfile *pidfile)
{
    if (pidfile->fd < 0)
        return;
    unlink(pidfile->path);
    close(pidfile->fd);
    *pidfile = (struct pidfile){.fd = -1};
}
