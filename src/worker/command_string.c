/* GET, SET and their family. */
#include "worker/command.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/units.h"

#define SYNTAX_ERROR "ERR syntax error"
#define NOT_INTEGER  "ERR value is not an integer or out of range"

void cmd_get(struct call *call)
{
    struct step step = {.kind = STEP_GET, .key = call->argv[1]};

    operate(call, &step, answer_value);
}

static void make_get(const struct call *call, size_t i, struct step *step)
{
    step->kind = STEP_GET;
    step->key = call->argv[1 + i];
}

void cmd_mget(struct call *call)
{
    cache_prefetch(call->cache, call->argv + 1, (size_t)call->argc - 1);
    many(call, (size_t)call->argc - 1, make_get, MANY_VALUES);
}

static void answer_length(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else
        reply_integer(outcome->out,
                      outcome->status == CACHE_OK ? (int64_t)outcome->info->value_len : 0);
}

void cmd_strlen(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_length);
}

/* ---- expiry arguments ---- */

enum expiry_unit { EXPIRY_EX, EXPIRY_PX, EXPIRY_EXAT, EXPIRY_PXAT };

/* The boottime expiry that an option's number stands for. Answers with an error and returns false
 * when it is no positive number that fits. name: the command's, in lower case, for the error. */
static bool parse_expiry(struct call *call, enum expiry_unit unit, struct slice text,
                         const char *name, uint64_t *expires_ms)
{
    bool seconds = unit == EXPIRY_EX || unit == EXPIRY_EXAT;
    bool absolute = unit == EXPIRY_EXAT || unit == EXPIRY_PXAT;
    int64_t number;

    if (units_parse_int(text, &number) != ERR_OK) {
        reply_error(call->out, NOT_INTEGER);
        return false;
    }
    if (number <= 0 || number > INT64_MAX / 4000) {
        reply_error(call->out, "ERR invalid expire time in '%s' command", name);
        return false;
    }
    number *= seconds ? 1000 : 1;
    *expires_ms =
        absolute ? clock_from_wall_ms((uint64_t)number) : clock_now_ms() + (uint64_t)number;
    return true;
}

static bool expiry_option(struct slice arg, enum expiry_unit *unit)
{
    static const char *const names[] = {"EX", "PX", "EXAT", "PXAT"};

    for (int i = 0; i < 4; i++) {
        if (slice_ieq(arg, names[i])) {
            *unit = (enum expiry_unit)i;
            return true;
        }
    }
    return false;
}

/* ---- SET ---- */

struct set_options {
    uint64_t expires_ms;
    bool has_expiry, keep_ttl, get;
    struct cache_attrs tags; /* of it, the tags alone */
    enum cache_change_if when;
};

static bool set_flag(struct slice arg, struct set_options *options)
{
    if (slice_ieq(arg, "NX") && options->when != CHANGE_IF_PRESENT)
        options->when = CHANGE_IF_ABSENT;
    else if (slice_ieq(arg, "XX") && options->when != CHANGE_IF_ABSENT)
        options->when = CHANGE_IF_PRESENT;
    else if (slice_ieq(arg, "GET"))
        options->get = true;
    else if (slice_ieq(arg, "KEEPTTL") && !options->has_expiry)
        options->keep_ttl = true;
    else
        return false;
    return true;
}

/* Options from argv[3] on; false: an error was answered. */
static bool parse_set(struct call *call, struct set_options *options)
{
    for (int i = 3; i < call->argc; i++) {
        enum expiry_unit unit;

        if (expiry_option(call->argv[i], &unit)) {
            if (options->has_expiry || options->keep_ttl || i + 1 == call->argc) {
                reply_error(call->out, SYNTAX_ERROR);
                return false;
            }
            if (!parse_expiry(call, unit, call->argv[++i], "set", &options->expires_ms))
                return false;
            options->has_expiry = true;
        } else if (slice_ieq(call->argv[i], "TAGS")) {
            if (!command_tags(call, &i, &options->tags))
                return false;
        } else if (!set_flag(call->argv[i], options)) {
            reply_error(call->out, SYNTAX_ERROR);
            return false;
        }
    }
    return true;
}

static void put(struct call *call, struct slice key, struct slice value, uint64_t expires_ms)
{
    struct step step = {
        .kind = STEP_PUT, .key = key, .value = value, .attrs = {.expires_ms = expires_ms}};

    operate(call, &step, answer_ok);
}

void cmd_set(struct call *call)
{
    struct set_options options = {0};
    struct step step = {.kind = STEP_PUT, .key = call->argv[1], .value = call->argv[2]};

    if (!parse_set(call, &options))
        return;
    if (options.get && !command_may(call, AUTH_READ))
        return;
    step.attrs = options.tags;
    step.attrs.expires_ms = options.expires_ms;
    if (options.when == CHANGE_ALWAYS && !options.get && !options.keep_ttl) {
        operate(call, &step, answer_ok);
        return;
    }
    step.kind = STEP_CHANGE;
    step.bulk = options.get;
    step.change = (struct cache_change){.kind = CHANGE_SET,
                                        .when = options.when,
                                        .keep_ttl = options.keep_ttl,
                                        .want_old = options.get,
                                        .value = call->argv[2],
                                        .attrs = step.attrs};
    operate(call, &step, options.get ? answer_value : answer_ok_or_null);
}

static void set_with_expiry(struct call *call, enum expiry_unit unit, const char *name)
{
    uint64_t expires_ms;

    if (parse_expiry(call, unit, call->argv[2], name, &expires_ms))
        put(call, call->argv[1], call->argv[3], expires_ms);
}

void cmd_setex(struct call *call)
{
    set_with_expiry(call, EXPIRY_EX, "setex");
}

void cmd_psetex(struct call *call)
{
    set_with_expiry(call, EXPIRY_PX, "psetex");
}

static void make_set(const struct call *call, size_t i, struct step *step)
{
    step->kind = STEP_PUT;
    step->key = call->argv[1 + 2 * i];
    step->value = call->argv[2 + 2 * i];
}

static void mset_body(struct call *call)
{
    many(call, (size_t)call->argc / 2, make_set, MANY_OK);
}

void cmd_mset(struct call *call)
{
    if (call->argc % 2 == 0)
        reply_error(call->out, "ERR wrong number of arguments for 'mset' command");
    else if (cache_has_l2(call->cache) || call->argc == 3)
        mset_body(call);
    else
        atomically(call, mset_body); /* nobody sees some of them only */
}

static void change(struct call *call, const struct cache_change *change_, bool bulk,
                   reply_fn *reply)
{
    struct step step = {
        .kind = STEP_CHANGE, .key = call->argv[1], .change = *change_, .bulk = bulk};

    operate(call, &step, reply);
}

void cmd_setnx(struct call *call)
{
    struct cache_change set = {
        .kind = CHANGE_SET, .when = CHANGE_IF_ABSENT, .value = call->argv[2]};

    change(call, &set, false, answer_one_or_zero);
}

void cmd_getset(struct call *call)
{
    struct cache_change set = {.kind = CHANGE_SET, .want_old = true, .value = call->argv[2]};

    change(call, &set, true, answer_value);
}

void cmd_getdel(struct call *call)
{
    struct cache_change del = {.kind = CHANGE_DELETE, .want_old = true};

    change(call, &del, true, answer_value);
}

void cmd_getex(struct call *call)
{
    struct cache_change touch = {.kind = CHANGE_TOUCH, .want_old = true};
    enum expiry_unit unit;

    if (call->argc == 2) {
        cmd_get(call);
        return;
    }
    if (call->argc == 3 && slice_ieq(call->argv[2], "PERSIST")) {
        change(call, &touch, true, answer_value);
    } else if (call->argc == 4 && expiry_option(call->argv[2], &unit)) {
        if (parse_expiry(call, unit, call->argv[3], "getex", &touch.attrs.expires_ms))
            change(call, &touch, true, answer_value);
    } else {
        reply_error(call->out, SYNTAX_ERROR);
    }
}

void cmd_append(struct call *call)
{
    struct cache_change append = {.kind = CHANGE_APPEND, .value = call->argv[2]};

    change(call, &append, false, answer_integer);
}

static void add(struct call *call, int64_t delta)
{
    struct cache_change incr = {.kind = CHANGE_INCR, .delta = delta};

    change(call, &incr, false, answer_integer);
}

void cmd_incr(struct call *call)
{
    add(call, 1);
}

void cmd_decr(struct call *call)
{
    add(call, -1);
}

void cmd_incrby(struct call *call)
{
    int64_t delta;

    if (units_parse_int(call->argv[2], &delta) != ERR_OK)
        reply_error(call->out, NOT_INTEGER);
    else
        add(call, delta);
}

void cmd_decrby(struct call *call)
{
    int64_t delta;

    if (units_parse_int(call->argv[2], &delta) != ERR_OK)
        reply_error(call->out, NOT_INTEGER);
    else if (delta == INT64_MIN)
        reply_error(call->out, "ERR decrement would overflow");
    else
        add(call, -delta);
}
