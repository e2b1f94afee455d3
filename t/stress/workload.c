#include "workload.h"

#include "common/clock.h"
#include "shm/ban.h"
#include "shm/lease.h"
#include "shm/pin.h"
#include "shm/table.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEYS     4000
#define LEASE_MS 2000

/* At the start of every value. */
struct stamp {
    uint32_t key;
    uint32_t len;
    uint64_t sum;
};

struct shared *shared;
_Thread_local struct zone *zone;
_Thread_local uint64_t seed;
_Thread_local char *value;

uint64_t draw(uint64_t below)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (seed * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static uint64_t checksum(const char *data, size_t len, uint64_t key)
{
    uint64_t sum = (key + 1) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t word;

    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&word, data, 8);
        sum = (sum ^ word) * UINT64_C(0x100000001b3);
        sum ^= sum >> 29;
    }
    for (; len > 0; data++, len--)
        sum = (sum ^ (unsigned char)*data) * UINT64_C(0x100000001b3);
    return sum;
}

void bad_value(uint32_t key, const char *why)
{
    if (atomic_fetch_add(&shared->bad, 1) == 0)
        snprintf(shared->first, sizeof(shared->first), "key %u: %s", key, why);
}

static struct table_key name_of(uint32_t i, char text[32])
{
    return table_key(zone, slice_make(text, (size_t)snprintf(text, 32, "k%u/%u", i % 16, i)));
}

static size_t random_len(void)
{
    uint64_t dice = draw(1000);

    if (dice < 4)
        return sizeof(struct stamp) + draw(VALUE_CAP - sizeof(struct stamp));
    if (dice < 100)
        return sizeof(struct stamp) + draw(16000);
    return sizeof(struct stamp) + draw(400);
}

static struct slice make_value(uint32_t key)
{
    struct stamp stamp = {.key = key, .len = (uint32_t)random_len()};
    uint64_t fill = draw(UINT64_MAX);
    char *body = value + sizeof(stamp);
    size_t n = stamp.len - sizeof(stamp);

    for (size_t i = 0; i < n; i += 8, fill = fill * 5 + 1)
        memcpy(body + i, &fill, n - i < 8 ? n - i : 8);
    stamp.sum = checksum(body, n, key);
    memcpy(value, &stamp, sizeof(stamp));
    return slice_make(value, stamp.len);
}

static void verify(uint32_t key, size_t len)
{
    struct stamp stamp;

    atomic_fetch_add_explicit(&shared->hits, 1, memory_order_relaxed);
    if (len < sizeof(stamp)) {
        bad_value(key, "shorter than its stamp");
        return;
    }
    memcpy(&stamp, value, sizeof(stamp));
    if (stamp.key != key)
        bad_value(key, "another key's value");
    else if (stamp.len != len)
        bad_value(key, "another length");
    else if (stamp.sum != checksum(value + sizeof(stamp), len - sizeof(stamp), key))
        bad_value(key, "torn");
}

/* A large value, verified where it lies; held for a moment, so that others overwrite and evict it
 * meanwhile. */
static void verify_lent(uint32_t i, struct pin *pin)
{
    size_t len = 0, whole = pin->left;

    if (draw(2) == 0)
        usleep((useconds_t)draw(3000));
    while (pin->left > 0) {
        struct slice piece = pin_piece(pin);

        memcpy(value + len, piece.data, piece.len);
        len += piece.len;
        pin_skip(pin, piece.len);
    }
    pin_end(pin);
    if (len != whole)
        bad_value(i, "lent with another length");
    else
        verify(i, len);
    atomic_fetch_add_explicit(&shared->lent, 1, memory_order_relaxed);
}

static void op_get(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    struct table_hit hit;
    struct pin pin;

    atomic_fetch_add_explicit(&shared->reads, 1, memory_order_relaxed);
    for (int n = 0; n < 4; n++) {
        enum table_result r = table_find(zone, &key, clock_now_ms(), &hit);

        if (r != TABLE_HIT)
            return;
        if (hit.value_len > VALUE_CAP) {
            bad_value(i, "longer than any that was stored");
            return;
        }
        if (draw(4) > 0 && pin_begin(zone, &hit, &pin)) {
            verify_lent(i, &pin);
            return;
        }
        if (table_copy(zone, &hit, NULL, value) == TABLE_HIT) {
            verify(i, hit.value_len);
            return;
        }
    }
    if (table_read_locked(zone, &key, clock_now_ms(), &hit, NULL, 0, value, VALUE_CAP) == TABLE_HIT)
        verify(i, hit.value_len);
}

static void count_store(enum table_result r)
{
    if (r == TABLE_STORED)
        atomic_fetch_add_explicit(&shared->stores, 1, memory_order_relaxed);
    if (r == TABLE_FULL)
        atomic_fetch_add_explicit(&shared->full, 1, memory_order_relaxed);
}

static void op_set(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    struct slice tag = SLICE_LIT("even");
    uint64_t now = clock_now_ms();
    struct table_write write = {
        .value = make_value(i),
        .expires_ms = draw(3) == 0 ? now + 1 + draw(200) : 0,
        .tags = &tag,
        .n_tags = i % 8 == 0,
    };

    count_store(table_set(zone, &key, &write, now));
}

static void op_fill(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();
    struct lease lease;
    struct table_write write;

    if (lease_fill_begin(zone, &key, now, now + LEASE_MS, &lease) != LEASE_GRANTED)
        return;
    if (draw(4) == 0) {
        while (lease_fail(zone, &key, &lease) == TABLE_BUSY)
            continue;
        return;
    }
    write = (struct table_write){.value = make_value(i)};
    count_store(lease_fill_end(zone, &key, &lease, &write, clock_now_ms()));
}

static void op_write(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();
    struct lease lease;
    struct table_write write;

    if (lease_write_begin(zone, &key, now, now + LEASE_MS, &lease) == LEASE_BUSY)
        return;
    write = (struct table_write){.value = make_value(i)};
    if (lease.token == 0 || draw(4) == 0)
        lease_write_abort(zone, &key, &lease, clock_now_ms());
    else
        count_store(lease_write_end(zone, &key, &lease, &write, clock_now_ms()));
}

static void op_rare(void)
{
    char text[16];

    switch (draw(8)) {
    case 0:
        zone_clear(zone);
        break;
    case 1:
        ban_tag(zone, SLICE_LIT("even"));
        break;
    default:
        snprintf(text, sizeof(text), "k%u/*%u", (unsigned)draw(16), (unsigned)draw(10));
        ban_add(zone, slice_cstr(text));
    }
}

static void op_expire(uint32_t i)
{
    char text[32];
    struct table_key key = name_of(i, text);
    uint64_t now = clock_now_ms();

    table_expire(zone, &key, NULL, draw(2) == 0 ? 0 : now + draw(500), now);
}

void work_once(void)
{
    uint32_t i = (uint32_t)draw(KEYS);
    uint64_t dice = draw(10000);
    char text[32];
    struct table_key key;

    if (dice < 4000) {
        op_get(i);
    } else if (dice < 8000) {
        op_set(i);
    } else if (dice < 8600) {
        key = name_of(i, text);
        table_delete(zone, &key, NULL, clock_now_ms());
    } else if (dice < 9100) {
        op_fill(i);
    } else if (dice < 9600) {
        op_write(i);
    } else if (dice < 9998) {
        op_expire(i);
    } else {
        op_rare();
    }
}
