#include "shm/watch.h"

#include "shm/block.h"
#include "shm/gate.h"
#include "shm/lock.h"
#include "shm/process.h"

#include <stdlib.h>

/* A busy stripe may be seen locked by one owner at every look, each time anew. One that is held for
 * good stays locked through this many looks in a row, which take longer than any change does. */
#define CONFIRM_LOOKS 100000

/* The stripes' locks, that of the index' blocks, and the gate. */
#define BLOCKS  LAYOUT_STRIPES
#define GATE    (LAYOUT_STRIPES + 1)
#define N_LOCKS (LAYOUT_STRIPES + 2)

struct watch {
    struct {
        uint32_t owner; /* seen at every look since */
        uint64_t since_ms;
    } lock[N_LOCKS];
};

int watch_create(struct watch **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? ERR_OK : ERR_NOMEM;
}

void watch_destroy(struct watch *watch)
{
    free(watch);
}

static uint32_t owner_of(const struct zone *zone, uint32_t lock)
{
    if (lock == BLOCKS)
        return block_lock_owner(zone);
    if (lock == GATE)
        return gate_holder(zone);
    return lock_owner(&zone->stripes[lock]);
}

static bool stays_locked(const struct zone *zone, uint32_t lock, uint32_t owner)
{
    for (unsigned i = 0; i < CONFIRM_LOOKS; i++)
        if (owner_of(zone, lock) != owner)
            return false;
    return true;
}

/* The owner's pid while it lives; a dead one is repair's business. */
static pid_t live_pid(const struct zone *zone, uint32_t owner)
{
    uint64_t identity = atomic_load(&layout_owner(zone, owner)->identity);

    return identity != 0 && process_alive(identity) ? process_pid(identity) : 0;
}

pid_t watch_look(struct watch *watch, struct zone *zone, uint64_t now_ms)
{
    for (uint32_t i = 0; i < N_LOCKS; i++) {
        uint32_t owner = owner_of(zone, i);
        pid_t pid;

        if (owner != watch->lock[i].owner) {
            watch->lock[i].owner = owner;
            watch->lock[i].since_ms = now_ms;
        }
        if (owner == 0 || owner > ZONE_MAX_OWNERS || owner == zone->owner ||
            now_ms - watch->lock[i].since_ms < WATCH_HELD_MS)
            continue;
        pid = live_pid(zone, owner);
        if (pid > 0 && stays_locked(zone, i, owner))
            return pid;
    }
    return 0;
}
