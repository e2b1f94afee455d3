/* Invalidation messages on the channel, JSON (design section 8; the Elixir library's wire format):
 * {"event":{"action":"delete","cache":"default","key":"k"},"node_id":"..."} */
#ifndef REDIS_MESSAGE_H
#define REDIS_MESSAGE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

enum message_action {
    MESSAGE_DELETE,       /* key */
    MESSAGE_CLEAR,        /* the whole cache; ours: the start of a clear */
    MESSAGE_CLEAR_END,    /* the end of a clear */
    MESSAGE_PATTERN,      /* pattern, in "key" */
    MESSAGE_TAG,          /* tag, in "key" */
    MESSAGE_PURGE,        /* key: purged from a cache that is in memory alone */
    MESSAGE_SOFT_PATTERN, /* pages to be asked about: a pattern, in "key" */
    MESSAGE_SOFT_TAG,     /* likewise a tag */
    MESSAGE_NONCE,        /* our own sign of life, in "key" */
    MESSAGE_OTHER,        /* well-formed, unknown action: count and ignore */
};

struct message {
    enum message_action action;
    char *cache; /* "default" when absent; owned */
    char *key;   /* owned, NUL-terminated besides key_len; NULL when the action has none */
    size_t key_len;
    char *node_id; /* owned */
};

/* Keys that are not UTF-8 cannot stand in JSON as they are: they go as "key_b64" (base64) instead
 * of "key". */
int message_encode(enum message_action action, struct slice cache, struct slice key,
                   struct slice node_id, struct buf *out) MUST_CHECK;
/* ERR_INVALID on malformed JSON or a missing field (a missing or null "cache" is "default"),
 * ERR_NOMEM; message is filled only on ERR_OK, freed by message_fini(). */
int message_decode(struct slice json, struct message *message) MUST_CHECK;
void message_fini(struct message *message);

#endif
