#include "http/accesslog.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/logformat.h"
#include "http/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_EVERY_MS  1000
#define FLUSH_BYTES     65536
#define SYSLOG_PRIORITY "30" /* daemon.info */
#define VALUE_MAX       2048 /* of one value in a line; longer ones are cut */

struct accesslog {
    uv_timer_t timer;
    const char *path, *format;
    int64_t sample; /* one in so many requests */
    uint64_t requests, dropped;
    bool syslog; /* a datagram a line */
    struct buf lines;
    int fd;
};

/* A client's bytes: nothing that ends a line or a quoted string, nothing a terminal acts on. */
static int add_escaped(struct buf *out, struct slice value)
{
    static const char digits[] = "0123456789abcdef";
    char *to;
    size_t n = 0;

    if (value.len == 0)
        value = SLICE_LIT("-");
    if (value.len > VALUE_MAX)
        value.len = VALUE_MAX;
    to = buf_reserve(out, value.len * 4);
    if (to == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
            to[n++] = (char)c;
            continue;
        }
        to[n++] = '\\';
        to[n++] = 'x';
        to[n++] = digits[c >> 4];
        to[n++] = digits[c & 15];
    }
    buf_commit(out, n);
    return ERR_OK;
}

static int add_time(struct buf *out)
{
    uint64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1,
                      tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(now_ms % 1000));
}

static int add_field(struct buf *out, enum logformat_field field,
                     const struct proxy_exchange *exchange)
{
    const struct http1_request *request = exchange->request;
    struct fields fields = exchange->fields;

    switch (field) {
    case LOGFORMAT_TIME:
        return add_time(out);
    case LOGFORMAT_PEER:
        return add_escaped(out, slice_cstr(exchange->peer));
    case LOGFORMAT_METHOD:
        return add_escaped(out, request->method_name);
    case LOGFORMAT_TARGET:
        return add_escaped(out, request->target);
    case LOGFORMAT_PROTOCOL:
        return buf_printf(out, "HTTP/1.%d", request->minor);
    case LOGFORMAT_HOST:
        return add_escaped(out, field_get(fields, "Host"));
    case LOGFORMAT_STATUS:
        return buf_printf(out, "%d", exchange->status);
    case LOGFORMAT_BYTES:
        return buf_printf(out, "%llu", (unsigned long long)exchange->body_bytes);
    case LOGFORMAT_MS:
        return buf_printf(out, "%.3f", (double)(clock_now_ns() - exchange->began_ns) / 1e6);
    case LOGFORMAT_CACHE:
        return add_escaped(out, slice_cstr(exchange->cache_text));
    case LOGFORMAT_ORIGIN:
        return add_escaped(out, slice_cstr(exchange->origin == NULL ? "" : exchange->origin));
    case LOGFORMAT_ORIGIN_MS:
        return exchange->origin == NULL
                   ? buf_append(out, "-", 1)
                   : buf_printf(out, "%llu", (unsigned long long)exchange->origin_ms);
    case LOGFORMAT_REFERER:
        return add_escaped(out, field_get(fields, "Referer"));
    case LOGFORMAT_AGENT:
        return add_escaped(out, field_get(fields, "User-Agent"));
    default:
        return ERR_OK;
    }
}

/* Said when it begins and when it ends. why: NULL: it was written. */
static void note_drop(struct accesslog *log, const char *why)
{
    if (why != NULL) {
        if (log->dropped++ == 0)
            log_warn("the access log %s takes nothing more: %s; lines are dropped", log->path, why);
    } else if (log->dropped > 0) {
        log_warn("the access log %s goes on; %llu writes were dropped", log->path,
                 (unsigned long long)log->dropped);
        log->dropped = 0;
    }
}

static const char *syslog_path(const char *path)
{
    return path[6] == ':' ? path + 7 : "/dev/log";
}

/* A socket of the system's log, connected, or -1. Never waits. */
static int open_syslog(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(syslog_path(path)) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(addr.sun_path, syslog_path(path));
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* "<30>Nov 27 12:00:00 cachetastic[4711]: ", as RFC 3164 has it and every syslogd takes it. */
static size_t syslog_head(char *out, size_t size)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    size_t len;

    localtime_r(&now, &tm);
    len = strftime(out, size, "<" SYSLOG_PRIORITY ">%b %e %H:%M:%S ", &tm);
    return len + (size_t)snprintf(out + len, size - len, "cachetastic[%ld]: ", (long)getpid());
}

/* False: errno says why. */
static bool send_line(struct accesslog *log, struct slice line)
{
    char head[64];
    struct iovec iov[2] = {{head, syslog_head(head, sizeof(head))},
                           {(void *)(uintptr_t)line.data, line.len}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

    if (log->fd < 0)
        log->fd = open_syslog(log->path);
    if (log->fd < 0)
        return false;
    if (sendmsg(log->fd, &message, MSG_NOSIGNAL) >= 0)
        return true;
    if (errno == EAGAIN || errno == EMSGSIZE || errno == ENOBUFS)
        return false;
    /* The log's daemon was started anew: the next line tries again. */
    close(log->fd);
    log->fd = -1;
    return false;
}

static void send_lines(struct accesslog *log)
{
    struct slice rest = buf_slice(&log->lines);

    while (rest.len > 0) {
        const char *end = memchr(rest.data, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        bool sent = send_line(log, slice_make(rest.data, len));

        note_drop(log, sent ? NULL : strerror(errno));
        rest = slice_make(rest.data + len + (end != NULL), rest.len - len - (end != NULL));
    }
}

static void flush(struct accesslog *log)
{
    ssize_t n;

    if (buf_len(&log->lines) == 0)
        return;
    if (log->syslog) {
        send_lines(log);
    } else {
        n = write(log->fd, buf_head(&log->lines), buf_len(&log->lines));
        note_drop(log, n < 0                              ? strerror(errno)
                       : (size_t)n < buf_len(&log->lines) ? "a part was written"
                                                          : NULL);
    }
    buf_truncate(&log->lines, 0);
}

void accesslog_write(struct accesslog *log, const struct proxy_exchange *exchange)
{
    const char *format;
    size_t before;
    int status = ERR_OK;

    if (log == NULL || ++log->requests % (uint64_t)log->sample != 0)
        return;
    format = log->format;
    before = buf_len(&log->lines);
    while (*format != '\0' && status == ERR_OK) {
        struct slice text;
        enum logformat_field field = logformat_next(&format, &text);

        status = field == LOGFORMAT_TEXT ? buf_append(&log->lines, text.data, text.len)
                                         : add_field(&log->lines, field, exchange);
    }
    if (status == ERR_OK)
        status = buf_append(&log->lines, "\n", 1);
    if (status != ERR_OK)
        buf_truncate(&log->lines, before);
    if (buf_len(&log->lines) >= FLUSH_BYTES)
        flush(log);
}

static int open_file(const char *path)
{
    if (strcmp(path, "stderr") == 0)
        return dup(STDERR_FILENO);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
}

/* "syslog", "syslog:PATH". */
static bool is_syslog(const char *path)
{
    return strncmp(path, "syslog", 6) == 0 && (path[6] == '\0' || path[6] == ':');
}

static void on_timer(uv_timer_t *timer)
{
    flush(timer->data);
}

int accesslog_open(uv_loop_t *loop, const struct config *config, struct accesslog **out,
                   struct errmsg *msg)
{
    struct accesslog *log;

    *out = NULL;
    if (config->access_log[0] == '\0')
        return ERR_OK;
    log = calloc(1, sizeof(*log));
    if (log == NULL)
        return err_set(msg, ERR_NOMEM, "no memory for the access log");
    log->path = config->access_log;
    log->format = config->access_log_format;
    log->sample = config->access_log_sample;
    log->syslog = is_syslog(log->path);
    log->fd = log->syslog ? open_syslog(log->path) : open_file(log->path);
    if (log->fd < 0 && !log->syslog) {
        int status = err_set_errno(msg, "cannot open the access log %s", log->path);

        free(log);
        return status;
    }
    log->timer.data = log;
    uv_timer_init(loop, &log->timer);
    uv_timer_start(&log->timer, on_timer, FLUSH_EVERY_MS, FLUSH_EVERY_MS);
    *out = log;
    return ERR_OK;
}

void accesslog_reopen(struct accesslog *log)
{
    int fd;

    if (log == NULL)
        return;
    flush(log);
    fd = log->syslog ? open_syslog(log->path) : open_file(log->path);
    if (fd < 0) {
        log_error("cannot open the access log %s: %s; the old file stays in use", log->path,
                  strerror(errno));
        return;
    }
    if (log->fd >= 0)
        close(log->fd);
    log->fd = fd;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void accesslog_close(struct accesslog *log)
{
    if (log == NULL)
        return;
    flush(log);
    if (log->fd >= 0)
        close(log->fd);
    buf_fini(&log->lines);
    uv_close((uv_handle_t *)&log->timer, on_closed);
}
