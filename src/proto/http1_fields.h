/* The header fields of a message while they come in, in pieces: one copy of their bytes, within
 * limits. For src/proto/http1*.c. */
#ifndef PROTO_HTTP1_FIELDS_H
#define PROTO_HTTP1_FIELDS_H

#include "proto/http1.h"

struct http1_place {
    size_t name, name_len, value, value_len;
};

struct http1_fields {
    struct buf text;            /* what comes before the fields, then names and values */
    struct http1_place *places; /* where each field stands in text */
    struct http1_header *list;  /* after http1_fields_publish() */
    size_t n, cap;
    uint64_t bytes; /* of all header lines so far */
    bool in_name;
};

enum http1_fields_status {
    FIELDS_OK,
    FIELDS_TOO_LARGE, /* over header_bytes */
    FIELDS_TOO_MANY,  /* over header_count */
    FIELDS_NAMELESS,
    FIELDS_NOMEM,
};

/* A piece of a field's name; of its value; the end of its name. */
enum http1_fields_status http1_fields_name(struct http1_fields *fields, const char *at, size_t len,
                                           const struct http1_limits *limits);
enum http1_fields_status http1_fields_value(struct http1_fields *fields, const char *at, size_t len,
                                            const struct http1_limits *limits);
enum http1_fields_status http1_fields_name_end(struct http1_fields *fields);
/* Bytes that count as the head's and are not kept (chunk extensions, trailers). */
enum http1_fields_status http1_fields_count(struct http1_fields *fields, size_t len,
                                            const struct http1_limits *limits);
/* Fill list from places: values without surrounding blanks. ERR_NOMEM. */
int http1_fields_publish(struct http1_fields *fields) MUST_CHECK;
size_t http1_fields_named(const struct http1_fields *fields, const char *name);
/* For the next message: gives back what is more than an ordinary head needs. */
void http1_fields_reset(struct http1_fields *fields);
void http1_fields_fini(struct http1_fields *fields);

#endif
