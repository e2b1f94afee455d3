#include "worker/crowd.h"

#include "common/list.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS    4096   /* a power of two */
#define PLACES_MAX 65536  /* addresses; beyond, new ones are not counted until some are forgotten  \
                           */
#define TIDY_BUCKETS 128  /* looked at by one tick */
#define TOKEN        1000 /* of a bucket, in thousandths: so many come a millisecond at 1 a second */

struct crowd_place {
    struct list link;
    uint64_t address[2];
    uint32_t open;
    uint64_t tokens, filled_ms;
};

struct crowd {
    const struct config_limits *limits;
    uint64_t seed;
    size_t n;
    unsigned tidy_at;
    struct list buckets[BUCKETS];
};

struct crowd *crowd_create(const struct config_limits *limits)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));

    if (crowd == NULL)
        return NULL;
    crowd->limits = limits;
    /* Without it an attacker could choose addresses of one bucket. */
    if (getrandom(&crowd->seed, sizeof(crowd->seed), 0) != sizeof(crowd->seed))
        crowd->seed = (uint64_t)(uintptr_t)crowd;
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&crowd->buckets[i]);
    return crowd;
}

static void forget(struct crowd *crowd, struct crowd_place *place)
{
    list_remove(&place->link);
    free(place);
    crowd->n--;
}

void crowd_destroy(struct crowd *crowd)
{
    if (crowd == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_EACH_SAFE (node, next, &crowd->buckets[i])
            forget(crowd, LIST_ENTRY(node, struct crowd_place, link));
    free(crowd);
}

/* "192.0.2.1:80", "[2001:db8::1]:80". */
static bool parse_peer(const char *peer, uint64_t address[2])
{
    const char *colon = strrchr(peer, ':');
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16] = {0};
    bool six = peer[0] == '[';
    size_t len = colon == NULL ? 0 : (size_t)(colon - peer);

    if (six && len > 2) {
        peer++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, peer, len);
    text[len] = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, text, six ? bytes : bytes + 12) != 1)
        return false;
    if (six && !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)bytes))
        memset(bytes + 8, 0, 8);
    else
        memset(bytes, 0, 12);
    memcpy(address, bytes, sizeof(bytes));
    return true;
}

static struct list *bucket_of(struct crowd *crowd, const uint64_t address[2])
{
    uint64_t hash = (crowd->seed ^ address[0]) * UINT64_C(0x9e3779b97f4a7c15);

    hash = (hash ^ hash >> 29 ^ address[1]) * UINT64_C(0xbf58476d1ce4e5b9);
    return &crowd->buckets[(hash >> 32) & (BUCKETS - 1)];
}

static uint64_t bucket_full(const struct crowd *crowd)
{
    return (uint64_t)crowd->limits->connection_burst * TOKEN;
}

static struct crowd_place *find(struct crowd *crowd, const uint64_t address[2], uint64_t now_ms)
{
    struct list *bucket = bucket_of(crowd, address);
    struct crowd_place *place;

    LIST_EACH_SAFE (node, next, bucket) {
        place = LIST_ENTRY(node, struct crowd_place, link);
        if (memcmp(place->address, address, sizeof(place->address)) == 0)
            return place;
    }
    if (crowd->n >= PLACES_MAX)
        return NULL;
    place = calloc(1, sizeof(*place));
    if (place == NULL)
        return NULL;
    memcpy(place->address, address, sizeof(place->address));
    place->tokens = bucket_full(crowd);
    place->filled_ms = now_ms;
    list_init(&place->link);
    list_push(bucket, &place->link);
    crowd->n++;
    return place;
}

static void fill(const struct crowd *crowd, struct crowd_place *place, uint64_t now_ms)
{
    uint64_t full = bucket_full(crowd);

    place->tokens += (now_ms - place->filled_ms) * (uint64_t)crowd->limits->connection_rate;
    if (place->tokens > full)
        place->tokens = full;
    place->filled_ms = now_ms;
}

enum crowd_answer crowd_enter(struct crowd *crowd, const char *peer, uint64_t now_ms,
                              struct crowd_place **place)
{
    const struct config_limits *limits = crowd->limits;
    uint64_t address[2];
    struct crowd_place *found;

    *place = NULL;
    if ((limits->connections_per_address == 0 && limits->connection_rate == 0) ||
        !parse_peer(peer, address))
        return CROWD_WELCOME;
    found = find(crowd, address, now_ms);
    if (found == NULL)
        return CROWD_WELCOME;
    if (limits->connections_per_address > 0 && found->open >= limits->connections_per_address)
        return CROWD_TOO_MANY;
    fill(crowd, found, now_ms);
    if (limits->connection_rate > 0 && found->tokens < TOKEN)
        return CROWD_TOO_FAST;
    found->tokens -= limits->connection_rate > 0 ? TOKEN : 0;
    found->open++;
    *place = found;
    return CROWD_WELCOME;
}

void crowd_leave(struct crowd_place *place)
{
    if (place != NULL)
        place->open--;
}

void crowd_tidy(struct crowd *crowd, uint64_t now_ms)
{
    for (unsigned i = 0; i < TIDY_BUCKETS; i++) {
        struct list *bucket = &crowd->buckets[crowd->tidy_at++ % BUCKETS];

        LIST_EACH_SAFE (node, next, bucket) {
            struct crowd_place *place = LIST_ENTRY(node, struct crowd_place, link);

            fill(crowd, place, now_ms);
            if (place->open == 0 &&
                (crowd->limits->connection_rate == 0 || place->tokens == bucket_full(crowd)))
                forget(crowd, place);
        }
    }
}

size_t crowd_size(const struct crowd *crowd)
{
    return crowd->n;
}
