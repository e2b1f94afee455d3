/* Removing a site's page by its address. */
#ifndef HTTP_PURGE_H
#define HTTP_PURGE_H

#include "cache/cache.h"
#include "http/route.h"

/* Remove the page of this key (route_key()), its variants included. route: the page's, or NULL.
 * soft: only let it be stale from now on, so that it is asked about, and served while no origin
 * answers; a page with variants, or in a cache with Redis behind, is removed all
 * the same. op as for cache_delete(); CACHE_MISS:
 * there was none. */
enum cache_status purge_page(struct cache *cache, const struct config_route *route,
                             struct slice key, bool soft, struct cache_op *op);

#endif
