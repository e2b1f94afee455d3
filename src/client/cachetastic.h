/* libcachetastic: a local process' way to the caches of the daemon on its machine.
 *
 * A handle stands for one named cache. Reads of a cache that may be mapped (caches.direct in
 * cachetastic.conf(5)) are answered from the shared memory itself, without a system call;
 * everything else goes through the daemon's unix socket. Restarts of the daemon are followed; a
 * daemon that is not there is an error, never an old value.
 *
 * A handle is used by one thread at a time; as many handles as you like. After fork() a child goes
 * on with its copy of a handle: it connects anew, and leases stay with the parent.
 *
 * Keys are 1 to 65535 bytes (the daemon's limits.key decides), values any bytes; neither needs a
 * NUL. Times are milliseconds. See libcachetastic(3).
 */
#ifndef CACHETASTIC_H
#define CACHETASTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CACHETASTIC_API __attribute__((visibility("default")))
#else
#define CACHETASTIC_API
#endif

enum cachetastic_status {
    CACHETASTIC_OK = 0,
    CACHETASTIC_MISS = 1, /* the key is not there; the lease is void; the condition did not hold */
    CACHETASTIC_BUSY = 2, /* fetch: another computes it, and did not end in time */
    /* Failures; cachetastic_error() has a sentence. */
    CACHETASTIC_E_INVALID = -1,  /* an argument is wrong, or over a limit, which is named */
    CACHETASTIC_E_NOMEM = -2,    /* this process has no memory left */
    CACHETASTIC_E_DOWN = -3,     /* no daemon serves that socket; nothing was done */
    CACHETASTIC_E_TIMEOUT = -4,  /* no answer in time; it may still be done */
    CACHETASTIC_E_LOST = -5,     /* the connection ended; it may have been done */
    CACHETASTIC_E_PROTOCOL = -6, /* the other side is not this daemon */
    CACHETASTIC_E_DENIED = -7,   /* the daemon wants a user, or this one may not */
    CACHETASTIC_E_REMOTE = -8,   /* the daemon refused it: its words are in the sentence */
    CACHETASTIC_E_COMPUTE = -9,  /* fetch: the callback failed */
    CACHETASTIC_E_SYSTEM = -10,  /* a system call failed */
};

typedef struct cachetastic cachetastic;

/* Bytes. Where the library gives them, they are the handle's and valid until its next call. */
struct cachetastic_bytes {
    const char *data;
    size_t len;
};

/* How to reach a cache. Zero everything, then set what is wanted. */
struct cachetastic_options {
    const char *socket;   /* path; NULL: $CACHETASTIC_SOCKET, else the one built in */
    const char *cache;    /* NULL: the one that the socket serves */
    const char *user;     /* NULL: the default user, if there is a password */
    const char *password; /* NULL: do not log in */
    unsigned timeout_ms;  /* for connecting and for each call; 0 = 1000 */
    bool no_direct;       /* do not map the cache's memory, though it be allowed */
};

/* A new handle; connects at its first use. The options are copied. E_INVALID, E_NOMEM. */
CACHETASTIC_API enum cachetastic_status cachetastic_open(const struct cachetastic_options *options,
                                                         cachetastic **out);
/* Gives back open leases, closes and frees. NULL is fine. */
CACHETASTIC_API void cachetastic_close(cachetastic *cache);

/* What went wrong in the last call that failed, in one line; "" before. The handle's, as above. */
CACHETASTIC_API const char *cachetastic_error(const cachetastic *cache);
/* A status in words. Static. */
CACHETASTIC_API const char *cachetastic_status_text(enum cachetastic_status status);

/* Read. OK: value is filled. MISS. */
CACHETASTIC_API enum cachetastic_status cachetastic_get(cachetastic *cache, const char *key,
                                                        size_t key_len,
                                                        struct cachetastic_bytes *value);

/* As cachetastic_get(), from the mapped memory alone and without a wait: no system call, no lock. OK,
 * MISS; BUSY: cachetastic_get() is to be asked (not connected yet, not mapped, or not known here).
 * E_INVALID. For callers that let others run while they wait. */
CACHETASTIC_API enum cachetastic_status cachetastic_peek(cachetastic *cache, const char *key,
                                                         size_t key_len,
                                                         struct cachetastic_bytes *value);

/* Read n keys at once. values[i].data is NULL where there is none; OK even if that is all of them.
 */
CACHETASTIC_API enum cachetastic_status cachetastic_get_many(cachetastic *cache,
                                                             const struct cachetastic_bytes *keys,
                                                             size_t n,
                                                             struct cachetastic_bytes *values);

/* OK: it is there; MISS: it is not. */
CACHETASTIC_API enum cachetastic_status cachetastic_has(cachetastic *cache, const char *key,
                                                        size_t key_len);

/* How to store. Zero everything, then set what is wanted; NULL stands for all zero. */
struct cachetastic_put {
    uint64_t ttl_ms;                      /* 0 = no expiry */
    uint64_t stale_ms;                    /* fill: keep it so long beyond that for fetches */
    const struct cachetastic_bytes *tags; /* invalidated by cachetastic_invalidate_tags() */
    size_t n_tags;
    bool if_absent;  /* MISS when there is one */
    bool if_present; /* MISS when there is none */
};

CACHETASTIC_API enum cachetastic_status cachetastic_put(cachetastic *cache, const char *key,
                                                        size_t key_len, const void *value,
                                                        size_t value_len,
                                                        const struct cachetastic_put *how);

/* Store n values, in as few writes as possible; how as above for each of them. The first failure is
 * returned; others may have been stored all the same. */
CACHETASTIC_API enum cachetastic_status cachetastic_put_many(cachetastic *cache,
                                                             const struct cachetastic_bytes *keys,
                                                             const struct cachetastic_bytes *values,
                                                             size_t n,
                                                             const struct cachetastic_put *how);

/* OK: it was there; MISS: it was not. */
CACHETASTIC_API enum cachetastic_status cachetastic_delete(cachetastic *cache, const char *key,
                                                           size_t key_len);
/* removed (may be NULL): how many were there. */
CACHETASTIC_API enum cachetastic_status
cachetastic_delete_many(cachetastic *cache, const struct cachetastic_bytes *keys, size_t n,
                        uint64_t *removed);

/* Remove everything in this cache; nothing of another. */
CACHETASTIC_API enum cachetastic_status cachetastic_clear(cachetastic *cache);
/* Remove the keys that match a glob (*, ?, [a-z], \), exactly when this returns. */
CACHETASTIC_API enum cachetastic_status
cachetastic_delete_pattern(cachetastic *cache, const char *pattern, size_t pattern_len);
/* Remove every entry that carries one of the tags. */
CACHETASTIC_API enum cachetastic_status
cachetastic_invalidate_tags(cachetastic *cache, const struct cachetastic_bytes *tags, size_t n);

/* Add to a decimal number, which begins at 0 and keeps its expiry. result (may be NULL): the sum.
 */
CACHETASTIC_API enum cachetastic_status cachetastic_increment(cachetastic *cache, const char *key,
                                                              size_t key_len, int64_t delta,
                                                              int64_t *result);

/* ---- fetch: one computation a key, for all processes of the machine ---- */

/* Zero everything, then set what is wanted; NULL stands for all zero. */
struct cachetastic_fetch {
    uint64_t wait_ms;  /* for another's computation; 0 = 5 s */
    uint64_t lease_ms; /* how long one's own may take; 0 = 10 s */
    uint64_t stale_ms; /* a value so far past its expiry will do meanwhile; 0 = none will */
    double beta;  /* of early refresh: a hot key is refreshed by one before it expires; 0 = 1, the
                     published value; negative = not at all */
    bool no_wait; /* do not wait at all */
    bool or_compute;   /* cachetastic_fetch(): instead of BUSY, compute for this caller alone;
                          nothing is stored */
    bool refresh; /* the present value is to be replaced, unless another does so: what
                     cachetastic_fetch_peek() said */
    uint64_t retry_ms; /* after a failure nobody is to try within that time; 0 = at once */
};

/* What a fetch found. */
struct cachetastic_fetched {
    struct cachetastic_bytes value; /* data NULL: none */
    bool stale;                     /* past its expiry */
    uint64_t token;    /* not 0: a lease; end it with exactly one cachetastic_fill() or _fail() */
    uint64_t retry_ms; /* BUSY: when it may be worth asking again; 0 = unknown */
};

/* Read, or get the right to compute. OK: there is a value; with a token as well, the next one is to
 * be computed. MISS: there is none, and the token is the caller's. BUSY: another computes, and did
 * not end within wait_ms; or it failed lately. A lease ends by itself after lease_ms, and when the
 * handle's connection ends (with its process). */
CACHETASTIC_API enum cachetastic_status cachetastic_fetch_begin(cachetastic *cache, const char *key,
                                                                size_t key_len,
                                                                const struct cachetastic_fetch *how,
                                                                struct cachetastic_fetched *out);

/* As cachetastic_fetch_begin(), from the mapped memory alone and without a wait. OK: out has a value
 * and nobody need compute. BUSY: cachetastic_fetch_begin() is to be asked; with *early, its how must
 * say refresh. E_INVALID. */
CACHETASTIC_API enum cachetastic_status cachetastic_fetch_peek(cachetastic *cache, const char *key,
                                                               size_t key_len,
                                                               const struct cachetastic_fetch *how,
                                                               struct cachetastic_bytes *value,
                                                               bool *early);

/* Store what was computed. MISS: the lease is over (too late, or the key was written, removed or
 * cleared meanwhile); nothing was stored. how: its conditions do not count here. */
CACHETASTIC_API enum cachetastic_status cachetastic_fill(cachetastic *cache, const char *key,
                                                         size_t key_len, uint64_t token,
                                                         const void *value, size_t value_len,
                                                         const struct cachetastic_put *how);

/* Give the lease back without a value; nobody is to try within retry_ms (0 = the next one may). */
CACHETASTIC_API enum cachetastic_status cachetastic_fail(cachetastic *cache, const char *key,
                                                         size_t key_len, uint64_t token,
                                                         uint64_t retry_ms);

/* What a callback computed. */
struct cachetastic_computed {
    void *data;
    size_t len;
    void (*release)(void *data); /* called once the bytes are copied; NULL: nothing to free */
    struct cachetastic_put how;  /* times and tags; zero from the start */
};

/* Compute the value of a key. 0: done; otherwise it failed. It may use the handle. */
typedef int cachetastic_compute(void *arg, struct cachetastic_computed *out);

/* All of it: read, or wait, or compute and store. OK: value is filled, a computed one too when it
 * could not be stored any more. BUSY as above. E_COMPUTE: the callback failed, and there was no
 * stale value to go on with. */
CACHETASTIC_API enum cachetastic_status cachetastic_fetch(cachetastic *cache, const char *key,
                                                          size_t key_len,
                                                          const struct cachetastic_fetch *how,
                                                          cachetastic_compute *compute, void *arg,
                                                          struct cachetastic_bytes *value);

/* ---- objects: a serializer is two functions ---- */

struct cachetastic_serializer {
    const char *name;
    /* Object to bytes; *data is malloc()'s. 0: done. */
    int (*encode)(const void *object, void **data, size_t *len);
    /* Bytes to a new object, the caller's. 0: done. */
    int (*decode)(const void *data, size_t len, void **object);
};

/* Objects are struct cachetastic_bytes; a decoded one is a malloc()'d block with its bytes behind
 * it. */
extern CACHETASTIC_API const struct cachetastic_serializer cachetastic_raw;
/* Objects are jansson's json_t; a decoded one is the caller's reference. */
extern CACHETASTIC_API const struct cachetastic_serializer cachetastic_json;

/* E_INVALID: the serializer does not take the object, or the bytes. */
CACHETASTIC_API enum cachetastic_status
cachetastic_put_object(cachetastic *cache, const char *key, size_t key_len, const void *object,
                       const struct cachetastic_serializer *serializer,
                       const struct cachetastic_put *how);
CACHETASTIC_API enum cachetastic_status
cachetastic_get_object(cachetastic *cache, const char *key, size_t key_len,
                       const struct cachetastic_serializer *serializer, void **object);

/* Remaining time: 0 = no expiry. MISS: no such key. */
CACHETASTIC_API enum cachetastic_status cachetastic_ttl(cachetastic *cache, const char *key,
                                                        size_t key_len, uint64_t *ttl_ms);

/* Let a key expire in ttl_ms from now; 0 = not at all. MISS: no such key. */
CACHETASTIC_API enum cachetastic_status cachetastic_touch(cachetastic *cache, const char *key,
                                                          size_t key_len, uint64_t ttl_ms);

/* The cache's figures, as JSON text. */
CACHETASTIC_API enum cachetastic_status cachetastic_stats(cachetastic *cache,
                                                          struct cachetastic_bytes *json);

/* What this handle did. */
struct cachetastic_counts {
    uint64_t direct_hits;   /* reads answered from shared memory */
    uint64_t direct_misses; /* likewise, that it is not there */
    uint64_t calls;         /* through the socket */
    uint64_t connects;
    uint64_t
        refused_maps; /* direct reads wanted and not to be had: cachetastic_direct() says why */
};
CACHETASTIC_API void cachetastic_counts(const cachetastic *cache, struct cachetastic_counts *out);

/* NULL: reads are direct; otherwise why they are not, in one line. Connects when it has not yet. */
CACHETASTIC_API const char *cachetastic_direct(cachetastic *cache);

#ifdef __cplusplus
}
#endif

#endif
