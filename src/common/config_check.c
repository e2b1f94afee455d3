/* What depends on more than one value: completed and judged once defaults, file and flags are in.
 */
#include "common/addr.h"
#include "common/config_parts.h"
#include "common/file.h"
#include "common/log.h"
#include "common/logformat.h"
#include "common/units.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_VARIABLE "CACHETASTIC_REDIS_PASSWORD"
#define SECRET_MAX_BYTES  4096
#define NAME_MAX_BYTES    63
#define VALUE_SHARE       8 /* a value takes at most this part of its cache's memory */

static int fault(struct config_work *work, enum config_scope scope, const char *key, size_t element,
                 const char *text)
{
    return config_fault(work, scope, config_row_find(scope, key), element, "%s", text);
}

static bool given(struct config_work *work, enum config_scope scope, const char *key,
                  size_t element)
{
    return config_place(work, config_row_find(scope, key), element)->file != NULL;
}

static int check_order(struct config_work *work, enum config_scope scope, const char *max_key,
                       uint64_t min_ms, uint64_t max_ms, const char *min_key)
{
    char low[32];
    char high[32];

    if (min_ms <= max_ms)
        return ERR_OK;
    units_format_time(min_ms, low);
    units_format_time(max_ms, high);
    return config_fault(work, scope, config_row_find(scope, max_key), 0, "%s is below %s, %s (ms)",
                        high, min_key, low);
}

static int check_user(struct config_work *work, enum config_scope scope, const char *key,
                      size_t element, const char *name)
{
    if (name[0] == '\0' || getpwnam(name) != NULL)
        return ERR_OK;
    return config_fault(work, scope, config_row_find(scope, key), element,
                        "there is no user \"%s\" on this machine", name);
}

static int check_group(struct config_work *work, enum config_scope scope, const char *key,
                       size_t element, const char *name)
{
    if (name[0] == '\0' || getgrnam(name) != NULL)
        return ERR_OK;
    return config_fault(work, scope, config_row_find(scope, key), element,
                        "there is no group \"%s\" on this machine", name);
}

int config_read_secret(struct config_work *work, enum config_scope scope, const char *key,
                       size_t element, const char *path, char **secret)
{
    const struct config_row *row = config_row_find(scope, key);
    struct buf text = {0};
    struct errmsg why;
    mode_t mode = 0;
    int rc = file_read(path, SECRET_MAX_BYTES, &text, &mode, &why);

    if (rc == ERR_OK) {
        size_t len = strcspn(buf_head(&text), "\r\n");

        if (len == 0 || len + strspn(buf_head(&text) + len, "\r\n") != buf_len(&text))
            rc = config_fault(work, scope, row, element, "%s must hold one line, the secret", path);
        else if ((*secret = strndup(buf_head(&text), len)) == NULL)
            rc = ERR_NOMEM;
        explicit_bzero(buf_head(&text), buf_len(&text));
    } else {
        (void)config_fault(work, scope, row, element, "%s", why.text);
    }
    if (rc == ERR_OK && (mode & S_IROTH) != 0)
        log_warn("%s: everyone on this machine can read %s; chmod 0640 is better",
                 config_key(scope, row).text, path);
    buf_fini(&text);
    return rc;
}

static int complete_workers(struct config_work *work)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    if (work->config->workers == 0)
        work->config->workers = online < 1                    ? 1
                                : online > CONFIG_MAX_WORKERS ? CONFIG_MAX_WORKERS
                                                              : online;
    return ERR_OK;
}

static int check_token(struct config_work *work)
{
    struct config *config = work->config;
    int rc;

    if (config->api_token_file[0] == '\0')
        return ERR_OK;
    rc = config_read_secret(work, SCOPE_TOP, "api_token_file", 0, config->api_token_file,
                            &config->api_token);
    if (rc != ERR_OK)
        return rc;
    for (const char *p = config->api_token; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            return config_fault(work, SCOPE_TOP, config_row_find(SCOPE_TOP, "api_token_file"), 0,
                                "the token in %s must be printable ASCII without spaces, since it "
                                "travels in a header field",
                                config->api_token_file);
    return ERR_OK;
}

static int check_trusted(struct config_work *work)
{
    const struct config *config = work->config;

    for (size_t i = 0; i < config->n_trusted_proxies; i++)
        if (addr_in_net("0.0.0.0", config->trusted_proxies[i]) < 0)
            return config_fault(work, SCOPE_TOP, config_row_find(SCOPE_TOP, "trusted_proxies"), 0,
                                "\"%s\" is no address and no net: write 10.0.0.0/8 or ::1",
                                config->trusted_proxies[i]);
    return ERR_OK;
}

static int check_access_log(struct config_work *work)
{
    struct slice bad;

    if (logformat_valid(work->config->access_log_format, &bad))
        return ERR_OK;
    return config_fault(work, SCOPE_TOP, config_row_find(SCOPE_TOP, "access_log_format"), 0,
                        "there is no \"%.*s\"", (int)bad.len, bad.data);
}

static int check_top(struct config_work *work)
{
    struct config *config = work->config;
    int rc = complete_workers(work);

    if (rc == ERR_OK)
        rc = check_user(work, SCOPE_TOP, "user", 0, config->user);
    if (rc == ERR_OK)
        rc = check_group(work, SCOPE_TOP, "group", 0, config->group);
    if (rc == ERR_OK)
        rc = check_order(work, SCOPE_TOP, "respawn_max", config->respawn_min_ms,
                         config->respawn_max_ms, "respawn_min");
    if (rc == ERR_OK)
        rc = check_token(work);
    if (rc == ERR_OK)
        rc = check_access_log(work);
    if (rc == ERR_OK)
        rc = check_trusted(work);
    return rc;
}

static int check_server(struct config_work *work)
{
    const char *server = work->config->redis.server;
    char host[ADDR_HOST_MAX];
    struct addr addr;
    struct errmsg why;
    uint16_t port;
    int rc;

    if (server[0] == '\0')
        return ERR_OK;
    rc = addr_unix_path(server) != NULL ? addr_parse(server, &addr, &why)
                                        : addr_split(server, host, &port, &why);
    return rc == ERR_OK ? ERR_OK : fault(work, SCOPE_REDIS, "server", 0, why.text);
}

static int complete_password(struct config_work *work)
{
    struct config_redis *redis = &work->config->redis;
    const char *variable = getenv(PASSWORD_VARIABLE);

    if (redis->password_file[0] != '\0')
        return config_read_secret(work, SCOPE_REDIS, "password_file", 0, redis->password_file,
                                  &redis->password);
    if (variable == NULL || variable[0] == '\0')
        return ERR_OK;
    redis->password = strdup(variable);
    return redis->password == NULL ? ERR_NOMEM : ERR_OK;
}

static int check_redis(struct config_work *work)
{
    struct config_redis *redis = &work->config->redis;
    int rc = check_server(work);

    redis->enabled = redis->server[0] != '\0';
    redis->prefix_empty = redis->prefix[0] == '\0';
    if (rc == ERR_OK)
        rc = complete_password(work);
    if (rc == ERR_OK)
        rc = check_order(work, SCOPE_REDIS, "reconnect_max", redis->reconnect_min_ms,
                         redis->reconnect_max_ms, "reconnect_min");
    if (rc == ERR_OK && redis->channel[0] == '\0')
        rc = fault(work, SCOPE_REDIS, "channel", 0,
                   "must not be empty; invalidation = \"none\" turns the messages off");
    return rc;
}

static bool name_is_valid(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t len = strlen(name);

    return len >= 1 && len <= NAME_MAX_BYTES && strspn(name, allowed) == len;
}

static const struct config_cache *find_cache(const struct config *config, const char *name,
                                             size_t before)
{
    for (size_t i = 0; i < before; i++)
        if (strcmp(config->caches[i].name, name) == 0)
            return &config->caches[i];
    return NULL;
}

static int check_cache_name(struct config_work *work, size_t i)
{
    const char *name = work->config->caches[i].name;
    const struct config_row *row = config_row_find(SCOPE_CACHES, "name");

    if (config_place(work, row, i)->file == NULL && name[0] == '\0')
        return config_fault(work, SCOPE_CACHES, row, i, "is missing");
    if (!name_is_valid(name))
        return config_fault(work, SCOPE_CACHES, row, i,
                            "\"%s\": a name is 1 to %d letters, digits, dots, dashes and "
                            "underscores",
                            name, NAME_MAX_BYTES);
    if (find_cache(work->config, name, i) != NULL)
        return config_fault(work, SCOPE_CACHES, row, i, "there are two caches \"%s\"", name);
    return ERR_OK;
}

static int complete_backend(struct config_work *work, size_t i)
{
    struct config_cache *cache = &work->config->caches[i];
    bool redis = work->config->redis.enabled;

    if (cache->backend == BACKEND_AUTO)
        cache->backend = redis ? BACKEND_LAYERED : BACKEND_MEMORY;
    if (cache->backend != BACKEND_MEMORY && !redis)
        return fault(work, SCOPE_CACHES, "backend", i,
                     "this backend needs a Redis, and redis.server is not set");
    if (cache->backup == BACKUP_AUTO)
        cache->backup = cache->backend == BACKEND_LAYERED ? BACKUP_MEMORY : BACKUP_NONE;
    cache->redis_prefix_set = given(work, SCOPE_CACHES, "redis_prefix", i);
    return ERR_OK;
}

/* The cache that claims this number; n_caches when none does. */
static size_t find_db(const struct config *config, int64_t db, size_t before)
{
    size_t i = 0;

    while (i < before && config->caches[i].resp_db != db)
        i++;
    return i;
}

static int complete_db(struct config_work *work)
{
    struct config *config = work->config;

    if (!given(work, SCOPE_CACHES, "resp_db", 0) &&
        find_db(config, 0, config->n_caches) == config->n_caches)
        config->caches[0].resp_db = 0;
    for (size_t i = 0; i < config->n_caches; i++) {
        int64_t db = config->caches[i].resp_db;
        size_t other = find_db(config, db, i);

        if (db >= 0 && other < i)
            return config_fault(work, SCOPE_CACHES, config_row_find(SCOPE_CACHES, "resp_db"), i,
                                "%lld is taken by the cache \"%s\"", (long long)db,
                                config->caches[other].name);
    }
    return ERR_OK;
}

static int check_value_limit(struct config_work *work)
{
    const struct config *config = work->config;
    const struct config_cache *smallest = &config->caches[0];
    char value[32];
    char share[32];

    for (size_t i = 1; i < config->n_caches; i++)
        if (config->caches[i].memory_bytes < smallest->memory_bytes)
            smallest = &config->caches[i];
    if (config->limits.value_bytes <= smallest->memory_bytes / VALUE_SHARE)
        return ERR_OK;
    units_format_size(config->limits.value_bytes, value);
    units_format_size(smallest->memory_bytes / VALUE_SHARE, share);
    return config_fault(work, SCOPE_LIMITS, config_row_find(SCOPE_LIMITS, "value"), 0,
                        "%s is above the maximum, %s (%llu bytes): an eighth of the memory of the "
                        "cache \"%s\"",
                        value, share, (unsigned long long)(smallest->memory_bytes / VALUE_SHARE),
                        smallest->name);
}

static int check_caches(struct config_work *work)
{
    int rc = ERR_OK;

    for (size_t i = 0; i < work->config->n_caches && rc == ERR_OK; i++) {
        rc = check_cache_name(work, i);
        if (rc == ERR_OK)
            rc = complete_backend(work, i);
    }
    if (rc == ERR_OK)
        rc = complete_db(work);
    if (rc == ERR_OK)
        rc = check_value_limit(work);
    return rc;
}

static int check_address(struct config_work *work, size_t i)
{
    const struct config_listener *listeners = work->config->listeners;
    struct addr addr;
    struct errmsg why;

    if (listeners[i].address[0] == '\0' && !given(work, SCOPE_LISTEN, "address", i))
        return fault(work, SCOPE_LISTEN, "address", i, "is missing");
    if (addr_parse(listeners[i].address, &addr, &why) != ERR_OK)
        return fault(work, SCOPE_LISTEN, "address", i, why.text);
    for (size_t j = 0; j < i; j++)
        if (strcmp(listeners[j].address, listeners[i].address) == 0)
            return config_fault(work, SCOPE_LISTEN, config_row_find(SCOPE_LISTEN, "address"), i,
                                "there are two listeners on %s", listeners[i].address);
    return ERR_OK;
}

/* mode, owner and group say who may open a unix socket; on TCP they would promise what is not so.
 */
static int check_unix_only(struct config_work *work, size_t i)
{
    static const char *const keys[] = {"mode", "owner", "group", "trust_users", "trust_as"};

    if (addr_unix_path(work->config->listeners[i].address) != NULL)
        return ERR_OK;
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
        if (given(work, SCOPE_LISTEN, keys[k], i))
            return fault(work, SCOPE_LISTEN, keys[k], i, "has a meaning on unix sockets only");
    return ERR_OK;
}

static int check_listener(struct config_work *work, size_t i)
{
    const struct config *config = work->config;
    const struct config_listener *listener = &config->listeners[i];
    int rc = check_address(work, i);

    if (rc == ERR_OK)
        rc = check_unix_only(work, i);
    if (rc == ERR_OK)
        rc = check_user(work, SCOPE_LISTEN, "owner", i, listener->owner);
    if (rc == ERR_OK)
        rc = check_group(work, SCOPE_LISTEN, "group", i, listener->group);
    if (rc == ERR_OK && find_cache(config, listener->cache, config->n_caches) == NULL)
        rc = config_fault(work, SCOPE_LISTEN, config_row_find(SCOPE_LISTEN, "cache"), i,
                          "there is no cache \"%s\"", listener->cache);
    if (rc == ERR_OK)
        rc = config_complete_trust(work, i);
    return rc;
}

/* Who the API answers to when there is no token; said here, since a refusal looks like a fault. */
static void warn_without_token(const struct config *config)
{
    if (config->api_token != NULL || config->n_users > 0)
        return;
    for (size_t i = 0; i < config->n_listeners; i++) {
        const struct config_listener *listener = &config->listeners[i];

        if (addr_unix_path(listener->address) != NULL || listener->protocol > PROTOCOL_HTTP ||
            listener->admin || (config->n_routes > 0 && listener->protocol == PROTOCOL_HTTP))
            continue;
        if (config->api_open)
            log_warn("the HTTP API on %s answers everyone on this machine and nobody else: no "
                     "configuration file, no api_token_file",
                     listener->address);
        else
            log_warn("the HTTP API on %s refuses every client until api_token_file is set",
                     listener->address);
    }
}

int config_complete(struct config_work *work)
{
    int rc;

    work->config->api_open = work->config->source == NULL;
    rc = check_top(work);
    if (rc == ERR_OK)
        rc = check_redis(work);
    if (rc == ERR_OK)
        rc = check_caches(work);
    if (rc == ERR_OK)
        rc = config_complete_users(work);
    for (size_t i = 0; i < work->config->n_listeners && rc == ERR_OK; i++)
        rc = check_listener(work, i);
    for (size_t i = 0; i < work->config->n_routes && rc == ERR_OK; i++)
        rc = config_check_route(work, i);
    if (rc == ERR_OK)
        warn_without_token(work->config);
    return rc;
}
