#include "client/wire.h"

#include "common/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 16384 /* at first; a long reply is read in larger pieces */
#define READ_MOST  (1u << 20)
#define KEEP_BYTES 65536 /* of an output buffer between commands */

/* The socket blocks, and the kernel ends each wait: one system call where poll(2) would make two.
 */
static int set_timeout(int fd, int option, uint64_t ms)
{
    struct timeval limit = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};

    return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit));
}

static int timed_out(const struct wire *wire, struct errmsg *msg)
{
    return err_set(msg, ERR_TIMEOUT, "no answer within %llu ms; what was asked may still be done",
                   (unsigned long long)wire->timeout_ms);
}

/* connect(2) of a socket with a send timeout: EINPROGRESS when it passed, EAGAIN when a unix
 * socket's queue stayed full. */
static int try_connect(struct wire *wire, const struct sockaddr *address, socklen_t len,
                       const char *where, struct errmsg *msg)
{
    int rc;

    do
        rc = connect(wire->fd, address, len);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return ERR_OK;
    if (errno == EINPROGRESS || errno == EAGAIN)
        return err_set(msg, ERR_TIMEOUT, "cannot connect to %s within %llu ms", where,
                       (unsigned long long)wire->timeout_ms);
    err_set_errno(msg, "cannot connect to %s", where);
    return ERR_DOWN;
}

static int open_socket(struct wire *wire, const struct sockaddr *address, socklen_t len,
                       const char *where, struct errmsg *msg)
{
    int rc;

    wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire->fd < 0)
        return err_set_errno(msg, "cannot open a socket");
    if (set_timeout(wire->fd, SO_SNDTIMEO, wire->timeout_ms) != 0 ||
        set_timeout(wire->fd, SO_RCVTIMEO, wire->timeout_ms) != 0)
        rc = err_set_errno(msg, "cannot set a socket's time limits");
    else
        rc = try_connect(wire, address, len, where, msg);
    if (rc != ERR_OK) {
        int saved = errno;

        wire_close(wire);
        errno = saved;
    }
    return rc;
}

static void init(struct wire *wire, uint64_t timeout_ms)
{
    *wire = (struct wire){.fd = -1, .timeout_ms = timeout_ms};
}

int wire_open_unix(struct wire *wire, const char *path, uint64_t timeout_ms, struct errmsg *msg)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    init(wire, timeout_ms);
    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(msg, ERR_INVALID, "the path of a unix socket has at most %zu bytes: %s",
                       sizeof(address.sun_path) - 1, path);
    strcpy(address.sun_path, path);
    return open_socket(wire, (const struct sockaddr *)&address, sizeof(address), path, msg);
}

/* Split "HOST:PORT" in place; brackets around an IPv6 host are taken off. NULL: no port. */
static char *split_port(char *address, char **host)
{
    char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || colon[1] == '\0')
        return NULL;
    *colon = '\0';
    len = strlen(address);
    *host = address;
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address[len - 1] = '\0';
        *host = address + 1;
    }
    return colon + 1;
}

static int open_any(struct wire *wire, const struct addrinfo *list, const char *where,
                    struct errmsg *msg)
{
    int rc = ERR_SYSTEM;

    for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        rc = open_socket(wire, one->ai_addr, one->ai_addrlen, where, msg);
        if (rc == ERR_OK)
            break;
    }
    return rc;
}

int wire_open_tcp(struct wire *wire, const char *address, uint64_t timeout_ms, struct errmsg *msg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char copy[256];
    char *host = NULL, *port = NULL;
    int rc;

    init(wire, timeout_ms);
    if ((size_t)snprintf(copy, sizeof(copy), "%s", address) < sizeof(copy))
        port = split_port(copy, &host);
    if (port == NULL)
        return err_set(msg, ERR_INVALID, "an address is HOST:PORT or [IPv6]:PORT, not %s", address);
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return err_set(msg, ERR_SYSTEM, "cannot find %s: %s", address, gai_strerror(rc));
    rc = open_any(wire, list, address, msg);
    freeaddrinfo(list);
    return rc;
}

static void drop_fds(struct wire *wire)
{
    for (unsigned i = 0; i < wire->n_fds; i++)
        close(wire->fds[i]);
    wire->n_fds = 0;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
    drop_fds(wire);
    buf_fini(&wire->out);
    buf_fini(&wire->in);
    wire->taken = 0;
}

int wire_add(struct wire *wire, int argc, const struct slice *argv)
{
    size_t before = buf_len(&wire->out);
    int rc = resp_array(&wire->out, (size_t)argc);

    for (int i = 0; i < argc && rc == ERR_OK; i++)
        rc = resp_bulk(&wire->out, argv[i]);
    if (rc != ERR_OK)
        buf_truncate(&wire->out, before);
    return rc;
}

int wire_send(struct wire *wire, struct errmsg *msg)
{
    struct buf *out = &wire->out;

    wire->begun = false;
    while (buf_len(out) > 0) {
        ssize_t n = send(wire->fd, buf_head(out), buf_len(out), MSG_NOSIGNAL);

        if (n > 0) {
            buf_consume(out, (size_t)n);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* A refusal may be there to be read: that is the better message. */
            buf_truncate(out, 0);
        } else if (errno == EAGAIN) {
            return timed_out(wire, msg);
        } else if (errno != EINTR) {
            return err_set_errno(msg, "cannot send to the daemon");
        }
    }
    buf_shrink(out, KEEP_BYTES);
    return ERR_OK;
}

/* Keep what came with the bytes; more than a reply has is not ours to keep. */
static void keep_fds(struct wire *wire, const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (wire->n_fds < FDPASS_MAX)
            wire->fds[wire->n_fds++] = fds[i];
        else
            close(fds[i]);
    }
}

/* Read what is there, at least one byte. */
static int read_some(struct wire *wire, uint64_t deadline_ms, struct errmsg *msg)
{
    size_t room = buf_len(&wire->in) < READ_BYTES  ? READ_BYTES
                  : buf_len(&wire->in) < READ_MOST ? buf_len(&wire->in)
                                                   : READ_MOST;
    char *place = buf_reserve(&wire->in, room);
    int fds[FDPASS_MAX];
    unsigned n_fds;
    ssize_t n;

    if (place == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the reply");
    n = fdpass_receive(wire->fd, place, room, fds, &n_fds, 0);
    if (n > 0) {
        keep_fds(wire, fds, n_fds);
        buf_commit(&wire->in, (size_t)n);
        wire->begun = true;
        return ERR_OK;
    }
    if (n == 0 || errno == ECONNRESET)
        return err_set(msg, ERR_LOST, "the daemon closed the connection without an answer");
    if (errno != EAGAIN && errno != EINTR)
        return err_set_errno(msg, "cannot read the answer");
    return clock_now_ms() >= deadline_ms ? timed_out(wire, msg) : ERR_OK;
}

int wire_receive(struct wire *wire, uint64_t wait_ms, struct resp_value *reply, struct errmsg *msg)
{
    uint64_t deadline_ms =
        wire->timeout_ms == 0 ? UINT64_MAX : clock_now_ms() + wire->timeout_ms + wait_ms;

    drop_fds(wire);
    buf_consume(&wire->in, wire->taken);
    wire->taken = 0;
    for (;;) {
        enum parse_status status = resp_parse_reply(buf_slice(&wire->in), reply, &wire->taken);
        int rc;

        if (status == PARSE_OK)
            return ERR_OK;
        if (status != PARSE_MORE)
            return err_set(msg, ERR_PROTOCOL, "the other side does not speak RESP");
        rc = read_some(wire, deadline_ms, msg);
        if (rc != ERR_OK)
            return rc;
    }
}

int wire_call(struct wire *wire, int argc, const struct slice *argv, struct resp_value *reply,
              struct errmsg *msg)
{
    int rc = wire_add(wire, argc, argv);

    if (rc != ERR_OK)
        return err_set(msg, rc, "no memory for the command");
    rc = wire_send(wire, msg);
    return rc == ERR_OK ? wire_receive(wire, 0, reply, msg) : rc;
}

bool wire_readable(const struct wire *wire, int wait_ms)
{
    struct pollfd ready = {.fd = wire->fd, .events = POLLIN};

    return buf_len(&wire->in) > wire->taken || poll(&ready, 1, wait_ms) > 0;
}

bool wire_hung_up(const struct wire *wire)
{
    char byte;
    ssize_t n = recv(wire->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n >= 0 || errno != EAGAIN; /* bytes nobody asked for are as bad as the end */
}
