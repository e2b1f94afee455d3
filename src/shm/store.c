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

static bool fits(struct zone *zone, const struct table_write *write, const struct entry_view *view,
                 uint64_t now_ms)
{
    if ((view->flags & (ENTRY_LARGE | ENTRY_FETCH)) || entry_words(write) > write->n_tags ||
        view->size > STORE_IN_PLACE_MAX ||
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

/* Make room once. STORED: try again; BUSY, FULL: give up. tries: how often that was done. */
static enum table_result make_room(struct zone *zone, uint64_t now_ms, unsigned tries)
{
    if (tries == TRIES)
        return TABLE_BUSY; /* others took each slab that this one made free */
    switch (evict_one(zone, now_ms, tries)) {
    case EVICT_DONE:
        return TABLE_STORED;
    case EVICT_BUSY:
        return TABLE_BUSY;
    default:
        return TABLE_FULL;
    }
}

/* One more slab for a large value, taking it from others if it must be: *slab on STORED. */
static enum table_result grow(struct zone *zone, const struct store *store, uint32_t last,
                              uint64_t now_ms, uint32_t *slab)
{
    enum table_result room = TABLE_STORED;

    for (unsigned tries = 0; room == TABLE_STORED; tries++) {
        *slab = slab_chain_grow(zone, store->main, store->first_slab, last);
        if (*slab != LAYOUT_NONE)
            return TABLE_STORED;
        room = make_room(zone, now_ms, tries);
    }
    return room;
}

/* Put the value into whole slabs. On STORED the chain is complete and ours; otherwise nothing is
 * held. */
static enum table_result write_large(struct zone *zone, struct store *store, uint64_t now_ms)
{
    struct slice value = store->write->value;
    uint32_t last = LAYOUT_NONE;

    for (size_t done = 0; done < value.len;) {
        size_t n = value.len - done < slab_bytes(zone) ? value.len - done : slab_bytes(zone);
        uint32_t slab;
        enum table_result result = grow(zone, store, last, now_ms, &slab);

        if (result != TABLE_STORED) {
            if (store->first_slab != LAYOUT_NONE)
                slab_chain_free(zone, store->first_slab);
            return result;
        }
        if (last == LAYOUT_NONE)
            store->first_slab = slab;
        last = slab;
        memcpy(layout_at(zone, slab_offset(zone, slab)), value.data + done, n);
        atomic_store_explicit(&zone->slabs[slab].pos, (uint32_t)n, memory_order_release);
        done += n;
    }
    slab_chain_ready(zone, store->first_slab, store->key->hash);
    return TABLE_STORED;
}

/* Write header, key, metadata, and the value unless it is large, at the end of an open slab. */
static enum table_result write_entry(struct zone *zone, struct store *store, uint64_t size,
                                     uint64_t now_ms)
{
    const struct table_write *write = store->write;
    struct slab_want want = {
        .size = (uint32_t)size, .expires_ms = write->expires_ms, .main = store->main};
    uint64_t at;
    char *value;

    for (unsigned tries = 0; (at = slab_append(zone, &want, now_ms, &store->place)) == 0; tries++) {
        enum table_result room = make_room(zone, now_ms, tries);

        if (room != TABLE_STORED)
            return room;
    }
    value = entry_write(zone, at, store->key, write, store->first_slab);
    if (store->first_slab == LAYOUT_NONE && write->value.len > 0)
        memcpy(value, write->value.data, write->value.len);
    if (!entry_view(zone, at, &store->view))
        assert(!"an entry just written must read back");
    return TABLE_STORED;
}

enum table_result store_append(struct zone *zone, struct store *store, uint64_t now_ms)
{
    const struct table_write *write = store->write;
    size_t key_len = store->key->bytes.len;
    enum table_result result;
    uint64_t size = entry_size(key_len, write->meta.len, entry_words(write), false, write->value.len);

    store->first_slab = LAYOUT_NONE;
    store->freed = LAYOUT_NONE;
    block_feed(zone, now_ms);
    if (size > slab_bytes(zone) / 2 && write->value.len > 0) {
        size = entry_size(key_len, write->meta.len, entry_words(write), true, 0);
        result = write_large(zone, store, now_ms);
        if (result != TABLE_STORED)
            return result;
    }
    result = write_entry(zone, store, size, now_ms);
    if (result != TABLE_STORED && store->first_slab != LAYOUT_NONE)
        slab_chain_free(zone, store->first_slab);
    return result;
}

enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms, struct store *store)
{
    enum table_result result = store_look(zone, key, write, now_ms, store);

    return result == TABLE_STORED ? store_append(zone, store, now_ms) : result;
}

void store_delta(struct zone *zone, const struct store *store, uint32_t delta_ms)
{
    _Atomic uint32_t *word = layout_at(zone, store->view.at + store->view.tags_at - 4);

    if (store->view.flags & ENTRY_FETCH)
        atomic_store_explicit(word, delta_ms, memory_order_relaxed);
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
