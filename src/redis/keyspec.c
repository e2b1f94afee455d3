#include "redis/keyspec.h"

#include "common/units.h"

#include <stdlib.h>

struct keyspec_table {
    size_t n, cap;
    struct keyspec_command *rows; /* sorted by name */
};

/* ---- learning ---- */

/* The value of a name in a map, which comes as a flat array; NULL: it has none. */
static const struct reply *field(const struct reply *map, const char *name)
{
    for (size_t i = 0; i + 1 < map->n_items; i += 2)
        if (slice_eq(map->items[i].str, slice_cstr(name)))
            return &map->items[i + 1];
    return NULL;
}

static int number(const struct reply *map, const char *name)
{
    const struct reply *value = map == NULL ? NULL : field(map, name);

    return value == NULL ? 0 : (int)value->integer;
}

static bool has_word(const struct reply *list, const char *word)
{
    for (size_t i = 0; list != NULL && i < list->n_items; i++)
        if (slice_ieq(list->items[i].str, word))
            return true;
    return false;
}

static bool type_is(const struct reply *part, const char *type)
{
    const struct reply *value = part == NULL ? NULL : field(part, "type");

    return value != NULL && slice_eq(value->str, slice_cstr(type));
}

/* False: it says that it does not know. */
static bool learn_spec(const struct reply *map, struct keyspec *spec)
{
    const struct reply *begin = field(map, "begin_search"), *find = field(map, "find_keys");
    const struct reply *from = begin == NULL ? NULL : field(begin, "spec");
    const struct reply *how = find == NULL ? NULL : field(find, "spec");
    const struct reply *word;

    spec->writes = !has_word(field(map, "flags"), "RO");
    spec->keyword = type_is(begin, "keyword");
    spec->keynum = type_is(find, "keynum");
    if ((!spec->keyword && !type_is(begin, "index")) || (!spec->keynum && !type_is(find, "range")))
        return false;
    if (has_word(field(map, "flags"), "incomplete"))
        return false;
    word = spec->keyword ? field(from, "keyword") : NULL;
    if (word != NULL) {
        if (word->str.len >= sizeof(spec->word))
            return false;
        memcpy(spec->word, word->str.data, word->str.len);
    }
    spec->start = number(from, spec->keyword ? "startfrom" : "index");
    spec->last = number(how, "lastkey");
    spec->step = number(how, "keystep");
    spec->limit = number(how, "limit");
    spec->at_num = number(how, "keynumidx");
    spec->first = number(how, "firstkey");
    return spec->step > 0;
}

/* Servers before Redis 7 say first, last and step only. */
static void learn_positions(const struct reply *row, struct keyspec_command *command)
{
    int first = (int)row->items[3].integer, last = (int)row->items[4].integer;
    struct keyspec *spec = &command->specs[0];

    if (first <= 0)
        return;
    *spec = (struct keyspec){.writes = (command->flags & KEYSPEC_READONLY) == 0,
                             .start = first,
                             .last = last < 0 ? last : last - first,
                             .step = (int)row->items[5].integer};
    if (spec->step > 0)
        command->n_specs = 1;
}

static void learn_specs(const struct reply *row, struct keyspec_command *command)
{
    const struct reply *specs = row->n_items > 8 ? &row->items[8] : NULL;

    if (specs == NULL) {
        if (has_word(&row->items[2], "movablekeys"))
            command->flags |= KEYSPEC_UNKNOWN;
        learn_positions(row, command);
        return;
    }
    for (size_t i = 0; i < specs->n_items; i++) {
        if (command->n_specs < KEYSPEC_MAX &&
            learn_spec(&specs->items[i], &command->specs[command->n_specs]))
            command->n_specs++;
        else
            command->flags |= KEYSPEC_UNKNOWN;
    }
}

static unsigned learn_flags(const struct reply *flags)
{
    static const struct {
        const char *word;
        unsigned flag;
    } known[] = {{"write", KEYSPEC_WRITE},
                 {"readonly", KEYSPEC_READONLY},
                 {"admin", KEYSPEC_ADMIN},
                 {"blocking", KEYSPEC_BLOCKING},
                 {"pubsub", KEYSPEC_PUBSUB}};
    unsigned found = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        found |= has_word(flags, known[i].word) ? known[i].flag : 0;
    return found;
}

static struct keyspec_command *new_row(struct keyspec_table *table)
{
    if (table->n == table->cap) {
        size_t cap = table->cap == 0 ? 512 : table->cap * 2;
        struct keyspec_command *rows = realloc(table->rows, cap * sizeof(*rows));

        if (rows == NULL)
            return NULL;
        table->rows = rows;
        table->cap = cap;
    }
    table->rows[table->n] = (struct keyspec_command){0};
    return &table->rows[table->n++];
}

/* Rows of commands, and of their subcommands. */
static int learn_rows(struct keyspec_table *table, const struct reply *list, int depth)
{
    int err = ERR_OK;

    for (size_t i = 0; i < list->n_items && err == ERR_OK; i++) {
        const struct reply *row = &list->items[i];
        bool group = row->n_items > 9 && row->items[9].n_items > 0;
        struct keyspec_command *command;

        if (row->type != REPLY_ARRAY || row->n_items < 6)
            return ERR_INVALID;
        if (row->items[0].str.len >= KEYSPEC_NAME_MAX)
            continue;
        command = new_row(table);
        if (command == NULL)
            return ERR_NOMEM;
        memcpy(command->name, row->items[0].str.data, row->items[0].str.len);
        command->arity = (int)row->items[1].integer;
        command->flags = learn_flags(&row->items[2]) | (group ? KEYSPEC_GROUP : 0);
        learn_specs(row, command);
        if (group && depth == 0)
            err = learn_rows(table, &row->items[9], 1);
    }
    return err;
}

static int by_name(const void *a, const void *b)
{
    const struct keyspec_command *first = a, *second = b;

    return strcmp(first->name, second->name);
}

int keyspec_learn(const struct reply *reply, struct keyspec_table **out)
{
    struct keyspec_table *table = calloc(1, sizeof(*table));
    int err = ERR_INVALID;

    if (table == NULL)
        return ERR_NOMEM;
    if (reply->type == REPLY_ARRAY && reply->n_items > 0)
        err = learn_rows(table, reply, 0);
    if (err != ERR_OK) {
        keyspec_free(table);
        return err;
    }
    qsort(table->rows, table->n, sizeof(table->rows[0]), by_name);
    *out = table;
    return ERR_OK;
}

void keyspec_free(struct keyspec_table *table)
{
    if (table == NULL)
        return;
    free(table->rows);
    free(table);
}

/* ---- asking ---- */

/* Append in lower case; false: it is longer than any name. */
static bool add_lower(char name[KEYSPEC_NAME_MAX], struct slice word)
{
    size_t at = strlen(name);

    if (at + word.len >= KEYSPEC_NAME_MAX)
        return false;
    for (size_t i = 0; i < word.len; i++)
        name[at + i] =
            (char)(word.data[i] >= 'A' && word.data[i] <= 'Z' ? word.data[i] + 32 : word.data[i]);
    name[at + word.len] = '\0';
    return true;
}

const struct keyspec_command *keyspec_find(const struct keyspec_table *table, int argc,
                                           const struct slice *argv)
{
    struct keyspec_command key = {0};
    const struct keyspec_command *found;

    if (!add_lower(key.name, argv[0]))
        return NULL;
    found = bsearch(&key, table->rows, table->n, sizeof(table->rows[0]), by_name);
    if (found == NULL || (found->flags & KEYSPEC_GROUP) == 0 || argc < 2)
        return found;
    if (!add_lower(key.name, SLICE_LIT("|")) || !add_lower(key.name, argv[1]))
        return NULL;
    return bsearch(&key, table->rows, table->n, sizeof(table->rows[0]), by_name);
}

/* Where a specification begins; 0: it does not apply to these arguments. */
static int begin_of(const struct keyspec *spec, int argc, const struct slice *argv)
{
    int step = spec->start < 0 ? -1 : 1;
    int at = spec->start < 0 ? argc + spec->start : spec->start;

    if (!spec->keyword)
        return at < argc ? at : 0;
    for (; at > 0 && at < argc; at += step)
        if (slice_ieq(argv[at], spec->word))
            return at + 1 < argc ? at + 1 : 0;
    return 0;
}

/* The last argument that may be a key; *first: where they begin. */
static int last_of(const struct keyspec *spec, int argc, const struct slice *argv, int *first)
{
    int64_t n;

    if (spec->keynum) {
        if (*first + spec->at_num >= argc ||
            units_parse_int(argv[*first + spec->at_num], &n) != ERR_OK || n < 1 || n > argc)
            return 0;
        *first += spec->first;
        return *first + ((int)n - 1) * spec->step;
    }
    if (spec->last >= 0)
        return *first + spec->last;
    if (spec->last == -1 && spec->limit > 1)
        return *first + (argc - *first) / spec->limit - 1;
    return argc + spec->last;
}

void keyspec_each(const struct keyspec_command *command, int argc, const struct slice *argv,
                  void (*each)(void *arg, int at, bool writes), void *arg)
{
    for (unsigned i = 0; i < command->n_specs; i++) {
        const struct keyspec *spec = &command->specs[i];
        int first = begin_of(spec, argc, argv);
        int last = first == 0 ? -1 : last_of(spec, argc, argv, &first);

        for (int at = first; at <= last && at < argc; at += spec->step)
            each(arg, at, spec->writes);
    }
}
