#include "common/logformat.h"

static const char *const names[] = {
    [LOGFORMAT_TIME] = "time",
    [LOGFORMAT_PEER] = "peer",
    [LOGFORMAT_METHOD] = "method",
    [LOGFORMAT_TARGET] = "target",
    [LOGFORMAT_PROTOCOL] = "protocol",
    [LOGFORMAT_HOST] = "host",
    [LOGFORMAT_STATUS] = "status",
    [LOGFORMAT_BYTES] = "bytes",
    [LOGFORMAT_MS] = "ms",
    [LOGFORMAT_CACHE] = "cache",
    [LOGFORMAT_ORIGIN] = "origin",
    [LOGFORMAT_ORIGIN_MS] = "origin_ms",
    [LOGFORMAT_REFERER] = "referer",
    [LOGFORMAT_AGENT] = "agent",
};

enum logformat_field logformat_next(const char **format, struct slice *text)
{
    const char *start = *format;
    size_t len;

    if (*start != '$') {
        len = strcspn(start, "$");
        *text = slice_make(start, len);
        *format += len;
        return LOGFORMAT_TEXT;
    }
    len = strspn(start + 1, "abcdefghijklmnopqrstuvwxyz_");
    *text = slice_make(start, len + 1);
    *format += len + 1;
    for (enum logformat_field f = LOGFORMAT_TIME; f < LOGFORMAT_UNKNOWN; f++)
        if (slice_eq(slice_make(start + 1, len), slice_cstr(names[f])))
            return f;
    return LOGFORMAT_UNKNOWN;
}

bool logformat_valid(const char *format, struct slice *bad)
{
    while (*format != '\0')
        if (logformat_next(&format, bad) == LOGFORMAT_UNKNOWN)
            return false;
    return true;
}
