#include "proto/memcached.h"

#include "common/base64.h"
#include "common/units.h"

#include <string.h>

#define RELATIVE_MAX INT64_C(2592000) /* 30 days, in seconds */
#define BAD_FORMAT   "CLIENT_ERROR bad command line format"
#define BAD_CHUNK    "CLIENT_ERROR bad data chunk"
#define TOO_LARGE    "SERVER_ERROR object too large for cache"

/* How a command's line is read. */
enum shape {
    KEYS,        /* key+ */
    EXPIRY_KEYS, /* exptime key+ */
    STORAGE,     /* key flags exptime bytes [noreply], then the value */
    STORAGE_CAS, /* key flags exptime bytes unique [noreply], then the value */
    KEY_NUMBER,  /* key number [noreply] */
    KEY_EXPIRY,  /* key exptime [noreply] */
    KEY,         /* key [0] [noreply] */
    OPTIONAL,    /* [number] [noreply] */
    ANY,         /* whatever follows */
    META,        /* key flag* */
    META_VALUE,  /* key bytes flag*, then the value */
};

static const struct {
    const char *name;
    enum memcached_verb verb;
    enum shape shape;
} verbs[] = {
    {"get", MEMCACHED_GET, KEYS},
    {"set", MEMCACHED_SET, STORAGE},
    {"gets", MEMCACHED_GETS, KEYS},
    {"add", MEMCACHED_ADD, STORAGE},
    {"delete", MEMCACHED_DELETE, KEY},
    {"incr", MEMCACHED_INCR, KEY_NUMBER},
    {"decr", MEMCACHED_DECR, KEY_NUMBER},
    {"cas", MEMCACHED_CAS, STORAGE_CAS},
    {"replace", MEMCACHED_REPLACE, STORAGE},
    {"touch", MEMCACHED_TOUCH, KEY_EXPIRY},
    {"gat", MEMCACHED_GAT, EXPIRY_KEYS},
    {"gats", MEMCACHED_GATS, EXPIRY_KEYS},
    {"append", MEMCACHED_APPEND, STORAGE},
    {"prepend", MEMCACHED_PREPEND, STORAGE},
    {"flush_all", MEMCACHED_FLUSH_ALL, OPTIONAL},
    {"version", MEMCACHED_VERSION, ANY},
    {"stats", MEMCACHED_STATS, ANY},
    {"verbosity", MEMCACHED_VERBOSITY, ANY},
    {"quit", MEMCACHED_QUIT, ANY},
    {"mg", MEMCACHED_META_GET, META},
    {"ms", MEMCACHED_META_SET, META_VALUE},
    {"md", MEMCACHED_META_DELETE, META},
    {"ma", MEMCACHED_META_COUNT, META},
    {"me", MEMCACHED_META_DEBUG, META},
    {"mn", MEMCACHED_META_NOOP, ANY},
};

bool memcached_key(struct slice *keys, struct slice *key)
{
    const char *end;

    while (keys->len > 0 && *keys->data == ' ') {
        keys->data++;
        keys->len--;
    }
    if (keys->len == 0)
        return false;
    end = memchr(keys->data, ' ', keys->len);
    *key = slice_make(keys->data, end == NULL ? keys->len : (size_t)(end - keys->data));
    keys->data += key->len;
    keys->len -= key->len;
    return true;
}

static enum parse_status refuse(struct memcached_request *request, const char *error)
{
    request->verb = MEMCACHED_NONE;
    request->error = error;
    return PARSE_OK;
}

/* Printable bytes without spaces, which the line's own form ensures, and at most so many. */
static bool is_key(struct slice key)
{
    if (key.len == 0 || key.len > MEMCACHED_KEY_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++)
        if ((unsigned char)key.data[i] <= ' ' || key.data[i] == 0x7f)
            return false;
    return true;
}

static bool take_key(struct slice *line, struct memcached_request *request)
{
    return memcached_key(line, &request->keys) && is_key(request->keys);
}

bool memcached_number(struct slice text, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');

        if (digit > 9 || __builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, digit, value))
            return false;
    }
    return text.len > 0;
}

static bool take_unsigned(struct slice *line, uint64_t *value)
{
    struct slice text;

    return memcached_key(line, &text) && memcached_number(text, value);
}

static bool take_signed(struct slice *line, int64_t *value)
{
    struct slice text;

    return memcached_key(line, &text) && units_parse_int(text, value) == ERR_OK;
}

/* What may stand at the end; false: something else does. */
static bool take_noreply(struct slice *line, struct memcached_request *request)
{
    struct slice text;

    if (!memcached_key(line, &text))
        return true;
    request->noreply = slice_eq(text, SLICE_LIT("noreply"));
    return request->noreply && !memcached_key(line, &text);
}

static bool all_keys(struct slice keys)
{
    struct slice key;
    bool any = false;

    while (memcached_key(&keys, &key)) {
        if (!is_key(key))
            return false;
        any = true;
    }
    return any;
}

static unsigned count_words(struct slice line)
{
    struct slice word;
    unsigned n = 0;

    while (memcached_key(&line, &word))
        n++;
    return n;
}

/* ---- by shape ---- */

/* The value behind a storing command's line, which ends at request->used. */
static enum parse_status take_value(struct slice input, uint64_t len,
                                    const struct memcached_limits *limits,
                                    struct memcached_request *request)
{
    size_t at = request->used;

    if (len > limits->value_bytes) {
        request->skip = len + 2;
        return refuse(request, TOO_LARGE);
    }
    if (input.len - at < len + 2)
        return PARSE_MORE;
    request->value = slice_make(input.data + at, len);
    request->used = at + len + 2;
    if (memcmp(input.data + at + len, "\r\n", 2) == 0)
        return PARSE_OK;
    request->used = at + len; /* where the end should be: what is there is the next command */
    return refuse(request, BAD_CHUNK);
}

static enum parse_status parse_storage(struct slice input, struct slice line, bool unique,
                                       const struct memcached_limits *limits,
                                       struct memcached_request *request)
{
    struct slice whole = line;
    bool good = take_key(&line, request);
    uint64_t flags = 0;
    int64_t len = 0;

    if (count_words(whole) < (unique ? 5 : 4))
        return refuse(request, "ERROR");
    good = take_unsigned(&line, &flags) && flags <= UINT32_MAX && good;
    good = take_signed(&line, &request->exptime) && good;
    if (!take_signed(&line, &len) || len < 0 || (unique && !take_unsigned(&line, &request->number)))
        return refuse(request, BAD_FORMAT);
    if (!take_noreply(&line, request) || !good) {
        request->skip = (uint64_t)len + 2; /* the value is no command */
        return refuse(request, BAD_FORMAT);
    }
    request->flags = (uint32_t)flags;
    return take_value(input, (uint64_t)len, limits, request);
}

static enum parse_status parse_keys(struct slice line, bool expiry,
                                    struct memcached_request *request)
{
    if (expiry && !take_signed(&line, &request->exptime))
        return refuse(request, line.len == 0 ? "ERROR" : "CLIENT_ERROR invalid exptime argument");
    if (!all_keys(line))
        return refuse(request, line.len == 0 ? "ERROR" : BAD_FORMAT);
    request->keys = line;
    return PARSE_OK;
}

static enum parse_status parse_delete(struct slice line, struct memcached_request *request)
{
    struct slice rest;

    if (!take_key(&line, request))
        return refuse(request, BAD_FORMAT);
    rest = line;
    /* A time that clients once sent: only 0 is taken. */
    if (memcached_key(&rest, &request->argument) && slice_eq(request->argument, SLICE_LIT("0")))
        line = rest;
    if (take_noreply(&line, request))
        return PARSE_OK;
    return refuse(request, BAD_FORMAT ".  Usage: delete <key> [noreply]");
}

static enum parse_status parse_one(struct slice line, enum shape shape,
                                   struct memcached_request *request)
{
    if (count_words(line) < 2)
        return refuse(request, "ERROR");
    if (!take_key(&line, request))
        return refuse(request, BAD_FORMAT);
    if (shape == KEY_NUMBER && !take_unsigned(&line, &request->number))
        return refuse(request, "CLIENT_ERROR invalid numeric delta argument");
    if (shape == KEY_EXPIRY && !take_signed(&line, &request->exptime))
        return refuse(request, "CLIENT_ERROR invalid exptime argument");
    return take_noreply(&line, request) ? PARSE_OK : refuse(request, BAD_FORMAT);
}

static enum parse_status parse_optional(struct slice line, struct memcached_request *request)
{
    struct slice rest = line, word;

    if (memcached_key(&rest, &word) && units_parse_int(word, &request->exptime) == ERR_OK)
        line = rest;
    return take_noreply(&line, request) ? PARSE_OK : refuse(request, BAD_FORMAT);
}

static enum parse_status parse_any(struct slice line, struct memcached_request *request)
{
    struct slice word;

    while (memcached_key(&line, &word)) {
        if (request->argument.data == NULL)
            request->argument = word;
        request->noreply = slice_eq(word, SLICE_LIT("noreply"));
    }
    return PARSE_OK;
}

/* The key, as it is or from base64. */
static const char *meta_key(struct slice text, struct memcached_meta *meta,
                            struct memcached_request *request)
{
    size_t len;

    meta->key_text = text;
    request->keys = text;
    if (!memcached_sent(meta, 'b'))
        return NULL;
    if (base64_encoded_len(MEMCACHED_KEY_MAX) < text.len ||
        base64_decode(text, meta->decoded, &len) != ERR_OK || len == 0)
        return "CLIENT_ERROR error decoding key";
    request->keys = slice_make(meta->decoded, len);
    return NULL;
}

static const char *meta_line(struct slice line, bool storing, struct memcached_meta *meta,
                             struct memcached_request *request)
{
    bool counts = request->verb == MEMCACHED_META_COUNT;
    bool removes = request->verb == MEMCACHED_META_DELETE;
    struct slice key = request->keys;
    const char *error = memcached_meta_flags(line, storing, meta);

    if (error != NULL)
        return (counts || removes) && strcmp(error, MEMCACHED_BAD_MODE) != 0
                   ? "CLIENT_ERROR invalid or duplicate flag"
                   : error;
    return meta_key(key, meta, request);
}

static enum parse_status parse_meta(struct slice line, struct memcached_meta *meta,
                                    struct memcached_request *request)
{
    bool debug = request->verb == MEMCACHED_META_DEBUG;
    const char *error;

    *meta = (struct memcached_meta){0};
    if (count_words(line) == 0)
        return refuse(request, debug ? BAD_FORMAT : "ERROR");
    if (!take_key(&line, request))
        return refuse(request, BAD_FORMAT);
    error = meta_line(line, false, meta, request);
    return error == NULL ? PARSE_OK : refuse(request, error);
}

static enum parse_status parse_meta_value(struct slice input, struct slice line,
                                          const struct memcached_limits *limits,
                                          struct memcached_meta *meta,
                                          struct memcached_request *request)
{
    bool good = take_key(&line, request);
    const char *error;
    uint64_t len;

    *meta = (struct memcached_meta){0};
    if (request->keys.data == NULL)
        return refuse(request, "ERROR");
    if (!take_unsigned(&line, &len) || len > INT32_MAX)
        return refuse(request, BAD_FORMAT);
    error = good ? meta_line(line, true, meta, request) : BAD_FORMAT;
    if (error == NULL)
        return take_value(input, len, limits, request);
    request->skip = len + 2; /* the value is no command */
    return refuse(request, error);
}

static enum parse_status parse_shape(struct slice input, struct slice line, enum shape shape,
                                     const struct memcached_limits *limits,
                                     struct memcached_meta *meta, struct memcached_request *request)
{
    switch (shape) {
    case META:
        return parse_meta(line, meta, request);
    case META_VALUE:
        return parse_meta_value(input, line, limits, meta, request);
    case KEYS:
    case EXPIRY_KEYS:
        return parse_keys(line, shape == EXPIRY_KEYS, request);
    case STORAGE:
    case STORAGE_CAS:
        return parse_storage(input, line, shape == STORAGE_CAS, limits, request);
    case KEY:
        return parse_delete(line, request);
    case KEY_NUMBER:
    case KEY_EXPIRY:
        return parse_one(line, shape, request);
    case OPTIONAL:
        return parse_optional(line, request);
    case ANY:
        break;
    }
    return parse_any(line, request);
}

enum parse_status memcached_parse(struct slice input, const struct memcached_limits *limits,
                                  struct memcached_meta *meta, struct memcached_request *request)
{
    const char *newline = memchr(input.data, '\n', input.len);
    struct slice line, name;

    *request = (struct memcached_request){.verb = MEMCACHED_NONE};
    if (newline == NULL && input.len <= limits->line_bytes + 1) /* the CR */
        return PARSE_MORE;
    line = slice_make(input.data, newline == NULL ? input.len : (size_t)(newline - input.data));
    request->used = line.len + (newline != NULL);
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len > limits->line_bytes) {
        request->error = "CLIENT_ERROR line too long (limits.memcached_line)";
        return PARSE_TOO_LARGE;
    }
    if (!memcached_key(&line, &name))
        return refuse(request, "ERROR");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (!slice_eq(name, slice_cstr(verbs[i].name)))
            continue;
        request->verb = verbs[i].verb;
        return parse_shape(input, line, verbs[i].shape, limits, meta, request);
    }
    return refuse(request, "ERROR");
}

int memcached_value(struct buf *out, struct slice key, uint32_t flags, size_t len,
                    const uint64_t *unique)
{
    if (unique != NULL)
        return buf_printf(out, "VALUE %.*s %u %zu %llu\r\n", (int)key.len, key.data, flags, len,
                          (unsigned long long)*unique);
    return buf_printf(out, "VALUE %.*s %u %zu\r\n", (int)key.len, key.data, flags, len);
}

uint64_t memcached_expiry(int64_t exptime, uint64_t now_ms)
{
    if (exptime == 0)
        return 0;
    if (exptime < 0)
        return 1;
    if (exptime <= RELATIVE_MAX)
        return now_ms + (uint64_t)exptime * 1000;
    if ((uint64_t)exptime > UINT64_MAX / 1000 || (uint64_t)exptime * 1000 <= now_ms)
        return (uint64_t)exptime > UINT64_MAX / 1000 ? 0 : 1;
    return (uint64_t)exptime * 1000;
}

/* Of a line that is a get: all of its keys, or the one of mg. */
static size_t peek_line(struct slice line, struct slice *keys, size_t max)
{
    struct slice name;
    size_t n = 0;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (!memcached_key(&line, &name))
        return 0;
    if (slice_eq(name, SLICE_LIT("mg")))
        return memcached_key(&line, &keys[0]);
    if (!slice_eq(name, SLICE_LIT("get")) && !slice_eq(name, SLICE_LIT("gets")))
        return 0;
    while (n < max && memcached_key(&line, &keys[n]))
        n++;
    return n;
}

size_t memcached_peek_keys(struct slice input, struct slice *keys, size_t max)
{
    size_t n = 0;

    while (n < max && input.len > 0) {
        const char *newline = memchr(input.data, '\n', input.len);
        size_t len = newline == NULL ? input.len : (size_t)(newline - input.data);
        size_t more =
            newline == NULL ? 0 : peek_line(slice_make(input.data, len), keys + n, max - n);

        if (more == 0)
            break;
        n += more;
        input = slice_make(newline + 1, input.len - len - 1);
    }
    return n;
}
