/* Pass-through: commands that we do not serve ourselves go to Redis as they are (design section 9),
 * with the keys' names in Redis, and the keys they write leave L1 before the reply.
 *
 * Most go over the pool. What needs a connection that remembers goes over one of the client's own:
 * MULTI until EXEC, WATCH, commands that block, subscriptions. While a client is in MULTI or
 * watches, all of its commands go there (pass_holds()).
 *
 * The keys of a command are known from the server's own table (redis/keyspec.h). A script may write
 * keys that it does not name: after one, all of the cache in L1 is asked for again before it is
 * believed, on this host. With a key prefix
 * a command is refused whose keys' places are not all known; FLUSHALL and the like never get here.
 */
#ifndef CACHE_PASS_H
#define CACHE_PASS_H

#include "cache/cache.h"
#include "redis/reply.h"

struct pass; /* one client's */

struct pass_call {
    /* What the answer is, once, from the loop or from inside pass_send(). status CACHE_OK: reply is
     * Redis' (perhaps an error), borrowed; NULL: messages follow in its stead (subscriptions). Else
     * error says why, as a RESP error with its code. */
    void (*answer)(struct pass_call *call, enum cache_status status, const struct reply *reply,
                   const char *error);
    /* Then, once: what was written has left L1, and the answer may be sent. call is free then. */
    void (*finish)(struct pass_call *call);
    bool keys_named; /* a script that is known to write no key but those it names */
};

/* message: what comes for a subscriber beside the replies. */
struct pass *pass_create(struct caches *caches,
                         void (*message)(void *arg, const struct reply *reply), void *arg);
/* The client goes: its own connection is closed. Calls still end, with CACHE_DOWN. NULL is fine. */
void pass_destroy(struct pass *pass);

/* Whether every command of this client goes to Redis now: it is in MULTI or watches, or is in
 * another database. */
bool pass_holds(const struct pass *pass);
/* Of these, in MULTI or watching. */
bool pass_transacts(const struct pass *pass);
/* SELECT: this database of Redis from now on, where L1 has nothing; -1: that of the caches. Not
 * while the client transacts. */
void pass_db(struct pass *pass, int64_t db);
/* Whether it has subscriptions there. */
bool pass_subscribed(const struct pass *pass);

/* argv: copied. */
void pass_send(struct pass *pass, struct cache *cache, int argc, const struct slice *argv,
               struct pass_call *call);

#endif
