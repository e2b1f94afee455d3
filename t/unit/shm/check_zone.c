#define _GNU_SOURCE 1 /* the file seals */
#include "shm/zone.h"

#include "shm/check.h"
#include "shm/layout.h"
#include "zone_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int create(uint64_t size, uint32_t key_max, bool populate, struct errmsg *msg)
{
    struct zone_options options = {
        .name = "z", .size_bytes = size, .key_max_bytes = key_max, .populate = populate};
    struct zone *z;
    int err = zone_create(&options, &z, msg);

    if (err == ERR_OK)
        zone_destroy(z);
    return err;
}

START_TEST(sizes_out_of_range_are_refused_with_a_reason)
{
    struct errmsg msg;

    ck_assert_int_eq(create(ZONE_MIN_BYTES - 1, 1024, false, &msg), ERR_INVALID);
    ck_assert_int_eq(create(ZONE_MIN_BYTES, 0, false, &msg), ERR_INVALID);
    ck_assert_int_eq(create(ZONE_MIN_BYTES, 65536, false, &msg), ERR_INVALID);
    ck_assert_int_eq(create(ZONE_MIN_BYTES, 65535, false, &msg), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(msg.text, "too small for keys of 65535 bytes"));
    ck_assert_int_eq(create(ZONE_MIN_BYTES + 123, 1024, true, &msg), ERR_OK);
    ck_assert_int_eq(create(16u << 20, 65535, false, &msg), ERR_OK);
}
END_TEST

START_TEST(too_little_memory_is_said_with_both_figures)
{
    struct errmsg msg = {""};

    if (create(UINT64_C(1) << 44, 1024, true, &msg) != ERR_OK) /* 16 TiB */
        ck_assert_msg(strstr(msg.text, "17592186044416") != NULL, "%s", msg.text);
    else
        ck_abort_msg("this machine has 16 TiB to give away");
}
END_TEST

START_TEST(the_layout_fills_the_zone_and_overlaps_nowhere)
{
    static const uint64_t sizes[] = {4, 5, 7, 16, 64, 100, 256, 1000, 4096, 65536, 1u << 20};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct geometry g;
        uint64_t size = sizes[i] << 20;
        uint64_t slab = 0;

        ck_assert_int_eq(layout_plan(size, 1024, &g, NULL), ERR_OK);
        slab = UINT64_C(1) << g.slab_shift;
        ck_assert_uint_ge(g.n_slabs, 44);
        ck_assert_uint_ge(slab, 32 << 10);
        ck_assert_uint_le(slab, 1 << 20);
        ck_assert(g.owners < g.counters && g.counters < g.tags && g.tags < g.ban_numbers &&
                  g.ban_numbers < g.ban_patterns && g.ban_patterns < g.stripes &&
                  g.stripes < g.buckets && g.buckets < g.stubs && g.stubs < g.free_bits &&
                  g.free_bits < g.headers && g.headers < g.slabs);
        ck_assert_uint_le(g.slabs + g.n_slabs * slab, size);
        /* One more, and its header, would not fit. */
        ck_assert_uint_gt(g.slabs + sizeof(struct slab) + (g.n_slabs + 1) * slab, size);
        ck_assert_uint_le(g.slabs, size / 8);
        ck_assert_uint_eq(g.value_max, size / 8 < UINT32_MAX ? size / 8 : g.value_max);
    }
}
END_TEST

START_TEST(the_memory_is_sealed_and_private)
{
    struct stat st;
    int seals = fcntl(zone_fd(zone), F_GET_SEALS);

    ck_assert_int_eq(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    ck_assert_int_eq(fstat(zone_fd(zone), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_uint_eq((uint64_t)st.st_size, zone_size(zone));
    ck_assert_int_ne(ftruncate(zone_fd(zone), 4096), 0);
}
END_TEST

START_TEST(sequences_only_grow)
{
    uint64_t seq = zone_seq(zone);

    ck_assert_uint_gt(seq, 0);
    ck_assert_uint_eq(zone_clear(zone), seq + 1);
    ck_assert_uint_eq(zone_epoch_move(zone), seq + 2);
    ck_assert_uint_eq(zone_seq(zone), seq + 2);
}
END_TEST

START_TEST(a_child_gets_a_slot_of_its_own_and_the_parent_keeps_its)
{
    uint32_t mine = zone->owner;
    int status;
    pid_t pid;

    put("mine", "v"); /* an open slab that the child must not append to */
    pid = fork();
    if (pid == 0) {
        struct errmsg msg;
        bool good = zone_join(zone, &msg) == ERR_OK && zone->owner != mine &&
                    put("theirs", "v") == TABLE_STORED;

        zone_leave(zone);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(put("more", "v"), TABLE_STORED);
    ck_assert_str_eq(get("theirs"), "v");
    ck_assert_str_eq(get("mine"), "v");
}
END_TEST

START_TEST(slots_run_out_and_come_back)
{
    struct zone extra[ZONE_MAX_OWNERS];
    struct errmsg msg;
    unsigned n = 0;

    for (; n < ZONE_MAX_OWNERS; n++) {
        extra[n] = *zone;
        if (zone_join(&extra[n], &msg) != ERR_OK)
            break;
    }
    ck_assert_uint_eq(n, ZONE_MAX_OWNERS - 1);
    ck_assert_int_eq(zone_join(&extra[n], &msg), ERR_LIMIT);
    while (n-- > 0)
        zone_leave(&extra[n]);
    extra[0] = *zone;
    ck_assert_int_eq(zone_join(&extra[0], &msg), ERR_OK);
    zone_leave(&extra[0]);
}
END_TEST

START_TEST(counters_are_summed_and_reset)
{
    stat_add(zone, STAT_HITS, 3);
    stat_add(zone, STAT_HITS, 4);
    ck_assert_uint_eq(counter(STAT_HITS), 7);
    stat_reset(zone);
    ck_assert_uint_eq(counter(STAT_HITS), 0);
    stat_add(zone, STAT_HITS, 1);
    ck_assert_uint_eq(counter(STAT_HITS), 1);
    ck_assert_str_eq(stat_name(STAT_JOURNALLED), "journalled");
}
END_TEST

START_TEST(counters_outlive_who_counted)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct errmsg msg;

        if (zone_join(zone, &msg) != ERR_OK)
            _exit(1);
        stat_add(zone, STAT_PUTS, 5);
        zone_leave(zone);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_uint_eq(counter(STAT_PUTS), 5);
}
END_TEST

static void expect_problem(const char *words)
{
    struct check_report report;

    ck_assert_int_eq(check_zone(zone, false, &report), ERR_OK);
    ck_assert_uint_gt(report.problems, 0);
    ck_assert_msg(strstr(report.first, words) != NULL, "%s", report.first);
}

/* The validator is only worth something if it finds what is wrong. */
START_TEST(the_validator_finds_faults)
{
    struct table_key key = key_of("k");
    struct table_hit hit;
    struct bucket *head;
    struct stripe *stripe = layout_stripe(zone, key.hash);
    uint64_t word;
    unsigned i = 0;

    put("k", "v");
    table_find(zone, &key, NOW, &hit);
    head = layout_at(zone, hit.ref.bucket);
    while (atomic_load(&head->slot[i]) == 0)
        i++;
    word = atomic_load(&head->slot[i]);

    atomic_fetch_add(&head->version, 1);
    expect_problem("odd");
    atomic_fetch_add(&head->version, 1);

    atomic_store(&stripe->lock, 7);
    expect_problem("is locked");
    atomic_store(&stripe->lock, 0);

    atomic_fetch_add(&stripe->entries, 1);
    expect_problem("counts");
    atomic_fetch_sub(&stripe->entries, 1);

    atomic_store(&head->slot[i], word ^ UINT64_C(1) << SLOT_TAG_SHIFT);
    expect_problem("another tag");
    atomic_store(&head->slot[i], word);

    atomic_store(&head->slot[i + 1], word);
    expect_problem("counts");
    atomic_store(&head->slot[i + 1], 0);

    atomic_store(&head->slot[i], word + (UINT64_C(1) << 20));
    expect_problem("slot leads to");
    atomic_store(&head->slot[i], word);

    atomic_store(&head->slot[0], SLOT_LINK);
    expect_problem("link");
    atomic_store(&head->slot[0], i == 0 ? word : 0);

    atomic_fetch_add(&zone->slabs[(hit.at - zone->g.slabs) >> zone->g.slab_shift].live, 1);
    expect_problem("live entries");
    atomic_fetch_sub(&zone->slabs[(hit.at - zone->g.slabs) >> zone->g.slab_shift].live, 1);

    atomic_store(&layout_stub(zone, 3)->claim, 1);
    expect_problem("in no chain");
    atomic_store(&layout_stub(zone, 3)->claim, 0);
}
END_TEST

START_TEST(a_live_check_locks_and_agrees)
{
    struct check_report report;

    put("k", "v");
    ck_assert_int_eq(check_zone(zone, true, &report), ERR_OK);
    ck_assert_uint_eq(report.problems, 0);
    ck_assert_uint_eq(report.entries, 1);
    report = (struct check_report){0};
    for (unsigned s = 0; s < table_stripes(zone); s += 100)
        ck_assert_int_eq(check_stripes(zone, s, 100, &report), ERR_OK);
    ck_assert_uint_eq(report.entries, 1);
    atomic_store(&zone->stripes[5].lock, 9);
    ck_assert_int_eq(check_zone(zone, true, &report), ERR_TIMEOUT);
    atomic_store(&zone->stripes[5].lock, 0);
}
END_TEST

int main(void)
{
    return ZONE_SUITE(
        "zone", sizes_out_of_range_are_refused_with_a_reason,
        too_little_memory_is_said_with_both_figures, the_layout_fills_the_zone_and_overlaps_nowhere,
        the_memory_is_sealed_and_private, sequences_only_grow,
        a_child_gets_a_slot_of_its_own_and_the_parent_keeps_its, slots_run_out_and_come_back,
        counters_are_summed_and_reset, counters_outlive_who_counted, the_validator_finds_faults,
        a_live_check_locks_and_agrees);
}
