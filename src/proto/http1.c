#include "proto/http1.h"

#include "proto/http1_message.h"

#include <stdio.h>
#include <stdlib.h>

/* Memory that a parser keeps between requests, beside the head's. */
#define BODY_KEEP 4096

/* "GET /x HTTP/1.1": the request line beyond method and target. */
#define LINE_EXTRA (sizeof("  HTTP/1.1") - 1)
struct http1_parser {
    struct http1_message message;
    llhttp_settings_t settings;
    struct buf body;
    size_t target_len;
    uint64_t line_bytes;
    uint64_t body_bytes; /* of the body so far, taken or not */
    bool target_done;
    int status; /* of a failure, else 0 */
    enum parse_status outcome;
    char why[160];
    struct http1_request request;
};

static struct http1_parser *of_message(struct http1_message *message)
{
    return (struct http1_parser *)(void *)message;
}

static struct http1_parser *owner(llhttp_t *llhttp)
{
    return of_message(http1_message_of(llhttp));
}

/* Remember the first failure. Returns what makes llhttp stop. */
static int fail(struct http1_parser *parser, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int fail(struct http1_parser *parser, int status, const char *fmt, ...)
{
    va_list args;

    if (parser->status != 0)
        return -1;
    va_start(args, fmt);
    vsnprintf(parser->why, sizeof(parser->why), fmt, args);
    va_end(args);
    parser->status = status;
    parser->outcome =
        status == 413 || status == 414 || status == 431 ? PARSE_TOO_LARGE : PARSE_INVALID;
    return -1;
}

static int fail_memory(struct http1_parser *parser)
{
    return fail(parser, 500, "no memory for this request");
}

static int fail_line(struct http1_parser *parser)
{
    return fail(parser, 414, "the request line is over limits.http_line (%llu bytes)",
                (unsigned long long)parser->message.limits.line_bytes);
}

static int fail_headers(struct http1_parser *parser)
{
    return fail(parser, 431, "the headers are over limits.http_header (%llu bytes)",
                (unsigned long long)parser->message.limits.header_bytes);
}

static int fail_body(struct http1_parser *parser)
{
    return fail(parser, 413, "the body is over limits.value (%llu bytes)",
                (unsigned long long)parser->message.limits.body_bytes);
}

static int refuse_fields(struct http1_message *message, enum http1_fields_status status)
{
    struct http1_parser *parser = of_message(message);

    switch (status) {
    case FIELDS_OK:
        return 0;
    case FIELDS_TOO_LARGE:
        return fail_headers(parser);
    case FIELDS_TOO_MANY:
        return fail(parser, 431, "more header lines than limits.http_header_count (%lld)",
                    (long long)parser->message.limits.header_count);
    case FIELDS_NAMELESS:
        return fail(parser, 400, "a header line without a name");
    default:
        return fail_memory(parser);
    }
}

/* llhttp's callbacks. */

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = owner(llhttp);

    parser->line_bytes += len;
    if (parser->line_bytes > parser->message.limits.line_bytes)
        return fail_line(parser);
    return buf_append(&parser->message.fields.text, at, len) == ERR_OK ? 0 : fail_memory(parser);
}

static int on_url_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = owner(llhttp);

    parser->target_done = true;
    parser->target_len = buf_len(&parser->message.fields.text);
    parser->line_bytes += strlen(llhttp_method_name(llhttp_get_method(llhttp))) + LINE_EXTRA;
    return parser->line_bytes > parser->message.limits.line_bytes ? fail_line(parser) : 0;
}

static bool body_fits(const struct http1_parser *parser, uint64_t more)
{
    uint64_t have = parser->body_bytes;

    return more <= parser->message.limits.body_bytes &&
           have <= parser->message.limits.body_bytes - more;
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct http1_parser *parser = owner(llhttp);

    return body_fits(parser, llhttp->content_length) ? 0 : fail_body(parser);
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = owner(llhttp);

    if (!body_fits(parser, len))
        return fail_body(parser);
    parser->body_bytes += len;
    return buf_append(&parser->body, at, len) == ERR_OK ? 0 : fail_memory(parser);
}

/* The request as the caller sees it. */

static enum http1_method map_method(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP1_GET;
    case HTTP_HEAD:
        return HTTP1_HEAD;
    case HTTP_PUT:
        return HTTP1_PUT;
    case HTTP_POST:
        return HTTP1_POST;
    case HTTP_DELETE:
        return HTTP1_DELETE;
    case HTTP_OPTIONS:
        return HTTP1_OPTIONS;
    default:
        return HTTP1_OTHER;
    }
}

/* Split the target; http://authority/path is the absolute form (RFC 9112 section 3.2.2). */
static void split_target(struct http1_request *request)
{
    struct slice rest = request->target;
    const char *mark;

    request->authority = slice_make(rest.data, 0);
    if (rest.len > 7 && strncasecmp(rest.data, "http://", 7) == 0) {
        size_t end = 7;

        while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?')
            end++;
        request->authority = slice_make(rest.data + 7, end - 7);
        rest = slice_make(rest.data + end, rest.len - end);
    }
    mark = memchr(rest.data, '?', rest.len);
    request->path = slice_make(rest.data, mark == NULL ? rest.len : (size_t)(mark - rest.data));
    request->query = mark == NULL ? slice_make(rest.data + rest.len, 0)
                                  : slice_make(mark + 1, (size_t)(rest.data + rest.len - mark - 1));
    if (request->path.len == 0)
        request->path = SLICE_LIT("/");
}

static int publish(struct http1_parser *parser)
{
    struct http1_request *request = &parser->request;
    const char *name = llhttp_method_name(llhttp_get_method(&parser->message.llhttp));

    if (http1_fields_publish(&parser->message.fields) != ERR_OK)
        return fail_memory(parser);
    request->method = map_method(llhttp_get_method(&parser->message.llhttp));
    request->method_name = slice_cstr(name);
    request->target = slice_make(buf_head(&parser->message.fields.text), parser->target_len);
    request->minor = llhttp_get_http_minor(&parser->message.llhttp);
    request->keep_alive = llhttp_should_keep_alive(&parser->message.llhttp) != 0;
    request->headers = parser->message.fields.list;
    request->n_headers = parser->message.fields.n;
    request->body = slice_make("", 0);
    split_target(request);
    return 0;
}

/* What decides where the body ends must be beyond doubt (RFC 9112 section 6.1, 6.3). */
static int check_framing(struct http1_parser *parser)
{
    const struct http1_request *request = &parser->request;
    size_t codings = http1_fields_named(&parser->message.fields, "transfer-encoding");
    size_t lengths = http1_fields_named(&parser->message.fields, "content-length");

    if (codings > 0 && lengths > 0)
        return fail(parser, 400, "both Transfer-Encoding and Content-Length");
    if (lengths > 1)
        return fail(parser, 400, "more than one Content-Length");
    if (codings > 0 && request->minor == 0)
        return fail(parser, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (codings > 1 ||
        (codings == 1 && !slice_ieq(http1_header(request, "transfer-encoding"), "chunked")))
        return fail(parser, 501, "the only transfer coding known here is chunked");
    if (lengths == 1 && !body_fits(parser, parser->message.llhttp.content_length))
        return fail_body(parser);
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = owner(llhttp);
    struct http1_request *request = &parser->request;
    size_t hosts;

    if (llhttp_get_http_major(llhttp) != 1)
        return fail(parser, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
    if (publish(parser) != 0)
        return -1;
    hosts = http1_fields_named(&parser->message.fields, "host");
    if (hosts > 1 || (hosts == 0 && request->minor > 0))
        return fail(parser, 400, hosts == 0 ? "no Host header" : "more than one Host header");
    if (check_framing(parser) != 0)
        return -1;
    request->expect_continue =
        request->minor > 0 && slice_ieq(http1_header(request, "expect"), "100-continue");
    parser->message.headers_done = true;
    if (!parser->message.limits.stream)
        return 0;
    request->has_body = (llhttp->flags & F_CHUNKED) != 0 || llhttp->content_length > 0;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = owner(llhttp);

    parser->request.body = buf_slice(&parser->body);
    parser->message.complete = true;
    return HPE_PAUSED;
}

static void fill_settings(llhttp_settings_t *settings)
{
    llhttp_settings_init(settings);
    http1_message_settings(settings);
    settings->on_url = on_url;
    settings->on_url_complete = on_url_complete;
    settings->on_headers_complete = on_headers_complete;
    settings->on_chunk_header = on_chunk_header;
    settings->on_body = on_body;
    settings->on_message_complete = on_message_complete;
}

struct http1_parser *http1_parser_create(const struct http1_limits *limits)
{
    struct http1_parser *parser = calloc(1, sizeof(*parser));

    if (parser == NULL)
        return NULL;
    parser->message.limits = *limits;
    parser->message.lines.request = true;
    parser->message.refuse = refuse_fields;
    fill_settings(&parser->settings);
    llhttp_init(&parser->message.llhttp, HTTP_REQUEST, &parser->settings);
    parser->message.llhttp.data = &parser->message;
    return parser;
}

void http1_parser_destroy(struct http1_parser *parser)
{
    if (parser == NULL)
        return;
    http1_fields_fini(&parser->message.fields);
    buf_fini(&parser->body);
    free(parser);
}

void http1_parser_reset(struct http1_parser *parser)
{
    if (!parser->message.complete)
        return;
    http1_message_reset(&parser->message);
    buf_truncate(&parser->body, 0);
    buf_shrink(&parser->body, BODY_KEEP);
    parser->target_len = 0;
    parser->line_bytes = 0;
    parser->body_bytes = 0;
    parser->target_done = false;
    parser->request = (struct http1_request){0};
}

static bool is_token(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* llhttp refused the bytes at `at`. */
static void fail_syntax(struct http1_parser *parser, llhttp_errno_t error, const char *at)
{
    const char *reason = llhttp_get_error_reason(&parser->message.llhttp);

    if (error == HPE_INVALID_METHOD && is_token(*at))
        fail(parser, 501, "this method is not known here");
    else if (error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE)
        fail(parser, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
    else
        fail(parser, 400, "not a valid HTTP/1.1 request: %s",
             reason == NULL || reason[0] == '\0' ? llhttp_errno_name(error) : reason);
}

/* The bytes that may be given to llhttp now. */
static size_t admit(struct http1_parser *parser, const char *data, size_t len)
{
    switch (http1_message_admit(&parser->message, data, &len)) {
    case ADMIT_OVER:
        (void)(parser->target_done ? fail_headers(parser) : fail_line(parser));
        return 0;
    case ADMIT_LINES:
        fail(parser, 400, "a bare CR or LF, a folded header line, or a malformed request line");
        return 0;
    case ADMIT_GOOD:
        break;
    }
    return len;
}

/* Returns the bytes taken. */
static size_t feed(struct http1_parser *parser, const char *data, size_t len)
{
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
    if (!parser->message.complete && !(error == HPE_PAUSED && parser->message.headers_done))
        fail_syntax(parser, error, at < data + len ? at : "\n");
    return (size_t)(at - data);
}

/* Whether the caller waits for no more than what there is. */
static bool arrived(const struct http1_parser *parser, bool head)
{
    return parser->message.complete || (head && parser->message.headers_done);
}

static void run(struct http1_parser *parser, struct slice input, bool head, size_t *used)
{
    *used = 0;
    while (parser->status == 0 && !arrived(parser, head) && *used < input.len)
        *used += feed(parser, input.data + *used, input.len - *used);
}

enum parse_status http1_parse(struct http1_parser *parser, struct slice input, size_t *used,
                              const struct http1_request **request)
{
    http1_parser_reset(parser);
    run(parser, input, parser->message.limits.stream, used);
    if (parser->status != 0)
        return parser->outcome;
    if (!arrived(parser, parser->message.limits.stream))
        return PARSE_MORE;
    *request = &parser->request;
    return PARSE_OK;
}

enum parse_status http1_parse_body(struct http1_parser *parser, struct slice input, size_t *used,
                                   struct slice *piece)
{
    buf_truncate(&parser->body, 0);
    if (!parser->message.complete && llhttp_get_errno(&parser->message.llhttp) == HPE_PAUSED) {
        llhttp_resume(&parser->message.llhttp);
        /* A message without a body is over now, and says so without taking a byte. */
        if (!parser->request.has_body)
            parser->message.complete = true;
    }
    run(parser, input, false, used);
    *piece = buf_slice(&parser->body);
    if (parser->status != 0)
        return parser->outcome;
    return parser->message.complete ? PARSE_OK : PARSE_MORE;
}

bool http1_headers_done(const struct http1_parser *parser)
{
    return parser->message.headers_done;
}

const struct http1_request *http1_head(struct http1_parser *parser)
{
    return parser->message.headers_done ? &parser->request : NULL;
}

int http1_error(const struct http1_parser *parser, const char **why)
{
    *why = parser->why;
    return parser->status;
}
