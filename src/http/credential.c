#include "http/credential.h"

#include "common/base64.h"

#include <strings.h>

/* Of Basic, decoded: a name and a password. */
#define CREDENTIALS_MAX 3072

/* In a time that depends on the length of what was sent only. */
static bool token_equal(struct slice sent, const char *token)
{
    size_t len = strlen(token);
    unsigned char differ = sent.len != len;

    for (size_t i = 0; i < sent.len; i++)
        differ |= (unsigned char)(sent.data[i] ^ token[i < len ? i : 0]);
    return differ == 0;
}

/* What follows the scheme in Authorization; data NULL: another scheme, or none. */
static struct slice credentials(const struct http1_request *request, const char *scheme)
{
    struct slice field = http1_header(request, "authorization");
    size_t len = strlen(scheme);

    if (field.len <= len || strncasecmp(field.data, scheme, len) != 0 || field.data[len] != ' ')
        return (struct slice){0};
    return slice_make(field.data + len + 1, field.len - len - 1);
}

bool credential_token(const struct http1_request *request, const char *token)
{
    struct slice sent = credentials(request, "Bearer");

    return sent.data != NULL && token_equal(sent, token);
}

/* Basic base64(name:password), or Bearer password. NULL: no user's. */
const struct config_user *credential_user(const struct config *config,
                                          const struct http1_request *request)
{
    struct slice basic = credentials(request, "Basic"), bearer = credentials(request, "Bearer");
    char text[CREDENTIALS_MAX];
    size_t len;
    const char *colon;

    if (bearer.data != NULL)
        return auth_bearer(config, bearer);
    if (basic.data == NULL || basic.len > sizeof(text) / 3 * 4 ||
        base64_decode(basic, text, &len) != ERR_OK)
        return NULL;
    colon = memchr(text, ':', len);
    if (colon == NULL)
        return NULL;
    return auth_login(config, slice_make(text, (size_t)(colon - text)),
                      slice_make(colon + 1, len - (size_t)(colon + 1 - text)));
}
