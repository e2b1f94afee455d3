/* What the two HTTP sessions share: taking requests from a connection's input, and asking the API.
 */
#ifndef WORKER_HTTP_DOOR_H
#define WORKER_HTTP_DOOR_H

#include "worker/conn.h"

struct http_call; /* a request on its way through the API */

/* What the client's connection counts for. */
enum http_door {
    DOOR_LISTENER, /* the listener is the API's: as the listener and the peer are */
    DOOR_ROUTE,    /* a site's route leads to the API: nothing, a token or a user is needed */
    DOOR_ADMIN,    /* one for admin: what a peer of this machine counts for on an admin listener */
};

/* A parser for requests within the limits; NULL: no memory. stream: see http1.h. */
struct http1_parser *http_door_parser(const struct conn *conn, uint64_t body_bytes, bool stream);
/* The largest body that the API takes: which cache a request is for is not known yet. */
uint64_t http_door_body_max(const struct conn *conn);

/* Feed the parser at most max bytes of conn->in, and keep the time that a head takes. *used: bytes
 * taken. As http1_parse(). */
enum parse_status http_door_parse(struct conn *conn, struct http1_parser *parser, uint64_t max,
                                  size_t *used, const struct http1_request **request);

/* Whether the API takes the body that follows this head; if not, the refusal has been put out. */
bool http_door_admit(struct conn *conn, enum http_door door, const struct http1_request *head);
/* Ask the API for a whole request, borrowed for the call. *spare: memory that a call used before,
 * or NULL; taken while the answer is pending. SESSION_MORE: answered; SESSION_WAIT: it will be;
 * SESSION_CLOSE: the connection ends after the answer. */
enum session_result http_door_ask(struct conn *conn, enum http_door door,
                                  const struct http1_request *request, struct http_call **spare);
void http_door_free(struct http_call *spare);
/* Answer a request that does not parse; then the connection ends. */
enum session_result http_door_refuse(struct conn *conn, int status, const char *why);

#endif
