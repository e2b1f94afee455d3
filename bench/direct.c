/* What a read through libcachetastic's mapping costs, beside the engine's own get of the same keys
 * and values, and beside the same read over the socket.
 *
 * The engine's get is measured on a zone of this process, as a worker reads it. Times are of this
 * process' processor time (over the socket: of the clock), the best of several rounds, taking
 * turns.
 */
#include "client/cachetastic.h"
#include "common/clock.h"
#include "shm/table.h"
#include "shm/zone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS        100000u
#define HOT_KEYS    100u
#define VALUE_BYTES 100
#define BATCH       4096u
#define ROUNDS      60
#define LIMIT       1.3

struct key {
    char text[24];
    unsigned len;
};

static struct key keys[KEYS];
static char buf[65536];
static uint64_t seed = UINT64_C(88172645463325252);

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench direct: %s: %s\n", what, why);
    exit(2);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static bool engine_get(void *arg, const struct key *key)
{
    struct table_key hashed = table_key(arg, slice_make(key->text, key->len));
    struct table_value value;

    return table_get(arg, &hashed, 1, buf, sizeof(buf), &value) == TABLE_HIT;
}

static bool client_get(void *arg, const struct key *key)
{
    struct cachetastic_bytes value;

    return cachetastic_get(arg, key->text, key->len, &value) == CACHETASTIC_OK;
}

typedef bool get_fn(void *arg, const struct key *key);

/* ns a get of n random keys among the first `among`. */
static double time_gets(get_fn *get, void *arg, unsigned n, unsigned among, clockid_t clock)
{
    static const struct key *batch[BATCH];
    unsigned found = 0;
    uint64_t start;

    for (unsigned i = 0; i < n; i++)
        batch[i] = &keys[next_random() % among];
    start = now_ns(clock);
    for (unsigned i = 0; i < n; i++)
        found += get(arg, batch[i]);
    if (found != n)
        die("a key is missing", "was it evicted?");
    return (double)(now_ns(clock) - start) / n;
}

static bool compare(const char *name, struct zone *zone, cachetastic *direct, cachetastic *wire,
                    unsigned among)
{
    double engine = INFINITY, mapped = INFINITY, socket = INFINITY;

    for (int round = 0; round < ROUNDS; round++) {
        engine = fmin(engine, time_gets(engine_get, zone, BATCH, among, CLOCK_PROCESS_CPUTIME_ID));
        mapped =
            fmin(mapped, time_gets(client_get, direct, BATCH, among, CLOCK_PROCESS_CPUTIME_ID));
        socket = fmin(socket, time_gets(client_get, wire, 256, among, CLOCK_MONOTONIC));
    }
    printf("%-22s %8.1f %8.1f %7.2f   at most %.1f%s %10.0f %7.0f\n", name, engine, mapped,
           mapped / engine, LIMIT, mapped / engine <= LIMIT ? "        " : " MISSED ", socket,
           socket / mapped);
    return mapped / engine <= LIMIT;
}

static cachetastic *open_client(const char *path, bool no_direct)
{
    struct cachetastic_options options = {
        .socket = path, .timeout_ms = 5000, .no_direct = no_direct};
    cachetastic *client;
    const char *why;

    if (cachetastic_open(&options, &client) != CACHETASTIC_OK)
        die("no client", "out of memory");
    why = cachetastic_direct(client);
    if (why != NULL && !no_direct)
        die("the cache is not mapped", why);
    return client;
}

static struct zone *open_zone(void)
{
    struct zone_options options = {
        .name = "bench", .size_bytes = 64u << 20, .key_max_bytes = 1024, .populate = true};
    struct errmsg msg = {""};
    struct zone *zone;

    if (zone_create(&options, &zone, &msg) != ERR_OK || zone_join(zone, &msg) != ERR_OK)
        die("no zone", msg.text);
    return zone;
}

static void fill(struct zone *zone, cachetastic *client)
{
    char value[VALUE_BYTES];

    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < KEYS; i++) {
        struct table_write write = {.value = slice_make(value, sizeof(value))};
        struct table_key key;

        keys[i].len = (unsigned)snprintf(keys[i].text, sizeof(keys[i].text), "key:%012u", i);
        key = table_key(zone, slice_make(keys[i].text, keys[i].len));
        if (table_set(zone, &key, &write, 1) != TABLE_STORED)
            die("a set failed", "in the engine");
        if (cachetastic_put(client, keys[i].text, keys[i].len, value, sizeof(value), NULL) !=
            CACHETASTIC_OK)
            die("a put failed", cachetastic_error(client));
    }
}

int main(int argc, char **argv)
{
    cachetastic *direct, *wire;
    struct zone *zone;
    bool good;

    if (argc != 2)
        die("usage", "direct SOCKET");
    direct = open_client(argv[1], false);
    wire = open_client(argv[1], true);
    zone = open_zone();
    fill(zone, wire);
    printf("%-22s %8s %8s %7s %22s %7s\n", "ns a get of 100 bytes", "engine", "mapped", "ratio",
           "socket", "ratio");
    good = compare("hot, 100 keys", zone, direct, wire, HOT_KEYS);
    good = compare("over 100,000 keys", zone, direct, wire, KEYS) && good;
    cachetastic_close(direct);
    cachetastic_close(wire);
    zone_leave(zone);
    zone_destroy(zone);
    return good ? 0 : 1;
}
