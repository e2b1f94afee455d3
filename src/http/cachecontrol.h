/* Cache-Control and the fields of its family (RFC 9111 section 5.2, RFC 5861, RFC 8246, RFC 9213),
 * parsed. Pure. */
#ifndef HTTP_CACHECONTROL_H
#define HTTP_CACHECONTROL_H

#include "http/field.h"

#define CACHECONTROL_NONE (-1)

struct cachecontrol {
    bool present; /* the field is there at all */
    bool no_store, no_cache, is_private, is_public;
    bool must_revalidate, proxy_revalidate, must_understand, immutable, no_transform;
    bool only_if_cached; /* requests */
    /* Seconds, CACHECONTROL_NONE when not given. One that is no number counts as 0: what is not
     * understood is taken as stale (section 4.2.1). Of several the first counts. */
    int64_t max_age, s_maxage, stale_while_revalidate, stale_if_error;
    int64_t max_stale, min_fresh; /* requests; max-stale without a value is the maximum */
    /* Fields named by no-cache="..." and private="...": data NULL when there is none. The directive
     * itself (no_cache, is_private) is then not set. Borrowed from the message. */
    struct slice no_cache_fields, private_fields;
};

struct cachecontrol cachecontrol_parse(struct fields fields, const char *name);

/* The first of the targeted fields that is there and valid, else Cache-Control (RFC 9213 section
 * 2.2). targeted: set when it was one of those: then Expires does not count either. */
struct cachecontrol cachecontrol_effective(struct fields fields, bool *targeted);

#endif
