/* Printing: the effective configuration, the sample file, the manual's list of keys. */
#include "common/addr.h"
#include "common/config.h"

#include "common/config_parts.h"

#include <string.h>

#define SAMPLE_COLUMNS 96

static int finish(FILE *out)
{
    return fflush(out) != 0 || ferror(out) ? ERR_SYSTEM : ERR_OK;
}

/* Keys that a configuration would refuse, or change its meaning by, if they were written out. */
static bool is_left_out(const struct config_row *row, const void *base)
{
    if (row->scope == SCOPE_CACHES && strcmp(row->name, "redis_prefix") == 0)
        return !((const struct config_cache *)base)->redis_prefix_set;
    if (row->scope == SCOPE_USERS) /* a digest of a weak password is as good as the password */
        return strcmp(row->name, "password_sha256") == 0;
    if (row->scope != SCOPE_LISTEN)
        return false;
    return addr_unix_path(((const struct config_listener *)base)->address) == NULL &&
           (strcmp(row->name, "mode") == 0 || strcmp(row->name, "owner") == 0 ||
            strcmp(row->name, "group") == 0 || strcmp(row->name, "trust_users") == 0 ||
            strcmp(row->name, "trust_as") == 0);
}

static void dump_values(enum config_scope scope, const void *base, const char *indent, FILE *out)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].scope != scope || is_left_out(&rows[i], base))
            continue;
        fprintf(out, "%s%s = ", indent, rows[i].name);
        config_print_value(&rows[i], base, out);
        fputs(";\n", out);
    }
}

static void dump_element(enum config_scope scope, const void *base, bool last, FILE *out)
{
    fputs("    {\n", out);
    dump_values(scope, base, "        ", out);
    fputs(last ? "    }\n" : "    },\n", out);
}

static void dump_users(const struct config *config, FILE *out)
{
    if (config->n_users == 0)
        return;
    fputs("\nusers = (\n", out);
    for (size_t i = 0; i < config->n_users; i++) {
        if (config->users[i].password_sha256[0] != '\0')
            fprintf(out, "    # The password of %s is set; it is not shown.\n",
                    config->users[i].name);
        dump_element(SCOPE_USERS, &config->users[i], i + 1 == config->n_users, out);
    }
    fputs(");\n", out);
}

int config_dump(const struct config *config, FILE *out)
{
    dump_values(SCOPE_TOP, config, "", out);
    if (config->api_token != NULL)
        fputs("# The API token is set; it is not shown.\n", out);
    fputs("\nlimits = {\n", out);
    dump_values(SCOPE_LIMITS, &config->limits, "    ", out);
    fputs("};\n\nredis = {\n", out);
    dump_values(SCOPE_REDIS, &config->redis, "    ", out);
    if (config->redis.password != NULL)
        fputs("    # The password is set; it is not shown.\n", out);
    fputs("};\n\nlisten = (\n", out);
    for (size_t i = 0; i < config->n_listeners; i++)
        dump_element(SCOPE_LISTEN, &config->listeners[i], i + 1 == config->n_listeners, out);
    fputs(");\n\ncaches = (\n", out);
    for (size_t i = 0; i < config->n_caches; i++)
        dump_element(SCOPE_CACHES, &config->caches[i], i + 1 == config->n_caches, out);
    fputs(");\n\nroutes = (\n", out);
    for (size_t i = 0; i < config->n_routes; i++)
        dump_element(SCOPE_ROUTES, &config->routes[i], i + 1 == config->n_routes, out);
    fputs(");\n", out);
    dump_users(config, out);
    return finish(out);
}

/* "Size, 4M to 1T." for people: what may be written, and between which limits. */
static void print_kind(const struct config_row *row, FILE *out)
{
    static const char *const kinds[] = {
        [CONFIG_STRING] = "String", [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "Number",    [CONFIG_SIZE] = "Size",
        [CONFIG_TIME] = "Time",     [CONFIG_MODE] = "Octal mode",
        [CONFIG_ENUM] = "String",   [CONFIG_STRINGS] = "List of strings",
    };
    char low[32];
    char high[32];

    fputs(kinds[row->type], out);
    if (row->type == CONFIG_INT || row->type == CONFIG_SIZE || row->type == CONFIG_TIME) {
        config_format_number(row, row->min, low);
        config_format_number(row, row->max, high);
        fprintf(out, ", %s to %s", low, high);
    }
    if (row->type == CONFIG_INT && row->unit != NULL)
        fprintf(out, " %s", row->unit);
    for (size_t i = 0; row->choices != NULL && row->choices[i] != NULL; i++)
        fprintf(out, "%s\"%s\"", i == 0 ? ": " : ", ", row->choices[i]);
    if (row->type == CONFIG_STRINGS)
        fprintf(out, ", at most %lld", (long long)row->max);
}

/* A value given as text, as the file would write it. */
static void print_literal(const struct config_row *row, const char *text, FILE *out)
{
    if (row->type == CONFIG_STRINGS && text[0] == '\0')
        fputs("[ ]", out);
    else if (row->type == CONFIG_STRINGS)
        fprintf(out, "[ \"%s\" ]", text);
    else if (row->type == CONFIG_INT || row->type == CONFIG_BOOL)
        fputs(text, out);
    else
        config_print_string(text, out);
}

/* The text as a comment, broken between words. */
static void print_comment(const char *text, const char *indent, FILE *out)
{
    size_t room = SAMPLE_COLUMNS - strlen(indent) - 2;

    while (*text != '\0') {
        size_t len = strlen(text);

        if (len > room)
            for (len = room; text[len] != ' '; len--)
                ;
        fprintf(out, "%s# %.*s\n", indent, (int)len, text);
        text += len + strspn(text + len, " ");
    }
}

static void sample_rows(enum config_scope scope, const char *indent, FILE *out)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    for (size_t i = 0; i < n_rows; i++) {
        const struct config_row *row = &rows[i];

        if (row->scope != scope)
            continue;
        print_comment(row->text, indent, out);
        fprintf(out, "%s# ", indent);
        print_kind(row, out);
        fputs(".\n", out);
        fprintf(out, "%s#%s = ", indent, row->name);
        print_literal(row, row->example != NULL ? row->example : row->fallback, out);
        fputs(";\n\n", out);
    }
}

int config_print_sample(FILE *out)
{
    fputs(
        "# The configuration of cachetastic: every key with its default. See cachetastic.conf(5).\n"
        "#\n"
        "# A line that begins with a # and a space explains; one without the space is a setting,\n"
        "# switched off. Sizes (\"64K\", \"256M\", \"8G\"), times (\"500ms\", \"10s\", \"5m\", "
        "\"2h\") and\n"
        "# modes (\"0660\") stand in quotes. cachetastic -t -c FILE checks a file.\n\n",
        out);
    sample_rows(SCOPE_TOP, "", out);
    fputs("# What clients may use.\n#limits = {\n", out);
    sample_rows(SCOPE_LIMITS, "    ", out);
    fputs("#};\n\n# The Redis behind the caches.\n#redis = {\n", out);
    sample_rows(SCOPE_REDIS, "    ", out);
    fputs(
        "#};\n\n# Where to listen. Without this list: the two listeners shown here.\n#listen = (\n"
        "    #{\n",
        out);
    sample_rows(SCOPE_LISTEN, "        ", out);
    fputs("    #},\n    #{\n        #address = \"127.0.0.1:8080\";\n"
          "        #protocol = \"http\";\n    #}\n#);\n\n",
          out);
    fputs("# The named caches. One called \"default\" is always there. An empty redis_prefix, and "
          "one\n"
          "# that is not given, are not the same: see there.\n#caches = (\n    #{\n",
          out);
    sample_rows(SCOPE_CACHES, "        ", out);
    fputs("    #}\n#);\n\n# The site: which requests go to which origin, and how they are cached. "
          "With this list the\n# HTTP listeners without admin = true serve the site alone. The "
          "first route that fits counts.\n#routes = (\n    #{\n",
          out);
    sample_rows(SCOPE_ROUTES, "        ", out);
    fputs("    #}\n#);\n\n# Who may log in. Without this list nobody has to.\n#users = (\n    #{\n",
          out);
    sample_rows(SCOPE_USERS, "        ", out);
    fputs("    #}\n#);\n", out);
    return finish(out);
}

/* Text for mdoc: a sentence a line (mdoc's own rule), nothing taken for a request or an escape. */
static void print_mdoc(const char *text, FILE *out)
{
    for (const char *p = text; *p != '\0'; p++) {
        bool at_start = p == text || p[-1] == '\n';

        if (at_start && (*p == '.' || *p == '\''))
            fputs("\\&", out);
        if (*p == '\\')
            fputs("\\e", out);
        else if (*p == '-')
            fputs("\\-", out);
        else if (*p == ' ' && p > text && p[-1] == '.')
            fputc('\n', out);
        else
            fputc(*p, out);
    }
    fputc('\n', out);
}

static void manual_rows(enum config_scope scope, FILE *out)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < n_rows; i++) {
        const struct config_row *row = &rows[i];

        if (row->scope != scope)
            continue;
        fprintf(out, ".It Ic %s\n", row->name);
        print_mdoc(row->text, out);
        print_kind(row, out);
        if (row->fallback != NULL) {
            fputs("; default ", out);
            print_literal(row, row->fallback, out);
        }
        fputs(row->reloadable ? ".\nApplied by HUP.\n" : ".\n", out);
    }
    fputs(".El\n", out);
}

int config_print_manual(FILE *out)
{
    /* No word here may be the name of an mdoc macro: "In" and "At" are. */
    static const char *const titles[] = {
        [SCOPE_TOP] = "Top of the file",
        [SCOPE_LIMITS] = "Group limits: what clients may use",
        [SCOPE_REDIS] = "Group redis: the Redis behind the caches",
        [SCOPE_LISTEN] = "List listen: where to listen",
        [SCOPE_CACHES] = "List caches: the named caches",
        [SCOPE_ROUTES] = "List routes: the site behind the HTTP cache",
        [SCOPE_USERS] = "List users: who may log in",
    };

    for (enum config_scope scope = SCOPE_TOP; scope <= SCOPE_LAST; scope++) {
        fprintf(out, ".Ss %s\n", titles[scope]);
        manual_rows(scope, out);
    }
    return finish(out);
}
