#include "http/route.h"

#include "common/addr.h"
#include "common/glob.h"

static bool host_fits(const struct config_route *route, struct slice host)
{
    char name[ADDR_HOST_MAX];
    size_t len = 0;

    if (route->host[0] == '\0')
        return true;
    for (; len < host.len && len < sizeof(name); len++) {
        char c = host.data[len];

        if (c == ':' && (host.data[0] != '[' || memchr(name, ']', len) != NULL))
            break;
        name[len] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return glob_match(slice_cstr(route->host), slice_make(name, len));
}

static bool path_fits(const struct config_route *route, struct slice path)
{
    struct slice pattern = slice_cstr(route->path);

    if (slice_eq(path, SLICE_LIT("*"))) /* OPTIONS: the server as a whole */
        path = SLICE_LIT("/");
    return strpbrk(route->path, "*?") != NULL ? glob_match(pattern, path)
                                              : slice_starts(path, pattern);
}

size_t route_find(const struct config *config, struct slice host, struct slice path)
{
    size_t i = 0;

    while (i < config->n_routes &&
           !(host_fits(&config->routes[i], host) && path_fits(&config->routes[i], path)))
        i++;
    return i;
}

int route_key(const struct config_route *route, const struct message_page *page, struct buf *key)
{
    struct message_query how = {.keep = route->key_query,
                                .n_keep = route->n_key_query,
                                .ignore = route->ignore_query,
                                .n_ignore = route->n_ignore_query,
                                .sort = route->sort_query};

    return message_key(page, &how, key);
}

int route_url_key(const struct config *config, const char *cache, struct slice url, struct buf *key,
                  const struct config_route **route)
{
    static const struct message_query as_it_is = {0};
    struct message_page page;
    size_t i;

    *route = NULL;
    if (!message_page_of(url, &page))
        return ERR_INVALID;
    i = route_find(config, page.host, page.path);
    if (i == config->n_routes || strcmp(config->routes[i].cache, cache) != 0)
        return message_key(&page, &as_it_is, key);
    *route = &config->routes[i];
    return route_key(*route, &page, key);
}
