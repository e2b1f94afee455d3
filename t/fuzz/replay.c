/* Runs a fuzz target on every file of its corpus, t/fuzz/corpus/CORPUS in the source tree, and on
 * every beginning of each. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>

#define INPUT_MAX 65536

/* A block of exactly this size, so that AddressSanitizer sees a read beyond it. */
static void run_exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));

    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;

    FUZZ_REQUIRE(file != NULL);
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    /* Long files would take the square of their length; REPLAY_WHOLE: a target for which a
     * beginning is nothing new. */
#ifndef REPLAY_WHOLE
    for (size_t i = 0; i < size; i += 1 + size / 1000)
        run_exact(data, i);
#endif
    run_exact(data, size);
}

int main(void)
{
    const char *srcdir = getenv("srcdir");
    char folder[512];
    char path[1024];
    struct dirent *entry;
    unsigned files = 0;
    DIR *dir;

    snprintf(folder, sizeof(folder), "%s/t/fuzz/corpus/%s", srcdir == NULL ? "." : srcdir, CORPUS);
    dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return EXIT_FAILURE;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        puts(path);
        fflush(stdout);
        run_file(path);
        files++;
    }
    closedir(dir);
    printf("%u files\n", files);
    return files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
