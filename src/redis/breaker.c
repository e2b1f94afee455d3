#include "redis/breaker.h"

#include <stddef.h>
#include <sys/mman.h>

/* Everything that decides is one word, so that each step is one compare-and-swap and a process
 * killed between two instructions leaves nothing half done:
 *   bits 0-1 state | bits 2-15 consecutive failures | bits 16-63 ms since when it is in the state
 */
#define STATE_BITS    2
#define FAILURES_BITS 14
#define FAILURES_MAX  ((1u << FAILURES_BITS) - 1)
#define SINCE_SHIFT   (STATE_BITS + FAILURES_BITS)

struct breaker {
    _Atomic uint64_t word;
    _Atomic uint64_t opened;
    uint32_t failures; /* [const after create] consecutive ones that open it */
    uint64_t open_ms;  /* [const after create] */
};

static uint64_t word_make(enum breaker_state state, uint32_t failures, uint64_t since_ms)
{
    return (uint64_t)state | (uint64_t)failures << STATE_BITS | since_ms << SINCE_SHIFT;
}

static enum breaker_state word_state(uint64_t word)
{
    return (enum breaker_state)(word & ((1u << STATE_BITS) - 1));
}

static uint32_t word_failures(uint64_t word)
{
    return (uint32_t)(word >> STATE_BITS) & FAILURES_MAX;
}

static uint64_t word_since_ms(uint64_t word)
{
    return word >> SINCE_SHIFT;
}

int breaker_create(uint32_t failures, uint64_t open_ms, struct breaker **out, struct errmsg *msg)
{
    struct breaker *breaker;

    if (failures == 0 || failures > FAILURES_MAX)
        return err_set(msg, ERR_INVALID, "the breaker opens after 1 to %u failures, not %u",
                       FAILURES_MAX, failures);
    breaker =
        mmap(NULL, sizeof(*breaker), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (breaker == MAP_FAILED)
        return err_set_errno(msg, "cannot map the breaker");
    breaker->failures = failures;
    breaker->open_ms = open_ms;
    *out = breaker;
    return ERR_OK;
}

void breaker_destroy(struct breaker *breaker)
{
    if (breaker != NULL)
        munmap(breaker, sizeof(*breaker));
}

bool breaker_allow(struct breaker *breaker, uint64_t now_ms)
{
    uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);

    if (word_state(word) == BREAKER_CLOSED)
        return true;
    /* Open for long enough, or half-open with a prober that has not come back: one caller wins. */
    if (now_ms < word_since_ms(word) + breaker->open_ms)
        return false;
    return atomic_compare_exchange_strong(
        &breaker->word, &word, word_make(BREAKER_HALF_OPEN, word_failures(word), now_ms));
}

void breaker_success(struct breaker *breaker)
{
    uint64_t word = atomic_load_explicit(&breaker->word, memory_order_relaxed);

    /* Every answer comes through here: in good times it is this one load. */
    if (word_state(word) == BREAKER_CLOSED && word_failures(word) == 0)
        return;
    atomic_store_explicit(&breaker->word, word_make(BREAKER_CLOSED, 0, 0), memory_order_release);
}

void breaker_failure(struct breaker *breaker, uint64_t now_ms)
{
    uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);
    uint64_t next;
    bool opens;

    do {
        uint32_t failures = word_failures(word);

        if (word_state(word) == BREAKER_OPEN)
            return; /* already known; a late failure does not put the probe off */
        failures += failures < FAILURES_MAX;
        opens = word_state(word) == BREAKER_HALF_OPEN || failures >= breaker->failures;
        next = word_make(opens ? BREAKER_OPEN : BREAKER_CLOSED, failures, opens ? now_ms : 0);
    } while (!atomic_compare_exchange_weak(&breaker->word, &word, next));
    if (opens)
        atomic_fetch_add_explicit(&breaker->opened, 1, memory_order_relaxed);
}

enum breaker_state breaker_state(const struct breaker *breaker)
{
    return word_state(atomic_load_explicit(&breaker->word, memory_order_acquire));
}

uint64_t breaker_opened(const struct breaker *breaker)
{
    return atomic_load_explicit(&breaker->opened, memory_order_relaxed);
}
