#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES 4096

static int read_all(int fd, const char *path, size_t max_bytes, struct buf *out, struct errmsg *msg)
{
    for (;;) {
        char *place = buf_reserve(out, READ_BYTES + 1);
        ssize_t n;

        if (place == NULL)
            return err_set(msg, ERR_NOMEM, "no memory to read %s", path);
        n = read(fd, place, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(msg, "cannot read %s", path);
        if (n == 0) {
            *place = '\0';
            return ERR_OK;
        }
        buf_commit(out, (size_t)n);
        if (buf_len(out) > max_bytes)
            return err_set(msg, ERR_LIMIT, "%s is larger than %zu bytes", path, max_bytes);
    }
}

int file_read(const char *path, size_t max_bytes, struct buf *out, mode_t *mode, struct errmsg *msg)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int rc;

    if (fd < 0)
        return err_set_errno(msg, "cannot read %s", path);
    if (fstat(fd, &st) != 0)
        rc = err_set_errno(msg, "cannot read %s", path);
    else
        rc = read_all(fd, path, max_bytes, out, msg);
    close(fd);
    if (rc == ERR_OK && mode != NULL)
        *mode = st.st_mode & 07777;
    return rc;
}
