/* The access log of a site: a line a request, by a format, gathered and written once a second or
 * when the buffer is full. One per worker; several append to one file, whole lines at a time.
 *
 * The loop never waits for it: what a full disk or a stopped reader does not take is dropped and
 * counted, and the log says so. */
#ifndef HTTP_ACCESSLOG_H
#define HTTP_ACCESSLOG_H

#include "common/config.h"
#include "http/proxy.h"

struct accesslog;

/* *out is NULL when the configuration wants none. ERR_SYSTEM: the file cannot be opened. */
int accesslog_open(uv_loop_t *loop, const struct config *config, struct accesslog **out,
                   struct errmsg *msg) MUST_CHECK;
/* Writes what is left. The handle is closed by the loop's next turns. */
void accesslog_close(struct accesslog *log);
/* Open the file anew, after it was moved away. */
void accesslog_reopen(struct accesslog *log);

/* The exchange was answered. Its request is still there. */
void accesslog_write(struct accesslog *log, const struct proxy_exchange *exchange);

#endif
