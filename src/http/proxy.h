/* The caching reverse proxy: requests of the site's clients answered from a cache, or from an
 * origin server with its answer stored (RFC 9111). One per worker; knows caches, origins and HTTP
 * messages, no client sockets.
 *
 * One request at a time runs in a proxy_exchange, which its owner (a session) keeps and reuses. A
 * hit is answered inside proxy_begin() and allocates nothing.
 */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include "cache/cache.h"
#include "common/list.h"
#include "http/object.h"
#include "proto/http1.h"

struct proxy;
struct flight;
struct site_route;
struct lookup;

struct proxy_exchange;

/* What the owner does for the proxy. */
struct proxy_owner {
    /* Where bytes of the response go now. */
    struct buf *(*out)(struct proxy_exchange *exchange);
    /* Whether so many bytes wait for the client that no more should be given. */
    bool (*congested)(struct proxy_exchange *exchange);
    /* Whether a value could be sent from shared memory now, and: it follows what is in out. The pin
     * is taken over; ERR_NOMEM has ended it. */
    bool (*can_lend)(struct proxy_exchange *exchange);
    int (*lend)(struct proxy_exchange *exchange, struct pin *pin);
    /* Bytes were put into out, not inside proxy_begin(): send them. */
    void (*flush)(struct proxy_exchange *exchange);
    /* More of the request's body is welcome again (proxy_wants_body()). */
    void (*want_body)(struct proxy_exchange *exchange);
    /* After PROXY_PENDING: the response is in out, or exchange->broken. Nothing is called after. */
    void (*done)(struct proxy_exchange *exchange);
};

struct proxy_exchange {
    /* Set by the owner before proxy_begin(). */
    const struct proxy_owner *owner;
    const struct http1_request *request; /* stays until the end */
    const char *peer;                    /* "127.0.0.1:4711" or "unix" */
    bool keep_alive;                     /* in: the request's; out: what the response says */
    /* Results. */
    bool broken; /* the response is cut off: end the connection at once */
    int status;  /* of the response, for the log; 0 = none */
    bool tunnel; /* the client and the server have switched to another protocol: what it sends now
                    goes to proxy_body() as it is */
    bool admin;  /* PROXY_API: clients of this machine need no token */

    /* The proxy's own. */
    struct proxy *proxy;
    struct site_route *route;
    struct fields fields; /* of the request */
    struct buf key;       /* of the page, then of the variant */
    size_t page_len;      /* how much of it is the page's */
    struct buf names;     /* of the selecting fields; empty: not a variant */
    uint64_t generation;
    struct buf found;    /* a stored object that may be stale */
    bool trusted, https; /* the peer is one of trusted_proxies; its client came so */
    bool has_part;       /* found is a fresh part of the page, which does not suffice */
    bool has_found, cacheable, head_only, coalesced;
    unsigned looks;
    const char *upgrade; /* the protocol that the client wants, and may; NULL: none */
    const char *forward; /* why the origin is asked, for Cache-Status */
    struct lookup *lookup;
    struct flight *flight;
    struct list link; /* flight->readers */
    uint64_t at, end; /* of the flight's body: the next byte, and the one past the last */
    bool head_sent, chunked, flushed;
    /* For the log. */
    uint64_t began_ns, body_bytes, origin_ms;
    const char *origin; /* the server that answered; NULL: none was asked */
    char cache_text[96];
    bool beginning, answered; /* inside proxy_begin(); and answered there */
};

enum proxy_result {
    PROXY_ANSWERED,
    PROXY_PENDING,
    PROXY_API, /* the route leads to the API: the owner asks it, and the proxy is done with the
                  exchange; its `admin` says which */
};

/* slot: this worker's. */
int proxy_create(uv_loop_t *loop, struct caches *caches, const struct heritage *heritage,
                 unsigned slot, struct proxy **out, struct errmsg *msg) MUST_CHECK;
/* No exchange may be pending. */
void proxy_destroy(struct proxy *proxy);

enum proxy_result proxy_begin(struct proxy *proxy, struct proxy_exchange *exchange);
/* A piece of the request's body, borrowed; last: its end (with a piece or without). Only while it
 * is pending. */
void proxy_body(struct proxy_exchange *exchange, struct slice piece, bool last);
bool proxy_wants_body(const struct proxy_exchange *exchange);
/* Open the access log anew (USR1). */
void proxy_reopen_log(struct proxy *proxy);
/* The client has ended its side. */
void proxy_ended(struct proxy_exchange *exchange);
/* The client has read what waited for it. */
void proxy_drained(struct proxy_exchange *exchange);
/* The client is gone: done() will not be called. */
void proxy_cancel(struct proxy_exchange *exchange);
/* Free what an exchange keeps between requests. */
void proxy_exchange_fini(struct proxy_exchange *exchange);

/* A response to a request that could not be parsed: closes. */
int proxy_refuse(struct buf *out, int status, const char *why) MUST_CHECK;

#endif
