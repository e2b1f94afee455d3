#include "http/freshness.h"

#include <stdlib.h>

/* Of a document's age at the origin, a tenth, and no more than a day (RFC 9111 section 4.2.2). */
#define HEURISTIC_PART  10
#define HEURISTIC_MAX_S 86400

bool freshness_heuristic_status(int status)
{
    static const int statuses[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* Statuses whose caching rules are known here (must-understand, RFC 9111 section 5.2.2.3). */
static bool is_understood(int status)
{
    return freshness_heuristic_status(status) || (status >= 302 && status <= 307) ||
           (status >= 400 && status <= 417) || (status >= 500 && status <= 505);
}

/* The first value of the first line; what is no number does not count (RFC 9111 section 5.1). */
static int64_t age_value(struct fields fields)
{
    struct slice line = field_get(fields, "Age");
    struct slice first;
    int64_t seconds;

    if (line.data == NULL || !field_split(&line, &first) || !field_seconds(first, &seconds))
        return 0;
    return seconds;
}

static int64_t initial_age(const struct freshness_case *c, int64_t date_s)
{
    int64_t apparent = c->now_s > date_s ? c->now_s - date_s : 0;
    int64_t corrected = age_value(c->fields) + c->delay_s;

    return apparent > corrected ? apparent : corrected;
}

/* Expires - Date; invalid or several differing ones: already expired (section 5.3). */
static int64_t expires_lifetime(const struct freshness_case *c, int64_t date_s)
{
    int64_t expires_s;

    if (field_count(c->fields, "Expires") > 1 ||
        !field_date(field_get(c->fields, "Expires"), c->now_s, &expires_s))
        return 0;
    return expires_s > date_s ? expires_s - date_s : 0;
}

static int64_t heuristic_lifetime(const struct freshness *f)
{
    int64_t tenth;

    if (f->modified_s < 0 || f->modified_s >= f->date_s)
        return 0;
    tenth = (f->date_s - f->modified_s) / HEURISTIC_PART;
    return tenth < HEURISTIC_MAX_S ? tenth : HEURISTIC_MAX_S;
}

/* The lifetime the message states; false: none. */
static bool explicit_lifetime(const struct freshness_case *c, const struct cachecontrol *cc,
                              bool targeted, struct freshness *f)
{
    if (cc->s_maxage != CACHECONTROL_NONE)
        f->lifetime_s = cc->s_maxage;
    else if (cc->max_age != CACHECONTROL_NONE)
        f->lifetime_s = cc->max_age;
    else if (!targeted && field_count(c->fields, "Expires") > 0)
        f->lifetime_s = expires_lifetime(c, f->date_s);
    else
        return false;
    return true;
}

/* Why it must not be stored; NULL: it may. */
static const char *forbidden(const struct freshness_case *c, const struct cachecontrol *cc,
                             const struct freshness_rules *rules)
{
    if (cc->must_understand && !is_understood(c->status))
        return "status";
    if (cc->no_store && !cc->must_understand)
        return "no-store";
    if (cc->is_private)
        return "private";
    if (c->authorized && !cc->is_public && !cc->must_revalidate &&
        cc->s_maxage == CACHECONTROL_NONE)
        return "authorization";
    if (!rules->set_cookie && field_get(c->fields, "Set-Cookie").data != NULL)
        return "set-cookie";
    return NULL;
}

static void set_times(const struct freshness_case *c, struct freshness *f)
{
    if (!field_date(field_get(c->fields, "Date"), c->now_s, &f->date_s))
        f->date_s = c->now_s;
    if (!field_date(field_get(c->fields, "Last-Modified"), c->now_s, &f->modified_s))
        f->modified_s = -1;
    f->age_s = initial_age(c, f->date_s);
}

static int64_t or_default(int64_t seconds, int64_t fallback)
{
    return seconds != CACHECONTROL_NONE ? seconds : fallback;
}

static bool has_validator(const struct freshness_case *c, const struct freshness *f)
{
    return f->modified_s >= 0 || field_get(c->fields, "ETag").len > 0;
}

struct freshness freshness_judge(const struct freshness_case *c,
                                 const struct freshness_rules *rules)
{
    bool targeted;
    struct cachecontrol cc = cachecontrol_effective(c->fields, &targeted);
    struct freshness f = {.why = forbidden(c, &cc, rules)};
    bool stated;

    set_times(c, &f);
    if (f.why != NULL)
        return f;
    stated = explicit_lifetime(c, &cc, targeted, &f);
    if (!stated && rules->has_status_ttl) {
        f.lifetime_s = rules->status_ttl_s > 0 ? rules->status_ttl_s + f.age_s : 0;
        stated = true;
    }
    if (!stated && (freshness_heuristic_status(c->status) || cc.is_public) && !c->cookies)
        f.lifetime_s = heuristic_lifetime(&f);
    if (rules->ttl_s > 0)
        f.lifetime_s = rules->ttl_s + f.age_s;
    else if (rules->ttl_max_s > 0 && f.lifetime_s > rules->ttl_max_s)
        f.lifetime_s = rules->ttl_max_s;
    f.always_validate = cc.no_cache;
    f.never_stale = cc.no_cache || cc.must_revalidate || cc.proxy_revalidate ||
                    cc.s_maxage != CACHECONTROL_NONE;
    f.while_revalidate_s = or_default(cc.stale_while_revalidate, 0);
    f.if_error_s = or_default(cc.stale_if_error, rules->stale_if_error_s);
    if (!stated && !freshness_heuristic_status(c->status) && !cc.is_public && rules->ttl_s == 0)
        f.why = "status";
    else if ((f.always_validate || f.lifetime_s <= f.age_s) && !has_validator(c, &f) &&
             f.while_revalidate_s == 0 && f.if_error_s == 0)
        f.why = "stale";
    f.store = f.why == NULL;
    return f;
}
