/* Replies to values: the client's half of RESP, for cachetasticctl. Speed does not matter here; an
 * incomplete reply is read again from its start. */
#include "proto/resp.h"

#include "common/units.h"

#include <stdlib.h>

/* Deeper replies than any command of ours gives are refused, so that the recursion is bounded. */
#define DEPTH_MAX 16

struct cursor {
    const char *p;
    const char *end;
    int depth;
};

/* The line at the cursor without its CRLF; the cursor moves behind it. */
static enum parse_status take_line(struct cursor *cursor, struct slice *line)
{
    const char *nl = memchr(cursor->p, '\n', (size_t)(cursor->end - cursor->p));

    if (nl == NULL)
        return PARSE_MORE;
    if (nl == cursor->p || nl[-1] != '\r')
        return PARSE_INVALID;
    *line = slice_make(cursor->p, (size_t)(nl - 1 - cursor->p));
    cursor->p = nl + 1;
    return PARSE_OK;
}

static enum parse_status take_bulk(struct cursor *cursor, int64_t len, struct slice *bytes)
{
    size_t left = (size_t)(cursor->end - cursor->p);

    if (left < 2 || left - 2 < (size_t)len)
        return PARSE_MORE;
    if (cursor->p[len] != '\r' || cursor->p[len + 1] != '\n')
        return PARSE_INVALID;
    *bytes = slice_make(cursor->p, (size_t)len);
    cursor->p += len + 2;
    return PARSE_OK;
}

static enum parse_status take_value(struct cursor *cursor, struct resp_value *out);

static enum parse_status take_items(struct cursor *cursor, int64_t count, struct resp_value *out)
{
    size_t cap = 0;

    for (int64_t i = 0; i < count; i++) {
        enum parse_status status;

        if (out->n_items == cap) {
            struct resp_value *items;

            cap = cap == 0 ? 8 : cap * 2;
            items = realloc(out->items, cap * sizeof(*items));
            if (items == NULL)
                return PARSE_TOO_LARGE;
            out->items = items;
        }
        status = take_value(cursor, &out->items[out->n_items]);
        if (status != PARSE_OK)
            return status;
        out->n_items++;
    }
    return PARSE_OK;
}

static enum parse_status take_counted(struct cursor *cursor, char type, int64_t count,
                                      struct resp_value *out)
{
    if (count == -1) {
        out->type = RESP_NULL;
        return PARSE_OK;
    }
    if (count < 0 || count > INT64_MAX / 4)
        return PARSE_INVALID;
    if (type == '$' || type == '!' || type == '=') {
        out->type = type == '!' ? RESP_ERROR : RESP_BULK;
        return take_bulk(cursor, count, &out->str);
    }
    out->type = RESP_ARRAY;
    return take_items(cursor, type == '%' ? count * 2 : count, out);
}

static enum parse_status take_simple(char type, struct slice line, struct resp_value *out)
{
    out->str = line;
    switch (type) {
    case '+':
    case ',':
    case '(':
        out->type = RESP_STATUS;
        return PARSE_OK;
    case '-':
        out->type = RESP_ERROR;
        return PARSE_OK;
    case '_':
        out->type = RESP_NULL;
        return line.len == 0 ? PARSE_OK : PARSE_INVALID;
    case '#':
        out->type = RESP_INTEGER;
        out->integer = slice_eq(line, SLICE_LIT("t"));
        return out->integer || slice_eq(line, SLICE_LIT("f")) ? PARSE_OK : PARSE_INVALID;
    case ':':
        out->type = RESP_INTEGER;
        return units_parse_int(line, &out->integer) == ERR_OK ? PARSE_OK : PARSE_INVALID;
    default:
        return PARSE_INVALID;
    }
}

/* out is freed here on every outcome but PARSE_OK. */
static enum parse_status take_value(struct cursor *cursor, struct resp_value *out)
{
    struct slice line;
    enum parse_status status;
    int64_t count;
    char type;

    *out = (struct resp_value){0};
    if (cursor->p == cursor->end)
        return PARSE_MORE;
    type = *cursor->p++;
    if (strchr("+-:$*_#,(!=%~>", type) == NULL || type == '\0' || cursor->depth == DEPTH_MAX)
        return PARSE_INVALID;
    status = take_line(cursor, &line);
    if (status != PARSE_OK)
        return status;
    if (strchr("$*!=%~>", type) == NULL)
        return take_simple(type, line, out);
    if (units_parse_int(line, &count) != ERR_OK)
        return PARSE_INVALID;
    cursor->depth++;
    status = take_counted(cursor, type, count, out);
    cursor->depth--;
    if (status != PARSE_OK)
        resp_value_fini(out);
    return status;
}

enum parse_status resp_parse_reply(struct slice input, struct resp_value *out, size_t *used)
{
    struct cursor cursor = {input.data, input.data + input.len, 0};
    struct resp_value value;
    enum parse_status status = take_value(&cursor, &value);

    if (status != PARSE_OK)
        return status;
    *out = value;
    *used = (size_t)(cursor.p - input.data);
    return PARSE_OK;
}

void resp_value_fini(struct resp_value *value)
{
    for (size_t i = 0; i < value->n_items; i++)
        resp_value_fini(&value->items[i]);
    free(value->items);
    *value = (struct resp_value){0};
}
