/* Which protocol a client speaks, by its first bytes (design.md section 9). Pure: no I/O, no state.
 */
#ifndef WORKER_DETECT_H
#define WORKER_DETECT_H

#include "common/slice.h"

enum detect_result {
    DETECT_MORE,      /* undecided: wait for more bytes */
    DETECT_RESP,      /* '*', or a bare PING */
    DETECT_HTTP,      /* METHOD SP target SP HTTP/version */
    DETECT_MEMCACHED, /* anything else: a text command, or 0x80 (binary) */
};

/* input: everything received so far. line_max: a first line longer than this that begins like an
 * HTTP request is HTTP, whose parser then names the limit. Empty lines before the first word are
 * passed over (RFC 9112 section 2.2). Decides at the latest when line_max bytes are there. */
enum detect_result detect_protocol(struct slice input, size_t line_max);

#endif
