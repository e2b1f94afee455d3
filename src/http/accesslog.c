#include "http/accesslog.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/logformat.h"
#include "http/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_EVERY_MS 1000
#define FLUSH_BYTES    65536
#define VALUE_MAX      2048 /* of one value in a line; longer ones are cut */

struct accesslog {
    uv_timer_t timer;
    const char *path, *format;
    int64_t sample; /* one in so many requests */
    uint64_t requests, dropped;
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

static void flush(struct accesslog *log)
{
    ssize_t n;

    if (buf_len(&log->lines) == 0)
        return;
    n = write(log->fd, buf_head(&log->lines), buf_len(&log->lines));
    if (n < 0 || (size_t)n < buf_len(&log->lines)) {
        if (log->dropped++ == 0)
            log_warn("the access log %s takes nothing more: %s; lines are dropped", log->path,
                     n < 0 ? strerror(errno) : "a part was written");
    } else if (log->dropped > 0) {
        log_warn("the access log %s goes on; %llu writes were dropped", log->path,
                 (unsigned long long)log->dropped);
        log->dropped = 0;
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
    log->fd = open_file(log->path);
    if (log->fd < 0) {
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
    fd = open_file(log->path);
    if (fd < 0) {
        log_error("cannot open the access log %s: %s; the old file stays in use", log->path,
                  strerror(errno));
        return;
    }
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
    close(log->fd);
    buf_fini(&log->lines);
    uv_close((uv_handle_t *)&log->timer, on_closed);
}
