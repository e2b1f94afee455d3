/* file seals: Linux. */
#define _GNU_SOURCE 1

#include "shm/reader.h"

#include "common/clock.h"
#include "shm/index.h"
#include "shm/plain.h"
#include "shm/tag.h"
#include "shm/valid.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 3

struct reader {
    struct zone zone; /* never joined: owner 0 */
    size_t mapped;
    uint64_t beat;     /* the heartbeat last seen, */
    uint64_t heard_at; /* and when that was, by the coarse clock, ns */
    bool dead;         /* it was too old already when it was first seen */
};

int reader_descriptor(const struct zone *zone, struct errmsg *msg)
{
    char path[32];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", zone_fd(zone));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(msg, "cannot open the memory of cache %s for reading",
                             zone_name(zone));
    return fd;
}

/* The geometry follows from the size and the key limit: what the superblock says must be just that.
 */
static int check_superblock(const struct superblock *sb, uint64_t size, struct errmsg *msg)
{
    struct geometry expected;
    int err;

    if (sb->magic != LAYOUT_MAGIC)
        return err_set(msg, ERR_INVALID, "this memory is no cache of Cachetastic's");
    if (sb->layout_hash != layout_hash())
        return err_set(msg, ERR_INVALID,
                       "the daemon's memory has another layout than this library's: they are of "
                       "different versions");
    if (atomic_load(&sb->state) != SUPERBLOCK_SERVING)
        return err_set(msg, ERR_INVALID, "this cache's memory is not ready");
    err = layout_plan(size, sb->geometry.key_max, &expected, msg);
    expected.size_credit = sb->geometry.size_credit;
    if (err == ERR_OK && memcmp(&expected, &sb->geometry, sizeof(expected)) != 0)
        err = err_set(msg, ERR_INVALID, "this cache's memory contradicts its size");
    return err;
}

static void open_superblock(struct zone *zone)
{
    zone->sb = layout_at(zone, 0);
    zone->g = zone->sb->geometry;
    zone->seed = zone->sb->seed;
    zone->base_ms = zone->sb->base_ms;
    layout_attach(zone);
}

/* Memory that could shrink under the mapping would end the process by SIGBUS. */
static int map(int fd, struct reader *reader, struct errmsg *msg)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &st) != 0)
        return err_set_errno(msg, "cannot look at the cache's memory");
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || st.st_size < (off_t)ZONE_MIN_BYTES)
        return err_set(msg, ERR_INVALID, "this memory is no cache of Cachetastic's");
    reader->mapped = (size_t)st.st_size;
    reader->zone.base = mmap(NULL, reader->mapped, PROT_READ, MAP_SHARED, fd, 0);
    if (reader->zone.base == MAP_FAILED) {
        reader->zone.base = NULL;
        return err_set_errno(msg, "cannot map the cache's %zu bytes", reader->mapped);
    }
    return ERR_OK;
}

int reader_open(int fd, struct reader **out, struct errmsg *msg)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    int err;

    if (reader == NULL)
        return err_set(msg, ERR_NOMEM, "no memory");
    reader->zone.fd = -1;
    err = map(fd, reader, msg);
    if (err == ERR_OK)
        err = check_superblock((const struct superblock *)(const void *)reader->zone.base,
                               reader->mapped, msg);
    if (err != ERR_OK) {
        reader_close(reader);
        return err;
    }
    open_superblock(&reader->zone);
    *out = reader;
    return ERR_OK;
}

void reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->zone.base != NULL)
        munmap(reader->zone.base, reader->mapped);
    free(reader);
}

struct table_key reader_key(const struct reader *reader, struct slice bytes)
{
    return table_key(&reader->zone, bytes);
}

/* A beat not seen before is judged by the exact clock, its age from then on by the coarse one: that
 * one costs a few nanoseconds and stands still in suspend, as the master does. */
static bool hear(struct reader *reader, uint64_t beat, uint64_t coarse_ns)
{
    uint64_t now_ms = clock_now_ms();

    reader->beat = beat;
    reader->heard_at = coarse_ns;
    reader->dead = beat + READER_DEAD_MS < now_ms;
    return !reader->dead;
}

bool reader_alive(struct reader *reader)
{
    const struct superblock *sb = reader->zone.sb;
    uint64_t beat = atomic_load_explicit(&sb->heartbeat_ms, memory_order_acquire);
    uint64_t coarse_ns = clock_coarse_ns();

    if (beat != reader->beat)
        return hear(reader, beat, coarse_ns);
    return !reader->dead && coarse_ns - reader->heard_at <= READER_DEAD_MS * UINT64_C(1000000);
}

/* Whether an entry of that sequence counts, its tags and its time apart. */
static inline enum reader_result judge(const struct zone *zone, uint64_t seq)
{
    const struct events *ev = zone->events;

    if (seq >= atomic_load_explicit(&ev->newest, memory_order_acquire))
        return READER_HIT;
    if (seq < atomic_load_explicit(&ev->last_clear, memory_order_acquire))
        return READER_MISS;
    if (seq < atomic_load_explicit(&ev->ban_newest, memory_order_acquire) ||
        seq < atomic_load_explicit(&ev->epoch, memory_order_relaxed))
        return READER_ASK;
    return READER_HIT;
}

static inline bool past(const struct zone *zone, uint64_t soft)
{
    return soft != 0 && clock_now_ms() >= zone->base_ms + soft;
}

static enum reader_result judge_view(const struct zone *zone, const struct entry_view *view)
{
    enum reader_result result = judge(zone, view->seq);

    for (uint32_t i = 0; result == READER_HIT && i < view->n_tags; i++)
        if (tag_purged(zone, entry_tag(zone, view, i)) > view->seq)
            result = READER_MISS;
    return result == READER_HIT && past(zone, entry_soft(view)) ? READER_MISS : result;
}

/* What nearly every read is; false: read_any() has to look. */
static inline bool read_plain(const struct zone *zone, const struct table_key *key, void *buf,
                              size_t cap, struct reader_value *value)
{
    struct plain p;
    uint64_t at, expiry;

    if (!plain_seek(zone, key, &p) || judge(zone, p.w0 & LAYOUT_SEQ_MASK) != READER_HIT)
        return false;
    expiry = p.w1 & ENTRY_EXPIRY_MAX;
    value->len = atomic_load_explicit(&p.entry->value_len, memory_order_relaxed);
    value->delta_ms = 0;
    value->flags = (uint16_t)(p.w0 >> 48) & (uint16_t)~ENTRY_FLAGS_OWN;
    value->expires_ms = expiry == 0 ? 0 : zone->base_ms + expiry;
    at = p.at + ENTRY_HEADER + key->bytes.len;
    if (value->len > cap || at + value->len > zone->slabs_end || past(zone, expiry))
        return false;
    entry_copy(buf, layout_at(zone, at), value->len);
    return plain_unchanged(&p);
}

static bool copy_value(const struct zone *zone, const struct entry_view *view, void *buf)
{
    if (view->first_slab != LAYOUT_NONE)
        return slab_copy_large(zone, view->first_slab, buf, view->value_len);
    entry_copy(buf, entry_key(zone, view) + view->key_len + view->meta_len, view->value_len);
    return true;
}

/* One look at the whole chain. *whole: nothing changed meanwhile, the answer counts. */
static enum reader_result read_once(const struct zone *zone, const struct table_key *key, void *buf,
                                    size_t cap, struct reader_value *value, bool *whole)
{
    const struct stripe *stripe = layout_stripe(zone, key->hash);
    uint64_t table = atomic_load_explicit(layout_table(zone, stripe), memory_order_acquire);
    struct index_array a = index_unpack(zone, stripe, table);
    const struct bucket *head = index_head(&a, key->hash);
    uint32_t version = atomic_load_explicit(&head->version, memory_order_acquire);
    enum reader_result result = READER_MISS;
    struct index_spot spot;
    struct entry_view view;

    *whole = (version & 1) == 0;
    if (*whole && index_find(zone, &a, key, &spot, &view)) {
        result = judge_view(zone, &view);
        *value = (struct reader_value){view.expiry == 0 ? 0 : zone->base_ms + entry_soft(&view),
                                       view.value_len, view.delta_ms,
                                       view.flags & (uint16_t)~ENTRY_FLAGS_OWN};
        if (result == READER_HIT && view.value_len > cap)
            result = READER_TOO_LARGE;
        else if (result == READER_HIT)
            *whole = copy_value(zone, &view, buf);
    }
    *whole = *whole && index_unchanged(head, version) &&
             atomic_load_explicit(layout_table(zone, stripe), memory_order_relaxed) == table;
    return result;
}

static enum reader_result __attribute__((noinline))
read_any(const struct zone *zone, const struct table_key *key, void *buf, size_t cap,
         struct reader_value *value)
{
    for (int i = 0; i < TRIES; i++) {
        bool whole;
        enum reader_result result = read_once(zone, key, buf, cap, value, &whole);

        if (whole)
            return result;
    }
    return READER_ASK;
}

enum reader_result reader_get(struct reader *reader, const struct table_key *key, void *buf,
                              size_t cap, struct reader_value *value)
{
    /* The sanitizer cannot follow reads without a lock, and a reader cannot take one. */
    if (LAYOUT_LOCKED_READS || !reader_alive(reader))
        return READER_ASK;
    if (read_plain(&reader->zone, key, buf, cap, value))
        return READER_HIT;
    return read_any(&reader->zone, key, buf, cap, value);
}

void reader_prefetch(const struct reader *reader, const struct table_key *keys, size_t n)
{
    table_prefetch_many(&reader->zone, keys, n);
}
