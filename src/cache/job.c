/* The table of jobs, in memory shared by fork: who runs which, and what they cover. */
#include "cache/impl.h"
#include "common/clock.h"
#include "common/glob.h"

#include <sys/mman.h>

int jobs_create(struct jobs **out, struct errmsg *msg)
{
    void *p =
        mmap(NULL, sizeof(struct jobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_set_errno(msg, "cannot map %zu bytes for the job table", sizeof(struct jobs));
    *out = p;
    return ERR_OK;
}

void jobs_destroy(struct jobs *jobs)
{
    munmap(jobs, sizeof(*jobs));
}

/* Recounted, not added to: a process may die between any two steps. */
static void recount(struct jobs *jobs, unsigned cache)
{
    uint32_t n = 0;

    for (size_t i = 0; i < JOBS_MAX; i++)
        n += atomic_load(&jobs->job[i].state) == JOB_RUNNING && jobs->job[i].cache == cache;
    atomic_store(&jobs->running[cache], n);
}

unsigned jobs_orphan(struct jobs *jobs, uint32_t owner)
{
    unsigned n = 0;

    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct job *job = &jobs->job[i];

        if (atomic_load(&job->owner) != owner)
            continue;
        if (atomic_load(&job->state) == JOB_SETUP)
            atomic_store(&job->state, JOB_FREE);
        else
            n += atomic_load(&job->state) == JOB_RUNNING;
        atomic_store(&job->owner, 0);
    }
    return n;
}

struct job *job_claim(struct caches *caches)
{
    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct job *job = &caches->heritage->jobs->job[i];
        uint32_t nobody = 0;

        /* The owner first: a job without one is either free or waits to be adopted. */
        if (!atomic_compare_exchange_strong(&job->owner, &nobody, caches->owner))
            continue;
        if (atomic_load(&job->state) == JOB_FREE) {
            atomic_store(&job->state, JOB_SETUP);
            return job;
        }
        atomic_store(&job->owner, 0);
    }
    return NULL;
}

void job_publish(struct cache *cache, struct job *job)
{
    atomic_store(&job->scanned, 0);
    atomic_store(&job->removed, 0);
    atomic_store(&job->state, JOB_RUNNING);
    recount(cache->set->heritage->jobs, cache->number);
}

bool job_adopt(struct caches *caches, struct job *job)
{
    uint32_t nobody = 0;

    if (atomic_load(&job->state) != JOB_RUNNING || atomic_load(&job->owner) != 0 ||
        !atomic_compare_exchange_strong(&job->owner, &nobody, caches->owner))
        return false;
    if (atomic_load(&job->state) == JOB_RUNNING)
        return true;
    atomic_store(&job->owner, 0);
    return false;
}

void job_release(struct cache *cache, struct job *job)
{
    atomic_store(&job->state, JOB_FREE);
    recount(cache->set->heritage->jobs, cache->number);
    atomic_store(&job->owner, 0);
}

static bool job_covers(const struct job *job, unsigned cache, struct slice key)
{
    if (atomic_load(&job->state) != JOB_RUNNING || job->cache != cache)
        return false;
    return job->kind == JOB_CLEAR || glob_match(slice_make(job->pattern, job->pattern_len), key);
}

bool jobs_cover(const struct cache *cache, struct slice key)
{
    struct jobs *jobs = cache->set->heritage->jobs;
    uint64_t until_ms = atomic_load(&jobs->clearing_until_ms[cache->number]);

    if (until_ms != 0 && until_ms > clock_now_ms())
        return true;
    if (atomic_load(&jobs->running[cache->number]) == 0)
        return false;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (job_covers(&jobs->job[i], cache->number, key))
            return true;
    return false;
}
