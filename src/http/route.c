#include "http/route.h"

#include "common/addr.h"
#include "common/glob.h"
#include "http/message.h"

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

int route_key(const struct config_route *route, struct slice host, struct slice path,
              struct slice query, struct buf *key)
{
    return message_key(host, path, query, route->ignore_query, route->n_ignore_query,
                       route->sort_query, key);
}

int route_url_key(const struct config *config, const char *cache, struct slice url, struct buf *key,
                  const struct config_route **route)
{
    struct slice host, path, query = {0};
    const char *slash, *mark;
    size_t i;

    *route = NULL;
    if (url.len < 8 || strncasecmp(url.data, "http://", 7) != 0)
        return ERR_INVALID;
    url = slice_make(url.data + 7, url.len - 7);
    slash = memchr(url.data, '/', url.len);
    if (slash == NULL)
        return ERR_INVALID;
    host = slice_make(url.data, (size_t)(slash - url.data));
    path = slice_make(slash, url.len - host.len);
    mark = memchr(path.data, '?', path.len);
    if (mark != NULL) {
        query = slice_make(mark + 1, path.len - (size_t)(mark - path.data) - 1);
        path.len = (size_t)(mark - path.data);
    }
    if (!message_host_valid(host))
        return ERR_INVALID;
    i = route_find(config, host, path);
    if (i == config->n_routes || strcmp(config->routes[i].cache, cache) != 0)
        return message_key(host, path, query, NULL, 0, false, key);
    *route = &config->routes[i];
    return route_key(*route, host, path, query, key);
}
