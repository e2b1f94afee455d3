#include "shm/entry.h"

#include <string.h>
#include <xxhash.h>

uint64_t entry_hash(const struct zone *zone, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, zone->seed);
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

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define COPY_STRING 1
#else
#define COPY_STRING 0
#endif

/* Long copies: the string instruction is opaque to the compiler and about twice as fast as words.
 */
static bool copy_string(void *dst, const char *src, size_t len)
{
#if COPY_STRING
    if (len >= 512) {
        __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(len) : : "memory");
        return true;
    }
#else
    (void)dst;
    (void)src;
    (void)len;
#endif
    return false;
}

void entry_copy(void *dst, const char *src, size_t len)
{
    char *out = dst;
    size_t i;

    if (copy_string(dst, src, len))
        return;
    for (i = 0; i + 8 <= len; i += 8)
        *(entry_u64 *)(out + i) = entry_load64(src + i);
    for (; i < len; i++)
        out[i] = ((const volatile char *)src)[i];
}

static uint32_t write_words(struct zone *zone, struct entry *e, const struct table_write *write,
                            uint32_t first_slab)
{
    uint32_t n = 0;

    if (write->n_tags > 0 || write->meta.len > 0)
        atomic_store_explicit(&e->words[n++], (write->n_tags << 16) | (uint32_t)write->meta.len,
                              memory_order_relaxed);
    if (first_slab != LAYOUT_NONE)
        atomic_store_explicit(&e->words[n++], first_slab, memory_order_relaxed);
    for (unsigned i = 0; i < write->n_tags; i++) {
        uint64_t hash = entry_hash(zone, write->tags[i].data, write->tags[i].len);

        atomic_store_explicit(&e->words[n++], (uint32_t)hash, memory_order_relaxed);
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

    if (write->n_tags > 0 || write->meta.len > 0)
        flags |= ENTRY_EXT;
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
