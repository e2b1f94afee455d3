/* The header before a value in Redis when plain bytes cannot carry what must be kept. A value
 * without the magic is plain and is read as it is; the value comes last and runs to the end (so
 * APPEND works).
 *
 *   magic "\x93CTE" | version u8 = 1 | flags u8 | header_len u16 | fields... | value
 *   field: type u8 | len u16 | bytes        (little-endian; unknown types are skipped)
 * header_len counts from the magic: it is the offset of the value. No flag is defined yet; a reader
 * that does not know the version or a flag cannot read the value. A plain value that itself begins
 * with the magic is wrapped, so that it cannot mislead. */
#ifndef REDIS_ENVELOPE_H
#define REDIS_ENVELOPE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define ENVELOPE_TAG_VALUE 16 /* bytes */
#define ENVELOPE_TAGS_MAX  64

/* A tag and the value that it had in Redis when this was stored. */
struct envelope_tag {
    struct slice name;
    struct slice value; /* ENVELOPE_TAG_VALUE bytes */
};

struct envelope {
    struct slice content_type; /* "" = none */
    uint32_t client_flags;     /* memcached's; 0 = none */
    uint64_t created_wall_ms;  /* 0 = unknown */
    uint32_t mark;             /* not 0: a client said that it is stale; each mark another number */
    struct slice value;
    unsigned n_tags;
    const struct envelope_tag *tags; /* to encode; envelope_next_tag() decodes */
    struct slice fields;             /* decoded: where they stand */
};

/* Whether storing this needs an envelope at all. The time of creation alone does not: it goes along
 * when there is one. */
bool envelope_needed(const struct envelope *envelope);
/* Append header and value to out (just the value when no envelope is needed).
 * ERR_LIMIT when the header would be over 65535 bytes, ERR_NOMEM. */
int envelope_encode(const struct envelope *envelope, struct buf *out) MUST_CHECK;
/* Split stored bytes; slices point into them. A corrupt envelope is ERR_INVALID: treat as a miss.
 */
int envelope_decode(struct slice stored, struct envelope *out) MUST_CHECK;
/* The next tag of a decoded envelope; *at: 0 for the first. False after the last. */
bool envelope_next_tag(const struct envelope *envelope, size_t *at, struct envelope_tag *out);

#endif
