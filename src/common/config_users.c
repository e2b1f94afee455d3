/* Users: their passwords' digests and what they may, made from the configuration's text. */
#include "common/auth.h"
#include "common/config_parts.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>

static int fault(struct config_work *work, const char *key, size_t i, const char *text)
{
    return config_fault(work, SCOPE_USERS, config_row_find(SCOPE_USERS, key), i, "%s", text);
}

static int check_name(struct config_work *work, size_t i)
{
    const struct config_user *users = work->config->users;
    size_t len = strlen(users[i].name);

    if (len == 0)
        return fault(work, "name", i, "is missing");
    for (const char *p = users[i].name; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == ':')
            return fault(work, "name", i,
                         "has something else than printable ASCII without a colon");
    for (size_t j = 0; j < i; j++)
        if (strcmp(users[j].name, users[i].name) == 0)
            return config_fault(work, SCOPE_USERS, config_row_find(SCOPE_USERS, "name"), i,
                                "there are two users \"%s\"", users[i].name);
    return ERR_OK;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *place = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);

    return place == NULL ? -1 : (int)(place - digits);
}

static int read_digest(struct config_work *work, size_t i)
{
    struct config_user *user = &work->config->users[i];
    const char *text = user->password_sha256;

    if (strlen(text) != 2 * CONFIG_DIGEST_BYTES)
        return fault(work, "password_sha256", i, "a SHA-256 digest has 64 hex digits");
    for (size_t k = 0; k < CONFIG_DIGEST_BYTES; k++) {
        int high = hex_digit(text[2 * k]), low = hex_digit(text[2 * k + 1]);

        if (high < 0 || low < 0)
            return fault(work, "password_sha256", i, "a SHA-256 digest has 64 hex digits");
        user->digest[k] = (unsigned char)(high << 4 | low);
    }
    user->has_password = true;
    return ERR_OK;
}

static int complete_password(struct config_work *work, size_t i)
{
    struct config_user *user = &work->config->users[i];
    char *secret = NULL;
    int rc;

    if (user->password_sha256[0] != '\0' && user->password_file[0] != '\0')
        return fault(work, "password_file", i, "excludes password_sha256");
    if (user->password_sha256[0] != '\0')
        return read_digest(work, i);
    if (user->password_file[0] == '\0')
        return ERR_OK;
    rc = config_read_secret(work, SCOPE_USERS, "password_file", i, user->password_file, &secret);
    if (rc != ERR_OK)
        return rc;
    auth_digest(slice_cstr(secret), user->digest);
    user->has_password = true;
    explicit_bzero(secret, strlen(secret));
    free(secret);
    return ERR_OK;
}

/* The next word of *rest, which moves behind it. */
static struct slice next_word(const char **rest)
{
    const char *begin = *rest + strspn(*rest, " ,");
    size_t len = strcspn(begin, " ,");

    *rest = begin + len;
    return slice_make(begin, len);
}

/* "CACHE: right right" or "*: right". */
static int add_grant(struct config_work *work, size_t i, const char *text)
{
    const struct config_row *row = config_row_find(SCOPE_USERS, "rights");
    struct config *config = work->config;
    const char *colon = strchr(text, ':');
    const char *rest = colon == NULL ? "" : colon + 1;
    struct slice name = slice_make(text, colon == NULL ? 0 : (size_t)(colon - text));
    bool known = slice_eq(name, SLICE_LIT("*"));
    unsigned rights = 0;

    if (colon == NULL)
        return config_fault(work, SCOPE_USERS, row, i,
                            "\"%s\": write \"CACHE: read write\", with * for every cache", text);
    for (struct slice word = next_word(&rest); word.len > 0; word = next_word(&rest)) {
        unsigned right = auth_right_named(word);

        if (right == 0)
            return config_fault(work, SCOPE_USERS, row, i,
                                "\"%.*s\" is no right: read, write, purge, admin, all",
                                (int)word.len, word.data);
        rights |= right;
    }
    for (size_t c = 0; c < config->n_caches; c++) {
        if (!slice_eq(name, SLICE_LIT("*")) && !slice_eq(name, slice_cstr(config->caches[c].name)))
            continue;
        config->users[i].rights[c] |= (uint8_t)rights;
        known = true;
    }
    if (!known)
        return config_fault(work, SCOPE_USERS, row, i, "there is no cache \"%.*s\"", (int)name.len,
                            name.data);
    return ERR_OK;
}

int config_complete_users(struct config_work *work)
{
    struct config *config = work->config;

    for (size_t i = 0; i < config->n_users; i++) {
        struct config_user *user = &config->users[i];
        int rc = check_name(work, i);

        if (rc == ERR_OK)
            rc = complete_password(work, i);
        for (size_t g = 0; g < user->n_grants && rc == ERR_OK; g++)
            rc = add_grant(work, i, user->grants[g]);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

static bool user_exists(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->n_users; i++)
        if (strcmp(config->users[i].name, name) == 0)
            return true;
    return false;
}

/* A name or a number of this machine's. */
static bool find_uid(const char *text, uint32_t *uid)
{
    const struct passwd *entry = getpwnam(text);
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (entry != NULL)
        *uid = entry->pw_uid;
    else if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && number < UINT32_MAX)
        *uid = (uint32_t)number;
    else
        return false;
    return true;
}

int config_complete_trust(struct config_work *work, size_t i)
{
    struct config_listener *listener = &work->config->listeners[i];
    const struct config_row *row = config_row_find(SCOPE_LISTEN, "trust_users");

    if (listener->n_trust_users == 0)
        return ERR_OK;
    if (!user_exists(work->config, listener->trust_as))
        return config_fault(work, SCOPE_LISTEN, config_row_find(SCOPE_LISTEN, "trust_as"), i,
                            "there is no user \"%s\" in users", listener->trust_as);
    for (size_t k = 0; k < listener->n_trust_users; k++) {
        if (strcmp(listener->trust_users[k], "*") == 0)
            listener->trust_everyone = true;
        else if (find_uid(listener->trust_users[k], &listener->trust_uids[listener->n_trust_uids]))
            listener->n_trust_uids++;
        else
            return config_fault(work, SCOPE_LISTEN, row, i,
                                "there is no user \"%s\" on this machine",
                                listener->trust_users[k]);
    }
    return ERR_OK;
}
