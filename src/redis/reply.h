/* A Redis reply as the layers above see it, borrowed for the callback it is given to. */
#ifndef REDIS_REPLY_H
#define REDIS_REPLY_H

#include "common/slice.h"

#include <stdint.h>

enum reply_type { REPLY_NIL, REPLY_STATUS, REPLY_ERROR, REPLY_INTEGER, REPLY_STRING, REPLY_ARRAY };

struct reply {
    enum reply_type type;
    struct slice str;    /* STATUS, ERROR, STRING */
    int64_t integer;     /* INTEGER */
    struct reply *items; /* ARRAY */
    size_t n_items;
};

#endif
