/* TLS to origin servers: a state machine over bytes, no sockets. What comes from the server is fed
 * in, what is to be sent to it is taken out, whenever the loop has either. The server's certificate
 * must be good for its name, by the system's authorities or the route's own. */
#ifndef HTTP_ORIGIN_TLS_H
#define HTTP_ORIGIN_TLS_H

#include "common/buf.h"
#include "common/config.h"
#include "common/slice.h"

struct origin_tls_context; /* one per route: authorities, settings */
struct origin_tls;         /* one per connection */

enum origin_tls_result {
    ORIGIN_TLS_OK,     /* the handshake is over; bytes were read */
    ORIGIN_TLS_MORE,   /* bytes of the server are needed */
    ORIGIN_TLS_END,    /* the server has ended the stream, and says so */
    ORIGIN_TLS_FAILED, /* origin_tls_error() */
};

/* Reads the route's file of authorities. ERR_INVALID: it is no such file; ERR_NOMEM. */
int origin_tls_context_create(const struct config_route *route, struct origin_tls_context **out,
                              struct errmsg *msg) MUST_CHECK;
void origin_tls_context_destroy(struct origin_tls_context *context);

/* name: what the certificate must be good for: a host name, which is also told to the server (SNI,
 * RFC 6066 section 3), or an IP address. NULL: no memory. */
struct origin_tls *origin_tls_create(struct origin_tls_context *context, const char *name);
void origin_tls_destroy(struct origin_tls *tls);

/* Bytes from the server. ERR_NOMEM. */
int origin_tls_feed(struct origin_tls *tls, struct slice bytes) MUST_CHECK;
/* Go on with the handshake: until ORIGIN_TLS_OK nothing else may be read or written. */
enum origin_tls_result origin_tls_handshake(struct origin_tls *tls);
/* Decrypted bytes, at most size of them. */
enum origin_tls_result origin_tls_read(struct origin_tls *tls, char *to, size_t size, size_t *n);
/* Encrypt all of them. */
enum origin_tls_result origin_tls_write(struct origin_tls *tls, struct slice bytes);
/* Append what is to be sent to the server to out. ERR_NOMEM. */
int origin_tls_output(struct origin_tls *tls, struct buf *out) MUST_CHECK;
/* Why it failed. Static storage. */
const char *origin_tls_error(const struct origin_tls *tls);

#endif
