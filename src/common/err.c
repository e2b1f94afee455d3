#include "common/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_set(struct errmsg *msg, int code, const char *fmt, ...)
{
    va_list args;

    if (msg == NULL)
        return code;
    va_start(args, fmt);
    vsnprintf(msg->text, sizeof(msg->text), fmt, args);
    va_end(args);
    return code;
}

int err_set_errno(struct errmsg *msg, const char *fmt, ...)
{
    int saved = errno;
    va_list args;
    size_t used;

    if (msg == NULL)
        return ERR_SYSTEM;
    va_start(args, fmt);
    vsnprintf(msg->text, sizeof(msg->text), fmt, args);
    va_end(args);
    used = strlen(msg->text);
    snprintf(msg->text + used, sizeof(msg->text) - used, ": %s", strerror(saved));
    errno = saved;
    return ERR_SYSTEM;
}

const char *err_name(int code)
{
    static const char *const names[] = {"ok",      "no memory", "system",   "invalid", "limit",
                                        "timeout", "down",      "protocol", "lost",    "remote"};
    int i = -code;

    if (i < 0 || i >= (int)(sizeof(names) / sizeof(names[0])))
        return "unknown";
    return names[i];
}
