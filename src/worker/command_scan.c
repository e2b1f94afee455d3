/* SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB: what goes over a whole keyspace.
 *
 * SCAN's cursor is the place in the index (table_walk_step()): the server keeps nothing. KEYS and
 * what else must see every key is done some chains a turn, so that others are served meanwhile.
 */
#include "worker/command.h"

#include "common/clock.h"
#include "common/glob.h"
#include "common/units.h"
#include "shm/table.h"
#include "worker/keyspace.h"

#include <stdio.h>
#include <stdlib.h>

#define SYNTAX_ERROR    "ERR syntax error"
#define SCAN_COUNT      10
#define SCAN_COUNT_MAX  100000 /* entries looked at by one SCAN, whatever COUNT says */
#define SCAN_CHAINS     4096   /* chains looked into by one SCAN */
#define CHAINS_PER_TURN 2048

/* ---- keys found so far ---- */

struct found {
    const struct resp_session *session;
    struct slice pattern; /* data NULL: every key */
    bool none;            /* TYPE of something that no key here is */
    bool figures;         /* an array for each: the key, reads, bytes, ms to live */
    uint64_t now_ms;
    struct buf keys;      /* bulk strings, or those arrays */
    size_t n;             /* of them */
    size_t seen;          /* entries, of this keyspace or not */
    int status;
};

/* What CACHETASTIC.ENTRIES says of one. */
static int add_figures(struct found *found, struct slice key, const struct table_hit *hit)
{
    int64_t left = hit->expires_ms == 0              ? -1
                   : hit->expires_ms > found->now_ms ? (int64_t)(hit->expires_ms - found->now_ms)
                                                     : 0;

    if (resp_array(&found->keys, 4) != ERR_OK || resp_bulk(&found->keys, key) != ERR_OK ||
        resp_integer(&found->keys, hit->reads) != ERR_OK ||
        resp_integer(&found->keys, (int64_t)hit->value_len) != ERR_OK)
        return ERR_NOMEM;
    return resp_integer(&found->keys, left);
}

static void take_key(void *arg, struct slice stored, const struct table_hit *hit)
{
    struct found *found = arg;
    struct slice key;

    found->seen++;
    if (found->none || !keyspace_leave(found->session, stored, &key) ||
        (found->pattern.data != NULL && !glob_match(found->pattern, key)))
        return;
    if ((found->figures ? add_figures(found, key, hit) : resp_bulk(&found->keys, key)) == ERR_OK)
        found->n++;
    else
        found->status = ERR_NOMEM;
}

static void reply_found(struct buf *out, const struct found *found)
{
    if (found->status != ERR_OK) {
        reply_error(out, "ERR out of memory");
        return;
    }
    (void)!resp_array(out, found->n);
    if (found->n > 0)
        (void)!buf_append(out, buf_head(&found->keys), buf_len(&found->keys));
}

/* ---- SCAN ---- */

struct scan_options {
    uint64_t cursor;
    int64_t count;
};

static bool parse_cursor(struct call *call, uint64_t *cursor)
{
    int64_t number;

    if (units_parse_int(call->argv[1], &number) != ERR_OK || number < 0 ||
        (uint64_t)number >= TABLE_CURSOR_END) {
        reply_error(call->out, "ERR invalid cursor");
        return false;
    }
    *cursor = (uint64_t)number;
    return true;
}

static bool parse_scan(struct call *call, struct scan_options *options, struct found *found)
{
    if (!parse_cursor(call, &options->cursor))
        return false;
    options->count = SCAN_COUNT;
    for (int i = 2; i < call->argc; i += 2) {
        if (i + 1 == call->argc) {
            reply_error(call->out, SYNTAX_ERROR);
            return false;
        }
        if (slice_ieq(call->argv[i], "MATCH")) {
            found->pattern = call->argv[i + 1];
        } else if (slice_ieq(call->argv[i], "TYPE")) {
            found->none = !slice_ieq(call->argv[i + 1], "string");
        } else if (!slice_ieq(call->argv[i], "COUNT")) {
            reply_error(call->out, SYNTAX_ERROR);
            return false;
        } else if (units_parse_int(call->argv[i + 1], &options->count) != ERR_OK) {
            reply_error(call->out, "ERR value is not an integer or out of range");
            return false;
        } else if (options->count < 1) {
            reply_error(call->out, SYNTAX_ERROR);
            return false;
        }
    }
    if (options->count > SCAN_COUNT_MAX)
        options->count = SCAN_COUNT_MAX;
    return true;
}

static void reply_scan(struct call *call, uint64_t cursor, const struct found *found)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu",
             (unsigned long long)(cursor == TABLE_CURSOR_END ? 0 : cursor));
    (void)!resp_array(call->out, 2);
    reply_bulk(call->out, slice_cstr(text));
    reply_found(call->out, found);
}

static void scan(struct call *call, bool figures)
{
    struct zone *zone = cache_zone(call->cache);
    uint64_t now_ms = clock_now_ms();
    struct found found = {.session = call->session, .figures = figures, .now_ms = now_ms};
    struct scan_options options;
    uint64_t cursor;
    bool busy = false;

    if (!parse_scan(call, &options, &found))
        return;
    cursor = options.cursor;
    for (unsigned i = 0; i < SCAN_CHAINS && found.seen < (size_t)options.count && !busy &&
                         cursor != TABLE_CURSOR_END;
         i++)
        busy = table_walk_step(zone, &cursor, now_ms, take_key, &found) == TABLE_BUSY;
    if (cursor == 0) /* a cursor of 0 would say that it was all */
        reply_status(call, CACHE_BUSY);
    else
        reply_scan(call, cursor, &found);
    buf_fini(&found.keys);
}

void cmd_scan(struct call *call)
{
    scan(call, false);
}

/* What shared memory holds of the cache, whatever is behind it: as SCAN, with figures. */
void cmd_entries(struct call *call)
{
    scan(call, true);
}

/* ---- a walk over everything, some chains a turn ---- */

enum walk_kind { WALK_KEYS, WALK_COUNT, WALK_ANY };

struct walk {
    struct parked parked;
    uv_timer_t timer;
    struct resp_session where; /* of the session, its cache and keyspace only */
    struct zone *zone;
    enum walk_kind kind;
    uint64_t cursor, start;
    bool wrapped; /* WALK_ANY: began in the middle, and has passed the end */
    uint64_t output_max;
    struct buf pattern;
    struct found found;
};

static void walk_freed(uv_handle_t *handle)
{
    struct walk *walk = handle->data;

    buf_fini(&walk->pattern);
    buf_fini(&walk->found.keys);
    free(walk);
}

static void free_walk(struct request *request)
{
    struct walk *walk = (struct walk *)(void *)request;

    uv_close((uv_handle_t *)&walk->timer, walk_freed);
}

/* The next place; false: everything has been seen. */
static bool walk_goes_on(struct walk *walk)
{
    if (walk->kind == WALK_ANY && walk->found.n > 0)
        return false;
    if (walk->cursor == TABLE_CURSOR_END) {
        if (walk->kind != WALK_ANY || walk->wrapped)
            return false;
        walk->wrapped = true;
        walk->cursor = 0;
    }
    return !walk->wrapped || walk->cursor <= walk->start;
}

static bool walk_some(struct walk *walk, unsigned chains)
{
    uint64_t now_ms = clock_now_ms();

    for (unsigned i = 0; i < chains; i++) {
        if (!walk_goes_on(walk))
            return false;
        if (table_walk_step(walk->zone, &walk->cursor, now_ms, take_key, &walk->found) ==
            TABLE_BUSY)
            return true; /* the next turn tries again */
        if (walk->kind == WALK_COUNT)
            buf_truncate(&walk->found.keys, 0);
        if (walk->found.status != ERR_OK || buf_len(&walk->found.keys) > walk->output_max)
            return false;
    }
    return true;
}

/* One of the keys that were found, by chance. */
static void reply_any(struct buf *out, const struct found *found, uint64_t chance, int version)
{
    struct slice rest = buf_slice(&found->keys);
    struct resp_value key;
    size_t used;

    for (uint64_t skip = found->n > 0 ? chance % found->n : 0;; skip--) {
        if (found->n == 0 || resp_parse_reply(rest, &key, &used) != PARSE_OK) {
            reply_null(out, version);
            return;
        }
        if (skip == 0)
            break;
        rest = slice_make(rest.data + used, rest.len - used);
    }
    reply_bulk(out, key.str);
}

static void walk_answer(struct walk *walk)
{
    struct buf *out = &walk->parked.request.reply;

    if (walk->found.status != ERR_OK)
        reply_error(out, "ERR out of memory");
    else if (walk->kind == WALK_COUNT)
        reply_integer(out, (int64_t)walk->found.n);
    else if (walk->kind == WALK_ANY)
        reply_any(out, &walk->found, walk->start, walk->where.version);
    else if (buf_len(&walk->found.keys) > walk->output_max)
        reply_error(out, "ERR the keys are more than limits.output (%llu bytes): use SCAN",
                    (unsigned long long)walk->output_max);
    else
        reply_found(out, &walk->found);
}

static void walk_turn(uv_timer_t *timer)
{
    struct walk *walk = timer->data;

    if (walk->parked.request.conn != NULL && walk_some(walk, CHAINS_PER_TURN))
        return;
    uv_timer_stop(timer);
    walk_answer(walk);
    request_finish(&walk->parked.request);
}

static void walk_start(struct call *call, enum walk_kind kind, struct slice pattern)
{
    struct walk *walk = park(call, sizeof(*walk));

    if (walk == NULL)
        return;
    walk->parked.request.free = free_walk;
    walk->where.cache = call->cache;
    walk->where.db = call->session->db;
    walk->where.version = call->session->version;
    walk->zone = cache_zone(call->cache);
    walk->kind = kind;
    walk->output_max = call->conn->worker->heritage->config->limits.output_bytes / 2;
    walk->found.session = &walk->where;
    if (pattern.data != NULL) {
        walk->found.status = buf_append(&walk->pattern, pattern.data, pattern.len);
        walk->found.pattern = buf_slice(&walk->pattern);
    }
    if (kind == WALK_ANY)
        walk->start = walk->cursor =
            (clock_now_ns() * UINT64_C(0x9e3779b97f4a7c15)) % TABLE_CURSOR_END;
    uv_timer_init(&call->conn->worker->loop, &walk->timer);
    walk->timer.data = walk;
    uv_timer_start(&walk->timer, walk_turn, 0, 1);
}

void cmd_keys(struct call *call)
{
    walk_start(call, WALK_KEYS, call->argv[1]);
}

void cmd_randomkey(struct call *call)
{
    walk_start(call, WALK_ANY, (struct slice){0});
}

/* ---- DBSIZE and the end of all keys ---- */

void cmd_dbsize(struct call *call)
{
    struct step step = {.kind = STEP_COUNT};

    if (cache_has_l2(call->cache) || keyspace_alone(call->session))
        operate(call, &step, answer_integer);
    else if (call->atomic) /* it walks, and nothing that takes long runs inside EXEC */
        reply_error(call->out,
                    "ERR DBSIZE of one of several keyspaces is not allowed inside a transaction");
    else
        walk_start(call, WALK_COUNT, (struct slice){0});
}

/* One keyspace of several in a cache: what matches is banned. */
static const struct slice own_keys[] = {
    {"[^\0]*", 5}, /* those that begin with no zero byte, */
    {"\0\0*", 3},  /* and those that are stored with one before them */
};

static void make_own(const struct call *call, size_t i, struct step *step)
{
    (void)call;
    step->kind = STEP_PURGE;
    step->key = own_keys[i];
}

static void make_numbered(const struct call *call, size_t i, struct step *step)
{
    static char pattern[KEYSPACE_PREFIX + 1];

    (void)i;
    pattern[1] = (char)call->session->db; /* config_schema.c keeps it below every special byte */
    pattern[2] = '*';
    step->kind = STEP_PURGE;
    step->key = slice_make(pattern, sizeof(pattern));
}

static bool flush_options(struct call *call)
{
    if (call->argc == 1 || (call->argc == 2 && (slice_ieq(call->argv[1], "ASYNC") ||
                                                slice_ieq(call->argv[1], "SYNC"))))
        return true;
    reply_error(call->out, SYNTAX_ERROR);
    return false;
}

void cmd_flushdb(struct call *call)
{
    struct step step = {.kind = STEP_CLEAR};

    if (!flush_options(call))
        return;
    if (call->session->db != 0)
        many(call, 1, make_numbered, MANY_OK);
    else if (cache_has_l2(call->cache) || keyspace_alone(call->session))
        operate(call, &step, answer_ok);
    else
        many(call, 2, make_own, MANY_OK);
}

/* All keyspaces of this cache; never another cache (design rule 9). */
void cmd_flushall(struct call *call)
{
    struct step step = {.kind = STEP_CLEAR};

    if (flush_options(call))
        operate(call, &step, answer_ok);
}
