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

/* One more slab for a large value, taking it from others if it must be. */
static uint32_t grow(struct zone *zone, uint32_t first, uint32_t last, uint64_t now_ms)
{
    uint32_t slab;

    while ((slab = slab_chain_grow(zone, first, last)) == LAYOUT_NONE) {
        if (evict_one(zone, now_ms) != EVICT_DONE)
            return LAYOUT_NONE;
    }
    return slab;
}

/* Put the value into whole slabs. The first slab, or LAYOUT_NONE with nothing held. */
static uint32_t write_large(struct zone *zone, const struct table_key *key, struct slice value,
                            uint64_t now_ms)
{
    uint32_t first = LAYOUT_NONE;
    uint32_t last = LAYOUT_NONE;

    for (size_t done = 0; done < value.len;) {
        size_t n = value.len - done < slab_bytes(zone) ? value.len - done : slab_bytes(zone);
        uint32_t slab = grow(zone, first, last, now_ms);

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
    slab_chain_ready(zone, first, key->hash);
    return first;
}

static uint64_t find_room(struct zone *zone, uint64_t expires_ms, uint64_t now_ms, uint32_t size,
                          unsigned *class)
{
    uint64_t at;

    while ((at = slab_append(zone, expires_ms, now_ms, size, class)) == 0) {
        if (evict_one(zone, now_ms) != EVICT_DONE)
            return 0;
    }
    return at;
}

enum table_result store_begin(struct zone *zone, const struct table_key *key,
                              const struct table_write *write, uint64_t now_ms, struct store *store)
{
    bool large = false;
    uint64_t size, at;
    char *value;

    if (check_sizes(zone, key, write) != TABLE_STORED)
        return TABLE_TOO_LARGE;
    size = entry_size(key->bytes.len, write->meta.len, write->n_tags, false, write->value.len);
    store->key = key;
    store->write = write;
    store->first_slab = LAYOUT_NONE;
    store->freed = LAYOUT_NONE;
    if (size > slab_bytes(zone) / 2 && write->value.len > 0) {
        large = true;
        size = entry_size(key->bytes.len, write->meta.len, write->n_tags, true, 0);
        store->first_slab = write_large(zone, key, write->value, now_ms);
        if (store->first_slab == LAYOUT_NONE)
            return TABLE_FULL;
    }
    at = find_room(zone, write->expires_ms, now_ms, (uint32_t)size, &store->class);
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
