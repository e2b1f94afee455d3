#include "common/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / 1000000u;
}

uint64_t clock_now_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_coarse_ns(void)
{
    return read_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000u;
}

uint64_t clock_from_wall_ms(uint64_t wall_ms)
{
    uint64_t wall = clock_wall_ms();
    uint64_t boot = clock_now_ms();

    if (wall_ms >= wall)
        return boot + (wall_ms - wall);
    return boot > wall - wall_ms ? boot - (wall - wall_ms) : 1;
}

uint64_t clock_to_wall_ms(uint64_t boot_ms)
{
    uint64_t wall = clock_wall_ms();
    uint64_t boot = clock_now_ms();

    if (boot_ms >= boot)
        return wall + (boot_ms - boot);
    return wall - (boot - boot_ms);
}
