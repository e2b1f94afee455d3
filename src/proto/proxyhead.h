/* The header that a proxy in front puts before a connection's own bytes, versions 1 and 2. Pure.
 * Source: "The PROXY protocol", https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt. */
#ifndef PROTO_PROXYHEAD_H
#define PROTO_PROXYHEAD_H

#include "common/slice.h"
#include "proto/resp.h" /* enum parse_status */

#include <stdbool.h>

#define PROXYHEAD_PEER_MAX 64

/* Longer headers are refused: a version 2 header's extensions are looked over, not read. */
#define PROXYHEAD_MAX 2048

struct proxyhead {
    bool known; /* it names the client; otherwise the connection's own peer counts
                   (LOCAL, UNKNOWN, and families other than IP) */
    char peer[PROXYHEAD_PEER_MAX]; /* "192.0.2.1:4711", "[2001:db8::1]:4711" */
};

/* What input begins with. PARSE_OK: *used bytes are the header. PARSE_MORE: it is not complete.
 * PARSE_INVALID: it is no such header. PARSE_TOO_LARGE. */
enum parse_status proxyhead_parse(struct slice input, size_t *used, struct proxyhead *head);

#endif
