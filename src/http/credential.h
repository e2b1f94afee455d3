/* Who sends a request: what its Authorization field says (RFC 9110 section 11.6, RFC 7617, RFC
 * 6750). */
#ifndef HTTP_CREDENTIAL_H
#define HTTP_CREDENTIAL_H

#include "common/auth.h"
#include "proto/http1.h"

/* Whether the request has this token, as Bearer. */
bool credential_token(const struct http1_request *request, const char *token);

/* Basic base64(name:password), or Bearer password. NULL: no user's. */
const struct config_user *credential_user(const struct config *config,
                                          const struct http1_request *request);

#endif
