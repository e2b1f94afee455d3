/* Large values lent from the zone: sent from where they lie, without a copy.
 *
 * A pin is a hazard: the process names the first slab of the value in its own record, and whoever
 * would free that chain of slabs leaves it until no record names it (slab_chain_free(),
 * slab_parked()). There is no count in shared memory that a dead process could leave behind: its
 * record is emptied by repair. Entries of their own slabs are never overwritten in place, so what
 * is pinned does not change, whatever happens to the entry meanwhile: a store, delete or clear of
 * the key is seen by the next reader and not by who sends the value already.
 *
 * Order: who pins writes its record, then a full fence, then looks whether the entry is still
 * linked; who frees unlinks, then a full fence, then looks at the records.
 *
 * Only values that have slabs of their own (over half a slab) can be pinned, and all pins of a zone
 * together hold at most an eighth of it: beyond that, and when the process' record is full, the
 * caller copies. One process, no locks.
 */
#ifndef SHM_PIN_H
#define SHM_PIN_H

#include "common/slice.h"
#include "shm/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left to be sent of a pinned value. Plain data; all zero is one that holds nothing. */
struct pin {
    struct zone *zone; /* NULL = holds nothing */
    uint32_t slab;     /* where it goes on */
    uint32_t at;       /* from that slab's start */
    size_t left;       /* bytes */
    unsigned place;    /* in the process' record */
};

/* Pin what table_find() saw. false: not pinned, copy it: it is not large, it was overtaken, or
 * there is no room for one more. On true pin_end() follows exactly once. */
bool pin_begin(struct zone *zone, const struct table_hit *hit, struct pin *pin) MUST_CHECK;

/* The next bytes, as far as they lie together; empty at the end. */
struct slice pin_piece(const struct pin *pin);

/* Go on n bytes, at most pin->left. */
void pin_skip(struct pin *pin, size_t n);

/* Let go: the slabs may be freed. Harmless for one that holds nothing, and a second time. */
void pin_end(struct pin *pin);

/* Whether a live process sends from the chain that begins with this slab. A scan of the records:
 * for chains that are about to be freed. After a full fence behind the unlinking. */
bool pin_held(const struct zone *zone, uint32_t first);

/* The record of a process that has left or died is emptied. */
void pin_forget(struct zone *zone, uint32_t owner);

/* Bytes of the zone that are pinned now, in whole slabs. */
uint64_t pin_bytes(const struct zone *zone);

#endif
