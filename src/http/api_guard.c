/* Who may use the API (design section 11). A browser on this machine can be made to send requests
 * to local addresses: by a name that resolves to them (checked by Host), or by a page of another
 * origin (checked by Origin and Sec-Fetch-Site). Other users and machines are kept out by the
 * token. */
#include "common/auth.h"
#include "http/api_impl.h"
#include "http/credential.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* host[:port] or [v6]:port without the port and the brackets. */
static struct slice host_name(struct slice host)
{
    const char *colon;

    if (host.len > 0 && host.data[0] == '[') {
        const char *close = memchr(host.data, ']', host.len);

        return close == NULL ? host : slice_make(host.data + 1, (size_t)(close - host.data - 1));
    }
    colon = memchr(host.data, ':', host.len);
    return colon == NULL ? host : slice_make(host.data, (size_t)(colon - host.data));
}

static bool is_address(struct slice name)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];

    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool host_known(const struct config *config, struct slice host)
{
    struct slice name = host_name(host);

    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    if (slice_ieq(name, "localhost") || is_address(name))
        return true;
    for (size_t i = 0; i < config->n_api_hosts; i++)
        if (slice_ieq(name, config->api_hosts[i]))
            return true;
    return false;
}

static struct slice host_of(const struct http1_request *request)
{
    return request->authority.len > 0 ? request->authority : http1_header(request, "host");
}

static bool check_host(struct api_call *call)
{
    struct slice host = host_of(call->request);

    if (host.data == NULL || host_known(call->api->heritage->config, host))
        return true;
    api_send_error(call, 421,
                   "this Host is not known here: use an IP address or localhost, or add "
                   "the name to api_hosts");
    return false;
}

/* Whether an Origin field names the host that the request is for. */
static bool same_origin(struct slice origin, struct slice host)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);

        if (origin.len == len + host.len && strncasecmp(origin.data, schemes[i], len) == 0 &&
            strncasecmp(origin.data + len, host.data, host.len) == 0)
            return true;
    }
    return false;
}

static bool check_origin(struct api_call *call)
{
    const struct http1_request *request = call->request;
    struct slice origin = http1_header(request, "origin");
    struct slice site = http1_header(request, "sec-fetch-site");

    if (request->method == HTTP1_GET || request->method == HTTP1_HEAD ||
        request->method == HTTP1_OPTIONS)
        return true;
    if (site.data != NULL && !slice_ieq(site, "same-origin") && !slice_ieq(site, "none")) {
        api_send_error(call, 403, "writes from pages of another site are refused (Sec-Fetch-Site)");
        return false;
    }
    if (origin.data != NULL && !same_origin(origin, host_of(request))) {
        api_send_error(call, 403, "writes from pages of another origin are refused (Origin)");
        return false;
    }
    return true;
}

static bool check_user(struct api_call *call)
{
    const struct config *config = call->api->heritage->config;
    struct api_exchange *exchange = call->exchange;

    call->all_rights =
        (exchange->admin && exchange->loopback) ||
        (config->api_token != NULL && credential_token(call->request, config->api_token));
    if (call->all_rights)
        return true;
    call->user = credential_user(config, call->request);
    if (call->user == NULL && http1_header(call->request, "authorization").data == NULL)
        call->user = exchange->user;
    if (call->user != NULL)
        return true;
    api_header(call, "WWW-Authenticate: Basic realm=\"cachetastic\"");
    api_send_error(
        call, 401,
        "the API needs a user: Authorization: Basic, or Bearer and the password (users)");
    return false;
}

static bool check_token(struct api_call *call)
{
    const struct config *config = call->api->heritage->config;
    const struct api_exchange *exchange = call->exchange;

    if (auth_required(config))
        return check_user(call);
    call->all_rights = true;
    if (exchange->local || (exchange->admin && exchange->loopback))
        return true;
    if (config->api_token != NULL) {
        if (credential_token(call->request, config->api_token))
            return true;
        api_header(call, "WWW-Authenticate: Bearer");
        api_send_error(call, 401,
                       "the API needs its token: Authorization: Bearer ... "
                       "(api_token_file)");
        return false;
    }
    if (config->api_open && exchange->loopback)
        return true;
    api_send_error(call, 403,
                   "the API over TCP needs a token: set api_token_file, or use the unix "
                   "socket");
    return false;
}

/* A probe knows no names and no secrets, and learns nothing but whether we are well. */
static bool is_probe(const struct http1_request *request)
{
    return slice_eq(request->path, SLICE_LIT("/healthz")) ||
           slice_eq(request->path, SLICE_LIT("/readyz"));
}

bool api_guard_check(struct api_call *call)
{
    if (is_probe(call->request))
        return true;
    if (!call->exchange->local && !check_host(call))
        return false;
    return check_origin(call) && check_token(call);
}

bool api_guard_may(struct api_call *call, struct cache *cache, unsigned rights)
{
    const struct config *config = call->api->heritage->config;

    if (call->all_rights || auth_may(config, call->user, cache_config(cache), rights))
        return true;
    api_send_error(call, 403, "the user %s has no right to %s on the cache %s (users.rights)",
                   call->user->name, auth_missing(call->user, config, cache_config(cache), rights),
                   cache_config(cache)->name);
    return false;
}
