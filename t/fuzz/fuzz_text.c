/* Patterns, sizes, times, modes, integers and addresses. Input: a text, a newline, a pattern. */
#include "fuzz.h"

#include "common/addr.h"
#include "common/glob.h"
#include "common/units.h"

#include <string.h>

static void match(struct slice pattern, struct slice text)
{
    struct buf escaped = {0};
    uint64_t steps = 0;

    (void)glob_match_counted(pattern, text, &steps);
    FUZZ_REQUIRE(steps <= (uint64_t)(pattern.len + 1) * (text.len + 1));
    FUZZ_REQUIRE(glob_escape(text, &escaped) == ERR_OK);
    FUZZ_REQUIRE(glob_match(buf_slice(&escaped), text));
    FUZZ_REQUIRE(slice_eq(pattern, text) || !glob_match(buf_slice(&escaped), pattern));
    buf_fini(&escaped);
}

static void parse_units(const char *text)
{
    char out[32];
    uint64_t value;
    uint64_t back;
    uint32_t mode;

    if (units_parse_size(text, &value) == ERR_OK) {
        units_format_size(value, out);
        FUZZ_REQUIRE(units_parse_size(out, &back) == ERR_OK && back == value);
        FUZZ_REQUIRE(strlen(out) <= strlen(text));
    }
    if (units_parse_time(text, &value) == ERR_OK) {
        units_format_time(value, out);
        FUZZ_REQUIRE(units_parse_time(out, &back) == ERR_OK && back == value);
    }
    if (units_parse_mode(text, &mode) == ERR_OK)
        FUZZ_REQUIRE(mode <= 07777);
}

static void parse_int(struct slice text)
{
    char out[32];
    int64_t value;

    if (units_parse_int(text, &value) != ERR_OK)
        return;
    snprintf(out, sizeof(out), "%lld", (long long)value);
    FUZZ_REQUIRE(slice_eq(slice_cstr(out), text));
}

static void parse_address(const char *text)
{
    char host[ADDR_HOST_MAX];
    struct addr addr;
    struct errmsg msg;
    uint16_t port;

    if (addr_parse(text, &addr, &msg) == ERR_OK)
        FUZZ_REQUIRE(addr.len > 0 && addr.len <= sizeof(addr.sock));
    if (addr_split(text, host, &port, &msg) == ERR_OK)
        FUZZ_REQUIRE(host[0] != '\0' && port > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size == 0 ? NULL : memchr(data, '\n', size);
    size_t len = newline == NULL ? size : (size_t)(newline - data);
    struct slice text = slice_make(data, len);
    char *copy = strndup((const char *)data, len);

    FUZZ_REQUIRE(copy != NULL);
    if (newline != NULL)
        match(slice_make(newline + 1, size - len - 1), text);
    parse_units(copy);
    parse_int(text);
    parse_address(copy);
    free(copy);
    return 0;
}
