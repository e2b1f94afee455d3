/* Peers whose X-Forwarded fields are believed. Pure. */
#ifndef HTTP_TRUST_H
#define HTTP_TRUST_H

#include "common/config.h"
#include "common/slice.h"

/* Whether trusted_proxies has the peer's address. peer: "IP:PORT", or "unix", which is trusted: its
 * socket's mode says who may connect. */
bool trust_covers(const struct config *config, const char *peer);

/* "127.0.0.1:4711" and "[::1]:4711" without port and brackets. */
struct slice trust_address(const char *peer);

#endif
