#include "shm/store.h"

#include "shm/block.h"
#include "shm/evict.h"
#include "shm/ghost.h"
#include "shm/lock.h"

#include <string.h>

#define TRIES 256 /* slabs reclaimed for one that others do not take first */

static enum table_result check_sizes(const struct zone *zone, const struct table_key *key,
                                     const struct table_write *write)
{
    if (key->bytes.len == 0 || key->bytes.len > zone->g.key_max ||
        write->value.len > zone->g.value_max || write->meta.len > TABLE_META_MAX ||
        write->n_tags > TABLE_TAGS_MAX)
        return TABLE_TOO_LARGE;
    return TABLE_STORED;
}

/* Entries above this are never overwritten in place: a worker may be sending their bytes from the
 * zone, and a short copy is all that should happen under a lock. */
#define IN_PLACE_MAX 4096

static bool fits(struct zone *zone, const struct table_write *write, const struct entry_view *view,
                 uint64_t now_ms)
{
    if ((view->flags & ENTRY_LARGE) || view->size > IN_PLACE_MAX ||
        view->meta_len != write->meta.len || view->n_tags != write->n_tags)
        return false;
    return entry_size(view->key_len, view->meta_len, view->n_tags, false, write->value.len) ==
               view->size &&
           slab_suits(zone, slab_of(zone, view->at), write->expires_ms, now_ms);
}

enum table_result store_look(struct zone *zone, const struct table_key *key,
                             const struct table_write *write, uint64_t now_ms, struct store *store)
{
    struct index_spot spot;
    struct entry_view view;
    bool known;

    if (check_sizes(zone, key, write) != TABLE_STORED)
        return TABLE_TOO_LARGE;
    known = index_seek(zone, key, &spot, &view) > 0;
    store->key = key;
    store->write = write;
    store->fits = known && fits(zone, write, &view, now_ms);
    store->main = known && slab_is_main(zone, slab_of(zone, view.at));
    if (!known && ghost_take(zone, key->hash)) {
        store->main = true;
        stat_add(zone, STAT_GHOST_HITS, 1);
    }
    return TABLE_STORED;
}

bool store_over_locked(struct zone *zone, struct stripe *stripe, const struct store *store,
                       const struct index_spot *spot, const struct entry_view *view, uint64_t seq,
                       uint64_t now_ms)
{
    const struct table_write *write = store->write;
    char *value;

    lock_assert(zone, stripe);
    if (spot->word == 0 || !fits(zone, write, view, now_ms))
        return false;
    /* Before the entry itself: the sweeper must not see a slab as all expired that is not. */
    slab_raise(zone, slab_of(zone, view->at), seq, entry_expiry_pack(zone, write->expires_ms));
    index_over_begin_locked(zone, stripe, spot, view);
    value = entry_overwrite(zone, view, write, seq);
    if (write->value.len > 0)
        memcpy(value, write->value.data, write->value.len);
    index_over_end_locked(zone, stripe, spot, view);
    return true;
}

/* One more slab for a large value, taking it from others if it must be. */
static uint32_t grow(struct zone *zone, bool main, uint32_t first, uint32_t last, uint64_t now_ms)
{
    uint32_t slab;

    for (unsigned tries = 0;; tries++) {
        slab = slab_chain_grow(zone, main, first, last);
        if (slab != LAYOUT_NONE || tries == TRIES || evict_one(zone, now_ms, tries) != EVICT_DONE)
            return slab;
    }
}

/* Put the value into whole slabs. The first slab, or LAYOUT_NONE with nothing held. */
static uint32_t write_large(struct zone *zone, const struct store *store, uint64_t now_ms)
{
    struct slice value = store->write->value;
    uint32_t first = LAYOUT_NONE;
    uint32_t last = LAYOUT_NONE;

    for (size_t done = 0; done < value.len;) {
        size_t n = value.len - done < slab_bytes(zone) ? value.len - done : slab_bytes(zone);
        uint32_t slab = grow(zone, store->main, first, last, now_ms);

        if (slab == LAYOUT_NONE) {
            if (first != LAYOUT_NONE)
                slab_chain_free(zone, first);
            return LAYOUT_NONE;
        }
        first = first == LAYOUT_NONE ? slab : first;
        last = slab;
        memcpy(layout_at(zone, slab_offset(zone, slab)), value.data + done, n);
        atomic_store_explicit(&zone->slabs[slab].pos, (uint32_t)n, memory_order_release);
        done += n;
    }
    slab_chain_ready(zone, first, store->key->hash);
    return first;
}

static uint64_t find_room(struct zone *zone, struct store *store, uint64_t now_ms, uint64_t size)
{
    struct slab_want want = {
        .size = (uint32_t)size, .expires_ms = store->write->expires_ms, .main = store->main};
    uint64_t at;

    for (unsigned tries = 0;; tries++) {
        at = slab_append(zone, &want, now_ms, &store->place);
        if (at != 0 || tries == TRIES || evict_one(zone, now_ms, tries) != EVICT_DONE)
            return at;
    }
}

enum table_result store_append(struct zone *zone, struct store *store, uint64_t now_ms)
{
    const struct table_key *key = store->key;
    const struct table_write *write = store->write;
    bool large = false;
    uint64_t size, at;
    char *value;

    size = entry_size(key->bytes.len, write->meta.len, write->n_tags, false, write->value.len);
    store->first_slab = LAYOUT_NONE;
    store->freed = LAYOUT_NONE;
    block_feed(zone, now_ms);
    if (size > slab_bytes(zone) / 2 && write->value.len > 0) {
        large = true;
        size = entry_size(key->bytes.len, write->meta.len, write->n_tags, true, 0);
        store->first_slab = write_large(zone, store, now_ms);
        if (store->first_slab == LAYOUT_NONE)
            return TABLE_FULL;
    }
    at = find_room(zone, store, now_ms, size);
    if (at == 0) {
        if (large)
            slab_chain_free(zone, store->first_slab);
        return TABLE_FULL;
    }
    value = entry_write(zone, at, key, write, store->first_slab);
    if (!large && write->value.len > 0)
        memcpy(value, write->value.data, write->value.len);
    if (!entry_view(zone, at, &store->view))
        assert(!"an entry just written must read back");
    return TABLE_STORED;
}

enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms, struct store *store)
{
    enum table_result result = store_look(zone, key, write, now_ms, store);

    return result == TABLE_STORED ? store_append(zone, store, now_ms) : result;
}

void store_publish_locked(struct zone *zone, struct stripe *stripe, struct store *store,
                          const struct index_spot *spot, uint64_t seq, uint64_t now_ms)
{
    lock_assert(zone, stripe);
    entry_set_seq(zone, store->view.at, seq);
    store->view.seq = seq;
    slab_raise(zone, slab_of(zone, store->view.at), seq, store->view.expiry);
    if (store->first_slab != LAYOUT_NONE)
        slab_raise(zone, store->first_slab, seq, store->view.expiry);
    slab_append_commit(zone, store->place, store->view.size);
    store->freed = index_publish_locked(zone, stripe, spot, store->key->hash, &store->view, now_ms);
}

void store_end(struct zone *zone, struct store *store, bool published)
{
    slab_append_done(zone, store->place);
    if (!published && store->first_slab != LAYOUT_NONE)
        slab_chain_free(zone, store->first_slab);
    if (store->freed != LAYOUT_NONE)
        slab_chain_free(zone, store->freed);
}
