/* Responses to clients: heads with Age and Cache-Status (RFC 9211), parts, 304s, bodies as they
 * come.
 */
#include "http/proxy_impl.h"

#include "common/clock.h"
#include "http/accesslog.h"

#include <stdio.h>

#define PIECE_BYTES 65536 /* put into the output at once */

/* What a head says beside the stored lines. */
struct head {
    int status;
    struct slice reason;
    int64_t age_s;   /* -1: no Age */
    uint64_t length; /* of what is sent; UINT64_MAX: not said */
    bool chunked;
    uint64_t first, last, size; /* a 206: the range; size 0: none */
    const char *cache;          /* Cache-Status */
};

/* What the log is to say of it. */
static void note(struct proxy_exchange *exchange, const struct head *head)
{
    exchange->status = head->status;
    if (exchange->proxy->log == NULL)
        return;
    snprintf(exchange->cache_text, sizeof(exchange->cache_text), "%s", head->cache);
    if (exchange->flight == NULL && head->length != UINT64_MAX && !exchange->head_only)
        exchange->body_bytes = head->length;
}

/* Write it; returns its length, at most room. */
static size_t write_head(const struct proxy_exchange *exchange, const struct head *head, char *to,
                         size_t room)
{
    size_t n;
    struct slice reason = head->reason;

    if (reason.len == 0)
        reason = slice_cstr(http1_reason(head->status));
    if (reason.len > 256)
        reason.len = 256;
    n = (size_t)snprintf(to, room, "HTTP/1.1 %d %.*s\r\nCache-Status: " MESSAGE_NAME "; %s\r\n",
                         head->status, (int)reason.len, reason.data, head->cache);
    if (head->age_s >= 0)
        n += (size_t)snprintf(to + n, room - n, "Age: %lld\r\n", (long long)head->age_s);
    if (head->size > 0)
        n += (size_t)snprintf(to + n, room - n, "Content-Range: bytes %llu-%llu/%llu\r\n",
                              (unsigned long long)head->first, (unsigned long long)head->last,
                              (unsigned long long)head->size);
    if (head->chunked)
        n += (size_t)snprintf(to + n, room - n, "Transfer-Encoding: chunked\r\n");
    else if (head->length != UINT64_MAX)
        n += (size_t)snprintf(to + n, room - n, "Content-Length: %llu\r\n",
                              (unsigned long long)head->length);
    if (exchange->tunnel)
        n += (size_t)snprintf(to + n, room - n, "Connection: Upgrade\r\n");
    else if (!exchange->keep_alive)
        n += (size_t)snprintf(to + n, room - n, "Connection: close\r\n");
    else if (exchange->request->minor == 0)
        n += (size_t)snprintf(to + n, room - n, "Connection: keep-alive\r\n");
    return n;
}

static void broken(struct proxy_exchange *exchange)
{
    exchange->broken = true;
    exchange->keep_alive = false;
}

static int append_head(struct proxy_exchange *exchange, const struct head *head)
{
    struct buf *out = exchange->owner->out(exchange);
    char *to = buf_reserve(out, RESPOND_ROOM);

    note(exchange, head);
    if (to == NULL)
        return ERR_NOMEM;
    buf_commit(out, write_head(exchange, head, to, RESPOND_ROOM));
    return ERR_OK;
}

void respond_done(struct proxy_exchange *exchange)
{
    if (exchange->flight != NULL)
        flight_leave(exchange);
    if (exchange->beginning) {
        exchange->answered = true;
        return;
    }
    accesslog_write(exchange->proxy->log, exchange);
    exchange->owner->done(exchange);
}

/* ---- from an object ---- */

/* A field of a 304 (RFC 9110 section 15.4.5): none that describes the content. */
static bool is_slim(struct slice name)
{
    return name.len <= 8 || strncasecmp(name.data, "content-", 8) != 0 ||
           slice_ieq(name, "content-location") || slice_ieq(name, "content-security-policy");
}

static bool has_rules(const struct proxy_exchange *exchange)
{
    const struct routerule_fields *rules = &exchange->route->response;

    return rules->n_set > 0 || rules->n_remove > 0;
}

static int append_set(const struct proxy_exchange *exchange, struct buf *out)
{
    const struct routerule_fields *rules = &exchange->route->response;
    struct slice name, value;
    int status = ERR_OK;

    for (size_t i = 0; i < rules->n_set && status == ERR_OK; i++)
        if (routerule_field(rules->set[i], &name, &value))
            status = message_line(out, name, value);
    return status;
}

/* "Name: value\r\n" ... as the client gets them, and the empty line. slim: of a 304. */
static int append_fields(const struct proxy_exchange *exchange, struct buf *out, struct slice lines,
                         bool slim)
{
    const struct routerule_fields *rules = &exchange->route->response;
    int status = ERR_OK;

    while (lines.len > 2 && status == ERR_OK) {
        const char *end = memchr(lines.data, '\n', lines.len);
        const char *colon = memchr(lines.data, ':', lines.len);
        size_t len = end == NULL ? lines.len : (size_t)(end - lines.data) + 1;
        struct slice name =
            slice_make(lines.data, colon == NULL ? 0 : (size_t)(colon - lines.data));

        if ((!slim || is_slim(name)) && !routerule_drops(rules, name))
            status = buf_append(out, lines.data, len);
        lines = slice_make(lines.data + len, lines.len - len);
    }
    if (status == ERR_OK)
        status = append_set(exchange, out);
    return status == ERR_OK ? buf_append(out, "\r\n", 2) : status;
}

/* Those of a stored object, which end with the empty line. */
static int append_lines(const struct proxy_exchange *exchange, struct buf *out, struct slice lines)
{
    return has_rules(exchange) ? append_fields(exchange, out, lines, false)
                               : buf_append(out, lines.data, lines.len);
}

static struct validators validators_of(const struct object *object)
{
    return (struct validators){.etag = object_etag(object),
                               .modified_s = object->head.modified_s,
                               .date_s = object->head.date_s,
                               .now_s = (int64_t)clock_wall_ms() / 1000};
}

/* Cache-Status of a hit: how long it is fresh yet. */
static const char *hit_text(const struct object_head *head, int64_t now_ms, char text[64])
{
    snprintf(text, 64, "hit; ttl=%lld", (long long)object_ttl_s(head, now_ms));
    return text;
}

/* Decide what is sent of the object; false: the whole of it. */
static bool narrow(struct proxy_exchange *exchange, const struct object *object, struct head *head)
{
    struct validators stored = validators_of(object);
    uint64_t size = object->body.len;

    if (object->head.status == 200 || object->head.status == 203) {
        if (conditional_not_modified(exchange->fields, &stored)) {
            head->status = 304;
            head->reason = slice_make("", 0);
            head->length = UINT64_MAX;
            return true;
        }
        if (object->head.status == 200 && !exchange->head_only) {
            switch (conditional_range(exchange->fields, &stored, size, &head->first, &head->last)) {
            case RANGE_PART:
                head->status = 206;
                head->reason = slice_make("", 0);
                head->size = size;
                head->length = head->last - head->first + 1;
                return true;
            case RANGE_OUTSIDE:
                head->status = 416;
                head->reason = slice_make("", 0);
                head->length = 0;
                return true;
            case RANGE_NONE:
                break;
            }
        }
    }
    return false;
}

/* Everything but the plain whole: its parts are appended one by one. */
static void respond_narrow(struct proxy_exchange *exchange, const struct object *object,
                           const struct head *head)
{
    struct buf *out = exchange->owner->out(exchange);
    int status = append_head(exchange, head);

    if (status == ERR_OK && head->status == 416)
        status = buf_printf(out, "Content-Range: bytes */%zu\r\n\r\n", object->body.len);
    else if (status == ERR_OK && head->status == 304)
        status = append_fields(exchange, out, object->lines, true);
    else if (status == ERR_OK)
        status = append_lines(exchange, out, object->lines);
    if (status == ERR_OK && head->status == 206)
        status = buf_append(out, object->body.data + (head->first - object->head.first),
                            (size_t)head->length);
    if (status != ERR_OK)
        broken(exchange);
}

static struct head head_of(const struct object *object, const char *status_text, char text[64])
{
    int64_t now_ms = (int64_t)clock_wall_ms();

    return (struct head){
        .status = object->head.status,
        .reason = object->reason,
        .age_s = object_age_s(&object->head, now_ms),
        .length = object->head.status == 204 ? UINT64_MAX : object->body.len,
        .cache = status_text != NULL ? status_text : hit_text(&object->head, now_ms, text),
    };
}

void respond_placed(struct proxy_exchange *exchange, char *place, const struct object *object,
                    const char *status_text)
{
    char text[64], bytes[RESPOND_ROOM];
    struct head head = head_of(object, status_text, text);
    struct buf *out = exchange->owner->out(exchange);
    char *lines = place + (object->lines.data - place);
    size_t len, rest = object->lines.len + (exchange->head_only ? 0 : object->body.len);

    if (has_rules(exchange) || narrow(exchange, object, &head)) {
        /* The object lies in the room that its parts are appended to. */
        struct buf whole = {0};

        if (buf_append(&whole, place,
                       sizeof(object->head) + object->reason.len + object->tags.len +
                           object->lines.len + object->body.len) != ERR_OK)
            broken(exchange);
        else
            respond_object(exchange, buf_slice(&whole), status_text);
        buf_fini(&whole);
        return;
    }
    len = write_head(exchange, &head, bytes, sizeof(bytes));
    note(exchange, &head);
    memcpy(lines - len, bytes, len);
    if (buf_len(out) == 0)
        out->start = out->end = (size_t)(lines - len - out->data);
    else
        memmove(out->data + out->end, lines - len, len + rest);
    buf_commit(out, len + rest);
}

bool respond_lent(struct proxy_exchange *exchange, const struct object *object, struct pin *pin)
{
    char text[64];
    struct head head = head_of(object, NULL, text);
    size_t body_at = pin->left - object->body.len;
    bool part = narrow(exchange, object, &head);

    if ((part && head.status != 206) || object->body.len == 0)
        return false;
    pin_skip(pin, body_at + (part ? head.first : 0));
    if (part)
        pin->left = (size_t)head.length;
    if (append_head(exchange, &head) != ERR_OK ||
        append_lines(exchange, exchange->owner->out(exchange), object->lines) != ERR_OK) {
        pin_end(pin);
        broken(exchange);
    } else if (exchange->owner->lend(exchange, pin) != ERR_OK) {
        broken(exchange);
    }
    return true;
}

bool respond_part(struct proxy_exchange *exchange, const struct object *object)
{
    struct validators stored = validators_of(object);
    char text[64];
    struct head head = head_of(object, NULL, text);

    head.reason = slice_make("", 0);
    if (conditional_not_modified(exchange->fields, &stored)) {
        head.status = 304;
        head.length = UINT64_MAX;
        respond_narrow(exchange, object, &head);
        return true;
    }
    if (conditional_range(exchange->fields, &stored, object->head.size, &head.first, &head.last) !=
            RANGE_PART ||
        head.first < object->head.first || head.last >= object->head.first + object->body.len)
        return false;
    head.status = 206;
    head.size = object->head.size;
    head.length = head.last - head.first + 1;
    respond_narrow(exchange, object, &head);
    return true;
}

void respond_object(struct proxy_exchange *exchange, struct slice value, const char *status_text)
{
    struct buf *out = exchange->owner->out(exchange);
    char text[64];
    struct object object;
    struct head head;

    if (!object_parse(value, &object)) {
        broken(exchange);
        return;
    }
    head = head_of(&object, status_text, text);
    if (narrow(exchange, &object, &head)) {
        respond_narrow(exchange, &object, &head);
        return;
    }
    if (append_head(exchange, &head) != ERR_OK ||
        append_lines(exchange, out, object.lines) != ERR_OK ||
        buf_append(out, object.body.data, exchange->head_only ? 0 : object.body.len) != ERR_OK)
        broken(exchange);
}

/* ---- our own ---- */

int proxy_refuse(struct buf *out, int status, const char *why)
{
    static const char headers[] = "Content-Type: text/plain\r\n"
                                  "Cache-Status: " MESSAGE_NAME "; detail=refused\r\n";
    int result = http1_response(out, status, slice_make(headers, sizeof(headers) - 1),
                                (int64_t)strlen(why) + 1, false);

    return result == ERR_OK ? buf_printf(out, "%s\n", why) : result;
}

/* With Allow in a 405 (RFC 9110 section 15.5.6). */
static int add_allow(const struct proxy_exchange *exchange, int status, struct buf *headers)
{
    const struct config_route *config = exchange->route == NULL ? NULL : exchange->route->config;
    int result = ERR_OK;

    if (status != 405 || config == NULL || config->n_methods == 0)
        return ERR_OK;
    for (size_t i = 0; i < config->n_methods && result == ERR_OK; i++)
        result = buf_printf(headers, "%s%s", i == 0 ? "Allow: " : ", ", config->methods[i]);
    return result == ERR_OK ? buf_append(headers, "\r\n", 2) : result;
}

static int append_own(struct proxy_exchange *exchange, int status, struct slice headers,
                      struct slice body)
{
    struct buf *out = exchange->owner->out(exchange);
    int result;

    exchange->status = status;
    exchange->body_bytes = exchange->head_only ? 0 : body.len;
    result = http1_response(out, status, headers,
                            status == 204 || status == 304 ? -1 : (int64_t)body.len,
                            exchange->keep_alive);
    return result == ERR_OK && !exchange->head_only && status != 204 && status != 304
               ? buf_append(out, body.data, body.len)
               : result;
}

void respond_own(struct proxy_exchange *exchange, int status, const char *why)
{
    struct buf headers = {0}, body = {0};
    int result = buf_printf(&headers,
                            "Content-Type: text/plain\r\nCache-Status: " MESSAGE_NAME "%s%s\r\n"
                            "Cache-Control: no-store\r\n",
                            exchange->forward != NULL ? "; fwd=" : "",
                            exchange->forward != NULL ? exchange->forward : "");

    if (result == ERR_OK)
        result = add_allow(exchange, status, &headers);
    if (result == ERR_OK)
        result = buf_printf(&body, "%s\n", why);
    if (result != ERR_OK ||
        append_own(exchange, status, buf_slice(&headers), buf_slice(&body)) != ERR_OK)
        broken(exchange);
    buf_fini(&headers);
    buf_fini(&body);
}

void respond_fixed(struct proxy_exchange *exchange)
{
    const struct config_route *config = exchange->route->config;
    struct buf headers = {0};
    int result = ERR_OK;

    if (config->answer_type[0] != '\0' &&
        !routerule_sets(&exchange->route->response, "content-type"))
        result = buf_printf(&headers, "Content-Type: %s\r\n", config->answer_type);
    if (result == ERR_OK)
        result = append_set(exchange, &headers);
    if (result != ERR_OK || append_own(exchange, (int)config->answer_status, buf_slice(&headers),
                                       slice_cstr(config->answer_body)) != ERR_OK)
        broken(exchange);
    buf_fini(&headers);
}

void respond_failure(struct proxy_exchange *exchange, const struct flight *flight, int err)
{
    if (judge_stale(flight)) {
        respond_object(exchange, buf_slice(&flight->stale), "fwd=stale; detail=origin-unreachable");
        return;
    }
    if (flight->upload && !flight->upload_ended)
        exchange->keep_alive = false;
    if (err == ERR_TIMEOUT)
        respond_own(exchange, 504, "the origin did not answer in time");
    else if (err == ERR_NOMEM)
        respond_own(exchange, 503, "no memory for this request");
    else
        respond_own(exchange, 502,
                    err == ERR_PROTOCOL ? "the origin's response made no sense"
                                        : "the origin cannot be reached");
}

/* ---- a flight's response, as it comes ---- */

void respond_interim(struct proxy_exchange *exchange, const struct http1_reply *reply)
{
    struct buf *out = exchange->owner->out(exchange);
    struct fields fields = {reply->headers, reply->n_headers};
    int status;

    /* 100 was answered here; HTTP/1.0 knows no interim responses (RFC 9110 section 15.2). */
    if (exchange->head_sent || reply->status == 100 || exchange->request->minor == 0)
        return;
    status = buf_printf(out, "HTTP/1.1 %d %.*s\r\n", reply->status, (int)reply->reason.len,
                        reply->reason.data);
    for (size_t i = 0; i < fields.n && status == ERR_OK; i++)
        if (!message_is_hop(fields, fields.list[i].name))
            status = message_line(out, fields.list[i].name, fields.list[i].value);
    if (status == ERR_OK)
        status = buf_append(out, "\r\n", 2);
    if (status != ERR_OK)
        broken(exchange);
    exchange->owner->flush(exchange);
}

static const char *forward_text(const struct proxy_exchange *exchange, char text[128])
{
    const struct flight *flight = exchange->flight;

    snprintf(
        text, 128, "fwd=%s; fwd-status=%d%s%s%s%s",
        exchange->forward != NULL && strcmp(exchange->forward, "method-unsafe") != 0
            ? exchange->forward
            : "method",
        flight->status, flight->storing ? "; stored" : "", exchange->coalesced ? "; collapsed" : "",
        !flight->storing && flight->cacheable && flight->freshness.why != NULL ? "; detail=" : "",
        !flight->storing && flight->cacheable && flight->freshness.why != NULL
            ? flight->freshness.why
            : "");
    return text;
}

static struct validators validators_in(const struct flight *flight, struct fields fields)
{
    return (struct validators){.etag = field_get(fields, "ETag"),
                               .modified_s = flight->freshness.modified_s,
                               .date_s = flight->freshness.date_s,
                               .now_s = (int64_t)clock_wall_ms() / 1000};
}

/* A response that is stored is also narrowed for the one it was asked for. Returns whether it is a
 * 304. */
static bool narrow_flight(struct proxy_exchange *exchange, struct head *head)
{
    struct flight *flight = exchange->flight;
    struct http1_header list[PROXY_FIELDS_MAX];
    struct fields fields = {.list = list};
    struct validators stored;

    if (!flight->storing || flight->status != 200)
        return false;
    fields.n = object_fields(buf_slice(&flight->lines), list, PROXY_FIELDS_MAX);
    stored = validators_in(flight, fields);
    if (conditional_not_modified(exchange->fields, &stored)) {
        head->status = 304;
        head->length = UINT64_MAX;
        head->chunked = false;
        exchange->end = 0;
        return true;
    }
    if (flight->framing == FRAMING_LENGTH && !exchange->head_only &&
        conditional_range(exchange->fields, &stored, flight->length, &head->first, &head->last) ==
            RANGE_PART) {
        head->status = 206;
        head->size = flight->length;
        head->length = head->last - head->first + 1;
        exchange->at = head->first;
        exchange->end = head->last + 1;
    }
    return false;
}

static void frame(struct proxy_exchange *exchange, struct head *head)
{
    struct flight *flight = exchange->flight;

    head->length = UINT64_MAX;
    if (exchange->tunnel) {
        exchange->keep_alive = false;
    } else if (flight->framing == FRAMING_NONE) {
        exchange->end = 0;
        if (exchange->head_only && flight->length > 0)
            head->length = flight->length;
    } else if (flight->framing == FRAMING_LENGTH) {
        head->length = flight->length;
        exchange->end = flight->length;
    } else if (exchange->request->minor > 0) {
        head->chunked = true;
    } else {
        exchange->keep_alive = false;
    }
}

void respond_head(struct proxy_exchange *exchange)
{
    struct flight *flight = exchange->flight;
    struct buf *out = exchange->owner->out(exchange);
    char text[128];
    struct head head = {.status = flight->status,
                        .reason = buf_slice(&flight->reason),
                        .age_s = flight->freshness.age_s > 0 ? flight->freshness.age_s : -1,
                        .cache = forward_text(exchange, text)};
    bool slim;
    int status;

    exchange->origin = origin_name(&flight->io);
    exchange->origin_ms = flight->head_ms;
    frame(exchange, &head);
    slim = narrow_flight(exchange, &head);
    if (head.status != flight->status)
        head.reason = slice_make("", 0);
    if (flight->upload && !flight->upload_ended)
        exchange->keep_alive = false; /* the rest of its body would be taken for a request */
    status = append_head(exchange, &head);
    if (status == ERR_OK && slim) {
        status = append_fields(exchange, out, buf_slice(&flight->lines), true);
    } else if (status == ERR_OK && has_rules(exchange)) {
        status = append_fields(exchange, out, buf_slice(&flight->lines), false);
    } else if (status == ERR_OK) {
        status = buf_append(out, buf_head(&flight->lines), buf_len(&flight->lines));
        if (status == ERR_OK)
            status = buf_append(out, "\r\n", 2);
    }
    exchange->chunked = head.chunked;
    exchange->head_sent = true;
    if (status != ERR_OK) {
        broken(exchange);
        respond_done(exchange);
        return;
    }
    respond_pump(exchange);
}

static int append_piece(struct proxy_exchange *exchange, struct slice piece)
{
    struct buf *out = exchange->owner->out(exchange);
    int status = ERR_OK;

    if (exchange->chunked)
        status = buf_printf(out, "%zx\r\n", piece.len);
    if (status == ERR_OK)
        status = buf_append(out, piece.data, piece.len);
    if (status == ERR_OK && exchange->chunked)
        status = buf_append(out, "\r\n", 2);
    return status;
}

static int pump(struct proxy_exchange *exchange)
{
    struct flight *flight = exchange->flight;
    const char *body = buf_slice(&flight->data).data + flight->body_at;
    uint64_t stop = flight->received < exchange->end ? flight->received : exchange->end;
    int status = ERR_OK;

    while (status == ERR_OK && exchange->at < stop && !exchange->owner->congested(exchange)) {
        uint64_t len = stop - exchange->at;

        if (len > PIECE_BYTES)
            len = PIECE_BYTES;
        status =
            append_piece(exchange, slice_make(body + (exchange->at - flight->base), (size_t)len));
        exchange->at += len;
        exchange->body_bytes += len;
    }
    return status;
}

void respond_pump(struct proxy_exchange *exchange)
{
    struct flight *flight = exchange->flight;
    size_t before;
    bool complete;
    int status;

    if (!exchange->head_sent)
        return;
    before = buf_len(exchange->owner->out(exchange));
    status = pump(exchange);
    complete = exchange->at >= exchange->end ||
               (flight->ended && !flight->failed && exchange->at == flight->received);
    if (status == ERR_OK && complete && exchange->chunked)
        status = buf_append(exchange->owner->out(exchange), "0\r\n\r\n", 5);
    if (status != ERR_OK || (flight->failed && !complete))
        broken(exchange);
    if (complete || exchange->broken) {
        respond_done(exchange);
        return;
    }
    /* Only when there is something to send: this runs after sending, too. */
    if (buf_len(exchange->owner->out(exchange)) > before || !exchange->flushed)
        exchange->owner->flush(exchange);
    exchange->flushed = true;
    flight_trim(flight);
}
