/* The schema table: every key of the configuration, once. See config.h for what is made from it. */
#include "common/config.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const protocols[] = {"auto", "http", "resp", "memcached", NULL};
static const char *const backends[] = {"auto", "memory", "redis", "layered", NULL};
static const char *const backups[] = {"auto", "none", "memory", NULL};
static const char *const balances[] = {"round_robin", "least_connections", "hash", NULL};
static const char *const targets[] = {"origin", "api", "admin", "answer", NULL};
static const char *const adapters[] = {"none", "redis", NULL};

#define TOP(key, kind, field)                                                                      \
    .scope = SCOPE_TOP, .name = (key), .type = (kind), .offset = offsetof(struct config, field)
#define LIMIT(key, kind, field)                                                                    \
    .scope = SCOPE_LIMITS, .name = (key), .type = (kind),                                          \
    .offset = offsetof(struct config_limits, field)
#define REDIS(key, kind, field)                                                                    \
    .scope = SCOPE_REDIS, .name = (key), .type = (kind),                                           \
    .offset = offsetof(struct config_redis, field)
#define LISTEN(key, kind, field)                                                                   \
    .scope = SCOPE_LISTEN, .name = (key), .type = (kind),                                          \
    .offset = offsetof(struct config_listener, field)
#define USER(key, kind, field)                                                                     \
    .scope = SCOPE_USERS, .name = (key), .type = (kind),                                           \
    .offset = offsetof(struct config_user, field)
#define CACHE(key, kind, field)                                                                    \
    .scope = SCOPE_CACHES, .name = (key), .type = (kind),                                          \
    .offset = offsetof(struct config_cache, field)

#define ROUTE(key, kind, field)                                                                    \
    .scope = SCOPE_ROUTES, .name = (key), .type = (kind),                                          \
    .offset = offsetof(struct config_route, field)
#define ROUTE_LIST(key, field, n_field)                                                            \
    ROUTE(key, CONFIG_STRINGS, field), .fallback = "",                                             \
                                       .count_offset = offsetof(struct config_route, n_field)

static const struct config_row rows[] = {
    {TOP("user", CONFIG_STRING, user), .fallback = "",
     .text = "The user that the workers run as. Empty: the one that started the daemon."},
    {TOP("group", CONFIG_STRING, group), .fallback = "",
     .text = "The group that the workers run as. Empty: the user's own group."},
    {TOP("workers", CONFIG_INT, workers), .fallback = "0", .max = CONFIG_MAX_WORKERS,
     .unit = "processes", .text = "Worker processes. 0: one for each processor that is online."},
    {TOP("pid_file", CONFIG_STRING, pid_file), .fallback = "",
     .text = "Where the master writes its process id. Empty: nowhere."},
    {TOP("log_file", CONFIG_STRING, log_file), .fallback = "",
     .text = "Where the log goes. Empty: standard error."},
    {TOP("log_level", CONFIG_STRING, log_level), .fallback = "info", .choices = log_levels,
     .text = "The least important messages that are logged. error: someone must act; warn: "
             "something is degraded and goes on; info: starts, stops and changes of state; debug: "
             "each unusual event."},
    {TOP("access_log", CONFIG_STRING, access_log), .fallback = "",
     .text = "Where the site's requests are logged, a line each; USR1 opens the file anew. "
             "\"stderr\": to standard error; \"syslog\": to the system's log, at /dev/log, or "
             "\"syslog:PATH\". Empty: nowhere."},
    {TOP("access_log_format", CONFIG_STRING, access_log_format),
     .fallback = "$time $peer \"$method $target $protocol\" $host $status $bytes $ms \"$cache\" "
                 "$origin $origin_ms \"$referer\" \"$agent\"",
     .text = "What such a line says: $time, $peer, $method, $target, $protocol, $host, $status, "
             "$bytes (of the body), $ms (from the request's head to the end of the response), "
             "$cache (Cache-Status), $origin and $origin_ms (until its response began), $referer, "
             "$agent. Bytes that are not printable ASCII, quotes and backslashes appear as \\xHH."},
    {TOP("access_log_sample", CONFIG_INT, access_log_sample), .fallback = "1", .min = 1,
     .max = 1000000, .unit = "requests", .text = "Log one in so many requests."},
    {TOP("trusted_proxies", CONFIG_STRINGS, trusted_proxies), .fallback = "",
     .max = CONFIG_MAX_NAMES, .unit = "addresses",
     .count_offset = offsetof(struct config, n_trusted_proxies),
     .text = "Addresses and nets (\"10.0.0.0/8\", \"::1\") of proxies in front of a site: their "
             "X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed and passed on. "
             "Clients of a unix socket are trusted likewise, nobody else."},
    {TOP("huge_pages", CONFIG_BOOL, huge_pages), .fallback = "false",
     .text = "Keep the caches in pages of 2 MiB: reads of a large cache get faster. Where the "
             "kernel does not give them, the log says so and the caches are in ordinary ones."},
    {TOP("mlock", CONFIG_BOOL, mlock), .fallback = "false",
     .text =
         "Never let the caches be swapped out. Needs a limit on locked memory (ulimit -l, "
         "LimitMEMLOCK=) of at least all caches together; otherwise the daemon does not start."},
    {TOP("sweep_interval", CONFIG_TIME, sweep_interval_ms), .fallback = "100ms", .min = 10,
     .max = MINUTE, .unit = "ms",
     .text = "How often memory held by expired entries is looked for. Expiry itself is exact: an "
             "expired entry is never served, swept or not."},
    {TOP("respawn_min", CONFIG_TIME, respawn_min_ms), .fallback = "50ms", .min = 1, .max = MINUTE,
     .unit = "ms",
     .text =
         "The wait before a worker that died is started again. It doubles each time the new one "
         "dies soon too, up to respawn_max."},
    {TOP("respawn_max", CONFIG_TIME, respawn_max_ms), .fallback = "5s", .min = 1, .max = HOUR,
     .unit = "ms", .text = "The longest wait before a worker is started again."},
    {TOP("databases", CONFIG_INT, databases), .fallback = "16", .min = 1, .max = 32,
     .unit = "keyspaces",
     .text = "SELECT n of the Redis protocol takes numbers below this one. A number that is no "
             "cache's resp_db is an isolated keyspace in the memory of the listener's cache."},
    {TOP("api_token_file", CONFIG_STRING, api_token_file), .fallback = "",
     .text =
         "A file with the token that the HTTP API asks for on TCP (Authorization: Bearer TOKEN). "
         "Empty: no token, and then the API refuses TCP clients. Unix sockets need none: their "
         "mode decides who may connect."},
    {TOP("api_hosts", CONFIG_STRINGS, api_hosts), .fallback = "", .max = CONFIG_MAX_HOSTS,
     .unit = "names", .count_offset = offsetof(struct config, n_api_hosts),
     .text = "Host names that the HTTP API answers to, beside IP addresses and localhost. Requests "
             "with any other Host are refused, so that no web page can reach the API by a name of "
             "its own."},

    {LIMIT("connections", CONFIG_INT, connections), .fallback = "4096", .min = 8, .max = 1000000,
     .unit = "connections", .text = "Open client connections of one worker."},
    {LIMIT("connections_per_address", CONFIG_INT, connections_per_address), .fallback = "0",
     .max = 1000000, .unit = "connections",
     .text = "Open connections of one worker that one address may have; of IPv6, one /64. 0: no "
             "limit. Trusted proxies (trusted_proxies) and unix sockets are not counted."},
    {LIMIT("connection_rate", CONFIG_INT, connection_rate), .fallback = "0", .max = 1000000,
     .unit = "connections a second",
     .text = "How fast such an address may open connections to one worker, over a longer time. 0: "
             "no limit."},
    {LIMIT("connection_burst", CONFIG_INT, connection_burst), .fallback = "100", .min = 1,
     .max = 1000000, .unit = "connections",
     .text = "How many it may open at once, where connection_rate is set."},
    {LIMIT("key", CONFIG_SIZE, key_bytes), .fallback = "1K", .min = 1, .max = 65535,
     .unit = "bytes", .text = "The longest key."},
    {LIMIT("value", CONFIG_SIZE, value_bytes), .fallback = "0", .max = TIB / 8, .unit = "bytes",
     .text = "The largest value. 0: an eighth of its cache's memory, which is always the most that "
             "fits; other values may be at most an eighth of the smallest cache's memory."},
    {LIMIT("resp_args", CONFIG_INT, resp_args), .fallback = "65536", .min = 16, .max = 1048576,
     .unit = "arguments", .text = "Arguments of one RESP command, its name included."},
    {LIMIT("resp_inline", CONFIG_SIZE, resp_inline_bytes), .fallback = "64K", .min = 64, .max = MIB,
     .unit = "bytes", .text = "The longest line of an inline RESP command."},
    {LIMIT("memcached_line", CONFIG_SIZE, memcached_line_bytes), .fallback = "64K", .min = 1024,
     .max = MIB, .unit = "bytes", .text = "The longest line of a memcached command."},
    {LIMIT("http_line", CONFIG_SIZE, http_line_bytes), .fallback = "8K", .min = 256, .max = MIB,
     .unit = "bytes", .text = "The longest HTTP request line."},
    {LIMIT("http_header", CONFIG_SIZE, http_header_bytes), .fallback = "32K", .min = KIB,
     .max = MIB, .unit = "bytes", .text = "All header fields of one HTTP request together."},
    {LIMIT("http_header_count", CONFIG_INT, http_header_count), .fallback = "100", .min = 8,
     .max = 10000, .unit = "fields", .text = "Header fields of one HTTP request."},
    {LIMIT("http_body", CONFIG_SIZE, http_body_bytes), .fallback = "1G", .min = KIB, .max = TIB,
     .unit = "bytes",
     .text = "The largest body of an HTTP request that is passed on to an origin. It is streamed, "
             "never held as a whole."},
    {LIMIT("pipeline", CONFIG_SIZE, pipeline_bytes), .fallback = "1M", .min = 4 * KIB, .max = GIB,
     .unit = "bytes",
     .text = "How much of one connection's pipelined requests is handled before the other "
             "connections get their turn."},
    {LIMIT("transaction", CONFIG_SIZE, transaction_bytes), .fallback = "16M", .min = KIB,
     .max = GIB, .unit = "bytes",
     .text = "What one RESP connection may have queued between MULTI and EXEC, and watched."},
    {LIMIT("pipeline_pending", CONFIG_INT, pipeline_pending), .fallback = "1024", .min = 1,
     .max = 1000000, .unit = "requests",
     .text = "Unanswered requests of one connection. Reading from it pauses when there are more."},
    {LIMIT("output", CONFIG_SIZE, output_bytes), .fallback = "64M", .min = 64 * KIB, .max = TIB,
     .unit = "bytes",
     .text = "Replies that a client has not read yet. A client that leaves more is disconnected."},
    {LIMIT("leases", CONFIG_INT, leases), .fallback = "1024", .min = 1, .max = 1000000,
     .unit = "leases",
     .text = "Leases of CACHETASTIC.FETCH that one connection holds and has not ended."},
    {LIMIT("fetch_wait", CONFIG_TIME, fetch_wait_ms), .fallback = "1m", .max = HOUR, .unit = "ms",
     .text = "The longest that a fetch may wait for another's computation. One that does not say "
             "waits 5 s, or so long where that is less."},
    {LIMIT("fetch_lease", CONFIG_TIME, fetch_lease_ms), .fallback = "10m", .min = 1, .max = DAY,
     .unit = "ms",
     .text = "The longest that a computation may take: its lease ends then, and another may begin. "
             "One that does not say may take 10 s, or so long where that is less. Also the longest "
             "time after a failed one in which nobody is to try again."},
    {LIMIT("fetch_stale", CONFIG_TIME, fetch_stale_ms), .fallback = "1d", .max = 30 * DAY,
     .unit = "ms",
     .text = "The longest that a value is kept beyond its expiry for fetches that take it stale."},
    {LIMIT("idle_timeout", CONFIG_TIME, idle_timeout_ms), .fallback = "0", .max = 365 * DAY,
     .unit = "ms",
     .text =
         "A connection without a request for this long is closed. 0: never, since clients' pools "
         "hold connections for days."},
    {LIMIT("tunnels", CONFIG_INT, tunnels), .fallback = "1024", .max = 1000000,
     .unit = "connections",
     .text = "Connections of one worker that have switched to another protocol (routes.upgrade). "
             "Further ones are refused with 503."},
    {LIMIT("http_stall", CONFIG_TIME, http_stall_ms), .fallback = "30s", .min = 100, .max = DAY,
     .unit = "ms",
     .text = "How long a client of a site may take nothing of its response, or send nothing of its "
             "request's body, before its connection is closed."},
    {LIMIT("http_idle", CONFIG_TIME, http_idle_ms), .fallback = "75s", .max = 365 * DAY,
     .unit = "ms",
     .text = "How long a site's connection may be open between two requests. 0: for ever."},
    {LIMIT("header_timeout", CONFIG_TIME, header_timeout_ms), .fallback = "10s", .min = 100,
     .max = HOUR, .unit = "ms",
     .text = "How long an HTTP client may take from the first byte of a request to the end of its "
             "header fields."},
    {LIMIT("drain_timeout", CONFIG_TIME, drain_timeout_ms), .fallback = "30s", .min = 100,
     .max = DAY, .unit = "ms",
     .text = "How long a graceful stop (QUIT) waits for open requests before it ends them."},

    {REDIS("server", CONFIG_STRING, server), .fallback = "",
     .text =
         "The Redis behind the caches, as \"HOST:PORT\" or \"unix:PATH\". Empty: none, and every "
         "cache is in this machine's memory alone."},
    {REDIS("db", CONFIG_INT, db), .fallback = "0", .max = 65535,
     .text = "The number of the Redis database."},
    {REDIS("user", CONFIG_STRING, user), .fallback = "",
     .text = "The Redis user (ACL) to log in as. Empty: the default user."},
    {REDIS("password_file", CONFIG_STRING, password_file), .fallback = "",
     .text = "A file with the Redis password. Empty: the environment variable "
             "CACHETASTIC_REDIS_PASSWORD where it is set, otherwise no password. Passwords do not "
             "stand in this file."},
    {REDIS("prefix", CONFIG_STRING, prefix), .fallback = "cachetastic",
     .text =
         "What the keys in Redis begin with: PREFIX:KEY for the cache default, PREFIX:@CACHE:KEY "
         "for the others. Empty: the keys as they are; clear then needs allow_clear."},
    {REDIS("allow_clear", CONFIG_BOOL, allow_clear), .fallback = "false",
     .text =
         "Whether clear, and a purge of the pattern *, may remove keys in Redis where the prefix "
         "is empty: they would take every key of the database, other programs' keys too."},
    {REDIS("pool_size", CONFIG_INT, pool_size), .fallback = "4", .min = 1, .max = 256,
     .unit = "connections", .text = "Connections to Redis of each worker. Commands are pipelined."},
    {REDIS("connect_timeout", CONFIG_TIME, connect_timeout_ms), .fallback = "1s", .min = 10,
     .max = 5 * MINUTE, .unit = "ms", .text = "How long connecting to Redis may take."},
    {REDIS("command_timeout", CONFIG_TIME, command_timeout_ms), .fallback = "1s", .min = 10,
     .max = 5 * MINUTE, .unit = "ms",
     .text = "How long Redis may take to answer a command. Its connection is closed then."},
    {REDIS("attempts", CONFIG_INT, attempts), .fallback = "3", .min = 1, .max = 100,
     .unit = "attempts",
     .text = "How often one command is tried, the first time included, while its deadline lasts."},
    {REDIS("retry_delay", CONFIG_TIME, retry_delay_ms), .fallback = "50ms", .min = 1, .max = MINUTE,
     .unit = "ms",
     .text = "The wait before the second attempt. It doubles with each further one, with jitter."},
    {REDIS("deadline", CONFIG_TIME, deadline_ms), .fallback = "3s", .min = 10, .max = 10 * MINUTE,
     .unit = "ms",
     .text = "All attempts of one request together. After that the request fails or, for plain "
             "reads, puts and deletes, the cache's backup answers."},
    {REDIS("reconnect_min", CONFIG_TIME, reconnect_min_ms), .fallback = "100ms", .min = 1,
     .max = MINUTE, .unit = "ms",
     .text =
         "The wait before a lost connection is opened again. It doubles with each failure, with "
         "jitter, up to reconnect_max."},
    {REDIS("reconnect_max", CONFIG_TIME, reconnect_max_ms), .fallback = "5s", .min = 1, .max = HOUR,
     .unit = "ms", .text = "The longest wait before a connection is opened again."},
    {REDIS("own_connections", CONFIG_INT, own_connections), .fallback = "1024", .min = 1,
     .max = 1000000, .unit = "connections",
     .text =
         "Clients of one worker that have a connection of their own to Redis: those in MULTI, "
         "WATCH, a command that blocks, or with subscriptions there. Further ones are refused."},
    {REDIS("queue", CONFIG_INT, queue_max), .fallback = "10000", .min = 1, .max = 10000000,
     .unit = "commands",
     .text = "Commands of one worker that wait for Redis. Further ones are refused at once."},
    {REDIS("breaker_failures", CONFIG_INT, breaker_failures), .fallback = "5", .min = 1,
     .max = 1000000, .unit = "failures",
     .text = "Failures in a row after which nobody on this machine waits for Redis any more."},
    {REDIS("breaker_open", CONFIG_TIME, breaker_open_ms), .fallback = "1s", .min = 10, .max = HOUR,
     .unit = "ms", .text = "How long that lasts before one command tries Redis again."},
    {REDIS("invalidation", CONFIG_ENUM, invalidation), .fallback = "redis", .max = ADAPTER_REDIS,
     .choices = adapters,
     .text =
         "How other machines learn of changes. redis: by messages on a Redis channel; none: not "
         "at all, entries live here until they expire."},
    {REDIS("channel", CONFIG_STRING, channel), .fallback = "cachetastic:invalidate",
     .text = "The channel of those messages. All machines that share data use the same one."},
    {REDIS("tracking", CONFIG_BOOL, tracking), .fallback = "false",
     .text =
         "Whether Redis reports every key that changes, whoever changes it (CLIENT TRACKING, Redis "
         "6): then a write by a client that knows nothing of cachetastic is seen here at once. Own "
         "writes are reported too, so a value is read back from Redis once after each put."},
    {REDIS("journal_entries", CONFIG_INT, journal_entries), .fallback = "65536", .min = 1024,
     .max = 16777216, .unit = "keys",
     .text = "How many keys are remembered whose last write to Redis has an unknown outcome. When "
             "they do not suffice, what Redis holds is not trusted until the cache was cleared."},
    {REDIS("loss_window", CONFIG_TIME, loss_window_ms), .fallback = "60s", .max = HOUR,
     .unit = "ms",
     .text = "How far back acknowledged writes are taken as lost when Redis fails over or restarts "
             "from an older state: they are removed there before they are read again. 0: Redis is "
             "believed."},
    {REDIS("settle", CONFIG_TIME, settle_ms), .fallback = "2s", .max = MINUTE, .unit = "ms",
     .text = "How long nothing is read from Redis after such a failover or restart, so that other "
             "machines have time to remove what they had written."},

    {LISTEN("address", CONFIG_STRING, address), .example = "unix:run/cachetastic.sock",
     .text = "Where to listen: \"IP:PORT\", \"[IPv6]:PORT\" or \"unix:PATH\". Required."},
    {LISTEN("protocol", CONFIG_ENUM, protocol), .fallback = "auto", .max = PROTOCOL_MEMCACHED,
     .choices = protocols,
     .text = "What is spoken here. auto: each connection's first bytes decide."},
    {LISTEN("cache", CONFIG_STRING, cache), .fallback = "default",
     .text = "The named cache that RESP clients start in."},
    {LISTEN("mode", CONFIG_MODE, mode), .fallback = "0660", .max = 07777,
     .text = "The file mode of a unix socket: who may connect."},
    {LISTEN("owner", CONFIG_STRING, owner), .fallback = "",
     .text = "The owner of a unix socket. Empty: the user that started the daemon."},
    {LISTEN("group", CONFIG_STRING, group), .fallback = "",
     .text = "The group of a unix socket. Empty: the group that started the daemon."},
    {LISTEN("trust_users", CONFIG_STRINGS, trust_users), .fallback = "", .max = CONFIG_MAX_USERS,
     .unit = "users", .count_offset = offsetof(struct config_listener, n_trust_users),
     .text = "Users of this machine, by name or number, whose connections to a unix socket need no "
             "password; *: everyone who may connect. They are the user trust_as."},
    {LISTEN("trust_as", CONFIG_STRING, trust_as), .fallback = "default",
     .text = "The name in users that trusted connections have."},
    {LISTEN("backlog", CONFIG_INT, backlog), .fallback = "1024", .min = 1, .max = 65535,
     .unit = "connections",
     .text = "Connections that wait to be accepted. The kernel's own limit (net.core.somaxconn) "
             "holds too."},
    {LISTEN("proxy_protocol", CONFIG_BOOL, proxy_protocol), .fallback = "false",
     .text =
         "Whether each connection begins with a PROXY header, version 1 or 2, that says whom it "
         "is from. Only trusted_proxies and unix sockets may say so; connections of others, "
         "and without one, are closed."},
    {LISTEN("admin", CONFIG_BOOL, admin), .fallback = "false",
     .text = "Whether the HTTP API answers clients of this machine here without a token, "
             "statistics reset, "
             "purge and clear included."},

    {CACHE("name", CONFIG_STRING, name), .example = "default",
     .text = "The cache's name: 1 to 63 letters, digits, dots, dashes and underscores. Required."},
    {CACHE("memory", CONFIG_SIZE, memory_bytes), .fallback = "256M", .min = 4 * MIB, .max = TIB,
     .unit = "bytes",
     .text = "The memory that this cache may use, everything included. When it is full, older "
             "entries make room."},
    {CACHE("size_credit", CONFIG_BOOL, size_credit), .fallback = "true",
     .text =
         "Whether a full cache keeps small entries more easily than large ones: more hits where "
         "sizes differ much. Entries of one size are not affected."},
    {CACHE("ttl", CONFIG_TIME, ttl_ms), .fallback = "0", .max = 3650 * DAY, .unit = "ms",
     .text = "How long entries live that were stored by HTTP without a time of their own. 0: until "
             "they are evicted. RESP clients' entries live as long as they say."},
    {CACHE("ttl_jitter", CONFIG_INT, ttl_jitter), .fallback = "0", .max = 90, .unit = "percent",
     .text =
         "Let each entry that is stored with an expiry end earlier by up to this part of its time, "
         "at random, so that what was stored together does not run out together."},
    {CACHE("backend", CONFIG_ENUM, backend), .fallback = "auto", .max = BACKEND_LAYERED,
     .choices = backends,
     .text = "memory: this machine alone; redis: Redis alone; layered: memory in front of Redis. "
             "auto: layered where redis.server is set, otherwise memory."},
    {CACHE("backup", CONFIG_ENUM, backup), .fallback = "auto", .max = BACKUP_MEMORY,
     .choices = backups,
     .text =
         "What plain reads, puts and deletes fall back to while Redis is down. auto: memory for "
         "layered, otherwise none."},
    {CACHE("redis_prefix", CONFIG_STRING, redis_prefix), .fallback = "", .example = "cachetastic",
     .text =
         "What this cache's keys in Redis begin with, instead of what redis.prefix and its name "
         "make: PREFIX:KEY. When it is given and empty, the keys as they are; clear then needs "
         "redis.allow_clear. Caches with the same one share their keys and are cleared "
         "together."},
    {CACHE("resp_db", CONFIG_INT, resp_db), .fallback = "-1", .min = -1, .max = 9999,
     .example = "0",
     .text = "The number by which RESP clients reach this cache with SELECT; unique. -1: none. The "
             "cache default has 0 unless it says otherwise or another cache has it."},
    {CACHE("direct", CONFIG_BOOL, direct), .fallback = "false",
     .text = "Whether local clients that use libcachetastic (the PHP extension, the Python module) "
             "may map this cache's memory read-only, so that a hit costs no system call. They see "
             "every entry of it. Only over a unix socket."},
    {CACHE("direct_users", CONFIG_STRINGS, direct_users), .fallback = "", .max = CONFIG_MAX_USERS,
     .unit = "users", .count_offset = offsetof(struct config_cache, n_direct_users),
     .text = "The users, by name or number, who may map it. Empty: everyone who may connect to the "
             "socket."},
    {CACHE("direct_trust", CONFIG_BOOL, direct_trust), .fallback = "false",
     .text = "Whether also processes of the user that the memory belongs to (the one that started "
             "the daemon) and of users unknown to this user namespace may map it. They could open "
             "it for writing and damage the cache."},

    {ROUTE("host", CONFIG_STRING, host), .fallback = "",
     .text = "The host names this route is for: a glob in lower case, such as \"*.example.com\". "
             "Empty: every host."},
    {ROUTE("path", CONFIG_STRING, path), .fallback = "/",
     .text =
         "The paths this route is for: what they begin with, or, where there is a * or ? in it, "
         "a glob for the whole path."},
    {ROUTE("target", CONFIG_ENUM, target), .fallback = "origin", .max = TARGET_ANSWER,
     .choices = targets,
     .text = "Who answers. origin: the servers of the application, through the cache; api: the "
             "key-value API, statistics and metrics, for users and holders of the API's token; "
             "admin: the same, and for clients of this machine without either, unless a proxy "
             "passed their request on; answer: the route itself."},
    {ROUTE("answer_status", CONFIG_INT, answer_status), .fallback = "200", .min = 200, .max = 599,
     .text = "The status of the answer of target = \"answer\"."},
    {ROUTE("answer_type", CONFIG_STRING, answer_type), .fallback = "text/plain; charset=utf-8",
     .text = "The Content-Type of that answer. Empty: none."},
    {ROUTE("answer_body", CONFIG_STRING, answer_body), .fallback = "",
     .text = "The body of that answer. Further fields, a Location for example, come from "
             "set_response."},
    {ROUTE_LIST("methods", methods, n_methods), .max = CONFIG_MAX_NAMES, .unit = "methods",
     .text = "The request methods that the route takes; others are answered with 405. Empty: "
             "all."},
    {ROUTE_LIST("origin", origins, n_origins), .max = CONFIG_MAX_ORIGINS, .unit = "servers",
     .example = "http://127.0.0.1:3000",
     .text = "The servers of the application: \"http://HOST:PORT\", \"https://HOST:PORT\" or "
             "\"unix:PATH\". At least "
             "one, unless the target is another. Names are looked up again every 30 seconds."},
    {ROUTE("balance", CONFIG_ENUM, balance), .fallback = "round_robin", .max = BALANCE_HASH,
     .choices = balances,
     .text = "Which of several servers gets a request: each in turn, the one with the fewest open "
             "requests, or always the same one for the same page."},
    {ROUTE("cache", CONFIG_STRING, cache), .fallback = "http",
     .text =
         "The named cache for the pages. \"http\" is made when it is not in the list caches: in "
         "memory alone, with the defaults."},
    {ROUTE("host_header", CONFIG_STRING, host_header), .fallback = "",
     .text = "The Host that the origin is told. Empty: the client's own."},
    {ROUTE("ttl", CONFIG_TIME, ttl_ms), .fallback = "0", .max = 3650 * DAY, .unit = "ms",
     .text = "How long a response that may be stored is fresh, whatever it says itself. 0: as it "
             "says."},
    {ROUTE("ttl_max", CONFIG_TIME, ttl_max_ms), .fallback = "0", .max = 3650 * DAY, .unit = "ms",
     .text = "The longest time that a response is fresh. 0: no limit."},
    {ROUTE("grace", CONFIG_TIME, grace_ms), .fallback = "1h", .max = 3650 * DAY, .unit = "ms",
     .text =
         "How long a page is kept beyond its time: to be revalidated, and to be served while no "
         "server of the origin can be reached, unless its response forbids that."},
    {ROUTE("stale_if_error", CONFIG_TIME, stale_if_error_ms), .fallback = "0", .max = 3650 * DAY,
     .unit = "ms",
     .text = "How long beyond its time a page is served when the origin answers with 500, 502, 503 "
             "or 504, where its response does not say so itself (RFC 5861). At most grace."},
    {ROUTE_LIST("status_ttl", status_ttl, n_status_ttl), .max = CONFIG_MAX_NAMES, .unit = "rules",
     .text = "How long responses of some statuses are fresh that do not say so themselves: \"404 "
             "410: 10s\", \"5xx: 1s\". The first rule that fits counts; 0: not stored."},
    {ROUTE_LIST("ignore_headers", ignore_headers, n_ignore_headers), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Response fields (globs) that are dropped as they come, as if the origin had not sent "
             "them: Cache-Control, Set-Cookie or Vary of an application that says too much."},
    {ROUTE("pass_ttl", CONFIG_TIME, pass_ttl_ms), .fallback = "10s", .max = HOUR, .unit = "ms",
     .text =
         "How long it is remembered that a page cannot be cached, so that requests for it do not "
         "wait for each other."},
    {ROUTE("lease_wait", CONFIG_TIME, lease_wait_ms), .fallback = "5s", .max = 10 * MINUTE,
     .unit = "ms",
     .text =
         "How long a request waits for another worker that fetches the same page. After that it "
         "goes to the origin itself."},
    {ROUTE("max_object", CONFIG_SIZE, object_bytes), .fallback = "8M", .min = KIB, .max = TIB / 8,
     .unit = "bytes",
     .text = "The largest response that is stored; an eighth of the cache's memory is the most in "
             "any case. Larger ones are passed on as they come."},
    {ROUTE("parts", CONFIG_BOOL, parts), .fallback = "true",
     .text = "Whether a request for a range of a page that is not stored asks the origin for that "
             "range alone; parts with the same strong ETag are put together. Otherwise the whole "
             "page is fetched."},
    {ROUTE("store_set_cookie", CONFIG_BOOL, store_set_cookie), .fallback = "false",
     .text =
         "Whether a response with Set-Cookie may be stored, and given to other clients with that "
         "cookie."},
    {ROUTE("honor_client", CONFIG_BOOL, honor_client), .fallback = "false",
     .text = "Whether a client's own Cache-Control and Pragma count (no-cache, max-age and so on). "
             "only-if-cached always does."},
    {ROUTE("tag_header", CONFIG_STRING, tag_header), .fallback = "Surrogate-Key",
     .text = "The response field whose words are the page's tags, to purge by; it is not sent to "
             "clients. Commas or blanks stand between them. Empty: none."},
    {ROUTE_LIST("bypass_cookies", bypass_cookies, n_bypass_cookies), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Requests with one of these cookies (globs) go to the origin and are not cached: a "
             "session's cookie, for example."},
    {ROUTE_LIST("bypass_headers", bypass_headers, n_bypass_headers), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Likewise requests with one of these header fields (globs): Authorization, for "
             "example."},
    {ROUTE_LIST("bypass_query", bypass_query, n_bypass_query), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Likewise requests with one of these query parameters (globs): \"preview\"."},
    {ROUTE_LIST("key_query", key_query, n_key_query), .max = CONFIG_MAX_NAMES, .unit = "names",
     .text = "The query parameters (globs) that make a page another one. Empty: all. Others are "
             "still passed on."},
    {ROUTE_LIST("ignore_query", ignore_query, n_ignore_query), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text =
         "Query parameters (globs, such as \"utm_*\") that do not make a page another one. They "
         "are still passed on."},
    {ROUTE("sort_query", CONFIG_BOOL, sort_query), .fallback = "false",
     .text = "Whether the order of the query parameters does not matter."},
    {ROUTE_LIST("key_headers", key_headers, n_key_headers), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text =
         "Request header fields that make a page another one, as if every response named them in "
         "Vary."},
    {ROUTE_LIST("key_cookies", key_cookies, n_key_cookies), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Cookies whose values make a page another one: a language, for example."},
    {ROUTE_LIST("set_request", set_request, n_set_request), .max = CONFIG_MAX_NAMES,
     .unit = "fields",
     .text = "Header fields of the request to the origin, \"Name: value\", in place of the "
             "client's of that name."},
    {ROUTE_LIST("remove_request", remove_request, n_remove_request), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Header fields (globs) that the origin does not get. Without Cookie and Authorization "
             "it cannot answer one client alone, and its responses are stored accordingly."},
    {ROUTE_LIST("set_response", set_response, n_set_response), .max = CONFIG_MAX_NAMES,
     .unit = "fields",
     .text = "Header fields of the response to the client, \"Name: value\", in place of the "
             "origin's of that name. They do not change what is stored."},
    {ROUTE_LIST("remove_response", remove_response, n_remove_response), .max = CONFIG_MAX_NAMES,
     .unit = "names",
     .text = "Header fields (globs) of the response that the client does not get. What they say of "
             "caching holds here."},
    {ROUTE("tls_verify", CONFIG_BOOL, tls_verify), .fallback = "true",
     .text = "Whether the certificate of an https server must be good for its name."},
    {ROUTE("tls_ca_file", CONFIG_STRING, tls_ca_file), .fallback = "",
     .text = "A file with the certificates (PEM) of the authorities that are believed about https "
             "servers. Empty: the system's."},
    {ROUTE("tls_name", CONFIG_STRING, tls_name), .fallback = "",
     .text = "The name that https servers are asked for (SNI) and whose certificate they must "
             "show. Empty: the one in their address."},
    {ROUTE("connect_timeout", CONFIG_TIME, connect_timeout_ms), .fallback = "2s", .min = 10,
     .max = 5 * MINUTE, .unit = "ms",
     .text = "How long connecting to a server may take, TLS included."},
    {ROUTE("first_byte_timeout", CONFIG_TIME, first_byte_timeout_ms), .fallback = "30s", .min = 10,
     .max = HOUR, .unit = "ms", .text = "How long a server may take to begin its response."},
    {ROUTE("idle_timeout", CONFIG_TIME, idle_timeout_ms), .fallback = "30s", .min = 10, .max = HOUR,
     .unit = "ms", .text = "How long a server may pause within its response."},
    {ROUTE("upgrade", CONFIG_STRING, upgrade), .fallback = "websocket",
     .text = "The protocol that clients may switch to by Upgrade: what the client and the server "
             "say from then on is passed on as it is. Empty: none."},
    {ROUTE("tunnel_idle", CONFIG_TIME, tunnel_idle_ms), .fallback = "5m", .min = 10, .max = 7 * DAY,
     .unit = "ms",
     .text = "How long neither of them may say anything then, before the connection is closed."},
    {ROUTE("keepalive", CONFIG_INT, keepalive), .fallback = "32", .max = 10000,
     .unit = "connections", .text = "Idle connections that each worker keeps open to each server."},
    {ROUTE("keepalive_timeout", CONFIG_TIME, keepalive_timeout_ms), .fallback = "50s", .min = 10,
     .max = HOUR, .unit = "ms", .text = "How long such a connection is kept."},
    {ROUTE("fail_count", CONFIG_INT, fail_count), .fallback = "3", .min = 1, .max = 10000,
     .unit = "failures",
     .text = "Failures in a row, of whatever workers, after which a server is left out."},
    {ROUTE("fail_timeout", CONFIG_TIME, fail_timeout_ms), .fallback = "1s", .min = 10, .max = HOUR,
     .unit = "ms", .text = "How long such a server is left out; then one request tries it again."},
    {ROUTE("health_path", CONFIG_STRING, health_path), .fallback = "",
     .text = "A path that is asked for on every server all the time, by one worker for all; one "
             "that does not answer with a "
             "status below 400 is left out until it does. Empty: no such checks."},
    {ROUTE("health_interval", CONFIG_TIME, health_interval_ms), .fallback = "2s", .min = 100,
     .max = HOUR, .unit = "ms", .text = "The time between those checks."},
    {ROUTE("health_timeout", CONFIG_TIME, health_timeout_ms), .fallback = "2s", .min = 10,
     .max = HOUR, .unit = "ms", .text = "How long such a check may take."},

    {USER("name", CONFIG_STRING, name), .example = "app",
     .text =
         "The name that clients log in by. Required. RESP clients that send a password alone are "
         "the user \"default\"."},
    {USER("password_sha256", CONFIG_STRING, password_sha256), .fallback = "",
     .text = "The SHA-256 digest of the password, 64 hex digits, as Redis' ACL has it: printf "
             "%s PASSWORD | sha256sum. Take a long random password: there is no salt."},
    {USER("password_file", CONFIG_STRING, password_file), .fallback = "",
     .text = "A file with the password instead. With neither, nobody can log in by this name, and "
             "only trusted peers (listen.trust_users) have it."},
    {USER("rights", CONFIG_STRINGS, grants), .fallback = "", .max = CONFIG_MAX_GRANTS,
     .unit = "grants", .count_offset = offsetof(struct config_user, n_grants),
     .text =
         "What the user may: \"CACHE: right right\", with * for every cache. read; write; purge "
         "(clear, purge); admin (reset of statistics, check); all. Together they add up."},
};

const struct config_row *config_schema(size_t *n_rows)
{
    *n_rows = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const char *config_scope_name(enum config_scope scope)
{
    static const char *const names[] = {
        [SCOPE_TOP] = "",          [SCOPE_LIMITS] = "limits", [SCOPE_REDIS] = "redis",
        [SCOPE_LISTEN] = "listen", [SCOPE_CACHES] = "caches", [SCOPE_ROUTES] = "routes",
        [SCOPE_USERS] = "users",
    };

    return names[scope];
}
