/* HTTP/1 requests and responses over llhttp (RFC 9110, RFC 9112). No I/O, no cache.
 * llhttp's header is included in http1_message.h only. */
#ifndef PROTO_HTTP1_H
#define PROTO_HTTP1_H

#include "common/buf.h"
#include "common/slice.h"
#include "proto/resp.h" /* enum parse_status */

#include <stdbool.h>
#include <stdint.h>

struct http1_limits {
    uint64_t line_bytes;   /* request line: 414 */
    uint64_t header_bytes; /* all header lines: 431 */
    int64_t header_count;  /* 431 */
    uint64_t body_bytes;   /* 413 */
    bool stream;           /* the body is not collected: http1_parse_body() gives it in pieces */
};

struct http1_header {
    struct slice name, value; /* as sent; value without surrounding whitespace */
};

enum http1_method {
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_PUT,
    HTTP1_POST,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_OTHER
};

/* One parsed request; slices are valid until the next http1_parse() or http1_parser_reset() on this
 * parser. */
struct http1_request {
    enum http1_method method;
    struct slice method_name;
    struct slice target;    /* as sent */
    struct slice authority; /* of a target in absolute form; otherwise empty: Host counts */
    struct slice path;      /* target up to '?', undecoded, without the authority */
    struct slice query;     /* after '?', or empty */
    int minor;              /* HTTP/1.minor */
    bool keep_alive;
    bool expect_continue; /* Expect: 100-continue */
    struct http1_header *headers;
    size_t n_headers;
    bool has_body;     /* with limits.stream: there is a body to come, of one byte or more */
    struct slice body; /* decoded from chunks where chunked; empty with limits.stream */
};

struct http1_parser; /* owns copies of what a request needs */

struct http1_parser *http1_parser_create(const struct http1_limits *limits);
void http1_parser_destroy(struct http1_parser *parser);

/* Feed bytes; *used of them were taken in every case. PARSE_OK: *request is filled, and later bytes
 * belong to the next request. PARSE_MORE: all bytes were taken. Failures: http1_error() has status
 * and sentence; close after answering. headers_done: set true once the headers are complete (time
 * limits, 100-continue). */
enum parse_status http1_parse(struct http1_parser *parser, struct slice input, size_t *used,
                              const struct http1_request **request);
/* With limits.stream http1_parse() answers PARSE_OK when the head is complete; the request stays
 * valid until this has answered PARSE_OK and the next request begins. piece: what of the body was
 * in these bytes, valid until the next call. PARSE_OK: that was the end of the body. To be called
 * for every request, also without has_body. */
enum parse_status http1_parse_body(struct http1_parser *parser, struct slice input, size_t *used,
                                   struct slice *piece);
bool http1_headers_done(const struct http1_parser *parser);
/* The complete head while the body is still to come (http1_headers_done()), for Expect:
 * 100-continue; body is empty. */
const struct http1_request *http1_head(struct http1_parser *parser);
/* Forget the request that has been answered and give back large buffers: an idle connection holds
 * little. Done by http1_parse() too, when the next request begins. Not for a request whose end has
 * not been seen. */
void http1_parser_reset(struct http1_parser *parser);
/* After a failure: the HTTP status (400, 413, 414, 431, 500, 501, 505) and why, naming limits. */
int http1_error(const struct http1_parser *parser, const char **why);

/* The value of the first header of that name (case-insensitive), or a slice with data NULL. */
struct slice http1_header(const struct http1_request *request, const char *name);
/* The raw value of a query parameter, or data NULL. */
struct slice http1_query(const struct http1_request *request, const char *name);
/* Percent-decode (plus_is_space for queries) into out. ERR_INVALID on a bad escape. */
int http1_decode(struct slice text, bool plus_is_space, struct buf *out) MUST_CHECK;

/* Compose a response head: status line, Date, the given header lines, Content-Length (if
 * content_length >= 0), Connection: close if !keep_alive, and the empty line. headers: zero or more
 * complete "Name: value\r\n" lines. */
int http1_response(struct buf *out, int status, struct slice headers, int64_t content_length,
                   bool keep_alive) MUST_CHECK;
const char *http1_reason(int status);

#define HTTP1_DATE_LEN 29
/* A wall time as HTTP writes it (RFC 9110 section 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT",
 * NUL-terminated. */
void http1_date(uint64_t wall_ms, char out[HTTP1_DATE_LEN + 1]);

#endif
