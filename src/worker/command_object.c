/* OBJECT, MEMORY, DEBUG: what tools ask about keys. */
#include "worker/command.h"

#include "common/units.h"

#include <stdio.h>

#define EMBSTR_MAX 44 /* bytes of a string that Redis keeps in one piece with its object */
#define ENTRY_COST 36 /* an entry's header, its slot and what rounding adds, about */

/* ---- OBJECT ---- */

static const char *encoding_of(struct slice value)
{
    char text[24];
    int64_t number;

    if (units_parse_int(value, &number) == ERR_OK &&
        (size_t)snprintf(text, sizeof(text), "%lld", (long long)number) == value.len)
        return "int";
    return value.len <= EMBSTR_MAX ? "embstr" : "raw";
}

static void answer_encoding(struct outcome *outcome)
{
    size_t end = buf_len(outcome->out);
    const char *encoding;

    if (is_failure(outcome->status)) {
        reply_failure(outcome);
    } else if (!outcome->placed) {
        reply_null(outcome->out, outcome->version);
    } else {
        encoding = encoding_of(slice_make(
            buf_head(outcome->out) + end - 2 - outcome->info->value_len, outcome->info->value_len));
        buf_truncate(outcome->out, outcome->mark);
        reply_bulk(outcome->out, slice_cstr(encoding));
    }
}

static void answer_refcount(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else if (outcome->status == CACHE_MISS)
        reply_null(outcome->out, outcome->version);
    else
        reply_integer(outcome->out, 1);
}

static void object_help(struct call *call)
{
    static const char *const lines[] = {
        "OBJECT <subcommand> <key>. Subcommands are:",
        "ENCODING",
        "    The encoding that Redis would have chosen for the value.",
        "REFCOUNT",
        "    1, where there is the key.",
    };

    (void)!resp_array(call->out, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        (void)!resp_status(call->out, lines[i]);
}

static void object_encoding(struct call *call)
{
    struct step step = {.kind = STEP_GET, .key = call->argv[2]};

    operate(call, &step, answer_encoding);
}

static void object_refcount(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[2]};

    operate(call, &step, answer_refcount);
}

static void object_freq(struct call *call)
{
    reply_error(call->out,
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked.");
}

static void object_idletime(struct call *call)
{
    reply_error(call->out, "ERR idle times are not kept here");
}

void cmd_object(struct call *call)
{
    static const struct subcommand table[] = {
        {"ENCODING", 3, object_encoding}, {"REFCOUNT", 3, object_refcount},
        {"FREQ", 3, object_freq},         {"IDLETIME", 3, object_idletime},
        {"HELP", 2, object_help},
    };

    command_sub(call, table, sizeof(table) / sizeof(table[0]));
}

/* ---- MEMORY ---- */

static void answer_usage(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else if (outcome->status == CACHE_MISS)
        reply_null(outcome->out, outcome->version);
    else
        reply_integer(outcome->out, outcome->args[0] + (int64_t)outcome->info->value_len);
}

void cmd_memory(struct call *call)
{
    struct step step = {.kind = STEP_META};
    bool samples = call->argc == 5 && slice_ieq(call->argv[3], "SAMPLES");

    if (!slice_ieq(call->argv[1], "USAGE") || (call->argc != 3 && !samples)) {
        reply_error(call->out, "ERR syntax error: MEMORY USAGE key [SAMPLES count]");
        return;
    }
    step.key = call->argv[2];
    step.args[0] = (int64_t)call->argv[2].len + ENTRY_COST;
    operate(call, &step, answer_usage);
}

void cmd_debug(struct call *call)
{
    reply_error(call->out, "ERR DEBUG command not allowed.");
}
