/* Patterns as Redis' KEYS and SCAN know them: * ? [abc] [^a-z] and \ to escape; bytes, not
 * characters. Source: the Redis documentation of KEYS. */
#ifndef COMMON_GLOB_H
#define COMMON_GLOB_H

#include "common/err.h"
#include "common/slice.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether the whole of text matches. Runs in O(pattern * text) at worst (no exponential case);
 * no allocation, safe on any bytes. */
bool glob_match(struct slice pattern, struct slice text);

/* As glob_match; adds to *steps one for each byte or range compared, for the bound's test. */
bool glob_match_counted(struct slice pattern, struct slice text, uint64_t *steps);

/* Append text to out with every special byte escaped, so that it matches itself only. */
int glob_escape(struct slice text, struct buf *out) MUST_CHECK;

#endif
