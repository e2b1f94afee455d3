#include "shm/health.h"

#include <stddef.h>
#include <sys/mman.h>

#define FAILURES_BITS 16
#define FAILURES_MASK ((UINT64_C(1) << FAILURES_BITS) - 1)

static uint64_t until_of(uint64_t word)
{
    return word >> FAILURES_BITS;
}

static size_t bytes_of(size_t n)
{
    return (n > 0 ? n : 1) * sizeof(struct health);
}

int health_create(size_t n, struct health **out, struct errmsg *msg)
{
    struct health *list =
        mmap(NULL, bytes_of(n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (list == MAP_FAILED)
        return err_set_errno(msg, "cannot map the health of the origins");
    *out = list;
    return ERR_OK;
}

void health_destroy(struct health *list, size_t n)
{
    if (list != NULL)
        munmap(list, bytes_of(n));
}

bool health_usable(const struct health *health, uint64_t now_ms)
{
    uint64_t until_ms = until_of(atomic_load_explicit(&health->word, memory_order_acquire));

    if (atomic_load_explicit(&health->sick, memory_order_relaxed) != 0)
        return false;
    return until_ms == 0 ||
           (now_ms >= until_ms &&
            now_ms >= atomic_load_explicit(&health->trying_ms, memory_order_acquire));
}

bool health_take(struct health *health, uint64_t now_ms, uint64_t try_ms, bool *trial)
{
    uint64_t trying_ms;

    *trial = false;
    if (!health_usable(health, now_ms))
        return false;
    if (until_of(atomic_load_explicit(&health->word, memory_order_acquire)) == 0)
        return true;
    trying_ms = atomic_load_explicit(&health->trying_ms, memory_order_acquire);
    *trial = now_ms >= trying_ms &&
             atomic_compare_exchange_strong(&health->trying_ms, &trying_ms, now_ms + try_ms + 1);
    return *trial;
}

bool health_good(struct health *health)
{
    uint64_t word;

    /* Nothing is written while all is well: the line stays in every processor's cache. */
    if (atomic_load_explicit(&health->word, memory_order_relaxed) == 0)
        return false;
    word = atomic_exchange(&health->word, 0);
    atomic_store(&health->trying_ms, 0);
    return until_of(word) != 0;
}

bool health_bad(struct health *health, uint64_t now_ms, uint32_t limit, uint64_t out_ms)
{
    uint64_t word = atomic_load(&health->word), failures, until_ms;

    do {
        failures = word & FAILURES_MASK;
        failures += failures < FAILURES_MASK;
        until_ms = until_of(word);
        if (until_ms != 0 || failures >= limit)
            until_ms = now_ms + out_ms + 1;
    } while (
        !atomic_compare_exchange_weak(&health->word, &word, failures | until_ms << FAILURES_BITS));
    atomic_store(&health->trying_ms, 0);
    return until_ms != 0 && until_of(word) == 0;
}

void health_leave(struct health *health)
{
    atomic_store(&health->trying_ms, 0);
}

bool health_check_due(struct health *health, uint64_t now_ms, uint64_t time_ms)
{
    uint64_t due_ms = atomic_load_explicit(&health->check_ms, memory_order_acquire);

    return now_ms >= due_ms &&
           atomic_compare_exchange_strong(&health->check_ms, &due_ms, now_ms + time_ms);
}

bool health_checked(struct health *health, bool well, uint64_t next_ms)
{
    uint32_t was = atomic_exchange(&health->sick, well ? 0 : 1);

    atomic_store_explicit(&health->check_ms, next_ms, memory_order_release);
    return was != (well ? 0 : 1);
}

uint32_t health_busy(const struct health *health, uint32_t n_slots)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_slots && i < SCOREBOARD_MAX; i++)
        n += atomic_load_explicit(&health->busy[i], memory_order_relaxed);
    return n;
}
