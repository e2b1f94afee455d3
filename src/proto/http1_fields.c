#include "proto/http1_fields.h"

#include <stdlib.h>

/* Memory kept between messages. */
#define TEXT_KEEP   4096
#define FIELDS_KEEP 64
#define FIELDS_MIN  16

/* "Name: value\r\n": a header line beyond name and value. */
#define LINE_EXTRA (sizeof(": \r\n") - 1)

enum http1_fields_status http1_fields_count(struct http1_fields *fields, size_t len,
                                            const struct http1_limits *limits)
{
    fields->bytes += len;
    return fields->bytes > limits->header_bytes ? FIELDS_TOO_LARGE : FIELDS_OK;
}

static enum http1_fields_status append(struct http1_fields *fields, const char *at, size_t len)
{
    return buf_append(&fields->text, at, len) == ERR_OK ? FIELDS_OK : FIELDS_NOMEM;
}

static enum http1_fields_status begin(struct http1_fields *fields,
                                      const struct http1_limits *limits)
{
    struct http1_place *places;
    size_t cap;

    if (fields->n >= (uint64_t)limits->header_count)
        return FIELDS_TOO_MANY;
    if (fields->n == fields->cap) {
        cap = fields->cap == 0 ? FIELDS_MIN : fields->cap * 2;
        places = realloc(fields->places, cap * sizeof(*places));
        if (places == NULL)
            return FIELDS_NOMEM;
        fields->places = places;
        fields->cap = cap;
        free(fields->list); /* grows with it */
        fields->list = NULL;
    }
    fields->places[fields->n++] = (struct http1_place){.name = buf_len(&fields->text)};
    return http1_fields_count(fields, LINE_EXTRA, limits);
}

enum http1_fields_status http1_fields_name(struct http1_fields *fields, const char *at, size_t len,
                                           const struct http1_limits *limits)
{
    enum http1_fields_status status = http1_fields_count(fields, len, limits);

    if (status == FIELDS_OK && !fields->in_name)
        status = begin(fields, limits);
    if (status != FIELDS_OK)
        return status;
    fields->in_name = true;
    fields->places[fields->n - 1].name_len += len;
    return append(fields, at, len);
}

enum http1_fields_status http1_fields_name_end(struct http1_fields *fields)
{
    if (!fields->in_name || fields->places[fields->n - 1].name_len == 0)
        return FIELDS_NAMELESS;
    fields->in_name = false;
    fields->places[fields->n - 1].value = buf_len(&fields->text);
    return FIELDS_OK;
}

enum http1_fields_status http1_fields_value(struct http1_fields *fields, const char *at, size_t len,
                                            const struct http1_limits *limits)
{
    enum http1_fields_status status = http1_fields_count(fields, len, limits);

    if (status != FIELDS_OK)
        return status;
    if (fields->n == 0)
        return FIELDS_NAMELESS;
    fields->places[fields->n - 1].value_len += len;
    return append(fields, at, len);
}

static struct slice trim(struct slice value)
{
    while (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value.data++;
        value.len--;
    }
    while (value.len > 0 && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    return value;
}

int http1_fields_publish(struct http1_fields *fields)
{
    const char *base;

    if (fields->list == NULL)
        fields->list = malloc((fields->cap + 1) * sizeof(*fields->list));
    if (fields->list == NULL)
        return ERR_NOMEM;
    base = buf_slice(&fields->text).data;
    for (size_t i = 0; i < fields->n; i++) {
        const struct http1_place *place = &fields->places[i];

        fields->list[i].name = slice_make(base + place->name, place->name_len);
        fields->list[i].value = trim(slice_make(base + place->value, place->value_len));
    }
    return ERR_OK;
}

size_t http1_fields_named(const struct http1_fields *fields, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < fields->n; i++)
        n += slice_ieq(fields->list[i].name, name);
    return n;
}

static void free_lists(struct http1_fields *fields)
{
    free(fields->places);
    free(fields->list);
    fields->places = NULL;
    fields->list = NULL;
    fields->cap = 0;
}

void http1_fields_reset(struct http1_fields *fields)
{
    buf_truncate(&fields->text, 0);
    buf_shrink(&fields->text, TEXT_KEEP);
    if (fields->cap > FIELDS_KEEP)
        free_lists(fields);
    fields->n = 0;
    fields->bytes = 0;
    fields->in_name = false;
}

void http1_fields_fini(struct http1_fields *fields)
{
    buf_fini(&fields->text);
    free_lists(fields);
    fields->n = 0;
}
