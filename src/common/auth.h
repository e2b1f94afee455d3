/* Who may do what: users with passwords, and rights on each cache (the configuration's users).
 *
 * Without users in the configuration nobody has to log in and everybody has every right. With them
 * a connection is nobody's (user NULL, no right at all) until its client has logged in, or its peer
 * on a unix socket is trusted. Immutable data, no locks, no I/O.
 *
 * Passwords are compared by their SHA-256 digest in constant time, with as much work for a name
 * that does not exist; as in Redis' ACL (https://redis.io/docs/management/security/acl/) a digest
 * without salt needs passwords of high entropy: tokens, not words.
 */
#ifndef COMMON_AUTH_H
#define COMMON_AUTH_H

#include "common/config.h"
#include "common/slice.h"

enum auth_right {
    AUTH_READ = 1,
    AUTH_WRITE = 2,
    AUTH_PURGE = 4, /* clear, purge by pattern or tag */
    AUTH_ADMIN = 8, /* reset of statistics, validator */
    AUTH_ALL = 15,
};

/* Whether there are users at all. */
bool auth_required(const struct config *config);

/* The user of this name and password; NULL: there is none. Every protocol's login comes here:
 * RESP's AUTH (an empty name is "default"), memcached's "set" of "user password" and SASL PLAIN,
 * HTTP Basic.
 */
const struct config_user *auth_login(const struct config *config, struct slice name,
                                     struct slice password);

/* The user whose password this is (HTTP Bearer): the first one in the configuration. */
const struct config_user *auth_bearer(const struct config *config, struct slice token);

/* The user that a unix listener's peer with this uid is without a password; NULL: none. */
const struct config_user *auth_peer(const struct config *config,
                                    const struct config_listener *listener, uint32_t uid);

/* Whether user (NULL: nobody) has all of these rights on a cache. */
bool auth_may(const struct config *config, const struct config_user *user,
              const struct config_cache *cache, unsigned rights);

/* The first of rights that the user lacks on the cache, as the configuration calls it. */
const char *auth_missing(const struct config_user *user, const struct config *config,
                         const struct config_cache *cache, unsigned rights);

/* "read", "write", "purge", "admin"; 0 for anything else ("all" is every right). */
unsigned auth_right_named(struct slice name);

/* SHA-256 of a password. */
void auth_digest(struct slice password, unsigned char digest[CONFIG_DIGEST_BYTES]);

#endif
