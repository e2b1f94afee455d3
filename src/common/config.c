/* Loading: defaults, then the file, then flags, then the checks. */
#include "common/config.h"

#include "common/addr.h"
#include "common/config_parts.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FILE   SYSCONFDIR "/cachetastic/cachetastic.conf"
#define DEFAULT_HTTP   "127.0.0.1:8080"
#define DEFAULT_ADMIN  "127.0.0.1:8081"
#define DEFAULT_SOCKET "unix:run/cachetastic.sock"

const struct config_row *config_row_find(enum config_scope scope, const char *name)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    for (size_t i = 0; i < n_rows; i++)
        if (rows[i].scope == scope && strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

void *config_base(struct config *config, enum config_scope scope, size_t element)
{
    switch (scope) {
    case SCOPE_LIMITS:
        return &config->limits;
    case SCOPE_REDIS:
        return &config->redis;
    case SCOPE_LISTEN:
        return &config->listeners[element];
    case SCOPE_CACHES:
        return &config->caches[element];
    case SCOPE_ROUTES:
        return &config->routes[element];
    case SCOPE_USERS:
        return &config->users[element];
    default:
        return config;
    }
}

bool config_scope_is_list(enum config_scope scope)
{
    return scope >= SCOPE_LISTEN;
}

size_t *config_count(struct config *config, enum config_scope scope, size_t *limit)
{
    switch (scope) {
    case SCOPE_LISTEN:
        *limit = CONFIG_MAX_LISTENERS;
        return &config->n_listeners;
    case SCOPE_CACHES:
        *limit = CONFIG_MAX_CACHES;
        return &config->n_caches;
    case SCOPE_USERS:
        *limit = CONFIG_MAX_USERS;
        return &config->n_users;
    default:
        *limit = CONFIG_MAX_ROUTES;
        return &config->n_routes;
    }
}

struct config_place *config_place(struct config_work *work, const struct config_row *row,
                                  size_t element)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    return &work->places[element * n_rows + (size_t)(row - rows)];
}

struct config_place *config_element_place(struct config_work *work, enum config_scope scope,
                                          size_t element)
{
    return &work->elements[scope - SCOPE_LISTEN][element];
}

struct config_key config_key(enum config_scope scope, const struct config_row *row)
{
    const char *name = row == NULL ? "" : row->name;
    const char *group = config_scope_name(scope);
    struct config_key key;

    snprintf(key.text, sizeof(key.text), "%s%s%s", group,
             group[0] != '\0' && name[0] != '\0' ? "." : "", name);
    return key;
}

static int fault(struct config_work *work, struct config_place place, const char *key,
                 const char *fmt, va_list args)
{
    char sentence[400];
    char where[256] = "";

    vsnprintf(sentence, sizeof(sentence), fmt, args);
    if (place.file != NULL && place.line != 0)
        snprintf(where, sizeof(where), "%s:%u: ", place.file, place.line);
    else if (place.file != NULL)
        snprintf(where, sizeof(where), "%s: ", place.file);
    return err_set(work->msg, ERR_INVALID, "%s%s%s%s", where, key, key[0] == '\0' ? "" : ": ",
                   sentence);
}

int config_fault_at(struct config_work *work, struct config_place place, const char *key,
                    const char *fmt, ...)
{
    va_list args;
    int rc;

    va_start(args, fmt);
    rc = fault(work, place, key, fmt, args);
    va_end(args);
    return rc;
}

int config_fault(struct config_work *work, enum config_scope scope, const struct config_row *row,
                 size_t element, const char *fmt, ...)
{
    struct config_key key = config_key(scope, row);
    struct config_place place = {0};
    va_list args;
    int rc;

    if (row != NULL)
        place = *config_place(work, row, element);
    if (place.file == NULL && config_scope_is_list(scope))
        place = *config_element_place(work, scope, element);
    if (place.file == NULL)
        place.file = work->config->source;
    va_start(args, fmt);
    rc = fault(work, place, key.text, fmt, args);
    va_end(args);
    return rc;
}

static int set_defaults(enum config_scope scope, void *base, struct errmsg *msg)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);
    int rc;

    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].scope != scope)
            continue;
        rc = config_set_text(&rows[i], base, rows[i].fallback == NULL ? "" : rows[i].fallback, msg);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

int config_add(struct config_work *work, enum config_scope scope)
{
    struct config *config = work->config;
    size_t limit;
    size_t *count = config_count(config, scope, &limit);

    if (*count == limit)
        return ERR_LIMIT;
    ++*count;
    return set_defaults(scope, config_base(config, scope, *count - 1), work->msg);
}

static int start_work(struct config_work *work)
{
    size_t n_rows;
    int rc;

    (void)config_schema(&n_rows);
    work->config = calloc(1, sizeof(*work->config));
    work->places = calloc(n_rows * CONFIG_MAX_ELEMENTS, sizeof(*work->places));
    if (work->config == NULL || work->places == NULL)
        return ERR_NOMEM;
    rc = set_defaults(SCOPE_TOP, work->config, work->msg);
    if (rc == ERR_OK)
        rc = set_defaults(SCOPE_LIMITS, &work->config->limits, work->msg);
    if (rc == ERR_OK)
        rc = set_defaults(SCOPE_REDIS, &work->config->redis, work->msg);
    return rc;
}

static bool any_flag(const struct config_flags *f)
{
    return f->http != NULL || f->socket != NULL || f->redis != NULL || f->redis_prefix != NULL ||
           f->admin != NULL || f->origin != NULL || f->memory != NULL || f->workers != NULL;
}

static const char *choose_file(const struct config_flags *flags)
{
    if (flags->file != NULL)
        return flags->file;
    return !any_flag(flags) && access(DEFAULT_FILE, F_OK) == 0 ? DEFAULT_FILE : NULL;
}

/* One value from a flag, under the flag's name. */
static int set_flag(struct config_work *work, const char *flag, enum config_scope scope,
                    size_t element, const char *key, const char *text)
{
    const struct config_row *row = config_row_find(scope, key);
    struct config_place place = {.file = flag};
    struct errmsg why;
    int rc;

    rc = config_set_text(row, config_base(work->config, scope, element), text, &why);
    if (rc == ERR_INVALID)
        return config_fault_at(work, place, "", "%s", why.text);
    *config_place(work, row, element) = place;
    return rc;
}

/* A new listener that a flag, or nobody (flag NULL), asked for. */
static int add_listener(struct config_work *work, const char *flag, const char *address,
                        enum config_protocol protocol)
{
    size_t i = work->config->n_listeners;
    int rc = config_add(work, SCOPE_LISTEN);

    if (rc == ERR_LIMIT)
        return config_fault_at(work, (struct config_place){.file = flag}, "",
                               "more than the maximum, %d listeners", CONFIG_MAX_LISTENERS);
    if (rc != ERR_OK)
        return rc;
    config_element_place(work, SCOPE_LISTEN, i)->file = flag;
    work->config->listeners[i].protocol = protocol;
    return set_flag(work, flag, SCOPE_LISTEN, i, "address", address);
}

static int add_default_listeners(struct config_work *work)
{
    int rc;

    if (work->config->n_listeners > 0)
        return ERR_OK;
    rc = add_listener(work, NULL, DEFAULT_SOCKET, PROTOCOL_AUTO);
    if (rc == ERR_OK)
        rc = add_listener(work, NULL, DEFAULT_HTTP, PROTOCOL_HTTP);
    return rc;
}

/* The first unix listener, or the first TCP listener that serves HTTP to everyone. */
static size_t find_listener(const struct config *config, bool is_unix)
{
    size_t i;

    for (i = 0; i < config->n_listeners; i++) {
        const struct config_listener *listener = &config->listeners[i];

        if ((addr_unix_path(listener->address) != NULL) != is_unix)
            continue;
        if (is_unix || (listener->protocol <= PROTOCOL_HTTP && !listener->admin))
            break;
    }
    return i;
}

static int apply_listener_flag(struct config_work *work, const char *flag, const char *address)
{
    bool is_unix = strcmp(flag, "--socket") == 0;
    size_t i = find_listener(work->config, is_unix);

    if (i == work->config->n_listeners)
        return add_listener(work, flag, address, is_unix ? PROTOCOL_AUTO : PROTOCOL_HTTP);
    return set_flag(work, flag, SCOPE_LISTEN, i, "address", address);
}

static int apply_socket_flag(struct config_work *work, const char *path)
{
    char address[256];

    if (snprintf(address, sizeof(address), "unix:%s", path) >= (int)sizeof(address))
        return config_fault_at(work, (struct config_place){.file = "--socket"}, "",
                               "the path is longer than a unix socket's may be");
    return apply_listener_flag(work, "--socket", address);
}

static int apply_tcp_flag(struct config_work *work, const char *flag, const char *address)
{
    int rc;

    if (addr_unix_path(address) != NULL)
        return config_fault_at(work, (struct config_place){.file = flag}, "",
                               "\"%s\" is no ADDR:PORT; a unix socket is given by --socket PATH",
                               address);
    if (flag != NULL && strcmp(flag, "--http") == 0)
        return apply_listener_flag(work, flag, address);
    rc = add_listener(work, flag, address, PROTOCOL_HTTP);
    if (rc == ERR_OK)
        work->config->listeners[work->config->n_listeners - 1].admin = true;
    return rc;
}

/* A route for everything. */
static int apply_origin_flag(struct config_work *work, const char *url)
{
    const struct config_row *row = config_row_find(SCOPE_ROUTES, "origin");
    size_t i = work->config->n_routes;
    struct errmsg why;
    int rc = config_add(work, SCOPE_ROUTES);

    if (rc == ERR_LIMIT)
        return config_fault_at(work, (struct config_place){.file = "--origin"}, "",
                               "more than the maximum, %d routes", CONFIG_MAX_ROUTES);
    if (rc != ERR_OK)
        return rc;
    config_element_place(work, SCOPE_ROUTES, i)->file = "--origin";
    config_place(work, row, i)->file = "--origin";
    rc = config_add_string(row, &work->config->routes[i], url, &why);
    return rc == ERR_INVALID ? config_fault_at(work, (struct config_place){.file = "--origin"}, "",
                                               "%s", why.text)
                             : rc;
}

/* The site has the HTTP listeners: the API needs one of its own. Only where nobody wrote listeners.
 */
static int add_default_admin(struct config_work *work)
{
    for (size_t i = 0; i < work->config->n_listeners; i++)
        if (work->config->listeners[i].admin)
            return ERR_OK;
    return apply_tcp_flag(work, NULL, DEFAULT_ADMIN);
}

/* The cache of routes that name none: shared memory alone, also where there is a Redis. */
static int add_http_cache(struct config_work *work)
{
    static const char name[] = "http";
    struct config *config = work->config;
    bool wanted = false;
    size_t i;
    int rc;

    for (i = 0; i < config->n_routes; i++)
        wanted = wanted || strcmp(config->routes[i].cache, name) == 0;
    for (i = 0; i < config->n_caches; i++)
        wanted = wanted && strcmp(config->caches[i].name, name) != 0;
    if (!wanted)
        return ERR_OK;
    rc = config_add(work, SCOPE_CACHES);
    if (rc == ERR_LIMIT)
        return err_set(work->msg, ERR_INVALID,
                       "%s: caches: more than the maximum, %d caches (\"http\" counts too)",
                       config->source, CONFIG_MAX_CACHES);
    if (rc == ERR_OK)
        rc = config_set_text(config_row_find(SCOPE_CACHES, "name"), &config->caches[i], name,
                             work->msg);
    config->caches[i].backend = BACKEND_MEMORY;
    return rc;
}

/* The size of the cache that matters: "default", and "http" where there is a site. */
static int apply_memory_flag(struct config_work *work, const char *memory)
{
    struct config *config = work->config;
    int rc = set_flag(work, "--memory", SCOPE_CACHES, 0, "memory", memory);

    for (size_t i = 1; i < config->n_caches && rc == ERR_OK; i++)
        if (config->n_routes > 0 && strcmp(config->caches[i].name, "http") == 0)
            rc = set_flag(work, "--memory", SCOPE_CACHES, i, "memory", memory);
    return rc;
}

/* Listeners and caches exist by now: the file's, or the defaults. */
static int apply_flags(struct config_work *work, const struct config_flags *f)
{
    int rc = ERR_OK;

    if (f->origin != NULL)
        rc = apply_origin_flag(work, f->origin);
    if (rc == ERR_OK)
        rc = add_http_cache(work);
    if (rc == ERR_OK && f->http != NULL)
        rc = apply_tcp_flag(work, "--http", f->http);
    if (rc == ERR_OK && f->socket != NULL)
        rc = apply_socket_flag(work, f->socket);
    if (rc == ERR_OK && f->admin != NULL)
        rc = apply_tcp_flag(work, "--admin", f->admin);
    if (rc == ERR_OK && f->redis != NULL)
        rc = set_flag(work, "--redis", SCOPE_REDIS, 0, "server", f->redis);
    if (rc == ERR_OK && f->redis_prefix != NULL)
        rc = set_flag(work, "--redis-prefix", SCOPE_REDIS, 0, "prefix", f->redis_prefix);
    if (rc == ERR_OK && f->memory != NULL)
        rc = apply_memory_flag(work, f->memory);
    if (rc == ERR_OK && f->workers != NULL)
        rc = set_flag(work, "--workers", SCOPE_TOP, 0, "workers", f->workers);
    return rc;
}

/* Exchange two caches and what is known about their origin. */
static void swap_caches(struct config_work *work, size_t a, size_t b)
{
    struct config_cache *caches = work->config->caches;
    struct config_place *places = work->elements[SCOPE_CACHES - SCOPE_LISTEN];
    struct config_cache cache = caches[a];
    struct config_place place = places[a];
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);

    caches[a] = caches[b];
    caches[b] = cache;
    places[a] = places[b];
    places[b] = place;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].scope != SCOPE_CACHES)
            continue;
        place = *config_place(work, &rows[i], a);
        *config_place(work, &rows[i], a) = *config_place(work, &rows[i], b);
        *config_place(work, &rows[i], b) = place;
    }
}

/* The cache "default" becomes number 0; the others keep their order. */
static int put_default_first(struct config_work *work)
{
    struct config *config = work->config;
    size_t i = 0;
    int rc;

    while (i < config->n_caches && strcmp(config->caches[i].name, "default") != 0)
        i++;
    if (i == config->n_caches) {
        rc = config_add(work, SCOPE_CACHES);
        if (rc == ERR_LIMIT)
            return err_set(work->msg, ERR_INVALID,
                           "%s: caches: more than the maximum, %d caches (\"default\" counts too)",
                           config->source, CONFIG_MAX_CACHES);
        if (rc == ERR_OK)
            rc = config_set_text(config_row_find(SCOPE_CACHES, "name"), &config->caches[i],
                                 "default", work->msg);
        if (rc != ERR_OK)
            return rc;
    }
    for (; i > 0; i--)
        swap_caches(work, i, i - 1);
    return ERR_OK;
}

static int load(struct config_work *work, const struct config_flags *flags)
{
    const char *file = choose_file(flags);
    int rc = start_work(work);
    bool listens;

    if (rc == ERR_OK && file != NULL)
        rc = config_file_read(work, file);
    listens = work->config != NULL && work->config->n_listeners > 0;
    if (rc == ERR_OK)
        rc = add_default_listeners(work);
    if (rc == ERR_OK)
        rc = put_default_first(work);
    if (rc == ERR_OK)
        rc = apply_flags(work, flags);
    if (rc == ERR_OK && !listens && work->config->n_routes > 0)
        rc = add_default_admin(work);
    if (rc == ERR_OK)
        rc = config_complete(work);
    return rc;
}

int config_load(const struct config_flags *flags, struct config **out, struct errmsg *msg)
{
    struct config_work work = {.msg = msg};
    int rc = load(&work, flags);

    config_file_close(work.file);
    free(work.places);
    if (rc == ERR_OK) {
        *out = work.config;
        return ERR_OK;
    }
    config_free(work.config);
    return rc == ERR_NOMEM ? err_set(msg, ERR_NOMEM, "no memory for the configuration") : rc;
}

/* Secrets do not stay in freed memory. */
static void free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    config_clear_values(SCOPE_TOP, config);
    config_clear_values(SCOPE_REDIS, &config->redis);
    for (size_t i = 0; i < config->n_listeners; i++)
        config_clear_values(SCOPE_LISTEN, &config->listeners[i]);
    for (size_t i = 0; i < config->n_caches; i++)
        config_clear_values(SCOPE_CACHES, &config->caches[i]);
    for (size_t i = 0; i < config->n_routes; i++)
        config_clear_values(SCOPE_ROUTES, &config->routes[i]);
    for (size_t i = 0; i < config->n_users; i++)
        config_clear_values(SCOPE_USERS, &config->users[i]);
    free_secret(config->redis.password);
    free_secret(config->api_token);
    free(config->source);
    free(config);
}
