/* Vary (RFC 9111 section 4.1): which request fields select a variant, and what they say. Pure.
 *
 * The variants of a page lie under keys of their own: the page's key, the generation that its
 * marker names, and the selecting fields' values in full, so that two requests share one only if
 * they are the same. Without the marker none of them is reached: removing it removes them all. */
#ifndef HTTP_VARY_H
#define HTTP_VARY_H

#include "common/buf.h"
#include "http/field.h"

enum vary_kind { VARY_NONE, VARY_FIELDS, VARY_STAR };

/* The names in a response's Vary, in lower case, sorted, each once, joined by commas. */
enum vary_kind vary_names(struct fields response, struct buf *names, int *status);

/* Append "\n", the generation and each selecting field's value: surrounding blanks removed, lines
 * joined; of Accept, Accept-Language and Accept-Encoding also case and order. */
int vary_key(struct slice names, uint64_t generation, struct fields request,
             struct buf *key) MUST_CHECK;

#endif
