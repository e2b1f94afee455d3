/* CACHETASTIC.FETCH, FILL, FAIL: one computation a key, for clients (design section 6).
 *
 * FETCH answers an array of four: a word, the value, a token, milliseconds.
 *
 *   HIT    the value, and how long it still counts (-1: no expiry)
 *   STALE  the value, past its expiry; 0
 *   MISS   no value; 0
 *   BUSY   no value: another computes it, or failed lately; when to ask again (0: unknown)
 *
 * A token that is not nil is a lease: the caller is to compute the value (the next one, where it
 * got one), and to end the lease by FILL or FAIL.
 */
#include "worker/command.h"

#include "common/clock.h"
#include "common/units.h"
#include "shm/table.h"
#include "worker/holding.h"

/* An expiry in ms beyond this would overflow somewhere. */
#define EXPIRY_MAX_MS (INT64_MAX / 4000)

static const struct config_limits *limits_of(const struct call *call)
{
    return &call->conn->worker->heritage->config->limits;
}

/* ---- arguments ---- */

/* The number after the option at argv[*at], which moves on to it. key: the limit's, for the error.
 * False: an error was answered. */
static bool take_ms(struct call *call, int *at, uint64_t min, uint64_t max, const char *key,
                    uint64_t *ms)
{
    struct slice name = call->argv[*at];
    int64_t number = -1;

    if (++*at < call->argc && units_parse_int(call->argv[*at], &number) == ERR_OK &&
        number >= (int64_t)min && (uint64_t)number <= max) {
        *ms = (uint64_t)number;
        return true;
    }
    reply_error(call->out, "ERR %.*s takes %llu to %llu ms%s%s%s", (int)name.len, name.data,
                (unsigned long long)min, (unsigned long long)max, key[0] == '\0' ? "" : " (", key,
                key[0] == '\0' ? "" : ")");
    return false;
}

static bool take_beta(struct call *call, int *at, double *beta)
{
    if (++*at < call->argc && cache_beta_parse(call->argv[*at], beta))
        return true;
    reply_error(call->out, "ERR BETA takes a number, 0 to %d", CACHE_BETA_MAX);
    return false;
}

bool command_tags(struct call *call, int *at, struct cache_attrs *attrs)
{
    int64_t n = 0;
    int first = *at + 2;

    if (*at + 1 >= call->argc || units_parse_int(call->argv[*at + 1], &n) != ERR_OK || n < 1 ||
        n > TABLE_TAGS_MAX || n > call->argc - first) {
        reply_error(call->out, "ERR TAGS takes a number, 1 to %d, and as many tags",
                    TABLE_TAGS_MAX);
        return false;
    }
    attrs->tags = call->argv + first;
    attrs->n_tags = (unsigned)n;
    *at = first + (int)n - 1;
    return true;
}

static bool take_token(struct call *call, uint64_t *token)
{
    if (cache_token_parse(call->argv[2], token))
        return true;
    reply_error(call->out, "ERR that is no token of CACHETASTIC.FETCH");
    return false;
}

/* The options of FETCH, from argv[2] on. */
static bool parse_fetch(struct call *call, struct cache_fetch *how)
{
    const struct config_limits *limits = limits_of(call);

    *how = cache_fetch_default(call->cache);
    for (int i = 2; i < call->argc; i++) {
        bool ok;

        if (slice_ieq(call->argv[i], "WAIT"))
            ok = take_ms(call, &i, 0, limits->fetch_wait_ms, "limits.fetch_wait", &how->wait_ms);
        else if (slice_ieq(call->argv[i], "LEASE"))
            ok = take_ms(call, &i, 1, limits->fetch_lease_ms, "limits.fetch_lease", &how->lease_ms);
        else if (slice_ieq(call->argv[i], "STALE"))
            ok = take_ms(call, &i, 0, limits->fetch_stale_ms, "limits.fetch_stale", &how->stale_ms);
        else if (slice_ieq(call->argv[i], "BETA"))
            ok = take_beta(call, &i, &how->beta);
        else {
            reply_error(call->out, "ERR syntax error: CACHETASTIC.FETCH key [WAIT ms] [LEASE ms] "
                                   "[BETA b] [STALE ms]");
            return false;
        }
        if (!ok)
            return false;
    }
    return true;
}

/* ---- the reply of FETCH ---- */

/* Takes the value into the reply's second place. */
struct fetch_sink {
    struct cache_sink sink;
    struct buf *out;
    size_t mark; /* content of out before the reply */
    bool placed;
};

static char *place_value(struct cache_sink *sink, const struct cache_info *info)
{
    struct fetch_sink *into = (struct fetch_sink *)(void *)sink;
    char *place;

    buf_truncate(into->out, into->mark); /* an overtaken copy begins anew */
    into->placed = false;
    (void)!resp_array(into->out, 4);
    reply_bulk(into->out, info->stale ? SLICE_LIT("STALE") : SLICE_LIT("HIT"));
    if (resp_bulk_header(into->out, info->value_len) != ERR_OK)
        return NULL;
    place = buf_reserve(into->out, info->value_len + 2);
    if (place == NULL)
        return NULL;
    memcpy(place + info->value_len, "\r\n", 2);
    buf_commit(into->out, info->value_len + 2);
    into->placed = true;
    return place;
}

static void reply_lease(struct buf *out, uint64_t token, int64_t ms, int version)
{
    char text[CACHE_TOKEN_LEN + 1];

    if (token == 0) {
        reply_null(out, version);
    } else {
        cache_token_text(token, text);
        reply_bulk(out, slice_cstr(text));
    }
    reply_integer(out, ms);
}

static int64_t remaining_ms(const struct cache_info *info)
{
    uint64_t now_ms = clock_now_ms();

    if (info->stale)
        return 0;
    if (info->expires_ms == 0)
        return -1;
    return info->expires_ms > now_ms ? (int64_t)(info->expires_ms - now_ms) : 0;
}

struct fetching {
    struct parked parked;
    struct cache_op op;
    struct fetch_sink sink;
    struct cache *cache;
    uint64_t lease_ms;
    int version;
    size_t key_len;
    char key[];
};

static void refuse_more(struct buf *out)
{
    reply_error(out, "ERR this connection holds as many leases as it may (limits.leases): fill or "
                     "fail some");
}

/* The lease becomes the connection's; conn NULL: it is gone. */
static int hold(struct conn *conn, struct cache *cache, struct slice key, uint64_t token,
                uint64_t lease_ms)
{
    if (conn == NULL)
        return ERR_DOWN;
    return holding_add(conn, cache, key, token, clock_now_ms() + lease_ms);
}

/* What the fetch led to, as a reply; the lease, if any, is the connection's. */
static void answer_fetch(struct fetch_sink *sink, struct outcome *outcome)
{
    const struct cache_info *info = outcome->info;
    struct buf *out = outcome->out;

    if (outcome->status == CACHE_OK && !sink->placed)
        outcome->status = CACHE_NOMEM;
    if (outcome->status != CACHE_OK)
        buf_truncate(out, sink->mark);
    switch (outcome->status) {
    case CACHE_OK:
        reply_lease(out, info->lease, remaining_ms(info), outcome->version);
        return;
    case CACHE_MISS:
    case CACHE_BUSY:
        (void)!resp_array(out, 4);
        reply_bulk(out, outcome->status == CACHE_MISS ? SLICE_LIT("MISS") : SLICE_LIT("BUSY"));
        reply_null(out, outcome->version);
        reply_lease(out, info->lease, (int64_t)info->retry_ms, outcome->version);
        return;
    default:
        reply_failure(outcome);
    }
}

/* Answer, once the connection holds the lease; a lease that it cannot hold is given back. */
static void settle(struct fetch_sink *sink, struct outcome *outcome, struct conn *conn,
                   struct slice key, uint64_t lease_ms)
{
    uint64_t token = is_failure(outcome->status) ? 0 : outcome->info->lease;
    int err = token == 0 ? ERR_OK : hold(conn, outcome->cache, key, token, lease_ms);

    if (err == ERR_OK) {
        answer_fetch(sink, outcome);
        return;
    }
    (void)cache_fail(outcome->cache, key, token, 0, NULL);
    buf_truncate(outcome->out, sink->mark);
    if (err == ERR_LIMIT)
        refuse_more(outcome->out);
    else
        reply_error(outcome->out, "ERR out of memory");
}

static void fetch_done(struct cache_op *op, enum cache_status status)
{
    struct fetching *fetching = LIST_ENTRY(op, struct fetching, op);
    struct request *request = &fetching->parked.request;
    struct outcome outcome = {.status = status,
                              .cache = fetching->cache,
                              .out = &request->reply,
                              .version = fetching->version,
                              .info = &op->info,
                              .error = op->error};

    settle(&fetching->sink, &outcome, request->conn, slice_make(fetching->key, fetching->key_len),
           fetching->lease_ms);
    request_finish(request);
}

static void fetch_parked(struct call *call, const struct cache_fetch *how)
{
    struct slice key = call->argv[1];
    struct fetching *fetching = park(call, sizeof(*fetching) + key.len);
    enum cache_status status;

    if (fetching == NULL)
        return;
    fetching->op.done = fetch_done;
    fetching->cache = call->cache;
    fetching->lease_ms = how->lease_ms;
    fetching->version = call->session->version;
    fetching->key_len = key.len;
    memcpy(fetching->key, key.data, key.len);
    fetching->sink =
        (struct fetch_sink){.sink = {.place = place_value}, .out = &fetching->parked.request.reply};
    status =
        cache_fetch(call->cache, key, how, &fetching->sink.sink, &fetching->op, &fetching->op.info);
    if (status != CACHE_PENDING)
        fetch_done(&fetching->op, status);
}

void cmd_fetch(struct call *call)
{
    struct fetch_sink sink = {.sink = {.place = place_value}, .out = call->out, .mark = buf_len(call->out)};
    struct cache_info info = {0};
    struct outcome outcome = {
        .cache = call->cache, .out = call->out, .info = &info, .version = call->session->version};
    struct cache_fetch how;

    if (!parse_fetch(call, &how))
        return;
    if (!holding_room(call->conn)) {
        refuse_more(call->out);
        return;
    }
    outcome.status = cache_fetch(call->cache, call->argv[1], &how, &sink.sink, NULL, &info);
    if (outcome.status == CACHE_WAIT) {
        buf_truncate(call->out, sink.mark);
        fetch_parked(call, &how);
        return;
    }
    settle(&sink, &outcome, call->conn, call->argv[1], how.lease_ms);
}

/* ---- FILL, FAIL ---- */

/* The options of FILL, from argv[4] on. */
static bool parse_fill(struct call *call, struct cache_attrs *attrs)
{
    for (int i = 4; i < call->argc; i++) {
        uint64_t ms = 0;

        if (slice_ieq(call->argv[i], "PX")) {
            if (!take_ms(call, &i, 1, EXPIRY_MAX_MS, "", &ms))
                return false;
            attrs->expires_ms = clock_now_ms() + ms;
        } else if (slice_ieq(call->argv[i], "STALE")) {
            if (!take_ms(call, &i, 0, limits_of(call)->fetch_stale_ms, "limits.fetch_stale", &ms))
                return false;
            attrs->stale_ms = (uint32_t)ms;
        } else if (slice_ieq(call->argv[i], "TAGS")) {
            if (!command_tags(call, &i, attrs))
                return false;
        } else {
            reply_error(call->out, "ERR syntax error: CACHETASTIC.FILL key token value [PX ms] "
                                   "[STALE ms] [TAGS n tag ...]");
            return false;
        }
    }
    return true;
}

void cmd_fill(struct call *call)
{
    struct step step = {.kind = STEP_FILL, .key = call->argv[1], .value = call->argv[3]};

    if (!take_token(call, &step.token) || !parse_fill(call, &step.attrs))
        return;
    holding_end(call->conn->worker, step.token);
    operate(call, &step, answer_one_or_zero);
}

void cmd_fail(struct call *call)
{
    struct step step = {.kind = STEP_FAIL, .key = call->argv[1]};
    int at = 3;

    if (!take_token(call, &step.token))
        return;
    if (call->argc > 3 && (call->argc != 5 || !slice_ieq(call->argv[3], "RETRY"))) {
        reply_error(call->out, "ERR syntax error: CACHETASTIC.FAIL key token [RETRY ms]");
        return;
    }
    if (call->argc == 5 && !take_ms(call, &at, 0, limits_of(call)->fetch_lease_ms,
                                    "limits.fetch_lease", &step.retry_ms))
        return;
    holding_end(call->conn->worker, step.token);
    operate(call, &step, answer_ok);
}
