/* Conditional and range requests answered from what is stored (RFC 9110 sections 13 and 14). Pure.
 */
#ifndef HTTP_CONDITIONAL_H
#define HTTP_CONDITIONAL_H

#include "http/field.h"

/* What is known of a stored response. */
struct validators {
    struct slice etag;  /* as sent, with its W/; len 0 = none */
    int64_t modified_s; /* Last-Modified; -1 = none */
    int64_t date_s;
    int64_t now_s;
};

/* Whether If-None-Match or, without it, If-Modified-Since make the answer a 304. */
bool conditional_not_modified(struct fields request, const struct validators *stored);

/* Entity tags are the same: weakly, or only if both are strong. */
bool conditional_etags_equal(struct slice a, struct slice b, bool strong);

enum range_result {
    RANGE_NONE,    /* no Range, several, one not understood, or If-Range failed: send the whole */
    RANGE_PART,    /* send first..last */
    RANGE_OUTSIDE, /* 416 */
};

/* What of a representation of `size` bytes the request asks for. */
enum range_result conditional_range(struct fields request, const struct validators *stored,
                                    uint64_t size, uint64_t *first, uint64_t *last);

/* Whether the request asks for one range, whatever If-Range says; of how large a page is not known.
 */
bool conditional_one_range(struct fields request);

/* "bytes FIRST-LAST/SIZE" of a 206. False: not understood, or the size is not known. */
bool conditional_content_range(struct slice value, uint64_t *first, uint64_t *last, uint64_t *size);

#endif
