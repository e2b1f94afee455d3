#include "shm/ban.h"

#include "common/glob.h"
#include "shm/layout.h"

#include <string.h>

/* A record's number while its pattern is being written: the owner's id, so that repair finds it. */
#define CLAIMED (UINT64_C(1) << 63)

static_assert(BAN_PATTERN_MAX <= BAN_RECORD_BYTES - 8 && BAN_PATTERN_MAX % 8 == 0,
              "a pattern is copied by words and fits its record");

static _Atomic uint64_t *number(const struct zone *zone, uint32_t i)
{
    return (_Atomic uint64_t *)layout_at(zone, zone->g.ban_numbers) + i;
}

static struct ban_record *record(const struct zone *zone, uint32_t i)
{
    return (struct ban_record *)layout_at(zone, zone->g.ban_patterns) + i;
}

static uint32_t claim(struct zone *zone)
{
    for (uint32_t i = 0; i < zone->g.n_bans; i++) {
        uint64_t free = 0;

        if (atomic_compare_exchange_strong(number(zone, i), &free, CLAIMED | zone->owner))
            return i;
    }
    return LAYOUT_NONE;
}

static void raise_high(struct zone *zone, uint32_t high)
{
    uint32_t old = atomic_load(&zone->events->ban_high);

    while (old < high && !atomic_compare_exchange_weak(&zone->events->ban_high, &old, high))
        continue;
}

static void write_pattern(struct ban_record *r, struct slice pattern)
{
    atomic_store_explicit(&r->len, (uint32_t)pattern.len, memory_order_relaxed);
    for (size_t at = 0; at < pattern.len; at += 8) {
        uint64_t word = 0;

        memcpy(&word, pattern.data + at, pattern.len - at < 8 ? pattern.len - at : 8);
        atomic_store_explicit(&r->pattern[at / 8], word, memory_order_relaxed);
    }
}

enum ban_result ban_add(struct zone *zone, struct slice pattern)
{
    uint32_t i;
    uint64_t seq;

    if (pattern.len > BAN_PATTERN_MAX)
        return BAN_TOO_LONG;
    i = claim(zone);
    if (i == LAYOUT_NONE)
        return BAN_FULL;
    atomic_thread_fence(
        memory_order_release); /* a reader of the record's older text sees the claim */
    write_pattern(record(zone, i), pattern);
    raise_high(zone, i + 1);
    seq = atomic_fetch_add(&zone->events->seq, 1) + 1;
    atomic_store(number(zone, i), seq);
    layout_raise_event(zone->events, &zone->events->ban_newest, seq);
    return BAN_RECORDED;
}

/* Copy the pattern, and make sure that it is still this ban's. copy: BAN_PATTERN_MAX bytes. */
static bool read_pattern(const struct zone *zone, uint32_t i, uint64_t seq, char *copy, size_t *len)
{
    const struct ban_record *r = record(zone, i);

    *len = atomic_load_explicit(&r->len, memory_order_relaxed);
    if (*len > BAN_PATTERN_MAX)
        return false;
    for (size_t at = 0; at < *len; at += 8) {
        uint64_t word = atomic_load_explicit(&r->pattern[at / 8], memory_order_relaxed);

        memcpy(copy + at, &word, 8);
    }
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(number(zone, i), memory_order_relaxed) == seq;
}

bool ban_hits(const struct zone *zone, struct slice key, uint64_t seq)
{
    uint32_t high;
    char copy[BAN_PATTERN_MAX];
    size_t len;

    if (seq >= atomic_load_explicit(&zone->events->ban_newest, memory_order_acquire))
        return false;
    high = atomic_load_explicit(&zone->events->ban_high, memory_order_acquire);
    for (uint32_t i = 0; i < high; i++) {
        uint64_t n = atomic_load_explicit(number(zone, i), memory_order_acquire);

        if (n <= seq || (n & CLAIMED))
            continue;
        /* A record that changed under us was retired: what it hit has been unlinked, and the
         * caller's version check says so. */
        if (read_pattern(zone, i, n, copy, &len) && glob_match(slice_make(copy, len), key))
            return true;
    }
    return false;
}

unsigned ban_active(const struct zone *zone)
{
    unsigned n = 0;
    uint32_t high = atomic_load_explicit(&zone->events->ban_high, memory_order_acquire);

    for (uint32_t i = 0; i < high; i++) {
        uint64_t seq = atomic_load_explicit(number(zone, i), memory_order_relaxed);

        n += seq != 0 && (seq & CLAIMED) == 0;
    }
    return n;
}

void ban_snapshot(const struct zone *zone, uint64_t *seqs)
{
    for (uint32_t i = 0; i < zone->g.n_bans; i++) {
        uint64_t seq = atomic_load_explicit(number(zone, i), memory_order_acquire);

        seqs[i] = seq & CLAIMED ? 0 : seq;
    }
}

void ban_retire(struct zone *zone, const uint64_t *seqs)
{
    for (uint32_t i = 0; i < zone->g.n_bans; i++) {
        uint64_t seq = seqs[i];

        if (seq == 0)
            continue;
        layout_raise(&zone->events->ban_retired, seq);
        atomic_compare_exchange_strong(number(zone, i), &seq, 0);
    }
}

unsigned ban_release(struct zone *zone, uint32_t owner)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < zone->g.n_bans; i++) {
        uint64_t seq = CLAIMED | owner;

        n += atomic_compare_exchange_strong(number(zone, i), &seq, 0);
    }
    return n;
}
