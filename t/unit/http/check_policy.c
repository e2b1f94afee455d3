/* The rules of HTTP caching, by tables: Cache-Control, dates, freshness, Vary, conditions, ranges.
 */
#include "http/conditional.h"
#include "http/freshness.h"
#include "http/message.h"
#include "http/vary.h"

#include <check.h>
#include <stdlib.h>

#define NOW_S 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

/* "Name: value\nName: value" as fields; the text stays borrowed. */
static struct fields fields_of(const char *text, struct http1_header list[16])
{
    struct fields fields = {.list = list};

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        size_t name = strcspn(text, ":");

        ck_assert(name < len && fields.n < 16);
        list[fields.n].name = slice_make(text, name);
        text += name + 1;
        len -= name + 1;
        while (len > 0 && *text == ' ') {
            text++;
            len--;
        }
        list[fields.n++].value = slice_make(text, len);
        text += len;
        text += *text == '\n';
    }
    return fields;
}

START_TEST(dates)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: refused */
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"SUN, 06 nov 1994 08:49:37 gmt", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Thursday, 18-Aug-50 02:01:18 GMT", 2544400878},
        {"Sunday, 06-Nov-99 08:49:37 GMT", 941878177},
        {"", -1},
        {"0", -1},
        {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
        {"Sun, 06 Nov 94 08:49:37 GMT", -1},
        {"Sun 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06  Nov  1994 08:49:37 GMT", -1},
        {"Sun, 06-Nov-1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08.49.37 GMT", -1},
        {"Sun, 06 Nov 1994 8:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 24:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
        {"Sun, 06 Nov 1994 08:49:37", -1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t seconds = -1;
        bool good = field_date(slice_cstr(cases[i].text), NOW_S, &seconds);

        ck_assert_msg(good == (cases[i].seconds >= 0), "%s", cases[i].text);
        ck_assert_msg(!good || seconds == cases[i].seconds, "%s: %lld", cases[i].text,
                      (long long)seconds);
    }
}
END_TEST

START_TEST(lists)
{
    struct http1_header list[16];
    struct fields fields = fields_of("A: x, \"q, r\" ,, y\nB: n\nA:\na: \"\\\",\",z", list);
    static const char *const want[] = {"x", "\"q, r\"", "y", "\"\\\",\"", "z"};
    struct field_walk walk = field_walk(fields, "a");
    struct slice element;
    size_t n = 0;

    while (field_next(&walk, &element)) {
        ck_assert(n < sizeof(want) / sizeof(want[0]));
        ck_assert(slice_eq(element, slice_cstr(want[n])));
        n++;
    }
    ck_assert_uint_eq(n, 5);
    ck_assert(field_lists(fields, "B", "N"));
    ck_assert(!field_lists(fields, "B", "nn"));
}
END_TEST

START_TEST(cache_control)
{
    struct http1_header list[16];
    struct cachecontrol cc = cachecontrol_parse(
        fields_of("Cache-Control: Max-Age=5, ext=\"no-store, s-maxage=9\", no-cache=\"a, b\"\n"
                  "Cache-Control: max-age=7, MUST-revalidate, stale-if-error=x",
                  list),
        "cache-control");

    ck_assert(cc.present && cc.must_revalidate && !cc.no_store && !cc.no_cache);
    ck_assert_int_eq(cc.max_age, 5);
    ck_assert_int_eq(cc.s_maxage, CACHECONTROL_NONE);
    ck_assert_int_eq(cc.stale_if_error, 0);
    ck_assert(slice_eq(cc.no_cache_fields, SLICE_LIT("a, b")));
    cc = cachecontrol_parse(fields_of("Cache-Control: max-age=99999999999999999999", list),
                            "Cache-Control");
    ck_assert_int_eq(cc.max_age, FIELD_SECONDS_MAX);
    cc = cachecontrol_parse(fields_of("Cache-Control: no-cache=\"a\", no-cache", list),
                            "Cache-Control");
    ck_assert(cc.no_cache);
}
END_TEST

START_TEST(targeted_cache_control)
{
    struct http1_header list[16];
    bool targeted;
    struct cachecontrol cc;

    cc = cachecontrol_effective(
        fields_of("Cache-Control: no-store\nCDN-Cache-Control: max-age=5", list), &targeted);
    ck_assert(targeted && !cc.no_store && cc.max_age == 5);
    /* One that is no Structured Field does not count at all (RFC 9213 section 2.1). */
    cc = cachecontrol_effective(
        fields_of("Cache-Control: no-store\nCDN-Cache-Control: max-age=\"5\"", list), &targeted);
    ck_assert(!targeted && cc.no_store);
    cc = cachecontrol_effective(
        fields_of("Cache-Control: no-store\nCDN-Cache-Control: max-age=5, &&&", list), &targeted);
    ck_assert(!targeted && cc.no_store);
}
END_TEST

struct storing {
    int status;
    const char *fields;
    const char *flags;  /* a: Authorization, c: Cookie, s: the route stores Set-Cookie */
    int64_t lifetime_s; /* -1: not stored */
    const char *why;
};

#define DATE "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"

static const struct storing storings[] = {
    {200, "Cache-Control: max-age=60", "", 60, NULL},
    {200, "Cache-Control: max-age=60, s-maxage=10", "", 10, NULL},
    {200, "Cache-Control: s-maxage=10, max-age=60", "", 10, NULL},
    {200, DATE "Expires: Tue, 14 Nov 2023 22:14:20 GMT", "", 60, NULL},
    {200, DATE "Expires: Tue, 14 Nov 2023 22:14:20 GMT\nCache-Control: max-age=5", "", 5, NULL},
    {200, DATE "Expires: 0", "", -1, "stale"},
    {200, DATE "Expires: 0\nETag: \"x\"", "", 0, NULL},
    {200, "Date: nonsense\nExpires: Tue, 14 Nov 2023 22:14:20 GMT", "", 60, NULL},
    {200, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "", 8640, NULL},
    {200, DATE "Last-Modified: Mon, 13 Nov 2000 22:13:20 GMT", "", 86400, NULL},
    {200, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "c", 0, NULL},
    {203, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "", 8640, NULL},
    {404, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "", 8640, NULL},
    {403, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "", -1, "status"},
    {503, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", "", -1, "status"},
    {599, DATE "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT\nCache-Control: public", "", 8640,
     NULL},
    {503, "Cache-Control: max-age=60", "", 60, NULL},
    {200, "", "", -1, "stale"},
    {200, "ETag: \"x\"", "", 0, NULL},
    {200, "Cache-Control: no-store, max-age=60", "", -1, "no-store"},
    {200, "Cache-Control: private, max-age=60", "", -1, "private"},
    {200, "Cache-Control: private=\"x\", max-age=60", "", 60, NULL},
    {200, "Cache-Control: no-cache, max-age=60", "", -1, "stale"},
    {200, "Cache-Control: no-cache, max-age=60\nETag: \"x\"", "", 60, NULL},
    {200, "Cache-Control: no-store, must-understand, max-age=60", "", 60, NULL},
    {599, "Cache-Control: no-store, must-understand, max-age=60", "", -1, "status"},
    {200, "Cache-Control: max-age=60", "a", -1, "authorization"},
    {200, "Cache-Control: max-age=60, public", "a", 60, NULL},
    {200, "Cache-Control: max-age=60, must-revalidate", "a", 60, NULL},
    {200, "Cache-Control: s-maxage=60", "a", 60, NULL},
    {200, "Cache-Control: max-age=60\nSet-Cookie: a=b", "", -1, "set-cookie"},
    {200, "Cache-Control: max-age=60\nSet-Cookie: a=b", "s", 60, NULL},
    {200, "Cache-Control: max-age=60", "c", 60, NULL},
    {200, "Cache-Control: max-age='60'", "", -1, "stale"},
    {200, "Cache-Control: max-age=-5", "", -1, "stale"},
    {200, "Cache-Control: max-age=60\nAge: 100", "", -1, "stale"},
    {200, "Cache-Control: max-age=0, stale-while-revalidate=9", "", 0, NULL},
    {200, "Cache-Control: max-age=60\nCDN-Cache-Control: no-store", "", -1, "no-store"},
    {200, "Cache-Control: no-store\nCDN-Cache-Control: max-age=7", "", 7, NULL},
    {200, DATE "Expires: Tue, 14 Nov 2023 22:14:20 GMT\nCDN-Cache-Control: max-age=0", "", -1,
     "stale"},
};

START_TEST(storability)
{
    const struct storing *s = &storings[_i];
    struct http1_header list[16];
    struct freshness_rules rules = {.set_cookie = strchr(s->flags, 's') != NULL};
    struct freshness_case c = {.status = s->status,
                               .fields = fields_of(s->fields, list),
                               .authorized = strchr(s->flags, 'a') != NULL,
                               .cookies = strchr(s->flags, 'c') != NULL,
                               .now_s = NOW_S};
    struct freshness f = freshness_judge(&c, &rules);

    ck_assert_msg(f.store == (s->lifetime_s >= 0), "%d %s: %s", s->status, s->fields,
                  f.why == NULL ? "stored" : f.why);
    if (f.store)
        ck_assert_int_eq(f.lifetime_s, s->lifetime_s);
    else
        ck_assert_str_eq(f.why, s->why);
}
END_TEST

START_TEST(ages)
{
    static const struct {
        const char *fields;
        int64_t delay_s, age_s;
    } cases[] = {
        {"Date: Tue, 14 Nov 2023 22:13:20 GMT", 0, 0},
        {"Date: Tue, 14 Nov 2023 22:13:10 GMT", 0, 10},
        {"Date: Tue, 14 Nov 2023 22:14:10 GMT", 3, 3},
        {"Age: 7", 2, 9},
        {"Age: 7, 0", 0, 7},
        {"Age: 0, 7", 0, 0},
        {"Age: 7\nAge: 0", 0, 7},
        {"Age: -7", 0, 0},
        {"Age: 7.0", 0, 0},
        {"Age: 2147483649", 0, FIELD_SECONDS_MAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http1_header list[16];
        struct freshness_rules rules = {0};
        struct freshness_case c = {.status = 200,
                                   .fields = fields_of(cases[i].fields, list),
                                   .now_s = NOW_S,
                                   .delay_s = cases[i].delay_s};

        ck_assert_msg(freshness_judge(&c, &rules).age_s == cases[i].age_s, "%s", cases[i].fields);
    }
}
END_TEST

START_TEST(rules_of_the_route)
{
    struct http1_header list[16];
    struct freshness_case c = {
        .status = 200,
        .fields = fields_of("Cache-Control: max-age=600, must-revalidate, stale-if-error=4", list),
        .now_s = NOW_S};
    struct freshness_rules rules = {.ttl_max_s = 60, .stale_if_error_s = 9};
    struct freshness f = freshness_judge(&c, &rules);

    ck_assert_int_eq(f.lifetime_s, 60);
    ck_assert_int_eq(f.if_error_s, 4);
    ck_assert(f.never_stale);
    rules.ttl_s = 5;
    ck_assert_int_eq(freshness_judge(&c, &rules).lifetime_s, 5);
    c.fields = fields_of("X: y", list);
    f = freshness_judge(&c, &rules);
    ck_assert(f.store && f.lifetime_s == 5 && f.if_error_s == 9);
}
END_TEST

/* ---- Vary ---- */

static void key_of(const char *names, const char *request, struct buf *key)
{
    struct http1_header list[16];

    buf_truncate(key, 0);
    ck_assert_int_eq(vary_key(slice_cstr(names), 7, fields_of(request, list), key), ERR_OK);
}

static void expect_vary(const char *names, const char *a, const char *b, bool same)
{
    struct buf left = {0}, right = {0};

    key_of(names, a, &left);
    key_of(names, b, &right);
    ck_assert_msg(slice_eq(buf_slice(&left), buf_slice(&right)) == same, "%s: %s | %s", names, a,
                  b);
    buf_fini(&left);
    buf_fini(&right);
}

START_TEST(variants)
{
    expect_vary("foo", "Foo: 1", "foo: 1", true);
    expect_vary("foo", "Foo: 1", "Foo: 2", false);
    expect_vary("foo", "Foo: a", "Foo: A", false);
    expect_vary("foo", "Foo: 1, 2", "Foo: 1\nFoo: 2", true);
    expect_vary("foo", "Foo: 1,2", "Foo:  1 ,  2 ", true);
    expect_vary("foo", "Foo: 1, 2", "Foo: 2, 1", false);
    expect_vary("foo", "Foo: 1", "Bar: 1", false);
    expect_vary("foo", "Foo:", "Bar: 1", false);
    expect_vary("bar,foo", "Foo: 1\nBar: 2", "Bar: 2\nFoo: 1\nBaz: 3", true);
    expect_vary("bar,foo", "Foo: 1\nBar: 2", "Foo: 2\nBar: 1", false);
    expect_vary("bar,foo", "Bar: 1,\nFoo: 2", "Bar: 1\nFoo: ,2", true);
    expect_vary("accept-language", "Accept-Language: en, de", "Accept-Language: DE,en", true);
    expect_vary("accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: br", false);
}
END_TEST

START_TEST(vary_names_are_canonical)
{
    static const struct {
        const char *fields;
        enum vary_kind kind;
        const char *names;
    } cases[] = {
        {"X: y", VARY_NONE, ""},
        {"Vary:", VARY_NONE, ""},
        {"Vary: Foo", VARY_FIELDS, "foo"},
        {"Vary: Foo, bar\nVary: FOO", VARY_FIELDS, "bar,foo"},
        {"Vary: *", VARY_STAR, ""},
        {"Vary: Foo, *", VARY_STAR, ""},
        {"Vary:\nVary: , *", VARY_STAR, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http1_header list[16];
        struct buf names = {0};
        int status;

        ck_assert_int_eq(vary_names(fields_of(cases[i].fields, list), &names, &status),
                         cases[i].kind);
        ck_assert_int_eq(status, ERR_OK);
        if (cases[i].kind == VARY_FIELDS)
            ck_assert(slice_eq(buf_slice(&names), slice_cstr(cases[i].names)));
        buf_fini(&names);
    }
}
END_TEST

/* ---- conditions and ranges ---- */

static const struct validators stored = {
    .etag = {"\"abc\"", 5}, .modified_s = NOW_S - 100, .date_s = NOW_S, .now_s = NOW_S};

START_TEST(conditions)
{
    static const struct {
        const char *request;
        bool not_modified;
    } cases[] = {
        {"X: y", false},
        {"If-None-Match: \"abc\"", true},
        {"If-None-Match: W/\"abc\"", true},
        {"If-None-Match: \"x\", \"abc\"", true},
        {"If-None-Match: \"x\"\nIf-None-Match: \"abc\"", true},
        {"If-None-Match: *", true},
        {"If-None-Match: \"ab\"", false},
        {"If-None-Match: \"x,abc\"", false},
        {"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT", true},
        {"If-Modified-Since: Tue, 14 Nov 2023 22:11:40 GMT", true},
        {"If-Modified-Since: Tue, 14 Nov 2023 22:11:39 GMT", false},
        {"If-Modified-Since: yesterday", false},
        {"If-None-Match: \"x\"\nIf-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http1_header list[16];

        ck_assert_msg(conditional_not_modified(fields_of(cases[i].request, list), &stored) ==
                          cases[i].not_modified,
                      "%s", cases[i].request);
    }
}
END_TEST

START_TEST(ranges)
{
    static const struct {
        const char *request;
        enum range_result result;
        uint64_t first, last;
    } cases[] = {
        {"X: y", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1", RANGE_PART, 0, 1},
        {"Range: bytes=1-", RANGE_PART, 1, 9},
        {"Range: bytes=-3", RANGE_PART, 7, 9},
        {"Range: bytes=-30", RANGE_PART, 0, 9},
        {"Range: BYTES=2-99", RANGE_PART, 2, 9},
        {"Range: bytes=10-", RANGE_OUTSIDE, 0, 0},
        {"Range: bytes=-0", RANGE_OUTSIDE, 0, 0},
        {"Range: bytes=3-2", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1,3-4", RANGE_NONE, 0, 0},
        {"Range: bytes=", RANGE_NONE, 0, 0},
        {"Range: bytes=a-b", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1x", RANGE_NONE, 0, 0},
        {"Range: lines=0-1", RANGE_NONE, 0, 0},
        {"Range: bytes=99999999999999999999-", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1\nIf-Range: \"abc\"", RANGE_PART, 0, 1},
        {"Range: bytes=0-1\nIf-Range: W/\"abc\"", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1\nIf-Range: \"x\"", RANGE_NONE, 0, 0},
        {"Range: bytes=0-1\nIf-Range: Tue, 14 Nov 2023 22:11:40 GMT", RANGE_PART, 0, 1},
        {"Range: bytes=0-1\nIf-Range: Tue, 14 Nov 2023 22:11:41 GMT", RANGE_NONE, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http1_header list[16];
        uint64_t first = 0, last = 0;
        enum range_result result =
            conditional_range(fields_of(cases[i].request, list), &stored, 10, &first, &last);

        ck_assert_msg(result == cases[i].result, "%s: %d", cases[i].request, result);
        if (result == RANGE_PART)
            ck_assert(first == cases[i].first && last == cases[i].last);
    }
}
END_TEST

/* ---- keys and hops ---- */

START_TEST(hosts)
{
    static const char *const good[] = {"a",     "a.example", "a:80", "1.2.3.4:5",
                                       "[::1]", "[::1]:80",  "a_b-c"};
    static const char *const bad[] = {"",         ":80",  "a b",    "a/b", "a@b",   "a:b",
                                      "a:123456", "[::1", "[::1]x", "a,b", "a\x80", "[a/b]"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(message_host_valid(slice_cstr(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!message_host_valid(slice_cstr(bad[i])), "%s", bad[i]);
}
END_TEST

static void expect_key(const char *host, const char *path, const char *query, char *ignore,
                       bool sort, const char *want)
{
    struct message_query how = {.ignore = &ignore, .n_ignore = ignore != NULL, .sort = sort};
    struct buf key = {0};

    struct message_page page = {.host = slice_cstr(host),
                                .path = slice_cstr(path),
                                .query = query == NULL ? slice_make(NULL, 0) : slice_cstr(query)};

    ck_assert_int_eq(message_key(&page, &how, &key), ERR_OK);
    ck_assert_msg(slice_eq(buf_slice(&key), slice_cstr(want)), "%.*s", (int)buf_len(&key),
                  buf_head(&key));
    buf_fini(&key);
}

START_TEST(chosen_parameters)
{
    char id[] = "id", page_glob[] = "page*", utm[] = "page_x";
    char *keep[] = {id, page_glob}, *ignore[] = {utm};
    struct message_query how = {
        .keep = keep, .n_keep = 2, .ignore = ignore, .n_ignore = 1, .sort = true};
    struct message_page page = {.host = SLICE_LIT("a"),
                                .path = SLICE_LIT("/"),
                                .query = SLICE_LIT("x=1&pages=2&id=3&page_x=4&ident=5")};
    struct buf key = {0};

    ck_assert_int_eq(message_key(&page, &how, &key), ERR_OK);
    ck_assert(slice_eq(buf_slice(&key), SLICE_LIT("http://a/?id=3&pages=2")));
    buf_fini(&key);
    ck_assert(message_has_parameter(SLICE_LIT("a&preview"), (char *[]){"preview"}, 1));
    ck_assert(!message_has_parameter(SLICE_LIT("a=preview&b"), (char *[]){"preview"}, 1));
    ck_assert(!message_has_parameter(SLICE_LIT(""), (char *[]){"preview"}, 1));
}
END_TEST

START_TEST(cookies)
{
    struct http1_header list[] = {{SLICE_LIT("Cookie"), SLICE_LIT("a=1; b=2=3;c ;; d=")},
                                  {SLICE_LIT("X"), SLICE_LIT("e=1")},
                                  {SLICE_LIT("cookie"), SLICE_LIT("f=\"x,y\"")}};
    static const char *const want[] = {"a", "1", "b", "2=3", "c", "", "d", "", "f", "\"x,y\""};
    struct cookie_walk walk = cookie_walk((struct fields){list, 3});
    struct slice name, value;
    size_t n = 0;

    for (; cookie_next(&walk, &name, &value); n += 2) {
        ck_assert_uint_lt(n, sizeof(want) / sizeof(want[0]));
        ck_assert(slice_eq(name, slice_cstr(want[n])));
        ck_assert(slice_eq(value, slice_cstr(want[n + 1])));
    }
    ck_assert_uint_eq(n, sizeof(want) / sizeof(want[0]));
}
END_TEST

START_TEST(keys)
{
    char utm[] = "utm_*";

    expect_key("A.Example:80", "/P", NULL, NULL, false, "http://a.example/P");
    expect_key("a:8080", "/P", "b=1&a=2", NULL, false, "http://a:8080/P?b=1&a=2");
    expect_key("a", "/P", "", NULL, false, "http://a/P?");
    expect_key("a", "/P", "b=1&a=2&a=1", NULL, true, "http://a/P?a=1&a=2&b=1");
    expect_key("a", "/P", "utm_x=1&b=1&utm_y", utm, false, "http://a/P?b=1");
    expect_key("a", "/P", "utm_x=1", utm, false, "http://a/P");
}
END_TEST

START_TEST(hops)
{
    struct http1_header list[16];
    struct fields fields = fields_of("Connection: x-a, Close\nX-A: 1\nX-B: 2", list);
    static const char *const hop[] = {
        "X-A",     "connection",        "Keep-Alive", "TE",
        "trailer", "Transfer-Encoding", "Upgrade",    "Proxy-Authorization"};

    for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
        ck_assert_msg(message_is_hop(fields, slice_cstr(hop[i])), "%s", hop[i]);
    ck_assert(!message_is_hop(fields, SLICE_LIT("X-B")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tcase = tcase_create("policy");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, dates);
    tcase_add_test(tcase, lists);
    tcase_add_test(tcase, cache_control);
    tcase_add_test(tcase, targeted_cache_control);
    tcase_add_loop_test(tcase, storability, 0, sizeof(storings) / sizeof(storings[0]));
    tcase_add_test(tcase, ages);
    tcase_add_test(tcase, rules_of_the_route);
    tcase_add_test(tcase, variants);
    tcase_add_test(tcase, vary_names_are_canonical);
    tcase_add_test(tcase, conditions);
    tcase_add_test(tcase, ranges);
    tcase_add_test(tcase, hosts);
    tcase_add_test(tcase, chosen_parameters);
    tcase_add_test(tcase, cookies);
    tcase_add_test(tcase, keys);
    tcase_add_test(tcase, hops);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
