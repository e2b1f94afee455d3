/* DEL, EXISTS, expiry, and the whole cache. */
#include "worker/command.h"

#include "common/clock.h"
#include "common/units.h"

static void make_delete(const struct call *call, size_t i, struct step *step)
{
    step->kind = STEP_DELETE;
    step->key = call->argv[1 + i];
}

void cmd_del(struct call *call)
{
    many(call, (size_t)call->argc - 1, make_delete, MANY_COUNT);
}

static void make_exists(const struct call *call, size_t i, struct step *step)
{
    step->kind = STEP_META;
    step->key = call->argv[1 + i];
}

void cmd_exists(struct call *call)
{
    many(call, (size_t)call->argc - 1, make_exists, MANY_COUNT);
}

static void answer_left(struct outcome *outcome, unsigned divisor)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t left;

    if (is_failure(outcome->status)) {
        reply_failure(outcome);
    } else if (outcome->status == CACHE_MISS) {
        reply_integer(outcome->out, -2);
    } else if (outcome->info->expires_ms == 0) {
        reply_integer(outcome->out, -1);
    } else {
        left = outcome->info->expires_ms > now_ms ? outcome->info->expires_ms - now_ms : 0;
        reply_integer(outcome->out, (int64_t)((left + divisor / 2) / divisor));
    }
}

static void answer_ttl(struct outcome *outcome)
{
    answer_left(outcome, 1000);
}

static void answer_pttl(struct outcome *outcome)
{
    answer_left(outcome, 1);
}

void cmd_ttl(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_ttl);
}

void cmd_pttl(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_pttl);
}

static void answer_type(struct outcome *outcome)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else
        (void)!resp_status(outcome->out, outcome->status == CACHE_OK ? "string" : "none");
}

void cmd_type(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_type);
}

/* The wall time in ms that an expire command names; false: an error was answered. */
static bool parse_deadline(struct call *call, unsigned unit_ms, bool absolute, int64_t *wall_ms)
{
    int64_t number, base = absolute ? 0 : (int64_t)clock_wall_ms();

    if (call->argc > 3) {
        reply_error(call->out, "ERR Unsupported option %.*s",
                    (int)(call->argv[3].len > 64 ? 64 : call->argv[3].len), call->argv[3].data);
        return false;
    }
    if (units_parse_int(call->argv[2], &number) != ERR_OK) {
        reply_error(call->out, "ERR value is not an integer or out of range");
        return false;
    }
    if (__builtin_mul_overflow(number, (int64_t)unit_ms, &number) ||
        __builtin_add_overflow(number, base, wall_ms) || *wall_ms > INT64_MAX / 4) {
        reply_error(call->out, "ERR invalid expire time in '%s' command",
                    absolute ? "expireat" : "expire");
        return false;
    }
    return true;
}

static void expire(struct call *call, unsigned unit_ms, bool absolute)
{
    struct step step = {.kind = STEP_CHANGE, .key = call->argv[1]};
    int64_t wall_ms;

    if (!parse_deadline(call, unit_ms, absolute, &wall_ms))
        return;
    if (wall_ms <= (int64_t)clock_wall_ms()) {
        /* Already over: Redis removes the key, and says 1 when it was there. */
        step.kind = STEP_DELETE;
    } else {
        step.change.kind = CHANGE_EXPIRE;
        step.change.attrs.expires_ms = clock_from_wall_ms((uint64_t)wall_ms);
    }
    operate(call, &step, answer_one_or_zero);
}

void cmd_expire(struct call *call)
{
    expire(call, 1000, false);
}

void cmd_pexpire(struct call *call)
{
    expire(call, 1, false);
}

void cmd_expireat(struct call *call)
{
    expire(call, 1000, true);
}

void cmd_pexpireat(struct call *call)
{
    expire(call, 1, true);
}

void cmd_persist(struct call *call)
{
    struct step step = {
        .kind = STEP_CHANGE, .key = call->argv[1], .change = {.kind = CHANGE_EXPIRE}};

    operate(call, &step, answer_one_or_zero);
}

void cmd_dbsize(struct call *call)
{
    struct step step = {.kind = STEP_COUNT};

    operate(call, &step, answer_integer);
}

void cmd_flushdb(struct call *call)
{
    struct step step = {.kind = STEP_CLEAR};

    if (call->argc > 2 || (call->argc == 2 && !slice_ieq(call->argv[1], "ASYNC") &&
                           !slice_ieq(call->argv[1], "SYNC")))
        reply_error(call->out, "ERR syntax error");
    else
        operate(call, &step, answer_ok);
}
