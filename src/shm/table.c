#include "shm/table.h"

#include "shm/index.h"
#include "shm/lock.h"
#include "shm/look.h"
#include "shm/plain.h"
#include "shm/store.h"
#include "shm/stub.h"
#include "shm/valid.h"

#include <stdlib.h>
#include <string.h>

#define FIND_TRIES 3

static_assert(TABLE_CURSOR_END == LAYOUT_STRIPES * INDEX_CURSOR_END, "cursors end with the stripes");

static inline enum table_result find_once(struct zone *zone, const struct table_key *key,
                                          uint64_t now_ms, struct table_hit *hit)
{
    const struct stripe *stripe = layout_stripe(zone, key->hash);
    uint64_t table = atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire);
    struct index_array a = index_unpack(zone, stripe, table);
    struct bucket *head = index_head(&a, key->hash);
    uint32_t version = atomic_load_explicit(&head->version, memory_order_acquire);
    struct index_spot spot;
    struct entry_view view;
    enum table_result result;

    if (version & 1)
        return TABLE_OVERTAKEN;
    result = look(zone, &a, key, now_ms, &spot, &view);
    if (!index_unchanged(head, version) ||
        atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) != table)
        return TABLE_OVERTAKEN;
    hit->stripe = layout_stripe_of(key->hash);
    look_finish(zone, &spot, version, table, &view, result, hit);
    return result;
}

static enum table_result find_locked(struct zone *zone, struct stripe *stripe,
                                     const struct table_key *key, uint64_t now_ms,
                                     struct table_hit *hit)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    enum table_result result = look(zone, &a, key, now_ms, &spot, &view);

    lock_assert(zone, stripe);
    hit->stripe = layout_stripe_of(key->hash);
    look_finish(zone, &spot, atomic_load_explicit(&spot.head->version, memory_order_relaxed),
                atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed), &view,
                result, hit);
    return result;
}

static enum table_result __attribute__((noinline))
find_any(struct zone *zone, const struct table_key *key, uint64_t now_ms, struct table_hit *hit)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum table_result result;

    for (int i = 0; i < FIND_TRIES && !LAYOUT_LOCKED_READS; i++) {
        result = find_once(zone, key, now_ms, hit);
        if (result != TABLE_OVERTAKEN)
            return result;
        stat_add(zone, STAT_READ_RETRIES, 1);
        lock_pause();
    }
    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    result = find_locked(zone, stripe, key, now_ms, hit);
    lock_drop(zone, stripe);
    return result;
}

/* Whether a plainly found entry counts without a closer look: no event since that could concern it,
 * and not expired. Fills value. */
static inline bool plainly_valid(const struct zone *zone, const struct plain *p, uint64_t now_ms,
                                 struct table_value *value)
{
    uint64_t expiry = p->w1 & ENTRY_EXPIRY_MAX;

    if (PLAIN_UNLIKELY((p->w0 & LAYOUT_SEQ_MASK) <
                       atomic_load_explicit(&zone->events->newest, memory_order_acquire)))
        return false;
    value->len = atomic_load_explicit(&p->entry->value_len, memory_order_relaxed);
    value->flags = (uint16_t)(p->w0 >> 48) & (uint16_t)~ENTRY_FLAGS_OWN;
    value->expires_ms = 0;
    if (PLAIN_LIKELY(expiry == 0))
        return true;
    value->expires_ms = zone->base_ms + expiry;
    return now_ms < value->expires_ms;
}

/* What nearly every read is. false: find_any() has to look. */
static inline bool find_plain(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                              struct table_hit *hit)
{
    struct plain p;
    struct table_value value;

    if (!plain_seek(zone, key, &p) || !plainly_valid(zone, &p, now_ms, &value) ||
        !plain_unchanged(&p))
        return false;
    hit->ref.bucket = (uint64_t)((const char *)p.head - zone->base);
    hit->ref.version = p.version;
    hit->ref.shrinks = index_shrinks(p.table_word);
    hit->ref.slot = index_identity(p.word);
    hit->seq = p.w0 & LAYOUT_SEQ_MASK;
    hit->expires_ms = value.expires_ms;
    hit->stale_ms = 0;
    hit->delta_ms = 0;
    hit->value_len = value.len;
    hit->meta_len = 0;
    hit->flags = value.flags;
    hit->n_tags = 0;
    hit->accessed = (p.word & SLOT_FREQ_MASK) != 0;
    hit->first_slab = LAYOUT_NONE;
    hit->stripe = layout_stripe_of(key->hash);
    hit->at = p.at + ENTRY_HEADER + key->bytes.len;
    look_mark_slot(p.slot, p.word);
    return true;
}

enum table_result table_find(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                             struct table_hit *hit)
{
    if (!LAYOUT_LOCKED_READS && find_plain(zone, key, now_ms, hit))
        return TABLE_HIT;
    return find_any(zone, key, now_ms, hit);
}

static struct bucket *head_now(const struct zone *zone, const struct table_key *key)
{
    return plain_head(
        zone, key->hash,
        atomic_load_explicit(&zone->tables[layout_stripe_of(key->hash)], memory_order_acquire));
}

void table_prefetch(const struct zone *zone, const struct table_key *key)
{
    __builtin_prefetch(head_now(zone, key));
}

/* A slot may hold anything: to prefetch a wrong address is harmless. */
static inline void prefetch_entry(const struct zone *zone, uint64_t word)
{
    const char *entry = layout_at(zone, index_offset(word));

    __builtin_prefetch(entry);
    __builtin_prefetch(entry + LAYOUT_LINE);
    __builtin_prefetch(entry + 2 * LAYOUT_LINE);
}

/* The first entry whose tag fits: nearly always the right one. Returns the bucket to look into when
 * it is here; NULL: there is none, or it has been found. */
static inline struct bucket *prefetch_match(const struct zone *zone, const struct bucket *bucket,
                                            uint64_t tag)
{
    uint32_t bits = index_match(bucket, tag);
    uint64_t last = index_load(bucket, LAYOUT_SLOTS - 1);

    if (bits != 0) {
        prefetch_entry(zone, index_load(bucket, index_first(bits)));
        return NULL;
    }
    return (last & SLOT_LINK) != 0 && index_offset(last) + LAYOUT_LINE <= zone->slabs_end
               ? layout_at(zone, index_offset(last))
               : NULL;
}

#define PREFETCH_MOST 64 /* keys at once: more lines than that are not on their way together */

static void prefetch_some(const struct zone *zone, const struct table_key *keys, size_t n)
{
    struct bucket *bucket[PREFETCH_MOST];

    for (size_t i = 0; i < n; i++) {
        bucket[i] = head_now(zone, &keys[i]);
        __builtin_prefetch(bucket[i]);
    }
    for (size_t i = 0; i < n; i++) {
        bucket[i] = prefetch_match(zone, bucket[i], layout_tag(keys[i].hash));
        if (bucket[i] != NULL)
            __builtin_prefetch(bucket[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (bucket[i] != NULL)
            prefetch_match(zone, bucket[i], layout_tag(keys[i].hash));
}

void table_prefetch_many(const struct zone *zone, const struct table_key *keys, size_t n)
{
    for (size_t i = 0; i < n; i += PREFETCH_MOST)
        prefetch_some(zone, keys + i, n - i < PREFETCH_MOST ? n - i : PREFETCH_MOST);
}

static bool copy_bytes(const struct zone *zone, const struct table_hit *hit, void *meta,
                       void *value)
{
    uint64_t inline_len = hit->first_slab == LAYOUT_NONE ? hit->value_len : 0;

    /* table_find() checked these; a hit that was not its own must not lead outside. */
    if (hit->at < zone->g.slabs || hit->at + hit->meta_len + inline_len > zone->slabs_end)
        return false;
    if (meta != NULL)
        entry_copy(meta, layout_at(zone, hit->at), hit->meta_len);
    if (value == NULL)
        return true;
    if (hit->first_slab != LAYOUT_NONE)
        return slab_copy_large(zone, hit->first_slab, value, hit->value_len);
    entry_copy(value, layout_at(zone, hit->at + hit->meta_len), hit->value_len);
    return true;
}

/* Whether the chain, and what a head lies in, is as the ref saw it. */
static bool ref_unchanged(const struct zone *zone, uint32_t stripe, const struct table_ref *ref)
{
    const struct bucket *head = layout_at(zone, ref->bucket);
    const _Atomic uint64_t *table = &zone->tables[stripe];

    return index_unchanged(head, ref->version) &&
           index_shrinks(atomic_load_explicit(table, memory_order_relaxed)) == ref->shrinks;
}

bool table_unchanged(const struct zone *zone, const struct table_hit *hit)
{
    return ref_unchanged(zone, hit->stripe, &hit->ref);
}

static enum table_result __attribute__((noinline))
copy_any(struct zone *zone, const struct table_hit *hit, void *meta, void *value)
{
    bool whole;

    if (LAYOUT_LOCKED_READS) {
        struct stripe *stripe = &zone->stripes[hit->stripe];

        if (!lock_take(zone, stripe))
            return TABLE_OVERTAKEN;
        whole = ref_unchanged(zone, hit->stripe, &hit->ref) && copy_bytes(zone, hit, meta, value);
        lock_drop(zone, stripe);
    } else {
        whole = copy_bytes(zone, hit, meta, value) && ref_unchanged(zone, hit->stripe, &hit->ref);
    }
    return whole ? TABLE_HIT : TABLE_OVERTAKEN;
}

enum table_result table_copy(struct zone *zone, const struct table_hit *hit, void *meta,
                             void *value)
{
    uint64_t at = hit->at + hit->meta_len;

    if (LAYOUT_LOCKED_READS || meta != NULL || value == NULL || hit->first_slab != LAYOUT_NONE ||
        at + hit->value_len > zone->slabs_end)
        return copy_any(zone, hit, meta, value);
    entry_copy(value, layout_at(zone, at), hit->value_len);
    return ref_unchanged(zone, hit->stripe, &hit->ref) ? TABLE_HIT : TABLE_OVERTAKEN;
}

enum table_result table_copy_tags(struct zone *zone, const struct table_hit *hit, size_t key_len,
                                  uint32_t hashes[TABLE_TAGS_MAX])
{
    uint64_t before = key_len + (uint64_t)hit->n_tags * sizeof(uint32_t);
    struct table_hit tags = *hit;

    if (hit->n_tags == 0)
        return TABLE_HIT;
    if (hit->n_tags > TABLE_TAGS_MAX || hit->at < zone->g.slabs + before)
        return TABLE_OVERTAKEN;
    tags.at = hit->at - before;
    tags.meta_len = hit->n_tags * (uint32_t)sizeof(uint32_t);
    tags.value_len = 0;
    return table_copy(zone, &tags, hashes, NULL);
}

enum table_result table_read_locked(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                    struct table_hit *hit, void *meta, size_t meta_cap, void *value,
                                    size_t value_cap)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    enum table_result result;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    result = find_locked(zone, stripe, key, now_ms, hit);
    if (result != TABLE_MISS && hit->meta_len <= meta_cap && hit->value_len <= value_cap &&
        !copy_bytes(zone, hit, meta, value))
        result = TABLE_MISS; /* cannot be: what the table points to is whole */
    lock_drop(zone, stripe);
    return result;
}

static enum table_result __attribute__((noinline))
get_any(struct zone *zone, const struct table_key *key, uint64_t now_ms, void *buf, size_t cap,
        struct table_value *value)
{
    struct table_hit hit;
    enum table_result result = TABLE_OVERTAKEN;
    bool copied = false;

    for (int i = 0; i < FIND_TRIES && !copied; i++) {
        result = table_find(zone, key, now_ms, &hit);
        if (result != TABLE_HIT && result != TABLE_STALE)
            return result;
        copied = hit.value_len > cap || table_copy(zone, &hit, NULL, buf) == TABLE_HIT;
    }
    if (!copied)
        result = table_read_locked(zone, key, now_ms, &hit, NULL, TABLE_META_MAX, buf, cap);
    if (result != TABLE_HIT && result != TABLE_STALE)
        return result;
    *value = (struct table_value){hit.expires_ms, hit.value_len, hit.flags};
    return hit.value_len > cap ? TABLE_TOO_LARGE : result;
}

enum table_result table_get(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                            void *buf, size_t cap, struct table_value *value)
{
    struct table_value seen;
    struct plain p;
    const char *bytes;

    if (LAYOUT_LOCKED_READS || !plain_seek(zone, key, &p) ||
        !plainly_valid(zone, &p, now_ms, &seen))
        return get_any(zone, key, now_ms, buf, cap, value);
    bytes = (const char *)p.entry + ENTRY_HEADER + key->bytes.len;
    if (PLAIN_UNLIKELY(seen.len > cap ||
                       p.at + ENTRY_HEADER + key->bytes.len + seen.len > zone->slabs_end))
        return get_any(zone, key, now_ms, buf, cap, value);
    entry_copy(buf, bytes, seen.len);
    if (PLAIN_UNLIKELY(!plain_unchanged(&p)))
        return get_any(zone, key, now_ms, buf, cap, value);
    look_mark_slot(p.slot, p.word);
    *value = seen;
    return TABLE_HIT;
}

/* Whether the chain is as the ref saw it, and what it saw still counts. */
static bool ref_holds(const struct zone *zone, const struct stripe *stripe,
                      const struct table_ref *ref, const struct index_spot *spot,
                      enum table_result now)
{
    uint64_t head = (uint64_t)((const char *)spot->head - zone->base);

    if (ref == NULL)
        return true;
    if (ref->bucket != head || !ref_unchanged(zone, (uint32_t)(stripe - zone->stripes), ref))
        return false;
    return ref->slot == 0 ? now == TABLE_MISS
                          : now != TABLE_MISS && index_identity(spot->word) == ref->slot;
}

/* OVERTAKEN: what was to be overwritten is not as it was; nothing was changed. */
static enum table_result set_locked(struct zone *zone, struct stripe *stripe, struct store *store,
                                    uint64_t now_ms)
{
    const struct table_write *write = store->write;
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    enum table_result found;
    uint64_t seq = write->began_seq;

    if (seq == 0)
        seq = zone_seq(zone); /* nothing can have happened since */
    else if (valid_refuses(zone, store->key->bytes, seq, write))
        return TABLE_REJECTED;
    found = look(zone, &a, store->key, now_ms, &spot, &view);
    if (!ref_holds(zone, stripe, write->expect, &spot, found))
        return TABLE_CHANGED;
    if (store->fits) {
        if (!store_over_locked(zone, stripe, store, &spot, &view, seq, now_ms))
            return TABLE_OVERTAKEN;
        stat_add(zone, STAT_IN_PLACE, 1);
    } else {
        store_publish_locked(zone, stripe, store, &spot, seq, now_ms);
    }
    stub_touch_locked(zone, stripe, store->key->hash);
    return TABLE_STORED;
}

/* What the key has now, and the lock's holder may replace: counted as any other entry, in a slab
 * that is never dropped for its expiry. Sizes are equal, so no count changes. */
static bool over_plain_locked(struct zone *zone, struct stripe *stripe, const struct table_key *key,
                              const struct table_write *write, const struct plain *p)
{
    struct slab *slab = &zone->slabs[slab_of(zone, p->at)];
    uint64_t counted = atomic_load_explicit(&stripe->count_seq, memory_order_relaxed);
    uint64_t flags = write->flags & (uint16_t)~ENTRY_FLAGS_OWN;
    uint64_t seq = zone_seq(zone);
    uint64_t word = index_identity(p->word);

    lock_assert(zone, stripe);
    if (!plain_unchanged(p) || (p->w0 & LAYOUT_SEQ_MASK) < counted ||
        counted < atomic_load_explicit(&zone->events->last_clear, memory_order_acquire) ||
        atomic_load_explicit(&slab->max_expiry, memory_order_relaxed) != SLAB_NEVER)
        return false;
    layout_raise(&slab->max_seq, seq);
    index_begin_locked(zone, stripe, p->head, word, word);
    atomic_store_explicit(&p->entry->w0, seq | flags << 48, memory_order_relaxed);
    atomic_store_explicit(&p->entry->w1, (uint64_t)key->bytes.len << 40, memory_order_relaxed);
    atomic_store_explicit(&p->entry->value_len, (uint32_t)write->value.len, memory_order_relaxed);
    if (write->value.len > 0)
        memcpy((char *)p->entry + ENTRY_HEADER + key->bytes.len, write->value.data,
               write->value.len);
    index_end_locked(zone, stripe, p->head);
    stub_touch_locked(zone, stripe, key->hash);
    return true;
}

/* What nearly every store of a known key is: unconditional, without expiry, in place of an ordinary
 * entry that takes as many bytes. One look, made before the lock. false: anything else, and nothing
 * was done. */
static bool set_plain(struct zone *zone, const struct table_key *key,
                      const struct table_write *write)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct plain p;
    uint32_t old_len;
    bool stored;

    if (LAYOUT_LOCKED_READS || write->expect != NULL || write->began_seq != 0 ||
        write->expires_ms != 0 || write->meta.len != 0 || entry_words(write) != 0 ||
        write->value.len > STORE_IN_PLACE_MAX / 2 || key->bytes.len > STORE_IN_PLACE_MAX / 4 ||
        !plain_seek(zone, key, &p))
        return false;
    old_len = atomic_load_explicit(&p.entry->value_len, memory_order_relaxed);
    if (entry_size(key->bytes.len, 0, 0, false, old_len) !=
            entry_size(key->bytes.len, 0, 0, false, write->value.len) ||
        !lock_try(zone, stripe))
        return false;
    stored = over_plain_locked(zone, stripe, key, write, &p);
    lock_drop(zone, stripe);
    if (stored)
        stat_add(zone, STAT_IN_PLACE, 1);
    return stored;
}

enum table_result table_set(struct zone *zone, const struct table_key *key,
                            const struct table_write *write, uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct store store;
    enum table_result result;

    if (set_plain(zone, key, write))
        return TABLE_STORED;
    result = store_look(zone, key, write, now_ms, &store);
    if (result != TABLE_STORED)
        return result;
    if (store.fits) {
        if (!lock_take(zone, stripe))
            return TABLE_BUSY;
        result = set_locked(zone, stripe, &store, now_ms);
        lock_drop(zone, stripe);
        if (result != TABLE_OVERTAKEN)
            return result;
        store.fits = false; /* not any more: append it */
    }
    result = store_append(zone, &store, now_ms);
    if (result != TABLE_STORED)
        return result;
    if (!lock_take(zone, stripe)) {
        store_end(zone, &store, false);
        return TABLE_BUSY;
    }
    result = set_locked(zone, stripe, &store, now_ms);
    lock_drop(zone, stripe);
    store_end(zone, &store, result == TABLE_STORED);
    return result;
}

static enum table_result delete_locked(struct zone *zone, struct stripe *stripe,
                                       const struct table_key *key, const struct table_ref *expect,
                                       uint64_t now_ms, uint32_t *large)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot;
    struct entry_view view;
    enum table_result found = look(zone, &a, key, now_ms, &spot, &view);

    if (!ref_holds(zone, stripe, expect, &spot, found))
        return TABLE_CHANGED;
    stub_touch_locked(zone, stripe, key->hash);
    if (spot.word != 0)
        *large = index_unlink_locked(zone, stripe, &spot, &view);
    return found == TABLE_MISS ? TABLE_MISS : TABLE_STORED;
}

enum table_result table_delete(struct zone *zone, const struct table_key *key,
                               const struct table_ref *expect, uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    uint32_t large = LAYOUT_NONE;
    enum table_result result;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    result = delete_locked(zone, stripe, key, expect, now_ms, &large);
    lock_drop(zone, stripe);
    if (large != LAYOUT_NONE)
        slab_chain_free(zone, large);
    return result;
}

/* The slabs' last expiry goes up before the entry's does: the sweeper never sees a slab as all
 * expired that holds an entry with a later time. */
static void expire_entry_locked(struct zone *zone, struct stripe *stripe,
                                const struct index_spot *spot, const struct entry_view *view,
                                uint64_t expiry)
{
    uint64_t last = expiry == 0 ? SLAB_NEVER : expiry;

    layout_raise(&zone->slabs[slab_of(zone, view->at)].max_expiry, last);
    if (view->first_slab != LAYOUT_NONE)
        layout_raise(&zone->slabs[view->first_slab].max_expiry, last);
    index_begin_locked(zone, stripe, spot->head, 0, 0);
    entry_set_expiry(zone, view->at, expiry);
    index_end_locked(zone, stripe, spot->head);
}

enum table_result table_expire(struct zone *zone, const struct table_key *key,
                               const struct table_ref *expect, uint64_t expires_ms, uint64_t now_ms)
{
    struct stripe *stripe = layout_stripe(zone, key->hash);
    struct index_array a;
    struct index_spot spot;
    struct entry_view view;
    enum table_result found;

    if (!lock_take(zone, stripe))
        return TABLE_BUSY;
    a = index_array(zone, stripe);
    found = look(zone, &a, key, now_ms, &spot, &view);
    if (found == TABLE_MISS || !ref_holds(zone, stripe, expect, &spot, found)) {
        found = TABLE_CHANGED;
    } else {
        expire_entry_locked(
            zone, stripe, &spot, &view,
            entry_expiry_pack(zone, expires_ms == 0 ? 0 : expires_ms + view.stale_ms));
        found = TABLE_STORED;
    }
    lock_drop(zone, stripe);
    return found;
}

static uint64_t sum_stripes(const struct zone *zone, bool bytes)
{
    uint64_t clear = atomic_load_explicit(&zone->events->last_clear, memory_order_acquire);
    uint64_t total = 0;

    for (uint32_t i = 0; i < LAYOUT_STRIPES; i++) {
        const struct stripe *s = &zone->stripes[i];

        if (atomic_load_explicit(&s->count_seq, memory_order_relaxed) < clear)
            continue;
        total += bytes ? atomic_load_explicit(&s->live_bytes, memory_order_relaxed)
                       : atomic_load_explicit(&s->entries, memory_order_relaxed);
    }
    return total;
}

uint64_t table_count(const struct zone *zone)
{
    return sum_stripes(zone, false);
}

uint64_t table_bytes(const struct zone *zone)
{
    return sum_stripes(zone, true);
}

unsigned table_stripes(const struct zone *zone)
{
    (void)zone;
    return LAYOUT_STRIPES;
}

/* One entry in the walk's buffer: the hit, the key's length, the key. */
struct walk_record {
    struct table_hit hit;
    uint32_t key_len;
};

static size_t record_bytes(size_t key_len)
{
    size_t align = _Alignof(struct walk_record);

    return (sizeof(struct walk_record) + key_len + align - 1) / align * align;
}

/* Copy a chain's valid entries to the buffer. The bytes used, or, when they do not fit, the bytes
 * needed (more than the capacity). */
static size_t copy_chain_locked(struct zone *zone, struct stripe *stripe, uint64_t cursor,
                                uint64_t now_ms)
{
    struct index_array a = index_array(zone, stripe);
    struct index_spot spot = {.head = index_bucket(&a, index_cursor_head(&a, cursor))};
    uint32_t version = atomic_load_explicit(&spot.head->version, memory_order_relaxed);
    size_t used = 0;

    lock_assert(zone, stripe);
    for (struct bucket *b = spot.head; b != NULL; b = index_next(&a, b)) {
        for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
            struct walk_record *r;
            struct entry_view view;
            struct slice key;

            spot.word = index_load(b, i);
            if (spot.word == 0 || (spot.word & SLOT_LINK) ||
                !entry_view(zone, index_offset(spot.word), &view))
                continue;
            key = slice_make(entry_key(zone, &view), view.key_len);
            if (index_cursor_before(entry_hash(zone, key.data, key.len), cursor) ||
                valid_entry(zone, &view, key, now_ms) > VALID_STALE ||
                look_past(zone, &view, now_ms))
                continue;
            used += record_bytes(key.len);
            if (used > zone->walk_cap)
                continue;
            r = (struct walk_record *)(void *)(zone->walk_buf + used - record_bytes(key.len));
            look_fill(zone, &spot, &view, &r->hit);
            r->hit.reads = (uint8_t)index_freq(spot.word);
            r->hit.ref.bucket = (uint64_t)((const char *)spot.head - zone->base);
            r->hit.ref.version = version;
            r->hit.ref.shrinks = index_shrinks(atomic_load(layout_table(zone, stripe)));
            r->hit.stripe = (uint32_t)(stripe - zone->stripes);
            r->key_len = view.key_len;
            entry_copy(r + 1, key.data, key.len);
        }
    }
    return used;
}

static bool grow_walk(struct zone *zone, size_t need)
{
    char *buf = realloc(zone->walk_buf, need);

    if (buf == NULL)
        return false;
    zone->walk_buf = buf;
    zone->walk_cap = need;
    return true;
}

/* One chain: copied under the lock, visited after it. A chain that outgrew the buffer is copied
 * again. next: where the walk goes on. */
static enum table_result walk_chain(struct zone *zone, struct stripe *stripe, uint64_t cursor,
                                    uint64_t now_ms, size_t *used, uint64_t *next)
{
    struct index_array a;

    for (;;) {
        if (!lock_take(zone, stripe))
            return TABLE_BUSY;
        a = index_array(zone, stripe);
        *next = index_cursor_next(&a, cursor);
        *used = copy_chain_locked(zone, stripe, cursor, now_ms);
        lock_drop(zone, stripe);
        if (*used <= zone->walk_cap)
            return TABLE_HIT;
        if (!grow_walk(zone, *used + *used / 2))
            return TABLE_BUSY;
    }
}

enum table_result
table_walk_step(struct zone *zone, uint64_t *cursor, uint64_t now_ms,
                void (*visit)(void *arg, struct slice key, const struct table_hit *hit), void *arg)
{
    uint64_t stripe = *cursor / INDEX_CURSOR_END;
    enum table_result result;
    size_t used = 0;
    uint64_t next;

    if (stripe >= LAYOUT_STRIPES) {
        *cursor = TABLE_CURSOR_END;
        return TABLE_HIT;
    }
    result = walk_chain(zone, &zone->stripes[stripe], *cursor % INDEX_CURSOR_END, now_ms, &used,
                        &next);
    if (result != TABLE_HIT)
        return result;
    *cursor = stripe * INDEX_CURSOR_END + next;
    for (size_t at = 0; at < used;) {
        const struct walk_record *r = (const void *)(zone->walk_buf + at);

        visit(arg, slice_make(r + 1, r->key_len), &r->hit);
        at += record_bytes(r->key_len);
    }
    return TABLE_HIT;
}

enum table_result
table_walk(struct zone *zone, unsigned stripe, uint64_t now_ms,
           void (*visit)(void *arg, struct slice key, const struct table_hit *hit), void *arg)
{
    uint64_t end = (stripe + UINT64_C(1)) * INDEX_CURSOR_END;
    enum table_result result = TABLE_HIT;

    for (uint64_t cursor = stripe * INDEX_CURSOR_END;
         result == TABLE_HIT && cursor < end && cursor < TABLE_CURSOR_END;)
        result = table_walk_step(zone, &cursor, now_ms, visit, arg);
    return result;
}
