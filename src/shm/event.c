#include "shm/event.h"

#include <string.h>
#include <sys/mman.h>

#define PLACE_WORDS (sizeof(struct event) / sizeof(uint64_t))
#define HEAD_WORDS  2 /* of an event: all but the key */

/* state: number << 16 | owner << 8 | WRITING. 0: never used. */
#define WRITING      1u
#define OWNER_SHIFT  8
#define OWNER_MASK   UINT64_C(0xff)
#define NUMBER_SHIFT 16

struct place {
    _Atomic uint64_t state;
    _Atomic uint64_t words[PLACE_WORDS];
};

_Static_assert(sizeof(struct event) == 16 + EVENT_KEY_BYTES, "no holes");
_Static_assert(sizeof(struct event) % sizeof(uint64_t) == 0, "whole words");

static struct place *place_of(const struct events *events, uint64_t number)
{
    struct place *places = (struct place *)(void *)((char *)(uintptr_t)events + sizeof(*events));

    return &places[number & (EVENT_PLACES - 1)];
}

static size_t map_bytes(void)
{
    return sizeof(struct events) + EVENT_PLACES * sizeof(struct place);
}

int event_create(struct events **out, struct errmsg *msg)
{
    void *memory =
        mmap(NULL, map_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return err_set_errno(msg, "cannot map the ring of events");
    *out = memory;
    atomic_init(&(*out)->next, 1); /* a state of 0 is older than the first */
    return ERR_OK;
}

void event_destroy(struct events *events)
{
    munmap(events, map_bytes());
}

/* Words of an event that matter: its head, and as much of the key as there is. */
static size_t words_of(uint16_t key_len)
{
    size_t kept = key_len > EVENT_KEY_BYTES ? EVENT_KEY_BYTES : key_len;

    return HEAD_WORDS + (kept + 7) / 8;
}

static bool drop(struct events *events)
{
    atomic_fetch_add_explicit(&events->dropped, 1, memory_order_relaxed);
    return false;
}

bool event_write(struct events *events, unsigned owner, struct event *event, struct slice key)
{
    uint64_t number = atomic_fetch_add_explicit(&events->next, 1, memory_order_relaxed);
    uint64_t done = number << NUMBER_SHIFT | (uint64_t)owner << OWNER_SHIFT;
    struct place *place = place_of(events, number);
    uint64_t state = atomic_load_explicit(&place->state, memory_order_relaxed);
    uint64_t words[PLACE_WORDS];
    size_t n;

    event->owner = (uint8_t)owner;
    event->key_len = key.len > UINT16_MAX ? UINT16_MAX : (uint16_t)key.len;
    if (key.len > 0)
        memcpy(event->key, key.data, key.len > EVENT_KEY_BYTES ? EVENT_KEY_BYTES : key.len);
    /* Taken by one who is not done, or by one of a later round. */
    if ((state & WRITING) != 0 || state >> NUMBER_SHIFT >= number ||
        !atomic_compare_exchange_strong_explicit(&place->state, &state, done | WRITING,
                                                 memory_order_relaxed, memory_order_relaxed))
        return drop(events);
    atomic_thread_fence(memory_order_release); /* the mark before the words */
    n = words_of(event->key_len);
    memcpy(words, event, n * sizeof(words[0]));
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&place->words[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&place->state, done, memory_order_release);
    return true;
}

void event_listen(struct events *events, unsigned slot, bool on)
{
    if (on)
        atomic_fetch_or_explicit(&events->listeners, UINT64_C(1) << slot, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&events->listeners, ~(UINT64_C(1) << slot), memory_order_relaxed);
}

void event_begin(const struct events *events, struct event_cursor *cursor)
{
    *cursor =
        (struct event_cursor){.next = atomic_load_explicit(&events->next, memory_order_relaxed)};
}

/* Copy what is there; false: it changed meanwhile. */
static bool copy_place(struct place *place, uint64_t state, struct event *out)
{
    uint64_t words[PLACE_WORDS];
    size_t n;

    for (size_t i = 0; i < HEAD_WORDS; i++)
        words[i] = atomic_load_explicit(&place->words[i], memory_order_relaxed);
    memcpy(out, words, HEAD_WORDS * sizeof(words[0]));
    n = words_of(out->key_len); /* a torn length is no more than a whole place */
    for (size_t i = HEAD_WORDS; i < n; i++)
        words[i] = atomic_load_explicit(&place->words[i], memory_order_relaxed);
    memcpy(out, words, n * sizeof(words[0]));
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&place->state, memory_order_relaxed) == state;
}

/* Nobody will write this one any more, or not soon: go on behind it. */
static void pass_over(struct event_cursor *cursor, uint64_t *lost)
{
    cursor->next++;
    cursor->waiting_since_ns = 0;
    ++*lost;
}

/* Whether the writer of the event at the cursor has had its time. */
static bool waited_enough(struct event_cursor *cursor, uint64_t now_ns)
{
    if (cursor->waiting_since_ns == 0)
        cursor->waiting_since_ns = now_ns;
    return now_ns - cursor->waiting_since_ns >= EVENT_GRACE_NS;
}

int event_read(struct events *events, struct event_cursor *cursor, uint64_t now_ns,
               struct event *out, uint64_t *lost)
{
    for (;;) {
        uint64_t next = atomic_load_explicit(&events->next, memory_order_relaxed);
        struct place *place = place_of(events, cursor->next);
        uint64_t state = atomic_load_explicit(&place->state, memory_order_acquire);
        uint64_t number = state >> NUMBER_SHIFT;

        if (cursor->next >= next)
            return 0;
        if (next - cursor->next > EVENT_PLACES) {
            /* A whole round behind: what is left of it would be overtaken too. */
            *lost += next - cursor->next - EVENT_PLACES / 2;
            cursor->next = next - EVENT_PLACES / 2;
            cursor->waiting_since_ns = 0;
            continue;
        }
        if (number == cursor->next && (state & WRITING) == 0) {
            bool whole = copy_place(place, state, out);

            if (!whole) {
                pass_over(cursor, lost);
                continue;
            }
            cursor->next++;
            cursor->waiting_since_ns = 0;
            return 1;
        }
        if (number <= cursor->next && !waited_enough(cursor, now_ns))
            return 0;
        pass_over(cursor, lost);
    }
}

void event_repair(struct events *events, unsigned owner, unsigned slot)
{
    event_listen(events, slot, false);
    for (uint64_t i = 0; i < EVENT_PLACES; i++) {
        struct place *place = place_of(events, i);
        uint64_t state = atomic_load_explicit(&place->state, memory_order_relaxed);

        /* As it was before the first round: nobody reads it, the next writer may have it. */
        if ((state & WRITING) != 0 && (state >> OWNER_SHIFT & OWNER_MASK) == owner)
            atomic_store_explicit(&place->state, 0, memory_order_relaxed);
    }
}
