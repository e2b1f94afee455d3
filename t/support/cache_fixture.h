/* Named caches in the test's own process: zones, loop, and what a worker would inherit. */
#ifndef SUPPORT_CACHE_FIXTURE_H
#define SUPPORT_CACHE_FIXTURE_H

#include "cache/cache.h"
#include "common/buf.h"

struct cache_fixture {
    struct config config;
    struct heritage heritage;
    uv_loop_t loop;
    struct caches *caches;
    unsigned slot;
    uv_poll_t wake;
};

#define FIXTURE_SLOTS 8 /* worker slots that can be rung */

/* n_caches memory caches named "default", "second", ... of 8 MiB; config may be changed by
 * prepare() before they open (NULL: nothing). redis: "HOST:PORT" or "unix:PATH" makes all of them
 * layered; NULL: memory. */
void fixture_open(struct cache_fixture *fixture, size_t n_caches, const char *redis,
                  void (*prepare)(struct config *config));
/* The two halves of that, for tests with several processes: what is shared, made before they are
 * forked; and what each worker has of its own, its slot below FIXTURE_SLOTS. */
void fixture_share(struct cache_fixture *fixture, size_t n_caches, const char *redis,
                   void (*prepare)(struct config *config));
void fixture_serve(struct cache_fixture *fixture, unsigned slot);
void fixture_stop(struct cache_fixture *fixture);    /* undoes serve */
void fixture_unshare(struct cache_fixture *fixture); /* validates and undoes share */

/* Closes, validates every zone (fails the test on a problem), frees. */
void fixture_close(struct cache_fixture *fixture);

/* Synchronous forms: run the loop until the operation ends. */
struct fixture_result {
    enum cache_status status;
    int64_t integer;
    bool found;
    struct buf value; /* NUL-terminated for convenience; freed by fixture_result_fini() */
    struct cache_info info;
    char error[256];
};
struct fixture_result fixture_get(struct cache_fixture *fixture, const char *cache,
                                  const char *key);
struct fixture_result fixture_put(struct cache_fixture *fixture, const char *cache, const char *key,
                                  const char *value, const struct cache_attrs *attrs);
struct fixture_result fixture_delete(struct cache_fixture *fixture, const char *cache,
                                     const char *key);
struct fixture_result fixture_change(struct cache_fixture *fixture, const char *cache,
                                     const char *key, const struct cache_change *change);
struct fixture_result fixture_clear(struct cache_fixture *fixture, const char *cache);
struct fixture_result fixture_purge(struct cache_fixture *fixture, const char *cache,
                                    const char *pattern);
struct fixture_result fixture_count(struct cache_fixture *fixture, const char *cache);
void fixture_result_fini(struct fixture_result *result);

/* Run the loop for about ms. */
void fixture_run(struct cache_fixture *fixture, uint64_t ms);

/* get, checked: value NULL = must be a miss. */
void fixture_expect(struct cache_fixture *fixture, const char *cache, const char *key,
                    const char *value);

#endif
