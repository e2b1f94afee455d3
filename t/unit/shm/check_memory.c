/* The memory of a zone is what its options say: present, locked, out of core dumps, sealed. */
#define _GNU_SOURCE 1

#include "shm/memory.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The sanitizers make mlock() do nothing, and map more than any limit on addresses allows. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define SIZE (UINT64_C(8) << 20)

static struct zone_options options;
static struct memory memory;

static void setup(void)
{
    options = (struct zone_options){.name = "test", .size_bytes = SIZE, .populate = true};
}

static void teardown(void)
{
    memory_destroy(&memory);
}

static void create(void)
{
    struct errmsg msg = {""};

    ck_assert_msg(memory_create(&options, SIZE, &memory, &msg) == ERR_OK, "%s", msg.text);
}

/* A line of this mapping in /proc/self/smaps, after its name and colon. */
static void smaps(const char *name, char *out, size_t size)
{
    char line[512], start[32];
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "r");

    ck_assert_ptr_nonnull(f);
    snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)memory.base);
    out[0] = '\0';
    while (out[0] == '\0' && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0)
            inside = true;
        else if (inside && strncmp(line, name, strlen(name)) == 0)
            snprintf(out, size, "%s", line + strlen(name) + 1);
    }
    fclose(f);
    ck_assert_msg(out[0] != '\0', "no %s for %s", name, start);
}

static unsigned long kib(const char *name)
{
    char text[256];

    smaps(name, text, sizeof(text));
    return strtoul(text, NULL, 10);
}

START_TEST(populated_memory_is_present_at_once)
{
    create();
    ck_assert_uint_eq(kib("Rss"), SIZE / 1024);
}
END_TEST

START_TEST(memory_is_not_touched_unasked)
{
    options.populate = false;
    create();
    ck_assert_uint_eq(kib("Rss"), 0);
}
END_TEST

START_TEST(core_dumps_leave_it_out)
{
    char flags[256];

    create();
    smaps("VmFlags", flags, sizeof(flags));
    ck_assert_ptr_nonnull(strstr(flags, " dd"));
}
END_TEST

START_TEST(the_file_is_sealed_and_private)
{
    struct stat st;

    create();
    ck_assert_int_eq(fcntl(memory.fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    ck_assert_int_eq(fstat(memory.fd, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_int_ne(ftruncate(memory.fd, SIZE / 2), 0);
}
END_TEST

/* Whether the kernel gives them or not, the memory is whole, aligned for them, and usable. */
START_TEST(huge_pages_or_ordinary_ones)
{
    options.huge_pages = true;
    create();
    ck_assert_uint_eq((uintptr_t)memory.base % (UINT64_C(2) << 20), 0);
    ck_assert_uint_eq(kib("Rss"), SIZE / 1024);
    memset(memory.base, 1, SIZE);
    ck_assert_int_eq(((char *)memory.base)[SIZE - 1], 1);
}
END_TEST

START_TEST(locked_memory_is_locked)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    options.lock = true;
    if (geteuid() != 0 && limit.rlim_max != RLIM_INFINITY && limit.rlim_max < SIZE)
        return; /* not allowed here: the next test's business */
    create();
    ck_assert_uint_eq(kib("Locked"), SIZE / 1024);
}
END_TEST

START_TEST(what_may_not_be_locked_is_an_error)
{
    struct rlimit limit = {4096, 4096};
    struct errmsg msg = {""};

    options.lock = true;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return; /* root without the right to become another: nothing is forbidden to it */
    ck_assert_int_eq(memory_create(&options, SIZE, &memory, &msg), ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(msg.text, "RLIMIT_MEMLOCK is 4096 bytes"));
    ck_assert_ptr_nonnull(strstr(msg.text, "cache test: mlock = true"));
    ck_assert_int_eq(memory.fd, -1);
    ck_assert_ptr_null(memory.base);
}
END_TEST

START_TEST(more_than_can_be_mapped_is_an_error)
{
    struct rlimit limit = {SIZE, SIZE};
    struct errmsg msg = {""};

    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(memory_create(&options, SIZE, &memory, &msg), ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(msg.text, "cannot map 8388608 bytes for cache test"));
    ck_assert_ptr_null(memory.base);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tc = tcase_create("memory");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, populated_memory_is_present_at_once);
    tcase_add_test(tc, memory_is_not_touched_unasked);
    tcase_add_test(tc, core_dumps_leave_it_out);
    tcase_add_test(tc, the_file_is_sealed_and_private);
    tcase_add_test(tc, huge_pages_or_ordinary_ones);
    if (!SANITIZED) {
        tcase_add_test(tc, locked_memory_is_locked);
        tcase_add_test(tc, what_may_not_be_locked_is_an_error);
        tcase_add_test(tc, more_than_can_be_mapped_is_an_error);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
