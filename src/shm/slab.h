/* Slabs: equal pieces of the zone. Entries are appended by the one process that has a slab open; a
 * slab is emptied and freed whole. A value over half a slab lies in slabs of its own, chained by
 * header.
 *
 *   FREE -> OPEN(owner) -> SEALED -> RECLAIM(owner) -> FREE
 *   FREE -> OPEN(owner) -> LARGE  -> RECLAIM(owner) -> FREE     (large values)
 *   RECLAIM(owner) -> LARGE: parked, because somebody sends from it
 *   FREE -> OPEN(owner) -> INDEX  -> RECLAIM(owner) -> FREE     (block.h)
 *   SEALED -> OPEN(owner): where there are too few slabs for each worker to keep one, workers share
 *
 * State and owner are one word, changed by CAS: whoever has it in OPEN or RECLAIM is alone with the
 * slab. A free slab's header is all zero but for the state; so nothing is half reset after a crash.
 */
#ifndef SHM_SLAB_H
#define SHM_SLAB_H

#include "shm/layout.h"

enum slab_state { SLAB_FREE, SLAB_OPEN, SLAB_SEALED, SLAB_RECLAIM, SLAB_LARGE, SLAB_INDEX };

#define SLAB_HEAD     UINT32_C(0x100) /* first slab of a large value */
#define SLAB_BODY     UINT32_C(0x200) /* a later one */
#define SLAB_INEXACT  UINT32_C(0x400) /* a process died while it changed the counts */
#define SLAB_MAIN     UINT32_C(0x800) /* in the main queue; otherwise in the small one */
#define SLAB_PARKED   UINT32_C(0x1000) /* its entry is gone, and it may still be sent from (pin.h) */
#define SLAB_KEPT     1u              /* free slabs that only reclaiming may use */
#define SLAB_CLASS(f) ((f)&0xff)
#define SLAB_NEVER    UINT64_MAX /* max_expiry: holds an entry without expiry */

static inline enum slab_state slab_state(uint64_t word)
{
    return (enum slab_state)(word & 0xff);
}

static inline uint32_t slab_owner(uint64_t word)
{
    return (word >> 8) & 0xff;
}

static inline uint64_t slab_word(enum slab_state state, uint32_t owner, uint64_t old)
{
    return (uint64_t)state | (uint64_t)owner << 8 | (old & UINT64_C(0xffffffff00000000));
}

static inline uint64_t slab_load(const struct zone *zone, uint32_t slab)
{
    return atomic_load_explicit(&zone->slabs[slab].state, memory_order_acquire);
}

static inline uint64_t slab_offset(const struct zone *zone, uint32_t slab)
{
    return zone->g.slabs + ((uint64_t)slab << zone->g.slab_shift);
}

static inline uint32_t slab_of(const struct zone *zone, uint64_t offset)
{
    return (uint32_t)((offset - zone->g.slabs) >> zone->g.slab_shift);
}

static inline uint32_t slab_bytes(const struct zone *zone)
{
    return UINT32_C(1) << zone->g.slab_shift;
}

/* One CAS from exactly old (as loaded) to state and owner. */
bool slab_move(struct zone *zone, uint32_t slab, uint64_t old, enum slab_state state,
               uint32_t owner) MUST_CHECK;

/* A free slab, now open and ours and stamped; LAYOUT_NONE when there is none. Never reclaims. */
uint32_t slab_alloc(struct zone *zone, uint32_t flags);

/* Give an empty slab back: ours, open or in reclaim. */
void slab_free(struct zone *zone, uint32_t slab);

/* Note that a slab is free (slab_alloc() looks only at these bits). Idempotent. */
void slab_mark_free(struct zone *zone, uint32_t slab);

/* Free slabs, by the bits: an estimate while others allocate. */
uint32_t slab_count_free(const struct zone *zone);

/* Whether nothing in the slab can be valid: all expired, or all older than the last clear. */
bool slab_dead(const struct zone *zone, uint32_t slab, uint64_t now_ms);

/* What is to be appended. */
struct slab_want {
    uint32_t size;
    uint64_t expires_ms; /* boottime; 0 = none */
    bool main;           /* the queue */
    bool last;           /* may open the last free slab, which is kept for what reclaiming saves */
};

/* Open slabs of this process: an offset for size bytes in the class that fits the expiry, or 0 when
 * a new slab is needed and none is to be had. Nothing is written but the slab's state;
 * slab_append_done() follows always, with the same place. */
uint64_t slab_append(struct zone *zone, const struct slab_want *want, uint64_t now_ms,
                     unsigned *place);
/* size > 0: that many bytes have become part of the slab; may be called again with 0, which, where
 * slabs are shared, lets others append. */
void slab_append_commit(struct zone *zone, unsigned place, uint32_t size);
void slab_append_done(struct zone *zone, unsigned place);

/* Whether an entry with that expiry belongs to the same class as the slab's entries. */
bool slab_suits(struct zone *zone, uint32_t slab, uint64_t expires_ms, uint64_t now_ms);

/* An entry of that sequence and expiry (as stored) is about to be in the slab. */
void slab_raise(struct zone *zone, uint32_t slab, uint64_t seq, uint64_t expiry);

/* Move a large value to the end of the main queue. Under the lock of its key's stripe. */
void slab_requeue(struct zone *zone, uint32_t first);

/* The queue that a slab is in; a large value's slabs are where its first one is. */
bool slab_is_main(const struct zone *zone, uint32_t slab);

/* Seal every open slab of this process. */
void slab_seal_all(struct zone *zone);
/* Seal one, or free it when nothing was ever written to it. word: its state as loaded. */
void slab_seal(struct zone *zone, uint32_t slab, uint64_t word);

/* Large values: chain one more slab. last: LAYOUT_NONE for the first. LAYOUT_NONE when none is
 * free but the one kept for reclaiming. */
uint32_t slab_chain_grow(struct zone *zone, bool main, uint32_t first, uint32_t last);
/* All but the first are LARGE from now on; the first follows when its entry is published. */
void slab_chain_ready(struct zone *zone, uint32_t first, uint64_t hash);
/* The slab after this one in its chain; LAYOUT_NONE at the end. */
uint32_t slab_chain_next(const struct zone *zone, uint32_t slab);
/* Free a chain whose first slab is ours (open or in reclaim), or, while somebody sends from it, park
 * it: nobody's, LARGE, without an entry; the sweeper or an eviction frees it later. Crash: the first slab is freed last,
 * and every other is marked as ours before any is freed, so that repair finds all of them. */
void slab_chain_free(struct zone *zone, uint32_t first);
/* Whether this first slab of a chain is parked, and still sent from. */
bool slab_parked(const struct zone *zone, uint32_t first);

/* Copy a large value, slab by slab, without a lock: the caller checks the version afterwards. false:
 * the chain is not what the entry said (it is being freed). out: room for len bytes. */
bool slab_copy_large(const struct zone *zone, uint32_t first, char *out, size_t len);

#endif
