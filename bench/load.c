/* A load on a unix socket, in RESP or memcached's text protocol: connections that each send a
 * pipeline of so many requests, wait for all of its answers, and send the next. Every answer is
 * counted by what it says; one that is an error ends the run.
 *
 * load -s SOCKET [-p resp|memcached] [-c CONNECTIONS] [-d DEPTH] [-t SECONDS] [-k KEYS] [-v BYTES]
 *      [-g PERCENT OF GETS] [-z ZIPF EXPONENT] [-f] [-i]
 *
 * -f: store every key once instead, and end. -i: open the connections, say "open", and hold them
 * idle until the end of standard input.
 *
 * Prints one line: requests, seconds, hits, misses, stores, then the time a request took in
 * microseconds from sending its pipeline to its last answer: median, 99 of 100. */
#include "common/clock.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DRAWS    (1u << 20) /* keys drawn before the clock starts */
#define BUCKETS  2000000    /* of the histogram: microseconds */
#define IN_BYTES 262144
#define DEPTH_MAX 1024

struct options {
    const char *socket;
    bool memcached, fill, idle;
    unsigned connections, depth, keys, value_bytes, gets;
    double seconds, zipf;
};

struct conn {
    int fd;
    unsigned waiting;         /* answers of this pipeline that have not come */
    uint8_t is_get[DEPTH_MAX]; /* in order */
    unsigned answered;
    size_t skip; /* bytes of a value, and its line ends, still to come */
    uint64_t sent_ns;
    size_t in_len;
    char *in;
};

static struct options options = {.connections = 50,
                                 .depth = 1,
                                 .keys = 100000,
                                 .value_bytes = 100,
                                 .gets = 90,
                                 .seconds = 3,
                                 .zipf = 0.99};
static uint32_t *draws;
static size_t next_draw;
static uint64_t seed = 88172645463325252u;
static char *value;
static char *out;
static size_t out_cap;
static uint64_t requests, hits, misses, stores;
static uint32_t *histogram;
static unsigned next_fill;

static _Noreturn void die(const char *fmt, ...)
{
    va_list args;

    fputs("load: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void *need(void *p)
{
    if (p == NULL)
        die("no memory");
    return p;
}

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* ---- which keys ---- */

static uint32_t find_rank(const double *sum, uint32_t n, double at)
{
    uint32_t low = 0, high = n - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (sum[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Ranks by Zipf's law; which key has which rank is a shuffle, so that neighbours are not alike. */
static void draw_keys(void)
{
    double *sum = need(malloc(options.keys * sizeof(*sum)));
    uint32_t *key = need(malloc(options.keys * sizeof(*key)));
    double total = 0;

    for (uint32_t i = 0; i < options.keys; i++) {
        total += 1 / pow(i + 1, options.zipf);
        sum[i] = total;
        key[i] = i;
    }
    for (uint32_t i = options.keys - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random() % (i + 1)), swap = key[i];

        key[i] = key[j];
        key[j] = swap;
    }
    draws = need(malloc(DRAWS * sizeof(*draws)));
    for (uint32_t i = 0; i < DRAWS; i++)
        draws[i] = key[find_rank(sum, options.keys,
                                 (double)(next_random() >> 11) / 9007199254740992.0 * total)];
    free(sum);
    free(key);
}

/* ---- requests ---- */

static size_t put_get(char *to, const char *key, int key_len)
{
    if (options.memcached)
        return (size_t)sprintf(to, "get %s\r\n", key);
    return (size_t)sprintf(to, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", key_len, key);
}

static size_t put_set(char *to, const char *key, int key_len)
{
    int n = options.memcached ? sprintf(to, "set %s 0 0 %u\r\n", key, options.value_bytes)
                              : sprintf(to, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%u\r\n", key_len, key,
                                        options.value_bytes);

    memcpy(to + n, value, options.value_bytes);
    memcpy(to + n + options.value_bytes, "\r\n", 2);
    return (size_t)n + options.value_bytes + 2;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            die("send: %s", strerror(errno));
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

/* The next pipeline; false: there is nothing left to fill. */
static bool send_pipeline(struct conn *c)
{
    size_t len = 0;

    c->waiting = c->answered = 0;
    for (unsigned i = 0; i < options.depth && !(options.fill && next_fill == options.keys); i++) {
        char key[32];
        bool get = !options.fill && next_random() % 100 < options.gets;
        uint32_t number = options.fill ? next_fill++ : draws[next_draw++ % DRAWS];
        int key_len = sprintf(key, "key:%012u", number);

        c->is_get[c->waiting++] = get;
        len += get ? put_get(out + len, key, key_len) : put_set(out + len, key, key_len);
    }
    c->sent_ns = clock_now_ns();
    send_all(c->fd, out, len);
    return c->waiting > 0;
}

/* ---- answers ---- */

static void count(struct conn *c, bool hit)
{
    bool get = c->is_get[c->answered++] != 0;

    c->waiting--;
    requests++;
    hits += get && hit;
    misses += get && !hit;
    stores += !get;
}

/* One line of an answer; what follows it is skipped. */
static void take_line(struct conn *c, const char *line, size_t len)
{
    bool get = c->is_get[c->answered] != 0;

    if (c->waiting == 0)
        die("an answer that nobody asked for: %.*s", (int)len, line);
    if (!get && (strncmp(line, "+OK", 3) == 0 || strncmp(line, "STORED", 6) == 0)) {
        count(c, true);
    } else if (get && strncmp(line, "$-1", 3) == 0) {
        count(c, false);
    } else if (get && line[0] == '$') {
        c->skip = strtoul(line + 1, NULL, 10) + 2;
        count(c, true);
    } else if (get && strncmp(line, "VALUE ", 6) == 0) {
        c->skip = options.value_bytes + 2 + 5; /* and END */
        count(c, true);
    } else if (get && strncmp(line, "END", 3) == 0) {
        count(c, false);
    } else {
        die("the server says: %.*s", (int)len, line);
    }
}

static void take_input(struct conn *c)
{
    char *at = c->in, *end = c->in + c->in_len;

    while (at < end) {
        size_t skip = c->skip < (size_t)(end - at) ? c->skip : (size_t)(end - at);
        char *newline;

        at += skip;
        c->skip -= skip;
        newline = c->skip == 0 ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (newline == NULL)
            break;
        take_line(c, at, (size_t)(newline - at));
        at = newline + 1;
    }
    c->in_len = (size_t)(end - at);
    memmove(c->in, at, c->in_len);
}

/* true: the pipeline is answered. */
static bool receive(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
    uint64_t us;

    if (n == 0)
        die("the server closed a connection");
    if (n < 0)
        die("recv: %s", strerror(errno));
    c->in_len += (size_t)n;
    take_input(c);
    if (c->waiting > 0 || c->skip > 0)
        return false;
    us = (clock_now_ns() - c->sent_ns) / 1000;
    histogram[us < BUCKETS ? us : BUCKETS - 1] += options.depth;
    return true;
}

/* ---- the run ---- */

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(options.socket) >= sizeof(address.sun_path))
        die("%s: too long", options.socket);
    memcpy(address.sun_path, options.socket, strlen(options.socket));
    for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0; i++) {
        if (errno != EAGAIN || i == 1000) /* the server's queue of connections is full */
            die("%s: %s", options.socket, strerror(errno));
        usleep(1000);
    }
    return fd;
}

static void hold_idle(void)
{
    struct rlimit files = {options.connections + 64, options.connections + 64};
    char byte;

    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("%u connections: %s", options.connections, strerror(errno));
    for (unsigned i = 0; i < options.connections; i++) {
        int fd = dial();
        char answer[64];

        /* Each has said something, so that it is one of the protocol's connections. */
        send_all(fd, options.memcached ? "version\r\n" : "*1\r\n$4\r\nPING\r\n",
                 options.memcached ? 9 : 14);
        if (recv(fd, answer, sizeof(answer), 0) <= 0)
            die("connection %u: no answer", i);
    }
    puts("open");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

static void run(void)
{
    struct conn *conns = need(calloc(options.connections, sizeof(*conns)));
    struct epoll_event events[256];
    uint64_t end_ns;
    unsigned busy = 0;
    int poll = epoll_create1(EPOLL_CLOEXEC);

    for (unsigned i = 0; i < options.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &conns[i]};

        conns[i].in = need(malloc(IN_BYTES));
        conns[i].fd = dial();
        if (epoll_ctl(poll, EPOLL_CTL_ADD, conns[i].fd, &event) != 0)
            die("epoll: %s", strerror(errno));
    }
    end_ns = clock_now_ns() + (uint64_t)(options.seconds * 1e9);
    for (unsigned i = 0; i < options.connections; i++)
        busy += send_pipeline(&conns[i]);
    while (busy > 0) {
        int n = epoll_wait(poll, events, 256, -1);
        bool over = !options.fill && clock_now_ns() >= end_ns;

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (receive(c) && (over || !send_pipeline(c)))
                busy--;
        }
    }
}

static unsigned percentile(double part)
{
    uint64_t total = 0, below = 0;
    unsigned us = 0;

    for (unsigned i = 0; i < BUCKETS; i++)
        total += histogram[i];
    while (us < BUCKETS - 1 && (double)(below += histogram[us]) < part * (double)total)
        us++;
    return us;
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end != '\0' || n < least || n > most)
        die("%s: a number from %u to %u is wanted", text, least, most);
    return (unsigned)n;
}

static void parse(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "s:p:c:d:t:k:v:g:z:fi")) != -1) {
        switch (c) {
        case 's': options.socket = optarg; break;
        case 'p': options.memcached = strcmp(optarg, "memcached") == 0; break;
        case 'c': options.connections = number(optarg, 1, 100000); break;
        case 'd': options.depth = number(optarg, 1, DEPTH_MAX); break;
        case 't': options.seconds = atof(optarg); break;
        case 'k': options.keys = number(optarg, 1, 100000000); break;
        case 'v': options.value_bytes = number(optarg, 1, 65536); break;
        case 'g': options.gets = number(optarg, 0, 100); break;
        case 'z': options.zipf = atof(optarg); break;
        case 'f': options.fill = true; break;
        case 'i': options.idle = true; break;
        default: exit(1);
        }
    }
    if (options.socket == NULL)
        die("-s SOCKET is missing");
}

int main(int argc, char **argv)
{
    uint64_t began_ns;

    parse(argc, argv);
    if (options.idle) {
        hold_idle();
        return 0;
    }
    value = need(malloc(options.value_bytes));
    memset(value, 'v', options.value_bytes);
    out_cap = options.depth * ((size_t)options.value_bytes + 128);
    out = need(malloc(out_cap));
    histogram = need(calloc(BUCKETS, sizeof(*histogram)));
    if (!options.fill)
        draw_keys();
    began_ns = clock_now_ns();
    run();
    printf("%llu %.6f %llu %llu %llu %u %u\n", (unsigned long long)requests,
           (double)(clock_now_ns() - began_ns) / 1e9, (unsigned long long)hits,
           (unsigned long long)misses, (unsigned long long)stores, percentile(0.5),
           percentile(0.99));
    return 0;
}
