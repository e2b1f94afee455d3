/* cachetasticctl top: what is read most now, and what is largest. */
#define _GNU_SOURCE 1 /* memmem */
#include "common/clock.h"
#include "common/units.h"
#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOP_DEFAULT 10
#define TOP_MAX     1000
#define KEYS_MAX    200000 /* different keys counted while watching */
#define BATCH       "1000"
#define WAIT_MS     20 /* for the next event, before looking at the clock */

struct entry {
    char *key;
    size_t key_len;
    int64_t watched; /* reads seen while watching */
    int64_t reads;   /* as eviction knows: 7 = or more */
    int64_t bytes;
    int64_t left_ms; /* -1: for ever */
};

/* The n best so far, the best first. */
struct top {
    struct entry *entries;
    size_t n, max;
    bool (*before)(const struct entry *a, const struct entry *b);
};

static bool read_more(const struct entry *a, const struct entry *b)
{
    return a->watched != b->watched ? a->watched > b->watched : a->reads > b->reads;
}

static bool larger(const struct entry *a, const struct entry *b)
{
    return a->bytes > b->bytes;
}

/* Take a copy, if it is one of the best. */
static int offer(struct top *top, const struct entry *entry)
{
    struct entry own = *entry;
    size_t at = top->n;

    while (at > 0 && top->before(entry, &top->entries[at - 1]))
        at--;
    if (at == top->max)
        return STATUS_OK;
    own.key = malloc(entry->key_len + 1);
    if (own.key == NULL)
        return fail("no memory");
    memcpy(own.key, entry->key, entry->key_len);
    if (top->n == top->max)
        free(top->entries[--top->n].key);
    memmove(&top->entries[at + 1], &top->entries[at], (top->n - at) * sizeof(own));
    top->entries[at] = own;
    top->n++;
    return STATUS_OK;
}

static void top_fini(struct top *top)
{
    for (size_t i = 0; i < top->n; i++)
        free(top->entries[i].key);
    free(top->entries);
}

/* ---- counting reads ---- */

/* One event of the telemetry: of this cache, its key is counted. */
static void count_event(const struct resp_value *message, const char *cache, json_t *counts)
{
    struct slice text = message->items[message->n_items - 1].str;
    json_t *event = json_loadb(text.data, text.len, 0, NULL);
    json_t *about = json_object_get(event, "metadata");
    const char *key = json_string_value(json_object_get(about, "key"));
    const char *of = json_string_value(json_object_get(about, "cache"));

    if (key != NULL && of != NULL && strcmp(of, cache) == 0 &&
        (json_object_size(counts) < KEYS_MAX || json_object_get(counts, key) != NULL)) {
        json_int_t n = json_integer_value(json_object_get(counts, key));

        /* Without memory the count is one too low. */
        (void)json_object_set_new(counts, key, json_integer(n + 1));
    }
    json_decref(event);
}

/* Whether this is the last answer to UNSUBSCRIBE: nothing is subscribed any more. */
static bool is_last(const struct resp_value *reply)
{
    return reply->n_items == 3 && slice_eq(reply->items[0].str, SLICE_LIT("unsubscribe")) &&
           reply->items[2].integer == 0;
}

/* One message, if it is an event. */
static int receive(struct ctl *ctl, const char *cache, json_t *counts)
{
    struct errmsg msg = {.text = ""};
    int rc;

    resp_value_fini(&ctl->reply);
    rc = wire_receive(&ctl->wire, 0, &ctl->reply, &msg);
    if (rc != ERR_OK)
        return fail("%s", msg.text);
    if (ctl->reply.type == RESP_ERROR)
        return fail("%.*s", (int)ctl->reply.str.len, ctl->reply.str.data);
    if (ctl->reply.n_items != 3)
        return confused();
    if (ctl->reply.items[2].type == RESP_BULK)
        count_event(&ctl->reply, cache, counts);
    return STATUS_OK;
}

static int send_command(struct ctl *ctl, int argc, const struct slice *argv)
{
    struct errmsg msg = {.text = "no memory"};
    int rc = wire_add(&ctl->wire, argc, argv);

    if (rc == ERR_OK)
        rc = wire_send(&ctl->wire, &msg);
    return rc == ERR_OK ? STATUS_OK : fail("%s", msg.text);
}

static int watch(struct ctl *ctl, const char *cache, json_t *counts)
{
    const struct slice subscribe[] = {SLICE_LIT("SUBSCRIBE"), SLICE_LIT("cachetastic.cache.get"),
                                      SLICE_LIT("cachetastic.cache.fetch")};
    const struct slice unsubscribe[] = {SLICE_LIT("UNSUBSCRIBE")};
    uint64_t end_ms = clock_now_ms() + ctl->watch_ms;
    int status = send_command(ctl, 3, subscribe);

    while (status == STATUS_OK && clock_now_ms() < end_ms) {
        if (wire_readable(&ctl->wire, WAIT_MS))
            status = receive(ctl, cache, counts);
    }
    if (status == STATUS_OK)
        status = send_command(ctl, 1, unsubscribe);
    while (status == STATUS_OK && !is_last(&ctl->reply))
        status = receive(ctl, cache, counts);
    return status;
}

/* ---- every entry ---- */

static int64_t watched(const json_t *counts, const struct entry *entry)
{
    char *name = malloc(entry->key_len + 1);
    json_int_t n;

    if (name == NULL)
        return 0;
    memcpy(name, entry->key, entry->key_len);
    name[entry->key_len] = '\0';
    n = strlen(name) == entry->key_len ? json_integer_value(json_object_get(counts, name)) : 0;
    free(name);
    return n;
}

static int take(const struct resp_value *item, const json_t *counts, struct top *hottest,
                struct top *largest)
{
    struct entry entry;
    int status;

    if (item->type != RESP_ARRAY || item->n_items != 4 || item->items[0].type != RESP_BULK)
        return confused();
    entry.key = (char *)(uintptr_t)item->items[0].str.data;
    entry.key_len = item->items[0].str.len;
    entry.reads = item->items[1].integer;
    entry.bytes = item->items[2].integer;
    entry.left_ms = item->items[3].integer;
    entry.watched = watched(counts, &entry);
    status = offer(hottest, &entry);
    return status == STATUS_OK ? offer(largest, &entry) : status;
}

static int walk(struct ctl *ctl, const json_t *counts, struct top *hottest, struct top *largest)
{
    char cursor[24] = "0";

    do {
        const struct slice argv[] = {SLICE_LIT("CACHETASTIC.ENTRIES"), slice_cstr(cursor),
                                     SLICE_LIT("COUNT"), SLICE_LIT(BATCH)};
        int status = call(ctl, 4, argv);

        if (status != STATUS_OK)
            return status;
        if (ctl->reply.type != RESP_ARRAY || ctl->reply.n_items != 2 ||
            ctl->reply.items[0].str.len >= sizeof(cursor))
            return confused();
        for (size_t i = 0; status == STATUS_OK && i < ctl->reply.items[1].n_items; i++)
            status = take(&ctl->reply.items[1].items[i], counts, hottest, largest);
        if (status != STATUS_OK)
            return status;
        snprintf(cursor, sizeof(cursor), "%.*s", (int)ctl->reply.items[0].str.len,
                 ctl->reply.items[0].str.data);
    } while (strcmp(cursor, "0") != 0);
    return STATUS_OK;
}

/* ---- printing ---- */

static void print_key(const struct entry *entry)
{
    for (size_t i = 0; i < entry->key_len; i++) {
        unsigned char c = (unsigned char)entry->key[i];

        if (c < ' ' || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static void print_left(int64_t left_ms)
{
    if (left_ms < 0)
        printf("%10s  ", "-");
    else
        printf("%9.1fs  ", (double)left_ms / 1000);
}

static void print_table(const char *title, const struct top *top, double seconds)
{
    printf("%s\n%10s %5s %10s %10s  %s\n", title, "reads/s", "kept", "bytes", "expires", "key");
    for (size_t i = 0; i < top->n; i++) {
        const struct entry *entry = &top->entries[i];

        printf("%10.1f %4" PRId64 "%c %10" PRId64 " ",
               seconds > 0 ? (double)entry->watched / seconds : 0.0, entry->reads,
               entry->reads == 7 ? '+' : ' ', entry->bytes);
        print_left(entry->left_ms);
        print_key(entry);
    }
}

static json_t *entry_json(const struct entry *entry, double seconds)
{
    json_t *key = json_stringn(entry->key, entry->key_len);

    return json_pack("{s:o*, s:f, s:I, s:I, s:I}", "key", key, "reads_a_second",
                     seconds > 0 ? (double)entry->watched / seconds : 0.0, "reads_kept",
                     (json_int_t)entry->reads, "bytes", (json_int_t)entry->bytes, "expires_in_ms",
                     (json_int_t)entry->left_ms);
}

static json_t *table_json(const struct top *top, double seconds)
{
    json_t *list = json_array();

    for (size_t i = 0; i < top->n; i++) {
        if (json_array_append_new(list, entry_json(&top->entries[i], seconds)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int print(const struct ctl *ctl, const struct top *hottest, const struct top *largest)
{
    double seconds = (double)ctl->watch_ms / 1000;

    if (ctl->json)
        return print_json(json_pack("{s:o, s:o}", "hottest", table_json(hottest, seconds), "largest",
                                    table_json(largest, seconds)));
    print_table("read most", hottest, seconds);
    putchar('\n');
    print_table("largest", largest, seconds);
    return STATUS_OK;
}

/* The name of the cache that the connection is about. */
static int find_cache(struct ctl *ctl, char name[64])
{
    const struct slice argv[] = {SLICE_LIT("CLIENT"), SLICE_LIT("INFO")};
    int status = call(ctl, 2, argv);
    const char *at;

    if (status != STATUS_OK)
        return status;
    at = ctl->reply.type == RESP_BULK
             ? memmem(ctl->reply.str.data, ctl->reply.str.len, " cache=", 7)
             : NULL;
    if (at == NULL)
        return confused();
    snprintf(name, 64, "%.*s", (int)strcspn(at + 7, " \n"), at + 7);
    return STATUS_OK;
}

int cmd_top(struct ctl *ctl, int argc, char **args)
{
    struct top hottest = {.before = read_more}, largest = {.before = larger};
    json_t *counts = json_object();
    int64_t n = TOP_DEFAULT;
    char cache[64];
    int status;

    if (argc == 1 && (units_parse_int(slice_cstr(args[0]), &n) != ERR_OK || n < 1 || n > TOP_MAX)) {
        json_decref(counts);
        return fail("top takes a number from 1 to %d, not %s", TOP_MAX, args[0]);
    }
    hottest.max = largest.max = (size_t)n;
    hottest.entries = calloc((size_t)n + 1, sizeof(*hottest.entries));
    largest.entries = calloc((size_t)n + 1, sizeof(*largest.entries));
    status = counts != NULL && hottest.entries != NULL && largest.entries != NULL
                 ? find_cache(ctl, cache)
                 : fail("no memory");
    if (status == STATUS_OK && ctl->watch_ms > 0)
        status = watch(ctl, cache, counts);
    if (status == STATUS_OK)
        status = walk(ctl, counts, &hottest, &largest);
    if (status == STATUS_OK)
        status = print(ctl, &hottest, &largest);
    top_fini(&hottest);
    top_fini(&largest);
    json_decref(counts);
    return status;
}
