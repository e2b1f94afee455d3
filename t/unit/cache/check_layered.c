/* Caches with a real Redis behind: rules 1, 2, 3, 8, 9 and 11 of the design, one process. */
#include "cache_fixture.h"
#include "redis_server.h"

#include "common/clock.h"
#include "redis/message.h"
#include "redis/pool.h"
#include "shm/lease.h"
#include "shm/table.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct redis_server server;
static struct cache_fixture f;

static void setup(void)
{
    redis_server_start(&server, NULL);
    fixture_open(&f, 2, server.address, NULL);
}

static void teardown(void)
{
    fixture_close(&f);
    redis_server_fini(&server);
}

static struct zone *zone_of_default(void)
{
    return f.heritage.zones[0];
}

static uint64_t counter(enum counter which)
{
    struct cache_stats stats;

    cache_stats(caches_find(f.caches, SLICE_LIT("default")), &stats);
    return stats.counter[which];
}

/* ---- redis-cli in a few lines: an inline command on a socket of its own, past everything under
 * test ---- */

static void stranger(const char *command, char *answer, size_t size)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t n;

    inet_pton(AF_INET, "127.0.0.1", &addr.sin_addr);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(write(fd, command, strlen(command)), (ssize_t)strlen(command));
    n = read(fd, answer, size - 1);
    ck_assert_int_gt(n, 0);
    answer[n] = '\0';
    close(fd);
}

static void expect_redis(const char *command, const char *expected)
{
    char answer[512];

    stranger(command, answer, sizeof(answer));
    ck_assert_msg(strcmp(answer, expected) == 0, "%s answered %s", command, answer);
}

static enum table_result in_l1(const char *key)
{
    struct table_key tkey = table_key(zone_of_default(), slice_cstr(key));
    struct table_hit hit;

    return table_find(zone_of_default(), &tkey, clock_now_ms(), &hit);
}

/* ---- the plain paths ---- */

START_TEST(a_put_is_in_both_layers)
{
    ck_assert_int_eq(fixture_put(&f, "default", "k", "v", NULL).status, CACHE_OK);
    expect_redis("GET cachetastic:k\r\n", "$1\r\nv\r\n");
    ck_assert_int_eq(in_l1("k"), TABLE_HIT);
    fixture_expect(&f, "default", "k", "v");
    ck_assert_uint_eq(counter(STAT_L1_HITS), 1);
    ck_assert_uint_eq(counter(STAT_L2_HITS), 0);
}
END_TEST

START_TEST(a_miss_is_filled_from_redis_once)
{
    expect_redis("SET cachetastic:k theirs\r\n", "+OK\r\n");
    fixture_expect(&f, "default", "k", "theirs");
    fixture_expect(&f, "default", "k", "theirs");
    ck_assert_uint_eq(counter(STAT_L2_HITS), 1);
    ck_assert_uint_eq(counter(STAT_L1_HITS), 1);
}
END_TEST

START_TEST(not_found_is_an_answer)
{
    fixture_expect(&f, "default", "k", NULL);
    ck_assert_uint_eq(counter(STAT_MISSES), 1);
    ck_assert_uint_eq(counter(STAT_ERRORS), 0);
    ck_assert_uint_eq(counter(STAT_FALLBACKS), 0);
    ck_assert_uint_eq(counter(STAT_RETRIES), 0);
}
END_TEST

START_TEST(l1_never_outlives_l2)
{
    struct fixture_result result;
    uint64_t before_ms = clock_now_ms();

    expect_redis("SET cachetastic:k v PX 300\r\n", "+OK\r\n");
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_ge(result.info.expires_ms, before_ms);
    ck_assert_uint_le(result.info.expires_ms, clock_now_ms() + 300);
    fixture_result_fini(&result);
    ck_assert_int_eq(in_l1("k"), TABLE_HIT);
    while (clock_now_ms() <= before_ms + 320)
        usleep(5000);
    ck_assert_int_eq(in_l1("k"), TABLE_MISS);
}
END_TEST

START_TEST(a_delete_removes_from_both)
{
    fixture_put(&f, "default", "k", "v", NULL);
    ck_assert_int_eq(fixture_delete(&f, "default", "k").status, CACHE_OK);
    ck_assert_int_eq(in_l1("k"), TABLE_MISS);
    expect_redis("EXISTS cachetastic:k\r\n", ":0\r\n");
    ck_assert_int_eq(fixture_delete(&f, "default", "k").status, CACHE_MISS);
}
END_TEST

START_TEST(attributes_survive_in_an_envelope)
{
    struct cache_attrs attrs = {.content_type = SLICE_LIT("text/html"), .client_flags = 3};
    struct fixture_result result;

    fixture_put(&f, "default", "k", "v", &attrs);
    zone_clear(zone_of_default());
    result = fixture_get(&f, "default", "k");
    ck_assert_str_eq(buf_head(&result.value), "v");
    ck_assert_str_eq(result.info.content_type, "text/html");
    ck_assert_uint_eq(result.info.client_flags, 3);
    fixture_result_fini(&result);
}
END_TEST

START_TEST(a_wrong_type_is_redis_error_not_a_miss)
{
    struct fixture_result result;

    expect_redis("RPUSH cachetastic:k x\r\n", ":1\r\n");
    result = fixture_get(&f, "default", "k");
    ck_assert_int_eq(result.status, CACHE_REMOTE);
    ck_assert_ptr_nonnull(strstr(result.error, "WRONGTYPE"));
}
END_TEST

START_TEST(clear_takes_only_what_the_cache_owns)
{
    fixture_put(&f, "default", "a", "1", NULL);
    fixture_put(&f, "default", "@a", "1", NULL);
    fixture_put(&f, "second", "b", "2", NULL);
    expect_redis("SET stranger 3\r\n", "+OK\r\n");
    ck_assert_int_eq(fixture_count(&f, "default").integer, 2);
    ck_assert_int_eq(fixture_clear(&f, "default").integer, 2);
    fixture_expect(&f, "default", "a", NULL);
    fixture_expect(&f, "second", "b", "2");
    expect_redis("EXISTS stranger cachetastic:@second:b\r\n", ":2\r\n");
    expect_redis("EXISTS cachetastic:a cachetastic:@@a\r\n", ":0\r\n");
}
END_TEST

START_TEST(purge_takes_what_matches)
{
    fixture_put(&f, "default", "user:1", "1", NULL);
    fixture_put(&f, "default", "user:2", "2", NULL);
    fixture_put(&f, "default", "@user:3", "3", NULL);
    ck_assert_int_eq(fixture_purge(&f, "default", "user:*").integer, 2);
    fixture_expect(&f, "default", "user:1", NULL);
    fixture_expect(&f, "default", "@user:3", "3");
    ck_assert_int_eq(fixture_purge(&f, "default", "*3").integer, 1);
    fixture_expect(&f, "default", "@user:3", NULL);
}
END_TEST

/* Rule 11. */
START_TEST(changes_are_decided_by_redis)
{
    struct cache_change incr = {.kind = CHANGE_INCR, .delta = 2};
    struct cache_change nx = {
        .kind = CHANGE_SET, .when = CHANGE_IF_ABSENT, .value = SLICE_LIT("mine")};
    struct cache_change append = {.kind = CHANGE_APPEND, .value = SLICE_LIT("!")};
    struct cache_change del = {.kind = CHANGE_DELETE, .want_old = true};
    struct cache_change swap = {.kind = CHANGE_SET, .want_old = true, .value = SLICE_LIT("new")};
    struct fixture_result result;

    fixture_expect(&f, "default", "n", NULL);
    expect_redis("SET cachetastic:n 40\r\n", "+OK\r\n");
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).integer, 42);
    fixture_expect(&f, "default", "n", "42");
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).integer, 44);
    fixture_expect(&f, "default", "n", "44");
    expect_redis("SET cachetastic:lock theirs\r\n", "+OK\r\n");
    ck_assert_int_eq(fixture_change(&f, "default", "lock", &nx).status, CACHE_MISS);
    ck_assert_int_eq(fixture_change(&f, "default", "lock", &append).integer, 7);
    result = fixture_change(&f, "default", "lock", &swap);
    ck_assert_str_eq(buf_head(&result.value), "theirs!");
    fixture_result_fini(&result);
    result = fixture_change(&f, "default", "lock", &del);
    ck_assert_str_eq(buf_head(&result.value), "new");
    fixture_result_fini(&result);
    ck_assert_int_eq(fixture_change(&f, "default", "lock", &del).status, CACHE_MISS);
    result = fixture_change(&f, "default", "lock", &nx);
    ck_assert_int_eq(result.status, CACHE_OK);
    ck_assert_int_eq(fixture_change(&f, "default", "lock", &incr).status, CACHE_REMOTE);
}
END_TEST

/* What no command of Redis does: by exchange.c. */
START_TEST(exchanges_are_decided_by_redis)
{
    struct cache_changed became;
    struct cache_change count = {.kind = CHANGE_COUNT, .delta = 2, .became = &became};
    struct cache_change prepend = {.kind = CHANGE_PREPEND, .value = SLICE_LIT("<")};
    struct cache_change mark = {.kind = CHANGE_MARK, .became = &became};
    struct cache_change cas = {.kind = CHANGE_SET, .when = CHANGE_IF_SAME};
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 60000, .client_flags = 9};
    struct fixture_result result;

    ck_assert_int_eq(fixture_change(&f, "default", "n", &count).status, CACHE_MISS);
    count.create = true;
    count.initial = 40;
    ck_assert_int_eq(fixture_change(&f, "default", "n", &count).integer, 40);
    expect_redis("GET cachetastic:n\r\n", "$2\r\n40\r\n");
    ck_assert_int_eq(fixture_change(&f, "default", "n", &count).integer, 42);
    fixture_expect(&f, "default", "n", "42");
    expect_redis("SET cachetastic:n abc\r\n", "+OK\r\n");
    ck_assert_int_eq(fixture_change(&f, "default", "n", &count).status, CACHE_NOT_INTEGER);
    /* Flags and expiry stay, marks come and go with the value. */
    fixture_put(&f, "default", "k", "v", &attrs);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &mark).status, CACHE_OK);
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_ne(result.info.mark, 0);
    ck_assert_uint_eq(result.info.client_flags, 9);
    ck_assert_uint_gt(result.info.expires_ms, clock_now_ms() + 50000);
    fixture_result_fini(&result);
    cas.same = became.unique;
    ck_assert_int_eq(fixture_change(&f, "default", "k", &prepend).integer, 2);
    result = fixture_get(&f, "default", "k");
    ck_assert_str_eq(buf_head(&result.value), "<v");
    ck_assert(result.info.mark == 0 && result.info.client_flags == 9);
    fixture_result_fini(&result);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &cas).status, CACHE_MISS);
    cas.or_stale = true;
    ck_assert_int_eq(fixture_change(&f, "default", "k", &cas).status, CACHE_OK);
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_ne(result.info.mark, 0);
    fixture_result_fini(&result);
    expect_redis("RPUSH cachetastic:list x\r\n", ":1\r\n");
    ck_assert_int_eq(fixture_change(&f, "default", "list", &prepend).status, CACHE_REMOTE);
}
END_TEST

START_TEST(a_clear_at_a_time_is_one_process_s)
{
    struct cache *cache = caches_find(f.caches, SLICE_LIT("default"));
    uint64_t now_ms = clock_now_ms();

    fixture_put(&f, "default", "k", "v", NULL);
    cache_clear_at(cache, now_ms + 20000);
    caches_clear_due(f.caches);
    fixture_run(&f, 20);
    fixture_expect(&f, "default", "k", "v");
    ck_assert(!zone_clear_due(zone_of_default(), now_ms + 19999));
    ck_assert(zone_clear_due(zone_of_default(), now_ms + 20000));
    ck_assert(!zone_clear_due(zone_of_default(), now_ms + 20000));
    cache_clear_at(cache, now_ms);
    caches_clear_due(f.caches);
    fixture_run(&f, 100);
    fixture_expect(&f, "default", "k", NULL);
    expect_redis("EXISTS cachetastic:k\r\n", ":0\r\n");
}
END_TEST

START_TEST(expiry_is_changed_in_both)
{
    struct cache_change expire = {.kind = CHANGE_EXPIRE,
                                  .attrs = {.expires_ms = clock_now_ms() + 50000}};
    struct cache_change persist = {.kind = CHANGE_EXPIRE};
    struct fixture_result result;

    ck_assert_int_eq(fixture_change(&f, "default", "k", &expire).status, CACHE_MISS);
    fixture_put(&f, "default", "k", "v", NULL);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &expire).status, CACHE_OK);
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_gt(result.info.expires_ms, clock_now_ms() + 40000);
    fixture_result_fini(&result);
    ck_assert_int_eq(fixture_change(&f, "default", "k", &persist).status, CACHE_OK);
    expect_redis("TTL cachetastic:k\r\n", ":-1\r\n");
    result = fixture_get(&f, "default", "k");
    ck_assert_uint_eq(result.info.expires_ms, 0);
    fixture_result_fini(&result);
}
END_TEST

/* ---- rule 1: a reply that Redis held back while something newer happened ---- */

struct late {
    struct cache_sink sink;
    struct cache_op op;
    char value[64];
    enum cache_status status;
    bool done;
};

static char *late_place(struct cache_sink *sink, const struct cache_info *info)
{
    struct late *late = (struct late *)(void *)sink;

    ck_assert_uint_lt(info->value_len, sizeof(late->value));
    return late->value;
}

static void late_done(struct cache_op *op, enum cache_status status)
{
    struct late *late = (struct late *)(void *)((char *)op - offsetof(struct late, op));

    late->status = status;
    late->done = true;
}

/* Ask for a key and hold Redis' answer back for 150 ms; returns with the question on its way. */
static void begin_late(struct late *late, const char *key)
{
    struct cache_info info;

    *late = (struct late){.sink = {.place = late_place}, .op = {.done = late_done}};
    expect_redis("CLIENT PAUSE 150 ALL\r\n", "+OK\r\n");
    ck_assert_int_eq(cache_get(caches_find(f.caches, SLICE_LIT("default")), slice_cstr(key),
                               &late->sink, &late->op, &info),
                     CACHE_PENDING);
    fixture_run(&f, 20);
    ck_assert(!late->done);
}

static void finish_late(struct late *late)
{
    while (!late->done)
        uv_run(&f.loop, UV_RUN_ONCE);
}

static void old_in_redis(void)
{
    expect_redis("SET cachetastic:k old\r\n", "+OK\r\n");
    fixture_expect(&f, "default", "warm", NULL); /* the connection is up */
}

START_TEST(a_late_fill_without_interference_is_stored)
{
    struct late late;

    old_in_redis();
    begin_late(&late, "k");
    finish_late(&late);
    ck_assert_int_eq(late.status, CACHE_OK);
    ck_assert_int_eq(in_l1("k"), TABLE_HIT);
    ck_assert_uint_eq(counter(STAT_REJECTED_FILLS), 0);
}
END_TEST

static void interfere(int how)
{
    struct message message = {.action = MESSAGE_DELETE,
                              .cache = (char *)(uintptr_t) "default",
                              .key = (char *)(uintptr_t) "k",
                              .key_len = 1};
    struct table_key key = table_key(zone_of_default(), SLICE_LIT("k"));
    struct table_write write = {.value = SLICE_LIT("new")};
    struct lease lease;

    switch (how) {
    case 0: /* a delete on another node */
        caches_apply(f.caches, &message);
        break;
    case 1:
        message.action = MESSAGE_CLEAR_END;
        caches_apply(f.caches, &message);
        break;
    case 2:
        message.action = MESSAGE_PATTERN;
        message.key = (char *)(uintptr_t) "k*";
        message.key_len = 2;
        caches_apply(f.caches, &message);
        break;
    case 3: /* a write by another worker, finished meanwhile */
        ck_assert_int_eq(lease_write_begin(zone_of_default(), &key, clock_now_ms(),
                                           clock_now_ms() + 1000, &lease),
                         LEASE_GRANTED);
        ck_assert_int_eq(lease_write_end(zone_of_default(), &key, &lease, &write, clock_now_ms()),
                         TABLE_STORED);
        break;
    case 4: /* messages may have been lost */
        caches_distrust(f.caches);
        break;
    }
}

START_TEST(a_late_fill_loses_to_anything_newer)
{
    struct late late;
    enum table_result after;

    old_in_redis();
    begin_late(&late, "k");
    interfere(_i);
    finish_late(&late);
    ck_assert_int_eq(late.status, CACHE_OK);
    after = in_l1("k");
    if (_i == 3) {
        ck_assert_int_eq(after, TABLE_HIT);
        fixture_expect(&f, "default", "k", "new");
    } else {
        ck_assert_msg(after == TABLE_MISS || (_i == 4 && after == TABLE_STALE), "case %d: %d", _i,
                      after);
    }
}
END_TEST

START_TEST(overlapping_puts_leave_the_key_absent)
{
    struct table_key key = table_key(zone_of_default(), SLICE_LIT("k"));
    struct table_write write = {.value = SLICE_LIT("other")};
    struct lease lease;

    fixture_put(&f, "default", "k", "before", NULL);
    ck_assert_int_eq(
        lease_write_begin(zone_of_default(), &key, clock_now_ms(), clock_now_ms() + 1000, &lease),
        LEASE_GRANTED);
    ck_assert_int_eq(fixture_put(&f, "default", "k", "ours", NULL).status, CACHE_OK);
    ck_assert_int_eq(lease_write_end(zone_of_default(), &key, &lease, &write, clock_now_ms()),
                     TABLE_REJECTED);
    ck_assert_int_eq(in_l1("k"), TABLE_MISS);
    fixture_expect(&f, "default", "k", "ours");
}
END_TEST

/* ---- outages ---- */

START_TEST(a_read_without_an_answer_is_sent_again)
{
    struct late late = {.sink = {.place = late_place}, .op = {.done = late_done}};
    struct cache_info info;

    old_in_redis();
    redis_server_freeze(&server, true);
    ck_assert_int_eq(cache_get(caches_find(f.caches, SLICE_LIT("default")), SLICE_LIT("k"),
                               &late.sink, &late.op, &info),
                     CACHE_PENDING);
    fixture_run(&f, 600); /* beyond command_timeout, within the deadline */
    redis_server_freeze(&server, false);
    finish_late(&late);
    ck_assert_int_eq(late.status, CACHE_OK);
    ck_assert_uint_eq(counter(STAT_RETRIES), 1);
    ck_assert_uint_eq(counter(STAT_FALLBACKS), 0);
}
END_TEST

START_TEST(without_redis_memory_takes_over)
{
    struct cache_change incr = {.kind = CHANGE_INCR, .delta = 1};

    fixture_put(&f, "default", "before", "1", NULL);
    redis_server_kill(&server, SIGKILL);
    fixture_expect(&f, "default", "before", "1");
    ck_assert_int_eq(fixture_put(&f, "default", "k", "v", NULL).status, CACHE_OK);
    fixture_expect(&f, "default", "k", "v");
    fixture_expect(&f, "default", "nope", NULL);
    ck_assert_int_eq(fixture_change(&f, "default", "n", &incr).status, CACHE_DOWN);
    ck_assert_int_eq(fixture_delete(&f, "default", "k").status, CACHE_OK);
    fixture_expect(&f, "default", "k", NULL);
    ck_assert_uint_gt(counter(STAT_FALLBACKS), 0);
    ck_assert_uint_gt(journal_count(f.heritage.journal), 0);
}
END_TEST

static void no_backup(struct config *config)
{
    config->caches[0].backup = BACKUP_NONE;
}

START_TEST(without_a_backup_it_says_so)
{
    fixture_close(&f);
    fixture_open(&f, 2, server.address, no_backup);
    fixture_put(&f, "default", "before", "1", NULL);
    redis_server_kill(&server, SIGKILL);
    fixture_expect(&f, "default", "before", "1");
    ck_assert_int_ge(fixture_put(&f, "default", "k", "v", NULL).status, CACHE_DOWN);
    ck_assert_int_ge(fixture_get(&f, "default", "nope").status, CACHE_DOWN);
    ck_assert_int_ge(fixture_delete(&f, "default", "before").status, CACHE_DOWN);
    ck_assert_int_eq(in_l1("before"), TABLE_MISS);
}
END_TEST

START_TEST(stale_entries_serve_while_redis_is_down_only)
{
    fixture_put(&f, "default", "k", "v1", NULL);
    expect_redis("SET cachetastic:k v2\r\n", "+OK\r\n");
    fixture_expect(&f, "default", "k", "v1");
    caches_distrust(f.caches);
    redis_server_freeze(&server, true);
    fixture_expect(&f, "default", "k", "v1");
    ck_assert_uint_eq(counter(STAT_STALE_HITS), 1);
    redis_server_freeze(&server, false);
    for (int i = 0; i < 100 && !pool_usable(caches_pool(f.caches)); i++)
        fixture_run(&f, 50);
    fixture_expect(&f, "default", "k", "v2");
}
END_TEST

/* Rule 2: what Redis kept over the outage is older than what was written meanwhile. */
START_TEST(the_journal_prevents_resurrection)
{
    static const char *const options[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

    fixture_close(&f);
    redis_server_fini(&server);
    redis_server_start(&server, options);
    fixture_open(&f, 2, server.address, NULL);
    fixture_put(&f, "default", "a", "old", NULL);
    fixture_put(&f, "default", "b", "old", NULL);
    redis_server_kill(&server, SIGKILL);
    ck_assert_int_eq(fixture_put(&f, "default", "a", "new", NULL).status, CACHE_OK);
    fixture_delete(&f, "default", "b");
    ck_assert_uint_eq(journal_count(f.heritage.journal), 2);
    redis_server_restart(&server);
    expect_redis("MGET cachetastic:a cachetastic:b\r\n", "*2\r\n$3\r\nold\r\n$3\r\nold\r\n");
    for (int i = 0; i < 100 && !pool_usable(caches_pool(f.caches)); i++)
        fixture_run(&f, 50);
    /* Back, and not yet replayed: its old values are not believed. */
    fixture_expect(&f, "default", "b", NULL);
    fixture_expect(&f, "default", "a", "new");
    for (int i = 0; i < 100 && journal_count(f.heritage.journal) > 0; i++) {
        caches_replay(f.caches);
        fixture_run(&f, 20);
    }
    ck_assert_uint_eq(journal_count(f.heritage.journal), 0);
    expect_redis("EXISTS cachetastic:a cachetastic:b\r\n", ":0\r\n");
    fixture_expect(&f, "default", "a", "new");
    fixture_expect(&f, "default", "b", NULL);
}
END_TEST

START_TEST(a_journal_that_overflows_distrusts_and_clears)
{
    char key[32];

    fixture_put(&f, "default", "kept", "old", NULL);
    redis_server_freeze(&server, true);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        ck_assert_int_eq(fixture_put(&f, "default", key, "v", NULL).status, CACHE_OK);
    }
    ck_assert(journal_distrusted(f.heritage.journal, 0));
    redis_server_freeze(&server, false);
    zone_clear(zone_of_default());
    for (int i = 0; i < 100 && !pool_usable(caches_pool(f.caches)); i++)
        fixture_run(&f, 50);
    fixture_expect(&f, "default", "kept", NULL);
    for (int i = 0; i < 200 && (journal_distrusted(f.heritage.journal, 0) ||
                                journal_count(f.heritage.journal) > 0);
         i++) {
        caches_replay(f.caches);
        fixture_run(&f, 20);
    }
    ck_assert(!journal_distrusted(f.heritage.journal, 0));
    expect_redis("EXISTS cachetastic:kept\r\n", ":0\r\n");
}
END_TEST

/* ---- jobs ---- */

START_TEST(a_job_of_a_dead_process_is_finished)
{
    struct job *job = &f.heritage.jobs->job[0];

    fixture_put(&f, "default", "a", "1", NULL);
    fixture_put(&f, "default", "b", "2", NULL);
    /* What a worker leaves that died just after it began to clear. */
    zone_clear(zone_of_default());
    job->kind = JOB_CLEAR;
    atomic_store(&job->owner, 17);
    atomic_store(&job->state, JOB_RUNNING);
    atomic_store(&f.heritage.jobs->running[0], 1);
    fixture_expect(&f, "default", "a", NULL); /* covered by the job: L2 is not believed */
    caches_wake(f.caches);
    ck_assert_int_eq(atomic_load(&job->state), JOB_RUNNING);
    ck_assert_uint_eq(jobs_orphan(f.heritage.jobs, 17), 1);
    caches_wake(f.caches);
    for (int i = 0; i < 100 && atomic_load(&job->state) != JOB_FREE; i++)
        fixture_run(&f, 20);
    ck_assert_int_eq(atomic_load(&job->state), JOB_FREE);
    expect_redis("EXISTS cachetastic:a cachetastic:b\r\n", ":0\r\n");
    ck_assert_uint_eq(atomic_load(&f.heritage.jobs->running[0]), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache: layered");
    TCase *tc = tcase_create("layered");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_put_is_in_both_layers);
    tcase_add_test(tc, a_miss_is_filled_from_redis_once);
    tcase_add_test(tc, not_found_is_an_answer);
    tcase_add_test(tc, l1_never_outlives_l2);
    tcase_add_test(tc, a_delete_removes_from_both);
    tcase_add_test(tc, attributes_survive_in_an_envelope);
    tcase_add_test(tc, a_wrong_type_is_redis_error_not_a_miss);
    tcase_add_test(tc, clear_takes_only_what_the_cache_owns);
    tcase_add_test(tc, purge_takes_what_matches);
    tcase_add_test(tc, changes_are_decided_by_redis);
    tcase_add_test(tc, exchanges_are_decided_by_redis);
    tcase_add_test(tc, a_clear_at_a_time_is_one_process_s);
    tcase_add_test(tc, expiry_is_changed_in_both);
    tcase_add_test(tc, a_late_fill_without_interference_is_stored);
    tcase_add_loop_test(tc, a_late_fill_loses_to_anything_newer, 0, 5);
    tcase_add_test(tc, overlapping_puts_leave_the_key_absent);
    tcase_add_test(tc, a_read_without_an_answer_is_sent_again);
    tcase_add_test(tc, without_redis_memory_takes_over);
    tcase_add_test(tc, without_a_backup_it_says_so);
    tcase_add_test(tc, stale_entries_serve_while_redis_is_down_only);
    tcase_add_test(tc, the_journal_prevents_resurrection);
    tcase_add_test(tc, a_journal_that_overflows_distrusts_and_clears);
    tcase_add_test(tc, a_job_of_a_dead_process_is_finished);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
