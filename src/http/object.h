/* A stored response: one value of a cache (metadata, header lines, body), or a note about a page
 * that is none. The bytes stay on this machine: numbers are in its byte order. Pure.
 *
 *   struct object_head | reason phrase | tags | "Name: value\r\n" ... "\r\n" | body
 *
 * The head's own length, and what a reply puts in its place, are why the lines stand in front of
 * the body as they go out: a hit is copied once. */
#ifndef HTTP_OBJECT_H
#define HTTP_OBJECT_H

#include "common/buf.h"
#include "http/field.h"

#include <stdint.h>

enum object_kind {
    OBJECT_PAGE,
    OBJECT_VARIES, /* the page has variants: lines has the selecting fields' names */
    OBJECT_PASS,   /* the page cannot be cached: do not wait for each other */
    OBJECT_PART,   /* of a page: what a 206 brought */
};

#define OBJECT_ALWAYS_VALIDATE 1u /* no-cache */
#define OBJECT_NEVER_STALE     2u /* must-revalidate and the like */

struct object_head {
    uint32_t magic;
    uint16_t kind, status;
    uint32_t flags;
    uint32_t reason_len, lines_len;
    uint32_t etag_at, etag_len; /* the ETag's value, in lines */
    uint32_t tags_len;
    uint64_t body_len;
    uint64_t generation; /* VARIES: of its variants' keys */
    int64_t stored_ms;   /* wall time of arrival */
    int64_t age_s;       /* then */
    int64_t lifetime_s;
    int64_t while_revalidate_s, if_error_s;
    int64_t date_s, modified_s;
    uint64_t first, size; /* PART: where the body begins in the page, and the page's length */
};

/* A stored response as a reader sees it; slices into its bytes. */
struct object {
    struct object_head head;
    struct slice reason, tags, lines, body;
};

/* False: these bytes are no object (a value that others stored under that key). */
bool object_parse(struct slice value, struct object *object);
/* The same of an object of which only the beginning lies together: everything but the body must be
 * in it. object->body begins there, and only as many bytes as piece has may be looked at. */
bool object_parse_head(struct slice piece, size_t len, struct object *object);

/* Begin an object in out: head, reason, tags (words between blanks) and lines (with the empty
 * line); the body is appended by the caller, who then calls object_finish(). */
int object_begin(struct buf *out, const struct object_head *head, struct slice reason,
                 struct slice tags, struct slice lines) MUST_CHECK;
/* The body is complete: write its length into the head. start: where the object begins. */
void object_finish(char *start, uint64_t body_len);

/* Seconds since the origin made it (RFC 9111 section 4.2.3). */
int64_t object_age_s(const struct object_head *head, int64_t now_ms);
/* Seconds for which it is fresh; negative: stale for so long. */
int64_t object_ttl_s(const struct object_head *head, int64_t now_ms);

struct slice object_etag(const struct object *object);

/* Lines as header fields. Returns how many; at most max, further ones are left out. */
size_t object_fields(struct slice lines, struct http1_header *list, size_t max);

#endif
