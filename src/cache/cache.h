/* Named caches: the only place that knows both L1 (shared memory) and L2 (Redis).
 *
 * Every function that may have to wait takes an op. With op NULL it answers at once, or returns
 * CACHE_WAIT having changed nothing; called again with an op it returns CACHE_PENDING and op->done
 * runs later from the loop, exactly once. So a hit in shared memory allocates nothing:
 *
 *     status = cache_get(cache, key, sink, NULL, &info);
 *     if (status == CACHE_WAIT)
 *         status = cache_get(cache, key, sink, park(call), &info);
 *
 * Not found is CACHE_MISS, an answer and never an error. One process, one loop, no locks.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "cache/heritage.h"
#include "common/slice.h"
#include "shm/pin.h"
#include "shm/stat.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum cache_status {
    CACHE_OK,      /* found, stored, removed, changed */
    CACHE_MISS,    /* not there; or the condition of a change did not hold */
    CACHE_WAIT,    /* would have to wait, and no op was given; nothing was done */
    CACHE_PENDING, /* op->done will run */
    /* Failures: op->error or cache_status_text() has the sentence. */
    CACHE_NOT_INTEGER, /* INCR of something else */
    CACHE_OVERFLOW,    /* INCR beyond int64 */
    CACHE_TOO_LARGE,   /* key or value over its limit */
    CACHE_FULL,        /* no memory could be freed for it */
    CACHE_DOWN,        /* Redis decides this, and Redis is down */
    CACHE_TIMEOUT,     /* no answer in time; the outcome is unknown */
    CACHE_BUSY,        /* too many commands waiting, or a lock held too long */
    CACHE_REMOTE,      /* Redis answered with an error: its text is in op->error */
    CACHE_REFUSED,     /* not allowed here: op->error says why and which key changes it */
    CACHE_NOMEM,
};

struct caches; /* every named cache, as this process sees them */
struct cache;

/* What is known of an entry beside its bytes. */
struct cache_info {
    uint64_t expires_ms; /* boottime; 0 = none */
    size_t value_len;
    uint32_t client_flags;
    uint64_t created_wall_ms; /* 0 = unknown */
    char content_type[128];   /* "" = none */
    uint32_t mark;            /* not 0: a client marked it as stale (CHANGE_MARK) */
    bool accessed;            /* it was read before, as far as eviction remembers; L1 only */
    /* cache_fetch() only. */
    uint64_t
        lease;  /* not 0: the caller is to compute the value, then cache_fill() or cache_fail() */
    bool stale; /* past its expiry, or not to be trusted any more */
    uint64_t retry_ms; /* CACHE_BUSY: when it may be worth asking again; 0 = unknown */
    bool computing;    /* CACHE_OK: the lease would be due, and another has it */
};

/* Where a value goes. place() returns room for exactly info->value_len bytes and may write what
 * comes before them (a length line); it is called again when the first copy was overtaken by a
 * writer, and must then begin anew. NULL = no memory. */
struct cache_sink {
    char *(*place)(struct cache_sink *sink, const struct cache_info *info);
    /* NULL, or asked first where the value could be sent from shared memory as it lies there. true:
     * the pin is the sink's from now on, to be ended whatever the read's status will be, and there
     * will be no copy. */
    bool (*lend)(struct cache_sink *sink, const struct cache_info *info, const struct pin *pin);
};

struct cache_op {
    void (*done)(struct cache_op *op, enum cache_status status);
    /* Results, valid in done(). */
    struct cache_info info;
    int64_t integer; /* the new number, the new length, the count removed */
    char error[256]; /* for people, when status is a failure */
    /* The cache layer's own, from the call to done(). */
    void *work;
};

/* slot: this worker's, or SCOREBOARD_MAX - 1 + 1 (HERITAGE_OWNER_MASTER - 1) for the master. The
 * zones must be joined already. */
int caches_open(const struct heritage *heritage, uv_loop_t *loop, unsigned slot,
                struct caches **out, struct errmsg *msg) MUST_CHECK;
/* Ends pending ops with CACHE_DOWN, closes the pool; gone runs from the loop at the end. */
void caches_close(struct caches *caches, void (*gone)(void *arg), void *arg);
/* Give a loop turn: claim orphaned jobs, retry parked operations. Called when the slot's eventfd
 * was rung. */
void caches_wake(struct caches *caches);

struct cache *caches_find(struct caches *caches, struct slice name); /* NULL = unknown */
struct cache *caches_by_db(struct caches *caches, int64_t db);       /* NULL = none has it */
struct cache *caches_at(struct caches *caches, size_t number);
size_t caches_count(const struct caches *caches);

const struct config_cache *cache_config(const struct cache *cache);
struct zone *cache_zone(struct cache *cache);
bool cache_has_l2(const struct cache *cache);
/* What the memory behind the cache does when it is full, in Redis' words: of Redis, as it said when
 * last asked (each call asks anew, for the next one; "noeviction", its default, before the first
 * answer), else "allkeys-lru". */
const char *cache_memory_policy(struct cache *cache);
/* "ERR ..."-less sentence for a failure; limits are named with their config key. */
const char *cache_status_text(const struct cache *cache, enum cache_status status);

/* Read. sink NULL: only info (EXISTS, TTL, STRLEN). info: filled at once on CACHE_OK; for a pending
 * op it is op->info. */
enum cache_status cache_get(struct cache *cache, struct slice key, struct cache_sink *sink,
                            struct cache_op *op, struct cache_info *info);

/* The keys are about to be looked up: what memory has of them is on its way when this returns. */
void cache_prefetch(struct cache *cache, const struct slice *keys, size_t n);

struct cache_attrs {
    uint64_t expires_ms; /* boottime; 0 = none */
    uint32_t client_flags;
    uint64_t created_wall_ms;
    uint32_t mark; /* as in cache_info */
    struct slice content_type;
    const struct slice *tags; /* at most TABLE_TAGS_MAX */
    unsigned n_tags;
    uint32_t stale_ms; /* keep it so long beyond its expiry, for fetches that want it */
};

/* Store whatever is there (SET without conditions, MSET, HTTP PUT). key, value and attrs are copied
 * if it must wait. */
enum cache_status cache_put(struct cache *cache, struct slice key, struct slice value,
                            const struct cache_attrs *attrs, struct cache_op *op);

/* Remove one key: CACHE_OK it was there, CACHE_MISS it was not. */
enum cache_status cache_delete(struct cache *cache, struct slice key, struct cache_op *op);

/* ---- fetch: one computation a key, across every process of the host (design section 6) ---- */

struct cache_fetch {
    uint64_t lease_ms; /* how long the computation may take; 0 = 10 s */
    uint64_t wait_ms;  /* how long to wait for another's; 0 = not at all */
    uint64_t stale_ms; /* a value so far past its expiry will do meanwhile; 0 = none will */
    double beta;       /* of early refresh (shm/fetch.h); 0 = never */
    uint64_t early_ms; /* refresh when less than this remains; CACHE_ANY_TIME: in any case */
};

#define CACHE_ANY_TIME UINT64_MAX

/* What a client's fetch is where it does not say: a lease of 10 s, a wait of 5 s, both within
 * limits, no stale values, early refresh as published. */
struct cache_fetch cache_fetch_default(const struct cache *cache);
/* A client's beta: a decimal number from 0 on. */
#define CACHE_BETA_MAX 100
bool cache_beta_parse(struct slice text, double *beta);

/* Read, or get the right to compute. CACHE_OK: the value is in the sink; info->stale says whether
 * it still counts. CACHE_MISS: there is none, and info->lease is the caller's. With CACHE_OK too
 * info->lease may be set: the caller has a value and is to compute the next one. CACHE_BUSY:
 * another computes, and did not end within wait_ms; or it failed lately (retry_ms). A lease must be
 * ended by exactly one cache_fill() or cache_fail(), when its client goes away too; otherwise it
 * ends after lease_ms, or with this process. With L2 the holder of the lease asks Redis first, and
 * nobody computes what is there. info: as for cache_get(). */
enum cache_status cache_fetch(struct cache *cache, struct slice key, const struct cache_fetch *how,
                              struct cache_sink *sink, struct cache_op *op,
                              struct cache_info *info);

/* Store what was computed, if the lease still stands: CACHE_OK. CACHE_MISS: it does not (too late,
 * or the key was written, removed or cleared meanwhile); nothing was stored. The lease is over with
 * every answer but CACHE_WAIT. As cache_put() otherwise. */
enum cache_status cache_fill(struct cache *cache, struct slice key, uint64_t token,
                             struct slice value, const struct cache_attrs *attrs,
                             struct cache_op *op);

/* Give the lease back. retry_after_ms: nobody is to try within that time; 0 = the next one may at
 * once. CACHE_OK always, or CACHE_PENDING; op may be NULL, it is done all the same. */
enum cache_status cache_fail(struct cache *cache, struct slice key, uint64_t token,
                             uint64_t retry_after_ms, struct cache_op *op);

/* A lease as clients see it: so many hex digits. False: the text is none, or of no lease. */
#define CACHE_TOKEN_LEN 16
void cache_token_text(uint64_t token, char out[CACHE_TOKEN_LEN + 1]);
bool cache_token_parse(struct slice text, uint64_t *token);

/* Read-modify-write, decided in one place: under the table's compare-and-set on a memory cache, by
 * Redis itself where there is one (rule 11; with Redis down: CACHE_DOWN). */
enum cache_change_kind {
    CHANGE_SET,    /* store value */
    CHANGE_APPEND, /* integer = new length */
    CHANGE_INCR,   /* by delta; keeps the expiry; integer = new number */
    CHANGE_DELETE, /* GETDEL */
    CHANGE_EXPIRE, /* set expires_ms (0 = none, PERSIST: CACHE_OK only if it had one) */
    CHANGE_TOUCH,  /* GETEX: as EXPIRE, and return the value; want_old is implied */
    /* What memcached clients know. */
    CHANGE_PREPEND, /* integer = new length */
    CHANGE_COUNT,   /* by delta without a sign, down to 0 or up modulo 2^64; what becomes shorter is
                       filled with blanks; integer = new number, without a sign */
    CHANGE_MARK,    /* mark as stale: its fingerprint changes, the value stays */
};
enum cache_change_if {
    CHANGE_ALWAYS,
    CHANGE_IF_ABSENT,
    CHANGE_IF_PRESENT,
    CHANGE_IF_SAME, /* present, with the fingerprint `same`; else integer = 1 when it is present */
};

/* What a change has stored. */
struct cache_changed {
    uint64_t unique; /* its fingerprint */
    uint64_t expires_ms;
};

struct cache_change {
    enum cache_change_kind kind;
    enum cache_change_if when;
    bool keep_ttl; /* SET: keep the older entry's expiry */
    bool want_old; /* give the older value to the sink: integer is 1 when there was one, else 0 */
    bool down;     /* COUNT: subtract */
    bool set_ttl;  /* COUNT, MARK: attrs.expires_ms is the new expiry; else it stays */
    bool or_stale; /* IF_SAME: store over another content too, and mark that as stale */
    bool create;   /* COUNT: what is missing becomes `initial` until create_expires_ms */
    int64_t delta;
    uint64_t same; /* IF_SAME */
    uint64_t initial, create_expires_ms;
    struct cache_changed *became; /* out: filled by the end; NULL: nobody asks */
    struct slice value;
    struct cache_attrs attrs;
};

/* A number that stands for a value, its client flags and its mark, for as long as the daemon lives: memcached's
 * cas unique. Equal contents have equal numbers, whoever stored them. Less than 2^56, where the
 * tokens of leases begin. */
#define CACHE_TOKEN_MIN (UINT64_C(1) << 56)
uint64_t cache_fingerprint(const struct cache *cache, struct slice value, uint32_t client_flags,
                           uint32_t mark);

/* CACHE_OK changed (op/result integer as above), CACHE_MISS the condition did not hold or nothing
 * was there to change. integer may be NULL. */
enum cache_status cache_change(struct cache *cache, struct slice key,
                               const struct cache_change *change, struct cache_sink *sink,
                               struct cache_op *op, int64_t *integer);

/* Remove everything this cache owns. With L2 the answer follows the end of the job; op->integer =
 * keys removed there. */
enum cache_status cache_clear(struct cache *cache, struct cache_op *op);
/* The same at a boottime, whatever becomes of this process; 0 = not at all. A later call takes an
 * earlier one's place. */
void cache_clear_at(struct cache *cache, uint64_t at_ms);
/* Begin those that are due: called several times a second by each worker. */
void caches_clear_due(struct caches *caches);
/* Remove every key that matches the glob: exact in L1 when this returns or pends. op->integer as
 * above. */
enum cache_status cache_purge(struct cache *cache, struct slice pattern, struct cache_op *op);
/* Remove every entry that carries the tag: in every layer and on every node. */
enum cache_status cache_purge_tag(struct cache *cache, struct slice tag, struct cache_op *op);
/* Remove one key, as cache_delete(), on every node. The three of them reach the other nodes' memory
 * also where the cache is in memory alone, if a Redis is configured that carries messages
 * (redis.invalidation); deletes and clears of such a cache are this node's. */
enum cache_status cache_purge_key(struct cache *cache, struct slice key, struct cache_op *op);
/* Let what matches, or carries the tag, be asked about from now on (shm/soft.h), on every node.
 * What that means is for those to see to who keep pages: they ask cache_softened() with the wall
 * time of storing. CACHE_REFUSED: the pattern has more than SOFT_PATTERN_MAX bytes. */
enum cache_status cache_soften(struct cache *cache, struct slice pattern);
enum cache_status cache_soften_tag(struct cache *cache, struct slice tag);
bool cache_softened(const struct cache *cache, struct slice key, struct slice tags,
                    uint64_t stored_ms);
/* The other nodes' part of it alone. */
void cache_tell_purge(struct cache *cache, struct slice key);

/* Keys now in it: L1's count, or Redis' by SCAN where there is L2 (op->integer). */
enum cache_status cache_count(struct cache *cache, struct cache_op *op, int64_t *count);

/* ---- several operations as one, on a memory cache (shm/gate.h) ----
 *
 * From cache_hold() to cache_release() no other process changes the cache: its writes wait, or end
 * with CACHE_WAIT. Reads of others go on; cache_look() and cache_same() tell a reader whether a
 * holder came between. What ran out of time before it began is CACHE_WAIT for the holder too, so
 * nothing in between may be given an op. Never held across a turn of the loop. */

/* False: another process held it for too long; come again. Not for caches with L2. */
bool cache_hold(struct cache *cache) MUST_CHECK;
/* Wait for what is under way on a key, or on any: what is read after it stays so. False: come
 * again, after cache_release(). */
bool cache_settle(struct cache *cache, struct slice key) MUST_CHECK;
bool cache_settle_all(struct cache *cache) MUST_CHECK;
void cache_release(struct cache *cache);

/* Before a read that is to see all of what holders do, or nothing. False: one stays too long. */
bool cache_look(const struct cache *cache, uint32_t *turn);
/* After it. False: a holder came meanwhile; read again. */
bool cache_same(const struct cache *cache, uint32_t turn);

struct cache_stats {
    uint64_t counter[STAT_COUNT];
    uint64_t entries, bytes;
    struct stat_memory memory;
    double hit_rate; /* hits / (hits + misses), 0 when there were none */
};
void cache_stats(struct cache *cache, struct cache_stats *out);
void cache_stats_reset(struct cache *cache);

/* Apply a message of another node to L1 (the master's subscriber). */
struct message;
void caches_apply(struct caches *caches, const struct message *message);
/* A key of the server has changed, by whomever (redis.tracking): name is that in Redis, and may be
 * the key of several caches, or of none. */
void caches_changed(struct caches *caches, struct slice name);
/* A database of the server was emptied. */
void caches_flushed(struct caches *caches);
/* What all names in Redis of the caches that Redis stands behind begin with. out: room for
 * caches_count() slices, borrowed from the caches. Returns how many. */
size_t caches_prefixes(const struct caches *caches, struct slice *out);
/* Messages may have been lost: every layered cache's epoch moves. */
void caches_distrust(struct caches *caches);
/* Replay the journal (master): goes on until it is empty or Redis is down; call several
 * times a second. */
void caches_replay(struct caches *caches);
struct pool *caches_pool(struct caches *caches); /* NULL without Redis */

#endif
