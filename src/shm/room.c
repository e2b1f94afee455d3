#include "shm/room.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

/* A version of control groups: where it is mounted, and what its files are called. */
struct hierarchy {
    const char *mount;
    const char *limit;
    const char *usage;
    const char *active; /* lines of memory.stat: files in memory, in all groups below */
    const char *inactive;
};

static const struct hierarchy unified = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                         "active_file", "inactive_file"};
static const struct hierarchy legacy = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                        "memory.usage_in_bytes", "total_active_file",
                                        "total_inactive_file"};

static bool read_number(const char *path, uint64_t *value)
{
    FILE *f = fopen(path, "re");
    unsigned long long number;
    bool found;

    if (f == NULL)
        return false;
    found = fscanf(f, "%llu", &number) == 1; /* "max" is none */
    fclose(f);
    *value = number;
    return found;
}

/* The number of the line "NAME NUMBER"; 0 when there is none. */
static uint64_t read_line(const char *path, const char *name)
{
    char line[256];
    size_t len = strlen(name);
    uint64_t value = 0;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return 0;
    while (value == 0 && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, len) == 0 && strchr(": ", line[len]) != NULL)
            value = strtoull(line + len + 1, NULL, 10);
    }
    fclose(f);
    return value;
}

static void bound(struct room *room, uint64_t bytes, const char *source)
{
    if (bytes >= room->bytes)
        return;
    room->bytes = bytes;
    snprintf(room->source, sizeof(room->source), "%s", source);
}

/* One group: its limit less what it uses and could not give back. */
static void bound_group(const char *root, const struct hierarchy *h, const char *group,
                        struct room *room)
{
    char path[PATH_BYTES], stat[PATH_BYTES];
    uint64_t limit, usage, files;

    snprintf(path, sizeof(path), "%s%s%s/%s", root, h->mount, group, h->usage);
    if (!read_number(path, &usage))
        return;
    snprintf(path, sizeof(path), "%s%s%s/%s", root, h->mount, group, h->limit);
    if (!read_number(path, &limit))
        return;
    snprintf(stat, sizeof(stat), "%s%s%s/memory.stat", root, h->mount, group);
    files = read_line(stat, h->active) + read_line(stat, h->inactive);
    usage -= files < usage ? files : usage;
    bound(room, limit > usage ? limit - usage : 0, path + strlen(root));
}

/* The group and all above it, up to the mount. */
static void bound_groups(const char *root, const struct hierarchy *h, char *group,
                         struct room *room)
{
    char *slash;

    if (strcmp(group, "/") == 0)
        group[0] = '\0';
    bound_group(root, h, group, room);
    while ((slash = strrchr(group, '/')) != NULL) {
        *slash = '\0';
        bound_group(root, h, group, room);
    }
}

/* Whether the comma-separated list has the word memory. */
static bool has_memory(const char *list)
{
    const char *at = strstr(list, "memory");

    return at != NULL && (at == list || at[-1] == ',') && (at[6] == '\0' || at[6] == ',');
}

/* Lines "NUMBER:CONTROLLERS:GROUP"; version 2 has the number 0 and no controllers. */
static void bound_all_groups(const char *root, struct room *room)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    FILE *f;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    f = fopen(path, "re");
    if (f == NULL)
        return;
    while (fgets(line, sizeof(line), f) != NULL) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        if (group == NULL)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0')
            bound_groups(root, &unified, group, room);
        else if (has_memory(controllers + 1))
            bound_groups(root, &legacy, group, room);
    }
    fclose(f);
}

void room_find(const char *root, struct room *room)
{
    char path[PATH_BYTES];
    uint64_t kib;

    *room = (struct room){.bytes = UINT64_MAX};
    snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    kib = read_line(path, "MemAvailable");
    if (kib != 0)
        bound(room, kib * 1024, "MemAvailable");
    bound_all_groups(root, room);
}

/* For people: whole units where it is exact, else one digit after the point, rounded down so that
 * the text never promises what is not there. */
static void format_bytes(uint64_t bytes, char out[32])
{
    static const char units[] = {'\0', 'K', 'M', 'G', 'T'};
    unsigned unit = 0;
    uint64_t tenths;

    while (unit + 1 < sizeof(units) && bytes >> (10 * (unit + 1)) != 0)
        unit++;
    if (unit == 0) {
        snprintf(out, 32, "%llu bytes", (unsigned long long)bytes);
        return;
    }
    tenths = (bytes >> (10 * (unit - 1))) * 10 / 1024;
    if (tenths % 10 == 0)
        snprintf(out, 32, "%llu%c", (unsigned long long)(tenths / 10), units[unit]);
    else
        snprintf(out, 32, "%llu.%llu%c", (unsigned long long)(tenths / 10),
                 (unsigned long long)(tenths % 10), units[unit]);
}

int room_check(const struct room *room, const struct room_ask *asks, size_t n, struct errmsg *msg)
{
    char names[256] = "", asked[32], there[32];
    uint64_t sum = 0;
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        sum += asks[i].bytes;
        if (len < sizeof(names))
            len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i > 0 ? ", " : "",
                                    asks[i].name);
    }
    if (sum <= room->bytes)
        return ERR_OK;
    format_bytes(sum, asked);
    format_bytes(room->bytes, there);
    return err_set(msg, ERR_NOMEM, "%s %s: asked %s%s, the machine has %s available (%s)",
                   n == 1 ? "cache" : "caches", names, asked, n == 1 ? "" : " together", there,
                   room->source);
}
