/* The memcached text protocol: bytes to requests, and the few replies that have a form. No I/O, no
 * cache. Source: memcached's doc/protocol.txt (1.6). */
#ifndef PROTO_MEMCACHED_H
#define PROTO_MEMCACHED_H

#include "common/buf.h"
#include "common/slice.h"
#include "proto/memcached_meta.h"
#include "proto/resp.h" /* enum parse_status */

#include <stdbool.h>
#include <stdint.h>

enum memcached_verb {
    MEMCACHED_GET,
    MEMCACHED_GETS,
    MEMCACHED_GAT,
    MEMCACHED_GATS,
    MEMCACHED_SET,
    MEMCACHED_ADD,
    MEMCACHED_REPLACE,
    MEMCACHED_APPEND,
    MEMCACHED_PREPEND,
    MEMCACHED_CAS,
    MEMCACHED_INCR,
    MEMCACHED_DECR,
    MEMCACHED_TOUCH,
    MEMCACHED_DELETE,
    MEMCACHED_FLUSH_ALL,
    MEMCACHED_VERBOSITY,
    MEMCACHED_VERSION,
    MEMCACHED_STATS,
    MEMCACHED_META_GET,
    MEMCACHED_META_SET,
    MEMCACHED_META_DELETE,
    MEMCACHED_META_COUNT,
    MEMCACHED_META_DEBUG,
    MEMCACHED_META_NOOP,
    MEMCACHED_QUIT,
    MEMCACHED_NONE, /* an error: see memcached_request.error */
};

struct memcached_limits {
    uint64_t line_bytes;  /* a command line without its line end */
    uint64_t value_bytes; /* one value */
};

/* One request. Slices point into the input. */
struct memcached_request {
    enum memcached_verb verb;
    struct slice keys;     /* get and gat: what memcached_key() takes the keys from; else one key */
    struct slice value;    /* of a storing command */
    struct slice argument; /* of stats */
    uint32_t flags;
    int64_t exptime; /* as sent: seconds, relative up to 30 days; flush_all: the delay */
    uint64_t number; /* cas: the unique; incr, decr: the difference */
    bool noreply;
    const char *error; /* the line to answer, without its end; NULL: none */
    size_t used;       /* bytes of input that belong to it */
    uint64_t skip;     /* bytes behind those that are to be thrown away: a value over the limit */
};

/* Parse one request from input. meta: filled for the meta commands only; base64 keys lie in it.
 * PARSE_OK (a mistake of the client's too: then verb is NONE), PARSE_MORE, PARSE_TOO_LARGE (no line
 * end within the limit: answer error and close). */
enum parse_status memcached_parse(struct slice input, const struct memcached_limits *limits,
                                  struct memcached_meta *meta, struct memcached_request *request);

/* A decimal number without a sign, within 64 bits. */
bool memcached_number(struct slice text, uint64_t *value);

/* The keys of the gets that input begins with (text and mg), at most max of them;
 * stops at anything else. A guess made before the requests are parsed: it checks nothing but that
 * each key lies in input, and takes nothing. */
size_t memcached_peek_keys(struct slice input, struct slice *keys, size_t max);

/* Take the next key of a get; false: there is none. */
bool memcached_key(struct slice *keys, struct slice *key);

/* "VALUE key flags bytes [unique]\r\n": appends it. unique: NULL for get and gat. */
int memcached_value(struct buf *out, struct slice key, uint32_t flags, size_t len,
                    const uint64_t *unique) MUST_CHECK;

/* When an entry stored with this exptime ends, in ms of wall time (the clock says now_ms): 0 =
 * never, 1 = already. Up to 30 days it is relative; beyond, seconds since 1970; negative is
 * already. */
uint64_t memcached_expiry(int64_t exptime, uint64_t now_ms);

#endif
