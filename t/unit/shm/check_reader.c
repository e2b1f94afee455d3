/* Reading a zone through a read-only mapping, as processes that are not the daemon's do. */
#define _GNU_SOURCE 1

#include "common/clock.h"
#include "shm/ban.h"
#include "shm/layout.h"
#include "shm/reader.h"
#include "shm/repair.h"
#include "zone_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct reader *reader;
static int fd;
static char buf[1 << 20];

static void open_reader(void)
{
    struct errmsg msg = {.text = ""};

    zone_open(8u << 20, 1024);
    zone_heartbeat(zone, clock_now_ms());
    fd = reader_descriptor(zone, &msg);
    ck_assert_msg(fd >= 0, "%s", msg.text);
    ck_assert_msg(reader_open(fd, &reader, &msg) == ERR_OK, "%s", msg.text);
}

static void close_reader(void)
{
    reader_close(reader);
    close(fd);
    zone_close();
}

static enum reader_result look_up(const char *key, size_t cap, struct reader_value *value)
{
    struct table_key hashed = reader_key(reader, slice_cstr(key));

    return reader_get(reader, &hashed, buf, cap, value);
}

static enum reader_result result_of(const char *key)
{
    struct reader_value value;

    return look_up(key, sizeof(buf), &value);
}

static void store(const char *key, const char *text, const struct slice *tags, unsigned n_tags,
                  uint64_t expires_ms, uint32_t stale_ms)
{
    struct table_key hashed = key_of(key);
    struct table_write write = {.value = slice_cstr(text),
                                .tags = tags,
                                .n_tags = n_tags,
                                .expires_ms = expires_ms,
                                .stale_ms = stale_ms};

    ck_assert_int_eq(table_set(zone, &hashed, &write, clock_now_ms()), TABLE_STORED);
}

START_TEST(reads_what_is_there)
{
    struct reader_value value;

    ck_assert_int_eq(put("k", "value"), TABLE_STORED);
    ck_assert_int_eq(look_up("k", sizeof(buf), &value), READER_HIT);
    ck_assert_uint_eq(value.len, 5);
    ck_assert_uint_eq(value.expires_ms, 0);
    ck_assert_mem_eq(buf, "value", 5);
    ck_assert_int_eq(result_of("other"), READER_MISS);
    ck_assert_int_eq(drop("k"), TABLE_STORED);
    ck_assert_int_eq(result_of("k"), READER_MISS);
}
END_TEST

START_TEST(says_how_much_room_a_value_needs)
{
    struct reader_value value;

    ck_assert_int_eq(put("k", "value"), TABLE_STORED);
    memset(buf, '-', 8);
    ck_assert_int_eq(look_up("k", 4, &value), READER_TOO_LARGE);
    ck_assert_uint_eq(value.len, 5);
    ck_assert_mem_eq(buf, "--------", 8);
    ck_assert_int_eq(look_up("k", 5, &value), READER_HIT);
}
END_TEST

START_TEST(reads_values_that_fill_several_slabs)
{
    static char large[900000];
    struct reader_value value;

    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)(i * 7 + i / 251);
    ck_assert_int_eq(put_bytes(key_of("k"), large, sizeof(large)), TABLE_STORED);
    ck_assert_int_eq(look_up("k", 100, &value), READER_TOO_LARGE);
    ck_assert_int_eq(look_up("k", sizeof(buf), &value), READER_HIT);
    ck_assert_uint_eq(value.len, sizeof(large));
    ck_assert_mem_eq(buf, large, sizeof(large));
}
END_TEST

START_TEST(expiry_is_exact)
{
    uint64_t end = clock_now_ms() + 40;
    struct reader_value value;

    store("k", "v", NULL, 0, end, 0);
    ck_assert_int_eq(look_up("k", sizeof(buf), &value), READER_HIT);
    ck_assert_uint_eq(value.expires_ms, end);
    while (clock_now_ms() < end)
        if (result_of("k") != READER_HIT)
            ck_assert_uint_ge(clock_now_ms(), end);
    ck_assert_int_eq(result_of("k"), READER_MISS);
}
END_TEST

START_TEST(a_stale_value_is_a_miss)
{
    uint64_t end = clock_now_ms() + 20;

    store("k", "v", NULL, 0, end + 60000, 60000);
    ck_assert_int_eq(result_of("k"), READER_HIT);
    store("k", "v", NULL, 0, end, 60000);
    while (clock_now_ms() < end)
        usleep(1000);
    ck_assert_int_eq(result_of("k"), READER_MISS);
}
END_TEST

START_TEST(what_a_clear_or_a_purge_ended_is_a_miss)
{
    const struct slice tags[] = {SLICE_LIT("red"), SLICE_LIT("blue")};

    store("a", "v", tags, 2, 0, 0);
    ck_assert_int_eq(result_of("a"), READER_HIT);
    ban_tag(zone, SLICE_LIT("blue"));
    ck_assert_int_eq(result_of("a"), READER_MISS);
    ck_assert_int_eq(put("b", "v"), TABLE_STORED);
    zone_clear(zone);
    ck_assert_int_eq(result_of("b"), READER_MISS);
    ck_assert_int_eq(put("b", "v"), TABLE_STORED);
    ck_assert_int_eq(result_of("b"), READER_HIT);
}
END_TEST

START_TEST(what_a_ban_may_have_hit_is_the_daemons_to_judge)
{
    ck_assert_int_eq(put("user:1", "v"), TABLE_STORED);
    ck_assert_int_eq(put("page:1", "v"), TABLE_STORED);
    ck_assert_int_eq(ban_add(zone, SLICE_LIT("user:*")), BAN_RECORDED);
    ck_assert_int_eq(result_of("user:1"), READER_ASK);
    ck_assert_int_eq(result_of("page:1"), READER_ASK);
    ck_assert_int_eq(put("user:1", "newer"), TABLE_STORED);
    ck_assert_int_eq(result_of("user:1"), READER_HIT);
}
END_TEST

START_TEST(what_an_epoch_made_doubtful_is_the_daemons_to_judge)
{
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
    zone_epoch_move(zone);
    ck_assert_int_eq(result_of("k"), READER_ASK);
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
    ck_assert_int_eq(result_of("k"), READER_HIT);
}
END_TEST

START_TEST(a_master_not_heard_of_is_not_trusted)
{
    ck_assert_int_eq(put("k", "v"), TABLE_STORED);
    zone_heartbeat(zone, clock_now_ms() - READER_DEAD_MS - 100);
    ck_assert_int_eq(result_of("k"), READER_ASK);
    ck_assert(!reader_alive(reader));
    zone_heartbeat(zone, clock_now_ms());
    ck_assert_int_eq(result_of("k"), READER_HIT);
    usleep((READER_DEAD_MS + 50) * 1000);
    ck_assert_int_eq(result_of("k"), READER_ASK);
    zone_heartbeat(zone, clock_now_ms());
    ck_assert_int_eq(result_of("k"), READER_HIT);
}
END_TEST

START_TEST(the_mapping_cannot_be_made_writable)
{
    void *map;

    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_eq(map, MAP_FAILED);
    ck_assert_int_eq(errno, EACCES);
    map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    ck_assert_int_ne(mprotect(map, 4096, PROT_READ | PROT_WRITE), 0);
    munmap(map, 4096);
    ck_assert_int_ne(ftruncate(fd, 0), 0);
    ck_assert_int_lt(write(fd, "x", 1), 0);
}
END_TEST

/* What another uid can try with the descriptor; 0 = nothing worked. */
static int try_as_stranger(void)
{
    static const char *const ways[] = {"/proc/self/fd/%d", "/dev/fd/%d", "/proc/thread-self/fd/%d"};
    char path[64];

    if (setgid(54321) != 0 || setuid(54321) != 0)
        return 10;
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), ways[i], fd);
        if (open(path, O_RDWR) >= 0 || open(path, O_WRONLY) >= 0 ||
            open(path, O_RDONLY | O_TRUNC) >= 0)
            return 1 + i;
    }
    if (fchmod(fd, 0666) == 0)
        return 4;
    return fcntl(fd, F_SETFL, O_RDWR) == 0 && write(fd, "x", 1) > 0 ? 5 : 0;
}

START_TEST(another_user_cannot_open_it_for_writing)
{
    pid_t pid;
    int status;

    if (geteuid() != 0)
        return; /* only root can become another user */
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(try_as_stranger());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a stranger's attempt: %#x",
                  (unsigned)status);
}
END_TEST

static int open_memory(size_t size, unsigned seals)
{
    int memory = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_ge(memory, 0);
    ck_assert_int_eq(ftruncate(memory, (off_t)size), 0);
    ck_assert_int_eq(fcntl(memory, F_ADD_SEALS, seals), 0);
    return memory;
}

START_TEST(other_memory_is_refused)
{
    const struct {
        size_t size;
        unsigned seals;
    } cases[] = {{8u << 20, F_SEAL_SHRINK | F_SEAL_GROW}, {8u << 20, 0}, {4096, F_SEAL_SHRINK}};
    struct reader *other;
    struct errmsg msg;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int memory = open_memory(cases[i].size, cases[i].seals);

        ck_assert_int_eq(reader_open(memory, &other, &msg), ERR_INVALID);
        close(memory);
    }
}
END_TEST

START_TEST(another_layout_is_refused)
{
    struct superblock *sb = (struct superblock *)(void *)zone->base;
    uint64_t hash = sb->layout_hash;
    uint64_t slabs = sb->geometry.slabs;
    struct reader *other;
    struct errmsg msg;

    sb->layout_hash++;
    ck_assert_int_eq(reader_open(fd, &other, &msg), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(msg.text, "version"));
    sb->layout_hash = hash;
    sb->geometry.slabs += 64;
    ck_assert_int_eq(reader_open(fd, &other, &msg), ERR_INVALID);
    sb->geometry.slabs = slabs;
}
END_TEST

#define ENOUGH 500 /* reads of them, however slow the machine is */

/* A writer of values whose every byte is the first one, of ever other lengths. */
static _Noreturn void overwrite(void)
{
    struct errmsg msg;
    static char value[3000];

    if (zone_join(zone, &msg) != ERR_OK)
        _exit(2);
    for (unsigned i = 0;; i++) {
        struct table_key key = key_of(i % 2 ? "a" : "b");

        memset(value, (int)(i & 0xff), sizeof(value));
        put_bytes(key, value, 1 + i * 37 % sizeof(value));
        if (i % 64 == 0)
            zone_heartbeat(zone, clock_now_ms());
    }
}

START_TEST(never_sees_a_torn_value)
{
    uint64_t end = clock_now_ms() + 300;
    pid_t writer = fork();
    struct repair_report report;
    uint64_t hits = 0;
    int status;

    ck_assert_int_ge(writer, 0);
    if (writer == 0)
        overwrite();
    while (clock_now_ms() < end || hits < ENOUGH) {
        struct reader_value value;

        if (look_up(hits % 2 ? "a" : "b", sizeof(buf), &value) != READER_HIT)
            continue;
        hits++;
        for (uint32_t i = 1; i < value.len; i++)
            ck_assert_msg(buf[i] == buf[0], "byte %u of %u is another", i, value.len);
    }
    kill(writer, SIGKILL);
    ck_assert_int_eq(waitpid(writer, &status, 0), writer);
    ck_assert_int_eq(repair_process(zone, writer, false, &report), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reader");
    TCase *tcase = tcase_create("reader");
    SRunner *runner = srunner_create(suite);
    int failed;

    if (LAYOUT_LOCKED_READS)
        return 77; /* a reader takes no locks: there it leaves everything to the daemon */
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open_reader, close_reader);
    tcase_add_test(tcase, reads_what_is_there);
    tcase_add_test(tcase, says_how_much_room_a_value_needs);
    tcase_add_test(tcase, reads_values_that_fill_several_slabs);
    tcase_add_test(tcase, expiry_is_exact);
    tcase_add_test(tcase, a_stale_value_is_a_miss);
    tcase_add_test(tcase, what_a_clear_or_a_purge_ended_is_a_miss);
    tcase_add_test(tcase, what_a_ban_may_have_hit_is_the_daemons_to_judge);
    tcase_add_test(tcase, what_an_epoch_made_doubtful_is_the_daemons_to_judge);
    tcase_add_test(tcase, a_master_not_heard_of_is_not_trusted);
    tcase_add_test(tcase, the_mapping_cannot_be_made_writable);
    tcase_add_test(tcase, another_user_cannot_open_it_for_writing);
    tcase_add_test(tcase, other_memory_is_refused);
    tcase_add_test(tcase, another_layout_is_refused);
    tcase_add_test(tcase, never_sees_a_torn_value);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
