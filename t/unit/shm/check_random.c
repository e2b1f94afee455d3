/* Random operations against a plain map. The zone may have evicted or never lost anything else:
 * what it returns must be what the map has, and what the map has not it must not return. */
#include "zone_fixture.h"

#include "common/glob.h"
#include "shm/ban.h"
#include "shm/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS       3000
#define VALUE_CAP  (600u << 10)
#define OPERATIONS 100000

struct model {
    bool present;
    uint32_t len;
    uint32_t fill;       /* the value's bytes follow from it */
    uint64_t expires_ms; /* 0 = none */
    char tag;            /* 0 = none */
};

static struct model model[KEYS];
static char *value;
static char *back;
static uint64_t seed;
static uint64_t now_ms;
static uint64_t hits;

static void make_value(uint32_t fill, uint32_t len)
{
    uint64_t state = fill | 1;

    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = next_random(&state);

        memcpy(value + i, &word, 8);
    }
}

static struct table_key name_of(unsigned i, char text[32])
{
    int n = snprintf(text, 32, "k%u:%u", i % 10, i);

    return table_key(zone, slice_make(text, (size_t)n));
}

static uint32_t random_len(void)
{
    switch (next_random(&seed) % 20) {
    case 0:
        return (uint32_t)(next_random(&seed) % (400u << 10));
    case 1:
    case 2:
        return (uint32_t)(next_random(&seed) % 20000);
    default:
        return (uint32_t)(next_random(&seed) % 300);
    }
}

static void do_set(unsigned i)
{
    char text[32];
    char tag_text = (char)('a' + next_random(&seed) % 4);
    struct slice tag = {&tag_text, 1};
    struct table_key key = name_of(i, text);
    struct model m = {.present = true,
                      .len = random_len(),
                      .fill = (uint32_t)next_random(&seed),
                      .expires_ms =
                          next_random(&seed) % 3 == 0 ? now_ms + next_random(&seed) % 5000 : 0,
                      .tag = next_random(&seed) % 4 == 0 ? tag_text : 0};
    struct table_write write = {.expires_ms = m.expires_ms, .tags = &tag, .n_tags = m.tag != 0};

    make_value(m.fill, m.len);
    write.value = slice_make(value, m.len);
    ck_assert_int_eq(table_set(zone, &key, &write, now_ms), TABLE_STORED);
    model[i] = m;
}

static bool expected(unsigned i)
{
    return model[i].present && (model[i].expires_ms == 0 || now_ms < model[i].expires_ms);
}

static void do_get(unsigned i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    long len = read_value(zone, &key, now_ms, back, VALUE_CAP);

    if (len < 0)
        return;
    hits++;
    ck_assert_msg(expected(i), "key %u should not be there", i);
    ck_assert_int_eq(len, model[i].len);
    make_value(model[i].fill, model[i].len);
    ck_assert_msg(memcmp(value, back, model[i].len) == 0, "key %u has another value", i);
}

static void do_delete(unsigned i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    enum table_result result = table_delete(zone, &key, NULL, now_ms);

    ck_assert(result == TABLE_STORED || result == TABLE_MISS);
    if (result == TABLE_STORED)
        ck_assert(expected(i));
    model[i].present = false;
}

static void do_expire(unsigned i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t until = next_random(&seed) % 4 == 0 ? 0 : now_ms + next_random(&seed) % 8000;

    if (table_expire(zone, &key, NULL, until, now_ms) != TABLE_STORED)
        return;
    ck_assert(expected(i));
    model[i].expires_ms = until;
}

/* Read, then store on what was seen: must hold when nothing came between, and not when something
 * did. */
static void do_compare_and_set(unsigned i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    struct table_hit hit;
    struct table_write write = {.value = SLICE_LIT(""), .expect = &hit.ref};
    bool between = next_random(&seed) % 2 == 0;
    enum table_result found = table_find(zone, &key, now_ms, &hit);

    ck_assert(found == TABLE_HIT || found == TABLE_MISS);
    if (between)
        do_set(i);
    if (table_set(zone, &key, &write, now_ms) == TABLE_STORED) {
        ck_assert(!between);
        model[i] = (struct model){.present = true};
    }
}

static void do_ban(void)
{
    char text[8];
    unsigned digit = (unsigned)(next_random(&seed) % 10);

    snprintf(text, sizeof(text), "k%u:*7", digit);
    if (ban_add(zone, slice_cstr(text)) != BAN_RECORDED)
        return;
    for (unsigned i = digit; i < KEYS; i += 10) {
        if (i % 10 == 7)
            model[i].present = false;
    }
}

static void do_tag(void)
{
    char tag = (char)('a' + next_random(&seed) % 4);

    ban_tag(zone, slice_make(&tag, 1));
    for (unsigned i = 0; i < KEYS; i++) {
        if (model[i].tag == tag)
            model[i].present = false;
    }
}

static void do_clear(void)
{
    zone_clear(zone);
    memset(model, 0, sizeof(model));
    ck_assert_uint_eq(table_count(zone), 0);
    ck_assert_uint_eq(table_bytes(zone), 0);
}

static void do_sweep(void)
{
    sweep_tick(zone, now_ms,
               (struct sweep_budget){64 + (unsigned)(next_random(&seed) % 4096), 2000000});
}

static void do_one(void)
{
    unsigned i = (unsigned)(next_random(&seed) % KEYS);
    unsigned dice = (unsigned)(next_random(&seed) % 10000);

    if (dice < 4000)
        do_get(i);
    else if (dice < 8000)
        do_set(i);
    else if (dice < 8800)
        do_delete(i);
    else if (dice < 9200)
        do_expire(i);
    else if (dice < 9700)
        do_compare_and_set(i);
    else if (dice < 9720)
        do_ban();
    else if (dice < 9730)
        do_tag();
    else if (dice < 9733)
        do_clear();
    else if (dice < 9850)
        do_sweep();
    else
        now_ms += next_random(&seed) % 200;
}

static void run(uint64_t size)
{
    unsigned long n = test_number("SHM_OPERATIONS", OPERATIONS);

    seed = test_seed();
    now_ms = NOW;
    hits = 0;
    memset(model, 0, sizeof(model));
    value = malloc(VALUE_CAP);
    back = malloc(VALUE_CAP);
    zone_open(size, 1024);
    for (unsigned long k = 0; k < n; k++) {
        do_one();
        if (k % 1000 == 0)
            expect_sound();
    }
    for (unsigned i = 0; i < KEYS; i++)
        do_get(i);
    ck_assert_uint_gt(hits, n / 100);
    zone_close();
    free(value);
    free(back);
}

START_TEST(a_tight_zone)
{
    run(ZONE_MIN_BYTES);
}
END_TEST

START_TEST(a_roomy_zone)
{
    run(UINT64_C(64) << 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *tcase = tcase_create("against a map");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, a_tight_zone);
    tcase_add_test(tcase, a_roomy_zone);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
