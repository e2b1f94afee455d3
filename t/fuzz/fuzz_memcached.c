/* Commands must parse the same whether they arrive whole or in pieces, and point into their input
 * only. The first byte is the pieces' size. */
#include "fuzz.h"

#include "proto/memcached_binary.h"

static const struct memcached_limits limits = {.line_bytes = 512, .value_bytes = 1024};

static void require_inside(struct slice part, struct slice input)
{
    FUZZ_REQUIRE(part.len == 0 ||
                 (part.data >= input.data && part.data + part.len <= input.data + input.len));
}

static int append_request(struct buf *out, const struct memcached_request *request)
{
    struct slice keys = request->keys, key;
    int rc = buf_printf(out, "%d %u %lld %llu %d %llu %s:", (int)request->verb, request->flags,
                        (long long)request->exptime, (unsigned long long)request->number,
                        request->noreply, (unsigned long long)request->skip,
                        request->error != NULL ? request->error : "");

    while (rc == ERR_OK && request->error == NULL && memcached_key(&keys, &key)) {
        FUZZ_REQUIRE(key.len <= MEMCACHED_KEY_MAX);
        rc = resp_bulk(out, key);
    }
    return rc == ERR_OK ? resp_bulk(out, request->value) : rc;
}

static int append_binary(struct buf *out, const struct memcached_binary *binary)
{
    return buf_printf(out, "%u %d %d %d %u %llu %llu", binary->opcode, binary->quiet,
                      binary->create, (int)binary->error, binary->opaque,
                      (unsigned long long)binary->unique, (unsigned long long)binary->initial);
}

static int append_meta(struct buf *out, const struct memcached_meta *meta)
{
    int status = ERR_OK;

    for (const char *flag = meta->order; *flag != '\0' && status == ERR_OK; flag++)
        if (!memcached_meta_repeat(out, meta, *flag, &status))
            status = buf_append(out, flag, 1);
    FUZZ_REQUIRE(meta->opaque.len <= MEMCACHED_OPAQUE_MAX);
    return status;
}

/* A connection's input: what has come and is not taken yet. */
struct stream {
    struct slice input;
    uint64_t skip;
    bool closed;
};

/* Take one request; false: more is needed, or the connection is closed. */
static bool take(struct stream *stream, struct buf *out)
{
    struct memcached_meta meta;
    struct memcached_request request;
    struct memcached_binary binary;
    bool is_binary = (unsigned char)*stream->input.data == BINARY_MAGIC;
    enum parse_status status =
        is_binary ? memcached_binary_parse(stream->input, &limits, &binary, &request)
                  : memcached_parse(stream->input, &limits, &meta, &request);

    stream->closed = status == PARSE_TOO_LARGE || status == PARSE_INVALID;
    if (is_binary && status != PARSE_MORE)
        FUZZ_REQUIRE(append_binary(out, &binary) == ERR_OK);
    if (is_binary && stream->closed)
        return false;
    if (status == PARSE_OK && request.verb >= MEMCACHED_META_GET &&
        request.verb < MEMCACHED_META_NOOP && !is_binary)
        FUZZ_REQUIRE(append_meta(out, &meta) == ERR_OK);
    if (stream->closed)
        FUZZ_REQUIRE(request.error != NULL && buf_printf(out, "%s", request.error) == ERR_OK);
    if (status != PARSE_OK)
        return false;
    FUZZ_REQUIRE(request.used > 0 && request.used <= stream->input.len);
    if (is_binary || (request.error == NULL &&
                      (request.verb < MEMCACHED_META_GET || !memcached_sent(&meta, 'b'))))
        require_inside(request.keys, stream->input);
    require_inside(request.value, stream->input);
    require_inside(request.argument, stream->input);
    FUZZ_REQUIRE(append_request(out, &request) == ERR_OK);
    stream->input.data += request.used;
    stream->input.len -= request.used;
    stream->skip = request.skip;
    return true;
}

static void skip(struct stream *stream)
{
    size_t n = stream->input.len < stream->skip ? stream->input.len : (size_t)stream->skip;

    stream->input.data += n;
    stream->input.len -= n;
    stream->skip -= n;
}

static void parse_stream(struct slice text, size_t step, struct buf *out)
{
    struct stream stream = {.input = {text.data, 0}};

    for (size_t end = 0; end < text.len && !stream.closed;) {
        end = text.len - end < step ? text.len : end + step;
        stream.input.len = (size_t)(text.data + end - stream.input.data);
        do
            skip(&stream);
        while (stream.input.len > 0 && take(&stream, out));
    }
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
    return 0;
}
