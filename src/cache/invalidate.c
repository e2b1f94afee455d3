/* What other nodes say, what is to be distrusted, and the replay of the journal. Run by the master.
 */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"
#include "shm/ban.h"

#define REPLAYS_MAX      64
#define SUSPECTS_WAIT_MS 30000
/* A clear of another node is believed to run for this long after each announcement. */
#define ANNOUNCE_VALID_MS 5000

static void retry_delete(struct work *work)
{
    bool had;

    if (l1_remove(work->cache, &work->key, &had))
        work_end(work, CACHE_OK);
    else
        work_park(work, retry_delete);
}

static void retry_ban(struct work *work)
{
    if (ban_l1(work->cache, work->value))
        work_end(work, CACHE_OK);
    else
        work_park(work, retry_ban);
}

/* An invalidation waits, it is never dropped: without memory to wait in, the whole cache goes. */
static void wait_for(struct cache *cache, struct slice key, struct slice pattern,
                     void (*retry)(struct work *work))
{
    struct work *work = work_begin(cache, NULL, key, pattern, NULL);

    if (work == NULL)
        zone_clear(cache->zone);
    else
        work_park(work, retry);
}

static void apply_delete(struct cache *cache, struct slice key)
{
    struct table_key tkey = table_key(cache->zone, key);
    bool had;

    if (key.len <= cache->key_max && !l1_remove(cache, &tkey, &had))
        wait_for(cache, key, (struct slice){0}, retry_delete);
}

static void apply_clear(struct cache *cache, bool begins)
{
    struct jobs *jobs = cache->set->heritage->jobs;

    atomic_store(&jobs->clearing_until_ms[cache->number],
                 begins ? clock_now_ms() + ANNOUNCE_VALID_MS : 0);
    zone_clear(cache->zone);
}

static bool is_purge(enum message_action action)
{
    return action == MESSAGE_PURGE || action == MESSAGE_PATTERN || action == MESSAGE_TAG ||
           action == MESSAGE_SOFT_PATTERN || action == MESSAGE_SOFT_TAG;
}

void caches_apply(struct caches *caches, const struct message *message)
{
    struct cache *cache = caches_find(caches, slice_cstr(message->cache));
    struct slice key = slice_make(message->key, message->key_len);

    /* A cache that we do not have is another node's business, and what is written to and cleared in
     * caches in memory alone: only purges are meant for all of that name. */
    if (cache == NULL || (!cache->l2 && !is_purge(message->action)))
        return;
    switch (message->action) {
    case MESSAGE_DELETE:
    case MESSAGE_PURGE:
        apply_delete(cache, key);
        break;
    case MESSAGE_CLEAR:
    case MESSAGE_CLEAR_END:
        apply_clear(cache, message->action == MESSAGE_CLEAR);
        break;
    case MESSAGE_PATTERN:
        if (!ban_l1(cache, key))
            wait_for(cache, (struct slice){0}, key, retry_ban);
        break;
    case MESSAGE_TAG:
        ban_tag(cache->zone, key);
        break;
    case MESSAGE_SOFT_PATTERN:
        (void)soft_purge_pattern(soft_at(caches->heritage->soft, cache->number), key,
                                 clock_wall_ms());
        break;
    case MESSAGE_SOFT_TAG:
        soft_purge_tag(soft_at(caches->heritage->soft, cache->number), key, clock_wall_ms());
        break;
    default:
        return;
    }
    stat_add(cache->zone, STAT_INVALIDATIONS, 1);
}

void caches_changed(struct caches *caches, struct slice name)
{
    for (size_t i = 0; i < caches->n; i++) {
        struct cache *cache = &caches->cache[i];
        struct slice key;

        if (!cache->l2 || !keyname_decode(cache, name, &key))
            continue;
        apply_delete(cache, key);
        stat_add(cache->zone, STAT_INVALIDATIONS, 1);
    }
}

void caches_flushed(struct caches *caches)
{
    for (size_t i = 0; i < caches->n; i++) {
        if (!caches->cache[i].l2)
            continue;
        zone_clear(caches->cache[i].zone);
        stat_add(caches->cache[i].zone, STAT_INVALIDATIONS, 1);
    }
}

size_t caches_prefixes(const struct caches *caches, struct slice *out)
{
    size_t n = 0;

    for (size_t i = 0; i < caches->n; i++)
        if (caches->cache[i].l2)
            out[n++] = caches->cache[i].prefix;
    return n;
}

void caches_distrust(struct caches *caches)
{
    for (size_t i = 0; i < caches->n; i++)
        if (caches->cache[i].l2)
            zone_epoch_move(caches->cache[i].zone);
}

/* ---- the journal ---- */

static void replay_done(struct pool_call *call, int status, const struct reply *reply)
{
    struct work *work = work_answered(call);
    struct caches *caches = work->cache->set;
    const struct reply *count = status == ERR_OK ? exec_item(reply, 0) : NULL;

    /* Anything but a number (READONLY, a lost connection): it stays, and the next pass tries again.
     */
    if (count != NULL && count->type == REPLY_INTEGER)
        journal_done(caches->heritage->journal, caches->owner, work->cache->number, work->key.bytes,
                     work->ticket);
    caches->replaying--;
    work_end(work, CACHE_OK);
}

static int replay_one(struct cache *cache, struct slice key, uint64_t ticket)
{
    struct work *work = work_begin(cache, NULL, key, (struct slice){0}, NULL);
    struct slice unlink[2] = {SLICE_LIT("UNLINK")};
    struct pool_command command = {2, unlink};
    struct buf name = {0};

    if (work == NULL)
        return ERR_NOMEM;
    work->ticket = ticket;
    work->call.done = replay_done;
    work->call.repeatable = true;
    cache->set->replaying++;
    if (keyname_encode(cache, key, &name) == ERR_OK) {
        unlink[1] = buf_slice(&name);
        send_and_publish(work, &command);
    } else {
        work_fail_later(work, ERR_NOMEM);
    }
    buf_fini(&name);
    return ERR_OK;
}

static void mend_distrusted(struct caches *caches)
{
    for (size_t i = 0; i < caches->n; i++)
        if (caches->cache[i].l2 && journal_distrusted(caches->heritage->journal, (unsigned)i))
            job_clear_distrusted(&caches->cache[i]);
}

/* Late commands of connections that were given up would run after the replay, so they are ended
 * first (pool.h): whoever connects next does that. A server that is gone for good ends none. */
static bool suspects_remain(struct caches *caches)
{
    struct incarnation *incarnation = caches->heritage->incarnation;
    uint64_t now_ms = clock_now_ms();

    if (incarnation_suspects(incarnation) == 0) {
        caches->suspects_since_ms = 0;
        return false;
    }
    if (caches->suspects_since_ms == 0)
        caches->suspects_since_ms = now_ms;
    if (now_ms - caches->suspects_since_ms < SUSPECTS_WAIT_MS)
        return true;
    log_warn("%u older connections to Redis could not be ended on the server",
             incarnation_suspects(incarnation));
    incarnation_acquit_all(incarnation);
    return false;
}

/* There were more suspects than are remembered: whatever they may still write must not be read. */
static void see_to_escaped(struct caches *caches)
{
    uint64_t escaped = incarnation_escaped(caches->heritage->incarnation);

    if (escaped == caches->escaped)
        return;
    caches->escaped = escaped;
    for (size_t i = 0; i < caches->n; i++)
        if (caches->cache[i].l2)
            journal_distrust(caches->heritage->journal, (unsigned)i, true);
}

void caches_replay(struct caches *caches)
{
    static char key[UINT16_MAX + 1];
    size_t key_len;
    unsigned number;

    if (caches->pool == NULL || caches->closing || !pool_usable(caches->pool))
        return;
    window_tend(caches);
    if (suspects_remain(caches))
        return;
    see_to_escaped(caches);
    mend_distrusted(caches);
    while (caches->replaying < REPLAYS_MAX &&
           journal_next(caches->heritage->journal, caches->replay_ticket, &number, key, &key_len,
                        &caches->replay_ticket)) {
        if (replay_one(&caches->cache[number], slice_make(key, key_len), caches->replay_ticket) !=
            ERR_OK)
            return;
    }
    /* The pass is over once nothing is under way: what failed in it comes again from the start. */
    if (caches->replaying == 0)
        caches->replay_ticket = 0;
}
