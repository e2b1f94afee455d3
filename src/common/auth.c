#include "common/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

static const struct {
    const char *name;
    unsigned right;
} names[] = {{"read", AUTH_READ},
             {"write", AUTH_WRITE},
             {"purge", AUTH_PURGE},
             {"admin", AUTH_ADMIN},
             {"all", AUTH_ALL}};

bool auth_required(const struct config *config)
{
    return config->n_users > 0;
}

void auth_digest(struct slice password, unsigned char digest[CONFIG_DIGEST_BYTES])
{
    (void)SHA256((const unsigned char *)password.data, password.len, digest);
}

static const struct config_user *find(const struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->n_users; i++)
        if (slice_eq(name, slice_cstr(config->users[i].name)))
            return &config->users[i];
    return NULL;
}

/* Whether the digest is that of the user's password; takes as long for none. */
static bool matches(const struct config_user *user, const unsigned char *digest)
{
    static const unsigned char nobody[CONFIG_DIGEST_BYTES];
    bool has = user != NULL && user->has_password;

    return CRYPTO_memcmp(digest, has ? user->digest : nobody, CONFIG_DIGEST_BYTES) == 0 && has;
}

const struct config_user *auth_login(const struct config *config, struct slice name,
                                     struct slice password)
{
    unsigned char digest[CONFIG_DIGEST_BYTES];
    const struct config_user *user = find(config, name.len == 0 ? SLICE_LIT("default") : name);

    auth_digest(password, digest);
    return matches(user, digest) ? user : NULL;
}

const struct config_user *auth_bearer(const struct config *config, struct slice token)
{
    unsigned char digest[CONFIG_DIGEST_BYTES];
    const struct config_user *found = NULL;

    auth_digest(token, digest);
    /* All of them, so that the time does not tell which. */
    for (size_t i = config->n_users; i > 0; i--)
        if (matches(&config->users[i - 1], digest))
            found = &config->users[i - 1];
    return found;
}

const struct config_user *auth_peer(const struct config *config,
                                    const struct config_listener *listener, uint32_t uid)
{
    bool trusted = listener->trust_everyone;

    for (size_t i = 0; i < listener->n_trust_uids && !trusted; i++)
        trusted = listener->trust_uids[i] == uid;
    return trusted ? find(config, slice_cstr(listener->trust_as)) : NULL;
}

static unsigned lacking(const struct config_user *user, const struct config *config,
                        const struct config_cache *cache, unsigned rights)
{
    return user == NULL ? rights : rights & ~(unsigned)user->rights[cache - config->caches];
}

bool auth_may(const struct config *config, const struct config_user *user,
              const struct config_cache *cache, unsigned rights)
{
    return config->n_users == 0 || lacking(user, config, cache, rights) == 0;
}

const char *auth_missing(const struct config_user *user, const struct config *config,
                         const struct config_cache *cache, unsigned rights)
{
    unsigned lack = lacking(user, config, cache, rights);
    size_t i = 0;

    while (i < 3 && (lack & names[i].right) == 0)
        i++;
    return names[i].name;
}

unsigned auth_right_named(struct slice name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_eq(name, slice_cstr(names[i].name)))
            return names[i].right;
    return 0;
}
