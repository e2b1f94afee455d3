#include "client/handle.h"

#include <string.h>

enum cachetastic_status call_status(int err)
{
    switch (err) {
    case ERR_OK:
        return CACHETASTIC_OK;
    case ERR_NOMEM:
        return CACHETASTIC_E_NOMEM;
    case ERR_INVALID:
    case ERR_LIMIT:
        return CACHETASTIC_E_INVALID;
    case ERR_TIMEOUT:
        return CACHETASTIC_E_TIMEOUT;
    case ERR_DOWN:
        return CACHETASTIC_E_DOWN;
    case ERR_PROTOCOL:
        return CACHETASTIC_E_PROTOCOL;
    case ERR_LOST:
        return CACHETASTIC_E_LOST;
    case ERR_REMOTE:
        return CACHETASTIC_E_REMOTE;
    default:
        return CACHETASTIC_E_SYSTEM;
    }
}

enum cachetastic_status call_refused(struct cachetastic *cache, struct slice text)
{
    static const char *const denials[] = {"NOAUTH ", "NOPERM ", "WRONGPASS "};
    enum cachetastic_status status = CACHETASTIC_E_REMOTE;

    for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++)
        if (slice_starts(text, slice_cstr(denials[i])))
            status = CACHETASTIC_E_DENIED;
    return handle_fail(cache, status, "%.*s", (int)(text.len < 480 ? text.len : 480), text.data);
}

enum cachetastic_status call_confused(struct cachetastic *cache)
{
    handle_disconnect(cache);
    return handle_fail(cache, CACHETASTIC_E_PROTOCOL,
                       "an answer of another kind than expected: is %s cachetastic's?",
                       cache->socket);
}

/* One try. *lost: the connection ended without a byte of an answer. */
static enum cachetastic_status send_once(struct cachetastic *cache, int argc,
                                         const struct slice *argv, uint64_t wait_ms, bool *lost)
{
    enum cachetastic_status status = handle_connect(cache);
    int err;

    *lost = false;
    if (status != CACHETASTIC_OK)
        return status;
    cache->counts.calls++;
    resp_value_fini(&cache->reply);
    err = wire_add(&cache->wire, argc, argv);
    if (err != ERR_OK)
        return handle_fail(cache, CACHETASTIC_E_NOMEM, "no memory for the command");
    err = wire_send(&cache->wire, &cache->error);
    if (err == ERR_OK)
        err = wire_receive(&cache->wire, wait_ms, &cache->reply, &cache->error);
    if (err == ERR_OK)
        return CACHETASTIC_OK;
    *lost = err == ERR_LOST && !cache->wire.begun;
    handle_disconnect(cache);
    return call_status(err);
}

enum cachetastic_status call_send(struct cachetastic *cache, int argc, const struct slice *argv,
                                  bool again, uint64_t wait_ms)
{
    enum cachetastic_status status;
    bool lost;

    /* What must not be done twice is not sent into a connection that has ended already. */
    if (!again && cache->wire.fd >= 0 && cache->forks == handle_forks && wire_hung_up(&cache->wire))
        handle_disconnect(cache);
    status = send_once(cache, argc, argv, wait_ms, &lost);
    if (lost && again)
        status = send_once(cache, argc, argv, wait_ms, &lost);
    if (status == CACHETASTIC_OK && cache->reply.type == RESP_ERROR)
        return call_refused(cache, cache->reply.str);
    return status;
}
