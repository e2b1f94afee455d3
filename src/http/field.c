#include "http/field.h"

#include <stdio.h>
#include <strings.h>

struct slice field_get(struct fields fields, const char *name)
{
    for (size_t i = 0; i < fields.n; i++)
        if (slice_ieq(fields.list[i].name, name))
            return fields.list[i].value;
    return slice_make(NULL, 0);
}

size_t field_count(struct fields fields, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < fields.n; i++)
        n += slice_ieq(fields.list[i].name, name);
    return n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Where the element that begins here ends: at a comma outside quotes. */
static size_t element_len(struct slice text)
{
    bool quoted = false;
    size_t i;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] == '"')
            quoted = !quoted;
        else if (text.data[i] == '\\' && quoted && i + 1 < text.len)
            i++;
        else if (text.data[i] == ',' && !quoted)
            break;
    }
    return i;
}

bool field_split(struct slice *rest, struct slice *element)
{
    while (rest->len > 0) {
        size_t len = element_len(*rest);
        size_t taken = len < rest->len ? len + 1 : len;

        *element = trim(slice_make(rest->data, len));
        *rest = slice_make(rest->data + taken, rest->len - taken);
        if (element->len > 0)
            return true;
    }
    return false;
}

struct field_walk field_walk(struct fields fields, const char *name)
{
    return (struct field_walk){.fields = fields, .name = name};
}

bool field_next(struct field_walk *walk, struct slice *element)
{
    for (;;) {
        if (field_split(&walk->rest, element))
            return true;
        while (walk->line < walk->fields.n &&
               !slice_ieq(walk->fields.list[walk->line].name, walk->name))
            walk->line++;
        if (walk->line == walk->fields.n)
            return false;
        walk->rest = walk->fields.list[walk->line++].value;
    }
}

struct cookie_walk cookie_walk(struct fields fields)
{
    return (struct cookie_walk){.fields = fields};
}

/* The next pair of one line, between semicolons; false: there is none. */
static bool split_pair(struct slice *rest, struct slice *pair)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->data, ';', rest->len);
        size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
        size_t taken = end == NULL ? len : len + 1;

        *pair = trim(slice_make(rest->data, len));
        *rest = slice_make(rest->data + taken, rest->len - taken);
        if (pair->len > 0)
            return true;
    }
    return false;
}

bool cookie_next(struct cookie_walk *walk, struct slice *name, struct slice *value)
{
    struct slice pair;
    const char *equals;

    while (!split_pair(&walk->rest, &pair)) {
        while (walk->line < walk->fields.n &&
               !slice_ieq(walk->fields.list[walk->line].name, "cookie"))
            walk->line++;
        if (walk->line == walk->fields.n)
            return false;
        walk->rest = walk->fields.list[walk->line++].value;
    }
    equals = memchr(pair.data, '=', pair.len);
    *name = slice_make(pair.data, equals == NULL ? pair.len : (size_t)(equals - pair.data));
    *value =
        equals == NULL ? slice_make(NULL, 0) : slice_make(equals + 1, pair.len - name->len - 1);
    return true;
}

bool field_lists(struct fields fields, const char *name, const char *token)
{
    struct field_walk walk = field_walk(fields, name);
    struct slice element;

    while (field_next(&walk, &element))
        if (slice_ieq(element, token))
            return true;
    return false;
}

bool field_seconds(struct slice text, int64_t *seconds)
{
    int64_t n = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (text.data[i] - '0');
        if (n > FIELD_SECONDS_MAX)
            n = FIELD_SECONDS_MAX;
    }
    *seconds = n;
    return true;
}

/* ---- dates ---- */

/* Days since 1970 of a date of the Gregorian calendar. Source: H. Hinnant, "chrono-compatible
 * low-level date algorithms", days_from_civil. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t era, of_era, of_year;

    year -= month <= 2;
    era = (year >= 0 ? year : year - 399) / 400;
    of_era = year - era * 400;
    of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct scan {
    const char *at, *end;
    bool bad;
};

static int number(struct scan *scan, int digits)
{
    int n = 0;

    while (digits-- > 0) {
        if (scan->at == scan->end || *scan->at < '0' || *scan->at > '9') {
            scan->bad = true;
            return 0;
        }
        n = n * 10 + (*scan->at++ - '0');
    }
    return n;
}

static void literal(struct scan *scan, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(scan->end - scan->at) < len || strncasecmp(scan->at, text, len) != 0)
        scan->bad = true;
    else
        scan->at += len;
}

static int one_of(struct scan *scan, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        size_t len = strlen(names[i]);

        if ((size_t)(scan->end - scan->at) >= len && strncasecmp(scan->at, names[i], len) == 0) {
            scan->at += len;
            return i;
        }
    }
    scan->bad = true;
    return 0;
}

static int month(struct scan *scan)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    return one_of(scan, names, 12) + 1;
}

static int64_t clock_time(struct scan *scan)
{
    int hour = number(scan, 2), minute, second;

    literal(scan, ":");
    minute = number(scan, 2);
    literal(scan, ":");
    second = number(scan, 2);
    if (hour > 23 || minute > 59 || second > 60)
        scan->bad = true;
    return hour * 3600 + minute * 60 + second;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", behind the comma. */
static int64_t fixed_date(struct scan *scan)
{
    int64_t days, time;
    int day, mon;

    literal(scan, " ");
    day = number(scan, 2);
    literal(scan, " ");
    mon = month(scan);
    literal(scan, " ");
    days = days_of(number(scan, 4), mon, day);
    literal(scan, " ");
    time = clock_time(scan);
    literal(scan, " GMT");
    return days * 86400 + time;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", behind the comma. A year that would be more than 50 years ahead
 * is of the last century. */
static int64_t dashed_date(struct scan *scan, int64_t now_s)
{
    int64_t time, date_s;
    int day, mon, year;

    literal(scan, " ");
    day = number(scan, 2);
    literal(scan, "-");
    mon = month(scan);
    literal(scan, "-");
    year = 2000 + number(scan, 2);
    literal(scan, " ");
    time = clock_time(scan);
    literal(scan, " GMT");
    date_s = days_of(year, mon, day) * 86400 + time;
    if (date_s > now_s + INT64_C(50) * 31556952)
        date_s = days_of(year - 100, mon, day) * 86400 + time;
    return date_s;
}

/* "Sun Nov  6 08:49:37 1994", behind the day's name. */
static int64_t asctime_date(struct scan *scan)
{
    int64_t time;
    int day, mon;

    literal(scan, " ");
    mon = month(scan);
    literal(scan, " ");
    if (scan->at < scan->end && *scan->at == ' ') {
        scan->at++;
        day = number(scan, 1);
    } else {
        day = number(scan, 2);
    }
    literal(scan, " ");
    time = clock_time(scan);
    literal(scan, " ");
    return days_of(number(scan, 4), mon, day) * 86400 + time;
}

bool field_date(struct slice text, int64_t now_s, int64_t *date_s)
{
    static const char *const long_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                             "Thursday", "Friday", "Saturday"};
    static const char *const names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct scan scan, dashed;

    if (text.len == 0)
        return false;
    scan = (struct scan){.at = text.data, .end = text.data + text.len};
    dashed = scan;
    (void)one_of(&dashed, long_names, 7);
    if (!dashed.bad) {
        literal(&dashed, ",");
        *date_s = dashed_date(&dashed, now_s);
        return !dashed.bad && dashed.at == dashed.end;
    }
    (void)one_of(&scan, names, 7);
    if (scan.at < scan.end && *scan.at == ',') {
        scan.at++;
        *date_s = fixed_date(&scan);
    } else {
        *date_s = asctime_date(&scan);
    }
    return !scan.bad && scan.at == scan.end;
}
