/* What the files of libcachetastic share; nobody else includes this.
 *
 * handle.c  a handle's life: connect, log in, follow restarts and forks
 * call.c    one command and what its reply means
 * direct.c  reads from the mapped memory
 * verbs.c   get, put, delete, ...            many.c    the same for several keys at once
 * fetch.c   one computation a key            object.c  serializers
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include "client/cachetastic.h"
#include "client/wire.h"
#include "shm/access.h"
#include "shm/reader.h"

struct cachetastic {
    char *socket, *name, *user, *password;
    unsigned timeout_ms;
    bool want_direct;
    struct wire wire;
    unsigned forks; /* handle_forks when the connection was made: another number, another process */
    struct resp_value reply;
    struct reader *reader; /* NULL: not mapped */
    struct access *access; /* not NULL where reader is not */
    bool complete;         /* what the mapped memory misses is nowhere */
    struct errmsg refusal; /* why it is not mapped */
    struct buf value;      /* of direct reads */
    struct cachetastic_counts counts;
    uint64_t random; /* of early refresh; never 0 */
    struct errmsg error;
};

/* How often this process has been forked, it and its ancestors together. */
extern unsigned handle_forks;

/* Make sure that there is a connection of this process' own, logged in and in the right cache. */
enum cachetastic_status handle_connect(struct cachetastic *cache);

/* Drop the connection and what came with it: the mapping, open leases. */
void handle_disconnect(struct cachetastic *cache);

/* Record what went wrong. */
enum cachetastic_status handle_fail(struct cachetastic *cache, enum cachetastic_status status,
                                    const char *fmt, ...) PRINTF_LIKE(3, 4);

/* call.c. One command. again: it may be sent twice if the connection ends without an answer (the
 * daemon was restarted); wait_ms: the daemon itself may wait so long. cache->reply is its reply,
 * which is no error. */
enum cachetastic_status call_send(struct cachetastic *cache, int argc, const struct slice *argv,
                                  bool again, uint64_t wait_ms);
/* The status that a code of enum err, with the sentence in cache->error, stands for. */
enum cachetastic_status call_status(int err);
/* The status of an error reply. */
enum cachetastic_status call_refused(struct cachetastic *cache, struct slice text);
/* A reply of another kind than the command has. */
enum cachetastic_status call_confused(struct cachetastic *cache);

/* direct.c. Map the cache's memory if that is wanted and allowed; not to be had is no failure. */
enum cachetastic_status direct_attach(struct cachetastic *cache);
void direct_detach(struct cachetastic *cache);
/* Stored under another name than its own: such keys tell numbered keyspaces apart, which share a
 * cache's memory. */
static inline bool direct_foreign(struct slice key)
{
    return key.data[0] == '\0';
}

/* OK, MISS, or BUSY: ask the daemon. found (may be NULL): filled with OK. */
enum cachetastic_status direct_get(struct cachetastic *cache, struct slice key,
                                   struct cachetastic_bytes *value, struct reader_value *found);

/* Whether reads may go to the mapped memory. The first use of a handle, and the first in a child,
 * connect to find out; a failure is left to the call that follows. */
static inline bool direct_ready(struct cachetastic *cache)
{
    if (cache->wire.fd < 0 || cache->forks != handle_forks)
        return handle_connect(cache) == CACHETASTIC_OK && cache->reader != NULL;
    return cache->reader != NULL;
}

/* Whether they may, without connecting. */
static inline bool direct_mapped(const struct cachetastic *cache)
{
    return cache->reader != NULL && cache->wire.fd >= 0 && cache->forks == handle_forks;
}

/* verbs.c */
#define VERB_KEY_MAX  65535
#define VERB_TAGS_MAX 64 /* of one entry */

struct verb_number {
    char text[24];
};
struct slice verb_decimal(struct verb_number *out, int64_t value);

/* A SET: argv[1] and argv[2] are the caller's to fill in. */
struct verb_set {
    struct slice argv[3 + 1 + 2 + 2 + 2 + VERB_TAGS_MAX];
    int argc;
    struct verb_number numbers[3];
};
/* E_INVALID: how is wrong. */
enum cachetastic_status verb_set(struct cachetastic *cache, const struct cachetastic_put *how,
                                 struct verb_set *set);
/* Append how's times and tags to the n arguments there are; returns their new number. */
int verb_attrs(const struct cachetastic_put *how, struct slice *argv, int n,
               struct verb_number numbers[3]);

enum cachetastic_status verb_check_key(struct cachetastic *cache, size_t len);
/* A command whose reply is a number. */
enum cachetastic_status verb_integer(struct cachetastic *cache, int argc, const struct slice *argv,
                                     bool again, int64_t *result);
/* What the reply to a SET means. */
enum cachetastic_status verb_done(struct cachetastic *cache);

static inline struct slice bytes_slice(const struct cachetastic_bytes *bytes)
{
    return slice_make(bytes->data, bytes->len);
}

#endif
