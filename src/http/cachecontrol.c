#include "http/cachecontrol.h"

static void set_seconds(int64_t *to, struct slice value)
{
    int64_t seconds;

    if (*to != CACHECONTROL_NONE)
        return;
    *to = field_seconds(value, &seconds) ? seconds : 0;
}

static void set_fields(bool *flag, struct slice *names, bool has_value, struct slice value)
{
    if (!has_value || value.len == 0)
        *flag = true;
    else if (names->data == NULL)
        *names = value;
    else /* twice: as if unconditional, which is safe */
        *flag = true;
}

static struct slice unquote(struct slice value)
{
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        return slice_make(value.data + 1, value.len - 2);
    return value;
}

static bool set_flag(struct cachecontrol *cc, struct slice name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"no-store", &cc->no_store},
        {"public", &cc->is_public},
        {"must-revalidate", &cc->must_revalidate},
        {"proxy-revalidate", &cc->proxy_revalidate},
        {"must-understand", &cc->must_understand},
        {"immutable", &cc->immutable},
        {"no-transform", &cc->no_transform},
        {"only-if-cached", &cc->only_if_cached},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (!slice_ieq(name, flags[i].name))
            continue;
        *flags[i].flag = true;
        return true;
    }
    return false;
}

static void set_value(struct cachecontrol *cc, struct slice name, bool has_value,
                      struct slice value)
{
    const struct {
        const char *name;
        int64_t *seconds;
    } times[] = {
        {"max-age", &cc->max_age},
        {"s-maxage", &cc->s_maxage},
        {"stale-while-revalidate", &cc->stale_while_revalidate},
        {"stale-if-error", &cc->stale_if_error},
        {"min-fresh", &cc->min_fresh},
    };

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (slice_ieq(name, times[i].name))
            set_seconds(times[i].seconds, value);
    if (slice_ieq(name, "max-stale")) {
        if (has_value)
            set_seconds(&cc->max_stale, value);
        else if (cc->max_stale == CACHECONTROL_NONE)
            cc->max_stale = FIELD_SECONDS_MAX;
    }
    if (slice_ieq(name, "no-cache"))
        set_fields(&cc->no_cache, &cc->no_cache_fields, has_value, value);
    if (slice_ieq(name, "private"))
        set_fields(&cc->is_private, &cc->private_fields, has_value, value);
}

static void take_directive(struct cachecontrol *cc, struct slice directive)
{
    const char *equals = memchr(directive.data, '=', directive.len);
    struct slice name = directive, value = {0};

    if (equals != NULL) {
        name.len = (size_t)(equals - directive.data);
        value = unquote(slice_make(equals + 1, directive.len - name.len - 1));
    }
    if (!set_flag(cc, name))
        set_value(cc, name, equals != NULL, value);
}

struct cachecontrol cachecontrol_parse(struct fields fields, const char *name)
{
    struct cachecontrol cc = {.max_age = CACHECONTROL_NONE,
                              .s_maxage = CACHECONTROL_NONE,
                              .stale_while_revalidate = CACHECONTROL_NONE,
                              .stale_if_error = CACHECONTROL_NONE,
                              .max_stale = CACHECONTROL_NONE,
                              .min_fresh = CACHECONTROL_NONE};
    struct field_walk walk = field_walk(fields, name);
    struct slice directive;

    while (field_next(&walk, &directive)) {
        cc.present = true;
        take_directive(&cc, directive);
    }
    return cc;
}

/* A targeted field is a Structured Field dictionary, and one that does not parse as such is as good
 * as absent (RFC 9213 section 2.1): ages must be integers there. */
static bool is_valid_target(struct fields fields, const char *name)
{
    static const char *const ages[] = {"max-age", "s-maxage", "stale-while-revalidate",
                                       "stale-if-error"};
    struct field_walk walk = field_walk(fields, name);
    struct slice directive;
    int64_t ignored;

    while (field_next(&walk, &directive)) {
        const char *equals = memchr(directive.data, '=', directive.len);
        size_t len = equals == NULL ? directive.len : (size_t)(equals - directive.data);
        struct slice value =
            slice_make(directive.data + len + 1, equals == NULL ? 0 : directive.len - len - 1);

        for (size_t i = 0; i < len; i++)
            if (strchr(" \t\"(){}<>@,;:\\/[]?&", directive.data[i]) != NULL)
                return false;
        for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++)
            if (slice_ieq(slice_make(directive.data, len), ages[i]) &&
                !field_seconds(value, &ignored))
                return false;
        if (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t'))
            return false;
    }
    return true;
}

struct cachecontrol cachecontrol_effective(struct fields fields, bool *targeted)
{
    static const char *const targets[] = {"CDN-Cache-Control"};

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct cachecontrol cc = cachecontrol_parse(fields, targets[i]);

        *targeted = cc.present && is_valid_target(fields, targets[i]);
        if (*targeted)
            return cc;
    }
    return cachecontrol_parse(fields, "Cache-Control");
}
