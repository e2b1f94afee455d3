#include "redis/reply_build.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

/* An arena larger than this is given back after a smaller reply. */
#define ARENA_KEEP 1024

static size_t count_items(const redisReply *raw)
{
    size_t n = raw->elements;

    for (size_t i = 0; i < raw->elements; i++)
        n += count_items(raw->element[i]);
    return n;
}

static enum reply_type type_of(const redisReply *raw)
{
    switch (raw->type) {
    case REDIS_REPLY_NIL:
        return REPLY_NIL;
    case REDIS_REPLY_STATUS:
        return REPLY_STATUS;
    case REDIS_REPLY_ERROR:
        return REPLY_ERROR;
    case REDIS_REPLY_INTEGER:
        return REPLY_INTEGER;
    case REDIS_REPLY_STRING:
        return REPLY_STRING;
    case REDIS_REPLY_ARRAY:
        return REPLY_ARRAY;
    default:
        if (raw->elements > 0)
            return REPLY_ARRAY;
        return raw->str != NULL ? REPLY_STRING : REPLY_INTEGER;
    }
}

/* free: where the next items can be; moves on. */
static void fill(const redisReply *raw, struct reply *out, struct reply **free_items)
{
    *out = (struct reply){.type = type_of(raw)};
    if (out->type == REPLY_INTEGER)
        out->integer = raw->integer;
    if (out->type != REPLY_ARRAY) {
        out->str = slice_make(raw->str == NULL ? "" : raw->str, raw->str == NULL ? 0 : raw->len);
        return;
    }
    out->n_items = raw->elements;
    out->items = *free_items;
    *free_items += raw->elements;
    for (size_t i = 0; i < raw->elements; i++)
        fill(raw->element[i], &out->items[i], free_items);
}

int reply_build(struct reply_arena *arena, const struct redisReply *raw, struct reply *out)
{
    size_t n = count_items(raw);
    struct reply *free_items;

    if (n > arena->cap || (arena->cap > ARENA_KEEP && n < ARENA_KEEP)) {
        struct reply *items = n == 0 ? NULL : malloc(n * sizeof(*items));

        if (items == NULL && n > 0)
            return ERR_NOMEM;
        free(arena->items);
        arena->items = items;
        arena->cap = n;
    }
    free_items = arena->items;
    fill(raw, out, &free_items);
    return ERR_OK;
}

void reply_arena_fini(struct reply_arena *arena)
{
    free(arena->items);
    *arena = (struct reply_arena){0};
}
