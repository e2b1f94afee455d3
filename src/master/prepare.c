#include "master/prepare.h"

#include "common/config.h"
#include "common/log.h"
#include "master/direct.h"
#include "shm/room.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors of one worker beside its clients: log, loop, DNS, files in passing. */
#define SPARE_FILES 64

/* Whom the workers become. Looked up once, here, so that a mistake is said before anything starts.
 */
static int find_user(struct heritage *heritage, struct errmsg *msg)
{
    const struct config *config = heritage->config;
    const struct passwd *user;
    const struct group *group;

    if (config->user == NULL || config->user[0] == '\0')
        return ERR_OK;
    if (geteuid() != 0) {
        log_warn("user = \"%s\" has no effect: not started as root", config->user);
        return ERR_OK;
    }
    user = getpwnam(config->user);
    if (user == NULL)
        return err_set(msg, ERR_INVALID, "user: there is no user %s", config->user);
    heritage->uid = user->pw_uid;
    heritage->gid = user->pw_gid;
    heritage->drop_user = true;
    if (config->group == NULL || config->group[0] == '\0')
        return ERR_OK;
    group = getgrnam(config->group);
    if (group == NULL)
        return err_set(msg, ERR_INVALID, "group: there is no group %s", config->group);
    heritage->gid = group->gr_gid;
    return ERR_OK;
}

static int make_node_id(char *out, size_t size, struct errmsg *msg)
{
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return err_set_errno(msg, "cannot make a node id");
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(out + 2 * i, size - 2 * i, "%02x", bytes[i]);
    return ERR_OK;
}

static int make_board(struct heritage *heritage, struct errmsg *msg)
{
    uint32_t n_slots = (uint32_t)heritage->config->workers;
    int status = scoreboard_create(n_slots, &heritage->board, msg);

    if (status != ERR_OK)
        return status;
    atomic_store(&heritage->board->master_pid, (int32_t)getpid());
    return ERR_OK;
}

static int make_redis_state(struct heritage *heritage, struct errmsg *msg)
{
    const struct config *config = heritage->config;
    int status;

    if (!config->redis.enabled)
        return ERR_OK;
    status = journal_create((uint32_t)config->redis.journal_entries,
                            (uint32_t)config->limits.key_bytes, &heritage->journal, msg);
    if (status != ERR_OK)
        return status;
    if (config->redis.loss_window_ms > 0)
        status = journal_create((uint32_t)config->redis.journal_entries,
                                (uint32_t)config->limits.key_bytes, &heritage->window, msg);
    if (status == ERR_OK)
        status = incarnation_create(&heritage->incarnation, msg);
    if (status != ERR_OK)
        return status;
    return breaker_create((uint32_t)config->redis.breaker_failures, config->redis.breaker_open_ms,
                          &heritage->breaker, msg);
}

/* Before any of it is taken: a group's limit, unlike the machine's, kills instead of refusing. */
static int check_memory(const struct config *config, struct errmsg *msg)
{
    struct room_ask asks[CONFIG_MAX_CACHES];
    struct room room;

    for (size_t i = 0; i < config->n_caches; i++)
        asks[i] = (struct room_ask){config->caches[i].name, config->caches[i].memory_bytes};
    room_find("", &room);
    return room_check(&room, asks, config->n_caches, msg);
}

static int make_zones(struct heritage *heritage, struct errmsg *msg)
{
    const struct config *config = heritage->config;

    for (size_t i = 0; i < config->n_caches; i++) {
        struct zone_options options = {
            .name = config->caches[i].name,
            .size_bytes = config->caches[i].memory_bytes,
            .key_max_bytes = (uint32_t)config->limits.key_bytes,
            .size_credit = config->caches[i].size_credit,
            .populate = true,
            .huge_pages = config->huge_pages,
            .lock = config->mlock,
        };
        int status = zone_create(&options, &heritage->zones[i], msg);

        if (status != ERR_OK)
            return status;
    }
    return ERR_OK;
}

int prepare_heritage(struct heritage *heritage, struct errmsg *msg)
{
    int status;

    if ((status = find_user(heritage, msg)) != ERR_OK ||
        (status = make_node_id(heritage->node_id, sizeof(heritage->node_id), msg)) != ERR_OK ||
        (status = make_board(heritage, msg)) != ERR_OK ||
        (status = make_redis_state(heritage, msg)) != ERR_OK ||
        (status = jobs_create(&heritage->jobs, msg)) != ERR_OK ||
        (status = soft_create(heritage->config->n_caches, &heritage->soft, msg)) != ERR_OK ||
        (status = health_create(heritage->config->n_routes * CONFIG_MAX_ORIGINS, &heritage->health,
                                msg)) != ERR_OK ||
        (status = event_create(&heritage->events, msg)) != ERR_OK)
        return status;
    if ((status = check_memory(heritage->config, msg)) != ERR_OK)
        return status;
    if ((status = make_zones(heritage, msg)) != ERR_OK)
        return status;
    return direct_prepare(heritage, msg);
}

void prepare_undo(struct heritage *heritage)
{
    direct_undo(heritage);
    for (size_t i = 0; i < heritage->config->n_caches; i++) {
        if (heritage->zones[i] != NULL)
            zone_destroy(heritage->zones[i]);
        heritage->zones[i] = NULL;
    }
    if (heritage->events != NULL)
        event_destroy(heritage->events);
    soft_destroy(heritage->soft, heritage->config->n_caches);
    health_destroy(heritage->health, heritage->config->n_routes * CONFIG_MAX_ORIGINS);
    if (heritage->jobs != NULL)
        jobs_destroy(heritage->jobs);
    if (heritage->breaker != NULL)
        breaker_destroy(heritage->breaker);
    incarnation_destroy(heritage->incarnation);
    journal_destroy(heritage->window);
    journal_destroy(heritage->journal);
    if (heritage->board != NULL)
        scoreboard_destroy(heritage->board);
}

/* What one worker may have open: the largest user of descriptors. */
static rlim_t files_needed(const struct config *config)
{
    uint64_t per_slot = 3 + config->n_listeners; /* wake, handover pair, TCP sockets */

    return (rlim_t)((uint64_t)config->limits.connections + (uint64_t)config->workers * per_slot +
                    config->n_caches + (uint64_t)config->redis.pool_size + SPARE_FILES);
}

void prepare_file_limit(const struct config *config)
{
    rlim_t needed = files_needed(config);
    struct rlimit limit, wanted;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return;
    wanted = limit;
    wanted.rlim_cur = needed;
    if (wanted.rlim_max < needed)
        wanted.rlim_max = needed;
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return;
    /* Not allowed to raise the hard limit: take what there is. */
    wanted = limit;
    wanted.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (setrlimit(RLIMIT_NOFILE, &wanted) != 0)
        wanted = limit;
    if (wanted.rlim_cur < needed)
        log_warn(
            "limits.connections = %lld needs %llu open files a worker, and the system allows %llu: "
            "raise it (ulimit -n, LimitNOFILE=) or lower limits.connections",
            (long long)config->limits.connections, (unsigned long long)needed,
            (unsigned long long)wanted.rlim_cur);
}
