/* Base64 with padding (RFC 4648, section 4): for keys that are not UTF-8 in JSON messages, and for
 * memcached's binary keys. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/err.h"
#include "common/slice.h"

/* Bytes that the encoding of len bytes takes, without a NUL. */
static inline size_t base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* out: base64_encoded_len(bytes.len) bytes. */
void base64_encode(struct slice bytes, char *out);

/* out: at least text.len / 4 * 3 bytes; *len: those used. ERR_INVALID on anything but the one
 * encoding that base64_encode() would have made of the result (length, alphabet, padding, spare
 * bits). */
int base64_decode(struct slice text, char *out, size_t *len) MUST_CHECK;

#endif
