/* Who a process is: its pid alone may be another's tomorrow. */
#ifndef SHM_PROCESS_H
#define SHM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* pid | low 32 bits of its start time (clock ticks since boot) << 32; 0 when there is no such
 * process, or it is a zombie. */
uint64_t process_identity(pid_t pid);

static inline pid_t process_pid(uint64_t identity)
{
    return (pid_t)(identity & UINT32_MAX);
}

/* Whether the process with that identity lives. */
bool process_alive(uint64_t identity);

#endif
