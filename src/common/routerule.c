#include "common/routerule.h"

#include "common/glob.h"
#include "common/units.h"

#include <ctype.h>

#define NAME_MAX_BYTES 256

bool routerule_is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.data[i]) &&
            strchr("!#$%&'*+-.^_`|~", name.data[i]) == NULL)
            return false;
    return name.len > 0;
}

static bool is_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f)
            return false;
    return value.len > 0;
}

bool routerule_field(const char *text, struct slice *name, struct slice *value)
{
    const char *colon = strchr(text, ':');

    if (colon == NULL)
        return false;
    *name = slice_make(text, (size_t)(colon - text));
    *value = slice_cstr(colon + 1 + strspn(colon + 1, " \t"));
    while (value->len > 0 && strchr(" \t", value->data[value->len - 1]) != NULL)
        value->len--;
    return routerule_is_name(*name) && is_value(*value);
}

static struct slice lower(struct slice text, char out[NAME_MAX_BYTES])
{
    for (size_t i = 0; i < text.len; i++)
        out[i] = (char)tolower((unsigned char)text.data[i]);
    return slice_make(out, text.len);
}

bool routerule_names(char *const *globs, size_t n, struct slice name)
{
    char own[NAME_MAX_BYTES], other[NAME_MAX_BYTES];

    if (n == 0 || name.len > sizeof(own))
        return false;
    name = lower(name, own);
    for (size_t i = 0; i < n; i++) {
        struct slice glob = slice_cstr(globs[i]);

        if (glob.len <= sizeof(other) && glob_match(lower(glob, other), name))
            return true;
    }
    return false;
}

static bool sets(const struct routerule_fields *rules, struct slice wanted)
{
    struct slice name, value;

    for (size_t i = 0; i < rules->n_set; i++)
        if (routerule_field(rules->set[i], &name, &value) && name.len == wanted.len &&
            strncasecmp(name.data, wanted.data, name.len) == 0)
            return true;
    return false;
}

bool routerule_sets(const struct routerule_fields *rules, const char *name)
{
    return sets(rules, slice_cstr(name));
}

bool routerule_drops(const struct routerule_fields *rules, struct slice name)
{
    return sets(rules, name) || routerule_names(rules->remove, rules->n_remove, name);
}

/* "404" or "4xx" at *text, which moves behind it and the blanks after it. */
static bool take_status(const char **text, int *first, int *last)
{
    const char *s = *text;

    if (s[0] < '1' || s[0] > '5')
        return false;
    *first = *last = (s[0] - '0') * 100;
    if (s[1] == 'x' && s[2] == 'x') {
        *last += 99;
    } else if (isdigit((unsigned char)s[1]) && isdigit((unsigned char)s[2])) {
        *first += (s[1] - '0') * 10 + s[2] - '0';
        *last = *first;
    } else {
        return false;
    }
    if (s[3] != ' ' && s[3] != ':')
        return false;
    *text = s + 3 + strspn(s + 3, " ");
    return true;
}

int routerule_status_ttl(const char *text, int status, bool *fits, uint64_t *ttl_ms)
{
    int first, last;

    *fits = false;
    do {
        if (!take_status(&text, &first, &last))
            return ERR_INVALID;
        *fits = *fits || (status >= first && status <= last);
    } while (*text != ':');
    return units_parse_time(text + 1 + strspn(text + 1, " "), ttl_ms);
}
