/* Addresses as the configuration writes them: "127.0.0.1:8080", "[::1]:8080", "unix:run/x.sock".
 * Nothing here asks the DNS. */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include "common/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDR_HOST_MAX 256 /* a host name and its NUL */

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } sock;
    socklen_t len;
};

/* The path of "unix:PATH" (points into text), or NULL when text is no such address. */
const char *addr_unix_path(const char *text);

/* A place to listen on: an IP literal with a port of 1..65535, or unix:PATH.
 * ERR_INVALID with a sentence that says how to write it. */
int addr_parse(const char *text, struct addr *out, struct errmsg *msg) MUST_CHECK;

/* "HOST:PORT", where HOST is a name, an IPv4 literal or an IPv6 literal in brackets (which are
 * taken off). ERR_INVALID with a sentence that says how to write it. */
int addr_split(const char *text, char host[ADDR_HOST_MAX], uint16_t *port,
               struct errmsg *msg) MUST_CHECK;

/* Whether an IP literal lies in a net ("10.0.0.0/8", "::1", without a length the one address):
 * 1, 0, or -1 when the net is written wrong. An IPv4 address mapped into IPv6 counts as what it is.
 */
int addr_in_net(const char *address, const char *net);

bool addr_is_unix(const struct addr *addr);
/* 127.0.0.0/8 or ::1; also the former mapped into IPv6. */
bool addr_is_loopback(const struct addr *addr);

#endif
