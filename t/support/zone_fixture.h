/* One zone for a test, checked by the validator when the test ends. */
#ifndef SUPPORT_ZONE_FIXTURE_H
#define SUPPORT_ZONE_FIXTURE_H

#include "shm/lease.h"
#include "shm/stat.h"
#include "shm/table.h"

#include <check.h>

#define NOW 100000000000ull /* far from any real boottime: tests say what the time is */

extern struct zone *zone;

void zone_open(uint64_t size_bytes, uint32_t key_max);
void zone_small(void); /* setup: 4 MiB, joined */
void zone_close(void); /* teardown: validator, then destroy */

/* The validator, as for a zone nobody else uses. */
void expect_sound(void);

struct table_key key_of(const char *text);
enum table_result put(const char *key, const char *value);
enum table_result put_until(const char *key, const char *value, uint64_t expires_ms);
enum table_result put_bytes(struct table_key key, const void *value, size_t len);
enum table_result drop(const char *key);

/* The value as a string; NULL when the key is not there. Static storage. */
const char *get_at(const char *key, uint64_t now_ms);
const char *get(const char *key);

/* find and copy until it was not overtaken; buf of cap bytes. -1 = not there, else the length. */
long read_value(struct zone *z, const struct table_key *key, uint64_t now_ms, void *buf,
                size_t cap);

uint64_t counter(enum counter which);

/* Run one suite on a small zone, made anew and checked for each test. Returns main()'s status. */
int zone_suite(const char *name, const TTest *const *tests, size_t n);
#define ZONE_SUITE(name, ...)                                                                      \
    zone_suite(name, (const TTest *const[]){__VA_ARGS__},                                          \
               sizeof((const TTest *const[]){__VA_ARGS__}) / sizeof(const TTest *))

/* xorshift64*: the same numbers on every machine. */
uint64_t next_random(uint64_t *state);
/* A seed from the environment (SHM_SEED) or the clock; printed, so that a failure can be replayed.
 */
uint64_t test_seed(void);
/* A number from the environment. */
unsigned long test_number(const char *name, unsigned long otherwise);

#endif
