/* table_walk_step(): what is there from the first step to the last is visited, whatever the index
 * does meanwhile. */
#include "shm/sweep.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <string.h>

#define STAY 3000

static unsigned seen[STAY];
static unsigned others;

static void note(void *arg, struct slice key, const struct table_hit *hit)
{
    char text[32];
    unsigned n;

    (void)arg;
    ck_assert_uint_gt(hit->value_len, 0);
    ck_assert_uint_lt(key.len, sizeof(text));
    memcpy(text, key.data, key.len);
    text[key.len] = '\0';
    if (sscanf(text, "stay:%u", &n) == 1 && n < STAY)
        seen[n]++;
    else
        others++;
}

static void store(const char *kind, unsigned n)
{
    char name[32];

    snprintf(name, sizeof(name), "%s:%u", kind, n);
    ck_assert_int_eq(put(name, "v"), TABLE_STORED);
}

static void take(const char *kind, unsigned n)
{
    char name[32];

    snprintf(name, sizeof(name), "%s:%u", kind, n);
    ck_assert_int_ne(drop(name), TABLE_BUSY);
}

/* Between the steps of one walk: more entries, or fewer. */
struct change {
    unsigned every; /* steps */
    unsigned per;   /* entries each time */
    bool grow;
};

static unsigned walk(const struct change *change, unsigned *next)
{
    unsigned steps = 0;

    memset(seen, 0, sizeof(seen));
    others = 0;
    for (uint64_t cursor = 0; cursor != TABLE_CURSOR_END; steps++) {
        uint64_t before = cursor;

        ck_assert_int_eq(table_walk_step(zone, &cursor, NOW, note, NULL), TABLE_HIT);
        ck_assert_uint_gt(cursor, before);
        for (unsigned i = 0; steps % change->every == 0 && i < change->per; i++) {
            if (change->grow)
                store("come", (*next)++);
            else if (*next > 0)
                take("come", --*next);
        }
        if (!change->grow && steps % 64 == 0)
            sweep_tick(zone, NOW, (struct sweep_budget){4096, UINT64_C(1000000000)});
    }
    return steps;
}

static void expect_all_once(void)
{
    for (unsigned n = 0; n < STAY; n++)
        ck_assert_msg(seen[n] == 1, "stay:%u was visited %u times", n, seen[n]);
}

START_TEST(a_walk_at_rest_sees_each_once)
{
    struct change none = {.every = 1, .per = 0};
    unsigned next = 0;

    for (unsigned n = 0; n < STAY; n++)
        store("stay", n);
    ck_assert_uint_ge(walk(&none, &next), table_stripes(zone));
    expect_all_once();
    ck_assert_uint_eq(others, 0);
}
END_TEST

START_TEST(nothing_is_missed_while_the_index_grows_and_shrinks)
{
    struct change up = {.every = 1, .per = 8, .grow = true};
    struct change down = {.every = 1, .per = 8, .grow = false};
    unsigned next = 0;
    unsigned small, large;

    zone_close();
    zone_open(64u << 20, 1024); /* nothing is evicted */
    for (unsigned n = 0; n < STAY; n++)
        store("stay", n);
    small = walk(&up, &next);
    expect_all_once();
    ck_assert_uint_gt(next, small);
    large = walk(&down, &next);
    expect_all_once();
    ck_assert_uint_gt(large, small); /* it did grow */
    walk(&up, &next);
    expect_all_once();
}
END_TEST

START_TEST(a_cursor_beyond_the_end_is_the_end)
{
    uint64_t cursor = TABLE_CURSOR_END + 5;

    ck_assert_int_eq(table_walk_step(zone, &cursor, NOW, note, NULL), TABLE_HIT);
    ck_assert_uint_eq(cursor, TABLE_CURSOR_END);
}
END_TEST

START_TEST(any_cursor_is_one)
{
    uint64_t state = test_seed();

    for (unsigned n = 0; n < STAY; n++)
        store("stay", n);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t cursor = next_random(&state) % TABLE_CURSOR_END;
        uint64_t before = cursor;

        ck_assert_int_eq(table_walk_step(zone, &cursor, NOW, note, NULL), TABLE_HIT);
        ck_assert_uint_gt(cursor, before);
    }
}
END_TEST

int main(void)
{
    return ZONE_SUITE("walk", a_walk_at_rest_sees_each_once,
                      nothing_is_missed_while_the_index_grows_and_shrinks,
                      a_cursor_beyond_the_end_is_the_end, any_cursor_is_one);
}
