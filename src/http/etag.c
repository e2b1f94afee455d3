#include "http/etag.h"

#include <stdint.h>
#include <stdio.h>

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME  UINT64_C(0x100000001b3)

void etag_of(struct slice value, char out[ETAG_LEN + 1])
{
    uint64_t hash = FNV_OFFSET;

    out[0] = '\0';
    if (value.len > ETAG_VALUE_MAX)
        return;
    for (size_t i = 0; i < value.len; i++)
        hash = (hash ^ (unsigned char)value.data[i]) * FNV_PRIME;
    snprintf(out, ETAG_LEN + 1, "\"%016llx\"", (unsigned long long)hash);
}

/* One element of the list, from p. Returns the place after it. */
static const char *skip_tag(const char *p, const char *end)
{
    bool quoted = false;

    for (; p < end && (quoted || *p != ','); p++)
        if (*p == '"')
            quoted = !quoted;
    return p;
}

bool etag_listed(struct slice field, const char *etag)
{
    const char *p = field.data;
    const char *end = p + field.len;

    if (slice_eq(field, SLICE_LIT("*")))
        return true;
    if (etag[0] == '\0')
        return false;
    while (p < end) {
        const char *stop;

        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
        stop = skip_tag(p, end);
        if (end - p > 2 && p[0] == 'W' && p[1] == '/')
            p += 2;
        if (stop - p >= ETAG_LEN && memcmp(p, etag, ETAG_LEN) == 0)
            return true;
        p = stop;
    }
    return false;
}
