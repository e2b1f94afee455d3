/* The routes of the site, judged once everything is in. */
#include "common/config_parts.h"
#include "common/routerule.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The form of the servers' addresses; what is in them is the origin client's to judge. */
static int check_origins(struct config_work *work, size_t i)
{
    const struct config_route *route = &work->config->routes[i];

    for (size_t k = 0; k < route->n_origins; k++)
        if (strncasecmp(route->origins[k], "http://", 7) != 0 &&
            strncasecmp(route->origins[k], "https://", 8) != 0 &&
            strncmp(route->origins[k], "unix:", 5) != 0)
            return config_fault(work, SCOPE_ROUTES, config_row_find(SCOPE_ROUTES, "origin"), i,
                                "\"%s\": write http://HOST[:PORT], https://HOST[:PORT] or "
                                "unix:PATH",
                                route->origins[k]);
    if (route->tls_ca_file[0] != '\0' && access(route->tls_ca_file, R_OK) != 0)
        return config_fault(work, SCOPE_ROUTES, config_row_find(SCOPE_ROUTES, "tls_ca_file"), i,
                            "%s: %s", route->tls_ca_file, strerror(errno));
    return ERR_OK;
}

/* Fields that the proxy writes by itself, or that say where a message ends. */
static const char *const own_fields[] = {"connection",
                                         "content-length",
                                         "transfer-encoding",
                                         "keep-alive",
                                         "upgrade",
                                         "te",
                                         "trailer",
                                         "via",
                                         "expect",
                                         "host",
                                         "age",
                                         "proxy-connection",
                                         "content-range",
                                         "cache-status"};

static int fault(struct config_work *work, const char *key, size_t element, const char *text)
{
    return config_fault(work, SCOPE_ROUTES, config_row_find(SCOPE_ROUTES, key), element, "%s",
                        text);
}

static int check_sets(struct config_work *work, size_t element, const char *key, char *const *set,
                      size_t n)
{
    const struct config_row *row = config_row_find(SCOPE_ROUTES, key);
    struct slice name, value;

    for (size_t i = 0; i < n; i++) {
        if (!routerule_field(set[i], &name, &value))
            return config_fault(work, SCOPE_ROUTES, row, element,
                                "\"%s\": a header field is written \"Name: value\"", set[i]);
        for (size_t k = 0; k < sizeof(own_fields) / sizeof(own_fields[0]); k++)
            if (slice_ieq(name, own_fields[k]))
                return config_fault(work, SCOPE_ROUTES, row, element,
                                    "%s is written by the proxy itself", own_fields[k]);
    }
    return ERR_OK;
}

static int check_names(struct config_work *work, size_t i)
{
    const struct config_route *route = &work->config->routes[i];

    if (route->tag_header[0] != '\0' && !routerule_is_name(slice_cstr(route->tag_header)))
        return fault(work, "tag_header", i, "is no name of a header field");
    for (size_t k = 0; k < route->n_key_headers; k++)
        if (!routerule_is_name(slice_cstr(route->key_headers[k])))
            return fault(work, "key_headers", i, "has no name of a header field");
    for (size_t k = 0; k < route->n_key_cookies; k++)
        if (!routerule_is_name(slice_cstr(route->key_cookies[k])))
            return fault(work, "key_cookies", i, "has no name of a cookie");
    for (size_t k = 0; k < route->n_methods; k++)
        if (!routerule_is_name(slice_cstr(route->methods[k])))
            return fault(work, "methods", i, "has no name of a method");
    if (strpbrk(route->host_header, " \t\r\n/") != NULL)
        return fault(work, "host_header", i, "is no host name");
    if (route->health_path[0] != '\0' &&
        (route->health_path[0] != '/' || strpbrk(route->health_path, " \t\r\n") != NULL))
        return fault(work, "health_path", i, "is no path: /PATH");
    if (route->upgrade[0] != '\0' && !routerule_is_name(slice_cstr(route->upgrade)))
        return fault(work, "upgrade", i, "is no name of a protocol");
    if (strpbrk(route->answer_type, "\r\n") != NULL)
        return fault(work, "answer_type", i, "is no type");
    return ERR_OK;
}

static int check_rules(struct config_work *work, size_t i)
{
    const struct config_route *route = &work->config->routes[i];
    uint64_t ttl_ms;
    bool fits;
    int rc = check_sets(work, i, "set_request", route->set_request, route->n_set_request);

    if (rc == ERR_OK)
        rc = check_sets(work, i, "set_response", route->set_response, route->n_set_response);
    for (size_t k = 0; k < route->n_status_ttl && rc == ERR_OK; k++)
        if (routerule_status_ttl(route->status_ttl[k], 0, &fits, &ttl_ms) != ERR_OK)
            rc = config_fault(work, SCOPE_ROUTES, config_row_find(SCOPE_ROUTES, "status_ttl"), i,
                              "\"%s\": a rule is written \"404 410: 10s\" or \"5xx: 1s\"",
                              route->status_ttl[k]);
    return rc;
}

int config_check_route(struct config_work *work, size_t i)
{
    const struct config *config = work->config;
    const struct config_route *route = &config->routes[i];
    bool known = false;
    int rc;

    if (route->target == TARGET_ORIGIN && route->n_origins == 0)
        return fault(work, "origin", i, "is missing");
    if (route->target != TARGET_ORIGIN && route->n_origins > 0)
        return fault(work, "origin", i, "has a meaning with target = \"origin\" only");
    if (route->path[0] != '/' && route->path[0] != '*')
        return fault(work, "path", i, "begins with a / or a *");
    for (size_t k = 0; k < config->n_caches; k++)
        known = known || strcmp(config->caches[k].name, route->cache) == 0;
    if (!known)
        return config_fault(work, SCOPE_ROUTES, config_row_find(SCOPE_ROUTES, "cache"), i,
                            "there is no cache \"%s\"", route->cache);
    rc = check_origins(work, i);
    if (rc == ERR_OK)
        rc = check_names(work, i);
    return rc == ERR_OK ? check_rules(work, i) : rc;
}
