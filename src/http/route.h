/* Which route a request takes, and the key its page has there. Pure. */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include "common/buf.h"
#include "common/config.h"
#include "common/slice.h"
#include "http/message.h"

/* The number of the first route for this host (with its port, if any) and path; config->n_routes:
 * none. */
size_t route_find(const struct config *config, struct slice host, struct slice path);

/* The key of a page on a route, up to what its key_headers add. */
int route_key(const struct config_route *route, const struct message_page *page,
              struct buf *key) MUST_CHECK;

/* The same for "http://HOST/PATH?QUERY", or https. cache: only its routes count; a page of none of
 * them has the key that the defaults give it. *route: its route, or NULL. ERR_INVALID: no such
 * address. */
int route_url_key(const struct config *config, const char *cache, struct slice url, struct buf *key,
                  const struct config_route **route) MUST_CHECK;

#endif
