/* What becomes of an origin's response: stored and passed on, passed on only, or, when it is a 304
 * or an error, an older one served in its place. */
#include "http/proxy_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>

/* After a failure nobody asks for the page for so long, where an older one can be served. */
#define BACK_OFF_MS 1000

static struct fields fields_of(const struct http1_reply *reply)
{
    return (struct fields){reply->headers, reply->n_headers};
}

static bool is_error(int status)
{
    return status == 500 || (status >= 502 && status <= 504);
}

/* Fields that this side writes itself, or keeps for itself. */
static bool is_own(const struct flight *flight, struct slice name)
{
    return slice_ieq(name, "content-length") || slice_ieq(name, "age") ||
           (flight->route->config->tag_header[0] != '\0' &&
            slice_ieq(name, flight->route->config->tag_header));
}

/* Whether no-cache="..." or private="..." list the field: it is not stored then. */
static bool is_withheld(const struct cachecontrol *cc, struct slice name)
{
    struct slice lists[] = {cc->no_cache_fields, cc->private_fields};
    struct slice element;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while (field_split(&lists[i], &element))
            if (element.len == name.len && strncasecmp(element.data, name.data, name.len) == 0)
                return true;
    return false;
}

static int add_date(struct buf *lines, struct fields fields)
{
    char date[HTTP1_DATE_LEN + 1];

    if (field_get(fields, "Date").data != NULL)
        return ERR_OK;
    http1_date(clock_wall_ms(), date);
    return message_line(lines, SLICE_LIT("Date"), slice_make(date, HTTP1_DATE_LEN));
}

/* The end-to-end fields of the response. stored: those that may be kept. */
static int add_lines(const struct flight *flight, struct fields fields, bool stored,
                     struct buf *lines)
{
    struct cachecontrol cc = cachecontrol_parse(fields, "Cache-Control");
    int status = add_date(lines, fields);

    for (size_t i = 0; i < fields.n && status == ERR_OK; i++) {
        struct slice name = fields.list[i].name;

        if (message_is_hop(fields, name) || is_own(flight, name) ||
            (stored &&
             (is_withheld(&cc, name) || (flight->part && slice_ieq(name, "content-range")))))
            continue;
        status = message_line(lines, name, fields.list[i].value);
    }
    return status == ERR_OK ? message_line(lines, SLICE_LIT("Via"), SLICE_LIT("1.1 " MESSAGE_NAME))
                            : status;
}

/* Whether the origin's request had the field: what the route drops cannot have shaped the response.
 */
static bool was_told(const struct flight *flight, const char *name)
{
    const struct routerule_fields *rules = &flight->route->request;
    struct fields client = {flight->client_list, flight->n_client};

    return routerule_sets(rules, name) ||
           (field_get(client, name).data != NULL && !routerule_drops(rules, slice_cstr(name)));
}

/* What the route says of the status. */
static void add_status_rule(const struct config_route *config, int status,
                            struct freshness_rules *rules)
{
    uint64_t ttl_ms;

    for (size_t i = 0; i < config->n_status_ttl && !rules->has_status_ttl; i++)
        if (routerule_status_ttl(config->status_ttl[i], status, &rules->has_status_ttl, &ttl_ms) ==
            ERR_OK)
            rules->status_ttl_s = ((int64_t)ttl_ms + 999) / 1000;
}

static struct freshness judge(const struct flight *flight, int status, struct fields fields)
{
    struct freshness_rules rules = flight->route->rules;
    uint64_t delay_ms = clock_now_ms() - flight->io.sent_ms;
    struct freshness_case c = {
        .status = status,
        .fields = fields,
        .authorized = was_told(flight, "Authorization"),
        .cookies = was_told(flight, "Cookie"),
        .now_s = (int64_t)clock_wall_ms() / 1000,
        .delay_s = (int64_t)delay_ms / 1000,
    };

    add_status_rule(flight->route->config, status, &rules);
    return freshness_judge(&c, &rules);
}

static struct object_head object_head(const struct flight *flight, int status)
{
    const struct freshness *f = &flight->freshness;
    bool at_once = f->lifetime_s <= f->age_s && f->while_revalidate_s == 0;

    return (struct object_head){
        .kind = flight->part ? OBJECT_PART : OBJECT_PAGE,
        .first = flight->part_first,
        .size = flight->part_size,
        .status = (uint16_t)status,
        .flags = (f->always_validate || at_once ? OBJECT_ALWAYS_VALIDATE : 0) |
                 (f->never_stale ? OBJECT_NEVER_STALE : 0),
        .stored_ms = (int64_t)clock_wall_ms(),
        .age_s = f->age_s,
        .lifetime_s = f->lifetime_s,
        .while_revalidate_s = f->while_revalidate_s,
        .if_error_s = f->if_error_s,
        .date_s = f->date_s,
        .modified_s = f->modified_s,
    };
}

/* ---- a response of its own ---- */

static void keep_tags(struct flight *flight, struct fields fields)
{
    struct field_walk walk;
    struct slice element;

    buf_truncate(&flight->tags, 0);
    if (flight->route->config->tag_header[0] == '\0')
        return;
    walk = field_walk(fields, flight->route->config->tag_header);
    while (field_next(&walk, &element))
        if (buf_append(&flight->tags, element.data, element.len) != ERR_OK ||
            buf_append(&flight->tags, " ", 1) != ERR_OK)
            flight->freshness.store = false; /* a page that a purge would miss is not stored */
}

/* Put the object's beginning into data; its body follows as it comes. */
static int begin_object(struct flight *flight, const struct http1_reply *reply)
{
    struct object_head head = object_head(flight, reply->status);
    struct buf lines = {0};
    int status = add_lines(flight, fields_of(reply), true, &lines);

    if (status == ERR_OK)
        status = buf_append(&lines, "\r\n", 2);
    if (status == ERR_OK)
        status = object_begin(&flight->data, &head, reply->reason, buf_slice(&flight->tags),
                              buf_slice(&lines));
    flight->body_at = buf_len(&flight->data);
    buf_fini(&lines);
    return status;
}

/* It answers for the range alone. */
static bool says_of_range(const struct flight *flight, const struct http1_reply *reply)
{
    return reply->status == 416 && (flight->ranged || flight->rest);
}

static bool may_store(struct flight *flight, const struct http1_reply *reply)
{
    struct buf names = {0};
    enum vary_kind vary;
    int status;

    if (!flight->get || !flight->cacheable || !flight->freshness.store ||
        reply->n_headers > PROXY_FIELDS_MAX || reply->status == 304 ||
        (reply->status == 206 && !part_take(flight, reply)) || says_of_range(flight, reply) ||
        (reply->framing == FRAMING_LENGTH && reply->content_length > flight->route->object_max))
        return false;
    vary = vary_names(fields_of(reply), &names, &status);
    buf_fini(&names);
    return vary != VARY_STAR && status == ERR_OK;
}

/* Whether a reader that joined gets this response too: the selecting fields say the same. */
static bool can_share(const struct flight *flight, struct fields response,
                      const struct proxy_exchange *reader)
{
    struct fields client = {flight->client_list, flight->n_client};
    struct buf names = {0}, ours = {0}, theirs = {0};
    enum vary_kind vary;
    bool same;
    int status;

    if (!flight->storing)
        return false;
    vary = vary_names(response, &names, &status);
    same =
        vary == VARY_NONE || (vary == VARY_FIELDS && status == ERR_OK &&
                              vary_key(buf_slice(&names), 0, client, &ours) == ERR_OK &&
                              vary_key(buf_slice(&names), 0, reader->fields, &theirs) == ERR_OK &&
                              slice_eq(buf_slice(&ours), buf_slice(&theirs)));
    buf_fini(&names);
    buf_fini(&ours);
    buf_fini(&theirs);
    return same;
}

bool judge_can_join(const struct flight *flight, const struct proxy_exchange *reader)
{
    struct http1_header list[PROXY_FIELDS_MAX];
    struct fields fields = {.list = list};

    if (!flight->headed)
        return true; /* found out when its head comes */
    fields.n = object_fields(buf_slice(&flight->lines), list, PROXY_FIELDS_MAX);
    return can_share(flight, fields, reader);
}

/* Give every reader its head; those who cannot have this response look again. */
static void distribute(struct flight *flight, const struct http1_reply *reply)
{
    struct list others;
    struct list *node;

    list_init(&others);
    LIST_EACH_SAFE (each, next, &flight->readers) {
        struct proxy_exchange *reader = LIST_ENTRY(each, struct proxy_exchange, link);

        if (!reader->coalesced || can_share(flight, fields_of(reply), reader))
            continue;
        list_remove(each);
        reader->flight = NULL;
        list_push(&others, each);
    }
    LIST_EACH_SAFE (each, next, &flight->readers)
        respond_head(LIST_ENTRY(each, struct proxy_exchange, link));
    while ((node = list_pop(&others)) != NULL) {
        struct proxy_exchange *reader = LIST_ENTRY(node, struct proxy_exchange, link);

        reader->coalesced = false;
        lookup_again(reader);
    }
}

/* The part is of no use: those who wait ask for the whole. */
static void start_over(struct flight *flight)
{
    struct list *node;

    store_release(flight, 0);
    flight->ended = true;
    flight->settled = true;
    list_remove(&flight->link);
    while ((node = list_pop(&flight->readers)) != NULL) {
        struct proxy_exchange *reader = LIST_ENTRY(node, struct proxy_exchange, link);

        reader->flight = NULL;
        lookup_again(reader);
    }
    flight_close(flight);
}

static void take_response(struct flight *flight, const struct http1_reply *reply)
{
    flight->freshness = judge(flight, reply->status, fields_of(reply));
    flight->status = reply->status;
    flight->framing = reply->framing;
    flight->length = reply->content_length;
    keep_tags(flight, fields_of(reply));
    if (buf_append(&flight->reason, reply->reason.data, reply->reason.len) != ERR_OK ||
        add_lines(flight, fields_of(reply), false, &flight->lines) != ERR_OK) {
        origin_cancel(&flight->io);
        judge_end(flight, ERR_NOMEM);
        return;
    }
    flight->storing = may_store(flight, reply) && begin_object(flight, reply) == ERR_OK;
    flight->headed = true;
    if (!flight->storing) {
        list_remove(&flight->link);
        buf_truncate(&flight->data, 0);
        flight->body_at = 0;
        /* An error says nothing of the next answer. */
        if (is_error(reply->status) || says_of_range(flight, reply))
            store_release(flight, 0);
        else
            store_pass(flight);
    }
    distribute(flight, reply);
}

/* ---- an older response in its place ---- */

/* Answer every reader with this object. */
static void settle(struct flight *flight, struct slice value, const char *status_text)
{
    struct list *node;

    flight->settled = true;
    list_remove(&flight->link);
    while ((node = list_pop(&flight->readers)) != NULL) {
        struct proxy_exchange *reader = LIST_ENTRY(node, struct proxy_exchange, link);

        reader->flight = NULL;
        reader->origin = origin_name(&flight->io);
        reader->origin_ms = flight->head_ms;
        respond_object(reader, value, status_text);
        respond_done(reader);
    }
}

/* The stored fields, replaced by those that the 304 brings (RFC 9111 section 3.2). */
static int merge_lines(const struct flight *flight, struct fields stored, struct fields fresh,
                       struct buf *lines)
{
    static const char *const kept[] = {
        "content-length", "content-encoding", "content-range", "transfer-encoding", "via", "date"};
    struct cachecontrol cc = cachecontrol_parse(fresh, "Cache-Control");
    int status = ERR_OK;

    for (size_t i = 0; i < stored.n && status == ERR_OK; i++) {
        char name[256];
        struct slice s = stored.list[i].name;
        bool keep = s.len >= sizeof(name);

        for (size_t k = 0; k + 1 < sizeof(kept) / sizeof(kept[0]); k++)
            keep = keep || slice_ieq(s, kept[k]);
        if (!keep) {
            memcpy(name, s.data, s.len);
            name[s.len] = '\0';
            keep = field_count(fresh, name) == 0;
        }
        if (keep)
            status = message_line(lines, s, stored.list[i].value);
    }
    for (size_t i = 0; i < fresh.n && status == ERR_OK; i++) {
        struct slice s = fresh.list[i].name;
        bool skip = message_is_hop(fresh, s) || is_own(flight, s) || is_withheld(&cc, s);

        for (size_t k = 0; k + 1 < sizeof(kept) / sizeof(kept[0]); k++)
            skip = skip || slice_ieq(s, kept[k]);
        if (!skip)
            status = message_line(lines, s, fresh.list[i].value);
    }
    return status == ERR_OK ? buf_append(lines, "\r\n", 2) : status;
}

/* The stored response with its fields as the 304 says, judged anew, into value. */
static int freshen(struct flight *flight, const struct http1_reply *reply, struct buf *value)
{
    struct http1_header list[PROXY_FIELDS_MAX];
    struct fields fields = {.list = list};
    struct object object;
    struct object_head head;
    struct buf lines = {0};
    int status;

    if (!object_parse(buf_slice(&flight->stale), &object))
        return ERR_INVALID;
    fields.n = object_fields(object.lines, list, PROXY_FIELDS_MAX);
    status = merge_lines(flight, fields, fields_of(reply), &lines);
    if (status == ERR_OK) {
        fields.n = object_fields(buf_slice(&lines), list, PROXY_FIELDS_MAX);
        flight->freshness = judge(flight, object.head.status, fields);
        /* The 304's own age counts, not that of the response it confirms. */
        flight->freshness.age_s = judge(flight, 200, fields_of(reply)).age_s;
        keep_tags(flight, fields_of(reply));
        /* As any other field that the 304 does not bring. */
        if (buf_len(&flight->tags) == 0)
            status = buf_append(&flight->tags, object.tags.data, object.tags.len);
        head = object_head(flight, object.head.status);
        if (status == ERR_OK)
            status = object_begin(value, &head, object.reason, buf_slice(&flight->tags),
                                  buf_slice(&lines));
    }
    if (status == ERR_OK)
        status = buf_append(value, object.body.data, object.body.len);
    if (status == ERR_OK)
        object_finish(buf_head(value), object.body.len);
    buf_fini(&lines);
    return status;
}

static void confirmed(struct flight *flight, const struct http1_reply *reply)
{
    struct buf value = {0};

    if (freshen(flight, reply, &value) != ERR_OK) {
        buf_fini(&value);
        origin_cancel(&flight->io);
        judge_end(flight, ERR_PROTOCOL);
        return;
    }
    if (flight->freshness.store)
        store_object(flight, buf_slice(&value));
    else
        store_pass(flight);
    settle(flight, buf_slice(&value),
           flight->freshness.store ? "fwd=stale; fwd-status=304; stored"
                                   : "fwd=stale; fwd-status=304");
    buf_fini(&value);
}

/* Whether the stored response may be served although it is past its time: status 0: no origin
 * could be reached (RFC 9111 section 4.2.4, RFC 5861 section 4). */
static bool stale_will_do(const struct flight *flight, int status)
{
    struct object object;
    int64_t beyond_s;

    if (!object_parse(buf_slice(&flight->stale), &object) ||
        (object.head.flags & OBJECT_NEVER_STALE) != 0)
        return false;
    beyond_s = -object_ttl_s(&object.head, (int64_t)clock_wall_ms());
    if (beyond_s < object.head.if_error_s)
        return true;
    return status == 0 && beyond_s * 1000 < (int64_t)flight->route->config->grace_ms;
}

static void on_interim(struct flight *flight, const struct http1_reply *reply)
{
    LIST_EACH_SAFE (node, next, &flight->readers)
        respond_interim(LIST_ENTRY(node, struct proxy_exchange, link), reply);
}

/* The server agrees to another protocol. */
static void open_tunnel(struct flight *flight, const struct http1_reply *reply)
{
    struct fields fields = fields_of(reply);
    const char *protocol = flight->route->config->upgrade;
    struct proxy_exchange *reader;

    if (!flight->upgrade || list_empty(&flight->readers) ||
        !field_lists(fields, "Upgrade", protocol)) {
        origin_cancel(&flight->io);
        judge_end(flight, ERR_PROTOCOL);
        return;
    }
    if (buf_append(&flight->reason, reply->reason.data, reply->reason.len) != ERR_OK ||
        add_lines(flight, fields, false, &flight->lines) != ERR_OK ||
        message_line(&flight->lines, SLICE_LIT("Upgrade"), slice_cstr(protocol)) != ERR_OK) {
        origin_cancel(&flight->io);
        judge_end(flight, ERR_NOMEM);
        return;
    }
    flight->status = reply->status;
    flight->framing = FRAMING_CLOSE;
    flight->headed = true;
    flight->tunnel = true;
    flight->upload_ended = false;
    origin_tunnel(&flight->io, flight->route->config->tunnel_idle_ms);
    reader = LIST_ENTRY(flight->readers.next, struct proxy_exchange, link);
    reader->tunnel = true;
    reader->owner->want_body(reader);
    respond_head(reader);
}

/* What the stored part lacks is coming: nobody gets anything before all of it is there. */
static void await_rest(struct flight *flight, const struct http1_reply *reply)
{
    flight->freshness = judge(flight, reply->status, fields_of(reply));
    keep_tags(flight, fields_of(reply));
    flight->storing = may_store(flight, reply) && begin_object(flight, reply) == ERR_OK;
    if (flight->storing)
        return;
    origin_cancel(&flight->io);
    start_over(flight);
}

static void judge_final(struct flight *flight, const struct http1_reply *reply)
{
    char text[64];

    if (flight->rest && reply->status == 206 && part_completes(flight, reply)) {
        await_rest(flight, reply);
        return;
    }
    if (flight->rest && (reply->status == 206 || reply->status == 416)) {
        origin_cancel(&flight->io);
        start_over(flight);
        return;
    }
    if (flight->validating && reply->status == 304) {
        confirmed(flight, reply);
    } else if (flight->validating && is_error(reply->status) &&
               stale_will_do(flight, reply->status)) {
        snprintf(text, sizeof(text), "fwd=stale; fwd-status=%d; detail=stale-if-error",
                 reply->status);
        store_release(flight, BACK_OFF_MS);
        settle(flight, buf_slice(&flight->stale), text);
    } else {
        store_invalidate(flight, reply);
        take_response(flight, reply);
    }
}

/* Without the fields that the route has dropped as they come. */
static void judge_rest(struct flight *flight, const struct http1_reply *reply)
{
    const struct config_route *config = flight->route->config;
    struct http1_reply rest = *reply;

    rest.headers = calloc(reply->n_headers + 1, sizeof(*rest.headers));
    rest.n_headers = 0;
    if (rest.headers == NULL) {
        origin_cancel(&flight->io);
        judge_end(flight, ERR_NOMEM);
        return;
    }
    for (size_t i = 0; i < reply->n_headers; i++)
        if (!routerule_names(config->ignore_headers, config->n_ignore_headers,
                             reply->headers[i].name))
            rest.headers[rest.n_headers++] = reply->headers[i];
    judge_final(flight, &rest);
    free(rest.headers);
}

void judge_head(struct flight *flight, const struct http1_reply *reply)
{
    flight->head_ms = clock_now_ms() - flight->io.sent_ms;
    if (reply->status == 101) {
        open_tunnel(flight, reply);
    } else if (reply->status < 200) {
        on_interim(flight, reply);
    } else if (flight->route->config->n_ignore_headers > 0) {
        judge_rest(flight, reply);
    } else {
        judge_final(flight, reply);
    }
}

/* No response, and none before it: an older one, or the failure, to everybody. */
static void fail_readers(struct flight *flight, int err)
{
    struct list *node;

    while ((node = list_pop(&flight->readers)) != NULL) {
        struct proxy_exchange *reader = LIST_ENTRY(node, struct proxy_exchange, link);

        reader->flight = NULL;
        respond_failure(reader, flight, err);
        respond_done(reader);
    }
}

bool judge_stale(const struct flight *flight)
{
    return flight->validating && stale_will_do(flight, 0);
}

static void finish_part(struct flight *flight)
{
    struct buf value = {0};

    int status = part_merge(flight, &value);

    if (status == ERR_OK)
        store_object(flight, buf_slice(&value));
    if (status == ERR_OK && flight->rest) {
        settle(flight, buf_slice(&value), "fwd=partial-miss; fwd-status=206; stored");
    } else if (flight->rest) {
        flight->failed = true;
        fail_readers(flight, ERR_NOMEM);
    }
    buf_fini(&value);
}

static void finish(struct flight *flight)
{
    if (flight->storing)
        object_finish(buf_head(&flight->data), flight->received);
    if (flight->storing && flight->part)
        finish_part(flight);
    else if (flight->storing)
        store_object(flight, buf_slice(&flight->data));
    store_release(flight, 0);
    LIST_EACH_SAFE (node, next, &flight->readers)
        respond_pump(LIST_ENTRY(node, struct proxy_exchange, link));
}

void judge_end(struct flight *flight, int err)
{
    flight->ended = true;
    list_remove(&flight->link);
    if (flight->settled) {
        store_release(flight, 0);
    } else if (err == ERR_OK) {
        finish(flight);
    } else {
        flight->failed = true;
        store_release(flight, !flight->headed && judge_stale(flight) ? BACK_OFF_MS : 0);
        if (!flight->headed)
            fail_readers(flight, err);
        LIST_EACH_SAFE (node, next, &flight->readers)
            respond_pump(LIST_ENTRY(node, struct proxy_exchange, link));
    }
    flight_close(flight);
}
