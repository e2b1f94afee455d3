#include "shm/soft.h"

#include "common/glob.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define PATTERNS 256
#define TAGS     4096 /* a power of two */

struct record {
    _Atomic uint64_t at_ms; /* 0: being written, or none */
    _Atomic uint64_t len;
    _Atomic uint64_t text[SOFT_PATTERN_MAX / 8];
};

struct soft {
    _Atomic uint64_t newest_ms; /* of all */
    _Atomic uint64_t floor_ms;  /* of the patterns that were overwritten */
    _Atomic uint64_t next;
    struct record patterns[PATTERNS];
    _Atomic uint64_t tags[TAGS];
};

int soft_create(size_t n, struct soft **out, struct errmsg *msg)
{
    struct soft *list = mmap(NULL, n * sizeof(*list), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (list == MAP_FAILED)
        return err_set_errno(msg, "cannot map the soft purges");
    *out = list;
    return ERR_OK;
}

void soft_destroy(struct soft *list, size_t n)
{
    if (list != NULL)
        munmap(list, n * sizeof(*list));
}

struct soft *soft_at(struct soft *list, size_t i)
{
    return &list[i];
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t old = atomic_load(word);

    while (old < value && !atomic_compare_exchange_weak(word, &old, value))
        continue;
}

bool soft_purge_pattern(struct soft *soft, struct slice pattern, uint64_t wall_ms)
{
    struct record *record;

    if (pattern.len > SOFT_PATTERN_MAX)
        return false;
    record = &soft->patterns[atomic_fetch_add(&soft->next, 1) % PATTERNS];
    /* Before its record is anyone else's: a page that it purged stays purged. */
    raise_to(&soft->floor_ms, atomic_load(&record->at_ms));
    atomic_store(&record->at_ms, 0);
    atomic_store(&record->len, pattern.len);
    for (size_t at = 0; at < pattern.len; at += 8) {
        uint64_t word = 0;

        memcpy(&word, pattern.data + at, pattern.len - at < 8 ? pattern.len - at : 8);
        atomic_store_explicit(&record->text[at / 8], word, memory_order_relaxed);
    }
    atomic_store(&record->at_ms, wall_ms);
    raise_to(&soft->newest_ms, wall_ms);
    return true;
}

static _Atomic uint64_t *place_of(const struct soft *soft, struct slice tag)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < tag.len; i++)
        hash = (hash ^ (unsigned char)tag.data[i]) * UINT64_C(0x100000001b3);
    return (_Atomic uint64_t *)&soft->tags[(hash ^ hash >> 32) & (TAGS - 1)];
}

void soft_purge_tag(struct soft *soft, struct slice tag, uint64_t wall_ms)
{
    raise_to(place_of(soft, tag), wall_ms);
    raise_to(&soft->newest_ms, wall_ms);
}

/* False: it changed under us, and the floor has its time by then. */
static bool read_record(const struct record *record, uint64_t at_ms, char *copy, size_t *len)
{
    *len = (size_t)atomic_load(&record->len);
    if (*len > SOFT_PATTERN_MAX)
        return false;
    for (size_t at = 0; at < *len; at += 8) {
        uint64_t word = atomic_load_explicit(&record->text[at / 8], memory_order_relaxed);

        memcpy(copy + at, &word, 8);
    }
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&record->at_ms) == at_ms;
}

static bool by_pattern(const struct soft *soft, struct slice key, uint64_t stored_ms)
{
    char copy[SOFT_PATTERN_MAX];
    size_t len;

    for (size_t i = 0; i < PATTERNS; i++) {
        uint64_t at_ms = atomic_load_explicit(&soft->patterns[i].at_ms, memory_order_acquire);

        if (at_ms >= stored_ms && at_ms != 0 &&
            read_record(&soft->patterns[i], at_ms, copy, &len) &&
            glob_match(slice_make(copy, len), key))
            return true;
    }
    return atomic_load(&soft->floor_ms) >= stored_ms;
}

static bool is_gap(char c)
{
    return c == ' ' || c == ',' || c == '\t';
}

static bool by_tag(const struct soft *soft, struct slice tags, uint64_t stored_ms)
{
    size_t i = 0;

    while (i < tags.len) {
        size_t start;

        while (i < tags.len && is_gap(tags.data[i]))
            i++;
        start = i;
        while (i < tags.len && !is_gap(tags.data[i]))
            i++;
        if (i > start &&
            atomic_load_explicit(place_of(soft, slice_make(tags.data + start, i - start)),
                                 memory_order_acquire) >= stored_ms)
            return true;
    }
    return false;
}

bool soft_purged(const struct soft *soft, struct slice key, struct slice tags, uint64_t stored_ms)
{
    if (atomic_load_explicit(&soft->newest_ms, memory_order_acquire) < stored_ms)
        return false;
    return by_tag(soft, tags, stored_ms) || by_pattern(soft, key, stored_ms);
}
