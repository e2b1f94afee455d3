#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_MIN_CAP 256

char *buf_reserve(struct buf *b, size_t len)
{
    size_t content = b->end - b->start;
    size_t cap = b->cap;
    char *data;

    if (cap - b->end >= len && b->data != NULL)
        return b->data + b->end;
    if (len > SIZE_MAX / 2 - content)
        return NULL;
    /* Moving down is worth it only when it frees at least half: then it is amortised O(1). */
    if (b->data != NULL && cap - content >= len && b->start >= cap / 2) {
        memmove(b->data, b->data + b->start, content);
        b->start = 0;
        b->end = content;
        return b->data + b->end;
    }
    cap = cap < BUF_MIN_CAP ? BUF_MIN_CAP : cap;
    /* What is empty may be for one large thing; what grows, grows by doubling. */
    if (content == 0 && len > cap)
        cap = len;
    while (cap < content + len)
        cap *= 2;
    data = malloc(cap);
    if (data == NULL)
        return NULL;
    if (content > 0)
        memcpy(data, b->data + b->start, content);
    free(b->data);
    b->data = data;
    b->cap = cap;
    b->start = 0;
    b->end = content;
    return data + content;
}

void buf_consume(struct buf *b, size_t len)
{
    b->start += len;
    if (b->start == b->end) {
        b->start = 0;
        b->end = 0;
    }
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    char *place;

    if (len == 0)
        return ERR_OK;
    place = buf_reserve(b, len);
    if (place == NULL)
        return ERR_NOMEM;
    memcpy(place, data, len);
    b->end += len;
    return ERR_OK;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    char *place;
    int len;

    va_start(args, fmt);
    len = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (len < 0)
        return ERR_INVALID;
    if ((size_t)len < sizeof(small))
        return buf_append(b, small, (size_t)len);
    place = buf_reserve(b, (size_t)len + 1);
    if (place == NULL)
        return ERR_NOMEM;
    va_start(args, fmt);
    vsnprintf(place, (size_t)len + 1, fmt, args);
    va_end(args);
    b->end += (size_t)len;
    return ERR_OK;
}

void buf_shrink(struct buf *b, size_t keep_bytes)
{
    if (b->start == b->end && b->cap > keep_bytes)
        buf_fini(b);
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
