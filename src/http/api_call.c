/* Running a cache operation: at once on the caller's stack, or later from a copy on the heap. */
#include "common/list.h"
#include "http/api_impl.h"

#include <stdlib.h>

static char *place(struct cache_sink *sink, const struct cache_info *info)
{
    struct api_call *call = LIST_ENTRY(sink, struct api_call, sink);
    char *room;

    buf_truncate(&call->value, 0);
    room = buf_reserve(&call->value, info->value_len + 1);
    if (room != NULL)
        buf_commit(&call->value, info->value_len);
    return room;
}

static void release(struct api_call *call)
{
    buf_fini(&call->value);
    buf_fini(&call->kept);
    free(call);
}

static void on_done(struct cache_op *op, enum cache_status status)
{
    struct api_call *call = LIST_ENTRY(op, struct api_call, op);
    struct api_exchange *exchange = call->exchange;

    call->info = op->info;
    call->answer(call, status);
    release(call);
    exchange->done(exchange);
}

/* A copy that can outlive the request. What run() needs of the request is copied by the cache. */
static struct api_call *keep(const struct api_call *call)
{
    struct api_call *kept = malloc(sizeof(*kept));
    struct slice rest = call->if_none_match;

    if (kept == NULL)
        return NULL;
    *kept = *call;
    kept->value = (struct buf){0};
    kept->op = (struct cache_op){.done = on_done};
    if (call->keep_key)
        rest = call->args.key;
    if (rest.data == NULL)
        return kept;
    if (buf_append(&kept->kept, rest.data, rest.len) != ERR_OK) {
        free(kept);
        return NULL;
    }
    if (!call->keep_key)
        kept->if_none_match = buf_slice(&kept->kept);
    return kept;
}

static enum api_result run_waiting(struct api_call *call)
{
    struct api_call *kept = keep(call);
    enum cache_status status;

    if (kept == NULL) {
        call->answer(call, CACHE_NOMEM);
        return API_ANSWERED;
    }
    status = kept->run(kept, &kept->op);
    if (status == CACHE_PENDING) {
        kept->request = NULL;
        kept->args = (struct api_args){.when = call->args.when};
        return API_PENDING;
    }
    kept->answer(kept, status);
    release(kept);
    return API_ANSWERED;
}

enum api_result api_call_run(struct api_call *call, bool may_wait)
{
    enum cache_status status;

    call->sink.place = place;
    if (may_wait)
        return run_waiting(call);
    status = call->run(call, NULL);
    if (status == CACHE_WAIT)
        return run_waiting(call);
    call->answer(call, status);
    return API_ANSWERED;
}
