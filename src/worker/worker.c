#include "worker/worker.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "worker/conn.h"
#include "worker/crowd.h"
#include "worker/direct.h"
#include "worker/listener.h"

#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Time limits are looked at every so many ticks. */
#define TICKS_PER_CHECK 5

/* Blocks up to the first size come from the heap, which keeps up to the second at its end. */
#define LARGE_BLOCK_BYTES (32 << 20)
#define KEPT_BYTES        (128 << 20)

/* --- becoming a worker ---------------------------------------------------------------------- */

static int drop_user(const struct heritage *heritage, struct errmsg *msg)
{
    if (!heritage->drop_user)
        return ERR_OK;
    if (initgroups(heritage->config->user, heritage->gid) != 0 || setgid(heritage->gid) != 0 ||
        setuid(heritage->uid) != 0)
        return err_set_errno(msg, "cannot become user %s", heritage->config->user);
    return ERR_OK;
}

/* End with the master, however it ends. setuid() clears this setting, so it comes after it; and the
 * master may have ended before it was made, so its pid is compared afterwards. */
static int die_with_master(const struct heritage *heritage, struct errmsg *msg)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return err_set_errno(msg, "cannot arrange to end with the master");
    if (getppid() != atomic_load_explicit(&heritage->board->master_pid, memory_order_relaxed))
        return err_set(msg, ERR_DOWN, "the master has ended");
    return ERR_OK;
}

/* What a terminal sends to the whole process group is the master's to act on. */
static int open_signals(struct worker *worker, struct errmsg *msg)
{
    sigset_t mask;

    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGQUIT);
    sigaddset(&mask, SIGUSR1);
    if (sigprocmask(SIG_SETMASK, &mask, NULL) != 0)
        return err_set_errno(msg, "cannot block signals");
    worker->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (worker->signal_fd < 0)
        return err_set_errno(msg, "cannot open a signal descriptor");
    return ERR_OK;
}

/* --- events --------------------------------------------------------------------------------- */

static void begin_drain(struct worker *worker)
{
    if (worker->draining)
        return;
    log_info("draining %u connections", worker->n_conns);
    worker->draining = true;
    listener_stop(worker);
    atomic_store_explicit(&worker->board->state, SLOT_DRAINING, memory_order_release);
    conn_drain_all(worker);
}

static void reopen_log(void)
{
    struct errmsg msg = {.text = ""};

    if (log_reopen(&msg) != ERR_OK)
        log_error("%s; the old file stays in use", msg.text);
}

static void on_signals(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;
    struct signalfd_siginfo info;

    (void)status;
    (void)events;
    while (read(worker->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM) {
            /* At once: the master frees what this process holds, as after any death. */
            log_debug("stopped");
            _exit(0);
        }
        if (info.ssi_signo == SIGQUIT)
            begin_drain(worker);
        else if (info.ssi_signo == SIGUSR1) {
            reopen_log();
            proxy_reopen_log(worker->proxy);
        }
    }
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;
    uint64_t rings;

    (void)status;
    (void)events;
    if (read(worker->heritage->wake_fds[worker->slot], &rings, sizeof(rings)) < 0 &&
        errno != EAGAIN)
        log_warn("cannot read the wake descriptor: %s", strerror(errno));
    listener_adopt(worker);
    caches_wake(worker->caches);
}

static void on_caches_gone(void *arg)
{
    struct worker *worker = arg;

    worker->caches = NULL;
    uv_stop(&worker->loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *worker = timer->data;

    listener_resume(worker);
    direct_drain(worker);
    if (worker->crowd != NULL)
        crowd_tidy(worker->crowd, clock_now_ms());
    if (worker->caches != NULL)
        caches_clear_due(worker->caches);
    if (worker->draining)
        conn_drain_all(worker);
    if (worker->draining && worker->n_conns == 0 && !worker->closing) {
        worker->closing = true;
        proxy_destroy(worker->proxy);
        worker->proxy = NULL;
        caches_close(worker->caches, on_caches_gone, worker);
        return;
    }
    if (++worker->ticks % TICKS_PER_CHECK == 0)
        conn_check_timeouts(worker, clock_now_ms());
}

/* --- start, run, end ------------------------------------------------------------------------ */

static int watch(struct worker *worker, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
    poll->data = worker;
    if (uv_poll_init(&worker->loop, poll, fd) != 0 ||
        uv_poll_start(poll, UV_READABLE, callback) != 0)
        return ERR_SYSTEM;
    return ERR_OK;
}

static int open_loop(struct worker *worker, struct errmsg *msg)
{
    if (uv_loop_init(&worker->loop) != 0)
        return err_set(msg, ERR_SYSTEM, "cannot create an event loop");
    worker->tick.data = worker;
    list_init(&worker->direct);
    uv_timer_init(&worker->loop, &worker->tick);
    if (conn_init(worker) != ERR_OK ||
        uv_timer_start(&worker->tick, on_tick, WORKER_TICK_MS, WORKER_TICK_MS) != 0 ||
        watch(worker, &worker->signals, worker->signal_fd, on_signals) != ERR_OK ||
        watch(worker, &worker->wake, worker->heritage->wake_fds[worker->slot], on_wake) != ERR_OK)
        return err_set(msg, ERR_SYSTEM, "cannot watch this worker's descriptors");
    return ERR_OK;
}

static int join_zones(const struct heritage *heritage, struct errmsg *msg)
{
    for (size_t i = 0; i < heritage->config->n_caches; i++) {
        int status = zone_join(heritage->zones[i], msg);

        if (status != ERR_OK)
            return status;
    }
    return ERR_OK;
}

static int start(struct worker *worker, struct errmsg *msg)
{
    const struct heritage *heritage = worker->heritage;
    const struct config_limits *limits = &heritage->config->limits;
    int status;

    if ((status = open_signals(worker, msg)) != ERR_OK ||
        (status = drop_user(heritage, msg)) != ERR_OK ||
        (status = die_with_master(heritage, msg)) != ERR_OK ||
        (status = open_loop(worker, msg)) != ERR_OK ||
        (status = join_zones(heritage, msg)) != ERR_OK ||
        (status = caches_open(heritage, &worker->loop, worker->slot, &worker->caches, msg)) !=
            ERR_OK)
        return status;
    status = api_create(worker->caches, heritage, &worker->api);
    if (status != ERR_OK)
        return err_set(msg, status, "cannot create the HTTP API: %s", err_name(status));
    if (limits->connections_per_address > 0 || limits->connection_rate > 0) {
        worker->crowd = crowd_create(limits);
        if (worker->crowd == NULL)
            return err_set(msg, ERR_NOMEM, "no memory for the limits of addresses");
    }
    if (heritage->config->n_routes > 0) {
        status = proxy_create(&worker->loop, worker->caches, heritage, worker->slot, &worker->proxy,
                              msg);
        if (status != ERR_OK)
            return status;
    }
    return listener_start(worker, msg);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* After a drain: leave nothing to repair. */
static void end(struct worker *worker)
{
    const struct heritage *heritage = worker->heritage;

    api_destroy(worker->api);
    crowd_destroy(worker->crowd);
    uv_walk(&worker->loop, close_handle, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&worker->loop) != 0)
        log_debug("the event loop was not empty at the end");
    for (size_t i = 0; i < heritage->config->n_caches; i++)
        zone_leave(heritage->zones[i]);
    close(worker->signal_fd);
}

/* Replies of a megabyte come and go by the thousand a second. By default each would get pages of
 * its own from the kernel, cleared and given back: three times the processor time of a stored page
 * of 1 MiB over HTTP (740 us against 254 us). */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

int worker_run(const struct heritage *heritage, unsigned slot)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    struct errmsg msg = {.text = "no memory"};
    char role[24];

    snprintf(role, sizeof(role), "worker %u", slot);
    log_set_role(role);
    keep_memory();
    if (worker == NULL) {
        log_error("cannot start: %s", msg.text);
        return WORKER_EXIT_START;
    }
    worker->heritage = heritage;
    worker->slot = slot;
    worker->board = &heritage->board->slots[slot];
    worker->next_client_id =
        atomic_load_explicit(&worker->board->accepted, memory_order_relaxed) + 1;
    if (start(worker, &msg) != ERR_OK) {
        log_error("cannot start: %s", msg.text);
        /* The process ends now; what it holds goes with it. */
        return WORKER_EXIT_START;
    }
    atomic_store_explicit(&worker->board->state, SLOT_SERVING, memory_order_release);
    listener_claim(worker);
    log_debug("serving");
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    end(worker);
    free(worker);
    return 0;
}
