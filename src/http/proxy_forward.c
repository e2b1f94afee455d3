/* The request that the origin gets (RFC 9110 section 7.6). */
#include "http/proxy_impl.h"
#include "http/trust.h"

#include <stdlib.h>

/* Fields that this side writes itself. */
static bool is_rewritten(struct slice name)
{
    static const char *const names[] = {"host",
                                        "expect",
                                        "content-length",
                                        "x-forwarded-for",
                                        "x-forwarded-proto",
                                        "x-forwarded-host",
                                        "forwarded",
                                        "x-real-ip"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_ieq(name, names[i]))
            return true;
    return false;
}

/* What would make the answer one for this client alone. */
static bool is_conditional(struct slice name)
{
    return slice_ieq(name, "if-none-match") || slice_ieq(name, "if-modified-since") ||
           slice_ieq(name, "if-range") || slice_ieq(name, "range");
}

static int add_line(struct buf *out, const char *name, struct slice value)
{
    return message_line(out, slice_cstr(name), value);
}

static int add_set(struct flight *flight)
{
    const struct routerule_fields *rules = &flight->route->request;
    struct slice name, value;
    int status = ERR_OK;

    for (size_t i = 0; i < rules->n_set && status == ERR_OK; i++)
        if (routerule_field(rules->set[i], &name, &value))
            status = message_line(&flight->request, name, value);
    return status;
}

static int add_fields(struct flight *flight, const struct proxy_exchange *exchange)
{
    bool whole = flight->cacheable && flight->get && strcmp(flight->forward, "bypass") != 0;
    int status = ERR_OK;

    for (size_t i = 0; i < exchange->fields.n && status == ERR_OK; i++) {
        const struct http1_header *header = &exchange->fields.list[i];

        if (is_rewritten(header->name) || message_is_hop(exchange->fields, header->name) ||
            routerule_drops(&flight->route->request, header->name) ||
            (whole && is_conditional(header->name)))
            continue;
        status = message_line(&flight->request, header->name, header->value);
    }
    return status == ERR_OK ? add_set(flight) : status;
}

/* The chain of addresses that a trusted proxy told of grows by its own. */
static int add_forwarded_for(struct flight *flight, const struct proxy_exchange *exchange)
{
    struct slice address = trust_address(exchange->peer);
    struct field_walk walk = field_walk(exchange->fields, "X-Forwarded-For");
    struct buf chain = {0};
    struct slice element;
    int status = ERR_OK;

    while (exchange->trusted && status == ERR_OK && field_next(&walk, &element)) {
        status = buf_append(&chain, element.data, element.len);
        if (status == ERR_OK)
            status = buf_append(&chain, ", ", 2);
    }
    if (status == ERR_OK)
        status = buf_append(&chain, address.data, address.len);
    if (status == ERR_OK)
        status = add_line(&flight->request, "X-Forwarded-For", buf_slice(&chain));
    buf_fini(&chain);
    return status;
}

static int add_forwarded(struct flight *flight, const struct proxy_exchange *exchange,
                         struct slice host)
{
    struct slice told = field_get(exchange->fields, "X-Forwarded-Host");
    struct buf *out = &flight->request;
    int status = add_line(out, "Via", SLICE_LIT("1.1 " MESSAGE_NAME));

    if (status == ERR_OK)
        status = add_forwarded_for(flight, exchange);
    if (status == ERR_OK)
        status = add_line(out, "X-Forwarded-Proto",
                          exchange->https ? SLICE_LIT("https") : SLICE_LIT("http"));
    if (exchange->trusted && told.len > 0)
        host = told;
    return status == ERR_OK ? add_line(out, "X-Forwarded-Host", host) : status;
}

/* Ask whether what is stored still holds (RFC 9111 section 4.3.1). */
static int add_validators(struct flight *flight)
{
    struct http1_header list[PROXY_FIELDS_MAX];
    struct object object;
    struct fields fields = {.list = list};
    struct slice etag, modified;
    int status = ERR_OK;

    if (!flight->validating || !object_parse(buf_slice(&flight->stale), &object))
        return ERR_OK;
    fields.n = object_fields(object.lines, list, PROXY_FIELDS_MAX);
    etag = field_get(fields, "ETag");
    modified = field_get(fields, "Last-Modified");
    if (etag.len > 0)
        status = add_line(&flight->request, "If-None-Match", etag);
    if (modified.len > 0 && status == ERR_OK)
        status = add_line(&flight->request, "If-Modified-Since", modified);
    return status;
}

static int add_framing(struct flight *flight, const struct http1_request *request)
{
    struct slice length = http1_header(request, "content-length");

    flight->upload = request->has_body;
    flight->upload_chunked = request->has_body && length.data == NULL;
    if (flight->upload_chunked)
        return add_line(&flight->request, "Transfer-Encoding", SLICE_LIT("chunked"));
    return length.data != NULL && (flight->upload || (!flight->get && !flight->head_request))
               ? add_line(&flight->request, "Content-Length", length)
               : ERR_OK;
}

/* Both are for the next hop alone, and so are written anew. */
static int add_upgrade(struct flight *flight, const struct proxy_exchange *exchange)
{
    int status;

    if (exchange->upgrade == NULL)
        return ERR_OK;
    status = add_line(&flight->request, "Connection", SLICE_LIT("Upgrade"));
    return status == ERR_OK ? add_line(&flight->request, "Upgrade", slice_cstr(exchange->upgrade))
                            : status;
}

static int add_request_line(struct flight *flight, const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    bool marked = memchr(request->target.data, '?', request->target.len) != NULL;
    struct buf *out = &flight->request;
    int status;

    status = buf_append(out, request->method_name.data, request->method_name.len);
    if (status == ERR_OK)
        status = buf_append(out, " ", 1);
    if (status == ERR_OK)
        status = buf_append(out, request->path.data, request->path.len);
    if (status == ERR_OK && marked)
        status = buf_append(out, "?", 1);
    if (status == ERR_OK)
        status = buf_append(out, request->query.data, request->query.len);
    return status == ERR_OK ? buf_append(out, " HTTP/1.1\r\n", 11) : status;
}

/* The client's own fields, for what depends on them after it may be gone. */
static int copy_fields(struct flight *flight, const struct proxy_exchange *exchange)
{
    int status = ERR_OK;

    for (size_t i = 0; i < exchange->fields.n && status == ERR_OK; i++)
        status = message_line(&flight->client, exchange->fields.list[i].name,
                              exchange->fields.list[i].value);
    if (status == ERR_OK)
        status = buf_append(&flight->client, "\r\n", 2);
    flight->client_list = calloc(exchange->fields.n + 1, sizeof(*flight->client_list));
    if (flight->client_list == NULL || status != ERR_OK)
        return ERR_NOMEM;
    flight->n_client =
        object_fields(buf_slice(&flight->client), flight->client_list, exchange->fields.n);
    return ERR_OK;
}

int forward_compose(struct flight *flight, const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    struct slice fixed = slice_cstr(flight->route->config->host_header);
    struct slice host =
        request->authority.len > 0 ? request->authority : http1_header(request, "host");
    int status = copy_fields(flight, exchange);

    if (status == ERR_OK)
        status = add_request_line(flight, exchange);
    if (status == ERR_OK)
        status = add_line(&flight->request, "Host", fixed.len > 0 ? fixed : host);
    if (status == ERR_OK)
        status = add_fields(flight, exchange);
    if (status == ERR_OK)
        status = add_forwarded(flight, exchange, host);
    if (status == ERR_OK)
        status = add_validators(flight);
    if (status == ERR_OK)
        status = add_framing(flight, request);
    if (status == ERR_OK)
        status = add_upgrade(flight, exchange);
    if (status == ERR_OK)
        status = part_compose(flight);
    return status == ERR_OK ? buf_append(&flight->request, "\r\n", 2) : status;
}
