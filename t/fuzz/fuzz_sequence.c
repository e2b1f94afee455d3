/* Whole sequences of commands, from a socket to the engine and back: nothing that a client of RESP
 * (first byte even) or memcached (odd) sends may break a worker, leave its connection open, or make
 * the zone inconsistent. */
#include "fuzz.h"

#include "common/clock.h"
#include "common/config.h"
#include "shm/check.h"
#include "shm/sweep.h"
#include "worker/conn.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS       8
#define SWEEP_EVERY 4
#define CHECK_EVERY 500 /* inputs between two validations of the zone */
#define TURNS_IDLE  1000
#define TURNS_MAX   100000

static struct config *config;
static struct heritage heritage;
static struct worker *worker;
static struct config_listener listeners[2] = {
    {.protocol = PROTOCOL_RESP, .cache = (char *)(uintptr_t) "default"},
    {.protocol = PROTOCOL_MEMCACHED, .cache = (char *)(uintptr_t) "default"}};

static void make_shared(struct errmsg *msg)
{
    struct zone_options options = {.name = "default",
                                   .size_bytes = 8u << 20,
                                   .key_max_bytes = (uint32_t)config->limits.key_bytes};

    FUZZ_REQUIRE(scoreboard_create(1, &heritage.board, msg) == ERR_OK);
    FUZZ_REQUIRE(jobs_create(&heritage.jobs, msg) == ERR_OK);
    FUZZ_REQUIRE(event_create(&heritage.events, msg) == ERR_OK);
    FUZZ_REQUIRE(zone_create(&options, &heritage.zones[0], msg) == ERR_OK);
    FUZZ_REQUIRE(zone_join(heritage.zones[0], msg) == ERR_OK);
    for (size_t i = 0; i < SLOTS; i++)
        heritage.wake_fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    uint64_t rings;

    (void)poll;
    (void)status;
    (void)events;
    FUZZ_REQUIRE(read(heritage.wake_fds[0], &rings, sizeof(rings)) == sizeof(rings));
    caches_wake(worker->caches);
}

static void setup(void)
{
    /* A flag, so that no file of this machine is read. */
    static const struct config_flags flags = {.socket = "/nowhere/c.sock"};
    struct errmsg msg = {{0}};

    FUZZ_REQUIRE(config_load(&flags, &config, &msg) == ERR_OK);
    config->limits.fetch_wait_ms = 1;
    config->limits.value_bytes = 65536;
    heritage.config = config;
    make_shared(&msg);
    worker = calloc(1, sizeof(*worker));
    FUZZ_REQUIRE(worker != NULL);
    worker->heritage = &heritage;
    worker->board = &heritage.board->slots[0];
    list_init(&worker->direct);
    FUZZ_REQUIRE(uv_loop_init(&worker->loop) == 0 && conn_init(worker) == ERR_OK);
    FUZZ_REQUIRE(uv_poll_init(&worker->loop, &worker->wake, heritage.wake_fds[0]) == 0);
    FUZZ_REQUIRE(uv_poll_start(&worker->wake, UV_READABLE, on_wake) == 0);
    FUZZ_REQUIRE(caches_open(&heritage, &worker->loop, 0, &worker->caches, &msg) == ERR_OK);
}

/* The master's part: without it the ring of bans fills, and a purge waits for ever. */
static void sweep(void)
{
    struct sweep_budget budget = {.unlinks = 4096, .ns = 2000000};

    (void)sweep_tick(heritage.zones[0], clock_now_ms(), budget);
}

static void validate(void)
{
    struct check_report report = {0};

    FUZZ_REQUIRE(check_zone(heritage.zones[0], false, &report) == ERR_OK);
    if (report.problems != 0)
        fprintf(stderr, "%s\n", report.first);
    FUZZ_REQUIRE(report.problems == 0);
}

/* Read what is answered; false: the other side has ended. */
static bool drain(int fd)
{
    static char bytes[65536];
    ssize_t n;

    do
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0);
    return n < 0;
}

static void talk(const struct config_listener *listener, const uint8_t *data, size_t size)
{
    int fds[2];
    unsigned turns = 0;

    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    conn_open(worker, fds[0], listener);
    while (size > 0) {
        ssize_t n = send(fds[1], data, size, MSG_NOSIGNAL);

        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
        uv_run(&worker->loop, UV_RUN_NOWAIT);
        if (!drain(fds[1]))
            break;
    }
    shutdown(fds[1], SHUT_WR);
    while (worker->n_conns > 0) {
        FUZZ_REQUIRE(turns++ < TURNS_MAX); /* a connection that nothing ends */
        if (turns > TURNS_IDLE)
            sweep();
        uv_run(&worker->loop, UV_RUN_NOWAIT);
        (void)drain(fds[1]);
    }
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned inputs;

    if (size == 0)
        return 0;
    if (worker == NULL)
        setup();
    talk(&listeners[data[0] & 1], data + 1, size - 1);
    FUZZ_REQUIRE(cache_clear(caches_at(worker->caches, 0), NULL) == CACHE_OK);
    if (++inputs % SWEEP_EVERY == 0)
        sweep();
    if (inputs % CHECK_EVERY == 0)
        validate();
    return 0;
}
