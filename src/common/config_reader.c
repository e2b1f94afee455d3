/* The file, through libconfig: the only place that knows it.
 *
 * libconfig 1.5 misreads some things without a word, so they are caught here: integers beyond 32
 * bits without a trailing L are cut off (8589934592 reads as 0), and 0660 is decimal. Hence sizes,
 * times and modes are strings, and the text is searched for such integers before it is parsed.
 */
#include "common/config_parts.h"
#include "common/file.h"

#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)1 << 20)

struct config_file {
    config_t parsed;
    struct buf text;
    char *folder; /* of the file: what @include is relative to */
};

/* Step over a string, a comment or a name, none of which hold numbers; returns where it ends, or p.
 */
static const char *skip_other(const char *p)
{
    if (*p == '"') {
        for (p++; *p != '\0' && *p != '"'; p++)
            if (*p == '\\' && p[1] != '\0')
                p++;
        return *p == '"' ? p + 1 : p;
    }
    if (*p == '#' || (p[0] == '/' && p[1] == '/'))
        return p + strcspn(p, "\n");
    if (p[0] == '/' && p[1] == '*') {
        const char *end = strstr(p + 2, "*/");

        return end == NULL ? p + strlen(p) : end + 2;
    }
    while (isalpha((unsigned char)*p) || *p == '*' || *p == '_')
        p += 1 + strspn(p + 1, "0123456789-_*");
    return p;
}

/* Whether the number at p has more than 32 bits and no L that says so; *len is its length. */
static bool number_is_cut(const char *p, size_t *len)
{
    char *end;
    unsigned long long value;
    bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');

    errno = 0;
    value = strtoull(p, &end, hex ? 16 : 10);
    *len = (size_t)(end - p);
    if (*end == 'L' || *end == '.' || *end == 'e' || *end == 'E')
        return false;
    return errno != 0 || value > (hex ? UINT32_MAX : INT32_MAX);
}

static int check_numbers(struct config_work *work, const char *text)
{
    struct config_place place = {.file = work->config->source, .line = 1};
    const char *p = text;

    while (*p != '\0') {
        const char *next = skip_other(p);
        size_t len = 1;

        if (next == p && isdigit((unsigned char)*p) && number_is_cut(p, &len))
            return config_fault_at(work, place, "", "the number %.*s is too large%s", (int)len, p,
                                   "; sizes and times stand in quotes with a unit, such as \"8G\"");
        if (next == p)
            next = p + len;
        for (; p < next; p++)
            place.line += *p == '\n';
    }
    return ERR_OK;
}

static struct config_place place_of(const struct config_work *work, const config_setting_t *setting)
{
    const char *file = config_setting_source_file(setting);

    return (struct config_place){.file = file != NULL ? file : work->config->source,
                                 .line = config_setting_source_line(setting)};
}

static const char *describe_type(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "a bare number";
    case CONFIG_TYPE_FLOAT:
        return "a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    default:
        return "a list";
    }
}

/* Does the setting have the type in which a row of this type is written? */
static bool type_fits(enum config_type type, const config_setting_t *setting)
{
    int given = config_setting_type(setting);

    switch (type) {
    case CONFIG_BOOL:
        return given == CONFIG_TYPE_BOOL;
    case CONFIG_INT:
        return given == CONFIG_TYPE_INT || given == CONFIG_TYPE_INT64;
    case CONFIG_STRINGS:
        return given == CONFIG_TYPE_ARRAY || given == CONFIG_TYPE_LIST;
    default:
        return given == CONFIG_TYPE_STRING;
    }
}

static int read_strings(const struct config_row *row, const config_setting_t *setting, void *base,
                        struct errmsg *why)
{
    int rc = ERR_OK;

    for (int i = 0; i < config_setting_length(setting) && rc == ERR_OK; i++) {
        const char *text = config_setting_get_string_elem(setting, i);

        if (text == NULL)
            return err_set(why, ERR_INVALID, "has something else than strings in it; write %s",
                           config_type_hint(row->type));
        rc = config_add_string(row, base, text, why);
    }
    return rc;
}

static int read_value(const struct config_row *row, const config_setting_t *setting, void *base,
                      struct errmsg *why)
{
    if (!type_fits(row->type, setting))
        return err_set(why, ERR_INVALID, "is %s; write %s", describe_type(setting),
                       config_type_hint(row->type));
    switch (row->type) {
    case CONFIG_BOOL:
        config_set_bool(row, base, config_setting_get_bool(setting) != 0);
        return ERR_OK;
    case CONFIG_INT:
        if (config_setting_type(setting) == CONFIG_TYPE_INT)
            return config_set_int(row, base, config_setting_get_int(setting), why);
        return config_set_int(row, base, config_setting_get_int64(setting), why);
    case CONFIG_STRINGS:
        return read_strings(row, setting, base, why);
    default:
        return config_set_text(row, base, config_setting_get_string(setting), why);
    }
}

/* An unknown key; when it is known elsewhere, where that is. */
static int unknown_key(struct config_work *work, const config_setting_t *setting,
                       enum config_scope scope)
{
    struct config_row row = {.scope = scope, .name = config_setting_name(setting)};
    struct config_key key = config_key(scope, &row);

    for (enum config_scope s = SCOPE_TOP; s <= SCOPE_LAST; s++) {
        if (s == scope || config_row_find(s, row.name) == NULL)
            continue;
        return config_fault_at(work, place_of(work, setting), key.text,
                               "unknown key here; it belongs %s%s",
                               s == SCOPE_TOP ? "at the top" : "in ", config_scope_name(s));
    }
    return config_fault_at(work, place_of(work, setting), key.text, "unknown key");
}

/* The values of one group. */
static int read_group(struct config_work *work, const config_setting_t *group,
                      enum config_scope scope, size_t element)
{
    void *base = config_base(work->config, scope, element);

    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const struct config_row *row = config_row_find(scope, config_setting_name(setting));
        struct errmsg why;
        int rc;

        if (row == NULL)
            return unknown_key(work, setting, scope);
        *config_place(work, row, element) = place_of(work, setting);
        rc = read_value(row, setting, base, &why);
        if (rc == ERR_INVALID)
            return config_fault(work, scope, row, element, "%s", why.text);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* A list of groups: listeners, caches or routes. */
static int read_list(struct config_work *work, const config_setting_t *list,
                     enum config_scope scope)
{
    const char *name = config_scope_name(scope);
    int length = config_setting_length(list);
    size_t limit;
    int rc;

    (void)config_count(work->config, scope, &limit);
    if (length > (int)limit)
        return config_fault_at(work, place_of(work, list), name, "%d of them; the maximum is %zu",
                               length, limit);
    if (length == 0 && scope == SCOPE_LISTEN)
        return config_fault_at(work, place_of(work, list), name, "at least one is needed");
    for (int i = 0; i < length; i++) {
        const config_setting_t *group = config_setting_get_elem(list, (unsigned)i);

        if (!config_setting_is_group(group))
            return config_fault_at(work, place_of(work, group), name,
                                   "has something else than { ... } in it");
        rc = config_add(work, scope);
        if (rc != ERR_OK)
            return rc;
        *config_element_place(work, scope, (size_t)i) = place_of(work, group);
        rc = read_group(work, group, scope, (size_t)i);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* limits, redis, listen, caches and routes at the top of the file. */
static int read_scope(struct config_work *work, const config_setting_t *setting,
                      enum config_scope scope)
{
    bool list = config_scope_is_list(scope);

    if (list ? !config_setting_is_list(setting) : !config_setting_is_group(setting))
        return config_fault_at(work, place_of(work, setting), config_scope_name(scope),
                               "write %s = %s", config_scope_name(scope),
                               list ? "( { ... }, { ... } );" : "{ ... };");
    return list ? read_list(work, setting, scope) : read_group(work, setting, scope, 0);
}

/* The scope whose group or list has this name; SCOPE_TOP when none has. */
static enum config_scope scope_named(const char *name)
{
    enum config_scope scope = SCOPE_LAST;

    while (scope != SCOPE_TOP && strcmp(config_scope_name(scope), name) != 0)
        scope--;
    return scope;
}

static int read_root(struct config_work *work, const config_setting_t *root)
{
    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
        enum config_scope scope = scope_named(config_setting_name(setting));
        const struct config_row *row = config_row_find(SCOPE_TOP, config_setting_name(setting));
        struct errmsg why;
        int rc;

        if (scope != SCOPE_TOP) {
            rc = read_scope(work, setting, scope);
        } else if (row == NULL) {
            rc = unknown_key(work, setting, SCOPE_TOP);
        } else {
            *config_place(work, row, 0) = place_of(work, setting);
            rc = read_value(row, setting, work->config, &why);
            if (rc == ERR_INVALID)
                return config_fault(work, SCOPE_TOP, row, 0, "%s", why.text);
        }
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

static int parse(struct config_work *work, struct config_file *file)
{
    struct config_place place = {.file = work->config->source};

    if (config_read_string(&file->parsed, buf_head(&file->text)) == CONFIG_TRUE)
        return ERR_OK;
    if (config_error_file(&file->parsed) != NULL)
        place.file = config_error_file(&file->parsed);
    place.line = (unsigned)config_error_line(&file->parsed);
    return config_fault_at(work, place, "", "%s%s", config_error_text(&file->parsed),
                           strcmp(config_error_text(&file->parsed), "syntax error") == 0
                               ? " (strings, sizes and times stand in quotes: \"256M\")"
                               : "");
}

static struct config_file *open_file(struct config_work *work, const char *path)
{
    struct config_file *file = calloc(1, sizeof(*file));
    const char *slash = strrchr(path, '/');

    if (file == NULL)
        return NULL;
    config_init(&file->parsed);
    work->file = file;
    work->config->source = strdup(path);
    file->folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (work->config->source == NULL || file->folder == NULL)
        return NULL;
    config_set_include_dir(&file->parsed, file->folder);
    return file;
}

int config_file_read(struct config_work *work, const char *path)
{
    struct config_file *file = open_file(work, path);
    int rc;

    if (file == NULL)
        return ERR_NOMEM;
    rc = file_read(path, FILE_MAX_BYTES, &file->text, NULL, work->msg);
    if (rc == ERR_OK && strlen(buf_head(&file->text)) != buf_len(&file->text))
        rc = err_set(work->msg, ERR_INVALID, "%s: is no text: it has a NUL byte", path);
    if (rc == ERR_OK)
        rc = check_numbers(work, buf_head(&file->text));
    if (rc == ERR_OK)
        rc = parse(work, file);
    if (rc == ERR_OK)
        rc = read_root(work, config_root_setting(&file->parsed));
    return rc;
}

void config_file_close(struct config_file *file)
{
    if (file == NULL)
        return;
    config_destroy(&file->parsed);
    buf_fini(&file->text);
    free(file->folder);
    free(file);
}
