/* What mapped readers say they read. */
#include "common/clock.h"
#include "shm/access.h"
#include "shm/index.h"
#include "zone_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct access *daemon_side, *reader_side;
static int fd;

static void open_ring(void)
{
    struct errmsg msg = {.text = ""};

    ck_assert_msg(access_create(&daemon_side, &fd, &msg) == ERR_OK, "%s", msg.text);
    ck_assert_msg(access_open(fd, &reader_side, &msg) == ERR_OK, "%s", msg.text);
}

static void close_ring(void)
{
    access_close(daemon_side);
    access_close(reader_side);
    close(fd);
}

static unsigned freq_of(const char *text)
{
    struct table_key key = key_of(text);
    struct index_spot spot;
    struct entry_view view;

    ck_assert_int_eq(index_seek(zone, &key, &spot, &view), 1);
    return index_freq(spot.word);
}

START_TEST(what_was_read_is_marked)
{
    uint64_t hash = key_of("hot").hash;

    open_ring();
    ck_assert_int_eq(put("hot", "v"), TABLE_STORED);
    ck_assert_int_eq(put("cold", "v"), TABLE_STORED);
    for (int i = 0; i < 1000; i++)
        access_hit(reader_side, hash);
    access_drain(daemon_side, zone);
    ck_assert_uint_gt(freq_of("hot"), 2);
    ck_assert_uint_eq(freq_of("cold"), 0);
    close_ring();
}
END_TEST

START_TEST(reads_are_counted)
{
    open_ring();
    for (int i = 0; i < 100; i++)
        access_hit(reader_side, (uint64_t)i);
    for (int i = 0; i < 7; i++)
        access_miss(reader_side);
    access_drain(daemon_side, zone);
    access_drain(daemon_side, zone);
    ck_assert_uint_eq(counter(STAT_HITS), 100);
    ck_assert_uint_eq(counter(STAT_DIRECT_HITS), 100);
    ck_assert_uint_eq(counter(STAT_MISSES), 7);
    close_ring();
}
END_TEST

START_TEST(about_one_in_sixteen_is_noted)
{
    unsigned noted = 0;

    open_ring();
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
    for (int i = 0; i < 1600; i++) {
        uint64_t *word = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
        uint64_t before = word[0];

        access_hit(reader_side, 1);
        noted += word[0] != before;
        munmap(word, 8192);
    }
    ck_assert_uint_gt(noted, 50);
    ck_assert_uint_lt(noted, 200);
    close_ring();
}
END_TEST

/* The ring is the reader's to write: whatever stands in it must harm nobody. */
START_TEST(garbage_in_the_ring_harms_nothing)
{
    uint64_t seed = test_seed();
    uint64_t *words;

    open_ring();
    words = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(words, MAP_FAILED);
    for (int i = 0; i < 500; i++) {
        char key[32];

        snprintf(key, sizeof(key), "k%d", i);
        ck_assert_int_eq(put(key, key), TABLE_STORED);
    }
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 1024; i++)
            words[i] = next_random(&seed) << (round % 3 * 20);
        access_drain(daemon_side, zone);
        expect_sound();
    }
    for (int i = 0; i < 500; i++) {
        char key[32];

        snprintf(key, sizeof(key), "k%d", i);
        ck_assert_str_eq(get(key), key);
    }
    munmap(words, 8192);
    close_ring();
}
END_TEST

START_TEST(its_size_cannot_be_changed)
{
    open_ring();
    ck_assert_int_ne(ftruncate(fd, 0), 0);
    ck_assert_int_ne(ftruncate(fd, 1 << 20), 0);
    close_ring();
}
END_TEST

START_TEST(what_is_no_ring_is_refused)
{
    struct access *other;
    struct errmsg msg;
    int pipes[2];

    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(access_open(pipes[0], &other, &msg), ERR_INVALID);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

int main(void)
{
    return ZONE_SUITE("access", what_was_read_is_marked, reads_are_counted,
                      about_one_in_sixteen_is_noted, garbage_in_the_ring_harms_nothing,
                      its_size_cannot_be_changed, what_is_no_ring_is_refused);
}
