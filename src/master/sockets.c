#define _GNU_SOURCE 1 /* SOCK_CLOEXEC and friends */
#include "master/sockets.h"

#include "common/addr.h"
#include "common/config.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* Another daemon may be starting in the same directory: wait for it so long. */
#define DIRECTORY_LOCK_TRIES   100
#define DIRECTORY_LOCK_WAIT_NS 10000000

/* The directory of the default socket, made when it is missing. */
#define DEFAULT_DIRECTORY "run"

/* --- TCP ------------------------------------------------------------------------------------ */

static int set_option(int fd, int level, int name)
{
    int on = 1;

    return setsockopt(fd, level, name, &on, sizeof(on));
}

/* A bound TCP socket; -1 with errno. shared: more of our sockets will have the same port. Options
 * that connections need are set here: accepted sockets inherit them. */
static int bind_tcp(const struct addr *address, bool shared)
{
    int fd = socket(address->sock.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) == 0 &&
        (!shared || set_option(fd, SOL_SOCKET, SO_REUSEPORT) == 0) &&
        set_option(fd, IPPROTO_TCP, TCP_NODELAY) == 0 &&
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 0 &&
        (address->sock.sa.sa_family != AF_INET6 ||
         set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0) &&
        bind(fd, &address->sock.sa, address->len) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* SO_REUSEPORT would let two daemons of one user share a port in silence: without it, a port
 * that anybody listens on is refused. */
static int check_unused(const struct addr *address, const char *text, struct errmsg *msg)
{
    int fd = bind_tcp(address, false);

    if (fd < 0)
        return err_set_errno(msg, "cannot listen on %s", text);
    close(fd);
    return ERR_OK;
}

static void add(struct sockets *sockets, int fd, int slot, const struct config_listener *listener)
{
    sockets->list[sockets->n++] = (struct heritage_socket){fd, slot, listener};
}

static int open_tcp(struct sockets *sockets, const struct config_listener *listener,
                    const struct addr *address, unsigned n_slots, struct errmsg *msg)
{
    int status = check_unused(address, listener->address, msg);

    if (status != ERR_OK)
        return status;
    for (unsigned slot = 0; slot < n_slots; slot++) {
        int fd = bind_tcp(address, true);

        if (fd < 0)
            return err_set_errno(msg, "cannot listen on %s", listener->address);
        add(sockets, fd, (int)slot, listener);
        if (listen(fd, (int)listener->backlog) != 0)
            return err_set_errno(msg, "cannot listen on %s", listener->address);
    }
    return ERR_OK;
}

/* --- unix ----------------------------------------------------------------------------------- */

/* The directory of path, made if it is the default one. Returns a descriptor locked against other
 * daemons that start now, or -1 with msg. */
static int lock_directory(const char *path, struct errmsg *msg)
{
    const char *slash = strrchr(path, '/');
    struct timespec wait = {.tv_nsec = DIRECTORY_LOCK_WAIT_NS};
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)] = ".";
    int fd;

    if (slash == path)
        snprintf(dir, sizeof(dir), "/");
    else if (slash != NULL)
        snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    if (strcmp(dir, DEFAULT_DIRECTORY) == 0 && mkdir(dir, 0750) != 0 && errno != EEXIST)
        err_set_errno(msg, "cannot make the directory %s", dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_set_errno(msg, "cannot create the socket %s: its directory %s", path, dir);
        return -1;
    }
    for (int i = 0; i < DIRECTORY_LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        nanosleep(&wait, NULL);
    }
    err_set(msg, ERR_LIMIT, "cannot create the socket %s: another process keeps %s locked", path,
            dir);
    close(fd);
    return -1;
}

/* Make way for a new socket file: ERR_OK when there is none or it was stale. */
static int remove_stale(const struct sockaddr_un *address, struct errmsg *msg)
{
    const char *path = address->sun_path;
    struct stat st;
    int fd, result;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? ERR_OK : err_set_errno(msg, "cannot look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(msg, ERR_INVALID, "%s exists and is not a socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(msg, "cannot open a socket");
    result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(fd);
    if (result == 0 || result == EAGAIN)
        return err_set(msg, ERR_LIMIT, "%s is already in use by a running daemon", path);
    if (result != ECONNREFUSED) {
        errno = result;
        return err_set_errno(msg, "cannot tell whether %s is in use", path);
    }
    if (unlink(path) != 0)
        return err_set_errno(msg, "cannot remove the stale socket %s", path);
    log_info("removed the stale socket %s", path);
    return ERR_OK;
}

static int set_owner(const struct config_listener *listener, const char *path, struct errmsg *msg)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;

    if (listener->owner != NULL && listener->owner[0] != '\0') {
        const struct passwd *user = getpwnam(listener->owner);

        if (user == NULL)
            return err_set(msg, ERR_INVALID, "socket %s: there is no user %s", path,
                           listener->owner);
        uid = user->pw_uid;
    }
    if (listener->group != NULL && listener->group[0] != '\0') {
        const struct group *group = getgrnam(listener->group);

        if (group == NULL)
            return err_set(msg, ERR_INVALID, "socket %s: there is no group %s", path,
                           listener->group);
        gid = group->gr_gid;
    }
    if ((uid != (uid_t)-1 || gid != (gid_t)-1) && chown(path, uid, gid) != 0)
        return err_set_errno(msg, "cannot change the owner of %s", path);
    return ERR_OK;
}

/* With the directory locked. The mode is right from the first moment: it comes from the umask. */
static int bind_unix(struct sockets *sockets, const struct config_listener *listener,
                     const struct sockaddr_un *address, struct errmsg *msg)
{
    struct socket_file *file = &sockets->files[sockets->n_files];
    struct stat st;
    mode_t mask;
    int fd, bound, status;

    status = remove_stale(address, msg);
    if (status != ERR_OK)
        return status;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(msg, "cannot open a socket");
    add(sockets, fd, -1, listener);
    mask = umask(0777 & ~(mode_t)listener->mode);
    bound = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(mask);
    if (bound != 0 || stat(address->sun_path, &st) != 0)
        return err_set_errno(msg, "cannot create the socket %s", address->sun_path);
    *file = (struct socket_file){addr_unix_path(listener->address), st.st_dev, st.st_ino};
    sockets->n_files++;
    status = set_owner(listener, address->sun_path, msg);
    if (status != ERR_OK)
        return status;
    if (listen(fd, (int)listener->backlog) != 0)
        return err_set_errno(msg, "cannot listen on %s", address->sun_path);
    return ERR_OK;
}

static int open_unix(struct sockets *sockets, const struct config_listener *listener,
                     const struct addr *address, struct errmsg *msg)
{
    int directory, status;

    directory = lock_directory(address->sock.un.sun_path, msg);
    if (directory < 0)
        return ERR_SYSTEM;
    status = bind_unix(sockets, listener, &address->sock.un, msg);
    close(directory);
    return status;
}

/* --- all of them ---------------------------------------------------------------------------- */

int sockets_open(struct sockets *sockets, const struct config *config, struct errmsg *msg)
{
    unsigned n_slots = (unsigned)config->workers;
    int status = ERR_OK;

    sockets->list = calloc(config->n_listeners * n_slots, sizeof(*sockets->list));
    if (sockets->list == NULL && config->n_listeners > 0)
        return err_set(msg, ERR_NOMEM, "no memory for the sockets");
    for (size_t i = 0; i < config->n_listeners && status == ERR_OK; i++) {
        const struct config_listener *listener = &config->listeners[i];

        struct errmsg why;
        struct addr address;

        status = addr_parse(listener->address, &address, &why);
        if (status != ERR_OK) {
            err_set(msg, status, "listener %s: %.400s", listener->address, why.text);
            break;
        }
        if (addr_is_unix(&address))
            status = open_unix(sockets, listener, &address, msg);
        else
            status = open_tcp(sockets, listener, &address, n_slots, msg);
        if (status == ERR_OK)
            log_info("listening on %s", listener->address);
    }
    if (status != ERR_OK)
        sockets_close(sockets);
    return status;
}

void sockets_close(struct sockets *sockets)
{
    struct stat st;

    for (size_t i = 0; i < sockets->n; i++)
        close(sockets->list[i].fd);
    for (size_t i = 0; i < sockets->n_files; i++) {
        const struct socket_file *file = &sockets->files[i];

        if (stat(file->path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
            unlink(file->path);
    }
    free(sockets->list);
    *sockets = (struct sockets){0};
}

int sockets_open_channels(struct heritage *heritage, unsigned n_slots, struct errmsg *msg)
{
    for (unsigned i = 0; i < n_slots; i++) {
        heritage->wake_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (heritage->wake_fds[i] < 0) {
            err_set_errno(msg, "cannot create an eventfd");
            sockets_close_channels(heritage, i);
            return ERR_SYSTEM;
        }
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                       heritage->handover_fds[i]) != 0) {
            err_set_errno(msg, "cannot create a socket pair");
            close(heritage->wake_fds[i]);
            sockets_close_channels(heritage, i);
            return ERR_SYSTEM;
        }
    }
    return ERR_OK;
}

void sockets_close_channels(struct heritage *heritage, unsigned n_slots)
{
    for (unsigned i = 0; i < n_slots; i++) {
        close(heritage->wake_fds[i]);
        close(heritage->handover_fds[i][0]);
        close(heritage->handover_fds[i][1]);
    }
}

void sockets_ring(const struct heritage *heritage, unsigned slot)
{
    uint64_t one = 1;

    /* EAGAIN: the counter is full, so the worker has been rung already. */
    if (write(heritage->wake_fds[slot], &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn("cannot wake worker %u: %s", slot, strerror(errno));
}

void sockets_ring_all(const struct heritage *heritage)
{
    for (unsigned i = 0; i < heritage->board->n_slots; i++)
        sockets_ring(heritage, i);
}
