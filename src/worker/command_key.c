/* DEL, EXISTS, expiry. */
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

/* ---- EXPIRETIME ---- */

/* As TTL, but the wall time. */
static void answer_time(struct outcome *outcome, unsigned divisor)
{
    if (is_failure(outcome->status))
        reply_failure(outcome);
    else if (outcome->status == CACHE_MISS)
        reply_integer(outcome->out, -2);
    else if (outcome->info->expires_ms == 0)
        reply_integer(outcome->out, -1);
    else
        reply_integer(
            outcome->out,
            (int64_t)((clock_to_wall_ms(outcome->info->expires_ms) + divisor / 2) / divisor));
}

static void answer_expiretime(struct outcome *outcome)
{
    answer_time(outcome, 1000);
}

static void answer_pexpiretime(struct outcome *outcome)
{
    answer_time(outcome, 1);
}

void cmd_expiretime(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_expiretime);
}

void cmd_pexpiretime(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};

    operate(call, &step, answer_pexpiretime);
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

/* ---- EXPIRE and its like ---- */

enum expire_unless {
    EXPIRE_ALWAYS = 0,
    EXPIRE_NX = 1,
    EXPIRE_XX = 2,
    EXPIRE_GT = 4,
    EXPIRE_LT = 8
};

static bool parse_conditions(struct call *call, unsigned *conditions)
{
    static const char *const names[] = {"NX", "XX", "GT", "LT"};

    *conditions = EXPIRE_ALWAYS;
    for (int i = 3; i < call->argc; i++) {
        unsigned bit = 0;

        while (bit < 4 && !slice_ieq(call->argv[i], names[bit]))
            bit++;
        if (bit == 4) {
            reply_error(call->out, "ERR Unsupported option %.*s",
                        (int)(call->argv[i].len > 64 ? 64 : call->argv[i].len), call->argv[i].data);
            return false;
        }
        *conditions |= 1u << bit;
    }
    if ((*conditions & EXPIRE_NX) && *conditions != EXPIRE_NX) {
        reply_error(call->out,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*conditions & EXPIRE_GT) && (*conditions & EXPIRE_LT)) {
        reply_error(call->out, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* The wall time in ms that an expire command names; false: an error was answered. */
static bool parse_deadline(struct call *call, unsigned unit_ms, bool absolute, int64_t *wall_ms)
{
    int64_t number, base = absolute ? 0 : (int64_t)clock_wall_ms();
    char lower[COMMAND_NAME_MAX];

    if (units_parse_int(call->argv[2], &number) != ERR_OK) {
        reply_error(call->out, "ERR value is not an integer or out of range");
        return false;
    }
    if (__builtin_mul_overflow(number, (int64_t)unit_ms, &number) ||
        __builtin_add_overflow(number, base, wall_ms) || *wall_ms > INT64_MAX / 4) {
        command_lower(call->command, lower);
        reply_error(call->out, "ERR invalid expire time in '%s' command", lower);
        return false;
    }
    return true;
}

static void expire_at(struct call *call, int64_t wall_ms)
{
    struct step step = {.kind = STEP_CHANGE, .key = call->argv[1]};

    if (wall_ms <= (int64_t)clock_wall_ms()) {
        /* Already over: Redis removes the key, and says 1 when it was there. */
        step.kind = STEP_DELETE;
    } else {
        step.change.kind = CHANGE_EXPIRE;
        step.change.attrs.expires_ms = clock_from_wall_ms((uint64_t)wall_ms);
    }
    operate(call, &step, answer_one_or_zero);
}

static bool conditions_hold(unsigned conditions, uint64_t now_expires_ms, int64_t wall_ms)
{
    int64_t old_ms = now_expires_ms != 0 ? (int64_t)clock_to_wall_ms(now_expires_ms) : INT64_MAX;

    if ((conditions & EXPIRE_NX) && now_expires_ms != 0)
        return false;
    if ((conditions & EXPIRE_XX) && now_expires_ms == 0)
        return false;
    /* No expiry is an infinite one. */
    if ((conditions & EXPIRE_GT) && wall_ms <= old_ms)
        return false;
    return !(conditions & EXPIRE_LT) || wall_ms < old_ms;
}

/* A unit and whether it counts from 1970, of the four commands. */
static bool deadline_of(struct call *call, int64_t *wall_ms)
{
    const char *name = call->command->name;
    bool ms = name[0] == 'P';
    bool absolute = strcmp(name + ms, "EXPIREAT") == 0;

    return parse_deadline(call, ms ? 1 : 1000, absolute, wall_ms);
}

static void expire_if_body(struct call *call)
{
    struct step step = {.kind = STEP_META, .key = call->argv[1]};
    struct cache_info info;
    unsigned conditions;
    int64_t wall_ms, ignored;
    enum cache_status status;

    if (!parse_conditions(call, &conditions) || !deadline_of(call, &wall_ms))
        return;
    status = operate_now(call, &step, NULL, &info, &ignored);
    if (is_failure(status))
        reply_status(call, status);
    else if (status == CACHE_OK && conditions_hold(conditions, info.expires_ms, wall_ms))
        expire_at(call, wall_ms);
    else
        reply_integer(call->out, 0);
}

static void expire(struct call *call)
{
    int64_t wall_ms;

    if (call->argc > 3 && cache_has_l2(call->cache))
        command_upstream(call);
    else if (call->argc > 3)
        atomically(call, expire_if_body);
    else if (deadline_of(call, &wall_ms))
        expire_at(call, wall_ms);
}

void cmd_expire(struct call *call)
{
    expire(call);
}

void cmd_pexpire(struct call *call)
{
    expire(call);
}

void cmd_expireat(struct call *call)
{
    expire(call);
}

void cmd_pexpireat(struct call *call)
{
    expire(call);
}

void cmd_persist(struct call *call)
{
    struct step step = {
        .kind = STEP_CHANGE, .key = call->argv[1], .change = {.kind = CHANGE_EXPIRE}};

    operate(call, &step, answer_one_or_zero);
}
