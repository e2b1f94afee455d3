/* One computation a key: in one process, across processes, and in front of Redis. */
#include "cache_fixture.h"
#include "redis_server.h"

#include "common/clock.h"
#include "shm/repair.h"
#include "shm/table.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cache_fixture f;
static struct redis_server server;
static const struct cache_fetch patient = {.wait_ms = 5000};

/* One fetch, waited for or not. */
struct asker {
    struct cache_sink sink;
    struct cache_op op;
    struct cache_info info;
    enum cache_status status; /* CACHE_PENDING until it ends */
    struct buf value;
};

static char *place(struct cache_sink *sink, const struct cache_info *info)
{
    struct asker *asker = (struct asker *)(void *)sink;
    char *p;

    buf_truncate(&asker->value, 0);
    p = buf_reserve(&asker->value, info->value_len + 1);
    ck_assert_ptr_nonnull(p);
    buf_commit(&asker->value, info->value_len);
    p[info->value_len] = '\0';
    return p;
}

static void done(struct cache_op *op, enum cache_status status)
{
    struct asker *asker = (struct asker *)(void *)((char *)op - offsetof(struct asker, op));

    ck_assert_int_eq(asker->status, CACHE_PENDING);
    asker->status = status;
    asker->info = op->info;
}

static struct cache *default_cache(void)
{
    return caches_find(f.caches, SLICE_LIT("default"));
}

static void ask(struct asker *asker, const char *key, const struct cache_fetch *how)
{
    *asker =
        (struct asker){.sink = {.place = place}, .op = {.done = done}, .status = CACHE_PENDING};
    asker->status =
        cache_fetch(default_cache(), slice_cstr(key), how, &asker->sink, &asker->op, &asker->info);
}

static void await(struct asker *asker)
{
    while (asker->status == CACHE_PENDING)
        uv_run(&f.loop, UV_RUN_ONCE);
}

static void forget(struct asker *asker)
{
    buf_fini(&asker->value);
}

static enum cache_status fetch(const char *key, const struct cache_fetch *how,
                               struct cache_info *info)
{
    struct asker asker;

    ask(&asker, key, how);
    await(&asker);
    *info = asker.info;
    forget(&asker);
    return asker.status;
}

/* The right to compute, which must be had. */
static uint64_t granted(const char *key)
{
    struct cache_info info;

    ck_assert_int_eq(fetch(key, &patient, &info), CACHE_MISS);
    ck_assert_uint_ne(info.lease, 0);
    return info.lease;
}

static enum cache_status fill_with(const char *key, uint64_t token, const char *value,
                                   const struct cache_attrs *attrs)
{
    struct asker asker = {.op = {.done = done}, .status = CACHE_PENDING};

    asker.status =
        cache_fill(default_cache(), slice_cstr(key), token, slice_cstr(value), attrs, &asker.op);
    await(&asker);
    return asker.status;
}

static enum cache_status fill(const char *key, uint64_t token, const char *value)
{
    return fill_with(key, token, value, &(struct cache_attrs){0});
}

static void expect(struct asker *asker, const char *value)
{
    await(asker);
    ck_assert_int_eq(asker->status, CACHE_OK);
    ck_assert_str_eq(buf_head(&asker->value), value);
    forget(asker);
}

static uint64_t counter(enum counter which)
{
    struct cache_stats stats;

    cache_stats(default_cache(), &stats);
    return stats.counter[which];
}

/* ---- one process ---- */

static void setup(void)
{
    fixture_open(&f, 1, NULL, NULL);
}

static void teardown(void)
{
    fixture_close(&f);
}

START_TEST(a_miss_is_a_lease_and_a_fill_a_hit)
{
    struct cache_info info;

    ck_assert_int_eq(fill("k", granted("k"), "v"), CACHE_OK);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_OK);
    ck_assert_uint_eq(info.lease, 0);
    ck_assert(!info.stale);
    fixture_expect(&f, "default", "k", "v");
    ck_assert_uint_eq(counter(STAT_LEASES), 1);
    ck_assert_uint_eq(counter(STAT_PUTS), 1);
}
END_TEST

START_TEST(who_waits_gets_what_was_computed)
{
    uint64_t token = granted("k");
    struct asker one, two;

    ask(&one, "k", &patient);
    ask(&two, "k", &patient);
    fixture_run(&f, 20);
    ck_assert_int_eq(one.status, CACHE_PENDING);
    ck_assert_int_eq(fill("k", token, "v"), CACHE_OK);
    expect(&one, "v");
    expect(&two, "v");
    ck_assert_uint_eq(counter(STAT_LEASES), 1);
    ck_assert_uint_eq(counter(STAT_LEASE_WAITS), 2);
}
END_TEST

START_TEST(after_a_failure_one_of_them_computes)
{
    uint64_t token = granted("k");
    struct asker one, two;

    ask(&one, "k", &patient);
    ask(&two, "k", &patient);
    ck_assert_int_eq(cache_fail(default_cache(), SLICE_LIT("k"), token, 0, NULL), CACHE_OK);
    await(&one);
    ck_assert_int_eq(one.status, CACHE_MISS);
    ck_assert_uint_ne(one.info.lease, 0);
    fixture_run(&f, 20);
    ck_assert_int_eq(two.status, CACHE_PENDING);
    ck_assert_int_eq(fill("k", one.info.lease, "v"), CACHE_OK);
    expect(&two, "v");
}
END_TEST

START_TEST(waiting_ends)
{
    static const struct cache_fetch hasty = {.wait_ms = 30};
    static const struct cache_fetch none = {0};
    struct cache_info info;
    uint64_t token = granted("k"), began_ms = clock_now_ms();

    ck_assert_int_eq(fetch("k", &hasty, &info), CACHE_BUSY);
    ck_assert_uint_ge(clock_now_ms() - began_ms, 30);
    ck_assert_uint_gt(info.retry_ms, 5000);
    ck_assert_int_eq(fetch("k", &none, &info), CACHE_BUSY);
    ck_assert_uint_eq(info.lease, 0);
    cache_fail(default_cache(), SLICE_LIT("k"), token, 0, NULL);
}
END_TEST

/* Nobody rings when a lease ends by its deadline: whoever waits has a timer. */
START_TEST(a_lease_that_runs_out_goes_to_one_who_waits)
{
    static const struct cache_fetch brief = {.lease_ms = 40, .wait_ms = 5000};
    struct cache_info info;
    uint64_t first, began_ms = clock_now_ms();

    ck_assert_int_eq(fetch("k", &brief, &info), CACHE_MISS);
    first = info.lease;
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_MISS);
    ck_assert_uint_ge(clock_now_ms() - began_ms, 40);
    ck_assert_uint_ne(info.lease, 0);
    ck_assert_int_eq(fill("k", first, "late"), CACHE_MISS);
    ck_assert_int_eq(fill("k", info.lease, "v"), CACHE_OK);
    fixture_expect(&f, "default", "k", "v");
    ck_assert_uint_eq(counter(STAT_REJECTED_FILLS), 1);
}
END_TEST

START_TEST(a_put_ends_the_waiting_and_beats_the_fill)
{
    uint64_t token = granted("k");
    struct asker one;

    ask(&one, "k", &patient);
    fixture_put(&f, "default", "k", "put", NULL);
    expect(&one, "put");
    ck_assert_int_eq(fill("k", token, "late"), CACHE_MISS);
    fixture_expect(&f, "default", "k", "put");
}
END_TEST

START_TEST(a_delete_beats_the_fill)
{
    uint64_t token = granted("k");

    fixture_delete(&f, "default", "k");
    ck_assert_int_eq(fill("k", token, "late"), CACHE_MISS);
    fixture_expect(&f, "default", "k", NULL);
}
END_TEST

START_TEST(a_failure_may_ask_for_time)
{
    struct cache_info info;
    uint64_t token = granted("k");

    cache_fail(default_cache(), SLICE_LIT("k"), token, 60, NULL);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_BUSY);
    ck_assert_uint_gt(info.retry_ms, 0);
    ck_assert_uint_le(info.retry_ms, 60);
    fixture_run(&f, 70);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_MISS);
    ck_assert_uint_ne(info.lease, 0);
}
END_TEST

START_TEST(without_an_op_nothing_is_taken)
{
    struct cache_info info;
    uint64_t token = granted("k");

    ck_assert_int_eq(cache_fetch(default_cache(), SLICE_LIT("k"), &patient, NULL, NULL, &info),
                     CACHE_WAIT);
    ck_assert_int_eq(fill("k", token, "v"), CACHE_OK);
    ck_assert_int_eq(cache_fetch(default_cache(), SLICE_LIT("k"), &patient, NULL, NULL, &info),
                     CACHE_OK);
    ck_assert_uint_eq(info.value_len, 1);
}
END_TEST

START_TEST(a_stale_value_is_served_while_one_computes)
{
    static const struct cache_fetch lenient = {.wait_ms = 5000, .stale_ms = 60000};
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 30, .stale_ms = 60000};
    struct cache_info info;
    struct asker asker;
    uint64_t token;

    ck_assert_int_eq(fill_with("k", granted("k"), "old", &attrs), CACHE_OK);
    fixture_run(&f, 40);
    fixture_expect(&f, "default", "k", NULL);
    ask(&asker, "k", &lenient);
    ck_assert(asker.info.stale);
    token = asker.info.lease;
    ck_assert_uint_ne(token, 0);
    expect(&asker, "old");
    ask(&asker, "k", &lenient);
    ck_assert(asker.info.stale);
    ck_assert_uint_eq(asker.info.lease, 0);
    expect(&asker, "old");
    ck_assert_int_eq(fill("k", token, "new"), CACHE_OK);
    ck_assert_int_eq(fetch("k", &lenient, &info), CACHE_OK);
    ck_assert(!info.stale);
    ck_assert_uint_eq(counter(STAT_STALE_HITS), 2);
}
END_TEST

START_TEST(one_refreshes_early)
{
    static const struct cache_fetch eager = {.wait_ms = 5000, .beta = 1e12};
    struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 60000};
    uint64_t token = granted("k");
    struct cache_info info;

    fixture_run(&f, 5); /* so that computing it took some time */
    ck_assert_int_eq(fill_with("k", token, "v", &attrs), CACHE_OK);
    ck_assert_int_eq(fetch("k", &eager, &info), CACHE_OK);
    ck_assert_uint_ne(info.lease, 0);
    ck_assert(!info.stale);
    ck_assert_int_eq(fetch("k", &eager, &info), CACHE_OK);
    ck_assert_uint_eq(info.lease, 0);
}
END_TEST

START_TEST(what_cannot_be_stored_ends_the_lease)
{
    uint64_t token = granted("k");
    size_t len = zone_value_max(cache_zone(default_cache())) + 1;
    char *big = calloc(1, len);
    struct cache_attrs none = {0};
    struct cache_info info;

    ck_assert_int_eq(
        cache_fill(default_cache(), SLICE_LIT("k"), token, slice_make(big, len), &none, NULL),
        CACHE_TOO_LARGE);
    free(big);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_MISS);
    ck_assert_uint_ne(info.lease, 0);
}
END_TEST

START_TEST(closing_ends_those_who_wait)
{
    struct asker one;

    granted("k");
    ask(&one, "k", &patient);
    fixture_stop(&f);
    ck_assert_int_eq(one.status, CACHE_DOWN);
    fixture_serve(&f, 0);
}
END_TEST

static void with_jitter(struct config *config)
{
    config->caches[0].ttl_jitter = 10;
}

START_TEST(jitter_spreads_expiries_and_never_lengthens_them)
{
    uint64_t least = UINT64_MAX, most = 0;

    fixture_close(&f);
    fixture_open(&f, 1, NULL, with_jitter);
    for (int i = 0; i < 200; i++) {
        struct cache_attrs attrs = {.expires_ms = clock_now_ms() + 1000000};
        struct cache_change set = {.kind = CHANGE_SET, .value = SLICE_LIT("v"), .attrs = attrs};
        struct fixture_result result;
        uint64_t early;

        if (i % 2 == 0)
            fixture_put(&f, "default", "k", "v", &attrs);
        else
            fixture_change(&f, "default", "k", &set);
        result = fixture_get(&f, "default", "k");
        ck_assert_uint_le(result.info.expires_ms, attrs.expires_ms);
        early = attrs.expires_ms - result.info.expires_ms;
        least = early < least ? early : least;
        most = early > most ? early : most;
        fixture_result_fini(&result);
    }
    ck_assert_uint_le(most, 100001);
    ck_assert_uint_gt(most, 80000);
    ck_assert_uint_lt(least, 20000);
}
END_TEST

/* ---- several processes ---- */

#define WORKERS 4
#define KEYS    10

struct tally {
    _Atomic unsigned computed[KEYS];
    _Atomic unsigned got;
    _Atomic unsigned ready;
    _Atomic bool go;
};
static struct tally *tally;

static void setup_shared(void)
{
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(tally, MAP_FAILED);
    fixture_share(&f, 1, NULL, NULL);
}

static void teardown_shared(void)
{
    fixture_unshare(&f);
    munmap(tally, sizeof(*tally));
}

/* Fetch every key; compute what this worker is to compute, which takes a while. */
static void work_on_keys(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        struct asker asker;

        snprintf(key, sizeof(key), "key %u", i);
        ask(&asker, key, &patient);
        await(&asker);
        if (asker.status == CACHE_MISS) {
            ck_assert_uint_ne(asker.info.lease, 0);
            fixture_run(&f, 20);
            atomic_fetch_add(&tally->computed[i], 1);
            ck_assert_int_eq(fill(key, asker.info.lease, key), CACHE_OK);
        } else {
            expect(&asker, key);
        }
        atomic_fetch_add(&tally->got, 1);
    }
}

static pid_t start_worker(unsigned slot, void (*run)(void))
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    fixture_serve(&f, slot);
    atomic_fetch_add(&tally->ready, 1);
    while (!atomic_load(&tally->go))
        usleep(100);
    run();
    fixture_stop(&f);
    _exit(0);
}

static void expect_exit(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(of_many_processes_exactly_one_computes)
{
    pid_t pid[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++)
        pid[i] = start_worker(i, work_on_keys);
    while (atomic_load(&tally->ready) < WORKERS)
        usleep(100);
    atomic_store(&tally->go, true);
    for (unsigned i = 0; i < WORKERS; i++)
        expect_exit(pid[i]);
    ck_assert_uint_eq(atomic_load(&tally->got), WORKERS * KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        ck_assert_uint_eq(atomic_load(&tally->computed[i]), 1);
}
END_TEST

static void take_and_die(void)
{
    granted("key 0");
    atomic_fetch_add(&tally->got, 1);
    raise(SIGKILL);
}

/* What the master does: repair, then ring everyone. */
static void bury(pid_t pid)
{
    struct errmsg msg;
    uint64_t one = 1;

    ck_assert_int_eq(zone_join(f.heritage.zones[0], &msg), ERR_OK);
    ck_assert_int_eq(repair_process(f.heritage.zones[0], pid, false, NULL), 1);
    zone_leave(f.heritage.zones[0]);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_int_eq(write(f.heritage.wake_fds[i], &one, sizeof(one)), sizeof(one));
}

START_TEST(when_the_holder_dies_another_computes)
{
    pid_t dying, heir;
    int status;

    atomic_store(&tally->go, true);
    dying = start_worker(0, take_and_die);
    ck_assert_int_eq(waitpid(dying, &status, 0), dying);
    ck_assert(WIFSIGNALED(status));
    heir = start_worker(1, work_on_keys);
    usleep(50000);
    ck_assert_uint_eq(atomic_load(&tally->computed[0]), 0); /* it waits for the dead one's lease */
    bury(dying);
    expect_exit(heir);
    ck_assert_uint_eq(atomic_load(&tally->computed[0]), 1);
}
END_TEST

/* ---- in front of Redis ---- */

static void setup_layered(void)
{
    redis_server_start(&server, NULL);
    fixture_open(&f, 1, server.address, NULL);
}

static void teardown_layered(void)
{
    fixture_close(&f);
    redis_server_fini(&server);
}

/* An inline command on a socket of its own. */
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

static unsigned gets_seen_by_redis(void)
{
    char answer[16384];
    const char *at;

    stranger("INFO commandstats\r\n", answer, sizeof(answer));
    at = strstr(answer, "cmdstat_get:calls=");
    return at == NULL ? 0 : (unsigned)atoi(at + strlen("cmdstat_get:calls="));
}

START_TEST(nobody_computes_what_redis_has)
{
    struct cache_info info;
    struct asker asker;

    expect_redis("SET cachetastic:k theirs\r\n", "+OK\r\n");
    ask(&asker, "k", &patient);
    expect(&asker, "theirs");
    ck_assert_uint_eq(asker.info.lease, 0);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_OK);
    ck_assert_uint_eq(counter(STAT_L2_HITS), 1);
    ck_assert_uint_eq(counter(STAT_L1_HITS), 1);
}
END_TEST

START_TEST(what_was_computed_is_in_both_layers)
{
    struct asker waiting;
    uint64_t token = granted("k");

    ask(&waiting, "k", &patient);
    fixture_run(&f, 20);
    ck_assert_int_eq(waiting.status, CACHE_PENDING);
    ck_assert_int_eq(fill("k", token, "v"), CACHE_OK);
    expect(&waiting, "v");
    expect_redis("GET cachetastic:k\r\n", "$1\r\nv\r\n");
    fixture_expect(&f, "default", "k", "v");
    ck_assert_uint_eq(counter(STAT_LEASES), 1);
}
END_TEST

START_TEST(a_fill_too_late_reaches_neither_layer)
{
    uint64_t token = granted("k");

    fixture_delete(&f, "default", "k");
    ck_assert_int_eq(fill("k", token, "late"), CACHE_MISS);
    expect_redis("GET cachetastic:k\r\n", "$-1\r\n");
    fixture_expect(&f, "default", "k", NULL);
}
END_TEST

START_TEST(computing_goes_on_without_redis)
{
    struct cache_info info;
    uint64_t token;

    redis_server_freeze(&server, true);
    token = granted("k");
    ck_assert_int_eq(fill("k", token, "v"), CACHE_OK);
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_OK);
    ck_assert_uint_eq(counter(STAT_LEASES), 1);
    ck_assert_uint_ge(journal_count(f.heritage.journal), 1);
    redis_server_freeze(&server, false);
}
END_TEST

/* Many reads of one key at once. */
static void get_done(struct cache_op *op, enum cache_status status)
{
    done(op, status);
}

#define READERS 20

static void read_at_once(const char *key, enum cache_status expected)
{
    static struct asker askers[READERS];

    for (int i = 0; i < READERS; i++) {
        struct asker *a = &askers[i];

        *a = (struct asker){
            .sink = {.place = place}, .op = {.done = get_done}, .status = CACHE_PENDING};
        a->status = cache_get(default_cache(), slice_cstr(key), &a->sink, &a->op, &a->info);
    }
    for (int i = 0; i < READERS; i++) {
        await(&askers[i]);
        ck_assert_int_eq(askers[i].status, expected);
        forget(&askers[i]);
    }
}

START_TEST(reads_at_once_are_one_get)
{
    unsigned before;

    expect_redis("SET cachetastic:k v\r\n", "+OK\r\n");
    before = gets_seen_by_redis();
    read_at_once("k", CACHE_OK);
    ck_assert_uint_eq(gets_seen_by_redis() - before, 1);
    ck_assert_uint_eq(counter(STAT_HITS), READERS);
}
END_TEST

START_TEST(reads_at_once_of_nothing_are_one_get)
{
    unsigned before = gets_seen_by_redis();

    read_at_once("nothing", CACHE_MISS);
    ck_assert_uint_eq(gets_seen_by_redis() - before, 1);
    ck_assert_uint_eq(counter(STAT_MISSES), READERS);
    /* And a later read looks again. */
    expect_redis("SET cachetastic:nothing v\r\n", "+OK\r\n");
    fixture_expect(&f, "default", "nothing", "v");
}
END_TEST

/* Rule 7: those who wait for a reader that gets no answer wait no longer than it does. */
START_TEST(reads_at_once_end_when_redis_is_silent)
{
    uint64_t began_ms;

    fixture_put(&f, "default", "other", "v", NULL);
    redis_server_freeze(&server, true);
    began_ms = clock_now_ms();
    read_at_once("k", CACHE_MISS);
    ck_assert_uint_lt(clock_now_ms() - began_ms, 5000);
    redis_server_freeze(&server, false);
}
END_TEST

static void backend_redis(struct config *config)
{
    config->caches[0].backend = BACKEND_REDIS;
    config->caches[0].backup = BACKUP_NONE;
}

START_TEST(redis_alone_has_leases_too)
{
    struct asker one, two;
    struct cache_info info;
    uint64_t token;

    fixture_close(&f);
    fixture_open(&f, 1, server.address, backend_redis);
    token = granted("k");
    ask(&one, "k", &patient);
    ask(&two, "k", &patient);
    fixture_run(&f, 30);
    ck_assert_int_eq(one.status, CACHE_PENDING);
    ck_assert_int_eq(fill("k", token, "v"), CACHE_OK);
    expect(&one, "v");
    expect(&two, "v");
    expect_redis("GET cachetastic:k\r\n", "$1\r\nv\r\n");
    ck_assert_int_eq(fetch("k", &patient, &info), CACHE_OK);
    ck_assert_uint_eq(info.lease, 0);
    ck_assert_uint_eq(table_count(f.heritage.zones[0]), 0);
}
END_TEST

static void shared_layered(void)
{
    redis_server_start(&server, NULL);
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fixture_share(&f, 1, server.address, NULL);
}

static void unshared_layered(void)
{
    teardown_shared();
    redis_server_fini(&server);
}

static void read_keys(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%u", i);
        fixture_expect(&f, "default", key, "v");
    }
}

START_TEST(reads_of_many_processes_are_one_get)
{
    pid_t pid[WORKERS];
    unsigned before;

    for (unsigned i = 0; i < KEYS; i++) {
        char command[64];

        snprintf(command, sizeof(command), "SET cachetastic:k%u v\r\n", i);
        expect_redis(command, "+OK\r\n");
    }
    before = gets_seen_by_redis();
    for (unsigned i = 0; i < WORKERS; i++)
        pid[i] = start_worker(i, read_keys);
    while (atomic_load(&tally->ready) < WORKERS)
        usleep(100);
    atomic_store(&tally->go, true);
    for (unsigned i = 0; i < WORKERS; i++)
        expect_exit(pid[i]);
    ck_assert_uint_eq(gets_seen_by_redis() - before, KEYS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache: one computation a key");
    TCase *one = tcase_create("one process"), *many = tcase_create("many processes");
    TCase *layered = tcase_create("layered"), *both = tcase_create("many processes, layered");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(one, setup, teardown);
    tcase_add_test(one, a_miss_is_a_lease_and_a_fill_a_hit);
    tcase_add_test(one, who_waits_gets_what_was_computed);
    tcase_add_test(one, after_a_failure_one_of_them_computes);
    tcase_add_test(one, waiting_ends);
    tcase_add_test(one, a_lease_that_runs_out_goes_to_one_who_waits);
    tcase_add_test(one, a_put_ends_the_waiting_and_beats_the_fill);
    tcase_add_test(one, a_delete_beats_the_fill);
    tcase_add_test(one, a_failure_may_ask_for_time);
    tcase_add_test(one, without_an_op_nothing_is_taken);
    tcase_add_test(one, a_stale_value_is_served_while_one_computes);
    tcase_add_test(one, one_refreshes_early);
    tcase_add_test(one, what_cannot_be_stored_ends_the_lease);
    tcase_add_test(one, closing_ends_those_who_wait);
    tcase_add_test(one, jitter_spreads_expiries_and_never_lengthens_them);
    suite_add_tcase(suite, one);
    tcase_add_checked_fixture(many, setup_shared, teardown_shared);
    tcase_set_timeout(many, 60);
    tcase_add_test(many, of_many_processes_exactly_one_computes);
    tcase_add_test(many, when_the_holder_dies_another_computes);
    suite_add_tcase(suite, many);
    tcase_add_checked_fixture(layered, setup_layered, teardown_layered);
    tcase_set_timeout(layered, 60);
    tcase_add_test(layered, nobody_computes_what_redis_has);
    tcase_add_test(layered, what_was_computed_is_in_both_layers);
    tcase_add_test(layered, a_fill_too_late_reaches_neither_layer);
    tcase_add_test(layered, computing_goes_on_without_redis);
    tcase_add_test(layered, reads_at_once_are_one_get);
    tcase_add_test(layered, reads_at_once_of_nothing_are_one_get);
    tcase_add_test(layered, reads_at_once_end_when_redis_is_silent);
    tcase_add_test(layered, redis_alone_has_leases_too);
    suite_add_tcase(suite, layered);
    tcase_add_checked_fixture(both, shared_layered, unshared_layered);
    tcase_set_timeout(both, 60);
    tcase_add_test(both, reads_of_many_processes_are_one_get);
    suite_add_tcase(suite, both);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
