/* SETRANGE, GETRANGE, SUBSTR, INCRBYFLOAT: parts of a value, and numbers with a fraction. */
#include "worker/command.h"

#include "common/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NOT_INTEGER "ERR value is not an integer or out of range"

/* ---- GETRANGE ---- */

/* The bytes that start and end (negative: from the end) name in a value, as Redis counts. */
static struct slice cut(struct slice value, int64_t start, int64_t end)
{
    int64_t len = (int64_t)value.len;

    if (start < 0 && end < 0 && start > end)
        return slice_make(value.data, 0);
    start = start < 0 ? (start + len < 0 ? 0 : start + len) : start;
    end = end < 0 ? (end + len < 0 ? 0 : end + len) : end;
    end = end >= len ? len - 1 : end;
    if (len == 0 || start > end)
        return slice_make(value.data, 0);
    return slice_make(value.data + start, (size_t)(end - start + 1));
}

/* The bulk string of the whole value is in the reply: what is wanted of it moves to its front. Its
 * length line is never longer than the whole's. */
static void answer_range(struct outcome *outcome)
{
    size_t len = outcome->placed ? outcome->info->value_len : 0;
    char *bulk, header[32];
    struct slice part;
    size_t n;

    if (is_failure(outcome->status)) {
        reply_failure(outcome);
        return;
    }
    if (!outcome->placed) {
        reply_bulk(outcome->out, SLICE_LIT(""));
        return;
    }
    bulk = buf_head(outcome->out) + outcome->mark;
    part = cut(slice_make(buf_head(outcome->out) + buf_len(outcome->out) - 2 - len, len),
               outcome->args[0], outcome->args[1]);
    n = (size_t)snprintf(header, sizeof(header), "$%zu\r\n", part.len);
    memmove(bulk + n, part.data, part.len);
    memcpy(bulk, header, n);
    memcpy(bulk + n + part.len, "\r\n", 2);
    buf_truncate(outcome->out, outcome->mark + n + part.len + 2);
}

void cmd_getrange(struct call *call)
{
    struct step step = {.kind = STEP_GET, .key = call->argv[1]};

    if (units_parse_int(call->argv[2], &step.args[0]) != ERR_OK ||
        units_parse_int(call->argv[3], &step.args[1]) != ERR_OK)
        reply_error(call->out, NOT_INTEGER);
    else
        operate(call, &step, answer_range);
}

/* ---- SETRANGE ---- */

/* The value with patch at offset, zero bytes before it where it was shorter. */
static bool patch_value(struct buf *value, size_t offset, struct slice patch)
{
    size_t len = buf_len(value);
    size_t end = offset + patch.len;

    if (end > len) {
        char *more = buf_reserve(value, end - len);

        if (more == NULL)
            return false;
        memset(more, 0, end - len);
        buf_commit(value, end - len);
    }
    memcpy(buf_head(value) + offset, patch.data, patch.len);
    return true;
}

static void setrange_body(struct call *call)
{
    struct slice patch = call->argv[3];
    struct loaded loaded;
    int64_t offset = 0;

    (void)!units_parse_int(call->argv[2], &offset);
    if (!load_entry(call, call->argv[1], &loaded)) {
        loaded_fini(&loaded);
        return;
    }
    if (patch.len == 0)
        reply_integer(call->out, (int64_t)buf_len(&loaded.value));
    else if (!patch_value(&loaded.value, (size_t)offset, patch))
        reply_error(call->out, "ERR out of memory");
    else if (store_entry(call, call->argv[1], buf_slice(&loaded.value),
                         loaded.present ? &loaded.info : NULL))
        reply_integer(call->out, (int64_t)buf_len(&loaded.value));
    loaded_fini(&loaded);
}

void cmd_setrange(struct call *call)
{
    uint64_t max = call->session->limits.bulk_bytes;
    int64_t offset;

    if (units_parse_int(call->argv[2], &offset) != ERR_OK)
        reply_error(call->out, NOT_INTEGER);
    else if (offset < 0)
        reply_error(call->out, "ERR offset is out of range");
    else if ((uint64_t)offset > max || call->argv[3].len > max - (uint64_t)offset)
        reply_error(call->out, "ERR string exceeds maximum allowed size (limits.value)");
    else
        atomically(call, setrange_body);
}

/* ---- INCRBYFLOAT ---- */

#define FLOAT_TEXT_MAX 256

static bool parse_float(struct slice text, long double *value)
{
    char copy[FLOAT_TEXT_MAX];
    char *end;

    if (text.len == 0 || text.len >= sizeof(copy) || text.data[0] == ' ')
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *value = strtold(copy, &end);
    return end == copy + text.len && !isnan(*value) &&
           !(errno == ERANGE && (isinf(*value) || *value == 0));
}

/* 17 digits after the point at most, none that says nothing: as Redis prints it. */
static size_t print_float(long double value, char *out, size_t cap)
{
    size_t len = (size_t)snprintf(out, cap, "%.17Lf", value);

    if (len >= cap)
        return 0;
    while (len > 0 && out[len - 1] == '0')
        len--;
    if (len > 0 && out[len - 1] == '.')
        len--;
    if (len == 2 && out[0] == '-' && out[1] == '0')
        len = (size_t)snprintf(out, cap, "0");
    return len;
}

static void add_float(struct call *call, const struct loaded *loaded)
{
    char text[5200]; /* the longest long double in this form */
    long double value = 0, delta = 0;
    size_t len;

    (void)parse_float(call->argv[2], &delta);
    if (loaded->present && !parse_float(buf_slice(&loaded->value), &value)) {
        reply_error(call->out, "ERR value is not a valid float");
        return;
    }
    value += delta;
    if (isnan(value) || isinf(value)) {
        reply_error(call->out, "ERR increment would produce NaN or Infinity");
        return;
    }
    len = print_float(value, text, sizeof(text));
    if (len == 0)
        reply_error(call->out, "ERR increment would produce NaN or Infinity");
    else if (store_entry(call, call->argv[1], slice_make(text, len),
                         loaded->present ? &loaded->info : NULL))
        reply_bulk(call->out, slice_make(text, len));
}

static void incrbyfloat_body(struct call *call)
{
    struct loaded loaded;

    if (load_entry(call, call->argv[1], &loaded))
        add_float(call, &loaded);
    loaded_fini(&loaded);
}

void cmd_incrbyfloat(struct call *call)
{
    long double delta;

    if (!parse_float(call->argv[2], &delta))
        reply_error(call->out, "ERR value is not a valid float");
    else
        atomically(call, incrbyfloat_body);
}
