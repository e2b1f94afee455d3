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

/* What wall time is ahead of boottime, in whole milliseconds, rounded up: taken from a wall time in
 * whole milliseconds it never gives a later moment, so nothing lives longer than was said. Both
 * clocks run on between two calls, but this does not follow: differences of whole milliseconds
 * would be one more or less, as the two happen to stand within theirs. */
static int64_t wall_ahead_ms(void)
{
    int64_t ahead_ns = (int64_t)(read_ns(CLOCK_REALTIME) - read_ns(CLOCK_BOOTTIME));

    return ahead_ns / 1000000 + (ahead_ns % 1000000 > 0);
}

uint64_t clock_from_wall_ms(uint64_t wall_ms)
{
    int64_t boot_ms;

    if (wall_ms > INT64_MAX / 2)
        return wall_ms; /* beyond any clock, in both of them */
    boot_ms = (int64_t)wall_ms - wall_ahead_ms();
    return boot_ms > 1 ? (uint64_t)boot_ms : 1;
}

uint64_t clock_to_wall_ms(uint64_t boot_ms)
{
    int64_t wall_ms;

    if (boot_ms > INT64_MAX / 2)
        return boot_ms;
    wall_ms = (int64_t)boot_ms + wall_ahead_ms();
    return wall_ms > 0 ? (uint64_t)wall_ms : 0;
}
