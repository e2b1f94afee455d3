/* Sizes, times and modes as people write them: "256M", "10s", "0660". */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include "common/err.h"
#include "common/slice.h"

#include <stdint.h>

/* "512", "64K", "256M", "8G", "1T" (powers of 1024; a "B" after is allowed) to bytes.
 * ERR_INVALID on anything else, on overflow of int64, and on an empty string. */
int units_parse_size(const char *text, uint64_t *bytes) MUST_CHECK;
/* "500ms", "10s", "5m", "2h", "1d", and "0"; a bare number other than 0 is ERR_INVALID. To ms. */
int units_parse_time(const char *text, uint64_t *ms) MUST_CHECK;
/* "0660": octal, one leading 0 required, at most 07777. */
int units_parse_mode(const char *text, uint32_t *mode) MUST_CHECK;
/* Decimal int64, the whole slice: optional '-', no '+', no spaces, no leading zeros (as Redis). */
int units_parse_int(struct slice text, int64_t *value) MUST_CHECK;

/* The shortest text that parses back to the same value. out: 32 bytes. */
void units_format_size(uint64_t bytes, char out[32]);
void units_format_time(uint64_t ms, char out[32]);

#endif
