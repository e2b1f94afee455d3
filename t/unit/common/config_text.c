#include "config_text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char paths[8][64];
static size_t n_paths;

const char *config_text_file(const char *text)
{
    char *path = paths[n_paths++];
    size_t len = strlen(text);
    int fd;

    ck_assert_uint_le(n_paths, sizeof(paths) / sizeof(paths[0]));
    strcpy(path, "/tmp/check_config.XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    close(fd);
    return path;
}

/* Every occurrence of path becomes FILE, so that expected messages can be written down. */
static void hide_path(struct errmsg *msg, const char *path)
{
    size_t len = strlen(path);
    char *place;

    while ((place = strstr(msg->text, path)) != NULL) {
        memcpy(place, "FILE", 4);
        memmove(place + 4, place + len, strlen(place + len) + 1);
    }
}

int config_text_load(const char *text, const struct config_flags *flags, struct config **out,
                     struct errmsg *msg)
{
    struct config_flags with_file = flags == NULL ? (struct config_flags){0} : *flags;
    int rc;

    with_file.file = config_text_file(text);
    rc = config_load(&with_file, out, msg);
    if (rc != ERR_OK)
        hide_path(msg, with_file.file);
    return rc;
}

char *config_text_dump(const struct config *config)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(config_dump(config, out), ERR_OK);
    fclose(out);
    return text;
}

void config_text_end(void)
{
    while (n_paths > 0)
        unlink(paths[--n_paths]);
}
