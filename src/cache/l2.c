/* The way to Redis: whether it may be asked and believed, and the messages that go with a write. */
#include "cache/impl.h"
#include "common/clock.h"

bool l2_usable(const struct cache *cache)
{
    return cache->set->pool != NULL && !cache->set->closing && pool_usable(cache->set->pool);
}

/* The server is another run than the one that acknowledged writes (rule 2). */
static bool in_doubt(const struct cache *cache)
{
    const struct heritage *heritage = cache->set->heritage;

    return heritage->window != NULL && incarnation_doubted(heritage->incarnation) != 0;
}

bool l2_decides(const struct cache *cache, struct slice key)
{
    const struct heritage *heritage = cache->set->heritage;

    /* The window first: keys go from there to the journal. */
    if (in_doubt(cache) &&
        (journal_has(heritage->window, cache->number, key) || window_unlisted(cache)))
        return false;
    return !journal_has(heritage->journal, cache->number, key) && !jobs_cover(cache, key);
}

bool l2_readable(const struct cache *cache, struct slice key)
{
    return !in_doubt(cache) && l2_decides(cache, key);
}

void journal_key(struct cache *cache, struct slice key)
{
    stat_add(cache->zone, STAT_JOURNALLED, 1);
    journal_add(cache->set->heritage->journal, cache->set->owner, cache->number, key);
}

void window_key(struct cache *cache, struct slice key)
{
    const struct heritage *heritage = cache->set->heritage;

    if (heritage->window != NULL &&
        !journal_note(heritage->window, cache->set->owner, cache->number, key))
        window_whole(cache);
}

void window_whole(struct cache *cache)
{
    const struct heritage *heritage = cache->set->heritage;

    if (heritage->window != NULL)
        atomic_store(&heritage->jobs->unlisted_until_ms[cache->number],
                     clock_now_ms() + heritage->config->redis.loss_window_ms);
}

bool window_unlisted(const struct cache *cache)
{
    uint64_t until_ms = atomic_load(&cache->set->heritage->jobs->unlisted_until_ms[cache->number]);

    return until_ms != 0 && until_ms > clock_now_ms();
}

int encode_message(const struct cache *cache, enum message_action action, struct slice key,
                   struct buf *out)
{
    return message_encode(action, slice_cstr(cache->config->name), key,
                          slice_cstr(cache->set->heritage->node_id), out);
}

void send_and_publish(struct work *work, const struct pool_command *command)
{
    window_key(work->cache, work->key.bytes);
    send_with_message(work, command, MESSAGE_DELETE);
}

void send_with_message(struct work *work, const struct pool_command *command,
                       enum message_action action)
{
    struct cache *cache = work->cache;
    struct buf message = {0};
    struct slice multi = SLICE_LIT("MULTI"), exec = SLICE_LIT("EXEC");
    struct slice publish[3] = {SLICE_LIT("PUBLISH"),
                               slice_cstr(cache->set->heritage->config->redis.channel)};
    struct pool_command commands[4] = {{1, &multi}, *command, {3, publish}, {1, &exec}};

    if (encode_message(cache, action, work->key.bytes, &message) != ERR_OK) {
        /* Without memory for the message the write must not happen either: nobody would hear of it.
         */
        buf_fini(&message);
        work_fail_later(work, ERR_NOMEM);
        return;
    }
    publish[2] = buf_slice(&message);
    pool_send(cache->set->pool, &work->call, commands, 4);
    buf_fini(&message);
}

const struct reply *exec_item(const struct reply *reply, size_t i)
{
    if (reply->type != REPLY_ARRAY || i >= reply->n_items)
        return NULL;
    return &reply->items[i];
}
