#include "redis/adapter.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>

struct adapter {
    redisAsyncContext *context; /* NULL once hiredis has let go */
    uv_poll_t poll;
    uv_prepare_t flush; /* active while there is something to write at the end of this turn */
    int events;         /* what poll waits for */
    bool flushing;
    unsigned handles; /* of poll and flush, those not closed yet */
    void (*gone)(void *arg);
    void *arg;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct adapter *a, int events)
{
    if (events == a->events || a->context == NULL)
        return;
    a->events = events;
    if (events == 0)
        uv_poll_stop(&a->poll);
    else
        uv_poll_start(&a->poll, events, on_poll);
}

static bool is_connected(const struct adapter *a)
{
    return a->context != NULL && a->context->c.flags & REDIS_CONNECTED;
}

/* libuv has stopped watching: let hiredis meet the error by itself, with the system call that
 * reports it. */
static void on_poll_error(struct adapter *a)
{
    int wanted = a->events;

    a->events = 0;
    if (is_connected(a))
        redisAsyncHandleRead(a->context);
    else
        redisAsyncHandleWrite(a->context);
    if (a->context != NULL)
        watch(a, wanted);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct adapter *a = poll->data;

    if (status < 0) {
        on_poll_error(a);
        return;
    }
    if (events & UV_READABLE)
        redisAsyncHandleRead(a->context);
    if (a->context != NULL && events & UV_WRITABLE)
        redisAsyncHandleWrite(a->context);
}

static void on_flush(uv_prepare_t *flush)
{
    struct adapter *a = flush->data;

    uv_prepare_stop(flush);
    a->flushing = true;
    redisAsyncHandleWrite(a->context);
    a->flushing = false;
}

static void add_read(void *arg)
{
    struct adapter *a = arg;

    watch(a, a->events | UV_READABLE);
}

static void del_read(void *arg)
{
    struct adapter *a = arg;

    watch(a, a->events & ~UV_READABLE);
}

/* While flushing this means that the socket took only a part. */
static void add_write(void *arg)
{
    struct adapter *a = arg;

    if (a->flushing || !is_connected(a))
        watch(a, a->events | UV_WRITABLE);
    else if (!(a->events & UV_WRITABLE))
        uv_prepare_start(&a->flush, on_flush);
}

static void del_write(void *arg)
{
    struct adapter *a = arg;

    watch(a, a->events & ~UV_WRITABLE);
}

static void on_close(uv_handle_t *handle)
{
    struct adapter *a = handle->data;

    if (--a->handles > 0)
        return;
    a->gone(a->arg);
    free(a);
}

static void cleanup(void *arg)
{
    struct adapter *a = arg;

    if (a->context == NULL)
        return;
    a->context = NULL;
    uv_close((uv_handle_t *)&a->poll, on_close);
    uv_close((uv_handle_t *)&a->flush, on_close);
}

int adapter_attach(struct redisAsyncContext *context, uv_loop_t *loop, void (*gone)(void *arg),
                   void *arg)
{
    struct adapter *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return ERR_NOMEM;
    if (uv_poll_init(loop, &a->poll, context->c.fd) != 0) {
        free(a);
        return ERR_SYSTEM;
    }
    uv_prepare_init(loop, &a->flush);
    a->poll.data = a;
    a->flush.data = a;
    a->handles = 2;
    a->context = context;
    a->gone = gone;
    a->arg = arg;
    context->ev.data = a;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    return ERR_OK;
}
