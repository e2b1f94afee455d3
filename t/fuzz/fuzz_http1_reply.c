/* Responses must parse the same whether they arrive whole or in pieces, and so must requests whose
 * body is streamed. The first byte is the pieces' size, its highest bit: responses to HEAD. */
#include "fuzz.h"

#include "proto/http1_reply.h"

static const struct http1_limits limits = {.line_bytes = 512,
                                           .header_bytes = 2048,
                                           .header_count = 16,
                                           .body_bytes = 4096,
                                           .stream = true};

static void say(struct buf *out, struct slice s)
{
    FUZZ_REQUIRE(buf_printf(out, "%zu:", s.len) == ERR_OK);
    FUZZ_REQUIRE(buf_append(out, s.data, s.len) == ERR_OK);
}

static void say_headers(struct buf *out, const struct http1_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        say(out, headers[i].name);
        say(out, headers[i].value);
    }
}

/* Heads and bodies apart: a body's pieces are as the input's. */
struct told {
    struct buf heads, body;
};

static void on_body(void *arg, struct slice piece)
{
    struct told *told = arg;

    FUZZ_REQUIRE(buf_append(&told->body, piece.data, piece.len) == ERR_OK);
}

static void say_reply(struct told *told, const struct http1_reply *reply)
{
    FUZZ_REQUIRE(buf_printf(&told->heads, "[%d %d %d %d %llu ", reply->status, reply->minor,
                            reply->keep_alive, reply->framing,
                            (unsigned long long)reply->content_length) == ERR_OK);
    say(&told->heads, reply->reason);
    say_headers(&told->heads, reply->headers, reply->n_headers);
}

static void parse_replies(struct slice stream, size_t step, bool head, struct told *told)
{
    struct http1_reply_parser *parser = http1_reply_create(&limits, on_body, told);
    enum http1_reply_event event = REPLY_EVENT_MORE;
    size_t at = 0;

    FUZZ_REQUIRE(parser != NULL);
    http1_reply_begin(parser, head);
    while (event != REPLY_EVENT_BAD) {
        size_t len = stream.len - at < step ? stream.len - at : step, used = 0;

        event = http1_reply_parse(parser, slice_make(stream.data + at, len), &used);
        FUZZ_REQUIRE(used <= len && (event != REPLY_EVENT_MORE || used == len));
        at += used;
        if (event == REPLY_EVENT_HEAD)
            say_reply(told, http1_reply_head(parser));
        if (event == REPLY_EVENT_END) {
            FUZZ_REQUIRE(buf_append(&told->heads, ".", 1) == ERR_OK);
            if (!http1_reply_head(parser)->keep_alive)
                break;
            http1_reply_begin(parser, head);
        }
        if (event == REPLY_EVENT_MORE && at == stream.len)
            break;
    }
    if (event == REPLY_EVENT_MORE)
        event = http1_reply_eof(parser);
    FUZZ_REQUIRE(buf_append(&told->heads, event == REPLY_EVENT_BAD ? "!" : "$", 1) == ERR_OK);
    http1_reply_destroy(parser);
}

/* One request after the other: its head, then its body. False: refused. */
static bool take_body(struct http1_parser *parser, struct slice stream, size_t step, size_t *at,
                      struct told *told)
{
    for (;;) {
        size_t len = stream.len - *at < step ? stream.len - *at : step, used = 0;
        struct slice piece;
        enum parse_status status =
            http1_parse_body(parser, slice_make(stream.data + *at, len), &used, &piece);

        FUZZ_REQUIRE(used <= len);
        *at += used;
        on_body(told, piece);
        if (status == PARSE_OK)
            return true;
        if (status != PARSE_MORE || *at == stream.len)
            return false;
    }
}

static void parse_requests(struct slice stream, size_t step, struct told *told)
{
    struct http1_parser *parser = http1_parser_create(&limits);
    size_t at = 0;
    bool good = true;

    FUZZ_REQUIRE(parser != NULL);
    while (good && at < stream.len) {
        const struct http1_request *request = NULL;
        size_t len = stream.len - at < step ? stream.len - at : step, used = 0;
        enum parse_status status =
            http1_parse(parser, slice_make(stream.data + at, len), &used, &request);

        at += used;
        good = status == PARSE_OK || status == PARSE_MORE;
        if (status != PARSE_OK)
            continue;
        say(&told->heads, request->method_name);
        say(&told->heads, request->target);
        say_headers(&told->heads, request->headers, request->n_headers);
        good = take_body(parser, stream, step, &at, told);
    }
    http1_parser_destroy(parser);
}

static void compare(struct told *whole, struct told *pieces)
{
    FUZZ_REQUIRE(slice_eq(buf_slice(&whole->heads), buf_slice(&pieces->heads)));
    FUZZ_REQUIRE(slice_eq(buf_slice(&whole->body), buf_slice(&pieces->body)));
    buf_fini(&whole->heads);
    buf_fini(&whole->body);
    buf_fini(&pieces->heads);
    buf_fini(&pieces->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole = {0}, pieces = {0};
    struct slice stream;
    size_t step;

    if (size == 0)
        return 0;
    step = 1 + data[0] % 32;
    stream = slice_make(data + 1, size - 1);
    parse_replies(stream, size, data[0] >= 0x80, &whole);
    parse_replies(stream, step, data[0] >= 0x80, &pieces);
    compare(&whole, &pieces);
    parse_requests(stream, size, &whole);
    parse_requests(stream, step, &pieces);
    compare(&whole, &pieces);
    return 0;
}
