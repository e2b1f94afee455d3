/* A growable byte queue: bytes are appended at the end and consumed from the start.
 *
 * Invariant: 0 <= start <= end <= cap; data is NULL exactly when cap is 0. Pointers into the buffer
 * are valid until the next append or reserve. One owner, no locks.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/err.h"
#include "common/slice.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t start; /* first byte not yet consumed */
    size_t end;   /* one past the last byte */
    size_t cap;
};

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

static inline char *buf_head(const struct buf *b)
{
    return b->data + b->start;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_make(b->data == NULL ? "" : b->data + b->start, b->end - b->start);
}

/* Make room for len more bytes after end; returns the place to write them, NULL without memory.
 * What is written counts only after buf_commit(). */
char *buf_reserve(struct buf *b, size_t len) MUST_CHECK;

/* Count len bytes, written at the place that buf_reserve() gave, as content. */
static inline void buf_commit(struct buf *b, size_t len)
{
    b->end += len;
}

/* Take len bytes (at most buf_len()) from the start; an empty buffer rewinds. */
void buf_consume(struct buf *b, size_t len);

/* Drop everything after the first len bytes of content. */
static inline void buf_truncate(struct buf *b, size_t len)
{
    b->end = b->start + len;
}

/* Append; ERR_NOMEM leaves the buffer as it was. */
int buf_append(struct buf *b, const void *data, size_t len) MUST_CHECK;
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* Give back the memory when the buffer is empty and larger than keep_bytes (an idle connection). */
void buf_shrink(struct buf *b, size_t keep_bytes);

/* Free the memory; the buffer is empty and usable afterwards. */
void buf_fini(struct buf *b);

#endif
