/* INFO and CONFIG: what clients read to learn whom they talk to. */
#include "worker/command.h"

#include "config.h"

#include "common/auth.h"
#include "common/clock.h"
#include "common/glob.h"
#include "common/units.h"
#include "shm/table.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- CONFIG ---- */

/* The settings that clients and redis-benchmark ask for, as Redis would have them. */
static void config_get(struct call *call)
{
    char memory[24] = "", databases[24] = "";
    const struct slice pairs[][2] = {
        {SLICE_LIT("maxmemory"), slice_cstr(memory)},
        {SLICE_LIT("maxmemory-policy"), slice_cstr(cache_memory_policy(call->cache))},
        {SLICE_LIT("save"), SLICE_LIT("")},
        {SLICE_LIT("appendonly"), SLICE_LIT("no")},
        {SLICE_LIT("databases"), slice_cstr(databases)},
        {SLICE_LIT("timeout"), SLICE_LIT("0")},
    };
    size_t n = sizeof(pairs) / sizeof(pairs[0]);
    bool wanted[sizeof(pairs) / sizeof(pairs[0])] = {false};
    size_t found = 0;

    snprintf(memory, sizeof(memory), "%llu",
             (unsigned long long)cache_config(call->cache)->memory_bytes);
    snprintf(databases, sizeof(databases), "%lld",
             (long long)call->conn->worker->heritage->config->databases);
    for (size_t i = 0; i < n; i++) {
        for (int arg = 2; arg < call->argc && !wanted[i]; arg++)
            wanted[i] = slice_ieq(call->argv[arg], pairs[i][0].data) ||
                        glob_match(call->argv[arg], pairs[i][0]);
        found += wanted[i];
    }
    (void)!resp_map(call->out, found, call->session->version);
    for (size_t i = 0; i < n; i++) {
        if (!wanted[i])
            continue;
        reply_bulk(call->out, pairs[i][0]);
        reply_bulk(call->out, slice_cstr(pairs[i][1].data));
    }
}

static void config_resetstat(struct call *call)
{
    if (!command_may(call, AUTH_ADMIN))
        return;
    cache_stats_reset(call->cache);
    reply_ok(call->out);
}

static void config_refuse(struct call *call)
{
    reply_error(call->out, "ERR settings are read from the configuration file only");
}

void cmd_config(struct call *call)
{
    static const struct subcommand table[] = {
        {"GET", -3, config_get},
        {"RESETSTAT", 2, config_resetstat},
        {"SET", -4, config_refuse},
        {"REWRITE", 2, config_refuse},
    };

    command_sub(call, table, sizeof(table) / sizeof(table[0]));
}

/* ---- INFO ---- */

static int info_server(struct call *call, struct buf *text)
{
    const struct worker *worker = call->conn->worker;
    const struct heritage *heritage = worker->heritage;
    uint64_t up_s = (clock_wall_ms() - heritage->board->started_wall_ms) / 1000;

    return buf_printf(
        text,
        "# Server\r\nredis_version:" SERVER_VERSION "\r\nserver_name:cachetastic\r\n"
        "cachetastic_version:%s\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:%d\r\n"
        "multiplexing_api:epoll\r\nprocess_id:%d\r\nrun_id:%s\r\nworker:%u\r\n"
        "server_time_usec:%llu\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\n",
        PACKAGE_VERSION, (int)(8 * sizeof(void *)), (int)getpid(), heritage->node_id, worker->slot,
        (unsigned long long)clock_wall_ms() * 1000, (unsigned long long)up_s,
        (unsigned long long)up_s / 86400);
}

static int info_clients(struct call *call, struct buf *text)
{
    const struct heritage *heritage = call->conn->worker->heritage;
    unsigned long connected = 0;

    for (uint32_t i = 0; i < heritage->board->n_slots; i++)
        connected += atomic_load(&heritage->board->slots[i].connections);
    return buf_printf(text,
                      "# Clients\r\nconnected_clients:%lu\r\nmaxclients:%lld\r\n"
                      "blocked_clients:0\r\n",
                      connected,
                      (long long)heritage->config->limits.connections * heritage->board->n_slots);
}

static int info_memory(struct call *call, struct buf *text)
{
    struct cache_stats stats;
    char used[32], most[32];

    cache_stats(call->cache, &stats);
    units_format_size(stats.bytes, used);
    units_format_size(stats.memory.size_bytes, most);
    return buf_printf(text,
                      "# Memory\r\nused_memory:%llu\r\nused_memory_human:%s\r\n"
                      "used_memory_dataset:%llu\r\nmaxmemory:%llu\r\nmaxmemory_human:%s\r\n"
                      "maxmemory_policy:%s\r\n",
                      (unsigned long long)stats.bytes, used, (unsigned long long)stats.bytes,
                      (unsigned long long)stats.memory.size_bytes, most,
                      cache_memory_policy(call->cache));
}

/* Nothing is kept on a disk; clients that wait for the end of a save see none under way. */
static int info_persistence(struct call *call, struct buf *text)
{
    (void)call;
    return buf_printf(text, "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:0\r\n"
                            "aof_enabled:0\r\naof_rewrite_in_progress:0\r\n");
}

static void count_board(const struct scoreboard *board, uint64_t *accepted, uint64_t *requests)
{
    *accepted = *requests = 0;
    for (uint32_t i = 0; i < board->n_slots; i++) {
        *accepted += atomic_load(&board->slots[i].accepted);
        *requests += atomic_load(&board->slots[i].requests);
    }
}

static int info_stats(struct call *call, struct buf *text)
{
    struct cache_stats stats;
    uint64_t accepted, requests;
    int rc;

    cache_stats(call->cache, &stats);
    count_board(call->conn->worker->heritage->board, &accepted, &requests);
    rc = buf_printf(text,
                    "# Stats\r\ntotal_connections_received:%llu\r\n"
                    "total_commands_processed:%llu\r\nkeyspace_hits:%llu\r\n"
                    "keyspace_misses:%llu\r\nevicted_keys:%llu\r\nexpired_keys:%llu\r\n",
                    (unsigned long long)accepted, (unsigned long long)requests,
                    (unsigned long long)stats.counter[STAT_HITS],
                    (unsigned long long)stats.counter[STAT_MISSES],
                    (unsigned long long)stats.counter[STAT_EVICTIONS],
                    (unsigned long long)stats.counter[STAT_EXPIRATIONS]);
    if (rc == ERR_OK)
        rc = buf_printf(text, "cachetastic_events_dropped:%llu\r\n",
                        (unsigned long long)atomic_load_explicit(
                            &call->conn->worker->heritage->events->dropped, memory_order_relaxed));
    for (int i = 0; rc == ERR_OK && i < STAT_COUNT; i++)
        rc = buf_printf(text, "cachetastic_%s:%llu\r\n", stat_name((enum counter)i),
                        (unsigned long long)stats.counter[i]);
    return rc;
}

static int info_replication(struct call *call, struct buf *text)
{
    (void)call;
    return buf_printf(text, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static int info_cpu(struct call *call, struct buf *text)
{
    struct rusage use;

    (void)call;
    if (getrusage(RUSAGE_SELF, &use) != 0)
        return ERR_OK;
    return buf_printf(text, "# CPU\r\nused_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
                      (long)use.ru_stime.tv_sec, (long)use.ru_stime.tv_usec,
                      (long)use.ru_utime.tv_sec, (long)use.ru_utime.tv_usec);
}

static int info_cluster(struct call *call, struct buf *text)
{
    (void)call;
    return buf_printf(text, "# Cluster\r\ncluster_enabled:0\r\n");
}

static int info_keyspace(struct call *call, struct buf *text)
{
    struct caches *caches = call->conn->worker->caches;
    int rc = buf_printf(text, "# Keyspace\r\n");

    for (size_t i = 0; rc == ERR_OK && i < caches_count(caches); i++) {
        struct cache *cache = caches_at(caches, i);
        uint64_t keys = table_count(cache_zone(cache));

        if (keys > 0 && cache_config(cache)->resp_db >= 0)
            rc = buf_printf(text, "db%lld:keys=%llu,expires=0,avg_ttl=0\r\n",
                            (long long)cache_config(cache)->resp_db, (unsigned long long)keys);
    }
    return rc;
}

static const struct {
    const char *name;
    int (*print)(struct call *call, struct buf *text);
} sections[] = {
    {"server", info_server},     {"clients", info_clients},
    {"memory", info_memory},     {"persistence", info_persistence},
    {"stats", info_stats},       {"replication", info_replication},
    {"cpu", info_cpu},           {"cluster", info_cluster},
    {"keyspace", info_keyspace},
};

static bool section_wanted(const struct call *call, const char *name)
{
    if (call->argc == 1)
        return true;
    for (int i = 1; i < call->argc; i++) {
        struct slice want = call->argv[i];

        if (slice_ieq(want, name) || slice_ieq(want, "default") || slice_ieq(want, "all") ||
            slice_ieq(want, "everything"))
            return true;
    }
    return false;
}

void cmd_info(struct call *call)
{
    struct buf text = {0};
    int rc = ERR_OK;

    for (size_t i = 0; rc == ERR_OK && i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!section_wanted(call, sections[i].name))
            continue;
        if (buf_len(&text) > 0)
            rc = buf_append(&text, "\r\n", 2);
        if (rc == ERR_OK)
            rc = sections[i].print(call, &text);
    }
    if (rc == ERR_OK)
        reply_bulk(call->out, buf_slice(&text));
    else
        reply_error(call->out, "ERR out of memory");
    buf_fini(&text);
}
