/* Whether a response may be stored in a shared cache, and for how long it may be used (RFC 9111
 * sections 3 and 4.2, RFC 5861). Pure: times are given. */
#ifndef HTTP_FRESHNESS_H
#define HTTP_FRESHNESS_H

#include "http/cachecontrol.h"

/* What a route says beside the response. */
struct freshness_rules {
    int64_t ttl_s;            /* instead of what the response says; 0 = as it says */
    int64_t ttl_max_s;        /* at most; 0 = no limit */
    bool has_status_ttl;      /* there is a rule for its status, where it says nothing itself */
    int64_t status_ttl_s;     /* the rule's; 0 = not stored */
    int64_t stale_if_error_s; /* where the response says nothing of it */
    bool set_cookie;          /* responses with Set-Cookie may be stored */
};

/* A response to a GET. */
struct freshness_case {
    int status;
    struct fields fields;
    bool authorized; /* the request had Authorization */
    bool cookies;    /* the request had Cookie */
    int64_t now_s;   /* wall time of its arrival, seconds since 1970 */
    int64_t delay_s; /* from sending the request to that */
};

struct freshness {
    bool store;
    const char *why;      /* it may not be stored: a token for Cache-Status; else NULL */
    bool always_validate; /* no-cache: never used without asking */
    bool never_stale;     /* must-revalidate and the like: once stale never without asking */
    int64_t lifetime_s;   /* freshness lifetime; 0 = stale at once */
    int64_t age_s;        /* on arrival: the corrected initial age */
    int64_t while_revalidate_s, if_error_s; /* how far past its lifetime it may be used */
    int64_t date_s, modified_s;             /* Date (or arrival), Last-Modified (-1 = none) */
};

struct freshness freshness_judge(const struct freshness_case *c,
                                 const struct freshness_rules *rules);

/* Whether the status is one that may be cached without explicit freshness (RFC 9110
 * section 15.1). */
bool freshness_heuristic_status(int status);

#endif
