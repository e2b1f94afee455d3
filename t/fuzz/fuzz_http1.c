/* Requests must parse the same whether they arrive whole or in pieces. The first byte is the
 * pieces' size. */
#include "fuzz.h"

#include "proto/http1.h"

static const struct http1_limits limits = {
    .line_bytes = 512, .header_bytes = 2048, .header_count = 16, .body_bytes = 4096};

static int append_slice(struct buf *out, struct slice s)
{
    int rc = buf_printf(out, "%zu:", s.len);

    return rc == ERR_OK ? buf_append(out, s.data, s.len) : rc;
}

static void append_request(struct buf *out, const struct http1_request *r)
{
    FUZZ_REQUIRE(buf_printf(out, "[%d %d %d %d ", r->method, r->minor, r->keep_alive,
                            r->expect_continue) == ERR_OK);
    FUZZ_REQUIRE(append_slice(out, r->method_name) == ERR_OK);
    FUZZ_REQUIRE(append_slice(out, r->target) == ERR_OK);
    FUZZ_REQUIRE(append_slice(out, r->authority) == ERR_OK);
    FUZZ_REQUIRE(append_slice(out, r->path) == ERR_OK);
    FUZZ_REQUIRE(append_slice(out, r->query) == ERR_OK);
    for (size_t i = 0; i < r->n_headers; i++) {
        FUZZ_REQUIRE(append_slice(out, r->headers[i].name) == ERR_OK);
        FUZZ_REQUIRE(append_slice(out, r->headers[i].value) == ERR_OK);
    }
    FUZZ_REQUIRE(append_slice(out, r->body) == ERR_OK);
}

static void parse_stream(struct slice stream, size_t step, struct buf *out)
{
    struct http1_parser *parser = http1_parser_create(&limits);
    size_t at = 0;

    FUZZ_REQUIRE(parser != NULL);
    while (at < stream.len) {
        const struct http1_request *request = NULL;
        size_t len = stream.len - at < step ? stream.len - at : step;
        enum parse_status status;
        const char *why;
        size_t used = 0;

        status = http1_parse(parser, slice_make(stream.data + at, len), &used, &request);
        FUZZ_REQUIRE(used <= len);
        FUZZ_REQUIRE(status != PARSE_MORE || used == len);
        at += used;
        if (status == PARSE_OK) {
            append_request(out, request);
            if (!request->keep_alive)
                break;
        } else if (status != PARSE_MORE) {
            int code = http1_error(parser, &why);

            /* Where a line breaks two rules, which one is named depends on the pieces. */
            FUZZ_REQUIRE(code >= 400 && code <= 599 && why != NULL);
            FUZZ_REQUIRE(buf_append(out, "!", 1) == ERR_OK);
            break;
        }
    }
    http1_parser_destroy(parser);
}

/* The rest of a request whose head was seen, as the site takes it. Returns whether it is complete.
 */
static bool take_body(struct http1_parser *parser, struct slice stream, size_t step, size_t *at,
                      struct buf *out)
{
    struct buf body = {0};
    enum parse_status status;

    do {
        size_t len = stream.len - *at < step ? stream.len - *at : step;
        struct slice piece;
        size_t used;

        status = http1_parse_body(parser, slice_make(stream.data + *at, len), &used, &piece);
        FUZZ_REQUIRE(used <= len);
        FUZZ_REQUIRE(status != PARSE_MORE || used == len);
        *at += used;
        FUZZ_REQUIRE(buf_append(&body, piece.data, piece.len) == ERR_OK);
    } while (status == PARSE_MORE && *at < stream.len);
    if (status == PARSE_OK)
        FUZZ_REQUIRE(append_slice(out, buf_slice(&body)) == ERR_OK);
    else
        FUZZ_REQUIRE(buf_append(out, "!", 1) == ERR_OK);
    buf_fini(&body);
    return status == PARSE_OK;
}

/* The same with bodies in pieces, as for the site. */
static void parse_site(struct slice stream, size_t step, struct buf *out)
{
    struct http1_limits bounds = limits;
    struct http1_parser *parser;
    size_t at = 0;

    bounds.stream = true;
    parser = http1_parser_create(&bounds);
    FUZZ_REQUIRE(parser != NULL);
    while (at < stream.len) {
        const struct http1_request *request = NULL;
        size_t len = stream.len - at < step ? stream.len - at : step;
        size_t used = 0;
        enum parse_status status =
            http1_parse(parser, slice_make(stream.data + at, len), &used, &request);

        FUZZ_REQUIRE(used <= len);
        at += used;
        if (status == PARSE_MORE)
            continue;
        if (status != PARSE_OK) {
            FUZZ_REQUIRE(buf_append(out, "!", 1) == ERR_OK);
            break;
        }
        append_request(out, request);
        if (!take_body(parser, stream, step, &at, out) || !request->keep_alive)
            break;
    }
    http1_parser_destroy(parser);
}

/* Whether both ways of arriving give the same. */
static void compare(void (*parse)(struct slice, size_t, struct buf *), struct slice stream,
                    size_t step)
{
    struct buf whole = {0};
    struct buf pieces = {0};

    parse(stream, stream.len + 1, &whole);
    parse(stream, step, &pieces);
    FUZZ_REQUIRE(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

static void decode(struct slice text)
{
    struct buf out = {0};

    if (http1_decode(text, true, &out) == ERR_OK)
        FUZZ_REQUIRE(buf_len(&out) <= text.len);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice stream;

    if (size == 0)
        return 0;
    stream = slice_make(data + 1, size - 1);
    compare(parse_stream, stream, 1 + data[0] % 32);
    compare(parse_site, stream, 1 + data[0] % 32);
    decode(stream);
    return 0;
}
