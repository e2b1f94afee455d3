/* Values of the schema: text to struct and back, with their limits. */
#include "common/config_parts.h"
#include "common/units.h"

#include <stdlib.h>
#include <string.h>

static void *field(const struct config_row *row, void *base)
{
    return (char *)base + row->offset;
}

static const void *field_const(const struct config_row *row, const void *base)
{
    return (const char *)base + row->offset;
}

const char *config_type_hint(enum config_type type)
{
    static const char *const hints[] = {
        [CONFIG_STRING] = "a quoted string",
        [CONFIG_BOOL] = "true or false, without quotes",
        [CONFIG_INT] = "a whole number, without quotes",
        [CONFIG_SIZE] = "a quoted size with its unit, such as \"512\", \"64K\", \"256M\" or \"8G\"",
        [CONFIG_TIME] = "a quoted time with its unit, such as \"500ms\", \"10s\", \"5m\" or \"2h\"",
        [CONFIG_MODE] = "a quoted octal mode, such as \"0660\"",
        [CONFIG_ENUM] = "a quoted name",
        [CONFIG_STRINGS] = "a list of quoted strings, such as [ \"a\", \"b\" ]",
    };

    return hints[type];
}

void config_format_number(const struct config_row *row, int64_t value, char out[32])
{
    switch (row->type) {
    case CONFIG_SIZE:
        units_format_size((uint64_t)value, out);
        break;
    case CONFIG_TIME:
        units_format_time((uint64_t)value, out);
        break;
    case CONFIG_MODE:
        snprintf(out, 32, "%s%llo", value == 0 ? "" : "0", (unsigned long long)value);
        break;
    default:
        snprintf(out, 32, "%lld", (long long)value);
    }
}

/* "4M (4194304 bytes)", or "256 connections" where the number has no shorter form. */
static void describe_limit(const struct config_row *row, int64_t limit, char *out, size_t size)
{
    const char *unit = row->unit == NULL ? "" : row->unit;
    char text[32];

    config_format_number(row, limit, text);
    if (row->type == CONFIG_SIZE || row->type == CONFIG_TIME)
        snprintf(out, size, "%s (%lld %s)", text, (long long)limit, unit);
    else
        snprintf(out, size, "%s%s%s", text, unit[0] == '\0' ? "" : " ", unit);
}

static int check_range(const struct config_row *row, int64_t value, struct errmsg *why)
{
    char limit[96];
    char text[32];
    bool low = value < row->min;

    if (!low && value <= row->max)
        return ERR_OK;
    config_format_number(row, value, text);
    describe_limit(row, low ? row->min : row->max, limit, sizeof(limit));
    return err_set(why, ERR_INVALID, "%s is %s, %s", text,
                   low ? "below the minimum" : "above the maximum", limit);
}

int config_set_int(const struct config_row *row, void *base, int64_t value, struct errmsg *why)
{
    int rc = check_range(row, value, why);

    if (rc == ERR_OK)
        memcpy(field(row, base), &value, sizeof(value));
    return rc;
}

void config_set_bool(const struct config_row *row, void *base, bool value)
{
    memcpy(field(row, base), &value, sizeof(value));
}

static int set_mode(const struct config_row *row, void *base, const char *text, struct errmsg *why)
{
    uint32_t mode;

    if (units_parse_mode(text, &mode) != ERR_OK)
        return err_set(why, ERR_INVALID, "\"%s\" is no mode; write %s", text,
                       config_type_hint(CONFIG_MODE));
    memcpy(field(row, base), &mode, sizeof(mode));
    return ERR_OK;
}

/* The place of text in a list of names; -1 with the choices in why. */
static int find_choice(const struct config_row *row, const char *text, struct errmsg *why)
{
    char list[256] = "";
    size_t used = 0;
    int i;

    for (i = 0; row->choices[i] != NULL; i++)
        if (strcmp(row->choices[i], text) == 0)
            return i;
    for (i = 0; row->choices[i] != NULL && used < sizeof(list); i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\"%s\"", i == 0 ? "" : ", ",
                                 row->choices[i]);
    (void)err_set(why, ERR_INVALID, "\"%s\" is none of %s", text, list);
    return -1;
}

static int set_string(const struct config_row *row, void *base, const char *text,
                      struct errmsg *why)
{
    char **place = field(row, base);
    char *copy;

    if (row->choices != NULL && find_choice(row, text, why) < 0)
        return ERR_INVALID;
    copy = strdup(text);
    if (copy == NULL)
        return ERR_NOMEM;
    free(*place);
    *place = copy;
    return ERR_OK;
}

static int set_enum(const struct config_row *row, void *base, const char *text, struct errmsg *why)
{
    int choice = find_choice(row, text, why);

    if (choice < 0)
        return ERR_INVALID;
    memcpy(field(row, base), &choice, sizeof(choice));
    return ERR_OK;
}

static int set_number(const struct config_row *row, void *base, const char *text,
                      struct errmsg *why)
{
    uint64_t value = 0;
    int rc;

    if (row->type == CONFIG_SIZE)
        rc = units_parse_size(text, &value);
    else if (row->type == CONFIG_TIME)
        rc = units_parse_time(text, &value);
    else
        rc = units_parse_int(slice_cstr(text), (int64_t *)&value);
    if (rc != ERR_OK)
        return err_set(why, ERR_INVALID, "\"%s\" cannot be read; write %s", text,
                       config_type_hint(row->type));
    return config_set_int(row, base, (int64_t)value, why);
}

int config_set_text(const struct config_row *row, void *base, const char *text, struct errmsg *why)
{
    switch (row->type) {
    case CONFIG_STRING:
        return set_string(row, base, text, why);
    case CONFIG_BOOL:
        config_set_bool(row, base, strcmp(text, "true") == 0);
        return ERR_OK;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_TIME:
        return set_number(row, base, text, why);
    case CONFIG_MODE:
        return set_mode(row, base, text, why);
    case CONFIG_ENUM:
        return set_enum(row, base, text, why);
    case CONFIG_STRINGS:
        return text[0] == '\0' ? ERR_OK : config_add_string(row, base, text, why);
    }
    return ERR_INVALID;
}

int config_add_string(const struct config_row *row, void *base, const char *text,
                      struct errmsg *why)
{
    char **strings = field(row, base);
    size_t *count = (size_t *)(void *)((char *)base + row->count_offset);

    if (*count >= (size_t)row->max)
        return err_set(why, ERR_INVALID, "more than the maximum, %lld %s", (long long)row->max,
                       row->unit);
    strings[*count] = strdup(text);
    if (strings[*count] == NULL)
        return ERR_NOMEM;
    ++*count;
    return ERR_OK;
}

void config_print_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_strings(const struct config_row *row, const void *base, FILE *out)
{
    char *const *strings = field_const(row, base);
    size_t count;

    memcpy(&count, (const char *)base + row->count_offset, sizeof(count));
    fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        fputs(i == 0 ? " " : ", ", out);
        config_print_string(strings[i], out);
    }
    fputs(" ]", out);
}

static int64_t get_number(const struct config_row *row, const void *base)
{
    int64_t number;
    uint32_t mode;

    if (row->type == CONFIG_MODE) {
        memcpy(&mode, field_const(row, base), sizeof(mode));
        return mode;
    }
    memcpy(&number, field_const(row, base), sizeof(number));
    return number;
}

void config_print_value(const struct config_row *row, const void *base, FILE *out)
{
    const void *value = field_const(row, base);
    char text[32];

    switch (row->type) {
    case CONFIG_STRING:
        config_print_string(*(char *const *)value, out);
        break;
    case CONFIG_BOOL:
        fputs(*(const bool *)value ? "true" : "false", out);
        break;
    case CONFIG_ENUM:
        config_print_string(row->choices[*(const int *)value], out);
        break;
    case CONFIG_STRINGS:
        print_strings(row, base, out);
        break;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_TIME:
    case CONFIG_MODE:
        config_format_number(row, get_number(row, base), text);
        fprintf(out, row->type == CONFIG_INT ? "%s" : "\"%s\"", text);
        break;
    }
}

static void clear_value(const struct config_row *row, void *base)
{
    char **strings = field(row, base);
    size_t count;

    if (row->type == CONFIG_STRING) {
        free(strings[0]);
        strings[0] = NULL;
    } else if (row->type == CONFIG_STRINGS) {
        memcpy(&count, (char *)base + row->count_offset, sizeof(count));
        for (size_t i = 0; i < count; i++)
            free(strings[i]);
    }
}

void config_clear_values(enum config_scope scope, void *base)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    for (size_t i = 0; i < n_rows; i++)
        if (rows[i].scope == scope)
            clear_value(&rows[i], base);
}
