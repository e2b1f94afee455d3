/* SHA-1, as Redis names scripts by. Not for secrets. */
#ifndef COMMON_SHA1_H
#define COMMON_SHA1_H

#include "common/err.h"
#include "common/slice.h"

#define SHA1_TEXT_LEN 40

/* The digest in lower-case hex digits, NUL-terminated. ERR_SYSTEM where the library has no SHA-1.
 */
int sha1_text(struct slice data, char out[SHA1_TEXT_LEN + 1]) MUST_CHECK;

#endif
