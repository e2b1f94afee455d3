/* EVAL, EVALSHA, SCRIPT on memory caches: there is no Lua here, but the few fixed scripts by which
 * clients take, release and extend locks are known by the SHA-1 of their source, and done natively,
 * each as one. t/system/test_scripts.py computes the sums from the packages that send them. */
#include "worker/command.h"

#include "common/clock.h"
#include "common/sha1.h"
#include "common/units.h"

static void release(struct call *call);
static void extend(struct call *call);
static void reacquire(struct call *call);
static void add(struct call *call);
static void incr(struct call *call);
static void incr_there(struct call *call);

static const struct script {
    const char *sha1;
    int args; /* it needs so many, after one key */
    void (*body)(struct call *call);
    const char *whose;
} scripts[] = {
    {"c3f8721cbb97f72bc19e972846bd7aaf91901658", 1, release, "redis-py Lock.release"},
    {"a4e8783852e6b949f9ef3a97212805108459a890", 3, extend, "redis-py Lock.extend"},
    {"1cac51482acf5858da00f6d685d68f886cd6b6b2", 2, reacquire, "redis-py Lock.reacquire"},
    {"647c65a442733a1aa440f99908d249d13b4d6c4a", 1, release, "Laravel RedisLock.release"},
    {"a08c9c69b7c07ae2485190873b90d128a23e502d", 2, add, "Laravel RedisStore.add"},
    {"b70c2384248f88e6b75b9f89241a180f856ad852", 1, release, "phpredis session lock"},
    {"f4a7da3e5d8ea3b46642af08427151cae0190400", 1, incr_there, "django-redis incr"},
    {"4d15273b16b10c15e1d9202cbe93c959ab7d250b", 1, incr, "django-redis incr"},
};

#define N_SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

static const struct script *find_script(struct slice sha1)
{
    for (size_t i = 0; i < N_SCRIPTS; i++)
        if (slice_ieq(sha1, scripts[i].sha1))
            return &scripts[i];
    return NULL;
}

/* ---- what they do: argv[3] is the key, argv[4] the first argument ---- */

static struct slice key_of(const struct call *call)
{
    return call->argv[3];
}

/* The lock at the key, where its token is the first argument: *held. False: an error was answered.
 */
static bool own_lock(struct call *call, bool *held, uint64_t *expires_ms)
{
    struct loaded lock;
    bool loaded = load_entry(call, key_of(call), &lock);

    *held = lock.present && slice_eq(buf_slice(&lock.value), call->argv[4]);
    *expires_ms = lock.info.expires_ms;
    loaded_fini(&lock);
    return loaded;
}

static void release(struct call *call)
{
    uint64_t expires_ms;
    bool held, had;

    if (!own_lock(call, &held, &expires_ms))
        return;
    if (!held)
        reply_integer(call->out, 0);
    else if (remove_entry(call, key_of(call), &had))
        reply_integer(call->out, 1);
}

/* A number of milliseconds from now; what is not positive ends the lock, as PEXPIRE would. */
static void let_expire(struct call *call, int64_t left_ms)
{
    uint64_t now_ms = clock_now_ms();
    bool had, done;

    if (left_ms > INT64_MAX / 4)
        left_ms = INT64_MAX / 4;
    done = left_ms > 0 ? expire_entry(call, key_of(call), now_ms + (uint64_t)left_ms)
                       : remove_entry(call, key_of(call), &had);
    if (done)
        reply_integer(call->out, 1);
}

static bool parse_ms(struct call *call, int64_t *ms)
{
    if (units_parse_int(call->argv[5], ms) == ERR_OK)
        return true;
    reply_error(call->out, "ERR value is not an integer or out of range");
    return false;
}

/* Not a lock without an expiry: its remaining time would be -1. */
static void extend(struct call *call)
{
    uint64_t expires_ms, now_ms = clock_now_ms();
    int64_t ms, left_ms = 0;
    bool held;

    if (!parse_ms(call, &ms) || !own_lock(call, &held, &expires_ms))
        return;
    if (!held || expires_ms == 0) {
        reply_integer(call->out, 0);
        return;
    }
    if (slice_eq(call->argv[6], SLICE_LIT("0")) && expires_ms > now_ms)
        left_ms = (int64_t)(expires_ms - now_ms);
    let_expire(call, ms > INT64_MAX / 4 ? ms : ms + left_ms);
}

static void reacquire(struct call *call)
{
    uint64_t expires_ms;
    int64_t ms;
    bool held;

    if (!parse_ms(call, &ms) || !own_lock(call, &held, &expires_ms))
        return;
    if (held)
        let_expire(call, ms);
    else
        reply_integer(call->out, 0);
}

static void add(struct call *call)
{
    struct cache_info info = {0};
    struct loaded older;
    int64_t seconds;
    bool loaded;

    if (units_parse_int(call->argv[5], &seconds) != ERR_OK || seconds < 1 ||
        seconds > INT64_MAX / 4000) {
        reply_error(call->out, "ERR invalid expire time in 'setex' command");
        return;
    }
    loaded = load_entry(call, key_of(call), &older);
    loaded_fini(&older);
    info.expires_ms = clock_now_ms() + (uint64_t)seconds * 1000;
    if (!loaded)
        return;
    if (older.present)
        reply_null(call->out, call->session->version);
    else if (store_entry(call, key_of(call), call->argv[4], &info))
        reply_ok(call->out);
}

static void incr(struct call *call)
{
    struct step step = {.kind = STEP_CHANGE, .key = key_of(call), .change = {.kind = CHANGE_INCR}};
    struct cache_info info;
    enum cache_status status;
    int64_t number;

    if (units_parse_int(call->argv[4], &step.change.delta) != ERR_OK) {
        reply_error(call->out, "ERR value is not an integer or out of range");
        return;
    }
    status = operate_now(call, &step, NULL, &info, &number);
    if (is_failure(status))
        reply_status(call, status);
    else
        reply_integer(call->out, number);
}

static void incr_there(struct call *call)
{
    struct loaded older;
    bool loaded = load_entry(call, key_of(call), &older);

    loaded_fini(&older);
    if (!loaded)
        return;
    if (older.present)
        incr(call);
    else
        reply_null(call->out, call->session->version);
}

/* ---- commands ---- */

static void run_script(struct call *call, const struct script *script)
{
    int64_t keys;

    if (units_parse_int(call->argv[2], &keys) != ERR_OK)
        reply_error(call->out, "ERR value is not an integer or out of range");
    else if (keys > call->argc - 3)
        reply_error(call->out, "ERR Number of keys can't be greater than number of args");
    else if (keys < 0)
        reply_error(call->out, "ERR Number of keys can't be negative");
    else if (keys != 1 || call->argc < 4 + script->args)
        reply_error(call->out, "ERR the script (%s) takes 1 key and %d arguments", script->whose,
                    script->args);
    else
        atomically(call, script->body);
}

static void reply_no_lua(struct call *call)
{
    reply_error(call->out,
                "ERR this script is not one of the known ones (locks of redis-py, Laravel, "
                "phpredis, django-redis), and there is no Lua here: it needs a cache with Redis "
                "behind");
}

bool command_script_is_known(const struct call *call)
{
    char sha1[SHA1_TEXT_LEN + 1];

    if (call->argc < 2)
        return false;
    if (slice_ieq(call->argv[0], "EVALSHA"))
        return find_script(call->argv[1]) != NULL;
    return slice_ieq(call->argv[0], "EVAL") && sha1_text(call->argv[1], sha1) == ERR_OK &&
           find_script(slice_cstr(sha1)) != NULL;
}

void cmd_eval(struct call *call)
{
    const struct script *script = NULL;
    char sha1[SHA1_TEXT_LEN + 1];

    if (sha1_text(call->argv[1], sha1) == ERR_OK)
        script = find_script(slice_cstr(sha1));
    if (script != NULL)
        run_script(call, script);
    else
        reply_no_lua(call);
}

void cmd_evalsha(struct call *call)
{
    const struct script *script = find_script(call->argv[1]);

    if (script != NULL)
        run_script(call, script);
    else
        reply_error(call->out, "NOSCRIPT No matching script. Please use EVAL.");
}

static void script_load(struct call *call)
{
    char sha1[SHA1_TEXT_LEN + 1];

    if (sha1_text(call->argv[2], sha1) == ERR_OK && find_script(slice_cstr(sha1)) != NULL)
        reply_bulk(call->out, slice_cstr(sha1));
    else
        reply_no_lua(call);
}

static void script_exists(struct call *call)
{
    (void)!resp_array(call->out, (size_t)call->argc - 2);
    for (int i = 2; i < call->argc; i++)
        reply_integer(call->out, find_script(call->argv[i]) != NULL);
}

/* The known ones cannot be forgotten, so FLUSH has nothing to do. */
static void script_flush(struct call *call)
{
    if (call->argc == 2 || (call->argc == 3 && (slice_ieq(call->argv[2], "ASYNC") ||
                                                slice_ieq(call->argv[2], "SYNC"))))
        reply_ok(call->out);
    else
        reply_error(call->out, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
}

static void script_kill(struct call *call)
{
    reply_error(call->out, "NOTBUSY No scripts in execution right now.");
}

void cmd_script(struct call *call)
{
    static const struct subcommand table[] = {
        {"LOAD", 3, script_load},
        {"EXISTS", -3, script_exists},
        {"FLUSH", -2, script_flush},
        {"KILL", 2, script_kill},
    };

    if (cache_has_l2(call->cache))
        command_upstream(call);
    else
        command_sub(call, table, sizeof(table) / sizeof(table[0]));
}
