#include "http/vary.h"

#include <stdlib.h>

#define NAMES_MAX    32 /* fields of one Vary, beyond which a response is not shared */
#define ELEMENTS_MAX 64 /* of one list that is sorted; longer ones stay as they are */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static int compare(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = strncasecmp(x->data, y->data, len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int append_lower(struct buf *out, struct slice text)
{
    char *to = buf_reserve(out, text.len);

    if (to == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < text.len; i++)
        to[i] = lower(text.data[i]);
    buf_commit(out, text.len);
    return ERR_OK;
}

enum vary_kind vary_names(struct fields response, struct buf *names, int *status)
{
    struct slice list[NAMES_MAX];
    struct field_walk walk = field_walk(response, "Vary");
    size_t n = 0;

    *status = ERR_OK;
    while (n < NAMES_MAX && field_next(&walk, &list[n])) {
        if (slice_eq(list[n], SLICE_LIT("*")))
            return VARY_STAR;
        n++;
    }
    if (n == NAMES_MAX)
        return VARY_STAR;
    qsort(list, n, sizeof(list[0]), compare);
    for (size_t i = 0; i < n && *status == ERR_OK; i++) {
        if (i > 0 && compare(&list[i - 1], &list[i]) == 0)
            continue;
        if (buf_len(names) > 0)
            *status = buf_append(names, ",", 1);
        if (*status == ERR_OK)
            *status = append_lower(names, list[i]);
    }
    return n == 0 ? VARY_NONE : VARY_FIELDS;
}

/* Fields whose elements may stand in any order and case. */
static bool is_preference(struct slice name)
{
    return slice_ieq(name, "accept") || slice_ieq(name, "accept-language") ||
           slice_ieq(name, "accept-encoding");
}

static int append_value(struct fields request, struct slice name, struct buf *key)
{
    struct slice list[ELEMENTS_MAX];
    char text[128];
    struct field_walk walk;
    struct slice element;
    bool preference = is_preference(name);
    size_t n = 0;
    int status = ERR_OK;

    if (name.len >= sizeof(text))
        return ERR_INVALID;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    if (field_count(request, text) == 0)
        return buf_append(key, "\n", 1);
    walk = field_walk(request, text);
    while (status == ERR_OK && field_next(&walk, &element)) {
        if (preference && n < ELEMENTS_MAX) {
            list[n++] = element;
            continue;
        }
        status = buf_append(key, ",", 1);
        if (status == ERR_OK)
            status = buf_append(key, element.data, element.len);
    }
    qsort(list, n, sizeof(list[0]), compare);
    for (size_t i = 0; i < n && status == ERR_OK; i++) {
        status = buf_append(key, ",", 1);
        if (status == ERR_OK)
            status = append_lower(key, list[i]);
    }
    /* A field that is there and empty is not one that is absent. */
    return status == ERR_OK ? buf_append(key, "=\n", 2) : status;
}

int vary_key(struct slice names, uint64_t generation, struct fields request, struct buf *key)
{
    struct slice name;
    int status = buf_printf(key, "\n%016llx\n", (unsigned long long)generation);

    while (status == ERR_OK && field_split(&names, &name))
        status = append_value(request, name, key);
    return status;
}
