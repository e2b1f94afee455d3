/* Several steps as one: the cache held around a body, and what bodies are made of. */
#include "worker/command.h"

#include "common/clock.h"

/* A command that finds the cache held goes on trying for so long: longer than a holder lives that
 * does not end (WATCH_HELD_MS). */
#define PATIENCE_MS 2000

bool keep_trying(struct call *call)
{
    struct resp_session *session = call->session;
    uint64_t now_ms = clock_now_ms();

    if (session->again_ms == 0)
        session->again_ms = now_ms;
    call->again = now_ms - session->again_ms < PATIENCE_MS;
    if (!call->again)
        session->again_ms = 0;
    return call->again;
}

void try_again(struct call *call)
{
    if (!keep_trying(call))
        reply_status(call, CACHE_BUSY);
}

static bool settle_keys(struct call *call)
{
    int first, last, step;

    if (!command_keys(call->command, call->argc, call->argv, &first, &last, &step))
        return true;
    for (int i = first; i <= last; i += step)
        if (!cache_settle(call->cache, call->argv[i]))
            return false;
    return true;
}

void atomically(struct call *call, void (*body)(struct call *call))
{
    if (call->atomic) {
        body(call);
        return;
    }
    if (!cache_hold(call->cache)) {
        try_again(call);
        return;
    }
    if (!settle_keys(call)) {
        cache_release(call->cache);
        try_again(call);
        return;
    }
    call->session->again_ms = 0;
    call->atomic = true;
    body(call);
    call->atomic = false;
    cache_release(call->cache);
}

/* ---- what bodies are made of ---- */

static char *place_loaded(struct cache_sink *sink, const struct cache_info *info)
{
    struct loaded *loaded = (struct loaded *)(void *)sink;
    char *place;

    buf_truncate(&loaded->value, 0);
    place = buf_reserve(&loaded->value, info->value_len + 1);
    if (place != NULL)
        buf_commit(&loaded->value, info->value_len);
    return place;
}

bool load_entry(struct call *call, struct slice key, struct loaded *loaded)
{
    struct step step = {.kind = STEP_GET, .key = key};
    enum cache_status status;
    int64_t ignored;

    *loaded = (struct loaded){.sink = {.place = place_loaded}};
    status = operate_now(call, &step, &loaded->sink, &loaded->info, &ignored);
    loaded->present = status == CACHE_OK;
    if (is_failure(status))
        reply_status(call, status);
    return !is_failure(status);
}

void loaded_fini(struct loaded *loaded)
{
    buf_fini(&loaded->value);
}

static bool do_step(struct call *call, const struct step *step, bool *found)
{
    struct cache_info info;
    int64_t ignored;
    enum cache_status status = operate_now(call, step, NULL, &info, &ignored);

    if (is_failure(status))
        reply_status(call, status);
    *found = status == CACHE_OK;
    return !is_failure(status);
}

bool store_entry(struct call *call, struct slice key, struct slice value,
                 const struct cache_info *info)
{
    struct step step = {.kind = STEP_PUT, .key = key, .value = value};
    bool stored;

    if (info != NULL) {
        step.attrs.expires_ms = info->expires_ms;
        step.attrs.client_flags = info->client_flags;
        step.attrs.created_wall_ms = info->created_wall_ms;
        step.attrs.content_type = slice_cstr(info->content_type);
    }
    return do_step(call, &step, &stored);
}

bool remove_entry(struct call *call, struct slice key, bool *had)
{
    struct step step = {.kind = STEP_DELETE, .key = key};

    return do_step(call, &step, had);
}

bool expire_entry(struct call *call, struct slice key, uint64_t expires_ms)
{
    struct step step = {
        .kind = STEP_CHANGE,
        .key = key,
        .change = {.kind = CHANGE_EXPIRE, .attrs = {.expires_ms = expires_ms}},
    };
    bool found;

    return do_step(call, &step, &found);
}
