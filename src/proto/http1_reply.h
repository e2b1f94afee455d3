/* Responses of an origin: bytes to a head and the pieces of a body, over llhttp (RFC 9112). Strict:
 * what has no single safe reading is refused. No I/O. */
#ifndef PROTO_HTTP1_REPLY_H
#define PROTO_HTTP1_REPLY_H

#include "proto/http1.h"

enum http1_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

/* A head; slices are valid until http1_reply_begin() or, of an interim response (status below 200),
 * until the next http1_reply_parse(). */
struct http1_reply {
    int status; /* 100..999 */
    int minor;  /* HTTP/1.minor */
    struct slice reason;
    struct http1_header *headers;
    size_t n_headers;
    bool keep_alive; /* another request may follow on the connection */
    enum http1_framing framing;
    uint64_t content_length; /* FRAMING_LENGTH; else what the head says of a body that is not sent
                                (HEAD, 304), or 0 */
};

enum http1_reply_event {
    REPLY_EVENT_MORE, /* all bytes were taken */
    REPLY_EVENT_HEAD, /* a head is complete; call again for what follows it */
    REPLY_EVENT_END,  /* the message is complete; later bytes are not its */
    REPLY_EVENT_BAD,  /* http1_reply_error() says why; close */
};

struct http1_reply_parser;

/* body: called from http1_reply_parse() with each piece of the body, borrowed. limits: line_bytes
 * is the status line's, body_bytes is not looked at. */
struct http1_reply_parser *http1_reply_create(const struct http1_limits *limits,
                                              void (*body)(void *arg, struct slice piece),
                                              void *arg);
void http1_reply_destroy(struct http1_reply_parser *parser);
/* Before each response. head: the request was HEAD, no body follows whatever the head says. */
void http1_reply_begin(struct http1_reply_parser *parser, bool head);
enum http1_reply_event http1_reply_parse(struct http1_reply_parser *parser, struct slice input,
                                         size_t *used);
/* Of the last REPLY_EVENT_HEAD. */
const struct http1_reply *http1_reply_head(const struct http1_reply_parser *parser);
/* The connection has ended: END where that is how the body ends, else BAD. */
enum http1_reply_event http1_reply_eof(struct http1_reply_parser *parser);
const char *http1_reply_error(const struct http1_reply_parser *parser);

#endif
