/* RENAME, RENAMENX, COPY, MSETNX. A copy has value, expiry and metadata; it carries no tags, which
 * are kept as hashes only. */
#include "worker/command.h"

#include "common/units.h"

/* The entry at from stored at to. False: an error was answered. */
static bool copy_entry(struct call *call, struct slice from, struct slice to, bool *there)
{
    struct loaded loaded;
    bool done = load_entry(call, from, &loaded);

    *there = loaded.present;
    if (done && loaded.present)
        done = store_entry(call, to, buf_slice(&loaded.value), &loaded.info);
    loaded_fini(&loaded);
    return done;
}

/* Whether a key is there; false: an error was answered. */
static bool is_there(struct call *call, struct slice key, bool *there)
{
    struct step step = {.kind = STEP_META, .key = key};
    struct cache_info info;
    int64_t ignored;
    enum cache_status status = operate_now(call, &step, NULL, &info, &ignored);

    if (is_failure(status))
        reply_status(call, status);
    *there = status == CACHE_OK;
    return !is_failure(status);
}

/* Move argv[1] to argv[2]. False: an error was answered. */
static bool move(struct call *call)
{
    struct slice from = call->argv[1], to = call->argv[2];
    bool there, had;

    if (!copy_entry(call, from, to, &there))
        return false;
    if (!there) {
        reply_error(call->out, "ERR no such key");
        return false;
    }
    return slice_eq(from, to) || remove_entry(call, from, &had);
}

static void rename_body(struct call *call)
{
    if (move(call))
        reply_ok(call->out);
}

void cmd_rename(struct call *call)
{
    atomically(call, rename_body);
}

static void renamenx_body(struct call *call)
{
    bool from, to;

    if (!is_there(call, call->argv[1], &from) || !is_there(call, call->argv[2], &to))
        return;
    if (from && to)
        reply_integer(call->out, 0);
    else if (move(call))
        reply_integer(call->out, 1);
}

void cmd_renamenx(struct call *call)
{
    atomically(call, renamenx_body);
}

static void copy_body(struct call *call)
{
    bool replace = call->argc == 4;
    bool there, taken = false;

    if (!replace && !is_there(call, call->argv[2], &taken))
        return;
    if (taken)
        reply_integer(call->out, 0);
    else if (copy_entry(call, call->argv[1], call->argv[2], &there))
        reply_integer(call->out, there);
}

void cmd_copy(struct call *call)
{
    if (call->argc > 3 && slice_ieq(call->argv[3], "DB"))
        reply_error(call->out, "ERR COPY to another DB is not supported here");
    else if (call->argc > 4 || (call->argc == 4 && !slice_ieq(call->argv[3], "REPLACE")))
        reply_error(call->out, "ERR syntax error");
    else if (slice_eq(call->argv[1], call->argv[2]))
        reply_error(call->out, "ERR source and destination objects are the same");
    else
        atomically(call, copy_body);
}

static void msetnx_body(struct call *call)
{
    for (int i = 1; i < call->argc; i += 2) {
        bool there;

        if (!is_there(call, call->argv[i], &there))
            return;
        if (there) {
            reply_integer(call->out, 0);
            return;
        }
    }
    for (int i = 1; i < call->argc; i += 2)
        if (!store_entry(call, call->argv[i], call->argv[i + 1], NULL))
            return;
    reply_integer(call->out, 1);
}

void cmd_msetnx(struct call *call)
{
    if (call->argc % 2 == 0)
        reply_error(call->out, "ERR wrong number of arguments for 'msetnx' command");
    else
        atomically(call, msetnx_body);
}
