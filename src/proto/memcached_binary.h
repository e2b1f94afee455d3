/* The binary protocol of memcached: bytes to requests, and the header of replies. No I/O, no cache.
 * Source: memcached's wiki, "BinaryProtocolRevamped"; protocol_binary.h of 1.6. */
#ifndef PROTO_MEMCACHED_BINARY_H
#define PROTO_MEMCACHED_BINARY_H

#include "proto/memcached.h"

#define BINARY_MAGIC  0x80
#define BINARY_HEADER 24

enum binary_status {
    BINARY_OK = 0,
    BINARY_NOT_FOUND = 1,
    BINARY_EXISTS = 2,
    BINARY_TOO_LARGE = 3,
    BINARY_INVALID = 4,
    BINARY_NOT_STORED = 5,
    BINARY_NOT_NUMERIC = 6,
    BINARY_AUTH = 0x20,
    BINARY_AUTH_CONTINUE = 0x21,
    BINARY_UNKNOWN = 0x81,
    BINARY_NO_MEMORY = 0x82,
    BINARY_INTERNAL = 0x84,
    BINARY_BUSY = 0x85,
};

enum binary_sasl { SASL_NONE, SASL_LIST, SASL_AUTH, SASL_STEP };

/* What a binary request has beside the text's. */
struct memcached_binary {
    uint8_t opcode;
    uint32_t opaque; /* as it came, to be sent back */
    uint64_t unique; /* 0: none */
    uint64_t initial;
    bool quiet; /* the usual answer is not sent: a miss of a get, the success of others */
    bool with_key;
    bool create;           /* incr, decr: what is missing becomes `initial` */
    enum binary_sasl sasl; /* request.keys is the mechanism, request.value its data */
    enum binary_status error;
};

/* Parse one request: fills verb, keys, value, flags, exptime, number, used and skip of request.
 * PARSE_OK (with binary->error set: answer that), PARSE_MORE, PARSE_INVALID (not of this protocol,
 * or lengths that contradict each other: answer binary->error and close). */
enum parse_status memcached_binary_parse(struct slice input, const struct memcached_limits *limits,
                                         struct memcached_binary *binary,
                                         struct memcached_request *request);

/* A reply's header: extras, key and value follow. */
struct binary_reply {
    enum binary_status status;
    size_t extras_len, key_len, value_len;
    uint64_t unique;
};
void memcached_binary_header(const struct memcached_binary *binary,
                             const struct binary_reply *reply, char out[BINARY_HEADER]);
/* The unique in a header that is written already. */
void memcached_binary_patch(char *header, uint64_t unique);
void memcached_binary_u32(char *out, uint32_t value);
void memcached_binary_u64(char *out, uint64_t value);

/* The sentence that goes with an error, "" for none. */
const char *memcached_binary_text(enum binary_status status);

#endif
