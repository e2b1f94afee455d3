#include "ctl/client.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 65536

static uint64_t deadline_of(const struct client *client)
{
    return client->timeout_ms == 0 ? UINT64_MAX : clock_now_ms() + client->timeout_ms;
}

/* Wait until the socket is ready for events. */
static int wait_for(const struct client *client, short events, uint64_t deadline_ms,
                    struct errmsg *msg)
{
    struct pollfd entry = {.fd = client->fd, .events = events};
    uint64_t now_ms = clock_now_ms();
    int left = -1;
    int n;

    if (deadline_ms != UINT64_MAX)
        left = deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0;
    do
        n = poll(&entry, 1, left);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set_errno(msg, "cannot wait for the daemon");
    if (n == 0)
        return err_set(msg, ERR_TIMEOUT,
                       "no answer within %llu ms (--timeout); what was asked may still be done",
                       (unsigned long long)client->timeout_ms);
    return ERR_OK;
}

/* Connect client->fd, which does not block. */
static int finish_connect(struct client *client, const struct sockaddr *address, socklen_t len,
                          const char *where, struct errmsg *msg)
{
    socklen_t size = sizeof(int);
    int error = 0;
    int rc;

    if (connect(client->fd, address, len) == 0)
        return ERR_OK;
    if (errno != EINPROGRESS)
        return err_set_errno(msg, "cannot connect to %s", where);
    rc = wait_for(client, POLLOUT, deadline_of(client), msg);
    if (rc != ERR_OK)
        return rc;
    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        return ERR_OK;
    errno = error;
    return err_set_errno(msg, "cannot connect to %s", where);
}

static int open_socket(struct client *client, const struct sockaddr *address, socklen_t len,
                       const char *where, struct errmsg *msg)
{
    int rc;

    client->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return err_set_errno(msg, "cannot open a socket");
    rc = finish_connect(client, address, len, where, msg);
    if (rc != ERR_OK)
        client_close(client);
    return rc;
}

int client_open_unix(struct client *client, const char *path, uint64_t timeout_ms,
                     struct errmsg *msg)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *client = (struct client){.fd = -1, .timeout_ms = timeout_ms};
    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(msg, ERR_INVALID, "the path of a unix socket has at most %zu bytes: %s",
                       sizeof(address.sun_path) - 1, path);
    strcpy(address.sun_path, path);
    return open_socket(client, (const struct sockaddr *)&address, sizeof(address), path, msg);
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

static int open_any(struct client *client, const struct addrinfo *list, const char *where,
                    struct errmsg *msg)
{
    int rc = ERR_SYSTEM;

    for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        rc = open_socket(client, one->ai_addr, one->ai_addrlen, where, msg);
        if (rc == ERR_OK)
            break;
    }
    return rc;
}

int client_open_tcp(struct client *client, const char *address, uint64_t timeout_ms,
                    struct errmsg *msg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char copy[256];
    char *host = NULL, *port = NULL;
    int rc;

    *client = (struct client){.fd = -1, .timeout_ms = timeout_ms};
    if ((size_t)snprintf(copy, sizeof(copy), "%s", address) < sizeof(copy))
        port = split_port(copy, &host);
    if (port == NULL)
        return err_set(msg, ERR_INVALID, "an address is HOST:PORT or [IPv6]:PORT, not %s", address);
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return err_set(msg, ERR_SYSTEM, "cannot find %s: %s", address, gai_strerror(rc));
    rc = open_any(client, list, address, msg);
    freeaddrinfo(list);
    return rc;
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    buf_fini(&client->in);
}

static int encode(struct buf *out, int argc, const struct slice *argv)
{
    int rc = resp_array(out, (size_t)argc);

    for (int i = 0; i < argc && rc == ERR_OK; i++)
        rc = resp_bulk(out, argv[i]);
    return rc;
}

static int send_all(struct client *client, struct buf *out, uint64_t deadline_ms,
                    struct errmsg *msg)
{
    while (buf_len(out) > 0) {
        ssize_t n = send(client->fd, buf_head(out), buf_len(out), MSG_NOSIGNAL);

        if (n > 0) {
            buf_consume(out, (size_t)n);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* A refusal may be there to be read: that is the better message. */
            return ERR_OK;
        } else if (errno != EAGAIN && errno != EINTR) {
            return err_set_errno(msg, "cannot send to the daemon");
        } else {
            int rc = wait_for(client, POLLOUT, deadline_ms, msg);

            if (rc != ERR_OK)
                return rc;
        }
    }
    return ERR_OK;
}

/* Read what is there, at least one byte. */
static int read_some(struct client *client, uint64_t deadline_ms, struct errmsg *msg)
{
    char *place = buf_reserve(&client->in, READ_BYTES);
    ssize_t n;
    int rc;

    if (place == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the reply");
    rc = wait_for(client, POLLIN, deadline_ms, msg);
    if (rc != ERR_OK)
        return rc;
    n = recv(client->fd, place, READ_BYTES, 0);
    if (n > 0) {
        buf_commit(&client->in, (size_t)n);
        return ERR_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return ERR_OK;
    if (n == 0 || errno == ECONNRESET)
        return err_set(msg, ERR_LOST, "the daemon closed the connection without an answer");
    return err_set_errno(msg, "cannot read the answer");
}

static int read_reply(struct client *client, uint64_t deadline_ms, struct resp_value *reply,
                      struct errmsg *msg)
{
    for (;;) {
        enum parse_status status = resp_parse_reply(buf_slice(&client->in), reply, &client->taken);
        int rc;

        if (status == PARSE_OK)
            return ERR_OK;
        if (status != PARSE_MORE)
            return err_set(msg, ERR_PROTOCOL, "the other side does not speak RESP");
        rc = read_some(client, deadline_ms, msg);
        if (rc != ERR_OK)
            return rc;
    }
}

int client_call(struct client *client, int argc, const struct slice *argv, struct resp_value *reply,
                struct errmsg *msg)
{
    uint64_t deadline_ms = deadline_of(client);
    struct buf out = {0};
    int rc = encode(&out, argc, argv);

    buf_consume(&client->in, client->taken);
    client->taken = 0;
    if (rc == ERR_OK)
        rc = send_all(client, &out, deadline_ms, msg);
    else
        err_set(msg, rc, "no memory for the command");
    buf_fini(&out);
    return rc == ERR_OK ? read_reply(client, deadline_ms, reply, msg) : rc;
}
