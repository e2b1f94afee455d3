#include "proto/memcached_meta.h"

#include "common/units.h"
#include "proto/memcached.h"

#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"

/* Flags that some meta command knows; those that mean nothing to the one at hand are ignored, as in
 * memcached. */
static const char known[] = "ACDFIJMNORTbcfhklqstuv";

static bool take_seconds(struct slice token, int64_t *seconds)
{
    return units_parse_int(token, seconds) == ERR_OK;
}

static const char *take_mode(struct slice token, bool storing, char *mode)
{
    if (token.len != 1)
        return "CLIENT_ERROR incorrect length for M token";
    *mode = token.data[0];
    if (strchr(storing ? "EAPRS" : "ID+-", *mode) != NULL && *mode != '\0')
        return NULL;
    return storing ? "CLIENT_ERROR invalid mode for ms M token" : MEMCACHED_BAD_MODE;
}

static const char *take_token(struct slice token, char flag, bool storing,
                              struct memcached_meta *meta)
{
    uint64_t number = 0;

    switch (flag) {
    case 'T':
        return take_seconds(token, &meta->ttl) ? NULL : BAD_TOKEN;
    case 'N':
        return take_seconds(token, &meta->vivify) ? NULL : BAD_TOKEN;
    case 'R':
        return take_seconds(token, &meta->recache) ? NULL : BAD_TOKEN;
    case 'C':
        return memcached_number(token, &meta->unique) ? NULL : BAD_TOKEN;
    case 'A':
        return memcached_number(token, &meta->wait_ms) ? NULL : BAD_TOKEN;
    case 'D':
        return memcached_number(token, &meta->delta) ? NULL
                                                     : "CLIENT_ERROR invalid numeric delta value";
    case 'J':
        return memcached_number(token, &meta->initial)
                   ? NULL
                   : "CLIENT_ERROR invalid numeric initial value";
    case 'F':
        if (!memcached_number(token, &number) || number > UINT32_MAX)
            return "CLIENT_ERROR bad command line format";
        meta->client_flags = (uint32_t)number;
        return NULL;
    case 'O':
        meta->opaque = token;
        return token.len <= MEMCACHED_OPAQUE_MAX ? NULL : "CLIENT_ERROR opaque token too long";
    case 'M':
        return take_mode(token, storing, &meta->mode);
    default:
        return NULL; /* what follows a flag without a token is ignored */
    }
}

const char *memcached_meta_flags(struct slice line, bool storing, struct memcached_meta *meta)
{
    struct slice word;
    size_t n = 0;

    while (memcached_key(&line, &word)) {
        char flag = word.data[0];
        const char *error;
        unsigned bit;

        if (flag == '\0' || strchr(known, flag) == NULL)
            return "CLIENT_ERROR invalid flag";
        if (memcached_sent(meta, flag))
            return "CLIENT_ERROR duplicate flag";
        bit = flag >= 'a' ? (unsigned)(flag - 'a') + 26 : (unsigned)(flag - 'A');
        meta->sent |= UINT64_C(1) << bit;
        meta->order[n++] = flag;
        error = take_token(slice_make(word.data + 1, word.len - 1), flag, storing, meta);
        if (error != NULL)
            return error;
    }
    meta->order[n] = '\0';
    return NULL;
}

bool memcached_meta_repeat(struct buf *out, const struct memcached_meta *meta, char flag,
                           int *status)
{
    struct slice text = flag == 'k' ? meta->key_text : meta->opaque;

    if (flag != 'k' && flag != 'O')
        return false;
    *status = buf_printf(out, " %c%.*s%s", flag, (int)text.len, text.data,
                         flag == 'k' && memcached_sent(meta, 'b') ? " b" : "");
    return true;
}
