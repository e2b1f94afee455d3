/* The small texts in which a route of the site says its rules: header fields to set or to drop, and
 * how long a status is fresh. Pure; the configuration is checked by the same functions that the
 * proxy uses. */
#ifndef COMMON_ROUTERULE_H
#define COMMON_ROUTERULE_H

#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Header fields that one direction of a route sets and drops. Borrowed from the configuration. */
struct routerule_fields {
    char *const *set; /* "Name: value" */
    size_t n_set;
    char *const *remove; /* globs for names, in any case */
    size_t n_remove;
};

/* Take "Name: value" apart; slices of text. False: it is no header field. */
bool routerule_field(const char *text, struct slice *name, struct slice *value);

/* Whether a header field's name is a token (RFC 9110 section 5.1). */
bool routerule_is_name(struct slice name);

/* Whether one of the globs matches the name in any case. Names of more than 256 bytes never do. */
bool routerule_names(char *const *globs, size_t n, struct slice name);

/* Whether a message's own field of that name is not to go on: dropped, or replaced. */
bool routerule_drops(const struct routerule_fields *rules, struct slice name);

/* Whether one of the fields set has that name. */
bool routerule_sets(const struct routerule_fields *rules, const char *name);

/* "404 410: 10s", "5xx: 1s". ERR_INVALID: it is no such rule. *fits: whether it is for the status;
 * *ttl_ms: filled then. */
int routerule_status_ttl(const char *text, int status, bool *fits, uint64_t *ttl_ms) MUST_CHECK;

#endif
