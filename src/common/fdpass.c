#include "common/fdpass.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one too many, so that too many are seen as such. */
union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int) * (FDPASS_MAX + 1))];
};

ssize_t fdpass_send(int sock, const void *bytes, size_t len, const int *fds, unsigned n)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * n);
    return sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The descriptors of a message; none when there are more than the caller has room for. */
static unsigned take(struct msghdr *message, int *fds)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int all[FDPASS_MAX + 1];
    size_t n;

    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return 0;
    n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(all, CMSG_DATA(header), n * sizeof(int));
    if (n <= FDPASS_MAX && (message->msg_flags & MSG_CTRUNC) == 0) {
        memcpy(fds, all, n * sizeof(int));
        return (unsigned)n;
    }
    for (size_t i = 0; i < n; i++)
        close(all[i]);
    return 0;
}

ssize_t fdpass_receive(int sock, void *bytes, size_t len, int *fds, unsigned *n, int flags)
{
    union control control = {0};
    struct iovec iov = {.iov_base = bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    ssize_t got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | flags);

    *n = got < 0 ? 0 : take(&message, fds);
    return got;
}
