#include "worker/holding.h"

#include "common/clock.h"
#include "common/config.h"

#include <stdlib.h>

struct holding {
    struct list link;     /* conn->leases, oldest first */
    struct holding *next; /* in its bucket of worker->holdings */
    struct conn *conn;
    struct cache *cache;
    uint64_t token;
    uint64_t until_ms;
    size_t key_len;
    char key[];
};

static struct holding **bucket_of(struct worker *worker, uint64_t token)
{
    return &worker->holdings[token * UINT64_C(0x9e3779b97f4a7c15) >> 32 &
                             (WORKER_HOLDING_BUCKETS - 1)];
}

static void forget(struct holding *holding)
{
    struct holding **at = bucket_of(holding->conn->worker, holding->token);

    while (*at != holding)
        at = &(*at)->next;
    *at = holding->next;
    list_remove(&holding->link);
    holding->conn->n_leases--;
    free(holding);
}

bool holding_room(struct conn *conn)
{
    uint64_t max = (uint64_t)conn->worker->heritage->config->limits.leases;
    uint64_t now_ms = clock_now_ms();

    if (conn->n_leases < max)
        return true;
    LIST_EACH_SAFE (node, next, &conn->leases) {
        struct holding *holding = LIST_ENTRY(node, struct holding, link);

        if (now_ms >= holding->until_ms)
            forget(holding);
    }
    return conn->n_leases < max;
}

int holding_add(struct conn *conn, struct cache *cache, struct slice key, uint64_t token,
                uint64_t until_ms)
{
    struct holding **bucket = bucket_of(conn->worker, token);
    struct holding *holding;

    if (!holding_room(conn))
        return ERR_LIMIT;
    holding = malloc(sizeof(*holding) + key.len);
    if (holding == NULL)
        return ERR_NOMEM;
    *holding = (struct holding){.next = *bucket,
                                .conn = conn,
                                .cache = cache,
                                .token = token,
                                .until_ms = until_ms,
                                .key_len = key.len};
    memcpy(holding->key, key.data, key.len);
    *bucket = holding;
    list_push(&conn->leases, &holding->link);
    conn->n_leases++;
    return ERR_OK;
}

void holding_end(struct worker *worker, uint64_t token)
{
    struct holding *holding = *bucket_of(worker, token);

    while (holding != NULL && holding->token != token)
        holding = holding->next;
    if (holding != NULL)
        forget(holding);
}

void holding_end_key(struct conn *conn, const struct cache *cache, struct slice key)
{
    LIST_EACH_SAFE (node, next, &conn->leases) {
        struct holding *holding = LIST_ENTRY(node, struct holding, link);

        if (holding->cache == cache && slice_eq(slice_make(holding->key, holding->key_len), key))
            forget(holding);
    }
}

void holding_close(struct conn *conn)
{
    LIST_EACH_SAFE (node, next, &conn->leases) {
        struct holding *holding = LIST_ENTRY(node, struct holding, link);

        /* Without an op it is done even where it must wait. No memory for that: the lease ends by
         * its deadline. */
        (void)cache_fail(holding->cache, slice_make(holding->key, holding->key_len), holding->token,
                         0, NULL);
        forget(holding);
    }
}
