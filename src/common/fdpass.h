/* Descriptors over unix sockets (unix(7), SCM_RIGHTS): they travel with the first of the bytes they
 * are sent with. */
#ifndef COMMON_FDPASS_H
#define COMMON_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

#define FDPASS_MAX 4

/* Send len bytes (not 0) and n descriptors with them; the caller's descriptors stay open. Does not
 * block. As sendmsg(2): the bytes taken (the descriptors went with them), or -1 and errno. */
ssize_t fdpass_send(int sock, const void *bytes, size_t len, const int *fds, unsigned n);

/* Receive up to len bytes. fds: room for FDPASS_MAX, the caller's to close, close-on-exec; *n: how
 * many came. As recvmsg(2) with these flags. More than FDPASS_MAX are closed, and then *n is 0. */
ssize_t fdpass_receive(int sock, void *bytes, size_t len, int *fds, unsigned *n, int flags);

#endif
