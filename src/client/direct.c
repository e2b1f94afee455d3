#include "client/handle.h"

#include <stdio.h>
#include <string.h>

#define VALUE_ROOM 4096 /* at first; grows with what is read */

/* Remember why reads are not direct: said through cachetastic_direct(), counted each time. */
static enum cachetastic_status refuse(struct cachetastic *cache, const char *why, size_t len)
{
    snprintf(cache->refusal.text, sizeof(cache->refusal.text), "%.*s", (int)len, why);
    cache->counts.refused_maps++;
    direct_detach(cache);
    return CACHETASTIC_OK;
}

/* The two descriptors of the reply: the memory and the access ring. */
static int map_both(struct cachetastic *cache, struct errmsg *msg)
{
    int err = buf_reserve(&cache->value, VALUE_ROOM) == NULL
                  ? err_set(msg, ERR_NOMEM, "no memory for values")
                  : ERR_OK;

    if (err == ERR_OK)
        err = reader_open(cache->wire.fds[0], &cache->reader, msg);
    if (err == ERR_OK)
        err = access_open(cache->wire.fds[1], &cache->access, msg);
    return err;
}

enum cachetastic_status direct_attach(struct cachetastic *cache)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.ATTACH")};
    struct resp_value *reply = &cache->reply;
    struct errmsg msg = {.text = ""};
    int err;

    cache->refusal.text[0] = '\0';
    if (!cache->want_direct)
        return CACHETASTIC_OK;
    resp_value_fini(reply);
    err = wire_call(&cache->wire, 1, argv, reply, &cache->error);
    if (err != ERR_OK)
        return call_status(err);
    if (reply->type == RESP_ERROR)
        return refuse(cache, reply->str.data, reply->str.len);
    if (reply->type != RESP_ARRAY || reply->n_items < 2 || reply->items[1].type != RESP_INTEGER ||
        cache->wire.n_fds != 2)
        return call_confused(cache);
    if (map_both(cache, &msg) != ERR_OK)
        return refuse(cache, msg.text, strlen(msg.text));
    cache->complete = reply->items[1].integer != 0;
    return CACHETASTIC_OK;
}

void direct_detach(struct cachetastic *cache)
{
    reader_close(cache->reader);
    access_close(cache->access);
    cache->reader = NULL;
    cache->access = NULL;
}

const char *cachetastic_direct(cachetastic *cache)
{
    enum cachetastic_status status = handle_connect(cache);

    if (status != CACHETASTIC_OK)
        return cache->error.text;
    if (!cache->want_direct)
        return "not wanted (no_direct)";
    return cache->reader != NULL ? NULL : cache->refusal.text;
}

/* A value over the room there is: the next try has it. */
static bool grow(struct cachetastic *cache, size_t len)
{
    return buf_reserve(&cache->value, len) != NULL;
}

enum cachetastic_status direct_get(struct cachetastic *cache, struct slice key,
                                   struct cachetastic_bytes *value, struct reader_value *found)
{
    struct table_key hashed = reader_key(cache->reader, key);
    struct buf *room = &cache->value;
    struct reader_value unused;
    enum reader_result result;

    if (direct_foreign(key))
        return CACHETASTIC_BUSY;
    found = found == NULL ? &unused : found;
    do
        result = reader_get(cache->reader, &hashed, room->data, room->cap, found);
    while (result == READER_TOO_LARGE && grow(cache, found->len));
    if (result == READER_HIT) {
        *value = (struct cachetastic_bytes){room->data, found->len};
        cache->counts.direct_hits++;
        access_hit(cache->access, hashed.hash);
        return CACHETASTIC_OK;
    }
    if (result != READER_MISS || !cache->complete)
        return CACHETASTIC_BUSY;
    cache->counts.direct_misses++;
    access_miss(cache->access);
    return CACHETASTIC_MISS;
}
