/* Entries as bytes: sizes, decoding, and reading what may change under one's eyes. */
#ifndef SHM_ENTRY_H
#define SHM_ENTRY_H

#include "shm/layout.h"
#include "shm/table.h"

#include <string.h>

#define ENTRY_LARGE     0x1 /* the value lies in whole slabs */
#define ENTRY_EXT       0x2 /* there are tags, metadata or times of a fetch */
#define ENTRY_FETCH     0x4 /* it was computed under a lease: stale_ms and delta_ms are there */
#define ENTRY_FLAGS_OWN (TABLE_FLAG_USER - 1)

#define ENTRY_EXPIRY_MAX ((UINT64_C(1) << 40) - 1)

/* An entry's header, read once: every length in it has been checked against its slab's end. */
struct entry_view {
    uint64_t at; /* offset of the entry in the zone */
    uint64_t seq;
    uint64_t expiry; /* ms from base; 0 = none. When stale_ms > 0 the last moment it is kept for */
    uint32_t value_len;
    uint32_t key_len;
    uint32_t meta_len;
    uint32_t n_tags;
    uint32_t stale_ms; /* of the time up to expiry: too old for a plain read */
    uint32_t delta_ms; /* what computing it took */
    uint32_t first_slab; /* of a large value */
    uint32_t tags_at;    /* from the entry's start */
    uint32_t key_at;
    uint32_t size; /* bytes in its slab, a multiple of 8 */
    uint16_t flags;
};

/* Decode the entry at a zone offset that may be garbage. false: it is none. Locks: none. */
static inline bool entry_view(const struct zone *zone, uint64_t at, struct entry_view *view);

/* Bytes that count as live for it: header, key, metadata and value. */
static inline uint64_t entry_bytes(const struct entry_view *view)
{
    return view->size + ((view->flags & ENTRY_LARGE) ? (uint64_t)view->value_len : 0);
}

/* The hash of a key (or tag) in this zone. The only use of xxHash. */
uint64_t entry_hash(const struct zone *zone, const void *data, size_t len);

/* The hash of the write's tag number i. */
uint32_t entry_tag_of(const struct zone *zone, const struct table_write *write, unsigned i);

/* ms from base as stored; a time before the base becomes 1, long past. */
uint64_t entry_expiry_pack(const struct zone *zone, uint64_t expires_ms);

static inline uint64_t entry_expires_ms(const struct zone *zone, const struct entry_view *view)
{
    return view->expiry == 0 ? 0 : zone->base_ms + view->expiry;
}

/* Until when a plain read takes it: ms from base; 0 = for ever. */
static inline uint64_t entry_soft(const struct entry_view *view)
{
    return view->expiry > view->stale_ms ? view->expiry - view->stale_ms : view->expiry;
}

/* Copy bytes that a writer may be changing. The caller checks the version afterwards. */
static inline void entry_copy(void *dst, const char *src, size_t len)
{
    /* libc's copy is the fastest there is at every length. It may read a byte twice and in any
     * order, which the version check makes good; the barriers keep the compiler from believing
     * that the source is still what was copied. */
    __asm__ volatile("" ::: "memory");
    memcpy(dst, src, len);
    __asm__ volatile("" ::: "memory");
}

#define ENTRY_FETCH_WORDS 2u

/* Words that stand where tags do, and count as such for entry_size(). */
static inline unsigned entry_words(const struct table_write *write)
{
    return write->n_tags + (write->stale_ms > 0 || write->delta_ms > 0 ? ENTRY_FETCH_WORDS : 0);
}

/* Bytes in a slab that an entry needs, its value included unless it is large. */
static inline uint64_t entry_size(size_t key_len, size_t meta_len, unsigned n_tags, bool large,
                                  size_t value_len)
{
    uint64_t words = n_tags + (n_tags > 0 || meta_len > 0) + large;
    uint64_t size = ENTRY_HEADER + 4 * words + key_len + meta_len + (large ? 0 : value_len);

    return (size + 7) & ~UINT64_C(7);
}

/* Write an entry into memory that only the caller knows of. words_tags: hashes, n_tags of them. seq
 * is set by entry_set_seq() under the lock. Returns where an inline value goes. */
char *entry_write(struct zone *zone, uint64_t at, const struct table_key *key,
                  const struct table_write *write, uint32_t first_slab);

/* The same in place of an entry that takes as many bytes: header, tags and metadata; the key stays.
 * Under the lock of its stripe, inside index_begin/end. */
char *entry_overwrite(struct zone *zone, const struct entry_view *view,
                      const struct table_write *write, uint64_t seq);

static inline struct entry *entry_at(const struct zone *zone, uint64_t at)
{
    return layout_at(zone, at);
}

static inline void entry_set_seq(struct zone *zone, uint64_t at, uint64_t seq)
{
    struct entry *e = entry_at(zone, at);
    uint64_t w0 = atomic_load_explicit(&e->w0, memory_order_relaxed);

    atomic_store_explicit(&e->w0, (w0 & ~LAYOUT_SEQ_MASK) | seq, memory_order_relaxed);
}

static inline void entry_set_expiry(struct zone *zone, uint64_t at, uint64_t expiry)
{
    struct entry *e = entry_at(zone, at);
    uint64_t w1 = atomic_load_explicit(&e->w1, memory_order_relaxed);

    atomic_store_explicit(&e->w1, (w1 & ~ENTRY_EXPIRY_MAX) | expiry, memory_order_relaxed);
}

static inline uint32_t entry_word(const struct zone *zone, const struct entry_view *view,
                                  uint32_t at)
{
    const _Atomic uint32_t *word = layout_at(zone, view->at + at);

    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline uint32_t entry_tag(const struct zone *zone, const struct entry_view *view, uint32_t i)
{
    return entry_word(zone, view, view->tags_at + 4 * i);
}

static inline const char *entry_key(const struct zone *zone, const struct entry_view *view)
{
    return layout_at(zone, view->at + view->key_at);
}

/* READ_ONCE of an unaligned word: one load, never repeated or split by the compiler. */
typedef uint64_t __attribute__((may_alias, aligned(1))) entry_u64;
typedef uint32_t __attribute__((may_alias, aligned(1))) entry_u32;

static inline uint64_t entry_load64(const char *p)
{
    return *(const volatile entry_u64 *)p;
}

static inline uint32_t entry_load32(const char *p)
{
    return *(const volatile entry_u32 *)p;
}

/* Compare changing bytes with steady ones. Any length; entry_equal() is for the short ones. */
bool entry_equal_long(const char *moving, const char *steady, size_t len);

static inline bool entry_equal(const char *moving, const char *steady, size_t len)
{
    if (len - 8 > 8)
        return entry_equal_long(moving, steady, len);
    return ((entry_load64(moving) ^ entry_load64(steady)) |
            (entry_load64(moving + len - 8) ^ entry_load64(steady + len - 8))) == 0;
}

static inline bool entry_has_key(const struct zone *zone, const struct entry_view *view,
                                 struct slice key)
{
    return view->key_len == key.len && entry_equal(entry_key(zone, view), key.data, key.len);
}

/* The end of the slab that an offset inside the slabs lies in. */
static inline uint64_t entry_slab_end(const struct zone *zone, uint64_t at)
{
    uint64_t mask = (UINT64_C(1) << zone->g.slab_shift) - 1;

    return zone->g.slabs + ((at - zone->g.slabs) | mask) + 1;
}

static inline bool entry_view(const struct zone *zone, uint64_t at, struct entry_view *view)
{
    const struct entry *e;
    uint64_t w0, w1, end, size;
    uint32_t word = ENTRY_HEADER;

    if (at < zone->g.slabs || at >= zone->slabs_end)
        return false;
    end = entry_slab_end(zone, at);
    if (end - at < ENTRY_LEAST)
        return false;
    e = entry_at(zone, at);
    w0 = atomic_load_explicit(&e->w0, memory_order_relaxed);
    w1 = atomic_load_explicit(&e->w1, memory_order_relaxed);
    view->at = at;
    view->seq = w0 & LAYOUT_SEQ_MASK;
    view->flags = (uint16_t)(w0 >> 48);
    view->expiry = w1 & ENTRY_EXPIRY_MAX;
    view->key_len = (w1 >> 40) & 0xffff;
    view->value_len = atomic_load_explicit(&e->value_len, memory_order_relaxed);
    view->meta_len = 0;
    view->n_tags = 0;
    view->stale_ms = 0;
    view->delta_ms = 0;
    view->first_slab = LAYOUT_NONE;
    if (view->flags & ENTRY_EXT) {
        uint32_t ext = entry_word(zone, view, word);

        view->n_tags = ext >> 16;
        view->meta_len = ext & 0xffff;
        word += 4;
    }
    if (view->flags & ENTRY_LARGE) {
        if (end - at < word + 4)
            return false;
        view->first_slab = entry_word(zone, view, word);
        word += 4;
        if (view->first_slab >= zone->g.n_slabs)
            return false;
    }
    if (view->flags & ENTRY_FETCH) {
        if (end - at < word + 8)
            return false;
        view->stale_ms = entry_word(zone, view, word);
        view->delta_ms = entry_word(zone, view, word + 4);
        word += 8;
    }
    view->tags_at = word;
    view->key_at = word + 4 * view->n_tags;
    size = (uint64_t)view->key_at + view->key_len + view->meta_len;
    if (!(view->flags & ENTRY_LARGE))
        size += view->value_len;
    size = (size + 7) & ~UINT64_C(7);
    if (view->key_len == 0 || size > end - at)
        return false;
    view->size = (uint32_t)size;
    return true;
}

#endif
