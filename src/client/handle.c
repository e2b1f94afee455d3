#include "client/handle.h"

#include "common/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMEOUT_MS    1000
#define SYSTEM_SOCKET LOCALSTATEDIR "/run/cachetastic/cachetastic.sock"
#define SOCKET_IN_ENV "CACHETASTIC_SOCKET"
#define LIBRARY       "libcachetastic"

unsigned handle_forks;

static void count_fork(void)
{
    handle_forks++;
}

/* Once a process, before the first handle: asking getpid() at each call would be a system call. */
static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, count_fork) != 0)
        abort(); /* only without memory, at the first handle */
}

enum cachetastic_status handle_fail(struct cachetastic *cache, enum cachetastic_status status,
                                    const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(cache->error.text, sizeof(cache->error.text), fmt, args);
    va_end(args);
    return status;
}

const char *cachetastic_error(const cachetastic *cache)
{
    return cache->error.text;
}

const char *cachetastic_status_text(enum cachetastic_status status)
{
    switch (status) {
    case CACHETASTIC_OK:
        return "done";
    case CACHETASTIC_MISS:
        return "not there";
    case CACHETASTIC_BUSY:
        return "being computed by another";
    case CACHETASTIC_E_INVALID:
        return "invalid argument";
    case CACHETASTIC_E_NOMEM:
        return "out of memory";
    case CACHETASTIC_E_DOWN:
        return "no daemon serves the socket";
    case CACHETASTIC_E_TIMEOUT:
        return "no answer in time";
    case CACHETASTIC_E_LOST:
        return "connection lost";
    case CACHETASTIC_E_PROTOCOL:
        return "not a cachetastic daemon";
    case CACHETASTIC_E_DENIED:
        return "not allowed";
    case CACHETASTIC_E_REMOTE:
        return "refused by the daemon";
    case CACHETASTIC_E_COMPUTE:
        return "computing the value failed";
    case CACHETASTIC_E_SYSTEM:
        return "a system call failed";
    }
    return "unknown";
}

/* NULL stays NULL. false: no memory. */
static bool keep(char **out, const char *text)
{
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL;
}

static const char *socket_path(const struct cachetastic_options *options)
{
    const char *path = options->socket;

    if (path == NULL)
        path = getenv(SOCKET_IN_ENV);
    return path == NULL ? SYSTEM_SOCKET : path;
}

enum cachetastic_status cachetastic_open(const struct cachetastic_options *options,
                                         cachetastic **out)
{
    static const struct cachetastic_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct cachetastic *cache = calloc(1, sizeof(*cache));

    if (options == NULL)
        options = &defaults;
    if (cache == NULL || pthread_once(&once, watch_forks) != 0 ||
        !keep(&cache->socket, socket_path(options)) || !keep(&cache->name, options->cache) ||
        !keep(&cache->user, options->user) || !keep(&cache->password, options->password)) {
        cachetastic_close(cache);
        return CACHETASTIC_E_NOMEM;
    }
    cache->timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS : options->timeout_ms;
    cache->want_direct = !options->no_direct;
    cache->wire.fd = -1;
    cache->random = (clock_now_ns() ^ (uint64_t)(uintptr_t)cache) | 1;
    *out = cache;
    return CACHETASTIC_OK;
}

void cachetastic_close(cachetastic *cache)
{
    if (cache == NULL)
        return;
    handle_disconnect(cache);
    buf_fini(&cache->value);
    free(cache->socket);
    free(cache->name);
    free(cache->user);
    free(cache->password);
    free(cache);
}

void handle_disconnect(struct cachetastic *cache)
{
    direct_detach(cache);
    resp_value_fini(&cache->reply);
    wire_close(&cache->wire);
}

/* One command on a new connection, whose reply must be no error. */
static enum cachetastic_status greet(struct cachetastic *cache, int argc, const struct slice *argv)
{
    int err;

    resp_value_fini(&cache->reply);
    err = wire_call(&cache->wire, argc, argv, &cache->reply, &cache->error);
    if (err != ERR_OK)
        return call_status(err);
    return cache->reply.type == RESP_ERROR ? call_refused(cache, cache->reply.str) : CACHETASTIC_OK;
}

static enum cachetastic_status log_in(struct cachetastic *cache)
{
    struct slice argv[3] = {SLICE_LIT("AUTH")};
    int argc = 1;

    if (cache->password == NULL)
        return CACHETASTIC_OK;
    if (cache->user != NULL)
        argv[argc++] = slice_cstr(cache->user);
    argv[argc++] = slice_cstr(cache->password);
    return greet(cache, argc, argv);
}

static enum cachetastic_status use_cache(struct cachetastic *cache)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.USE"),
                                 slice_cstr(cache->name == NULL ? "" : cache->name)};

    return cache->name == NULL ? CACHETASTIC_OK : greet(cache, 2, argv);
}

/* Shown by CLIENT LIST. */
static enum cachetastic_status introduce(struct cachetastic *cache)
{
    const struct slice argv[] = {SLICE_LIT("CLIENT"), SLICE_LIT("SETINFO"), SLICE_LIT("LIB-NAME"),
                                 SLICE_LIT(LIBRARY)};

    return greet(cache, 4, argv);
}

static enum cachetastic_status open_wire(struct cachetastic *cache)
{
    int err = wire_open_unix(&cache->wire, cache->socket, cache->timeout_ms, &cache->error);

    if (err != ERR_OK)
        return call_status(err);
    cache->forks = handle_forks;
    cache->counts.connects++;
    return CACHETASTIC_OK;
}

enum cachetastic_status handle_connect(struct cachetastic *cache)
{
    enum cachetastic_status status;

    if (cache->wire.fd >= 0 && cache->forks == handle_forks)
        return CACHETASTIC_OK;
    handle_disconnect(cache); /* a parent's connection, of which this process has a copy */
    if ((status = open_wire(cache)) == CACHETASTIC_OK &&
        (status = log_in(cache)) == CACHETASTIC_OK &&
        (status = introduce(cache)) == CACHETASTIC_OK &&
        (status = use_cache(cache)) == CACHETASTIC_OK)
        status = direct_attach(cache);
    if (status != CACHETASTIC_OK)
        handle_disconnect(cache);
    return status;
}

void cachetastic_counts(const cachetastic *cache, struct cachetastic_counts *out)
{
    *out = cache->counts;
}
