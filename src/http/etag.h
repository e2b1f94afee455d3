/* Entity tags of values (RFC 9110 section 8.8.3): a hash of the bytes, so that every node gives the
 * same tag for the same value and nothing has to be stored. Not for security. */
#ifndef HTTP_ETAG_H
#define HTTP_ETAG_H

#include "common/slice.h"

#include <stdbool.h>

#define ETAG_LEN 18 /* 16 hexadecimal digits in quotes */

/* Larger values get no tag: hashing takes about a nanosecond a byte, and the loop must go on. */
#define ETAG_VALUE_MAX (1u << 20)

/* out: the quoted tag, NUL-terminated; "" when the value is too large for one. Source: FNV-1a, 64
 * bit (Fowler, Noll, Vo). */
void etag_of(struct slice value, char out[ETAG_LEN + 1]);

/* Whether an If-None-Match field names this tag, or is "*". Weak comparison (RFC 9110
 * section 13.1.2). */
bool etag_listed(struct slice field, const char *etag);

#endif
