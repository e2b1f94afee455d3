/* What a proxy does to messages on their way (RFC 9110 section 7.6): fields that are for the next
 * hop alone, Via, Forwarded and its older relatives. Pure. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include "common/buf.h"
#include "http/field.h"

#define MESSAGE_NAME "cachetastic" /* in Via and Cache-Status */

/* Whether a field ends here: hop-by-hop by its name, or because Connection lists it. */
bool message_is_hop(struct fields fields, struct slice name);

/* Append "Name: value\r\n". */
int message_line(struct buf *out, struct slice name, struct slice value) MUST_CHECK;

/* Whether text is a host with an optional port, as Host has it: letters, digits, dots, dashes,
 * underscores, brackets and colons of an IPv6 literal. */
bool message_host_valid(struct slice text);

/* What makes the address of a page. */
struct message_page {
    bool https; /* how the client came, as far as is known */
    struct slice host, path;
    struct slice query; /* data NULL where the target has no '?' */
};

/* Take "http://HOST/PATH?QUERY", or https, apart. False: it is no such address. */
bool message_page_of(struct slice url, struct message_page *page);

/* Which query parameters make a page another one. Globs for their names. */
struct message_query {
    char *const *keep; /* these alone; none: all */
    size_t n_keep;
    char *const *ignore; /* and not these */
    size_t n_ignore;
    bool sort; /* in whatever order they stand */
};

/* The key of a page: its address, the host in lower case and without the scheme's own port. Source:
 * RFC 9110 section 4.2.3 for the host; the path is taken as it is, so that key and origin never
 * differ. */
int message_key(const struct message_page *page, const struct message_query *how,
                struct buf *key) MUST_CHECK;

/* Whether a parameter of the query has a name that one of the globs matches. */
bool message_has_parameter(struct slice query, char *const *globs, size_t n);

#endif
