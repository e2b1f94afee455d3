/* What the files of the caching proxy share; nobody else includes this.
 *
 * proxy.c          routes; what kind of request this is
 * proxy_lookup.c   the cache's answer, and what follows from it
 * proxy_flight.c   one request to the origin, and those who wait for its response
 * proxy_judge.c    what becomes of a response: stored, passed on, an older one served
 * proxy_forward.c  the request that the origin gets
 * proxy_part.c     parts of pages
 * proxy_store.c    objects into the cache
 * proxy_respond.c  responses to clients
 * proxy_purge.c    the method PURGE
 */
#ifndef HTTP_PROXY_IMPL_H
#define HTTP_PROXY_IMPL_H

#include "common/routerule.h"
#include "http/conditional.h"
#include "http/freshness.h"
#include "http/message.h"
#include "http/origin.h"
#include "http/proxy.h"
#include "http/vary.h"

#define FLIGHT_BUCKETS   1024
#define PROXY_FIELDS_MAX 256          /* header lines of a response that are looked at */
#define PROXY_WINDOW     (256 * 1024) /* of a body that is passed on, unread by the slowest */
#define PROXY_LOOKS_MAX  8            /* looks into the cache for one request */

struct site_route {
    const struct config_route *config;
    struct cache *cache;
    struct origin *origin;
    struct freshness_rules rules;
    struct routerule_fields request, response; /* fields set and dropped on the way */
    size_t object_max;
};

struct proxy {
    uv_loop_t *loop;
    struct caches *caches;
    const struct heritage *heritage;
    unsigned slot;
    struct site_route *routes;
    size_t n_routes;
    struct list flights[FLIGHT_BUCKETS]; /* those that others may join, by key */
    struct list all;                     /* every flight */
    struct accesslog *log;               /* NULL: none */
    int64_t n_tunnels;                   /* open, or being opened */
    bool closing;
};

/* One request to an origin. Lives until its response is complete and everyone has read it. */
struct flight {
    struct list link; /* proxy->flights, or nowhere */
    struct list all;
    struct proxy *proxy;
    struct site_route *route;
    struct list readers; /* proxy_exchange.link; the first is the one it was begun for */
    struct origin_exchange io;
    struct buf request; /* head sent to the origin */
    struct buf client;  /* the client's header lines, and as fields */
    struct http1_header *client_list;
    size_t n_client;
    struct buf key; /* as in the exchange */
    size_t page_len;
    struct buf names;
    uint64_t generation;
    uint64_t lease; /* of key; 0 = none */
    bool get, cacheable, head_request, unsafe;
    const char *forward;
    struct buf stale; /* the stored object that is asked about, or completed; empty: none */
    bool validating;
    /* Parts of pages. */
    bool ranged;     /* the client's Range goes to the origin */
    bool completing; /* stale is a part */
    bool rest; /* the origin is asked for what stale lacks of the page, for one who wants all */
    bool part; /* what is being stored is one */
    uint64_t part_first, part_size;
    /* The request's body. */
    bool upload, upload_chunked, upload_ended, writable;
    /* Another protocol: asked for; agreed on; the client has ended its side. */
    bool upgrade, tunnel, client_ended;
    /* The response. */
    bool headed, ended, failed, storing, closed;
    unsigned pinned; /* callbacks that are at work with it */
    bool settled;    /* its readers were answered with something else: what comes is thrown away */
    int status;
    struct buf reason;
    struct buf lines; /* end-to-end fields for clients, without the empty line */
    enum http1_framing framing;
    uint64_t length; /* FRAMING_LENGTH, or HEAD's */
    struct buf data; /* [the object's head and lines, while storing] body from `base` on */
    size_t body_at;
    uint64_t base, received;
    uint64_t head_ms; /* from sending the request to the head */
    struct freshness freshness;
    struct buf tags;
};

/* proxy.c */
enum proxy_result proxy_fail(struct proxy_exchange *exchange, int status, const char *why);

/* proxy_purge.c. The page of exchange->key goes, where the client has the right. */
enum proxy_result purge_begin(struct proxy_exchange *exchange);

/* proxy_lookup.c. Answer from the cache, or by an origin. */
enum proxy_result lookup_begin(struct proxy_exchange *exchange);
/* Look again: what was waited for cannot be shared. Answers by done(). */
void lookup_again(struct proxy_exchange *exchange);
void lookup_cancel(struct proxy_exchange *exchange);
/* The key of the variant that the exchange's request selects. False: too long to be cached. */
bool lookup_variant(struct proxy_exchange *exchange);

/* proxy_flight.c */
/* Ask the origin for the exchange. lease: of exchange->key, or 0; the flight ends it. join: others
 * may join. */
enum proxy_result flight_begin(struct proxy_exchange *exchange, uint64_t lease, bool join);
/* Ask in the background whether `stale` still holds; takes the lease. */
void flight_refresh(struct proxy_exchange *exchange, struct slice stale, uint64_t lease);
/* The flight for this key that can be joined, or NULL. */
struct flight *flight_find(struct proxy_exchange *exchange);
enum proxy_result flight_join(struct flight *flight, struct proxy_exchange *exchange);
void flight_leave(struct proxy_exchange *exchange);
void flight_body(struct proxy_exchange *exchange, struct slice piece, bool last);
/* The client of a tunnel has ended its side. */
void flight_client_ended(struct flight *flight);
/* Readers have taken bytes: forget those, and read on. */
void flight_trim(struct flight *flight);
/* Nothing more comes; free it when nobody reads. */
void flight_close(struct flight *flight);

/* proxy_judge.c */
void judge_head(struct flight *flight, const struct http1_reply *reply);
void judge_end(struct flight *flight, int err);
/* Whether one who comes now may read along: another variant is not for it. */
bool judge_can_join(const struct flight *flight, const struct proxy_exchange *reader);
/* Whether an older response may be served because none came. */
bool judge_stale(const struct flight *flight);

/* proxy_forward.c. Compose flight->request, and flight->client, for the exchange's request. */
int forward_compose(struct flight *flight, const struct proxy_exchange *exchange) MUST_CHECK;

/* proxy_part.c */
/* Decide what of the page is asked for. part: a fresh one, or empty. */
void part_begin(struct flight *flight, const struct proxy_exchange *exchange, struct slice part);
/* The fields of the request that say so. */
int part_compose(struct flight *flight) MUST_CHECK;
/* Whether the 206 is a part that may be stored; sets flight->part. */
bool part_take(struct flight *flight, const struct http1_reply *reply);
/* Whether the 206 is what flight->stale lacks. */
bool part_completes(const struct flight *flight, const struct http1_reply *reply);
/* What has come, put together with flight->stale where that is possible. An object of kind PART, or
 * PAGE once nothing is missing. */
int part_merge(const struct flight *flight, struct buf *value) MUST_CHECK;

/* proxy_store.c */
void store_release(struct flight *flight, uint64_t retry_after_ms);
/* The page cannot be cached: say so to others for a while; ends the lease. */
void store_pass(struct flight *flight);
/* A whole object. Ends the lease. */
void store_object(struct flight *flight, struct slice object);
void store_invalidate(struct flight *flight, const struct http1_reply *reply);

/* proxy_respond.c */
/* Answer from an object whose bytes are at place, in out's room behind RESPOND_ROOM bytes. */
#define RESPOND_ROOM 768
void respond_placed(struct proxy_exchange *exchange, char *place, const struct object *object,
                    const char *status_text);
/* From a part of the page; false, and nothing is said: it does not suffice. */
bool respond_part(struct proxy_exchange *exchange, const struct object *object);
/* The same for an object somewhere else. */
/* From a pinned object: the whole or a part of its body is sent from where it lies. false: it takes
 * another answer than that; nothing was done, and the pin is the caller's yet. */
bool respond_lent(struct proxy_exchange *exchange, const struct object *object, struct pin *pin);
void respond_object(struct proxy_exchange *exchange, struct slice value, const char *status_text);
/* The route's own answer (target = "answer"). */
void respond_fixed(struct proxy_exchange *exchange);
/* A short answer of our own. */
void respond_own(struct proxy_exchange *exchange, int status, const char *why);
/* The head of the flight's response, then its body as far as it is there. */
void respond_head(struct proxy_exchange *exchange);
void respond_pump(struct proxy_exchange *exchange);
void respond_interim(struct proxy_exchange *exchange, const struct http1_reply *reply);
/* It is answered: detach from the flight, then done(). */
void respond_done(struct proxy_exchange *exchange);
/* No response came. stale: what may be served instead, or empty. Does not call done(). */
void respond_failure(struct proxy_exchange *exchange, const struct flight *flight, int err);

#endif
