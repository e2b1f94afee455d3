/* What parsing a request and parsing a response have in common: llhttp, the head's limits, and its
 * fields. For src/proto/http1*.c. */
#ifndef PROTO_HTTP1_MESSAGE_H
#define PROTO_HTTP1_MESSAGE_H

#include "proto/http1_fields.h"
#include "proto/http1_lines.h"

#include <llhttp.h>

/* The first member of each parser's struct; llhttp.data leads to it. */
struct http1_message {
    llhttp_t llhttp;
    struct http1_limits limits;
    struct http1_fields fields; /* behind the target, or the reason phrase */
    struct http1_lines lines;
    uint64_t head_taken; /* bytes given to llhttp before the head was complete */
    bool headers_done, complete;
    /* Remember why the head is refused, and return what makes llhttp stop; 0 for FIELDS_OK. */
    int (*refuse)(struct http1_message *message, enum http1_fields_status status);
};

static inline struct http1_message *http1_message_of(llhttp_t *llhttp)
{
    return llhttp->data;
}

/* Fill in settings what is the same for both: header fields, trailers, chunk extensions. */
void http1_message_settings(llhttp_settings_t *settings);

enum http1_admission {
    ADMIT_GOOD,
    ADMIT_OVER,  /* the head is over its limits */
    ADMIT_LINES, /* a bare CR or LF, a folded line */
};

/* How many of these bytes may be given to llhttp now: below the limits of a head, and with proper
 * line ends. */
enum http1_admission http1_message_admit(struct http1_message *message, const char *data,
                                         size_t *len);

/* For the next head. */
void http1_message_reset(struct http1_message *message);

#endif
