#include "shm/entry.h"

#include <string.h>
/* The functions as inlines of this file: keys are short, and a call into the library costs as much as
 * hashing one. */
#define XXH_INLINE_ALL 1
#include <xxhash.h>

uint64_t entry_hash(const struct zone *zone, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, zone->seed);
}

/* Here, and not with the rest of table.h, for the hash as an inline. */
struct table_key table_key(const struct zone *zone, struct slice bytes)
{
    return (struct table_key){bytes, XXH3_64bits_withSeed(bytes.data, bytes.len, zone->seed)};
}

uint64_t entry_expiry_pack(const struct zone *zone, uint64_t expires_ms)
{
    if (expires_ms == 0)
        return 0;
    if (expires_ms <= zone->base_ms)
        return 1;
    expires_ms -= zone->base_ms;
    return expires_ms < ENTRY_EXPIRY_MAX ? expires_ms : ENTRY_EXPIRY_MAX;
}

/* By words, the last one overlapping. */
bool entry_equal_long(const char *moving, const char *steady, size_t len)
{
    size_t i = 0;

    for (; i + 8 <= len; i += 8) {
        if (entry_load64(moving + i) != entry_load64(steady + i))
            return false;
    }
    if (i == len)
        return true;
    if (len >= 8)
        return entry_load64(moving + len - 8) == entry_load64(steady + len - 8);
    for (; i < len; i++) {
        if (((const volatile char *)moving)[i] != steady[i])
            return false;
    }
    return true;
}

uint32_t entry_tag_of(const struct zone *zone, const struct table_write *write, unsigned i)
{
    if (write->tag_hashes != NULL)
        return write->tag_hashes[i];
    return (uint32_t)entry_hash(zone, write->tags[i].data, write->tags[i].len);
}

static uint32_t write_words(struct zone *zone, struct entry *e, const struct table_write *write,
                            uint32_t first_slab)
{
    uint32_t n = 0;

    if (entry_words(write) > 0 || write->meta.len > 0)
        atomic_store_explicit(&e->words[n++], (write->n_tags << 16) | (uint32_t)write->meta.len,
                              memory_order_relaxed);
    if (first_slab != LAYOUT_NONE)
        atomic_store_explicit(&e->words[n++], first_slab, memory_order_relaxed);
    if (entry_words(write) > write->n_tags) {
        atomic_store_explicit(&e->words[n++], write->stale_ms, memory_order_relaxed);
        atomic_store_explicit(&e->words[n++], write->delta_ms, memory_order_relaxed);
    }
    for (unsigned i = 0; i < write->n_tags; i++) {
        atomic_store_explicit(&e->words[n++], entry_tag_of(zone, write, i), memory_order_relaxed);
    }
    return n;
}

char *entry_write(struct zone *zone, uint64_t at, const struct table_key *key,
                  const struct table_write *write, uint32_t first_slab)
{
    struct entry *e = entry_at(zone, at);
    uint64_t flags = write->flags & (uint16_t)~ENTRY_FLAGS_OWN;
    uint64_t expiry = entry_expiry_pack(zone, write->expires_ms);
    char *out;

    if (expiry != 0 && write->stale_ms > 0)
        expiry = entry_expiry_pack(zone, write->expires_ms + write->stale_ms);
    if (entry_words(write) > 0 || write->meta.len > 0)
        flags |= ENTRY_EXT;
    if (entry_words(write) > write->n_tags)
        flags |= ENTRY_FETCH;
    if (first_slab != LAYOUT_NONE)
        flags |= ENTRY_LARGE;
    atomic_store_explicit(&e->w0, flags << 48, memory_order_relaxed);
    atomic_store_explicit(&e->w1, expiry | (uint64_t)key->bytes.len << 40, memory_order_relaxed);
    atomic_store_explicit(&e->value_len, (uint32_t)write->value.len, memory_order_relaxed);
    out = (char *)e + ENTRY_HEADER + 4 * write_words(zone, e, write, first_slab);
    memcpy(out, key->bytes.data, key->bytes.len);
    out += key->bytes.len;
    if (write->meta.len > 0)
        memcpy(out, write->meta.data, write->meta.len);
    return out + write->meta.len;
}

char *entry_overwrite(struct zone *zone, const struct entry_view *view,
                      const struct table_write *write, uint64_t seq)
{
    struct entry *e = entry_at(zone, view->at);
    uint64_t flags = (write->flags & (uint16_t)~ENTRY_FLAGS_OWN) | (view->flags & ENTRY_FLAGS_OWN);
    uint64_t expiry = entry_expiry_pack(zone, write->expires_ms);
    char *out = (char *)e + view->key_at + view->key_len;

    atomic_store_explicit(&e->w0, seq | flags << 48, memory_order_relaxed);
    atomic_store_explicit(&e->w1, expiry | (uint64_t)view->key_len << 40, memory_order_relaxed);
    atomic_store_explicit(&e->value_len, (uint32_t)write->value.len, memory_order_relaxed);
    write_words(zone, e, write, LAYOUT_NONE);
    if (write->meta.len > 0)
        memcpy(out, write->meta.data, write->meta.len);
    return out + write->meta.len;
}
