/* The format of the access log: text with $names in it. Pure. */
#ifndef COMMON_LOGFORMAT_H
#define COMMON_LOGFORMAT_H

#include "common/slice.h"

enum logformat_field {
    LOGFORMAT_TEXT, /* of the format itself */
    LOGFORMAT_TIME,
    LOGFORMAT_PEER,
    LOGFORMAT_METHOD,
    LOGFORMAT_TARGET,
    LOGFORMAT_PROTOCOL,
    LOGFORMAT_HOST,
    LOGFORMAT_STATUS,
    LOGFORMAT_BYTES,
    LOGFORMAT_MS,
    LOGFORMAT_CACHE,
    LOGFORMAT_ORIGIN,
    LOGFORMAT_ORIGIN_MS,
    LOGFORMAT_REFERER,
    LOGFORMAT_AGENT,
    LOGFORMAT_UNKNOWN,
};

/* The next part of a format, taken off it: text, or a field. text: its bytes, of a field with the
 * '$'. Not for an empty format. */
enum logformat_field logformat_next(const char **format, struct slice *text);

/* Whether every name is known; *bad: the first that is not. */
bool logformat_valid(const char *format, struct slice *bad);

#endif
