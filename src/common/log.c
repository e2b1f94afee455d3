#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    int fd;
    enum log_level level;
    const char *path;
    char role[24];
    unsigned long dropped;
} logger = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .role = "main"};

int log_init(const char *path, enum log_level level, struct errmsg *msg)
{
    logger.level = level;
    logger.path = path != NULL && path[0] != '\0' ? path : NULL;
    if (logger.path == NULL) {
        logger.fd = STDERR_FILENO;
        return ERR_OK;
    }
    return log_reopen(msg);
}

void log_set_role(const char *role)
{
    snprintf(logger.role, sizeof(logger.role), "%s", role);
}

int log_reopen(struct errmsg *msg)
{
    int fd;

    if (logger.path == NULL)
        return ERR_OK;
    fd = open(logger.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_set_errno(msg, "cannot open log file %s", logger.path);
    if (logger.fd != STDERR_FILENO)
        close(logger.fd);
    logger.fd = fd;
    return ERR_OK;
}

static size_t format_prefix(char *line, size_t size, enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct timespec ts;
    struct tm tm;
    size_t len;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    len += (size_t)snprintf(line + len, size - len, ".%03ldZ %s [%s] ", ts.tv_nsec / 1000000,
                            names[level], logger.role);
    return len;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    int saved = errno;
    char line[1024];
    va_list args;
    size_t len;
    int n;

    if (level > logger.level)
        return;
    len = format_prefix(line, sizeof(line), level);
    va_start(args, fmt);
    n = vsnprintf(line + len, sizeof(line) - len, fmt, args);
    va_end(args);
    if (n > 0)
        len += (size_t)n;
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    line[len++] = '\n';
    if (write(logger.fd, line, len) < 0)
        logger.dropped++;
    errno = saved;
}
