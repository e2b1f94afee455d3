/* What may still be taken, from /proc and /sys as they look on different machines. */
#include "shm/room.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)

static char root[64];

static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/check_room.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    ck_assert_int_eq(system(command), 0);
}

/* A file below root, with the folders above it. */
static void put(const char *path, const char *text)
{
    char full[512];
    FILE *f;

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(full, 0700);
        *p = '/';
    }
    f = fopen(full, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void meminfo(void)
{
    put("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n"
                         "MemAvailable:    8388608 kB\n");
}

static struct room find(void)
{
    struct room room;

    room_find(root, &room);
    return room;
}

START_TEST(the_machine_sets_the_bound)
{
    struct room room;

    meminfo();
    room = find();
    ck_assert_uint_eq(room.bytes, 8 * GIB);
    ck_assert_str_eq(room.source, "MemAvailable");
}
END_TEST

START_TEST(nothing_to_read_is_no_bound)
{
    ck_assert_uint_eq(find().bytes, UINT64_MAX);
}
END_TEST

START_TEST(an_ancestor_group_sets_the_bound)
{
    struct room room;

    meminfo();
    put("/proc/self/cgroup", "0::/system.slice/cachetastic.service\n");
    put("/sys/fs/cgroup/system.slice/cachetastic.service/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/cachetastic.service/memory.current", "4096\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/system.slice/memory.current", "1073741824\n");
    room = find();
    ck_assert_uint_eq(room.bytes, 3 * GIB);
    ck_assert_str_eq(room.source, "/sys/fs/cgroup/system.slice/memory.max");
}
END_TEST

START_TEST(files_in_memory_count_as_free)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/a/memory.current", "3221225472\n");
    put("/sys/fs/cgroup/a/memory.stat",
        "anon 1073741824\ninactive_file 1073741824\nactive_file 1073741824\n");
    ck_assert_uint_eq(find().bytes, 3 * GIB);
}
END_TEST

START_TEST(a_group_that_is_full_leaves_nothing)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "1048576\n");
    put("/sys/fs/cgroup/a/b/memory.current", "2097152\n");
    ck_assert_uint_eq(find().bytes, 0);
}
END_TEST

/* Inside a container the group's own path is not there, only the mount's root. */
START_TEST(version_1_is_known)
{
    meminfo();
    put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:hugetlb,memory:/docker/x\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "2147483648\n");
    put("/sys/fs/cgroup/memory/memory.stat",
        "inactive_file 1\ntotal_inactive_file 1073741824\ntotal_active_file 0\n");
    ck_assert_uint_eq(find().bytes, GIB);
}
END_TEST

START_TEST(unlimited_version_1_is_no_bound)
{
    meminfo();
    put("/proc/self/cgroup", "4:memory:/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4096\n");
    ck_assert_uint_eq(find().bytes, 8 * GIB);
}
END_TEST

START_TEST(the_error_has_both_figures_and_their_source)
{
    struct room room = {.bytes = 4 * GIB, .source = "MemAvailable"};
    struct room_ask asks[2] = {{"default", 8 * GIB}, {"sessions", GIB / 2}};
    struct errmsg msg;

    ck_assert_int_eq(room_check(&room, asks, 1, &msg), ERR_NOMEM);
    ck_assert_str_eq(msg.text,
                     "cache default: asked 8G, the machine has 4G available (MemAvailable)");
    ck_assert_int_eq(room_check(&room, asks, 2, &msg), ERR_NOMEM);
    ck_assert_str_eq(msg.text, "caches default, sessions: asked 8.5G together, the machine has 4G "
                               "available (MemAvailable)");
}
END_TEST

START_TEST(all_caches_together_must_fit)
{
    struct room room = {.bytes = 4 * GIB - 1, .source = "MemAvailable"};
    struct room_ask asks[2] = {{"default", 2 * GIB}, {"sessions", 2 * GIB}};
    struct errmsg msg;

    ck_assert_int_eq(room_check(&room, asks, 1, &msg), ERR_OK);
    ck_assert_int_eq(room_check(&room, asks, 2, &msg), ERR_NOMEM);
    ck_assert_ptr_nonnull(strstr(msg.text, "asked 4G together, the machine has 3.9G available"));
    room.bytes++;
    ck_assert_int_eq(room_check(&room, asks, 2, &msg), ERR_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("room");
    TCase *tc = tcase_create("room");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_machine_sets_the_bound);
    tcase_add_test(tc, nothing_to_read_is_no_bound);
    tcase_add_test(tc, an_ancestor_group_sets_the_bound);
    tcase_add_test(tc, files_in_memory_count_as_free);
    tcase_add_test(tc, a_group_that_is_full_leaves_nothing);
    tcase_add_test(tc, version_1_is_known);
    tcase_add_test(tc, unlimited_version_1_is_no_bound);
    tcase_add_test(tc, the_error_has_both_figures_and_their_source);
    tcase_add_test(tc, all_caches_together_must_fit);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
