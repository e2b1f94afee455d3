#include "proto/memcached_binary.h"

#define DO_NOT_CREATE UINT32_MAX /* an expiry of incr and decr */

/* What may follow the header. */
enum shape {
    NOTHING,
    KEY,       /* key */
    OPTIONAL,  /* [key] */
    KEY_VALUE, /* key, value */
    STORE,     /* flags, exptime; key, value */
    COUNT,     /* delta, initial, exptime; key */
    EXPIRY,    /* exptime; key */
    DELAY,     /* [exptime] */
    LEVEL,     /* number */
};

static const struct command {
    uint8_t opcode;
    uint8_t verb;
    uint8_t shape;
    bool quiet, with_key;
    uint8_t sasl;
} commands[] = {
    {0x00, MEMCACHED_GET, KEY, .quiet = false},
    {0x09, MEMCACHED_GET, KEY, .quiet = true},
    {0x0c, MEMCACHED_GET, KEY, .with_key = true},
    {0x0d, MEMCACHED_GET, KEY, .quiet = true, .with_key = true},
    {0x1d, MEMCACHED_GAT, EXPIRY, .quiet = false},
    {0x1e, MEMCACHED_GAT, EXPIRY, .quiet = true},
    {0x23, MEMCACHED_GAT, EXPIRY, .with_key = true},
    {0x24, MEMCACHED_GAT, EXPIRY, .quiet = true, .with_key = true},
    {0x01, MEMCACHED_SET, STORE, .quiet = false},
    {0x11, MEMCACHED_SET, STORE, .quiet = true},
    {0x02, MEMCACHED_ADD, STORE, .quiet = false},
    {0x12, MEMCACHED_ADD, STORE, .quiet = true},
    {0x03, MEMCACHED_REPLACE, STORE, .quiet = false},
    {0x13, MEMCACHED_REPLACE, STORE, .quiet = true},
    {0x0e, MEMCACHED_APPEND, KEY_VALUE, .quiet = false},
    {0x19, MEMCACHED_APPEND, KEY_VALUE, .quiet = true},
    {0x0f, MEMCACHED_PREPEND, KEY_VALUE, .quiet = false},
    {0x1a, MEMCACHED_PREPEND, KEY_VALUE, .quiet = true},
    {0x04, MEMCACHED_DELETE, KEY, .quiet = false},
    {0x14, MEMCACHED_DELETE, KEY, .quiet = true},
    {0x05, MEMCACHED_INCR, COUNT, .quiet = false},
    {0x15, MEMCACHED_INCR, COUNT, .quiet = true},
    {0x06, MEMCACHED_DECR, COUNT, .quiet = false},
    {0x16, MEMCACHED_DECR, COUNT, .quiet = true},
    {0x1c, MEMCACHED_TOUCH, EXPIRY, .quiet = false},
    {0x08, MEMCACHED_FLUSH_ALL, DELAY, .quiet = false},
    {0x18, MEMCACHED_FLUSH_ALL, DELAY, .quiet = true},
    {0x0a, MEMCACHED_META_NOOP, NOTHING, .quiet = false},
    {0x0b, MEMCACHED_VERSION, NOTHING, .quiet = false},
    {0x10, MEMCACHED_STATS, OPTIONAL, .quiet = false},
    {0x1b, MEMCACHED_VERBOSITY, LEVEL, .quiet = false},
    {0x07, MEMCACHED_QUIT, NOTHING, .quiet = false},
    {0x17, MEMCACHED_QUIT, NOTHING, .quiet = true},
    {0x20, MEMCACHED_NONE, NOTHING, .sasl = SASL_LIST},
    {0x21, MEMCACHED_NONE, KEY_VALUE, .sasl = SASL_AUTH},
    {0x22, MEMCACHED_NONE, KEY_VALUE, .sasl = SASL_STEP},
};

static uint64_t get(const char *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | (unsigned char)p[i];
    return value;
}

static void put(char *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (char)(value >> 8 * (bytes - 1 - i));
}

void memcached_binary_u32(char *out, uint32_t value)
{
    put(out, value, 4);
}

void memcached_binary_u64(char *out, uint64_t value)
{
    put(out, value, 8);
}

static const struct command *find(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i].opcode == opcode)
            return &commands[i];
    return NULL;
}

/* The lengths of one request. */
struct parts {
    size_t extras, key, body;
};

static bool lengths_fit(enum shape shape, const struct parts *parts)
{
    static const struct {
        uint8_t extras, least_extras;
        bool key, value;
    } want[] = {
        [NOTHING] = {0, 0, false, false}, [KEY] = {0, 0, true, false},
        [OPTIONAL] = {0, 0, true, false}, [KEY_VALUE] = {0, 0, true, true},
        [STORE] = {8, 8, true, true},     [COUNT] = {20, 20, true, false},
        [EXPIRY] = {4, 4, true, false},   [DELAY] = {4, 0, false, false},
        [LEVEL] = {4, 4, false, false},
    };
    size_t value = parts->body - parts->extras - parts->key;

    if (parts->extras != want[shape].extras && parts->extras != want[shape].least_extras)
        return false;
    if (want[shape].key ? parts->key == 0 && shape != OPTIONAL : parts->key > 0)
        return false;
    return parts->key <= MEMCACHED_KEY_MAX && (value == 0 || want[shape].value);
}

/* An expiry is a 32-bit number here. */
static void take_extras(enum shape shape, const char *extras, size_t len,
                        struct memcached_binary *binary, struct memcached_request *request)
{
    switch (shape) {
    case STORE:
        request->flags = (uint32_t)get(extras, 4);
        request->exptime = (int32_t)get(extras + 4, 4);
        break;
    case COUNT:
        request->number = get(extras, 8);
        binary->initial = get(extras + 8, 8);
        binary->create = get(extras + 16, 4) != DO_NOT_CREATE;
        request->exptime = (int32_t)get(extras + 16, 4);
        break;
    case EXPIRY:
    case DELAY:
        request->exptime = len == 4 ? (int32_t)get(extras, 4) : 0;
        break;
    default:
        break;
    }
}

static enum parse_status refuse(struct memcached_binary *binary, struct memcached_request *request,
                                enum binary_status error, uint64_t skip)
{
    request->verb = MEMCACHED_NONE;
    request->used = BINARY_HEADER;
    request->skip = skip;
    binary->sasl = SASL_NONE;
    binary->error = error;
    return PARSE_OK;
}

enum parse_status memcached_binary_parse(struct slice input, const struct memcached_limits *limits,
                                         struct memcached_binary *binary,
                                         struct memcached_request *request)
{
    const struct command *command;
    struct parts parts;
    const char *body;

    if (input.len < BINARY_HEADER)
        return PARSE_MORE;
    *request = (struct memcached_request){.verb = MEMCACHED_NONE, .used = BINARY_HEADER};
    *binary = (struct memcached_binary){.opcode = (uint8_t)input.data[1],
                                        .unique = get(input.data + 16, 8),
                                        .error = BINARY_INVALID};
    memcpy(&binary->opaque, input.data + 12, 4);
    parts = (struct parts){get(input.data + 4, 1), get(input.data + 2, 2), get(input.data + 8, 4)};
    if ((unsigned char)input.data[0] != BINARY_MAGIC || parts.extras + parts.key > parts.body)
        return PARSE_INVALID;
    command = find(binary->opcode);
    if (command == NULL)
        return refuse(binary, request, BINARY_UNKNOWN, parts.body);
    binary->quiet = command->quiet;
    binary->with_key = command->with_key;
    if (!lengths_fit((enum shape)command->shape, &parts))
        return PARSE_INVALID;
    if (parts.body - parts.extras - parts.key > limits->value_bytes)
        return refuse(binary, request, BINARY_TOO_LARGE, parts.body);
    if (input.len - BINARY_HEADER < parts.body)
        return PARSE_MORE;
    body = input.data + BINARY_HEADER;
    binary->error = BINARY_OK;
    binary->sasl = (enum binary_sasl)command->sasl;
    request->verb = (enum memcached_verb)command->verb;
    request->keys = slice_make(body + parts.extras, parts.key);
    request->argument = request->keys;
    request->value =
        slice_make(body + parts.extras + parts.key, parts.body - parts.extras - parts.key);
    request->used = BINARY_HEADER + parts.body;
    take_extras((enum shape)command->shape, body, parts.extras, binary, request);
    return PARSE_OK;
}

void memcached_binary_header(const struct memcached_binary *binary,
                             const struct binary_reply *reply, char out[BINARY_HEADER])
{
    put(out, 0x81, 1);
    put(out + 1, binary->opcode, 1);
    put(out + 2, reply->key_len, 2);
    put(out + 4, reply->extras_len, 1);
    put(out + 5, 0, 1);
    put(out + 6, reply->status, 2);
    put(out + 8, reply->extras_len + reply->key_len + reply->value_len, 4);
    memcpy(out + 12, &binary->opaque, 4);
    memcached_binary_patch(out, reply->unique);
}

void memcached_binary_patch(char *header, uint64_t unique)
{
    put(header + 16, unique, 8);
}

const char *memcached_binary_text(enum binary_status status)
{
    switch (status) {
    case BINARY_OK:
    case BINARY_AUTH_CONTINUE:
        return "";
    case BINARY_NOT_FOUND:
        return "Not found";
    case BINARY_EXISTS:
        return "Data exists for key.";
    case BINARY_TOO_LARGE:
        return "Too large.";
    case BINARY_INVALID:
        return "Invalid arguments";
    case BINARY_NOT_STORED:
        return "Not stored.";
    case BINARY_NOT_NUMERIC:
        return "Non-numeric server-side value for incr or decr";
    case BINARY_AUTH:
        return "Auth failure.";
    case BINARY_UNKNOWN:
        return "Unknown command";
    case BINARY_NO_MEMORY:
        return "Out of memory";
    case BINARY_BUSY:
        return "Temporary failure";
    case BINARY_INTERNAL:
        break;
    }
    return "Internal error";
}
