/* The gate of a zone: one process at a time makes several changes as one.
 *
 * While it is held nobody else gets a stripe's lock, so nobody else changes an entry; plain reads
 * need no lock and go on. A reader that must not see the first of the changes without the last
 * looks before and after: nothing was half done in between when gate_look() let it in and
 * gate_same() says that no holder has come since.
 *
 *     gate_take(), gate_settle() for the stripe of each key, the changes, gate_drop()
 *
 * Order: the gate is taken with no stripe's lock held. Waiting is bounded (GATE_WAIT_MS). Events
 * (zone_clear(), ban_add()) take no lock: who must not cut into another's changes takes the gate
 * around them. Recovery: repair_process() opens the gate of a dead holder; the changes it had made
 * stay. A living one that holds it for WATCH_HELD_MS is killed (watch.h).
 */
#ifndef SHM_GATE_H
#define SHM_GATE_H

#include "common/slice.h"
#include "shm/zone.h"

#define GATE_WAIT_MS 5

/* Close it for the others. False: another process held it for all of GATE_WAIT_MS. */
bool gate_take(struct zone *zone) MUST_CHECK;

/* Wait for the change that is under way in a stripe. After that none begins there. False: its lock
 * stayed taken. Gate held. */
bool gate_settle(struct zone *zone, unsigned stripe) MUST_CHECK;

/* The stripe of a key, for gate_settle(). */
unsigned gate_stripe(const struct zone *zone, struct slice key);

void gate_drop(struct zone *zone);

/* Owner id of who holds it; 0 = nobody. */
uint32_t gate_holder(const struct zone *zone);

/* Open what a dead process held. */
void gate_break(struct zone *zone, uint32_t owner);

/* Wait until no other process holds it, GATE_WAIT_MS at most; false = one still does. */
bool gate_wait(const struct zone *zone);

/* Before a read of several things: *turn is what gate_same() compares. False: somebody holds it. */
bool gate_look(const struct zone *zone, uint32_t *turn);

/* After it: nothing of what was read was half done. */
bool gate_same(const struct zone *zone, uint32_t turn);

#endif
