#include "guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

void guard_init(struct guard *guard, size_t room)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    guard->room = (room + page - 1) / page * page;
    guard->map_bytes = guard->room + page;
    guard->map =
        mmap(NULL, guard->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard->map == MAP_FAILED)
        die("guard: mmap");
    if (mprotect(guard->map + guard->room, page, PROT_NONE) != 0)
        die("guard: mprotect");
}

void guard_fini(struct guard *guard)
{
    munmap(guard->map, guard->map_bytes);
    *guard = (struct guard){0};
}

char *guard_place(struct guard *guard, const void *data, size_t len)
{
    char *place;

    if (len > guard->room) {
        fprintf(stderr, "guard: %zu bytes do not fit into %zu\n", len, guard->room);
        abort();
    }
    place = guard->map + guard->room - len;
    memset(guard->map, 0xee, guard->room - len);
    if (len > 0)
        memcpy(place, data, len);
    return place;
}
