#include "proto/resp.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The argument arrays of an idle connection: larger ones are given back. */
#define ARGS_KEEP 1024
#define ARGS_MIN  8
/* Digits of a length that cannot overflow int64. */
#define LENGTH_DIGITS 18

enum state { STATE_START, STATE_INLINE, STATE_COUNT, STATE_BULK_LENGTH, STATE_BULK };

static enum parse_status fail(struct resp_parser *parser, enum parse_status status, const char *fmt,
                              ...) PRINTF_LIKE(3, 4);

static enum parse_status fail(struct resp_parser *parser, enum parse_status status, const char *fmt,
                              ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(parser->error, sizeof(parser->error), fmt, args);
    va_end(args);
    parser->state = STATE_START;
    parser->argc = 0;
    return status;
}

/* A decimal number and its CRLF, as Redis reads it: no '+', no leading zeros. used: bytes with the
 * CRLF. */
static enum parse_status read_length(const char *p, const char *end, int64_t *value, size_t *used)
{
    const char *from = p;
    const char *digits;
    int64_t n = 0;
    bool negative = p < end && *p == '-';

    p += negative;
    digits = p;
    for (; p < end && (unsigned char)(*p - '0') <= 9; p++) {
        if (p - digits == LENGTH_DIGITS)
            return PARSE_INVALID;
        n = n * 10 + (*p - '0');
    }
    if (p - digits > 1 && *digits == '0')
        return PARSE_INVALID;
    if (p == end)
        return PARSE_MORE;
    if (*p != '\r' || p == digits || (negative && n == 0))
        return PARSE_INVALID;
    if (++p == end)
        return PARSE_MORE;
    if (*p != '\n')
        return PARSE_INVALID;
    *value = negative ? -n : n;
    *used = (size_t)(p + 1 - from);
    return PARSE_OK;
}

static void release_args(struct resp_parser *parser)
{
    free(parser->argv);
    free(parser->offsets);
    parser->argv = NULL;
    parser->offsets = NULL;
    parser->cap = 0;
}

/* Room for one more argument. Grows with what has arrived, never with what was announced. */
static bool reserve_arg(struct resp_parser *parser)
{
    int cap = parser->cap == 0 ? ARGS_MIN : parser->cap;
    struct slice *argv;
    size_t *offsets;

    if (parser->argc < parser->cap)
        return true;
    if (parser->cap != 0) {
        if (cap > INT_MAX / 2)
            return false;
        cap *= 2;
    }
    argv = realloc(parser->argv, (size_t)cap * sizeof(*argv));
    if (argv == NULL)
        return false;
    parser->argv = argv;
    offsets = realloc(parser->offsets, (size_t)cap * sizeof(*offsets));
    if (offsets == NULL)
        return false;
    parser->offsets = offsets;
    parser->cap = cap;
    return true;
}

static enum parse_status no_memory(struct resp_parser *parser)
{
    return fail(parser, PARSE_TOO_LARGE, "ERR out of memory while reading a command");
}

/* Inline commands: words separated by spaces, quoted as redis-cli and Redis do. */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* What follows a backslash in double quotes: one byte into *out. Returns the place after it. */
static const char *read_escape(const char *p, const char *end, char *out)
{
    if (end - p >= 3 && p[0] == 'x' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
        *out = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
        return p + 3;
    }
    *out = unescape(*p);
    return p + 1;
}

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

/* The rest of a quoted part, p after the opening quote, appended at *to. NULL: the quotes are
 * unbalanced (a closing quote must end the word). */
static const char *read_quoted(const char *p, const char *end, char quote, char **to)
{
    while (p < end) {
        if (*p == '\\' && quote == '"' && end - p >= 2) {
            p = read_escape(p + 1, end, (*to)++);
        } else if (*p == '\\' && quote == '\'' && end - p >= 2 && p[1] == '\'') {
            *(*to)++ = '\'';
            p += 2;
        } else if (*p == quote) {
            p++;
            return p == end || is_space(*p) ? p : NULL;
        } else {
            *(*to)++ = *p++;
        }
    }
    return NULL;
}

static const char *read_word(const char *p, const char *end, char **to)
{
    while (p != NULL && p < end && !is_space(*p)) {
        if (*p == '"' || *p == '\'')
            p = read_quoted(p + 1, end, *p, to);
        else
            *(*to)++ = *p++;
    }
    return p;
}

static enum parse_status split_line(struct resp_parser *parser, struct slice line,
                                    const struct resp_limits *limits)
{
    const char *p = line.data;
    const char *end = line.data + line.len;
    char *to;

    buf_truncate(&parser->words, 0);
    to = buf_reserve(&parser->words, line.len + 1); /* unquoting never lengthens */
    if (to == NULL)
        return no_memory(parser);
    for (;;) {
        char *word = to;

        while (p < end && is_space(*p))
            p++;
        if (p == end)
            return PARSE_OK;
        if (parser->argc >= limits->args)
            return fail(parser, PARSE_TOO_LARGE,
                        "ERR Protocol error: inline command is over limits.resp_args (%lld)",
                        (long long)limits->args);
        p = read_word(p, end, &to);
        if (p == NULL)
            return fail(parser, PARSE_INVALID, "ERR Protocol error: unbalanced quotes in request");
        if (!reserve_arg(parser))
            return no_memory(parser);
        parser->argv[parser->argc++] = slice_make(word, (size_t)(to - word));
    }
}

static enum parse_status parse_inline(struct resp_parser *parser, struct slice input,
                                      const struct resp_limits *limits)
{
    const char *nl = memchr(input.data + parser->pos, '\n', input.len - parser->pos);
    size_t len = nl == NULL ? input.len : (size_t)(nl - input.data);
    enum parse_status status;

    if (len > limits->inline_bytes)
        return fail(parser, PARSE_TOO_LARGE,
                    "ERR Protocol error: too big inline request (limits.resp_inline is %llu bytes)",
                    (unsigned long long)limits->inline_bytes);
    if (nl == NULL) {
        parser->pos = input.len;
        return PARSE_MORE;
    }
    parser->used = len + 1;
    if (len > 0 && input.data[len - 1] == '\r')
        len--;
    status = split_line(parser, slice_make(input.data, len), limits);
    parser->state = STATE_START;
    return status;
}

/* Multibulk commands. Each step returns PARSE_OK to go on with the next state. */

static enum parse_status step_count(struct resp_parser *parser, struct slice input,
                                    const struct resp_limits *limits)
{
    const char *p = input.data + 1;
    int64_t count = 0;
    size_t used = 0;
    enum parse_status status = read_length(p, input.data + input.len, &count, &used);

    if (status == PARSE_INVALID)
        return fail(parser, PARSE_INVALID, "ERR Protocol error: invalid multibulk length");
    if (status != PARSE_OK)
        return status;
    if (count > limits->args || count > INT_MAX)
        return fail(parser, PARSE_TOO_LARGE,
                    "ERR Protocol error: command of %lld arguments is over limits.resp_args (%lld)",
                    (long long)count, (long long)limits->args);
    parser->pos = 1 + used;
    parser->want = count < 0 ? 0 : (int)count;
    parser->state = STATE_BULK_LENGTH;
    return PARSE_OK;
}

static enum parse_status wrong_type(struct resp_parser *parser, char got)
{
    if (isprint((unsigned char)got))
        return fail(parser, PARSE_INVALID, "ERR Protocol error: expected '$', got '%c'", got);
    return fail(parser, PARSE_INVALID, "ERR Protocol error: expected '$', got '\\x%02x'",
                (unsigned char)got);
}

static enum parse_status step_bulk_length(struct resp_parser *parser, struct slice input,
                                          const struct resp_limits *limits)
{
    const char *p = input.data + parser->pos;
    size_t used = 0;
    enum parse_status status;

    if (parser->pos == input.len)
        return PARSE_MORE;
    if (*p != '$')
        return wrong_type(parser, *p);
    status = read_length(p + 1, input.data + input.len, &parser->bulk, &used);
    if (status == PARSE_MORE)
        return status;
    if (status != PARSE_OK || parser->bulk < 0)
        return fail(parser, PARSE_INVALID, "ERR Protocol error: invalid bulk length");
    if ((uint64_t)parser->bulk > limits->bulk_bytes)
        return fail(parser, PARSE_TOO_LARGE,
                    "ERR Protocol error: bulk of %lld bytes is over limits.value (%llu bytes)",
                    (long long)parser->bulk, (unsigned long long)limits->bulk_bytes);
    parser->pos += 1 + used;
    parser->state = STATE_BULK;
    return PARSE_OK;
}

static enum parse_status step_bulk(struct resp_parser *parser, struct slice input)
{
    size_t len = (size_t)parser->bulk;
    const char *end = input.data + parser->pos + len;

    if (input.len - parser->pos < len + 2)
        return PARSE_MORE;
    if (end[0] != '\r' || end[1] != '\n')
        return fail(parser, PARSE_INVALID, "ERR Protocol error: bulk is not followed by CR LF");
    if (!reserve_arg(parser))
        return no_memory(parser);
    parser->offsets[parser->argc] = parser->pos;
    parser->argv[parser->argc].len = len;
    parser->argc++;
    parser->pos += len + 2;
    parser->state = STATE_BULK_LENGTH;
    return PARSE_OK;
}

static enum parse_status parse_multibulk(struct resp_parser *parser, struct slice input,
                                         const struct resp_limits *limits)
{
    enum parse_status status = PARSE_OK;

    if (parser->state == STATE_COUNT)
        status = step_count(parser, input, limits);
    while (status == PARSE_OK && parser->argc < parser->want) {
        if (parser->state == STATE_BULK_LENGTH)
            status = step_bulk_length(parser, input, limits);
        if (status == PARSE_OK)
            status = step_bulk(parser, input);
    }
    if (status != PARSE_OK)
        return status;
    for (int i = 0; i < parser->argc; i++)
        parser->argv[i].data = input.data + parser->offsets[i];
    parser->used = parser->pos;
    parser->state = STATE_START;
    return PARSE_OK;
}

static void start(struct resp_parser *parser, char first)
{
    if (parser->cap > ARGS_KEEP)
        release_args(parser);
    buf_truncate(&parser->words, 0);
    buf_shrink(&parser->words, ARGS_KEEP);
    parser->argc = 0;
    parser->want = 0;
    parser->used = 0;
    parser->pos = 0;
    parser->state = first == '*' ? STATE_COUNT : STATE_INLINE;
}

enum parse_status resp_parse(struct resp_parser *parser, struct slice input,
                             const struct resp_limits *limits)
{
    if (input.len == 0)
        return PARSE_MORE;
    if (parser->state == STATE_START)
        start(parser, input.data[0]);
    if (parser->state == STATE_INLINE)
        return parse_inline(parser, input, limits);
    return parse_multibulk(parser, input, limits);
}

void resp_parser_fini(struct resp_parser *parser)
{
    release_args(parser);
    buf_fini(&parser->words);
    *parser = (struct resp_parser){0};
}

/* Composing. */

/* type, value in decimal, CRLF: at most 23 bytes at place. Returns their number. */
static size_t put_number(char *place, char type, int64_t value)
{
    char digits[20];
    uint64_t n = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t count = 0;
    size_t len = 0;

    place[len++] = type;
    if (value < 0)
        place[len++] = '-';
    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (count > 0)
        place[len++] = digits[--count];
    place[len++] = '\r';
    place[len++] = '\n';
    return len;
}

#define NUMBER_MAX 24

static int append_number(struct buf *out, char type, int64_t value)
{
    char *place = buf_reserve(out, NUMBER_MAX);

    if (place == NULL)
        return ERR_NOMEM;
    buf_commit(out, put_number(place, type, value));
    return ERR_OK;
}

static int append_line(struct buf *out, char type, const char *text, size_t len)
{
    char *place = buf_reserve(out, len + 3);

    if (place == NULL)
        return ERR_NOMEM;
    *place++ = type;
    for (size_t i = 0; i < len; i++)
        *place++ = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    *place++ = '\r';
    *place = '\n';
    buf_commit(out, len + 3);
    return ERR_OK;
}

int resp_status(struct buf *out, const char *text)
{
    return append_line(out, '+', text, strlen(text));
}

int resp_error(struct buf *out, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return append_line(out, '-', text, strlen(text));
}

int resp_integer(struct buf *out, int64_t value)
{
    return append_number(out, ':', value);
}

int resp_bulk_header(struct buf *out, size_t len)
{
    return append_number(out, '$', (int64_t)len);
}

int resp_bulk(struct buf *out, struct slice value)
{
    char *place = buf_reserve(out, NUMBER_MAX + value.len + 2);
    size_t len;

    if (place == NULL)
        return ERR_NOMEM;
    len = put_number(place, '$', (int64_t)value.len);
    if (value.len > 0)
        memcpy(place + len, value.data, value.len);
    len += value.len;
    place[len++] = '\r';
    place[len++] = '\n';
    buf_commit(out, len);
    return ERR_OK;
}

int resp_null(struct buf *out, int version)
{
    return version >= 3 ? buf_append(out, "_\r\n", 3) : buf_append(out, "$-1\r\n", 5);
}

int resp_null_array(struct buf *out, int version)
{
    return version >= 3 ? buf_append(out, "_\r\n", 3) : buf_append(out, "*-1\r\n", 5);
}

int resp_set(struct buf *out, size_t n, int version)
{
    return append_number(out, version >= 3 ? '~' : '*', (int64_t)n);
}

int resp_double(struct buf *out, struct slice text, int version)
{
    return version >= 3 ? append_line(out, ',', text.data, text.len) : resp_bulk(out, text);
}

int resp_array(struct buf *out, size_t n)
{
    return append_number(out, '*', (int64_t)n);
}

int resp_push(struct buf *out, size_t n, int version)
{
    return version == 3 ? buf_printf(out, ">%zu\r\n", n) : resp_array(out, n);
}

int resp_map(struct buf *out, size_t n, int version)
{
    return version >= 3 ? append_number(out, '%', (int64_t)n) : resp_array(out, 2 * n);
}

/* ---- a look ahead ---- */

/* "<mark>NUMBER\r\n" off the front; false: it is not there whole. */
static bool peek_length(struct slice *rest, char mark, size_t *length)
{
    int64_t value;
    size_t used;

    if (rest->len == 0 || rest->data[0] != mark ||
        read_length(rest->data + 1, rest->data + rest->len, &value, &used) != PARSE_OK || value < 0)
        return false;
    *rest = slice_make(rest->data + 1 + used, rest->len - 1 - used);
    *length = (size_t)value;
    return true;
}

static bool peek_bulk(struct slice *rest, struct slice *bulk)
{
    size_t length;

    if (!peek_length(rest, '$', &length) || rest->len < 2 || length > rest->len - 2)
        return false;
    *bulk = slice_make(rest->data, length);
    *rest = slice_make(rest->data + length + 2, rest->len - length - 2);
    return true;
}

size_t resp_peek_keys(struct slice input, struct slice *keys, size_t max)
{
    struct slice name, value;
    size_t n = 0, words;

    while (n < max && peek_length(&input, '*', &words) && words >= 2 && peek_bulk(&input, &name) &&
           (slice_ieq(name, "GET") || slice_ieq(name, "SET")) && peek_bulk(&input, &keys[n])) {
        n++;
        for (; words > 2 && peek_bulk(&input, &value); words--)
            continue;
        if (words > 2)
            break;
    }
    return n;
}
