/* COMMAND: the command table, as clients read it. */
#include "worker/command.h"

static void reply_flags(struct call *call, const struct command *command)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {COMMAND_READ, "readonly"},     {COMMAND_WRITE, "write"},         {COMMAND_LOCAL, "fast"},
        {COMMAND_NO_MULTI, "no_multi"}, {COMMAND_NUMKEYS, "movablekeys"},
    };
    size_t n = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        n += (command->flags & names[i].bit) != 0;
    (void)!resp_set(call->out, n, call->session->version);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (command->flags & names[i].bit)
            (void)!resp_status(call->out, names[i].name);
}

/* As Redis 7: name, arity, flags, first key, last key, step, then what is not kept here: ACL
 * categories, tips, key specifications, subcommands. */
static void describe(struct call *call, const struct command *command)
{
    char lower[COMMAND_NAME_MAX];

    command_lower(command, lower);
    (void)!resp_array(call->out, 10);
    reply_bulk(call->out, slice_cstr(lower));
    reply_integer(call->out, command->arity);
    reply_flags(call, command);
    reply_integer(call->out, command->first);
    reply_integer(call->out, command->last);
    reply_integer(call->out, command->step);
    (void)!resp_set(call->out, 0, call->session->version);
    for (int i = 0; i < 3; i++)
        (void)!resp_array(call->out, 0);
}

static size_t count(void)
{
    size_t n = 0;

    while (command_at(n) != NULL)
        n++;
    return n;
}

static void describe_all(struct call *call)
{
    (void)!resp_array(call->out, count());
    for (size_t i = 0; command_at(i) != NULL; i++)
        describe(call, command_at(i));
}

static void info(struct call *call)
{
    if (call->argc == 2) {
        describe_all(call);
        return;
    }
    (void)!resp_array(call->out, (size_t)call->argc - 2);
    for (int i = 2; i < call->argc; i++) {
        const struct command *command = command_find(call->argv[i]);

        if (command != NULL)
            describe(call, command);
        else
            reply_null(call->out, call->session->version);
    }
}

static void docs_entry(struct call *call, const struct command *command)
{
    char lower[COMMAND_NAME_MAX];

    command_lower(command, lower);
    reply_bulk(call->out, slice_cstr(lower));
    (void)!resp_map(call->out, 1, call->session->version);
    reply_bulk(call->out, SLICE_LIT("group"));
    reply_bulk(call->out,
               command->flags & COMMAND_LOCAL ? SLICE_LIT("connection") : SLICE_LIT("generic"));
}

static void docs(struct call *call)
{
    size_t n = call->argc == 2 ? count() : 0;

    for (int i = 2; i < call->argc; i++)
        n += command_find(call->argv[i]) != NULL;
    (void)!resp_map(call->out, n, call->session->version);
    for (size_t i = 0; call->argc == 2 && command_at(i) != NULL; i++)
        docs_entry(call, command_at(i));
    for (int i = 2; i < call->argc; i++)
        if (command_find(call->argv[i]) != NULL)
            docs_entry(call, command_find(call->argv[i]));
}

static void list(struct call *call)
{
    (void)!resp_array(call->out, count());
    for (size_t i = 0; command_at(i) != NULL; i++) {
        char lower[COMMAND_NAME_MAX];

        command_lower(command_at(i), lower);
        reply_bulk(call->out, slice_cstr(lower));
    }
}

static void getkeys(struct call *call)
{
    const struct command *command = command_find(call->argv[2]);
    int argc = call->argc - 2;
    int first, last, step;

    if (command == NULL) {
        reply_error(call->out, "ERR Invalid command specified");
        return;
    }
    if (command->arity > 0 ? argc != command->arity : argc < -command->arity) {
        reply_error(call->out, "ERR Invalid number of arguments specified for command");
        return;
    }
    if (!command_keys(command, argc, call->argv + 2, &first, &last, &step)) {
        reply_error(call->out, "ERR The command has no key arguments");
        return;
    }
    (void)!resp_array(call->out, (size_t)((last - first) / step + 1));
    for (int i = first; i <= last; i += step)
        reply_bulk(call->out, call->argv[2 + i]);
}

static void count_all(struct call *call)
{
    reply_integer(call->out, (int64_t)count());
}

void cmd_command(struct call *call)
{
    static const struct subcommand table[] = {
        {"COUNT", 2, count_all}, {"INFO", -2, info},       {"DOCS", -2, docs},
        {"LIST", -2, list},      {"GETKEYS", -4, getkeys},
    };

    if (call->argc == 1)
        describe_all(call);
    else
        command_sub(call, table, sizeof(table) / sizeof(table[0]));
}
