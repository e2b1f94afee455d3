/* A chain looked into and judged: what table.c and fetch.c share. */
#ifndef SHM_LOOK_H
#define SHM_LOOK_H

#include "shm/index.h"
#include "shm/valid.h"

/* Raise the access bits while they are below 7: hot keys are not written. A lost race is no loss.
 */
static inline void look_mark_slot(_Atomic uint64_t *slot, uint64_t word)
{
    if ((word & SLOT_FREQ_MASK) == SLOT_FREQ_MASK)
        return;
    atomic_compare_exchange_strong_explicit(slot, &word, word + (UINT64_C(1) << SLOT_FREQ_SHIFT),
                                            memory_order_relaxed, memory_order_relaxed);
}

static inline void look_mark(const struct index_spot *spot)
{
    look_mark_slot(&spot->bucket->slot[spot->slot], spot->word);
}

static inline void look_fill(const struct zone *zone, const struct index_spot *spot,
                             const struct entry_view *view, struct table_hit *hit)
{
    hit->ref.slot = index_identity(spot->word);
    hit->seq = view->seq;
    hit->expires_ms = view->expiry == 0 ? 0 : zone->base_ms + entry_soft(view);
    hit->stale_ms = view->stale_ms;
    hit->delta_ms = view->delta_ms;
    hit->value_len = view->value_len;
    hit->meta_len = view->meta_len;
    hit->flags = view->flags & (uint16_t)~ENTRY_FLAGS_OWN;
    hit->n_tags = (uint16_t)view->n_tags;
    hit->accessed = (spot->word & SLOT_FREQ_MASK) != 0;
    hit->first_slab = view->first_slab;
    hit->at = view->at + view->key_at + view->key_len;
}

/* Whether only a fetch may still use it: past its time, and kept beyond. */
static inline bool look_past(const struct zone *zone, const struct entry_view *view,
                             uint64_t now_ms)
{
    return view->stale_ms > 0 && view->expiry != 0 && now_ms >= zone->base_ms + entry_soft(view);
}

/* Look into the chain and judge what is there, for a plain read. */
static inline enum table_result look(const struct zone *zone, const struct index_array *a,
                                     const struct table_key *key, uint64_t now_ms,
                                     struct index_spot *spot, struct entry_view *view)
{
    enum validity v;

    if (!index_find(zone, a, key, spot, view))
        return TABLE_MISS;
    v = valid_entry(zone, view, key->bytes, now_ms);
    if (v > VALID_STALE || look_past(zone, view, now_ms))
        return TABLE_MISS;
    return v == VALID_YES ? TABLE_HIT : TABLE_STALE;
}

static inline void look_finish(const struct zone *zone, const struct index_spot *spot,
                               uint32_t version, uint64_t table, const struct entry_view *view,
                               enum table_result result, struct table_hit *hit)
{
    hit->ref.bucket = (uint64_t)((const char *)spot->head - zone->base);
    hit->ref.version = version;
    hit->ref.shrinks = index_shrinks(table);
    hit->ref.slot = 0;
    if (result != TABLE_MISS) {
        look_fill(zone, spot, view, hit);
        look_mark(spot);
    }
}

#endif
