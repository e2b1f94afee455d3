#include "http/conditional.h"

#include <strings.h>

static bool is_weak(struct slice tag)
{
    return tag.len >= 2 && tag.data[0] == 'W' && tag.data[1] == '/';
}

bool conditional_etags_equal(struct slice a, struct slice b, bool strong)
{
    if (a.len == 0 || b.len == 0 || (strong && (is_weak(a) || is_weak(b))))
        return false;
    if (is_weak(a))
        a = slice_make(a.data + 2, a.len - 2);
    if (is_weak(b))
        b = slice_make(b.data + 2, b.len - 2);
    return slice_eq(a, b);
}

static bool lists_etag(struct fields request, struct slice etag)
{
    struct field_walk walk = field_walk(request, "If-None-Match");
    struct slice element;

    while (field_next(&walk, &element))
        if (slice_eq(element, SLICE_LIT("*")) || conditional_etags_equal(element, etag, false))
            return true;
    return false;
}

bool conditional_not_modified(struct fields request, const struct validators *stored)
{
    struct slice since;
    int64_t since_s;

    if (field_get(request, "If-None-Match").data != NULL)
        return lists_etag(request, stored->etag);
    since = field_get(request, "If-Modified-Since");
    if (since.data == NULL || !field_date(since, stored->now_s, &since_s))
        return false;
    return (stored->modified_s >= 0 ? stored->modified_s : stored->date_s) <= since_s;
}

/* If-Range (section 13.1.5): a strong tag, or the very date of Last-Modified. */
static bool range_applies(struct fields request, const struct validators *stored)
{
    struct slice condition = field_get(request, "If-Range");
    int64_t date_s;

    if (condition.data == NULL)
        return true;
    if (condition.len > 0 && (condition.data[0] == '"' || is_weak(condition)))
        return conditional_etags_equal(condition, stored->etag, true);
    return stored->modified_s >= 0 && field_date(condition, stored->now_s, &date_s) &&
           date_s == stored->modified_s;
}

/* Digits at the start of text, taken off; false: none, or too many. */
static bool take_number(struct slice *text, uint64_t *n)
{
    size_t i = 0;

    *n = 0;
    while (i < text->len && text->data[i] >= '0' && text->data[i] <= '9' && i < 18)
        *n = *n * 10 + (uint64_t)(text->data[i++] - '0');
    *text = slice_make(text->data + i, text->len - i);
    return i > 0;
}

static bool take_char(struct slice *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = slice_make(text->data + 1, text->len - 1);
    return true;
}

static enum range_result suffix(struct slice text, uint64_t size, uint64_t *first, uint64_t *last)
{
    uint64_t n;

    if (!take_number(&text, &n) || text.len > 0)
        return RANGE_NONE;
    if (n == 0 || size == 0)
        return RANGE_OUTSIDE;
    *first = n < size ? size - n : 0;
    *last = size - 1;
    return RANGE_PART;
}

static enum range_result parse_range(struct slice text, uint64_t size, uint64_t *first,
                                     uint64_t *last)
{
    if (take_char(&text, '-'))
        return suffix(text, size, first, last);
    if (!take_number(&text, first) || !take_char(&text, '-'))
        return RANGE_NONE;
    *last = size - 1;
    if (text.len > 0 && (!take_number(&text, last) || text.len > 0 || *last < *first))
        return RANGE_NONE;
    if (*first >= size)
        return RANGE_OUTSIDE;
    if (*last >= size)
        *last = size - 1;
    return RANGE_PART;
}

enum range_result conditional_range(struct fields request, const struct validators *stored,
                                    uint64_t size, uint64_t *first, uint64_t *last)
{
    struct slice text = field_get(request, "Range");

    if (text.len < 6 || strncasecmp(text.data, "bytes=", 6) != 0 ||
        memchr(text.data, ',', text.len) != NULL || !range_applies(request, stored))
        return RANGE_NONE;
    return parse_range(slice_make(text.data + 6, text.len - 6), size, first, last);
}

bool conditional_one_range(struct fields request)
{
    struct slice text = field_get(request, "Range");
    uint64_t first, last;

    return text.len >= 6 && strncasecmp(text.data, "bytes=", 6) == 0 &&
           field_count(request, "Range") == 1 &&
           parse_range(slice_make(text.data + 6, text.len - 6), INT64_MAX, &first, &last) ==
               RANGE_PART;
}

bool conditional_content_range(struct slice value, uint64_t *first, uint64_t *last, uint64_t *size)
{
    if (value.len < 6 || strncasecmp(value.data, "bytes ", 6) != 0)
        return false;
    value = slice_make(value.data + 6, value.len - 6);
    return take_number(&value, first) && take_char(&value, '-') && take_number(&value, last) &&
           take_char(&value, '/') && take_number(&value, size) && value.len == 0 &&
           *first <= *last && *last < *size;
}
