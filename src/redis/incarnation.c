#include "redis/incarnation.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#define SERVERS_MAX  1024
#define SUSPECTS_MAX 16384 /* more than all connections of all workers */
#define RUN_BITS     16    /* of a run's hash, beside a suspect's id */
#define RUN_MASK     ((UINT64_C(1) << RUN_BITS) - 1)

struct incarnation {
    _Atomic uint64_t raised;  /* doubts */
    _Atomic uint64_t settled; /* of them, the last that was seen to */
    _Atomic uint64_t escaped;
    _Atomic uint32_t n_suspects; /* at least as many as there are */
    _Atomic uint64_t
        server[SERVERS_MAX]; /* hash of the address << 32 | hash of its run; 0 = free */
    _Atomic uint64_t suspect[SUSPECTS_MAX]; /* id << RUN_BITS | bits of the run's hash; 0 = free */
};

int incarnation_create(struct incarnation **out, struct errmsg *msg)
{
    void *p = mmap(NULL, sizeof(struct incarnation), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_set_errno(msg, "cannot map the record of Redis' runs");
    *out = p;
    return ERR_OK;
}

void incarnation_destroy(struct incarnation *incarnation)
{
    if (incarnation != NULL)
        munmap(incarnation, sizeof(*incarnation));
}

/* FNV-1a; never 0. Run ids are random and addresses few: nothing better is needed. */
static uint32_t hash(struct slice bytes)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < bytes.len; i++)
        h = (h ^ (unsigned char)bytes.data[i]) * 16777619u;
    return h == 0 ? 1 : h;
}

/* --- suspects --- */

static uint64_t suspect_of(uint32_t run, int64_t client_id)
{
    return (uint64_t)client_id << RUN_BITS | (run & RUN_MASK);
}

static void forget(struct incarnation *inc, size_t i, uint64_t there)
{
    if (atomic_compare_exchange_strong(&inc->suspect[i], &there, 0))
        atomic_fetch_sub(&inc->n_suspects, 1);
}

/* Those of this run, or all. */
static void forget_run(struct incarnation *inc, uint32_t run, bool all)
{
    if (atomic_load(&inc->n_suspects) == 0)
        return;
    for (size_t i = 0; i < SUSPECTS_MAX; i++) {
        uint64_t there = atomic_load(&inc->suspect[i]);

        if (there != 0 && (all || (there & RUN_MASK) == (run & RUN_MASK)))
            forget(inc, i, there);
    }
}

void incarnation_suspect(struct incarnation *incarnation, struct slice run_id, int64_t client_id)
{
    uint64_t suspect = suspect_of(hash(run_id), client_id);

    if (client_id <= 0)
        return;
    atomic_fetch_add(&incarnation->n_suspects, 1);
    for (size_t i = 0; i < SUSPECTS_MAX; i++) {
        uint64_t there = 0;

        if (atomic_compare_exchange_strong(&incarnation->suspect[i], &there, suspect))
            return;
        if (there == suspect) {
            atomic_fetch_sub(&incarnation->n_suspects, 1);
            return;
        }
    }
    atomic_fetch_sub(&incarnation->n_suspects, 1);
    atomic_fetch_add(&incarnation->escaped, 1);
}

size_t incarnation_list(struct incarnation *incarnation, struct slice run_id, int64_t *ids,
                        size_t max)
{
    uint32_t run = hash(run_id);
    size_t n = 0;

    if (atomic_load(&incarnation->n_suspects) == 0)
        return 0;
    for (size_t i = 0; i < SUSPECTS_MAX && n < max; i++) {
        uint64_t there = atomic_load(&incarnation->suspect[i]);

        if (there != 0 && (there & RUN_MASK) == (run & RUN_MASK))
            ids[n++] = (int64_t)(there >> RUN_BITS);
    }
    return n;
}

void incarnation_acquit(struct incarnation *incarnation, struct slice run_id, int64_t client_id)
{
    uint64_t suspect = suspect_of(hash(run_id), client_id);

    if (atomic_load(&incarnation->n_suspects) == 0)
        return;
    for (size_t i = 0; i < SUSPECTS_MAX; i++)
        if (atomic_load(&incarnation->suspect[i]) == suspect)
            forget(incarnation, i, suspect);
}

void incarnation_acquit_all(struct incarnation *incarnation)
{
    forget_run(incarnation, 0, true);
}

uint32_t incarnation_suspects(const struct incarnation *incarnation)
{
    return atomic_load_explicit(&incarnation->n_suspects, memory_order_relaxed);
}

uint64_t incarnation_escaped(const struct incarnation *incarnation)
{
    return atomic_load_explicit(&incarnation->escaped, memory_order_relaxed);
}

/* --- doubts --- */

void incarnation_doubt(struct incarnation *incarnation)
{
    atomic_fetch_add(&incarnation->raised, 1);
}

/* The server in place i is another run than before, or was not met before. The doubt comes first:
 * whoever sees the new run sees the doubt too. */
static bool change(struct incarnation *inc, size_t i, uint64_t there, uint64_t now)
{
    if (there != 0 || i != 0)
        incarnation_doubt(inc);
    if (!atomic_compare_exchange_strong(&inc->server[i], &there, now))
        return false;
    if (there != 0)
        forget_run(inc, (uint32_t)there, false);
    return true;
}

void incarnation_login(struct incarnation *incarnation, struct slice server, struct slice run_id)
{
    uint64_t address = hash(server);
    uint64_t now = address << 32 | hash(run_id);

    if (run_id.len == 0)
        return;
    for (size_t i = 0; i < SERVERS_MAX;) {
        uint64_t there = atomic_load(&incarnation->server[i]);

        if (there == now)
            return;
        if (there != 0 && there >> 32 != address)
            i++;
        else if (change(incarnation, i, there, now))
            return;
    }
    incarnation_doubt(incarnation); /* more servers than can be told apart */
}

uint64_t incarnation_doubted(const struct incarnation *incarnation)
{
    uint64_t raised = atomic_load_explicit(&incarnation->raised, memory_order_acquire);

    return raised == atomic_load_explicit(&incarnation->settled, memory_order_acquire) ? 0 : raised;
}

void incarnation_settle(struct incarnation *incarnation, uint64_t doubt)
{
    atomic_store_explicit(&incarnation->settled, doubt, memory_order_release);
}

uint64_t incarnation_doubts(const struct incarnation *incarnation)
{
    return atomic_load_explicit(&incarnation->raised, memory_order_relaxed);
}
