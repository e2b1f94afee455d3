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

/* Remaining time: 0 = no expiry. MISS: no such key. */
CACHETASTIC_API enum cachetastic_status cachetastic_ttl(cachetastic *cache, const char *key,
                                                        size_t key_len, uint64_t *ttl_ms);

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
