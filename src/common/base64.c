#include "common/base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, char *out)
{
    const unsigned char *in = (const unsigned char *)bytes.data;

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)in[i] << 16;

        if (left > 1)
            group |= (uint32_t)in[i + 1] << 8;
        if (left > 2)
            group |= in[i + 2];
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[group & 63] : '=';
    }
}

/* Four characters with `pad` '=' at their end as 24 bits; -1 when one is not in the alphabet. */
static int32_t decode_group(const char *text, unsigned pad)
{
    uint32_t group = 0;

    for (unsigned i = 0; i < 4 - pad; i++) {
        const char *at = memchr(alphabet, text[i], sizeof(alphabet) - 1);

        if (at == NULL)
            return -1;
        group |= (uint32_t)(at - alphabet) << (18 - 6 * i);
    }
    return (int32_t)group;
}

int base64_decode(struct slice text, char *out, size_t *len)
{
    char *p = out;

    if (text.len % 4 != 0)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i += 4) {
        const char *in = text.data + i;
        bool last = i + 4 == text.len;
        unsigned pad = last && in[3] == '=' ? 1 + (in[2] == '=') : 0;
        int32_t group = decode_group(in, pad);

        /* Bits that the padding leaves over must be zero, or two texts would mean one key. */
        if (group < 0 || (group & ((1 << (8 * pad)) - 1)) != 0)
            return ERR_INVALID;
        *p++ = (char)(group >> 16);
        if (pad < 2)
            *p++ = (char)(group >> 8);
        if (pad < 1)
            *p++ = (char)group;
    }
    *len = (size_t)(p - out);
    return ERR_OK;
}
