/* A walk over a cache's keys in Redis: SCAN, and UNLINK of those that the caller wants gone. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/glob.h"

#include <stdlib.h>

#define SCAN_COUNT "1000"

struct scan {
    struct pool_call call;
    struct scan_plan plan;
    struct buf pattern; /* the caller's, copied */
    struct buf match;   /* for SCAN MATCH */
    struct buf cursor;
    bool last; /* the cursor came back to 0 */
    uint64_t matched, removed;
};

static struct scan *scan_of(struct pool_call *call)
{
    return (struct scan *)(void *)((char *)call - offsetof(struct scan, call));
}

static void scan_end(struct scan *scan, int status)
{
    scan->plan.done(scan->plan.arg, status, scan->matched, scan->removed);
    buf_fini(&scan->pattern);
    buf_fini(&scan->match);
    buf_fini(&scan->cursor);
    free(scan);
}

static void scan_reply(struct pool_call *call, int status, const struct reply *reply);

static void send_scan(struct scan *scan)
{
    struct slice argv[6] = {SLICE_LIT("SCAN"),  buf_slice(&scan->cursor),
                            SLICE_LIT("MATCH"), buf_slice(&scan->match),
                            SLICE_LIT("COUNT"), SLICE_LIT(SCAN_COUNT)};
    struct pool_command command = {6, argv};

    scan->call.done = scan_reply;
    scan->call.repeatable = true;
    pool_send(scan->plan.cache->set->pool, &scan->call, &command, 1);
}

static void next_batch(struct scan *scan)
{
    if (scan->plan.progress != NULL)
        scan->plan.progress(scan->plan.arg, scan->matched, scan->removed);
    if (scan->last)
        scan_end(scan, ERR_OK);
    else
        send_scan(scan);
}

static void unlink_reply(struct pool_call *call, int status, const struct reply *reply)
{
    struct scan *scan = scan_of(call);

    if (status != ERR_OK || reply->type != REPLY_INTEGER) {
        scan_end(scan, status != ERR_OK ? status : ERR_REMOTE);
        return;
    }
    scan->removed += (uint64_t)reply->integer;
    next_batch(scan);
}

/* The names of this batch that are to go; returns how many, argv[0] being UNLINK itself. */
static int choose(struct scan *scan, const struct reply *names, struct slice *argv)
{
    int argc = 1;

    argv[0] = SLICE_LIT("UNLINK");
    for (size_t i = 0; i < names->n_items; i++) {
        struct slice name = names->items[i].str, key;

        if (!keyname_decode(scan->plan.cache, name, &key) ||
            !glob_match(buf_slice(&scan->pattern), key))
            continue;
        scan->matched++;
        if (scan->plan.remove != NULL && scan->plan.remove(scan->plan.arg, key))
            argv[argc++] = name;
    }
    return argc - 1;
}

static void scan_reply(struct pool_call *call, int status, const struct reply *reply)
{
    struct scan *scan = scan_of(call);
    struct pool_command command = {0, NULL};
    struct slice *argv;
    int n;

    if (status != ERR_OK || reply->type != REPLY_ARRAY || reply->n_items != 2) {
        scan_end(scan, status != ERR_OK ? status : ERR_REMOTE);
        return;
    }
    buf_truncate(&scan->cursor, 0);
    argv = malloc((reply->items[1].n_items + 1) * sizeof(*argv));
    if (argv == NULL ||
        buf_append(&scan->cursor, reply->items[0].str.data, reply->items[0].str.len) != ERR_OK) {
        free(argv);
        scan_end(scan, ERR_NOMEM);
        return;
    }
    scan->last = slice_eq(reply->items[0].str, SLICE_LIT("0"));
    n = choose(scan, &reply->items[1], argv);
    if (n > 0) {
        command = (struct pool_command){n + 1, argv};
        scan->call.done = unlink_reply;
        pool_send(scan->plan.cache->set->pool, &scan->call, &command, 1);
    }
    free(argv);
    if (n == 0)
        next_batch(scan);
}

int scan_start(const struct scan_plan *plan)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    int rc;

    if (scan == NULL)
        return ERR_NOMEM;
    scan->plan = *plan;
    rc = buf_append(&scan->pattern, plan->pattern.data, plan->pattern.len);
    if (rc == ERR_OK)
        rc = keyname_scan_glob(plan->cache, plan->pattern, &scan->match);
    if (rc == ERR_OK)
        rc = buf_append(&scan->cursor, "0", 1);
    if (rc != ERR_OK) {
        buf_fini(&scan->pattern);
        buf_fini(&scan->match);
        buf_fini(&scan->cursor);
        free(scan);
        return rc;
    }
    send_scan(scan);
    return ERR_OK;
}
