/* The log: one line a message, to stderr or a file, never blocking the caller for long (one write(2)
 * a line; a line that cannot be written is counted and dropped).
 *
 * Levels by content: ERROR someone must act; WARN something degraded and goes on; INFO starts, stops,
 * and changes of state; DEBUG each unusual event, for the developer.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* path: NULL or "" for stderr; borrowed until log_fini(). */
int log_init(const char *path, enum log_level level, struct errmsg *msg) MUST_CHECK;

/* What stands in front of each line: "master", "worker 3". Copied. */
void log_set_role(const char *role);

/* Open the file anew (USR1, after the log was moved away). On failure the old file stays. */
int log_reopen(struct errmsg *msg) MUST_CHECK;

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
