#include "master/direct.h"

#include "common/log.h"
#include "shm/reader.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The uid that stands for those which this user namespace does not know. */
static uid_t overflow_uid(void)
{
    FILE *f = fopen("/proc/sys/kernel/overflowuid", "re");
    unsigned uid = 65534;

    if (f == NULL)
        return uid;
    if (fscanf(f, "%u", &uid) != 1)
        log_warn("cannot read /proc/sys/kernel/overflowuid; taking %u", uid);
    fclose(f);
    return uid;
}

static int find_uid(const struct config_cache *cache, const char *name, uid_t *uid,
                    struct errmsg *msg)
{
    const struct passwd *user = getpwnam(name);
    char *end;
    unsigned long number;

    if (user != NULL) {
        *uid = user->pw_uid;
        return ERR_OK;
    }
    errno = 0;
    number = strtoul(name, &end, 10);
    if (errno != 0 || *name < '0' || *name > '9' || *end != '\0' || number >= (uid_t)-1)
        return err_set(msg, ERR_INVALID, "cache %s: direct_users: there is no user %s", cache->name,
                       name);
    *uid = (uid_t)number;
    return ERR_OK;
}

static int prepare_one(const struct config_cache *cache, const struct zone *zone,
                       struct heritage_direct *direct, struct errmsg *msg)
{
    struct stat st;

    direct->unknown = overflow_uid();
    for (size_t i = 0; i < cache->n_direct_users; i++) {
        int err = find_uid(cache, cache->direct_users[i], &direct->uids[i], msg);

        if (err != ERR_OK)
            return err;
    }
    direct->n_uids = cache->n_direct_users;
    direct->fd = reader_descriptor(zone, msg);
    if (direct->fd < 0)
        return ERR_SYSTEM;
    direct->on = true;
    if (fstat(direct->fd, &st) != 0)
        return err_set_errno(msg, "cannot look at the memory of cache %s", cache->name);
    direct->owner = st.st_uid;
    return ERR_OK;
}

int direct_prepare(struct heritage *heritage, struct errmsg *msg)
{
    const struct config *config = heritage->config;
    int err = ERR_OK;

    for (size_t i = 0; i < config->n_caches && err == ERR_OK; i++)
        if (config->caches[i].direct)
            err = prepare_one(&config->caches[i], heritage->zones[i], &heritage->direct[i], msg);
    return err;
}

void direct_undo(struct heritage *heritage)
{
    for (size_t i = 0; i < heritage->config->n_caches; i++) {
        if (heritage->direct[i].on)
            close(heritage->direct[i].fd);
        heritage->direct[i].on = false;
    }
}
