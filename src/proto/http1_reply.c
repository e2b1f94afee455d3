#include "proto/http1_reply.h"

#include "proto/http1_fields.h"
#include "proto/http1_lines.h"

#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>

struct http1_reply_parser {
    llhttp_t llhttp;
    struct http1_limits limits;
    void (*body)(void *arg, struct slice piece);
    void *arg;
    struct http1_fields fields; /* behind the reason phrase */
    struct http1_lines lines;
    size_t reason_len;
    uint64_t head_taken;
    bool head_request, headers_done, complete, interim, failed;
    char why[160];
    struct http1_reply reply;
};

static struct http1_reply_parser *owner(llhttp_t *llhttp)
{
    return llhttp->data;
}

static int fail(struct http1_reply_parser *parser, const char *why)
{
    if (!parser->failed)
        snprintf(parser->why, sizeof(parser->why), "%s", why);
    parser->failed = true;
    return -1;
}

static int check_fields(struct http1_reply_parser *parser, enum http1_fields_status status)
{
    static const char *const why[] = {
        [FIELDS_TOO_LARGE] = "the headers are over limits.http_header",
        [FIELDS_TOO_MANY] = "more header lines than limits.http_header_count",
        [FIELDS_NAMELESS] = "a header line without a name",
        [FIELDS_NOMEM] = "no memory for the head",
    };

    return status == FIELDS_OK ? 0 : fail(parser, why[status]);
}

/* llhttp's callbacks. */

static int on_status(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);

    parser->reason_len += len;
    if (parser->reason_len > parser->limits.line_bytes)
        return fail(parser, "the status line is over limits.http_line");
    return check_fields(parser, buf_append(&parser->fields.text, at, len) == ERR_OK ? FIELDS_OK
                                                                                    : FIELDS_NOMEM);
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);
    struct http1_fields *fields = &parser->fields;

    /* Trailers are counted, not kept (RFC 9110 section 6.5.1). */
    return check_fields(parser, parser->headers_done
                                    ? http1_fields_count(fields, len, &parser->limits)
                                    : http1_fields_name(fields, at, len, &parser->limits));
}

static int on_header_field_complete(llhttp_t *llhttp)
{
    struct http1_reply_parser *parser = owner(llhttp);

    return parser->headers_done ? 0 : check_fields(parser, http1_fields_name_end(&parser->fields));
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);
    struct http1_fields *fields = &parser->fields;

    return check_fields(parser, parser->headers_done
                                    ? http1_fields_count(fields, len, &parser->limits)
                                    : http1_fields_value(fields, at, len, &parser->limits));
}

static int on_chunk_extension(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_reply_parser *parser = owner(llhttp);

    (void)at;
    return check_fields(parser, http1_fields_count(&parser->fields, len, &parser->limits));
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
    const struct http1_fields *fields = &parser->fields;
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
    const llhttp_t *llhttp = &parser->llhttp;
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
    if (http1_fields_publish(&parser->fields) != ERR_OK)
        return fail(parser, "no memory for the head");
    reply->status = llhttp_get_status_code(llhttp);
    reply->minor = llhttp_get_http_minor(llhttp);
    reply->reason = slice_make(buf_slice(&parser->fields.text).data, parser->reason_len);
    reply->headers = parser->fields.list;
    reply->n_headers = parser->fields.n;
    if (reply->status < 100)
        return fail(parser, "a status below 100");
    if (check_framing(parser) != 0)
        return -1;
    frame(parser);
    parser->headers_done = true;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *llhttp)
{
    owner(llhttp)->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

struct http1_reply_parser *http1_reply_create(const struct http1_limits *limits,
                                              void (*body)(void *arg, struct slice piece),
                                              void *arg)
{
    struct http1_reply_parser *parser = calloc(1, sizeof(*parser));

    if (parser == NULL)
        return NULL;
    parser->limits = *limits;
    parser->body = body;
    parser->arg = arg;
    llhttp_init(&parser->llhttp, HTTP_RESPONSE, &settings);
    parser->llhttp.data = parser;
    return parser;
}

void http1_reply_destroy(struct http1_reply_parser *parser)
{
    if (parser == NULL)
        return;
    http1_fields_fini(&parser->fields);
    free(parser);
}

static void next_head(struct http1_reply_parser *parser)
{
    http1_fields_reset(&parser->fields);
    parser->lines = (struct http1_lines){0};
    parser->reason_len = 0;
    parser->head_taken = 0;
    parser->headers_done = false;
    parser->complete = false;
    parser->interim = false;
    parser->reply = (struct http1_reply){0};
    llhttp_reset(&parser->llhttp);
}

void http1_reply_begin(struct http1_reply_parser *parser, bool head)
{
    next_head(parser);
    parser->failed = false;
    parser->head_request = head;
}

/* The bytes that may be given to llhttp now: as for requests. */
static size_t admit(struct http1_reply_parser *parser, const char *data, size_t len)
{
    uint64_t head_max = parser->limits.line_bytes + parser->limits.header_bytes;
    size_t good;

    if (parser->headers_done)
        return len;
    if (parser->head_taken >= head_max) {
        fail(parser, "the head is over limits.http_header");
        return 0;
    }
    if (len > head_max - parser->head_taken)
        len = (size_t)(head_max - parser->head_taken);
    parser->head_taken += len;
    good = http1_lines_scan(&parser->lines, data, len);
    if (good == 0)
        fail(parser, "a bare CR or LF, or a folded header line");
    return good;
}

/* Returns the bytes taken. */
static size_t feed(struct http1_reply_parser *parser, const char *data, size_t len)
{
    bool had_head = parser->headers_done;
    llhttp_errno_t error;
    const char *at;

    len = admit(parser, data, len);
    if (len == 0)
        return 0;
    error = llhttp_execute(&parser->llhttp, data, len);
    if (error == HPE_OK)
        return len;
    at = llhttp_get_error_pos(&parser->llhttp);
    if (at == NULL || at < data || at > data + len)
        at = data;
    if (!parser->complete && (had_head || !parser->headers_done)) {
        const char *reason = llhttp_get_error_reason(&parser->llhttp);

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
    if (!parser->headers_done || llhttp_get_errno(&parser->llhttp) != HPE_PAUSED)
        return;
    llhttp_resume(&parser->llhttp);
    if (parser->reply.framing == FRAMING_NONE ||
        (parser->reply.framing == FRAMING_LENGTH && parser->reply.content_length == 0))
        parser->complete = true;
}

enum http1_reply_event http1_reply_parse(struct http1_reply_parser *parser, struct slice input,
                                         size_t *used)
{
    *used = 0;
    if (!parser->complete && !parser->failed)
        go_on(parser);
    while (!parser->failed && !parser->complete && *used < input.len) {
        bool had_head = parser->headers_done;

        *used += feed(parser, input.data + *used, input.len - *used);
        if (parser->failed)
            break;
        if (!had_head && parser->headers_done) {
            parser->interim = parser->reply.status < 200 && parser->reply.status != 101;
            return REPLY_EVENT_HEAD;
        }
    }
    if (parser->failed)
        return REPLY_EVENT_BAD;
    return parser->complete ? REPLY_EVENT_END : REPLY_EVENT_MORE;
}

const struct http1_reply *http1_reply_head(const struct http1_reply_parser *parser)
{
    return &parser->reply;
}

enum http1_reply_event http1_reply_eof(struct http1_reply_parser *parser)
{
    if (parser->complete && !parser->failed)
        return REPLY_EVENT_END;
    if (!parser->failed && parser->headers_done && parser->reply.framing == FRAMING_CLOSE)
        return REPLY_EVENT_END;
    fail(parser, parser->headers_done ? "the connection ended within the body"
                                      : "the connection ended without a response");
    return REPLY_EVENT_BAD;
}

const char *http1_reply_error(const struct http1_reply_parser *parser)
{
    return parser->why;
}
