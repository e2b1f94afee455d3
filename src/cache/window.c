/* The loss window (design rule 2): keys of writes that Redis has acknowledged and may lose all the
 * same, by a failover or a restart from an older file. While nothing happens they only age. When
 * the server is another run than before they are handed to the journal, which removes them from
 * Redis; until then they are not read there (l2.c). Run by the master. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"

#define TRIM_ONCE 256 /* records under one hold of the lock */
#define TRIM_MOST 65536
#define TAKE_MOST 4096 /* keys handed over in one turn of the loop */

static unsigned place(const struct window_clock *clock, unsigned i)
{
    return (clock->first + i) % WINDOW_TICKS;
}

/* Remember which tickets are given now: 63 times in the window is often enough. */
static void tick(struct window_clock *clock, uint64_t window_ms, uint64_t now_ms,
                 struct journal *window)
{
    uint64_t last_ms = clock->n == 0 ? 0 : clock->tick[place(clock, clock->n - 1)].at_ms;

    if (clock->n > 0 && now_ms - last_ms < window_ms / (WINDOW_TICKS - 1))
        return;
    if (clock->n == WINDOW_TICKS)
        return; /* the oldest is not over yet; one more would be too early */
    clock->tick[place(clock, clock->n)].at_ms = now_ms;
    clock->tick[place(clock, clock->n)].ticket = journal_ticket(window);
    clock->n++;
}

/* The last ticket that was given before the window began. */
static uint64_t expired(struct window_clock *clock, uint64_t window_ms, uint64_t now_ms)
{
    uint64_t ticket = 0;

    while (clock->n > 0 && now_ms - clock->tick[clock->first].at_ms > window_ms) {
        ticket = clock->tick[clock->first].ticket;
        clock->first = place(clock, 1);
        clock->n--;
    }
    return ticket;
}

static void age(struct caches *caches, uint64_t now_ms)
{
    struct journal *window = caches->heritage->window;
    uint64_t window_ms = caches->heritage->config->redis.loss_window_ms;
    uint64_t ticket = expired(&caches->window_clock, window_ms, now_ms);

    if (ticket > caches->window_expired)
        caches->window_expired = ticket;
    for (uint32_t n = 0; n < TRIM_MOST; n += TRIM_ONCE)
        if (journal_trim(window, caches->window_expired, TRIM_ONCE) < TRIM_ONCE)
            break;
    tick(&caches->window_clock, window_ms, now_ms, window);
}

/* Without the right to clear such a cache (redis.allow_clear) its keys are all that can be seen to.
 */
static bool may_clear(const struct cache *cache)
{
    return cache->prefix.len > 0 || cache->set->heritage->config->redis.allow_clear;
}

static void take_whole(struct caches *caches)
{
    for (size_t i = 0; i < caches->n; i++) {
        struct cache *cache = &caches->cache[i];

        if (!cache->l2 || !window_unlisted(cache))
            continue;
        if (may_clear(cache))
            journal_distrust(caches->heritage->journal, cache->number, true);
        atomic_store(&caches->heritage->jobs->unlisted_until_ms[i], 0);
    }
}

/* One record to the journal. Recorded there before it goes here, so that a reader finds it in one
 * of the two. False: there is none left. */
static bool take_one(struct caches *caches)
{
    static char key[UINT16_MAX + 1];
    const struct heritage *heritage = caches->heritage;
    uint64_t ticket;
    size_t key_len;
    unsigned cache;

    if (!journal_next(heritage->window, 0, &cache, key, &key_len, &ticket))
        return false;
    journal_add(heritage->journal, caches->owner, cache, slice_make(key, key_len));
    (void)journal_done(heritage->window, caches->owner, cache, slice_make(key, key_len), ticket);
    return true;
}

/* The keys once: what is written from then on the new run has acknowledged. True: all were taken.
 */
static bool take(struct caches *caches, uint64_t doubt)
{
    uint32_t n = 0;

    if (caches->window_taken == doubt)
        return true;
    while (n < TAKE_MOST && take_one(caches))
        n++;
    if (n == TAKE_MOST)
        return false;
    take_whole(caches);
    caches->window_taken = doubt;
    return true;
}

/* Other machines have windows of their own, and need a moment to find the server and remove what
 * they wrote: until then nothing is read there. */
static void resolve(struct caches *caches, uint64_t doubt, uint64_t now_ms)
{
    const struct heritage *heritage = caches->heritage;

    if (caches->window_doubt != doubt) {
        caches->window_doubt = doubt;
        caches->window_doubt_ms = now_ms;
        log_warn("Redis is another run than before: removing what it acknowledged within "
                 "redis.loss_window, %u keys",
                 journal_count(heritage->window));
    }
    if (take(caches, doubt) &&
        now_ms - caches->window_doubt_ms >= heritage->config->redis.settle_ms)
        incarnation_settle(heritage->incarnation, doubt);
}

void window_tend(struct caches *caches)
{
    const struct heritage *heritage = caches->heritage;
    uint64_t doubt = incarnation_doubted(heritage->incarnation);

    if (heritage->window == NULL)
        return;
    if (doubt != 0)
        resolve(caches, doubt, clock_now_ms());
    else
        age(caches, clock_now_ms());
}
