#include "common/sha1.h"

#include <openssl/evp.h>
#include <stdio.h>

int sha1_text(struct slice data, char out[SHA1_TEXT_LEN + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_Digest(data.data, data.len, digest, &len, EVP_sha1(), NULL) != 1 ||
        2 * len != SHA1_TEXT_LEN)
        return ERR_SYSTEM;
    for (unsigned i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return ERR_OK;
}
