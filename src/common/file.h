/* Small files, read whole: the configuration and the files that hold a secret. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include "common/buf.h"
#include "common/err.h"

#include <stddef.h>
#include <sys/types.h>

/* Append the file's bytes and a NUL (not counted) to out. mode: filled with the file's permission
 * bits; may be NULL. Works on pipes too. Blocks: only before the event loop runs.
 * Errors: ERR_SYSTEM with path and reason (a folder is one), ERR_LIMIT above max_bytes, ERR_NOMEM.
 */
int file_read(const char *path, size_t max_bytes, struct buf *out, mode_t *mode,
              struct errmsg *msg) MUST_CHECK;

#endif
