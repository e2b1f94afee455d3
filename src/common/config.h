/* The effective configuration: one plain struct, filled from built-in defaults, a libconfig file
 * and flags, in that order. Every key is one row of one schema table (config_schema()): the reader,
 * --dump-config, conf/cachetastic.conf and cachetastic.conf(5) all come from, or are checked
 * against, that table. Immutable after config_load(); workers inherit it through fork.
 *
 * Units in the struct: bytes, milliseconds, file modes as numbers.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_MAX_CACHES    64
#define CONFIG_MAX_LISTENERS 32
#define CONFIG_MAX_WORKERS   62
#define CONFIG_MAX_HOSTS     32
#define CONFIG_MAX_USERS     32
#define CONFIG_MAX_ROUTES    64
#define CONFIG_MAX_ORIGINS   16 /* servers of one route */
#define CONFIG_MAX_NAMES     32 /* header fields, cookies, parameters that a route names */
#define CONFIG_MAX_GRANTS    CONFIG_MAX_CACHES
#define CONFIG_DIGEST_BYTES  32

enum config_backend { BACKEND_AUTO, BACKEND_MEMORY, BACKEND_REDIS, BACKEND_LAYERED };
enum config_backup { BACKUP_AUTO, BACKUP_NONE, BACKUP_MEMORY };
enum config_protocol { PROTOCOL_AUTO, PROTOCOL_HTTP, PROTOCOL_RESP, PROTOCOL_MEMCACHED };
enum config_adapter { ADAPTER_NONE, ADAPTER_REDIS };

/* listen = ( { address = "127.0.0.1:8080"; ... }, ... ) */
struct config_listener {
    char *address; /* "IP:PORT", "[IPv6]:PORT" or "unix:PATH" */
    enum config_protocol protocol;
    char *cache;   /* the named cache its RESP and memcached clients start in */
    uint32_t mode; /* unix sockets only */
    char *owner;   /* user name, "" leaves it */
    char *group;
    int64_t backlog;
    char *trust_users[CONFIG_MAX_USERS]; /* unix sockets: peers that need no password */
    size_t n_trust_users;
    char *trust_as;                        /* the user that they are */
    uint32_t trust_uids[CONFIG_MAX_USERS]; /* from trust_users */
    size_t n_trust_uids;
    bool trust_everyone;
    bool proxy_protocol; /* connections begin with a PROXY header */
    bool admin;          /* also serves reset, purge and clear without a token (local admin) */
};

/* caches = ( { name = "default"; memory = "256M"; ... }, ... ) */
struct config_cache {
    char *name;
    uint64_t memory_bytes;
    int64_t ttl_jitter;                   /* percent by which an expiry may come earlier */
    uint64_t ttl_ms;                      /* for HTTP and library puts that name none; 0 = none */
    enum config_backend backend;          /* never BACKEND_AUTO after config_load() */
    enum config_backup backup;            /* never BACKUP_AUTO after config_load() */
    char *redis_prefix;                   /* "" = the global one and this cache's name */
    bool size_credit;                     /* small entries are kept more easily than large ones */
    bool redis_prefix_set;                /* redis_prefix was given: the key is redis_prefix:KEY */
    int64_t resp_db;                      /* SELECT n reaches this cache; -1 = none */
    bool direct;                          /* local clients may map it read-only */
    bool direct_trust;                    /* likewise those with the uid of the memory's owner */
    char *direct_users[CONFIG_MAX_USERS]; /* names or numbers; none: whoever may connect */
    size_t n_direct_users;
};

enum config_target { TARGET_ORIGIN, TARGET_API, TARGET_ADMIN, TARGET_ANSWER };
enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS, BALANCE_HASH };

/* routes = ( { origin = [ "http://127.0.0.1:3000" ]; ... }, ... ): the HTTP caching tier. */
struct config_route {
    char *host; /* glob, in lower case; "" = every host */
    char *path; /* a prefix, or a glob where it has a '*' or '?' */
    enum config_target target;
    int64_t answer_status;
    char *answer_type; /* "" = none */
    char *answer_body;
    char *methods[CONFIG_MAX_NAMES]; /* none: all */
    size_t n_methods;
    char *origins[CONFIG_MAX_ORIGINS];
    size_t n_origins;
    enum config_balance balance;
    char *cache;
    char *host_header; /* sent to the origin; "" = the client's */
    uint64_t ttl_ms, ttl_max_ms, grace_ms, stale_if_error_ms, pass_ttl_ms, lease_wait_ms;
    uint64_t object_bytes;
    bool parts; /* of pages are asked for, and stored */
    bool store_set_cookie, honor_client;
    char *tag_header;
    char *bypass_cookies[CONFIG_MAX_NAMES];
    size_t n_bypass_cookies;
    char *bypass_headers[CONFIG_MAX_NAMES];
    size_t n_bypass_headers;
    char *bypass_query[CONFIG_MAX_NAMES];
    size_t n_bypass_query;
    char *key_query[CONFIG_MAX_NAMES]; /* none: all parameters count */
    size_t n_key_query;
    char *ignore_query[CONFIG_MAX_NAMES];
    size_t n_ignore_query;
    bool sort_query;
    char *key_headers[CONFIG_MAX_NAMES];
    size_t n_key_headers;
    char *key_cookies[CONFIG_MAX_NAMES];
    size_t n_key_cookies;
    char *status_ttl[CONFIG_MAX_NAMES]; /* "404 5xx: 10s": common/routerule.h */
    size_t n_status_ttl;
    char *ignore_headers[CONFIG_MAX_NAMES]; /* of responses */
    size_t n_ignore_headers;
    char *set_request[CONFIG_MAX_NAMES]; /* "Name: value" */
    size_t n_set_request;
    char *remove_request[CONFIG_MAX_NAMES];
    size_t n_remove_request;
    char *set_response[CONFIG_MAX_NAMES];
    size_t n_set_response;
    char *remove_response[CONFIG_MAX_NAMES];
    size_t n_remove_response;
    bool tls_verify;
    char *tls_ca_file; /* "" = the system's authorities */
    char *tls_name;    /* "" = the host's */
    uint64_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms;
    char *upgrade; /* "" = none */
    uint64_t tunnel_idle_ms;
    int64_t keepalive; /* idle connections to each server, per worker */
    uint64_t keepalive_timeout_ms, fail_timeout_ms;
    int64_t fail_count;
    char *health_path;
    uint64_t health_interval_ms, health_timeout_ms;
};

/* users = ( { name = "app"; password_sha256 = "..."; rights = [ "default: read write" ]; }, ... ).
 * See common/auth.h. */
struct config_user {
    char *name;
    char *password_sha256; /* masked in dumps */
    char *password_file;
    char *grants[CONFIG_MAX_GRANTS]; /* "CACHE: right ...", the key is rights */
    size_t n_grants;
    bool has_password; /* without one it can be a trusted peer only */
    unsigned char digest[CONFIG_DIGEST_BYTES];
    uint8_t rights[CONFIG_MAX_CACHES]; /* enum auth_right, by the cache's number */
};

struct config_redis {
    bool enabled; /* a server is configured */
    char *server; /* "HOST:PORT" or "unix:PATH"; "" = no Redis */
    int64_t db;
    char *user;
    char *password; /* from password_file or CACHETASTIC_REDIS_PASSWORD; masked in dumps */
    char *password_file;
    char *prefix;      /* key_prefix; "" is explicit: redis.prefix = "" */
    bool prefix_empty; /* the prefix was set to "" on purpose */
    bool allow_clear;  /* with an empty prefix: clear and the pattern "*" may take the whole db */
    int64_t pool_size; /* connections per worker */
    uint64_t connect_timeout_ms;
    uint64_t command_timeout_ms;
    int64_t attempts;          /* tries of one command inside its deadline, the first included */
    uint64_t retry_delay_ms;   /* before the second try; doubles, with jitter */
    uint64_t deadline_ms;      /* all tries of one request together */
    uint64_t reconnect_min_ms; /* back-off between connection attempts */
    uint64_t reconnect_max_ms;
    int64_t own_connections;   /* of single clients, per worker (pass-through) */
    int64_t queue_max;         /* commands waiting per worker; beyond: an overload error */
    uint64_t breaker_failures; /* consecutive failures that open the breaker */
    uint64_t breaker_open_ms;  /* how long it stays open before one probe */
    enum config_adapter invalidation;
    char *channel;           /* "cachetastic:invalidate" */
    bool tracking;           /* changes by clients that know nothing of us are heard of too */
    int64_t journal_entries; /* keys whose outcome in Redis is unknown, per host */
    uint64_t loss_window_ms;
    uint64_t settle_ms; /* after a failover or restart: other machines remove what they wrote */
};

struct config_limits {
    int64_t connections; /* per worker */
    int64_t connections_per_address, connection_rate, connection_burst;
    uint64_t key_bytes;
    uint64_t value_bytes; /* 0 = an eighth of the cache's memory, which is always the cap */
    int64_t resp_args;    /* arguments of one command */
    uint64_t resp_inline_bytes;
    uint64_t memcached_line_bytes; /* of a text command */
    uint64_t http_line_bytes;      /* request line */
    uint64_t http_header_bytes;
    int64_t http_header_count;
    uint64_t http_body_bytes;   /* of a request to an origin */
    uint64_t pipeline_bytes;    /* parsed from one connection in one loop turn */
    uint64_t transaction_bytes; /* queued by MULTI and watched, of one connection */
    int64_t pipeline_pending;   /* unfinished commands of one connection */
    uint64_t output_bytes;      /* unsent replies; beyond, a slow reader is dropped */
    int64_t leases;             /* of cache_fetch() that one connection holds */
    uint64_t fetch_wait_ms;     /* the most that a fetch may ask for */
    uint64_t fetch_lease_ms;
    uint64_t fetch_stale_ms;
    uint64_t idle_timeout_ms;   /* 0 = off: pools hold connections for days */
    int64_t tunnels;            /* per worker */
    uint64_t http_stall_ms;     /* a site's client that takes, or sends, nothing */
    uint64_t http_idle_ms;      /* 0 = off */
    uint64_t header_timeout_ms; /* an HTTP request's headers must be complete by then */
    uint64_t drain_timeout_ms;  /* QUIT waits at most this long */
};

struct config {
    char *user; /* workers run as; "" keeps the master's */
    char *group;
    int64_t workers; /* never 0 after config_load() */
    char *pid_file;
    char *log_file; /* "" = stderr */
    char *log_level;
    char *access_log; /* of the site; "" = none */
    char *access_log_format;
    int64_t access_log_sample;
    char *trusted_proxies[CONFIG_MAX_NAMES];
    size_t n_trusted_proxies;
    bool huge_pages;
    bool mlock;
    int64_t databases; /* SELECT takes numbers below */
    uint64_t sweep_interval_ms;
    uint64_t respawn_min_ms;
    uint64_t respawn_max_ms;
    char *api_token; /* from api_token_file; NULL = none */
    char *api_token_file;
    char *api_hosts[CONFIG_MAX_HOSTS]; /* Host names the API answers to, beside IPs and localhost */
    size_t n_api_hosts;
    bool api_open; /* started by flags alone: the API needs no token on loopback */
    struct config_limits limits;
    struct config_redis redis;
    struct config_listener listeners[CONFIG_MAX_LISTENERS];
    size_t n_listeners;
    struct config_cache caches[CONFIG_MAX_CACHES]; /* [0] is always "default" */
    size_t n_caches;
    struct config_route routes[CONFIG_MAX_ROUTES]; /* none: the HTTP listeners serve the API */
    size_t n_routes;
    struct config_user users[CONFIG_MAX_USERS];
    size_t n_users; /* 0: nobody has to log in */
    char *source;   /* the file read, or NULL when the built-in defaults were used */
};

enum config_type {
    CONFIG_STRING,
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_SIZE,
    CONFIG_TIME,
    CONFIG_MODE,
    CONFIG_ENUM,
    CONFIG_STRINGS,
};
/* Where a row's key stands: at the top, in a group, or in each element of a list of groups. */
enum config_scope {
    SCOPE_TOP,
    SCOPE_LIMITS,
    SCOPE_REDIS,
    SCOPE_LISTEN,
    SCOPE_CACHES,
    SCOPE_ROUTES,
    SCOPE_USERS,
};
#define SCOPE_LAST  SCOPE_USERS
#define SCOPE_LISTS (SCOPE_LAST - SCOPE_LISTEN + 1) /* scopes that are lists of groups */

struct config_row {
    enum config_scope scope;
    const char *name;
    enum config_type type;
    const char *fallback; /* the default, as the file would write it, without the quotes; NULL: the
                             key is required */
    int64_t min;          /* in the struct's unit; unused for strings */
    int64_t max;
    const char *unit;    /* "bytes", "ms", "", ... for people */
    bool reloadable;     /* HUP applies a change; otherwise it needs a restart */
    size_t offset;       /* in the scope's struct */
    size_t count_offset; /* CONFIG_STRINGS: of the size_t that counts them; max is their limit */
    const char *const *choices; /* CONFIG_ENUM: names in enum order; CONFIG_STRING: what it may be,
                                   or NULL; NULL-terminated */
    const char *example; /* what the sample file writes where that is not the default; or NULL */
    const char *text;    /* one or two sentences: the manual page's and the sample's text */
};

/* The table and its length. Static storage. */
const struct config_row *config_schema(size_t *n_rows);

/* What the command line changes; NULL leaves the file's or the default value. */
struct config_flags {
    const char *file;
    const char *http;         /* ADDR:PORT, replaces the default HTTP listener */
    const char *socket;       /* PATH, replaces the default unix listener */
    const char *redis;        /* HOST:PORT or unix:PATH */
    const char *redis_prefix; /* "" is explicit */
    const char *admin;        /* ADDR:PORT */
    const char *origin;       /* URL: a route for everything */
    const char *memory;       /* SIZE of the cache default */
    const char *workers;      /* N */
};

/* Read, check and complete the configuration: defaults, then the file, then flags.
 * Without flags->file, SYSCONFDIR/cachetastic/cachetastic.conf is read when it exists and no flag
 * is given. out: owned by the caller, freed by config_free(), filled only on ERR_OK. Errors:
 * ERR_INVALID with "FILE:LINE: KEY: what is wrong" in msg; ERR_SYSTEM when a file cannot be read;
 * ERR_NOMEM. What is allowed but unwise is logged as a warning. */
int config_load(const struct config_flags *flags, struct config **out,
                struct errmsg *msg) MUST_CHECK;
void config_free(struct config *config);

/* A scope's name in the file: "limits", "redis", "listen", "caches", "routes"; "" for the top.
 * Static storage. */
const char *config_scope_name(enum config_scope scope);

/* Print the effective configuration as a valid file; secrets are masked. */
int config_dump(const struct config *config, FILE *out) MUST_CHECK;

/* Print the schema as the commented sample file (conf/cachetastic.conf) or as mdoc for the manual.
 */
int config_print_sample(FILE *out) MUST_CHECK;
int config_print_manual(FILE *out) MUST_CHECK;

#endif
