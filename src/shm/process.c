#include "shm/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_FIELD 22 /* of proc(5)'s stat, counted from 1 */

/* The text after the command's closing parenthesis (the command may hold anything): field 3 on. */
static char *read_stat(pid_t pid, char *buf, size_t cap)
{
    char path[32];
    ssize_t n;
    char *end;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    n = read(fd, buf, cap - 1);
    close(fd);
    if (n <= 0)
        return NULL;
    buf[n] = '\0';
    end = strrchr(buf, ')');
    return end == NULL || end[1] == '\0' ? NULL : end + 2;
}

uint64_t process_identity(pid_t pid)
{
    char buf[1024];
    char *field = pid > 0 ? read_stat(pid, buf, sizeof(buf)) : NULL;

    if (field == NULL || *field == 'Z' || *field == 'X')
        return 0;
    for (int i = 3; i < START_FIELD; i++) {
        field = strchr(field, ' ');
        if (field == NULL)
            return 0;
        field++;
    }
    return (uint64_t)(uint32_t)pid | strtoull(field, NULL, 10) << 32;
}

bool process_alive(uint64_t identity)
{
    return identity != 0 && process_identity(process_pid(identity)) == identity;
}
