/* The hash table of a zone: find without locks, change under one stripe lock.
 *
 * Reading: table_find() then table_copy(); both may run while anything is written, and a copy that
 * was overtaken says so. Changing: every change names the state it expects (or none), so that read-
 * modify-write is a loop of find, compute, table_set(expect) without any lock held in between.
 *
 * Validity (design rule 1): an entry is served only if its sequence is not older than the last
 * clear, the last epoch (older: TABLE_STALE) and the last purge of its tags, and no newer ban
 * matches; and its expiry, exact to the millisecond, is in the future.
 */
#ifndef SHM_TABLE_H
#define SHM_TABLE_H

#include "common/slice.h"
#include "shm/zone.h"

#include <stdbool.h>
#include <stdint.h>

enum table_result {
    TABLE_HIT,
    TABLE_STALE,     /* found, but stored before the last epoch move: trust it only as a fallback */
    TABLE_MISS,      /* absent, expired, cleared, banned or purged */
    TABLE_STORED,    /* the change was made */
    TABLE_CHANGED,   /* the key is not in the expected state any more: look again */
    TABLE_REJECTED,  /* rule 1: something newer happened since the operation began; not stored */
    TABLE_BUSY,      /* a stripe stayed locked for LOCK_WAIT_MS: park and try again */
    TABLE_FULL,      /* no slab could be freed; nothing was changed */
    TABLE_TOO_LARGE, /* over zone_value_max() or zone_key_max() */
    TABLE_OVERTAKEN, /* the copy raced with a change: find again */
};

/* A key and its hash in this zone. */
struct table_key {
    struct slice bytes;
    uint64_t hash;
};

struct table_key table_key(const struct zone *zone, struct slice bytes);

/* What was seen of a key, and where: the state that a later change can insist on. A ref of a miss
 * means "still absent". Plain data, valid in this process only, no release needed. */
struct table_ref {
    uint64_t bucket;  /* head bucket */
    uint32_t version; /* of the head bucket, when seen */
    uint32_t shrinks; /* of its stripe, when seen: the bucket's memory is still a bucket */
    uint64_t slot;    /* the slot word; 0 = absent */
};

struct table_hit {
    struct table_ref ref;
    uint64_t seq;        /* the sequence its operation began at */
    uint64_t expires_ms; /* boottime ms; 0 = none */
    uint32_t stale_ms;   /* kept so long beyond that, for lease_fetch() alone */
    uint32_t delta_ms;   /* what computing it took, where it was computed under a lease */
    uint32_t value_len;
    uint32_t meta_len; /* bytes of caller's metadata stored beside the value */
    uint16_t flags;    /* caller's flag bits: TABLE_FLAG_USER and up */
    uint16_t n_tags;
    bool accessed; /* somebody has read it before, as far as eviction remembers */
    uint8_t reads;     /* of a walk: how often it was read since eviction last looked at it; 7 = or more */
    /* The engine's own: where table_copy() finds the bytes. */
    uint32_t first_slab;
    uint32_t stripe;
    uint64_t at;
};

/* Flag bits below this one are the engine's own: set by it, ignored in table_write. */
#define TABLE_FLAG_USER 0x10

#define TABLE_META_MAX 4096
#define TABLE_TAGS_MAX 64

/* Look a key up. now_ms: boottime (clock_now_ms()). hit: filled on TABLE_HIT and TABLE_STALE; on
 * TABLE_MISS only hit->ref. Never blocks for longer than LOCK_WAIT_MS: after three failed lock-free
 * attempts it takes the stripe's lock (read-only mappings: TABLE_OVERTAKEN). Marks the access for
 * eviction. Results: HIT, STALE, MISS, BUSY. No allocation. */
enum table_result table_find(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                             struct table_hit *hit);

/* Hint that this key is about to be looked up (multi-get): prefetches its bucket. */
void table_prefetch(const struct zone *zone, const struct table_key *key);

/* The same for several at once, entries included: first every bucket, then, those being on their
 * way, what their slots point to. Worth it from about four keys on. */
void table_prefetch_many(const struct zone *zone, const struct table_key *keys, size_t n);

/* Copy what table_find() saw. meta (hit->meta_len bytes) and value (hit->value_len bytes) may each
 * be NULL. TABLE_HIT, or TABLE_OVERTAKEN: the bytes are garbage, find again. A caller overtaken
 * more than a few times uses table_read_locked(). */
enum table_result table_copy(struct zone *zone, const struct table_hit *hit, void *meta,
                             void *value);

/* Whether the key's chain is as table_find() saw it. Locks: none; under LAYOUT_LOCKED_READS, the
 * stripe's. */
bool table_unchanged(const struct zone *zone, const struct table_hit *hit);

/* Copy the hashes of the entry's tags, hit->n_tags of them, for a store that keeps them. key_len: of
 * the key that was looked for. TABLE_HIT or TABLE_OVERTAKEN. */
enum table_result table_copy_tags(struct zone *zone, const struct table_hit *hit, size_t key_len,
                                  uint32_t hashes[TABLE_TAGS_MAX]);

/* Find and copy under the stripe's lock: cannot be overtaken. Copies only if both lengths fit the
 * given capacities; hit has the lengths either way. HIT, STALE, MISS, BUSY. */
enum table_result table_read_locked(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                                    struct table_hit *hit, void *meta, size_t meta_cap, void *value,
                                    size_t value_cap);

/* What table_get() found, beside the bytes. */
struct table_value {
    uint64_t expires_ms; /* as in table_hit */
    uint32_t len;
    uint16_t flags;
};

/* Find and copy in one step, for values that are small or whose length is known: half the work of
 * the two. buf: room for cap bytes. HIT, STALE, MISS, BUSY as table_find(); TOO_LARGE: value->len
 * bytes are more than cap, nothing was copied. Never OVERTAKEN. Metadata is left out. */
enum table_result table_get(struct zone *zone, const struct table_key *key, uint64_t now_ms,
                            void *buf, size_t cap, struct table_value *value);

/* One store. */
struct table_write {
    struct slice value;
    struct slice meta;        /* at most TABLE_META_MAX */
    const struct slice *tags; /* n_tags names; borrowed; stored as hashes */
    unsigned n_tags;
    const uint32_t *tag_hashes; /* instead of names: n_tags of table_copy_tags() */
    uint64_t began_seq;  /* zone_seq() when the operation began; 0 = now */
    uint64_t expires_ms; /* boottime ms; 0 = none */
    uint32_t stale_ms;   /* keep it so long beyond its expiry, for lease_fetch() */
    uint32_t delta_ms;   /* set by lease_fill_end() */
    uint16_t flags;
    /* NULL: store whatever is there. Otherwise store only if the key is as this ref saw it. */
    const struct table_ref *expect;
};

/* Store. The older entry, if any, is gone exactly when the new one is there; readers see one of the
 * two, whole. A store under a running write or fill of others is their business: see lease.h.
 * STORED, CHANGED, REJECTED (began_seq older than the last clear), BUSY, FULL (the older entry is
 * still there), TOO_LARGE. Removes a fill stub of the key: its late fill will be rejected. */
enum table_result table_set(struct zone *zone, const struct table_key *key,
                            const struct table_write *write, uint64_t now_ms);

/* Remove. expect as in table_write. STORED (it was there and valid), MISS (it was not),
 * CHANGED, BUSY. Touches stubs of the key: a fill or put under way will not store. */
enum table_result table_delete(struct zone *zone, const struct table_key *key,
                               const struct table_ref *expect, uint64_t now_ms);

/* Change only the expiry, atomically; expires_ms 0 = none. STORED, CHANGED, BUSY, FULL. */
enum table_result table_expire(struct zone *zone, const struct table_key *key,
                               const struct table_ref *expect, uint64_t expires_ms,
                               uint64_t now_ms);

/* Live entries and their bytes (key + value + header), summed over the stripes. Entries that a
 * clear made invalid do not count; expired and banned ones count until the sweeper has been there.
 */
uint64_t table_count(const struct zone *zone);
uint64_t table_bytes(const struct zone *zone);

/* Walk every entry that is valid now, stripe by stripe: calls visit for each of stripe number
 * `stripe` (0..table_stripes()-1) with a copy of the key made under the stripe's lock and visited
 * after it is released. Returns HIT, or BUSY when the stripe could not be locked. */
unsigned table_stripes(const struct zone *zone);

/* One step of a walk over the whole zone: visits the valid entries of one chain as table_walk()
 * does, and moves *cursor, from 0 to TABLE_CURSOR_END. The cursor is all there is to remember, and
 * is good for ever: between the steps anything may be stored, removed, and the index may grow and
 * shrink; what is there from the first step to the last is visited (an entry that is stored anew
 * meanwhile, perhaps twice). BUSY: not moved, come again. */
#define TABLE_CURSOR_END (UINT64_C(1024) << 32)
enum table_result
table_walk_step(struct zone *zone, uint64_t *cursor, uint64_t now_ms,
                void (*visit)(void *arg, struct slice key, const struct table_hit *hit), void *arg);
enum table_result
table_walk(struct zone *zone, unsigned stripe, uint64_t now_ms,
           void (*visit)(void *arg, struct slice key, const struct table_hit *hit), void *arg);

#endif
