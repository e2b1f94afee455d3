#include "master/master.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "master/background.h"
#include "master/invalidate.h"
#include "master/prepare.h"
#include "master/state.h"
#include "master/supervise.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Mapped readers distrust a heartbeat older than a second. */
#define HEARTBEAT_MS 200

#define REPLAY_MS 200

/* A worker that does not end within this time after TERM is killed. */
#define KILL_AFTER_MS 1000

/* One zone's share of a sweep tick. */
#define SWEEP_UNLINKS 4096
#define SWEEP_NS      2000000

/* --- background work ------------------------------------------------------------------------ */

static void on_sweep(uv_timer_t *timer)
{
    struct master *master = timer->data;
    struct sweep_budget budget = {.unlinks = SWEEP_UNLINKS, .ns = SWEEP_NS};
    uint64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < master->config->n_caches; i++)
        sweep_tick(master->heritage.zones[i], now_ms, budget);
}

/* Whoever holds a lock for a second is ended: every other process waits for it, and a dead one can be
 * repaired after. It is a worker of ours or, one day, of the binary that this one replaces. */
static void free_held_lock(struct master *master, size_t i, uint64_t now_ms)
{
    pid_t pid = watch_look(master->watches[i], master->heritage.zones[i], now_ms);

    if (pid == 0)
        return;
    log_error("pid %ld holds a lock of cache %s for more than %d ms: killing it", (long)pid,
              zone_name(master->heritage.zones[i]), WATCH_HELD_MS);
    if (kill(pid, SIGKILL) != 0)
        log_error("cannot kill pid %ld: %s", (long)pid, strerror(errno));
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct master *master = timer->data;
    uint64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < master->config->n_caches; i++) {
        zone_heartbeat(master->heritage.zones[i], now_ms);
        free_held_lock(master, i, now_ms);
    }
}

static void on_second(uv_timer_t *timer)
{
    struct master *master = timer->data;

    caches_replay(master->caches);
}

/* --- the end -------------------------------------------------------------------------------- */

static void on_caches_gone(void *arg)
{
    struct master *master = arg;

    master->caches = NULL;
    uv_stop(&master->loop);
}

static void on_subscriber_gone(void *arg)
{
    struct master *master = arg;

    caches_close(master->caches, on_caches_gone, master);
}

/* The last worker is gone: close what still uses the loop, then leave it. */
static void end_when_alone(struct master *master)
{
    if (master->phase < MASTER_DRAINING || master->closing || supervise_alive(master) > 0)
        return;
    master->closing = true;
    uv_timer_stop(&master->deadline);
    invalidate_stop(master, on_subscriber_gone);
}

static void on_deadline(uv_timer_t *timer);

static void stop(struct master *master)
{
    if (master->phase == MASTER_STOPPING)
        return;
    master->phase = MASTER_STOPPING;
    log_info("stopping");
    supervise_signal(master, SIGTERM);
    uv_timer_start(&master->deadline, on_deadline, KILL_AFTER_MS, 0);
}

static void drain(struct master *master)
{
    if (master->phase >= MASTER_DRAINING)
        return;
    master->phase = MASTER_DRAINING;
    log_info("draining: workers finish their requests, for at most %llu ms",
             (unsigned long long)master->config->limits.drain_timeout_ms);
    atomic_store(&master->heritage.board->draining, 1);
    supervise_signal(master, SIGQUIT);
    sockets_close(&master->sockets);
    master->heritage.n_sockets = 0;
    uv_timer_start(&master->deadline, on_deadline, master->config->limits.drain_timeout_ms, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct master *master = timer->data;

    if (master->phase == MASTER_DRAINING) {
        log_warn("%u workers have not drained in time (limits.drain_timeout)",
                 supervise_alive(master));
        stop(master);
        return;
    }
    log_warn("%u workers did not stop: killing them", supervise_alive(master));
    supervise_signal(master, SIGKILL);
}

/* --- signals -------------------------------------------------------------------------------- */

/* Workers open the same file anew as their own user, so it must be theirs. */
static void reopen_logs(struct master *master)
{
    const struct heritage *heritage = &master->heritage;
    const char *path = master->config->log_file;
    struct errmsg msg = {.text = ""};

    if (log_reopen(&msg) != ERR_OK)
        log_error("%s; the old file stays in use", msg.text);
    else if (heritage->drop_user && path != NULL && path[0] != '\0' &&
             chown(path, heritage->uid, (gid_t)-1) != 0)
        log_warn("cannot give %s to user %s: %s", path, master->config->user, strerror(errno));
    supervise_signal(master, SIGUSR1);
}

/* The one place that acts on what the signals said. */
static void act(struct master *master)
{
    struct signals *signals = &master->signals;

    if (signals->child) {
        signals->child = false;
        supervise_reap(master);
    }
    if (signals->stop || (master->failed && master->phase == MASTER_STARTING))
        stop(master);
    else if (signals->drain)
        drain(master);
    if (signals->reopen)
        reopen_logs(master);
    if (signals->reload)
        log_warn(
            "HUP: reloading the configuration is not available in this version; restart instead");
    if (signals->upgrade)
        log_warn("USR2: upgrading in place is not available in this version; restart instead");
    signals->stop = false;
    signals->drain = false;
    signals->reopen = false;
    signals->reload = false;
    signals->upgrade = false;
    end_when_alone(master);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
    struct master *master = poll->data;

    (void)status;
    (void)events;
    signals_read(&master->signals);
    act(master);
}

/* --- start ---------------------------------------------------------------------------------- */

/* Every slot serves: the first time, say so. */
static void on_settled(struct master *master)
{
    if (master->phase != MASTER_STARTING)
        return;
    master->phase = MASTER_RUNNING;
    log_info("ready: %lld workers, %zu caches", (long long)master->config->workers,
             master->config->n_caches);
    if (master->notify_fd >= 0)
        background_ready(master->notify_fd);
    master->notify_fd = -1;
    if (master->options->ready != NULL)
        master->options->ready(master->config);
}

static int log_level_of(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (int i = 0; i < 4; i++) {
        if (name != NULL && strcmp(name, names[i]) == 0)
            return i;
    }
    return LOG_LEVEL_INFO;
}

static int open_loop(struct master *master, struct errmsg *msg)
{
    uv_timer_t *timers[] = {&master->sweep, &master->heartbeat, &master->second, &master->supervise,
                            &master->deadline};

    if (uv_loop_init(&master->loop) != 0)
        return err_set(msg, ERR_SYSTEM, "cannot create an event loop");
    master->loop_open = true;
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        uv_timer_init(&master->loop, timers[i]);
        timers[i]->data = master;
    }
    master->signal_poll.data = master;
    if (uv_poll_init(&master->loop, &master->signal_poll, master->signals.fd) != 0 ||
        uv_poll_start(&master->signal_poll, UV_READABLE, on_signal) != 0)
        return err_set(msg, ERR_SYSTEM, "cannot watch the signal descriptor");
    return ERR_OK;
}

/* The master's own part in the caches: it invalidates and replays. */
static int open_caches(struct master *master, struct errmsg *msg)
{
    const struct heritage *heritage = &master->heritage;
    int status = ERR_OK;

    for (size_t i = 0; i < master->config->n_caches && status == ERR_OK; i++) {
        status = zone_join(heritage->zones[i], msg);
        if (status == ERR_OK && watch_create(&master->watches[i]) != ERR_OK)
            status = err_set(msg, ERR_NOMEM, "no memory to watch the locks of a cache");
    }
    if (status == ERR_OK)
        status =
            caches_open(heritage, &master->loop, HERITAGE_OWNER_MASTER - 1, &master->caches, msg);
    return status;
}

static void start_timers(struct master *master)
{
    uint64_t sweep_ms = master->config->sweep_interval_ms;

    uv_timer_start(&master->sweep, on_sweep, sweep_ms, sweep_ms);
    uv_timer_start(&master->heartbeat, on_heartbeat, 0, HEARTBEAT_MS);
    if (master->config->redis.enabled)
        uv_timer_start(&master->second, on_second, REPLAY_MS, REPLAY_MS);
}

static int start(struct master *master, struct errmsg *msg)
{
    const struct config *config = master->config;
    struct heritage *heritage = &master->heritage;
    int status;

    if ((status = signals_open(&master->signals, msg)) != ERR_OK ||
        (status = prepare_heritage(heritage, msg)) != ERR_OK ||
        (status = sockets_open(&master->sockets, config, msg)) != ERR_OK)
        return status;
    heritage->sockets = master->sockets.list;
    heritage->n_sockets = master->sockets.n;
    prepare_file_limit(config);
    if ((status = pidfile_open(&master->pidfile, config->pid_file, msg)) != ERR_OK ||
        (status = sockets_open_channels(heritage, (unsigned)config->workers, msg)) != ERR_OK)
        return status;
    master->channels_open = true;
    if ((status = open_loop(master, msg)) != ERR_OK ||
        (status = open_caches(master, msg)) != ERR_OK ||
        (master->notify_fd >= 0 && (status = background_detach(msg)) != ERR_OK) ||
        (status = supervise_start(master, msg)) != ERR_OK ||
        (status = invalidate_start(master, msg)) != ERR_OK)
        return status;
    start_timers(master);
    return ERR_OK;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Close whatever is open: after a stop, or after a start that failed on its way. */
static void end(struct master *master)
{
    for (size_t i = 0; i < CONFIG_MAX_CACHES; i++)
        watch_destroy(master->watches[i]);
    if (master->caches != NULL) {
        caches_close(master->caches, on_caches_gone, master);
        uv_run(&master->loop, UV_RUN_DEFAULT);
    }
    if (master->loop_open) {
        uv_walk(&master->loop, close_handle, NULL);
        uv_run(&master->loop, UV_RUN_DEFAULT);
        if (uv_loop_close(&master->loop) != 0)
            log_debug("the event loop was not empty at the end");
    }
    sockets_close(&master->sockets);
    if (master->channels_open)
        sockets_close_channels(&master->heritage, (unsigned)master->config->workers);
    pidfile_close(&master->pidfile);
    prepare_undo(&master->heritage);
    signals_close(&master->signals);
}

/* At start, errors also go where the person who starts it looks. */
static void say_failure(const struct master *master, const char *text)
{
    log_error("%s", text);
    if (master->config->log_file != NULL && master->config->log_file[0] != '\0')
        fprintf(stderr, "cachetastic: %s\n", text);
}

static int run(struct master *master)
{
    struct errmsg msg = {.text = ""};

    if (start(master, &msg) != ERR_OK) {
        say_failure(master, msg.text);
        /* They hold nothing yet that anyone would miss. */
        supervise_signal(master, SIGKILL);
        end(master);
        return 1;
    }
    uv_run(&master->loop, UV_RUN_DEFAULT);
    end(master);
    if (master->failed)
        say_failure(master, "a worker could not start");
    else
        log_info("stopped");
    return master->failed ? 1 : 0;
}

int master_run(const struct master_options *options)
{
    const struct config *config = options->config;
    struct master *master = calloc(1, sizeof(*master));
    struct errmsg msg = {.text = "no memory"};
    int status = 1;

    if (master == NULL ||
        log_init(config->log_file, (enum log_level)log_level_of(config->log_level), &msg) !=
            ERR_OK) {
        fprintf(stderr, "cachetastic: %s\n", msg.text);
        free(master);
        return 1;
    }
    log_set_role("master");
    master->options = options;
    master->config = config;
    master->heritage.config = config;
    master->settled = on_settled;
    master->notify_fd = -1;
    master->pidfile.fd = -1;
    master->signals.fd = -1;
    if (options->daemonize && background_enter(&master->notify_fd, &msg) != ERR_OK)
        say_failure(master, msg.text);
    else
        status = run(master);
    free(master);
    return status;
}
