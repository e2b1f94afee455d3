/* Two clocks. Expiry is kept on CLOCK_BOOTTIME, which goes on in suspend, never steps, and is the
 * same in every process of the machine; wall time is for people and for EXAT/PXAT only. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ms(void);  /* CLOCK_BOOTTIME, ms */
uint64_t clock_now_ns(void);  /* CLOCK_BOOTTIME, ns: durations */
/* CLOCK_MONOTONIC_COARSE: cheaper than the others, up to a kernel tick (10 ms) behind, and it stands
 * still in suspend. For ages only: its zero is not that of the others. */
uint64_t clock_coarse_ns(void);
uint64_t clock_wall_ms(void); /* CLOCK_REALTIME, ms since 1970 */

/* A wall time as boottime ms, read from both clocks now. Times already past give 1 (never 0,
 * which means "no expiry" wherever an expiry is stored). */
uint64_t clock_from_wall_ms(uint64_t wall_ms);

/* The reverse: a boottime expiry as wall ms. */
uint64_t clock_to_wall_ms(uint64_t boot_ms);

#endif
