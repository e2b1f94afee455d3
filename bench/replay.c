/* Replays a request trace on one zone, in this process: get, and on a miss set. For trying out
 * eviction without a daemon; `./dev bench hitratio` is the measurement.
 *
 *   zcat web12.csv.gz | bench/replay BYTES [VALUE_BYTES | 0 [credit]]
 *
 * BYTES is the zone's size; VALUE_BYTES overrides the trace's sizes. Every 200 requests the sweeper
 * runs a tick. */
#include "common/clock.h"
#include "shm/check.h"
#include "shm/stat.h"
#include "shm/sweep.h"
#include "shm/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_EVERY 200

struct totals {
    unsigned long requests;
    unsigned long misses;
    unsigned long failed; /* sets */
    uint64_t bytes;
    uint64_t missed_bytes;
};

static struct zone *zone;
static char *value;
static size_t value_cap;

static struct slice value_of(size_t len)
{
    if (len > value_cap) {
        value = realloc(value, len);
        if (value == NULL)
            exit(1);
        memset(value + value_cap, 'v', len - value_cap);
        value_cap = len;
    }
    return slice_make(value, len);
}

static void request(unsigned long id, size_t len, struct totals *t)
{
    char text[24];
    struct table_key key =
        table_key(zone, slice_make(text, (size_t)snprintf(text, sizeof(text), "%lu", id)));
    struct table_hit hit;
    struct table_write write = {.value = value_of(len)};
    uint64_t now = clock_now_ms();

    t->requests++;
    t->bytes += len;
    if (table_find(zone, &key, now, &hit) == TABLE_HIT)
        return;
    t->misses++;
    t->missed_bytes += len;
    t->failed += table_set(zone, &key, &write, now) != TABLE_STORED;
}

static void replay(size_t fixed_len, struct totals *t)
{
    char line[64];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *end;
        unsigned long id = strtoul(line, &end, 10);
        unsigned long len = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;

        if (end == line) /* the title */
            continue;
        request(id, fixed_len > 0 ? fixed_len : len, t);
        if (t->requests % SWEEP_EVERY == 0)
            sweep_tick(zone, clock_now_ms(), (struct sweep_budget){4096, 2000000});
    }
}

static void report(const struct totals *t)
{
    struct stat_memory m;
    struct check_report sound;
    uint64_t all[STAT_COUNT];
    double requests = (double)(t->requests > 0 ? t->requests : 1);

    stat_memory(zone, &m);
    stat_sum(zone, all);
    printf("miss %.4f, bytes %.4f, failed sets %lu\n", (double)t->misses / requests,
           (double)t->missed_bytes / (double)(t->bytes > 0 ? t->bytes : 1), t->failed);
    printf("%llu slabs of %llu, %llu free, %llu open; %llu entries of %llu bytes; overhead %llu\n",
           (unsigned long long)m.slabs, (unsigned long long)m.slab_bytes,
           (unsigned long long)m.slabs_free, (unsigned long long)m.slabs_open,
           (unsigned long long)table_count(zone), (unsigned long long)m.live_bytes,
           (unsigned long long)m.index_bytes);
    printf("reclaims %llu, kept %llu, ghost hits %llu, evictions %llu\n",
           (unsigned long long)all[STAT_RECLAIMS], (unsigned long long)all[STAT_KEPT],
           (unsigned long long)all[STAT_GHOST_HITS], (unsigned long long)all[STAT_EVICTIONS]);
    if (check_zone(zone, false, &sound) != ERR_OK || sound.problems > 0) {
        printf("the zone is unsound: %s\n", sound.first);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct zone_options options = {.name = "replay", .key_max_bytes = 1024};
    struct totals totals = {0};
    struct errmsg msg;

    if (argc < 2) {
        fprintf(stderr, "usage: %s BYTES [VALUE_BYTES | 0 [credit]] < TRACE\n", argv[0]);
        return 2;
    }
    options.size_bytes = strtoull(argv[1], NULL, 10);
    options.size_credit = argc > 3 && strcmp(argv[3], "credit") == 0;
    if (zone_create(&options, &zone, &msg) != ERR_OK || zone_join(zone, &msg) != ERR_OK) {
        fprintf(stderr, "%s\n", msg.text);
        return 1;
    }
    replay(argc > 2 ? strtoul(argv[2], NULL, 10) : 0, &totals);
    report(&totals);
    zone_leave(zone);
    zone_destroy(zone);
    free(value);
    return 0;
}
