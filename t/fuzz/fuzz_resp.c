/* Commands must parse the same whether they arrive whole or in pieces; replies must stay inside
 * their input. The first byte is the pieces' size. */
#include "fuzz.h"

#include "proto/resp.h"

#include <string.h>

static const struct resp_limits limits = {.args = 64, .bulk_bytes = 4096, .inline_bytes = 512};

static int append_command(struct buf *out, const struct resp_parser *parser)
{
    int rc = buf_printf(out, "%d:", parser->argc);

    for (int i = 0; i < parser->argc && rc == ERR_OK; i++)
        rc = resp_bulk(out, parser->argv[i]);
    return rc;
}

/* Everything that the stream says, as text. */
static void parse_stream(struct slice stream, size_t step, struct buf *out)
{
    struct resp_parser parser = {0};
    enum parse_status status = PARSE_MORE;
    size_t start = 0;
    size_t end = 0;

    for (;;) {
        if (status == PARSE_MORE && end == stream.len)
            break;
        if (status == PARSE_MORE)
            end = stream.len - end < step ? stream.len : end + step;
        status = resp_parse(&parser, slice_make(stream.data + start, end - start), &limits);
        if (status == PARSE_OK) {
            FUZZ_REQUIRE(parser.used > 0 && parser.used <= end - start);
            FUZZ_REQUIRE(append_command(out, &parser) == ERR_OK);
            start += parser.used;
            status = start == end ? PARSE_MORE : PARSE_OK;
        } else if (status != PARSE_MORE) {
            FUZZ_REQUIRE(buf_printf(out, "%d %s", (int)status, parser.error) == ERR_OK);
            break;
        }
    }
    resp_parser_fini(&parser);
}

static void parse_reply(struct slice input)
{
    struct resp_value value;
    size_t used = 0;

    if (resp_parse_reply(input, &value, &used) != PARSE_OK)
        return;
    FUZZ_REQUIRE(used > 0 && used <= input.len);
    resp_value_fini(&value);
}

/* What is guessed before the parser lies in the input. */
static void peek(struct slice input)
{
    struct slice keys[4];
    size_t n = resp_peek_keys(input, keys, 4);

    FUZZ_REQUIRE(n <= 4);
    for (size_t i = 0; i < n; i++)
        FUZZ_REQUIRE(keys[i].data >= input.data && keys[i].len <= input.len &&
                     keys[i].data + keys[i].len <= input.data + input.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf pieces = {0};
    struct slice stream;

    if (size == 0)
        return 0;
    stream = slice_make(data + 1, size - 1);
    parse_stream(stream, size, &whole);
    parse_stream(stream, 1 + data[0] % 32, &pieces);
    FUZZ_REQUIRE(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    parse_reply(stream);
    peek(stream);
    return 0;
}
