#include "master/supervise.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "shm/repair.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A worker that dies sooner has not really run. */
#define QUICK_DEATH_MS 1000

/* How often to look at slots that are not served by their own worker. */
#define WATCH_MS 20

/* A first start may take so long before others accept for the slot; a restarted slot is adopted at
 * once. */
#define FIRST_START_MS 1000

static enum scoreboard_state state_of(const struct scoreboard *board, unsigned slot)
{
    return (enum scoreboard_state)atomic_load_explicit(&board->slots[slot].state,
                                                       memory_order_acquire);
}

static uint32_t adopter_of(const struct scoreboard *board, unsigned slot)
{
    return atomic_load_explicit(&board->slots[slot].adopter, memory_order_relaxed);
}

/* --- fork ----------------------------------------------------------------------------------- */

static void close_inherited(uv_handle_t *handle, void *arg)
{
    uv_os_fd_t fd;

    (void)arg;
    if (handle->type == UV_POLL && uv_fileno(handle, &fd) == 0)
        close(fd);
}

/* In the child. The master's loop is a copy that must not run: its epoll descriptor is shared with
 * the master, so even closing a handle in the normal way would change what the master waits for.
 * Only descriptors are closed: the signal descriptor and the connections to Redis, which would
 * otherwise outlive their end in the master. */
static _Noreturn void become_worker(struct master *master, unsigned slot)
{
    uv_walk(&master->loop, close_inherited, NULL);
    close(uv_backend_fd(&master->loop));
    if (master->pidfile.fd >= 0)
        close(master->pidfile.fd);
    if (master->notify_fd >= 0)
        close(master->notify_fd);
    _exit(master->options->worker_run(&master->heritage, slot));
}

static void watch(struct master *master);

static int spawn(struct master *master, unsigned slot)
{
    struct scoreboard_slot *board = &master->heritage.board->slots[slot];
    struct master_slot *own = &master->slots[slot];
    pid_t pid;

    atomic_store_explicit(&board->state, SLOT_STARTING, memory_order_release);
    pid = fork();
    if (pid == 0)
        become_worker(master, slot);
    own->started_ms = clock_now_ms();
    if (pid < 0) {
        log_error("cannot fork a worker: %s", strerror(errno));
        atomic_store_explicit(&board->state, SLOT_EMPTY, memory_order_release);
        own->respawn_at_ms = own->started_ms + master->config->respawn_max_ms;
        return ERR_SYSTEM;
    }
    own->pid = pid;
    atomic_store_explicit(&board->pid, (int32_t)pid, memory_order_release);
    log_info("started worker %u (pid %ld)", slot, (long)pid);
    return ERR_OK;
}

int supervise_start(struct master *master, struct errmsg *msg)
{
    for (unsigned slot = 0; slot < (unsigned)master->config->workers; slot++) {
        if (spawn(master, slot) != ERR_OK)
            return err_set_errno(msg, "cannot fork %lld workers",
                                 (long long)master->config->workers);
    }
    watch(master);
    return ERR_OK;
}

/* --- death ---------------------------------------------------------------------------------- */

static void describe_death(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
}

/* Signals after which what the process has written may be wrong, not only unfinished. */
static bool is_suspect(int status)
{
    if (!WIFSIGNALED(status))
        return false;
    switch (WTERMSIG(status)) {
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGILL:
    case SIGFPE:
        return true;
    default:
        return false;
    }
}

/* Free what the process held, everywhere. */
static void repair(struct master *master, unsigned slot, pid_t pid, bool suspect,
                   enum log_level level)
{
    const struct heritage *heritage = &master->heritage;
    struct repair_report sum = {0};
    unsigned jobs;

    for (size_t i = 0; i < master->config->n_caches; i++) {
        struct repair_report report = {0};

        repair_process(heritage->zones[i], pid, suspect, &report);
        sum.locks += report.locks;
        sum.slots += report.slots;
        sum.slabs += report.slabs;
        sum.stubs += report.stubs;
    }
    if (heritage->journal != NULL)
        journal_repair(heritage->journal, HERITAGE_OWNER(slot));
    event_repair(heritage->events, HERITAGE_OWNER(slot), slot);
    if (heritage->window != NULL)
        journal_repair(heritage->window, HERITAGE_OWNER(slot));
    jobs = jobs_orphan(heritage->jobs, HERITAGE_OWNER(slot));
    log_write(
        level,
        "repaired after pid %ld: %u locks, %u half-made changes, %u slabs, %u leases, %u jobs",
        (long)pid, sum.locks, sum.slots, sum.slabs, sum.stubs, jobs);
}

static void clear_slot(struct scoreboard_slot *board)
{
    atomic_store_explicit(&board->state, SLOT_EMPTY, memory_order_release);
    atomic_store_explicit(&board->pid, 0, memory_order_release);
    atomic_store_explicit(&board->connections, 0, memory_order_relaxed);
    atomic_store_explicit(&board->handed, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&board->restarts, 1, memory_order_relaxed);
}

uint64_t supervise_delay(unsigned quick_deaths, uint64_t min_ms, uint64_t max_ms)
{
    uint64_t delay = min_ms;

    if (quick_deaths < 2)
        return 0;
    for (unsigned i = 2; i < quick_deaths && delay < max_ms; i++)
        delay *= 2;
    return delay < max_ms ? delay : max_ms;
}

static void plan_respawn(struct master *master, unsigned slot, uint64_t now_ms)
{
    struct master_slot *own = &master->slots[slot];
    uint64_t delay;

    own->quick_deaths = now_ms - own->started_ms < QUICK_DEATH_MS ? own->quick_deaths + 1 : 0;
    delay = supervise_delay(own->quick_deaths, master->config->respawn_min_ms,
                            master->config->respawn_max_ms);
    own->respawn_at_ms = now_ms + delay;
    if (delay > 0)
        log_warn("worker %u keeps dying: next start in %llu ms", slot, (unsigned long long)delay);
}

static void bury(struct master *master, unsigned slot, int status)
{
    struct master_slot *own = &master->slots[slot];
    bool expected = master->phase >= MASTER_DRAINING;
    bool served = state_of(master->heritage.board, slot) != SLOT_STARTING;
    uint64_t now_ms = clock_now_ms();
    pid_t pid = own->pid;
    char how[80];

    describe_death(status, how, sizeof(how));
    log_write(expected ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "worker %u (pid %ld) %s after %llu ms",
              slot, (long)pid, how, (unsigned long long)(now_ms - own->started_ms));
    repair(master, slot, pid, is_suspect(status), expected ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    clear_slot(&master->heritage.board->slots[slot]);
    own->pid = 0;
    if (!expected)
        plan_respawn(master, slot, now_ms);
    /* One that gives up before it has served says that none ever will. */
    if (master->phase == MASTER_STARTING && !served && WIFEXITED(status) &&
        WEXITSTATUS(status) != 0)
        master->failed = true;
}

static void bury_pid(struct master *master, pid_t pid, int status)
{
    for (unsigned slot = 0; slot < (unsigned)master->config->workers; slot++) {
        if (master->slots[slot].pid == pid) {
            bury(master, slot, status);
            return;
        }
    }
    log_debug("a process that is no worker ended: pid %ld", (long)pid);
}

void supervise_reap(struct master *master)
{
    bool any = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bury_pid(master, pid, status);
        any = true;
    }
    if (!any)
        return;
    supervise_check(master);
    /* What the dead held may be what others wait for. */
    sockets_ring_all(&master->heritage);
}

/* --- slots without a worker ----------------------------------------------------------------- */

uint32_t supervise_adopter(const struct scoreboard *board, unsigned slot)
{
    uint32_t best = SCOREBOARD_NOBODY;
    uint32_t least = UINT32_MAX;

    for (unsigned i = 0; i < board->n_slots; i++) {
        uint32_t load = atomic_load_explicit(&board->slots[i].connections, memory_order_relaxed);

        if (i != slot && state_of(board, i) == SLOT_SERVING && load < least) {
            least = load;
            best = i;
        }
    }
    return best;
}

/* Whether the slot's connections are nobody's unless another worker takes them. */
static bool needs_adopter(const struct master *master, unsigned slot, uint64_t now_ms)
{
    const struct scoreboard *board = master->heritage.board;

    switch (state_of(board, slot)) {
    case SLOT_EMPTY:
        return true;
    case SLOT_STARTING:
        return atomic_load_explicit(&board->slots[slot].restarts, memory_order_relaxed) > 0 ||
               now_ms - master->slots[slot].started_ms > FIRST_START_MS;
    case SLOT_SERVING:
    case SLOT_DRAINING:
        break;
    }
    return false;
}

static void set_adopter(struct master *master, unsigned slot, uint32_t adopter)
{
    struct scoreboard *board = master->heritage.board;
    uint32_t before = adopter_of(board, slot);

    if (before == adopter)
        return;
    atomic_store_explicit(&board->slots[slot].adopter, adopter, memory_order_release);
    if (before != SCOREBOARD_NOBODY)
        sockets_ring(&master->heritage, before);
    if (adopter != SCOREBOARD_NOBODY)
        sockets_ring(&master->heritage, adopter);
}

static void assign(struct master *master, unsigned slot, uint64_t now_ms)
{
    const struct scoreboard *board = master->heritage.board;
    uint32_t adopter = adopter_of(board, slot);

    if (!needs_adopter(master, slot, now_ms))
        set_adopter(master, slot, SCOREBOARD_NOBODY);
    else if (adopter == SCOREBOARD_NOBODY || state_of(board, adopter) != SLOT_SERVING)
        set_adopter(master, slot, supervise_adopter(board, slot));
}

void supervise_check(struct master *master)
{
    struct scoreboard *board = master->heritage.board;
    uint64_t now_ms = clock_now_ms();
    bool settled = true;

    if (master->phase >= MASTER_DRAINING)
        return;
    for (unsigned slot = 0; slot < board->n_slots; slot++) {
        struct master_slot *own = &master->slots[slot];

        assign(master, slot, now_ms);
        /* A failure is logged and tried again later. */
        if (own->pid == 0 && !master->failed && now_ms >= own->respawn_at_ms)
            (void)spawn(master, slot);
        if (state_of(board, slot) != SLOT_SERVING || adopter_of(board, slot) != SCOREBOARD_NOBODY)
            settled = false;
    }
    if (settled) {
        uv_timer_stop(&master->supervise);
        master->settled(master);
    } else {
        watch(master);
    }
}

static void on_watch(uv_timer_t *timer)
{
    supervise_check(timer->data);
}

static void watch(struct master *master)
{
    if (!uv_is_active((uv_handle_t *)&master->supervise))
        uv_timer_start(&master->supervise, on_watch, WATCH_MS, WATCH_MS);
}

/* --- signals -------------------------------------------------------------------------------- */

void supervise_signal(const struct master *master, int signo)
{
    for (unsigned slot = 0; slot < SCOREBOARD_MAX; slot++) {
        if (master->slots[slot].pid > 0)
            kill(master->slots[slot].pid, signo);
    }
}

unsigned supervise_alive(const struct master *master)
{
    unsigned n = 0;

    for (unsigned slot = 0; slot < SCOREBOARD_MAX; slot++)
        n += master->slots[slot].pid > 0;
    return n;
}
