/* RESP, the Redis serialization protocol: bytes to commands, replies to bytes. No I/O, no cache.
 * Source: https://redis.io/docs/reference/protocol-spec/ (RESP2 and RESP3). */
#ifndef PROTO_RESP_H
#define PROTO_RESP_H

#include "common/buf.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum parse_status {
    PARSE_OK,        /* one whole request; `used` bytes of input belong to it */
    PARSE_MORE,      /* incomplete: call again with more bytes, from the same start */
    PARSE_INVALID,   /* broken framing: answer with `error` and close */
    PARSE_TOO_LARGE, /* a limit was passed: answer with `error` (it names the limit) and close */
};

struct resp_limits {
    int64_t args;          /* arguments of one command */
    uint64_t bulk_bytes;   /* one argument */
    uint64_t inline_bytes; /* one inline command */
};

/* Parser state, one per connection; zero-initialised. It remembers how far an incomplete command
 * has been parsed, so that feeding byte by byte stays linear. argv points into the input given last
 * (of an inline command: into the parser) and is valid until the next call. */
struct resp_parser {
    struct slice *argv; /* grown as arguments arrive, owned by the parser */
    int argc;
    size_t used;
    char error[160]; /* a RESP error text without the '-', e.g. "ERR Protocol error: ..." */
    /* Below: the parser's own. */
    size_t *offsets; /* argument positions relative to the start of the command */
    int cap, want;
    size_t pos; /* everything before it is parsed (of an inline command: searched) */
    int64_t bulk;
    uint8_t state;
    struct buf words; /* the arguments of an inline command, unquoted */
};

/* The keys of the GETs and SETs that input begins with, at most max of them; stops at anything
 * else. A guess made before the commands are parsed: it checks nothing but that each key lies in
 * input, and takes nothing. */
size_t resp_peek_keys(struct slice input, struct slice *keys, size_t max);

/* Parse one command from input, which always begins at the start of that command. After PARSE_OK
 * the caller consumes parser->used bytes; the next call starts a new command. argc may be 0 (an
 * empty line): no reply. */
enum parse_status resp_parse(struct resp_parser *parser, struct slice input,
                             const struct resp_limits *limits);
void resp_parser_fini(struct resp_parser *parser);

/* Compose. Each appends to out; ERR_NOMEM only. version: 2 or 3 (nulls, maps, booleans differ). */
int resp_status(struct buf *out, const char *text) MUST_CHECK;
/* text: code and sentence without '-' and line end; CR and LF in it are replaced by spaces. */
int resp_error(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
int resp_integer(struct buf *out, int64_t value) MUST_CHECK;
int resp_bulk(struct buf *out, struct slice value) MUST_CHECK;
/* Header of a bulk string of len bytes; the caller appends the bytes and "\r\n". */
int resp_bulk_header(struct buf *out, size_t len) MUST_CHECK;
int resp_null(struct buf *out, int version) MUST_CHECK;
/* An array that is not there (EXEC after a change of what was watched). */
int resp_null_array(struct buf *out, int version) MUST_CHECK;
int resp_array(struct buf *out, size_t n) MUST_CHECK;
/* A message that answers no command: a push in RESP3, an array in RESP2. */
int resp_push(struct buf *out, size_t n, int version) MUST_CHECK;
/* RESP3 has a form of its own for sets; RESP2 an array. */
int resp_set(struct buf *out, size_t n, int version) MUST_CHECK;
/* A number with a fraction: in RESP2 a bulk string. text: as Redis prints it. */
int resp_double(struct buf *out, struct slice text, int version) MUST_CHECK;
/* n pairs: a map in RESP3, a flat array of 2n in RESP2. */
int resp_map(struct buf *out, size_t n, int version) MUST_CHECK;

/* Replies to values, for cachetasticctl: a whole reply as a tree. */
enum resp_type { RESP_STATUS, RESP_ERROR, RESP_INTEGER, RESP_BULK, RESP_NULL, RESP_ARRAY };
struct resp_value {
    enum resp_type type;
    struct slice str; /* STATUS, ERROR, BULK: into the input */
    int64_t integer;
    struct resp_value *items; /* ARRAY; maps come as arrays of 2n */
    size_t n_items;
};
/* PARSE_OK fills out (freed by resp_value_fini()) and *used; PARSE_MORE, PARSE_INVALID leave it. */
enum parse_status resp_parse_reply(struct slice input, struct resp_value *out, size_t *used);
void resp_value_fini(struct resp_value *value);

#endif
