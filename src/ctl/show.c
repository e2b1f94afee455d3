#include "ctl/show.h"

#include <string.h>

#define CELL_BYTES 64
#define COLUMNS    13

enum format { FORMAT_COUNT, FORMAT_BYTES, FORMAT_RATE };

struct column {
    const char *title;
    const char *key, *inner; /* stats[key], or stats[key][inner] */
    enum format format;
};

static const struct column columns[COLUMNS - 1] = {
    {"hits", "hits", NULL, FORMAT_COUNT},           {"misses", "misses", NULL, FORMAT_COUNT},
    {"hit_rate", "hit_rate", NULL, FORMAT_RATE},    {"puts", "puts", NULL, FORMAT_COUNT},
    {"deletes", "deletes", NULL, FORMAT_COUNT},     {"entries", "entries", NULL, FORMAT_COUNT},
    {"used", "bytes", NULL, FORMAT_BYTES},          {"size", "memory", "size_bytes", FORMAT_BYTES},
    {"evicted", "evictions", NULL, FORMAT_COUNT},   {"expired", "expirations", NULL, FORMAT_COUNT},
    {"fallbacks", "fallbacks", NULL, FORMAT_COUNT}, {"errors", "errors", NULL, FORMAT_COUNT},
};

static void format_bytes(double bytes, char *cell)
{
    static const char units[] = "BKMGT";
    int unit = 0;

    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(cell, CELL_BYTES, unit == 0 || bytes >= 100 ? "%.0f%c" : "%.1f%c", bytes, units[unit]);
}

static void format_cell(const json_t *value, enum format format, char *cell)
{
    if (!json_is_number(value))
        snprintf(cell, CELL_BYTES, "-");
    else if (format == FORMAT_BYTES)
        format_bytes(json_number_value(value), cell);
    else if (format == FORMAT_RATE)
        snprintf(cell, CELL_BYTES, "%.2f%%", 100 * json_number_value(value));
    else
        snprintf(cell, CELL_BYTES, "%lld", (long long)json_integer_value(value));
}

typedef char row_cells[COLUMNS][CELL_BYTES];

static void fill_titles(row_cells row)
{
    snprintf(row[0], CELL_BYTES, "cache");
    for (int i = 1; i < COLUMNS; i++)
        snprintf(row[i], CELL_BYTES, "%s", columns[i - 1].title);
}

static void fill_row(const char *name, const json_t *stats, row_cells row)
{
    snprintf(row[0], CELL_BYTES, "%s", name);
    for (int i = 1; i < COLUMNS; i++) {
        const struct column *column = &columns[i - 1];
        const json_t *value = json_object_get(stats, column->key);

        if (column->inner != NULL)
            value = json_object_get(value, column->inner);
        format_cell(value, column->format, row[i]);
    }
}

static void widen(int widths[COLUMNS], row_cells row)
{
    for (int i = 0; i < COLUMNS; i++) {
        int len = (int)strlen(row[i]);

        if (len > widths[i])
            widths[i] = len;
    }
}

static void print_row(const int widths[COLUMNS], row_cells row, FILE *out)
{
    fprintf(out, "%-*s", widths[0], row[0]);
    for (int i = 1; i < COLUMNS; i++)
        fprintf(out, "  %*s", widths[i], row[i]);
    fputc('\n', out);
}

/* Twice over the caches: for the widths, then for the lines. */
static void print_table(const json_t *stats, FILE *out)
{
    json_t *caches = json_object_get(stats, "caches");
    const json_t *total = json_object_get(stats, "total");
    int widths[COLUMNS] = {0};
    row_cells row;
    const char *name;
    json_t *cache;

    fill_titles(row);
    widen(widths, row);
    fill_row("total", total, row);
    widen(widths, row);
    json_object_foreach (caches, name, cache) {
        fill_row(name, cache, row);
        widen(widths, row);
    }
    fill_titles(row);
    print_row(widths, row, out);
    json_object_foreach (caches, name, cache) {
        fill_row(name, cache, row);
        print_row(widths, row, out);
    }
    fill_row("total", total, row);
    print_row(widths, row, out);
}

static void print_uptime(long long seconds, FILE *out)
{
    if (seconds >= 86400)
        fprintf(out, "%lldd ", seconds / 86400);
    fprintf(out, "%02lld:%02lld:%02lld", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

static void print_workers(const json_t *workers, FILE *out)
{
    size_t serving = 0;
    long long connections = 0, requests = 0, restarts = 0;

    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        const char *state = json_string_value(json_object_get(worker, "state"));

        serving += state != NULL && strcmp(state, "serving") == 0;
        connections += json_integer_value(json_object_get(worker, "connections"));
        requests += json_integer_value(json_object_get(worker, "requests"));
        restarts += json_integer_value(json_object_get(worker, "restarts"));
    }
    fprintf(out, "workers  %zu of %zu serving, %lld connections, %lld requests, %lld restarts\n",
            serving, json_array_size(workers), connections, requests, restarts);
}

static void print_redis(const json_t *redis, FILE *out)
{
    const char *breaker = json_string_value(json_object_get(redis, "breaker"));

    if (!json_is_true(json_object_get(redis, "configured"))) {
        fprintf(out, "redis    none\n");
        return;
    }
    fprintf(out, "redis    breaker %s, %lld keys in the journal, invalidation %s\n",
            breaker == NULL ? "?" : breaker,
            (long long)json_integer_value(json_object_get(redis, "journal")),
            json_is_true(json_object_get(redis, "invalidation_confirmed")) ? "confirmed"
                                                                           : "not confirmed");
}

void show_daemon(const json_t *stats, FILE *out)
{
    const char *node = json_string_value(json_object_get(stats, "node_id"));

    fprintf(out, "node     %s, up ", node == NULL ? "?" : node);
    print_uptime((long long)json_integer_value(json_object_get(stats, "uptime_s")), out);
    fputc('\n', out);
    print_workers(json_object_get(stats, "workers"), out);
    print_redis(json_object_get(stats, "redis"), out);
    fputc('\n', out);
    print_table(stats, out);
}

static void print_figure(const char *prefix, const char *name, const json_t *value, FILE *out)
{
    char label[CELL_BYTES], cell[CELL_BYTES];
    enum format format = FORMAT_COUNT;

    if (json_is_string(value)) {
        fprintf(out, "%-22s %14s\n", name, json_string_value(value));
        return;
    }
    if (strcmp(name, "hit_rate") == 0)
        format = FORMAT_RATE;
    else if (strstr(name, "bytes") != NULL)
        format = FORMAT_BYTES;
    snprintf(label, sizeof(label), "%s%s", prefix, name);
    format_cell(value, format, cell);
    fprintf(out, "%-22s %14s\n", label, cell);
}

void show_cache(json_t *stats, FILE *out)
{
    const char *name, *inner_name;
    json_t *value, *inner;

    json_object_foreach (stats, name, value) {
        if (!json_is_object(value)) {
            print_figure("", name, value, out);
            continue;
        }
        json_object_foreach (value, inner_name, inner)
            print_figure("memory.", inner_name, inner, out);
    }
}
