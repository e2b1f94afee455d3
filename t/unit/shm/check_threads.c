/* Threads with a handle each, on one mapping: what ThreadSanitizer can watch (it does not see other
 * processes). The daemon itself has no threads. */
#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define KEYS    300
#define LONGEST 30000

struct thread {
    pthread_t id;
    struct zone handle;
    uint64_t seed;
    uint64_t hits;
    const char *problem;
};

static struct table_key numbered(struct zone *z, uint64_t i, char text[32])
{
    return table_key(z, slice_make(text, (size_t)snprintf(text, 32, "k%u", (unsigned)i)));
}

/* Length and content follow from the first byte and the key. */
static void store_one(struct thread *t, const struct table_key *key, char *value)
{
    size_t len = 2 + (next_random(&t->seed) % 16 == 0 ? next_random(&t->seed) % (LONGEST - 2)
                                                      : next_random(&t->seed) % 200);
    struct table_write write = {.value = slice_make(value, len)};

    memset(value, (int)(next_random(&t->seed) & 0xff), len);
    value[0] = (char)key->hash;
    table_set(&t->handle, key, &write, NOW);
}

static void read_one(struct thread *t, const struct table_key *key, char *value)
{
    long len = read_value(&t->handle, key, NOW, value, LONGEST);

    if (len < 0)
        return;
    t->hits++;
    if (value[0] != (char)key->hash)
        t->problem = "another key's value";
    for (long i = 2; i < len; i++) {
        if (value[i] != value[1])
            t->problem = "a torn value";
    }
}

static void lease_one(struct thread *t, const struct table_key *key)
{
    struct table_write write = {.value = slice_make(&key->hash, 1)};
    struct lease lease;

    if (lease_fill_begin(&t->handle, key, NOW, NOW + 100, &lease) != LEASE_GRANTED)
        return;
    while (lease_fill_end(&t->handle, key, &lease, &write, NOW) == TABLE_BUSY)
        continue;
}

static void *work(void *arg)
{
    struct thread *t = arg;
    char *value = malloc(LONGEST);
    char text[32];

    for (unsigned long n = 0; n < test_number("SHM_THREAD_OPERATIONS", 20000); n++) {
        struct table_key key = numbered(&t->handle, next_random(&t->seed) % KEYS, text);
        uint64_t dice = next_random(&t->seed) % 1000;

        if (dice < 450)
            read_one(t, &key, value);
        else if (dice < 850)
            store_one(t, &key, value);
        else if (dice < 900)
            table_delete(&t->handle, &key, NULL, NOW);
        else if (dice < 990)
            lease_one(t, &key);
        else if (dice < 996)
            table_expire(&t->handle, &key, NULL, NOW + 10, NOW);
        else if (dice < 999)
            ban_add(&t->handle, SLICE_LIT("k*7"));
        else
            zone_clear(&t->handle);
        if (n % 200 == 0)
            sweep_tick(&t->handle, NOW, (struct sweep_budget){1000, 1000000});
    }
    free(value);
    return NULL;
}

START_TEST(threads_agree)
{
    static struct thread threads[THREADS];
    uint64_t seed = test_seed();
    struct errmsg msg;

    for (int i = 0; i < THREADS; i++) {
        threads[i].handle = *zone;
        threads[i].seed = next_random(&seed) | 1;
        ck_assert_int_eq(zone_join(&threads[i].handle, &msg), ERR_OK);
        ck_assert_int_eq(pthread_create(&threads[i].id, NULL, work, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i].id, NULL), 0);
        zone_leave(&threads[i].handle);
        ck_assert_msg(threads[i].problem == NULL, "%s", threads[i].problem);
        ck_assert_uint_gt(threads[i].hits, 0);
    }
}
END_TEST

int main(void)
{
    return ZONE_SUITE("threads", threads_agree);
}
