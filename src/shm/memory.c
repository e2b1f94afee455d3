/* memfd_create, file seals, madvise: Linux. */
#define _GNU_SOURCE 1

#include "shm/memory.h"

#include "common/log.h"
#include "shm/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than some libc's headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define INTERLEAVE 3 /* MPOL_INTERLEAVE of mbind(2), whose header comes with libnuma only */

#define HUGE_PAGE (UINT64_C(2) << 20)
#define NODES_MAX 1024

static int open_file(const struct zone_options *options, struct memory *m, struct errmsg *msg)
{
    char label[ZONE_NAME_MAX + 16];

    snprintf(label, sizeof(label), "cachetastic:%s", options->name);
    m->fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (m->fd < 0)
        return err_set_errno(msg, "cannot create the memory of cache %s", options->name);
    if (ftruncate(m->fd, (off_t)m->size) != 0 || fchmod(m->fd, 0600) != 0 ||
        fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return err_set_errno(msg, "cannot size and seal the memory of cache %s", options->name);
    return ERR_OK;
}

/* Huge pages need an address that is a multiple of their size: one is cut out of a larger
 * reservation. */
static int map_file(const struct zone_options *options, struct memory *m, struct errmsg *msg)
{
    uint64_t spare = options->huge_pages ? HUGE_PAGE : 0;
    char *place =
        mmap(NULL, m->size + spare, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *base = place;

    if (place == MAP_FAILED)
        return err_set_errno(msg, "cannot map %llu bytes for cache %s", (unsigned long long)m->size,
                             options->name);
    if (spare > 0) {
        base = (char *)(((uintptr_t)place + spare - 1) & ~(uintptr_t)(spare - 1));
        if (base > place)
            munmap(place, (size_t)(base - place));
        if (base < place + spare)
            munmap(base + m->size, (size_t)(place + spare - base));
    }
    if (mmap(base, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0) ==
        MAP_FAILED) {
        err_set_errno(msg, "cannot map %llu bytes for cache %s", (unsigned long long)m->size,
                      options->name);
        munmap(base, m->size);
        return ERR_SYSTEM;
    }
    m->base = base;
    if (madvise(base, m->size, MADV_DONTDUMP) != 0)
        return err_set_errno(msg, "cannot keep cache %s out of core dumps", options->name);
    return ERR_OK;
}

/* The nodes of "0-3,6" as bits. Returns how many. */
static unsigned parse_nodes(const char *text, unsigned long mask[])
{
    const unsigned bits = 8 * sizeof(mask[0]);
    unsigned n = 0;

    while (*text >= '0' && *text <= '9') {
        char *end;
        unsigned long first = strtoul(text, &end, 10);
        unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

        for (; first <= last && first < NODES_MAX; first++, n++)
            mask[first / bits] |= 1ul << first % bits;
        text = *end == ',' ? end + 1 : end;
    }
    return n;
}

/* Spread the pages over the nodes of the machine: every worker reads all of them alike. */
static void interleave(const struct zone_options *options, const struct memory *m)
{
    unsigned long mask[NODES_MAX / (8 * sizeof(unsigned long))] = {0};
    char text[256] = "";
    FILE *f = fopen("/sys/devices/system/node/has_memory", "re");

    if (f == NULL)
        return;
    if (fgets(text, sizeof(text), f) == NULL)
        text[0] = '\0';
    fclose(f);
    if (parse_nodes(text, mask) < 2)
        return;
    if (syscall(SYS_mbind, m->base, m->size, INTERLEAVE, mask, (unsigned long)NODES_MAX, 0) != 0)
        log_warn("cache %s: its memory is not spread over the NUMA nodes: %s", options->name,
                 strerror(errno));
}

/* Before populating: the kernel may then use huge pages at once, where it is set up to. */
static void advise_huge(const struct zone_options *options, const struct memory *m)
{
    if (madvise(m->base, m->size, MADV_HUGEPAGE) != 0)
        log_warn("cache %s: this kernel has no transparent huge pages: %s", options->name,
                 strerror(errno));
}

/* After it: Linux 6.1 makes huge pages of what is there whatever the machine's setting is, unless
 * that is "deny". */
static void collapse(const struct zone_options *options, const struct memory *m)
{
    if (madvise(m->base, m->size & ~(HUGE_PAGE - 1), MADV_COLLAPSE) != 0)
        log_warn("cache %s: not all of it is in huge pages (%s); with Linux before 6.1, "
                 "/sys/kernel/mm/transparent_hugepage/shmem_enabled must be \"advise\"",
                 options->name, strerror(errno));
}

static int populate(const struct zone_options *options, const struct memory *m, struct errmsg *msg)
{
    struct room room;
    int why;

    if (madvise(m->base, m->size, MADV_POPULATE_WRITE) == 0)
        return ERR_OK;
    /* Kernels before 5.14 do not know it; reserving the memory says the same, earlier. */
    if (errno == EINVAL && fallocate(m->fd, 0, 0, (off_t)m->size) == 0)
        return ERR_OK;
    why = errno;
    room_find("", &room);
    return err_set(msg, ERR_NOMEM,
                   "cache %s: asked %llu bytes, and the machine, with %llu left (%s), could not "
                   "give them: %s",
                   options->name, (unsigned long long)m->size, (unsigned long long)room.bytes,
                   room.source, strerror(why));
}

/* Forked workers have no lock of their own; the master's keeps the pages in for all. */
static int lock_pages(const struct zone_options *options, const struct memory *m,
                      struct errmsg *msg)
{
    struct rlimit limit = {0, 0};

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
            log_debug("cannot raise RLIMIT_MEMLOCK to its own maximum: %s", strerror(errno));
    }
    if (mlock(m->base, m->size) == 0)
        return ERR_OK;
    return err_set_errno(msg,
                         "cache %s: mlock = true, but its %llu bytes cannot be locked in memory; "
                         "RLIMIT_MEMLOCK is %llu bytes for all caches (ulimit -l, LimitMEMLOCK=)",
                         options->name, (unsigned long long)m->size,
                         (unsigned long long)limit.rlim_cur);
}

int memory_create(const struct zone_options *options, uint64_t size, struct memory *memory,
                  struct errmsg *msg)
{
    int err;

    *memory = (struct memory){.fd = -1, .size = size};
    err = open_file(options, memory, msg);
    if (err == ERR_OK)
        err = map_file(options, memory, msg);
    if (err == ERR_OK) {
        interleave(options, memory);
        if (options->huge_pages)
            advise_huge(options, memory);
        if (options->populate)
            err = populate(options, memory, msg);
    }
    if (err == ERR_OK && options->huge_pages)
        collapse(options, memory);
    if (err == ERR_OK && options->lock)
        err = lock_pages(options, memory, msg);
    if (err != ERR_OK)
        memory_destroy(memory);
    return err;
}

void memory_destroy(struct memory *memory)
{
    if (memory->base != NULL)
        munmap(memory->base, memory->size);
    if (memory->fd >= 0)
        close(memory->fd);
    memory->base = NULL;
    memory->fd = -1;
}
