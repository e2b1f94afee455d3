/* What the commands of cachetasticctl share. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "client/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit status. */
enum { STATUS_OK = 0, STATUS_MISS = 1, STATUS_ERROR = 2 };

struct ctl {
    const char *socket, *address, *cache, *ttl, *tag, *url, *user, *password_file;
    bool soft;
    uint64_t timeout_ms, watch_ms;
    bool json;
    struct wire wire;
    struct resp_value reply;
};

/* Say what is wrong on standard error. Returns STATUS_ERROR. */
int fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Of a reply of an unexpected type. */
int confused(void);

/* Send a command; its reply is in ctl->reply. Anything but STATUS_OK was said. */
int call(struct ctl *ctl, int argc, const struct slice *argv);

/* Print and free a JSON text; NULL is a lack of memory. */
int print_json(json_t *json);

/* top [N]: the keys read most, counted for ctl->watch_ms by telemetry, and the largest entries. */
int cmd_top(struct ctl *ctl, int argc, char **args);

#endif
