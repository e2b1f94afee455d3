#include "shm/store.h"

#include "shm/evict.h"
#include "shm/lock.h"

#include <string.h>

static enum table_result check_sizes(const struct zone *zone, const struct table_key *key,
                                     const struct table_write *write)
{
    if (key->bytes.len == 0 || key->bytes.len > zone->g.key_max ||
        write->value.len > zone->g.value_max || write->meta.len > TABLE_META_MAX ||
        write->n_tags > TABLE_TAGS_MAX)
        return TABLE_TOO_LARGE;
    return TABLE_STORED;
}

/* Make room once. STORED: try again; BUSY, FULL: give up. */
static enum table_result make_room(struct zone *zone, uint64_t now_ms)
{
    switch (evict_one(zone, now_ms)) {
    case EVICT_DONE:
        return TABLE_STORED;
    case EVICT_BUSY:
        return TABLE_BUSY;
    default:
        return TABLE_FULL;
    }
}

/* Put the value into whole slabs, taking them from others if it must be. On STORED the chain is
 * complete and ours; otherwise nothing is held. */
static enum table_result write_large(struct zone *zone, struct store *store, uint64_t now_ms)
{
    struct slice value = store->write->value;
    uint32_t last = LAYOUT_NONE;

    for (size_t done = 0; done < value.len;) {
        size_t n = value.len - done < slab_bytes(zone) ? value.len - done : slab_bytes(zone);
        uint32_t slab = slab_chain_grow(zone, store->first_slab, last);

        if (slab == LAYOUT_NONE) {
            enum table_result room = make_room(zone, now_ms);

            if (room == TABLE_STORED)
                continue;
            if (store->first_slab != LAYOUT_NONE)
                slab_chain_free(zone, store->first_slab);
            return room;
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
static enum table_result write_entry(struct zone *zone, struct store *store, uint32_t size,
                                     uint64_t now_ms)
{
    const struct table_write *write = store->write;
    uint64_t at;
    char *value;

    while ((at = slab_append(zone, write->expires_ms, now_ms, size, &store->class)) == 0) {
        enum table_result room = make_room(zone, now_ms);

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

enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms, struct store *store)
{
    enum table_result result = check_sizes(zone, key, write);
    uint64_t size;

    if (result != TABLE_STORED)
        return result;
    *store =
        (struct store){.key = key, .write = write, .first_slab = LAYOUT_NONE, .freed = LAYOUT_NONE};
    size = entry_size(key->bytes.len, write->meta.len, write->n_tags, false, write->value.len);
    if (size > slab_bytes(zone) / 2 && write->value.len > 0) {
        size = entry_size(key->bytes.len, write->meta.len, write->n_tags, true, 0);
        result = write_large(zone, store, now_ms);
        if (result != TABLE_STORED)
            return result;
    }
    result = write_entry(zone, store, (uint32_t)size, now_ms);
    if (result != TABLE_STORED && store->first_slab != LAYOUT_NONE)
        slab_chain_free(zone, store->first_slab);
    return result;
}

static void raise_slab(struct zone *zone, uint32_t index, uint64_t seq, uint64_t expiry)
{
    layout_raise(&zone->slabs[index].max_seq, seq);
    layout_raise(&zone->slabs[index].max_expiry, expiry == 0 ? SLAB_NEVER : expiry);
}

void store_publish_locked(struct zone *zone, struct stripe *stripe, struct store *store,
                          const struct index_spot *spot, uint64_t seq, uint64_t now_ms)
{
    lock_assert(zone, stripe);
    entry_set_seq(zone, store->view.at, seq);
    store->view.seq = seq;
    raise_slab(zone, slab_of(zone, store->view.at), seq, store->view.expiry);
    if (store->first_slab != LAYOUT_NONE)
        raise_slab(zone, store->first_slab, seq, store->view.expiry);
    slab_append_commit(zone, store->class, store->view.size);
    store->freed = index_publish_locked(zone, stripe, spot, store->key->hash, &store->view, now_ms);
}

void store_end(struct zone *zone, struct store *store, bool published)
{
    slab_append_done(zone, store->class);
    if (!published && store->first_slab != LAYOUT_NONE)
        slab_chain_free(zone, store->first_slab);
    if (store->freed != LAYOUT_NONE)
        slab_chain_free(zone, store->freed);
}
