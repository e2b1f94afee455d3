/* Operations that wait for another's computation, in whatever process that is: nobody polls. A
 * waiter looks again when this worker's eventfd is rung, or at the latest when what it waits for
 * ends by its deadline. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void wait_ring(void *arg, uint64_t slots)
{
    const struct heritage *heritage = ((struct caches *)arg)->heritage;
    uint64_t one = 1;

    for (; slots != 0; slots &= slots - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(slots);

        /* EAGAIN: the counter is full, so the worker has been rung already. */
        if (write(heritage->wake_fds[slot], &one, sizeof(one)) < 0 && errno != EAGAIN)
            log_warn("cannot wake worker %u: %s", slot, strerror(errno));
    }
}

static void look_due(uv_timer_t *timer);

/* The timer goes off with the first of them that is due. */
static void set_timer(struct caches *caches)
{
    uint64_t now_ms = clock_now_ms(), first_ms = UINT64_MAX;

    LIST_EACH_SAFE (node, next, &caches->waiting) {
        const struct work *work = LIST_ENTRY(node, struct work, park);

        first_ms = work->look_ms < first_ms ? work->look_ms : first_ms;
    }
    if (first_ms == UINT64_MAX)
        uv_timer_stop(&caches->wait_timer);
    else
        uv_timer_start(&caches->wait_timer, look_due, first_ms > now_ms ? first_ms - now_ms : 0, 0);
}

/* Those due by then look again, each of which may wait anew. */
static void look_again(struct caches *caches, uint64_t by_ms)
{
    struct list due;
    struct list *node;

    list_init(&due);
    LIST_EACH_SAFE (each, next, &caches->waiting) {
        if (LIST_ENTRY(each, struct work, park)->look_ms > by_ms)
            continue;
        list_remove(each);
        list_push(&due, each);
    }
    while ((node = list_pop(&due)) != NULL) {
        struct work *work = LIST_ENTRY(node, struct work, park);

        work->retry(work);
    }
    set_timer(caches);
}

static void look_due(uv_timer_t *timer)
{
    look_again(timer->data, clock_now_ms());
}

void wait_wake(struct caches *caches)
{
    if (!list_empty(&caches->waiting))
        look_again(caches, UINT64_MAX);
}

void wait_for_end(struct work *work, uint64_t until_ms, void (*retry)(struct work *work))
{
    struct caches *caches = work->cache->set;

    if (caches->closing) {
        work_end(work, CACHE_DOWN);
        return;
    }
    if (!work->waited)
        stat_add(work->cache->zone, STAT_LEASE_WAITS, 1);
    work->waited = true;
    work->retry = retry;
    /* When both are over the first look that follows must find it so. */
    work->look_ms =
        until_ms != 0 && until_ms < work->wait_until_ms ? until_ms : work->wait_until_ms;
    list_push(&caches->waiting, &work->park);
    set_timer(caches);
}
