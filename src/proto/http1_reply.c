#include "proto/http1_reply.h"

#include "proto/http1_message.h"

#include <stdio.h>
#include <stdlib.h>

struct http1_reply_parser {
    struct http1_message message;
    llhttp_settings_t settings;
    void (*body)(void *arg, struct slice piece);
    void *arg;
    size_t reason_len;
    bool head_request, interim, failed;
    char why[160];
    struct http1_reply reply;
};

static struct http1_reply_parser *of_message(struct http1_message *message)
{
    return (struct http1_reply_parser *)(void *)message;
}

static struct http1_reply_parser *owner(llhttp_t *llhttp)
{
    return of_message(http1_message_of(llhttp));
}

static int fail(struct http1_reply_parser *parser, const char *why)
{
    if (!parser->failed)
        snprintf(parser->why, sizeof(parser->why), "%s", why);
    parser->failed = true;
    return -1;
}

static int refuse_fields(struct http1_message *message, enum http1_fields_status status)
{
    static const char *const why[] = {
        [FIELDS_TOO_LARGE] = "the headers are over limits.http_header",
        [FIELDS_TOO_MANY] = "more header lines than limits.http_header_count",
        [FIELDS_NAMELESS] = "a header line without a name",
        [FIELDS_NOMEM] = "no memory for the head",
    };

    return status == FIELDS_OK ? 0 : fail(of_message(message), why[status]);
}

/* llhttp's callbacks. */

static int on_status(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);

    parser->reason_len += len;
    if (parser->reason_len > parser->message.limits.line_bytes)
        return fail(parser, "the status line is over limits.http_line");
    return buf_append(&parser->message.fields.text, at, len) == ERR_OK
               ? 0
               : refuse_fields(&parser->message, FIELDS_NOMEM);
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);

    if (len > 0)
        parser->body(parser->arg, slice_make(at, len));
    return 0;
}

/* Where the body ends must be beyond doubt (RFC 9112 section 6.3). */
static int check_framing(struct http1_reply_parser *parser)
{
    const struct http1_fields *fields = &parser->message.fields;
    size_t codings = http1_fields_named(fields, "transfer-encoding");
    size_t lengths = http1_fields_named(fields, "content-length");

    if (codings > 0 && lengths > 0)
        return fail(parser, "both Transfer-Encoding and Content-Length");
    if (lengths > 1)
        return fail(parser, "more than one Content-Length");
    if (codings > 0 && parser->reply.minor == 0)
        return fail(parser, "Transfer-Encoding in an HTTP/1.0 response");
    if (codings > 1)
        return fail(parser, "more than one Transfer-Encoding");
    if (codings > 0 && (parser->reply.status < 200 || parser->reply.status == 204))
        return fail(parser, "Transfer-Encoding in a response that has no body");
    for (size_t i = 0; i < fields->n && codings > 0; i++)
        if (slice_ieq(fields->list[i].name, "transfer-encoding") &&
            !slice_ieq(fields->list[i].value, "chunked"))
            return fail(parser, "the only transfer coding known here is chunked");
    return 0;
}

static bool bodiless(const struct http1_reply_parser *parser)
{
    int status = parser->reply.status;

    return parser->head_request || status < 200 || status == 204 || status == 304;
}

static void frame(struct http1_reply_parser *parser)
{
    struct http1_reply *reply = &parser->reply;
    const llhttp_t *llhttp = &parser->message.llhttp;
    bool sized = (llhttp->flags & F_CONTENT_LENGTH) != 0;

    reply->content_length = sized ? llhttp->content_length : 0;
    if (bodiless(parser))
        reply->framing = FRAMING_NONE;
    else if ((llhttp->flags & F_CHUNKED) != 0)
        reply->framing = FRAMING_CHUNKED;
    else
        reply->framing = sized ? FRAMING_LENGTH : FRAMING_CLOSE;
    /* llhttp's verdict takes a body that HEAD leaves out for one that ends with the connection. */
    reply->keep_alive = reply->minor > 0 ? (llhttp->flags & F_CONNECTION_CLOSE) == 0
                                         : (llhttp->flags & F_CONNECTION_KEEP_ALIVE) != 0;
    if (reply->framing == FRAMING_CLOSE || reply->status == 101)
        reply->keep_alive = false;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http1_reply_parser *parser = owner(llhttp);
    struct http1_reply *reply = &parser->reply;

    if (llhttp_get_http_major(llhttp) != 1)
        return fail(parser, "not an HTTP/1 response");
    if (http1_fields_publish(&parser->message.fields) != ERR_OK)
        return fail(parser, "no memory for the head");
    reply->status = llhttp_get_status_code(llhttp);
    reply->minor = llhttp_get_http_minor(llhttp);
    reply->reason = slice_make(buf_slice(&parser->message.fields.text).data, parser->reason_len);
    reply->headers = parser->message.fields.list;
    reply->n_headers = parser->message.fields.n;
    if (reply->status < 100)
        return fail(parser, "a status below 100");
    if (check_framing(parser) != 0)
        return -1;
    frame(parser);
    parser->message.headers_done = true;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *llhttp)
{
    owner(llhttp)->message.complete = true;
    return HPE_PAUSED;
}

static void fill_settings(llhttp_settings_t *settings)
{
    llhttp_settings_init(settings);
    http1_message_settings(settings);
    settings->on_status = on_status;
    settings->on_headers_complete = on_headers_complete;
    settings->on_body = on_body;
    settings->on_message_complete = on_message_complete;
}

struct http1_reply_parser *http1_reply_create(const struct http1_limits *limits,
                                              void (*body)(void *arg, struct slice piece),
                                              void *arg)
{
    struct http1_reply_parser *parser = calloc(1, sizeof(*parser));

    if (parser == NULL)
        return NULL;
    parser->message.limits = *limits;
    parser->body = body;
    parser->arg = arg;
    parser->message.refuse = refuse_fields;
    fill_settings(&parser->settings);
    llhttp_init(&parser->message.llhttp, HTTP_RESPONSE, &parser->settings);
    parser->message.llhttp.data = &parser->message;
    return parser;
}

void http1_reply_destroy(struct http1_reply_parser *parser)
{
    if (parser == NULL)
        return;
    http1_fields_fini(&parser->message.fields);
    free(parser);
}

static void next_head(struct http1_reply_parser *parser)
{
    http1_message_reset(&parser->message);
    parser->reason_len = 0;
    parser->interim = false;
    parser->reply = (struct http1_reply){0};
}

void http1_reply_begin(struct http1_reply_parser *parser, bool head)
{
    next_head(parser);
    parser->failed = false;
    parser->head_request = head;
}

/* The bytes that may be given to llhttp now. */
static size_t admit(struct http1_reply_parser *parser, const char *data, size_t len)
{
    switch (http1_message_admit(&parser->message, data, &len)) {
    case ADMIT_OVER:
        fail(parser, "the head is over limits.http_header");
        return 0;
    case ADMIT_LINES:
        fail(parser, "a bare CR or LF, or a folded header line");
        return 0;
    case ADMIT_GOOD:
        break;
    }
    return len;
}

/* Returns the bytes taken. */
static size_t feed(struct http1_reply_parser *parser, const char *data, size_t len)
{
    bool had_head = parser->message.headers_done;
    llhttp_errno_t error;
    const char *at;

    len = admit(parser, data, len);
    if (len == 0)
        return 0;
    error = llhttp_execute(&parser->message.llhttp, data, len);
    if (error == HPE_OK)
        return len;
    at = llhttp_get_error_pos(&parser->message.llhttp);
    if (at == NULL || at < data || at > data + len)
        at = data;
    if (!parser->message.complete && (had_head || !parser->message.headers_done)) {
        const char *reason = llhttp_get_error_reason(&parser->message.llhttp);

        fail(parser,
             reason == NULL || reason[0] == '\0' ? "not a valid HTTP/1.1 response" : reason);
    }
    return (size_t)(at - data);
}

/* What follows a head that was seen. */
static void go_on(struct http1_reply_parser *parser)
{
    if (parser->interim) {
        next_head(parser);
        return;
    }
    if (!parser->message.headers_done || llhttp_get_errno(&parser->message.llhttp) != HPE_PAUSED)
        return;
    llhttp_resume(&parser->message.llhttp);
    if (parser->reply.framing == FRAMING_NONE ||
        (parser->reply.framing == FRAMING_LENGTH && parser->reply.content_length == 0))
        parser->message.complete = true;
}

enum http1_reply_event http1_reply_parse(struct http1_reply_parser *parser, struct slice input,
                                         size_t *used)
{
    *used = 0;
    if (!parser->message.complete && !parser->failed)
        go_on(parser);
    while (!parser->failed && !parser->message.complete && *used < input.len) {
        bool had_head = parser->message.headers_done;

        *used += feed(parser, input.data + *used, input.len - *used);
        if (parser->failed)
            break;
        if (!had_head && parser->message.headers_done) {
            parser->interim = parser->reply.status < 200 && parser->reply.status != 101;
            return REPLY_EVENT_HEAD;
        }
    }
    if (parser->failed)
        return REPLY_EVENT_BAD;
    return parser->message.complete ? REPLY_EVENT_END : REPLY_EVENT_MORE;
}

const struct http1_reply *http1_reply_head(const struct http1_reply_parser *parser)
{
    return &parser->reply;
}

enum http1_reply_event http1_reply_eof(struct http1_reply_parser *parser)
{
    if (parser->message.complete && !parser->failed)
        return REPLY_EVENT_END;
    if (!parser->failed && parser->message.headers_done && parser->reply.framing == FRAMING_CLOSE)
        return REPLY_EVENT_END;
    fail(parser, parser->message.headers_done ? "the connection ended within the body"
                                              : "the connection ended without a response");
    return REPLY_EVENT_BAD;
}

const char *http1_reply_error(const struct http1_reply_parser *parser)
{
    return parser->why;
}
