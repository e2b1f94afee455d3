/* The meta commands of memcached: mg, ms, md, ma, me, mn. No I/O, no cache. Source: memcached's
 * doc/protocol.txt (1.6), "Meta Get" and those that follow. */
#ifndef PROTO_MEMCACHED_META_H
#define PROTO_MEMCACHED_META_H

#include "common/buf.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define MEMCACHED_KEY_MAX    250
#define MEMCACHED_OPAQUE_MAX 31
#define MEMCACHED_FLAGS_MAX  52 /* each letter once */

/* The flags of one command. What a flag's token says is set only where it was sent. */
struct memcached_meta {
    uint64_t sent;                       /* memcached_sent() */
    char order[MEMCACHED_FLAGS_MAX + 1]; /* as they were sent */
    struct slice opaque;                 /* O; points into the input */
    struct slice key_text;               /* the key as it was sent */
    char mode;                           /* M */
    int64_t ttl, vivify, recache;        /* T, N, R: seconds, as an exptime */
    uint64_t unique, delta, initial;     /* C, D, J */
    uint64_t wait_ms;                /* A, ours: how long a loser waits for the winner's value */
    uint32_t client_flags;           /* F */
    char decoded[MEMCACHED_KEY_MAX]; /* b: the key */
};

/* Whether a flag was sent. */
static inline bool memcached_sent(const struct memcached_meta *meta, char flag)
{
    unsigned bit = flag >= 'a' ? (unsigned)(flag - 'a') + 26 : (unsigned)(flag - 'A');

    return (meta->sent >> bit & 1) != 0;
}

#define MEMCACHED_BAD_MODE "CLIENT_ERROR invalid mode for ma M token"

/* Read the flags behind a key. NULL, or the error to answer. storing: of ms, whose M names a way to
 * store. */
const char *memcached_meta_flags(struct slice line, bool storing, struct memcached_meta *meta);

/* " kKEY" (and " b"), " OTOKEN", for those of the flags that every reply repeats. True: it is one
 * of them; *status is the append's. */
bool memcached_meta_repeat(struct buf *out, const struct memcached_meta *meta, char flag,
                           int *status);

#endif
