#include "http/object.h"

#include <strings.h>

#define OBJECT_MAGIC 0x33706863u /* "chp3" */

bool object_parse(struct slice value, struct object *object)
{
    struct object_head *head = &object->head;
    size_t rest;
    const char *at;

    if (value.len < sizeof(*head))
        return false;
    memcpy(head, value.data, sizeof(*head));
    rest = value.len - sizeof(*head);
    at = value.data + sizeof(*head);
    if (head->magic != OBJECT_MAGIC || head->kind > OBJECT_PART || head->reason_len > rest ||
        head->tags_len > rest - head->reason_len ||
        head->lines_len > rest - head->reason_len - head->tags_len ||
        head->body_len != rest - head->reason_len - head->tags_len - head->lines_len ||
        head->etag_at > head->lines_len || head->etag_len > head->lines_len - head->etag_at)
        return false;
    object->reason = slice_make(at, head->reason_len);
    at += head->reason_len;
    object->tags = slice_make(at, head->tags_len);
    at += head->tags_len;
    object->lines = slice_make(at, head->lines_len);
    object->body = slice_make(at + head->lines_len, head->body_len);
    return true;
}

bool object_parse_head(struct slice piece, size_t len, struct object *object)
{
    return piece.len >= sizeof(object->head) && object_parse(slice_make(piece.data, len), object) &&
           (size_t)(object->body.data - piece.data) <= piece.len;
}

/* One "Name: value\r\n" off the front; false: the end. */
static bool next_line(struct slice *lines, struct http1_header *header)
{
    const char *end = memchr(lines->data, '\r', lines->len);
    const char *colon;
    size_t len;

    if (end == NULL || end == lines->data)
        return false;
    len = (size_t)(end - lines->data);
    colon = memchr(lines->data, ':', len);
    if (colon == NULL || (size_t)(colon - lines->data) + 2 > len || len + 2 > lines->len)
        return false;
    header->name = slice_make(lines->data, (size_t)(colon - lines->data));
    header->value = slice_make(colon + 2, len - header->name.len - 2);
    *lines = slice_make(end + 2, lines->len - len - 2);
    return true;
}

size_t object_fields(struct slice lines, struct http1_header *list, size_t max)
{
    size_t n = 0;

    while (n < max && next_line(&lines, &list[n]))
        n++;
    return n;
}

static void find_etag(struct slice lines, struct object_head *head)
{
    const char *start = lines.data;
    struct http1_header header;

    while (next_line(&lines, &header)) {
        if (!slice_ieq(header.name, "etag"))
            continue;
        head->etag_at = (uint32_t)(header.value.data - start);
        head->etag_len = (uint32_t)header.value.len;
        return;
    }
}

int object_begin(struct buf *out, const struct object_head *head, struct slice reason,
                 struct slice tags, struct slice lines)
{
    struct object_head full = *head;
    int status;

    full.magic = OBJECT_MAGIC;
    full.reason_len = (uint32_t)reason.len;
    full.tags_len = (uint32_t)tags.len;
    full.lines_len = (uint32_t)lines.len;
    if (full.kind == OBJECT_PAGE || full.kind == OBJECT_PART)
        find_etag(lines, &full);
    status = buf_append(out, &full, sizeof(full));
    if (status == ERR_OK)
        status = buf_append(out, reason.data, reason.len);
    if (status == ERR_OK)
        status = buf_append(out, tags.data, tags.len);
    if (status == ERR_OK)
        status = buf_append(out, lines.data, lines.len);
    return status;
}

void object_finish(char *start, uint64_t body_len)
{
    memcpy(start + offsetof(struct object_head, body_len), &body_len, sizeof(body_len));
}

int64_t object_age_s(const struct object_head *head, int64_t now_ms)
{
    int64_t resident_ms = now_ms - head->stored_ms;

    return head->age_s + (resident_ms > 0 ? resident_ms / 1000 : 0);
}

int64_t object_ttl_s(const struct object_head *head, int64_t now_ms)
{
    return head->lifetime_s - object_age_s(head, now_ms);
}

struct slice object_etag(const struct object *object)
{
    return slice_make(object->lines.data + object->head.etag_at, object->head.etag_len);
}
