/* Any file is either refused with a sentence, or its dump loads and dumps the same. */
#define _GNU_SOURCE /* memfd_create, memmem */
#include "fuzz.h"

#include "common/config.h"
#include "common/log.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* libconfig 1.5 does not free the beginning of a string that never ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

/* Load text as a file; NULL when it is refused. */
static struct config *load(const void *text, size_t size)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    struct config_flags flags = {0};
    struct config *config = NULL;
    struct errmsg msg = {""};
    char path[64];
    int rc;

    FUZZ_REQUIRE(fd >= 0);
    FUZZ_REQUIRE(write(fd, text, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    flags.file = path;
    rc = config_load(&flags, &config, &msg);
    FUZZ_REQUIRE((rc == ERR_OK) == (config != NULL));
    FUZZ_REQUIRE(rc == ERR_OK || msg.text[0] != '\0');
    close(fd);
    return config;
}

static char *dump(const struct config *config, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    FUZZ_REQUIRE(out != NULL);
    FUZZ_REQUIRE(config_dump(config, out) == ERR_OK);
    fclose(out);
    return text;
}

/* Other files of this machine are not the fuzzer's to read, and some would block. */
static int names_files(const uint8_t *data, size_t size)
{
    return memmem(data, size, "@include", 8) != NULL || memmem(data, size, "_file", 5) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config;
    char *first;
    char *second;
    size_t len;

    if (names_files(data, size))
        return 0;
    FUZZ_REQUIRE(log_init("/dev/null", LOG_LEVEL_ERROR, NULL) == ERR_OK);
    config = load(data, size);
    if (config == NULL)
        return 0;
    first = dump(config, &len);
    config_free(config);
    config = load(first, len);
    FUZZ_REQUIRE(config != NULL);
    second = dump(config, &len);
    config_free(config);
    FUZZ_REQUIRE(strcmp(first, second) == 0);
    free(first);
    free(second);
    return 0;
}
