/* Looking into header fields (RFC 9110 section 5): values, lists over several lines, numbers,
 * dates. Pure: no I/O, no allocation. */
#ifndef HTTP_FIELD_H
#define HTTP_FIELD_H

#include "proto/http1.h"

/* The header fields of a message, borrowed. */
struct fields {
    const struct http1_header *list;
    size_t n;
};

/* The first field of that name, or data NULL. */
struct slice field_get(struct fields fields, const char *name);
size_t field_count(struct fields fields, const char *name);

/* Walk the elements of a list-valued field over all its lines (section 5.6.1): split at commas
 * outside quoted strings, without surrounding blanks, empty ones left out. */
struct field_walk {
    struct fields fields;
    const char *name;
    size_t line;       /* the next one to look at */
    struct slice rest; /* of the current line */
};
struct field_walk field_walk(struct fields fields, const char *name);
bool field_next(struct field_walk *walk, struct slice *element);
/* The next element of one line. */
bool field_split(struct slice *rest, struct slice *element);

/* Whether some element of the list is this token, in any case. */
bool field_lists(struct fields fields, const char *name, const char *token);

/* Walk the pairs "name=value" of a request's Cookie lines (RFC 6265 section 4.2.1). */
struct cookie_walk {
    struct fields fields;
    size_t line;
    struct slice rest;
};
struct cookie_walk cookie_walk(struct fields fields);
bool cookie_next(struct cookie_walk *walk, struct slice *name, struct slice *value);

#define FIELD_SECONDS_MAX INT64_C(2147483648) /* RFC 9111 section 1.2.2 */
/* delta-seconds; what is larger is the maximum. False: not a number. */
bool field_seconds(struct slice text, int64_t *seconds);

/* An HTTP date (RFC 9110 section 5.6.7), all three forms, in seconds since 1970. now_s: for the
 * two-digit years of the oldest form. False: not a date. */
bool field_date(struct slice text, int64_t now_s, int64_t *date_s);

#endif
