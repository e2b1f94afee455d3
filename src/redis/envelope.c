#include "redis/envelope.h"

#define FIXED_LEN  8 /* magic, version, flags, header_len */
#define FIELD_LEN  3 /* type, len */
#define VERSION    1
#define HEADER_MAX UINT16_MAX

static const struct slice magic = SLICE_LIT("\x93"
                                            "CTE");

enum field { FIELD_CONTENT_TYPE = 1, FIELD_CLIENT_FLAGS = 2, FIELD_CREATED = 3, FIELD_TAG = 4, FIELD_MARK = 5 };

static char *put_le(char *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *p++ = (char)(value >> (8 * i));
    return p;
}

static uint64_t get_le(const char *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return value;
}

static char *put_field(char *p, enum field type, const void *data, size_t len)
{
    *p++ = (char)type;
    p = put_le(p, len, 2);
    memcpy(p, data, len);
    return p + len;
}

static char *put_number(char *p, enum field type, uint64_t value, unsigned bytes)
{
    char le[8];

    put_le(le, value, bytes);
    return put_field(p, type, le, bytes);
}

/* The value first: it is of a fixed length. */
static char *put_tag(char *p, const struct envelope_tag *tag)
{
    *p++ = FIELD_TAG;
    p = put_le(p, ENVELOPE_TAG_VALUE + tag->name.len, 2);
    memcpy(p, tag->value.data, ENVELOPE_TAG_VALUE);
    p += ENVELOPE_TAG_VALUE;
    if (tag->name.len > 0)
        memcpy(p, tag->name.data, tag->name.len);
    return p + tag->name.len;
}

bool envelope_needed(const struct envelope *envelope)
{
    return envelope->content_type.len > 0 || envelope->n_tags > 0 || envelope->client_flags != 0 ||
           envelope->mark != 0 || slice_starts(envelope->value, magic);
}

/* Fixed part and fields, without the value. */
static size_t header_len(const struct envelope *envelope)
{
    size_t len = FIXED_LEN;

    if (envelope->content_type.len > 0)
        len += FIELD_LEN + envelope->content_type.len;
    if (envelope->client_flags != 0)
        len += FIELD_LEN + 4;
    if (envelope->created_wall_ms != 0)
        len += FIELD_LEN + 8;
    if (envelope->mark != 0)
        len += FIELD_LEN + 4;
    for (unsigned i = 0; i < envelope->n_tags; i++)
        len += FIELD_LEN + ENVELOPE_TAG_VALUE + envelope->tags[i].name.len;
    return len;
}

int envelope_encode(const struct envelope *envelope, struct buf *out)
{
    size_t len = header_len(envelope);
    char *p;

    if (!envelope_needed(envelope))
        return buf_append(out, envelope->value.data, envelope->value.len);
    if (len > HEADER_MAX)
        return ERR_LIMIT;
    p = buf_reserve(out, len + envelope->value.len);
    if (p == NULL)
        return ERR_NOMEM;
    memcpy(p, magic.data, magic.len);
    p = put_le(p + magic.len, VERSION, 1);
    p = put_le(p, 0, 1);
    p = put_le(p, len, 2);
    if (envelope->content_type.len > 0)
        p = put_field(p, FIELD_CONTENT_TYPE, envelope->content_type.data,
                      envelope->content_type.len);
    if (envelope->client_flags != 0)
        p = put_number(p, FIELD_CLIENT_FLAGS, envelope->client_flags, 4);
    if (envelope->created_wall_ms != 0)
        p = put_number(p, FIELD_CREATED, envelope->created_wall_ms, 8);
    if (envelope->mark != 0)
        p = put_number(p, FIELD_MARK, envelope->mark, 4);
    for (unsigned i = 0; i < envelope->n_tags; i++)
        p = put_tag(p, &envelope->tags[i]);
    if (envelope->value.len > 0)
        memcpy(p, envelope->value.data, envelope->value.len);
    buf_commit(out, len + envelope->value.len);
    return ERR_OK;
}

/* A known type with another length than it has is corrupt; an unknown type is skipped. */
static int take_field(struct envelope *out, unsigned type, struct slice bytes)
{
    switch (type) {
    case FIELD_CONTENT_TYPE:
        out->content_type = bytes;
        return ERR_OK;
    case FIELD_CLIENT_FLAGS:
        if (bytes.len != 4)
            return ERR_INVALID;
        out->client_flags = (uint32_t)get_le(bytes.data, 4);
        return ERR_OK;
    case FIELD_CREATED:
        if (bytes.len != 8)
            return ERR_INVALID;
        out->created_wall_ms = get_le(bytes.data, 8);
        return ERR_OK;
    case FIELD_MARK:
        if (bytes.len != 4)
            return ERR_INVALID;
        out->mark = (uint32_t)get_le(bytes.data, 4);
        return ERR_OK;
    case FIELD_TAG:
        if (bytes.len < ENVELOPE_TAG_VALUE || out->n_tags == ENVELOPE_TAGS_MAX)
            return ERR_INVALID;
        out->n_tags++;
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static int take_fields(struct envelope *out, const char *p, const char *end)
{
    while (p < end) {
        size_t len;

        if (end - p < FIELD_LEN)
            return ERR_INVALID;
        len = get_le(p + 1, 2);
        if ((size_t)(end - p - FIELD_LEN) < len)
            return ERR_INVALID;
        if (take_field(out, (unsigned char)p[0], slice_make(p + FIELD_LEN, len)) != ERR_OK)
            return ERR_INVALID;
        p += FIELD_LEN + len;
    }
    return ERR_OK;
}

int envelope_decode(struct slice stored, struct envelope *out)
{
    struct envelope found = {.content_type = SLICE_LIT(""), .value = stored};
    size_t len;

    if (!slice_starts(stored, magic)) {
        *out = found;
        return ERR_OK;
    }
    if (stored.len < FIXED_LEN)
        return ERR_INVALID;
    /* Flags say how the value is coded; none is known in this version. */
    if (stored.data[4] != VERSION || stored.data[5] != 0)
        return ERR_INVALID;
    len = get_le(stored.data + 6, 2);
    if (len < FIXED_LEN || len > stored.len)
        return ERR_INVALID;
    if (take_fields(&found, stored.data + FIXED_LEN, stored.data + len) != ERR_OK)
        return ERR_INVALID;
    found.value = slice_make(stored.data + len, stored.len - len);
    found.fields = slice_make(stored.data + FIXED_LEN, len - FIXED_LEN);
    *out = found;
    return ERR_OK;
}

bool envelope_next_tag(const struct envelope *envelope, size_t *at, struct envelope_tag *out)
{
    while (*at < envelope->fields.len) {
        const char *p = envelope->fields.data + *at;
        size_t len = get_le(p + 1, 2);

        *at += FIELD_LEN + len;
        if (p[0] != FIELD_TAG)
            continue;
        p += FIELD_LEN;
        out->value = slice_make(p, ENVELOPE_TAG_VALUE);
        out->name = slice_make(p + ENVELOPE_TAG_VALUE, len - ENVELOPE_TAG_VALUE);
        return true;
    }
    return false;
}
