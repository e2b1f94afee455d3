/* Parts of pages (RFC 9110 section 14, RFC 9111 sections 3.3 and 3.4): a 206 is stored as such,
 * with its place in the page; two of them with the same strong validator that touch become one, and
 * the page itself once nothing is missing. */
#include "http/proxy_impl.h"

#include <stdio.h>

static bool parse_part(struct slice value, struct object *object)
{
    return object_parse(value, object) && object->head.kind == OBJECT_PART;
}

static uint64_t end_of(const struct object *part)
{
    return part->head.first + part->body.len;
}

static bool is_strong(struct slice etag)
{
    return etag.len > 2 && etag.data[0] == '"';
}

/* What a part lacks can be asked for in one range: its beginning or its end. */
static bool can_be_completed(const struct flight *flight, const struct object *part)
{
    return is_strong(object_etag(part)) && part->head.size <= flight->route->object_max &&
           (part->head.first == 0 || end_of(part) == part->head.size);
}

void part_begin(struct flight *flight, const struct proxy_exchange *exchange, struct slice part)
{
    bool alone = flight->get && flight->cacheable && !flight->validating &&
                 flight->route->config->parts && strcmp(flight->forward, "bypass") != 0;
    bool range = conditional_one_range(exchange->fields);
    struct object object;

    flight->completing = alone && parse_part(part, &object);
    flight->ranged = alone && range && field_get(exchange->fields, "If-Range").data == NULL;
    flight->rest = flight->completing && field_get(exchange->fields, "Range").data == NULL &&
                   can_be_completed(flight, &object);
}

int part_compose(struct flight *flight)
{
    struct fields client = {flight->client_list, flight->n_client};
    struct object part;
    char range[64];
    int status;

    if (flight->ranged)
        return message_line(&flight->request, SLICE_LIT("Range"), field_get(client, "Range"));
    if (!flight->rest || !parse_part(buf_slice(&flight->stale), &part))
        return ERR_OK;
    if (part.head.first == 0)
        snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long)end_of(&part));
    else
        snprintf(range, sizeof(range), "bytes=0-%llu", (unsigned long long)part.head.first - 1);
    status = message_line(&flight->request, SLICE_LIT("Range"), slice_cstr(range));
    return status == ERR_OK
               ? message_line(&flight->request, SLICE_LIT("If-Range"), object_etag(&part))
               : status;
}

/* The place that a 206 says it has, if that is what comes. */
static bool place_of(const struct http1_reply *reply, uint64_t *first, uint64_t *last,
                     uint64_t *size)
{
    struct fields fields = {reply->headers, reply->n_headers};

    return reply->status == 206 && reply->framing == FRAMING_LENGTH &&
           field_count(fields, "Content-Range") == 1 &&
           conditional_content_range(field_get(fields, "Content-Range"), first, last, size) &&
           reply->content_length == *last - *first + 1;
}

bool part_take(struct flight *flight, const struct http1_reply *reply)
{
    uint64_t last;

    flight->part = (flight->ranged || flight->rest) &&
                   place_of(reply, &flight->part_first, &last, &flight->part_size) &&
                   !flight->freshness.always_validate &&
                   flight->freshness.lifetime_s > flight->freshness.age_s;
    return flight->part;
}

bool part_completes(const struct flight *flight, const struct http1_reply *reply)
{
    struct fields fields = {reply->headers, reply->n_headers};
    struct object part;
    uint64_t first, last, size;

    if (!flight->rest || !parse_part(buf_slice(&flight->stale), &part) ||
        !place_of(reply, &first, &last, &size) || size != part.head.size ||
        !slice_eq(field_get(fields, "ETag"), object_etag(&part)))
        return false;
    return part.head.first == 0 ? first == end_of(&part) && last + 1 == size
                                : first == 0 && last + 1 == part.head.first;
}

/* Two parts of one representation without a gap between them. */
static bool fit(const struct object *a, const struct object *b)
{
    return is_strong(object_etag(a)) && slice_eq(object_etag(a), object_etag(b)) &&
           a->head.size == b->head.size && a->head.first <= end_of(b) && b->head.first <= end_of(a);
}

/* The old one's bytes before and after the new one's. */
static int append_union(const struct object *old, const struct object *fresh, struct buf *value)
{
    int status = ERR_OK;

    if (old->head.first < fresh->head.first)
        status = buf_append(value, old->body.data, (size_t)(fresh->head.first - old->head.first));
    if (status == ERR_OK)
        status = buf_append(value, fresh->body.data, fresh->body.len);
    if (status == ERR_OK && end_of(old) > end_of(fresh))
        status = buf_append(value, old->body.data + (end_of(fresh) - old->head.first),
                            (size_t)(end_of(old) - end_of(fresh)));
    return status;
}

int part_merge(const struct flight *flight, struct buf *value)
{
    struct object old, fresh;
    struct object_head head;
    size_t body_at;
    int status;

    if (!parse_part(buf_slice(&flight->data), &fresh))
        return ERR_INVALID;
    if (!parse_part(buf_slice(&flight->stale), &old) || !fit(&old, &fresh) ||
        (!flight->rest && old.body.len + fresh.body.len > flight->route->object_max))
        old = fresh;
    head = fresh.head;
    head.first = old.head.first < fresh.head.first ? old.head.first : fresh.head.first;
    if (head.first == 0 && (end_of(&old) == head.size || end_of(&fresh) == head.size)) {
        head.kind = OBJECT_PAGE;
        head.status = 200;
    }
    status = object_begin(value, &head, head.kind == OBJECT_PAGE ? SLICE_LIT("") : fresh.reason,
                          fresh.tags, fresh.lines);
    body_at = buf_len(value);
    if (status == ERR_OK)
        status = append_union(&old, &fresh, value);
    if (status == ERR_OK)
        object_finish(buf_head(value), buf_len(value) - body_at);
    return status;
}
