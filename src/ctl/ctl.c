/* cachetasticctl: the daemon's cache and figures from a shell. */
#include <config.h>

#include "common/buf.h"
#include "common/units.h"
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCAL_SOCKET  "run/cachetastic.sock"
#define SYSTEM_SOCKET LOCALSTATEDIR "/run/cachetastic/cachetastic.sock"
#define TIMEOUT_MS    30000
#define WATCH_MS      1000
#define PASSWORD_MAX  512

static const char usage_text[] =
    "Usage: cachetasticctl [OPTION]... COMMAND [ARGUMENT]...\n"
    "\n"
    "  get KEY                 print the value\n"
    "  put KEY [VALUE]         store VALUE, or what standard input has\n"
    "  delete KEY              remove it\n"
    "  clear                   remove everything in the cache\n"
    "  purge PATTERN           remove the keys that match a glob\n"
    "  purge --tag TAG         remove the entries that carry a tag\n"
    "  purge --url URL         remove a page of the site, from the cache http unless -c names one\n"
    "  purge --soft ...        let pages of the site be stale instead\n"
    "  stats                   figures of all caches, or with -c of one\n"
    "  reset                   begin counting at zero\n"
    "  check                   validate the shared memory\n"
    "  top [N]                 the N (10) keys read most now, and the largest entries\n"
    "  ping                    see whether the daemon answers\n"
    "\n"
    "  -c, --cache NAME        the named cache (default: the one the socket serves)\n"
    "  -s, --socket PATH       the daemon's unix socket\n"
    "  -h, --host HOST:PORT    the daemon's RESP port, instead of a unix socket\n"
    "      --ttl TIME          put: expire after 10s, 500ms, 5m, ... (default: never)\n"
    "      --watch TIME        top: count reads for so long (default: 1s)\n"
    "  -u, --user NAME         log in as this user (default: default)\n"
    "      --password-file F   with the password on the first line of F; otherwise with\n"
    "                          what CACHETASTIC_PASSWORD in the environment says\n"
    "      --timeout TIME      wait so long for an answer; 0: for ever (default: 30s)\n"
    "      --json              print JSON\n"
    "  -V, --version           print the version\n"
    "      --help              print this\n"
    "\n"
    "Exit status: 0 done, 1 the key is not there, 2 an error.\n";

int fail(const char *fmt, ...)
{
    va_list args;

    fputs("cachetasticctl: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return STATUS_ERROR;
}

int call(struct ctl *ctl, int argc, const struct slice *argv)
{
    struct errmsg msg = {.text = ""};
    int rc;

    resp_value_fini(&ctl->reply);
    rc = wire_call(&ctl->wire, argc, argv, &ctl->reply, &msg);
    if (rc != ERR_OK)
        return fail("%s%s", msg.text, rc == ERR_TIMEOUT ? " (--timeout)" : "");
    if (ctl->reply.type == RESP_ERROR)
        return fail("%.*s", (int)ctl->reply.str.len, ctl->reply.str.data);
    return STATUS_OK;
}

int confused(void)
{
    return fail("the daemon gave an answer of another kind than expected: is it cachetastic?");
}

static int open_client(struct ctl *ctl)
{
    struct errmsg msg = {.text = ""};
    const char *path = ctl->socket;
    int rc;

    if (path == NULL)
        path = access(LOCAL_SOCKET, F_OK) == 0 ? LOCAL_SOCKET : SYSTEM_SOCKET;
    if (ctl->address != NULL)
        rc = wire_open_tcp(&ctl->wire, ctl->address, ctl->timeout_ms, &msg);
    else
        rc = wire_open_unix(&ctl->wire, path, ctl->timeout_ms, &msg);
    if (rc == ERR_OK)
        return STATUS_OK;
    if (ctl->address == NULL && ctl->socket == NULL && (errno == ENOENT || errno == ECONNREFUSED))
        return fail("%s; is the daemon running? (-s names another socket than " LOCAL_SOCKET
                    " and " SYSTEM_SOCKET ")",
                    msg.text);
    return fail("%s", msg.text);
}

/* The first line of the file. */
static int read_password(const char *path, char *password)
{
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fgets(password, PASSWORD_MAX, file) != NULL;

    if (!read)
        fail("%s: %s", path, file == NULL ? strerror(errno) : "there is no password in it");
    if (file != NULL)
        fclose(file);
    password[strcspn(password, "\r\n")] = '\0';
    return read ? STATUS_OK : STATUS_ERROR;
}

/* Where a password is given; a socket may trust its peer without one. */
static int log_in(struct ctl *ctl)
{
    const char *word = getenv("CACHETASTIC_PASSWORD");
    char password[PASSWORD_MAX] = "";
    struct slice argv[3] = {SLICE_LIT("AUTH"), slice_cstr(ctl->user != NULL ? ctl->user : "default")};

    if (ctl->password_file != NULL) {
        if (read_password(ctl->password_file, password) != STATUS_OK)
            return STATUS_ERROR;
        word = password;
    }
    if (word == NULL)
        return ctl->user == NULL ? STATUS_OK
                                 : fail("--user needs a password: --password-file, or "
                                        "CACHETASTIC_PASSWORD in the environment");
    argv[2] = slice_cstr(word);
    return call(ctl, 3, argv);
}

static int use_cache(struct ctl *ctl, const char *name)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.USE"), slice_cstr(name)};

    return call(ctl, 2, argv);
}

int print_json(json_t *json)
{
    int rc = json == NULL ? -1 : json_dumpf(json, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);

    json_decref(json);
    if (rc != 0)
        return fail("no memory for the answer");
    putchar('\n');
    return STATUS_OK;
}

/* ---- commands; each gets its arguments, whose number was checked ---- */

/* Values are bytes; JSON has text only. */
static json_t *value_json(struct slice value)
{
    json_t *text = json_stringn(value.data, value.len);
    char *hex;

    if (text != NULL)
        return json_pack("{s:b, s:o}", "found", 1, "value", text);
    hex = malloc(2 * value.len + 1);
    if (hex == NULL)
        return NULL;
    for (size_t i = 0; i < value.len; i++)
        sprintf(hex + 2 * i, "%02x", (unsigned char)value.data[i]);
    text = json_string(hex);
    free(hex);
    return text == NULL ? NULL : json_pack("{s:b, s:o}", "found", 1, "value_hex", text);
}

static int print_value(struct slice value)
{
    if (value.len > 0)
        fwrite(value.data, 1, value.len, stdout);
    if (isatty(STDOUT_FILENO))
        putchar('\n');
    return STATUS_OK;
}

static int cmd_get(struct ctl *ctl, int argc, char **args)
{
    const struct slice argv[] = {SLICE_LIT("GET"), slice_cstr(args[0])};
    int status = call(ctl, 2, argv);

    (void)argc;
    if (status != STATUS_OK)
        return status;
    if (ctl->reply.type == RESP_BULK)
        return ctl->json ? print_json(value_json(ctl->reply.str)) : print_value(ctl->reply.str);
    if (ctl->reply.type != RESP_NULL)
        return confused();
    if (ctl->json && print_json(json_pack("{s:b}", "found", 0)) != STATUS_OK)
        return STATUS_ERROR;
    if (!ctl->json)
        fail("there is no such key");
    return STATUS_MISS;
}

static int read_stdin(struct buf *into)
{
    for (;;) {
        char *place = buf_reserve(into, 65536);
        size_t n;

        if (place == NULL)
            return fail("no memory for the value");
        n = fread(place, 1, 65536, stdin);
        buf_commit(into, n);
        if (n == 0)
            return ferror(stdin) ? fail("cannot read the value from standard input") : STATUS_OK;
    }
}

static int put_value(struct ctl *ctl, struct slice key, struct slice value)
{
    struct slice argv[5] = {SLICE_LIT("SET"), key, value};
    char number[24];
    uint64_t ttl_ms = 0;
    int status;

    if (ctl->ttl != NULL && units_parse_time(ctl->ttl, &ttl_ms) != ERR_OK)
        return fail("--ttl takes a time like 10s, 500ms or 5m, not %s", ctl->ttl);
    if (ttl_ms > 0) {
        snprintf(number, sizeof(number), "%" PRIu64, ttl_ms);
        argv[3] = SLICE_LIT("PX");
        argv[4] = slice_cstr(number);
    }
    status = call(ctl, ttl_ms > 0 ? 5 : 3, argv);
    if (status != STATUS_OK)
        return status;
    if (ctl->reply.type != RESP_STATUS)
        return confused();
    return ctl->json ? print_json(json_pack("{s:b}", "stored", 1)) : (puts("stored"), STATUS_OK);
}

static int cmd_put(struct ctl *ctl, int argc, char **args)
{
    struct buf value = {0};
    int status;

    if (argc == 2)
        return put_value(ctl, slice_cstr(args[0]), slice_cstr(args[1]));
    status = read_stdin(&value);
    if (status == STATUS_OK)
        status = put_value(ctl, slice_cstr(args[0]), buf_slice(&value));
    buf_fini(&value);
    return status;
}

static int cmd_delete(struct ctl *ctl, int argc, char **args)
{
    const struct slice argv[] = {SLICE_LIT("DEL"), slice_cstr(args[0])};
    int status = call(ctl, 2, argv);
    bool found;

    (void)argc;
    if (status != STATUS_OK)
        return status;
    if (ctl->reply.type != RESP_INTEGER)
        return confused();
    found = ctl->reply.integer > 0;
    if (ctl->json && print_json(json_pack("{s:b}", "deleted", found)) != STATUS_OK)
        return STATUS_ERROR;
    if (!ctl->json && found)
        puts("deleted");
    if (!ctl->json && !found)
        fail("there is no such key");
    return found ? STATUS_OK : STATUS_MISS;
}

/* A command whose answer is how many keys it removed from Redis. */
static int remove_many(struct ctl *ctl, int argc, const struct slice *argv, const char *done)
{
    int status = call(ctl, argc, argv);

    if (status != STATUS_OK)
        return status;
    if (ctl->reply.type != RESP_INTEGER)
        return confused();
    if (ctl->json)
        return print_json(
            json_pack("{s:b, s:I}", done, 1, "removed_from_redis", (json_int_t)ctl->reply.integer));
    if (ctl->reply.integer > 0)
        printf("%s (%" PRId64 " keys in Redis)\n", done, ctl->reply.integer);
    else
        puts(done);
    return STATUS_OK;
}

static int cmd_clear(struct ctl *ctl, int argc, char **args)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.CLEAR")};

    (void)argc;
    (void)args;
    return remove_many(ctl, 1, argv, "cleared");
}

static int purge_url(struct ctl *ctl)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.PURGE"), SLICE_LIT("URL"),
                                 slice_cstr(ctl->url), SLICE_LIT("SOFT")};
    int status = ctl->cache == NULL ? use_cache(ctl, "http") : STATUS_OK;
    bool found;

    if (status == STATUS_OK)
        status = call(ctl, ctl->soft ? 4 : 3, argv);
    if (status != STATUS_OK)
        return status;
    if (ctl->reply.type != RESP_INTEGER)
        return confused();
    found = ctl->reply.integer > 0;
    if (ctl->json && print_json(json_pack("{s:b}", "purged", found)) != STATUS_OK)
        return STATUS_ERROR;
    if (!ctl->json && found)
        puts(ctl->soft ? "stale from now on" : "purged");
    if (!ctl->json && !found)
        fail("that page is not stored");
    return found ? STATUS_OK : STATUS_MISS;
}

static int cmd_purge(struct ctl *ctl, int argc, char **args)
{
    struct slice argv[4] = {SLICE_LIT("CACHETASTIC.PURGE"), SLICE_LIT("SOFT")};
    int n = ctl->soft ? 2 : 1;

    if ((argc == 1) + (ctl->tag != NULL) + (ctl->url != NULL) != 1)
        return fail("purge takes a pattern, --tag TAG or --url URL, one of them");
    if (ctl->url != NULL)
        return purge_url(ctl);
    argv[n++] = ctl->tag != NULL ? SLICE_LIT("TAG") : SLICE_LIT("PATTERN");
    argv[n++] = slice_cstr(ctl->tag != NULL ? ctl->tag : args[0]);
    return remove_many(ctl, n, argv, ctl->soft ? "stale from now on" : "purged");
}

/* A command that answers with JSON, parsed. NULL: what is wrong was said. */
static json_t *call_json(struct ctl *ctl, int argc, const struct slice *argv)
{
    json_t *json;

    if (call(ctl, argc, argv) != STATUS_OK)
        return NULL;
    json = ctl->reply.type == RESP_BULK
               ? json_loadb(ctl->reply.str.data, ctl->reply.str.len, 0, NULL)
               : NULL;
    if (json == NULL)
        confused();
    return json;
}

static json_t *fetch_stats(struct ctl *ctl, const char *cache)
{
    struct slice argv[2] = {SLICE_LIT("CACHETASTIC.STATS")};

    if (cache != NULL)
        argv[1] = slice_cstr(cache);
    return call_json(ctl, cache == NULL ? 1 : 2, argv);
}

static int cmd_stats(struct ctl *ctl, int argc, char **args)
{
    json_t *stats = fetch_stats(ctl, ctl->cache);

    (void)argc;
    (void)args;
    if (stats == NULL)
        return STATUS_ERROR;
    if (ctl->json)
        return print_json(stats);
    if (ctl->cache == NULL)
        show_daemon(stats, stdout);
    else
        show_cache(stats, stdout);
    json_decref(stats);
    return STATUS_OK;
}

static int cmd_reset(struct ctl *ctl, int argc, char **args)
{
    struct slice argv[2] = {SLICE_LIT("CACHETASTIC.RESET")};
    int status;

    (void)argc;
    (void)args;
    if (ctl->cache != NULL)
        argv[1] = slice_cstr(ctl->cache);
    status = call(ctl, ctl->cache == NULL ? 1 : 2, argv);
    if (status != STATUS_OK)
        return status;
    return ctl->json ? print_json(json_pack("{s:b}", "reset", 1)) : (puts("reset"), STATUS_OK);
}

/* Check one cache; its report is added to reports under its name. */
static int check_cache(struct ctl *ctl, const char *name, json_t *reports, bool *clean)
{
    const struct slice argv[] = {SLICE_LIT("CACHETASTIC.CHECK")};
    json_t *report;
    json_int_t problems;

    if (use_cache(ctl, name) != STATUS_OK)
        return STATUS_ERROR;
    report = call_json(ctl, 1, argv);
    if (report == NULL)
        return STATUS_ERROR;
    problems = json_integer_value(json_object_get(report, "problems"));
    *clean = *clean && problems == 0;
    if (!ctl->json) {
        const char *first = json_string_value(json_object_get(report, "first"));

        printf("%s: %lld entries, %lld bytes, %lld problems%s%s\n", name,
               (long long)json_integer_value(json_object_get(report, "entries")),
               (long long)json_integer_value(json_object_get(report, "bytes")), (long long)problems,
               problems > 0 ? "; first: " : "", problems > 0 && first != NULL ? first : "");
    }
    return json_object_set_new(reports, name, report) == 0 ? STATUS_OK : fail("no memory");
}

static int check_all(struct ctl *ctl, json_t *reports, bool *clean)
{
    json_t *stats = fetch_stats(ctl, NULL);
    const char *name;
    json_t *cache;
    int status = stats == NULL ? STATUS_ERROR : STATUS_OK;

    json_object_foreach(json_object_get(stats, "caches"), name, cache)
    {
        if (status == STATUS_OK)
            status = check_cache(ctl, name, reports, clean);
    }
    json_decref(stats);
    return status;
}

static int cmd_check(struct ctl *ctl, int argc, char **args)
{
    json_t *reports = json_object();
    bool clean = true;
    int status;

    (void)argc;
    (void)args;
    status = ctl->cache != NULL ? check_cache(ctl, ctl->cache, reports, &clean)
                                : check_all(ctl, reports, &clean);
    if (status != STATUS_OK) {
        json_decref(reports);
        return status;
    }
    if (ctl->json)
        status = print_json(reports);
    else
        json_decref(reports);
    return clean ? status : fail("the shared memory is damaged; report the first problem above");
}

static int cmd_ping(struct ctl *ctl, int argc, char **args)
{
    const struct slice argv[] = {SLICE_LIT("PING")};
    int status = call(ctl, 1, argv);

    (void)argc;
    (void)args;
    if (status != STATUS_OK)
        return status;
    return ctl->json ? print_json(json_pack("{s:b}", "pong", 1)) : (puts("PONG"), STATUS_OK);
}

struct command {
    const char *name;
    int min, max; /* arguments */
    bool use;     /* -c selects the cache; otherwise the command takes its name itself */
    int (*run)(struct ctl *ctl, int argc, char **args);
};

static const struct command commands[] = {
    {"get", 1, 1, true, cmd_get},       {"put", 1, 2, true, cmd_put},
    {"delete", 1, 1, true, cmd_delete}, {"clear", 0, 0, true, cmd_clear},
    {"purge", 0, 1, true, cmd_purge},   {"stats", 0, 0, false, cmd_stats},
    {"reset", 0, 0, false, cmd_reset},  {"check", 0, 0, false, cmd_check},
    {"ping", 0, 0, true, cmd_ping},     {"top", 0, 1, true, cmd_top},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run(struct ctl *ctl, int argc, char **args)
{
    const struct command *command;
    int status;

    if (argc == 0)
        return fail("no command given; see --help");
    command = find_command(args[0]);
    argc--;
    args++;
    if (command == NULL)
        return fail("unknown command %s; see --help", args[-1]);
    if (argc < command->min || argc > command->max)
        return fail("%s takes %s arguments; see --help", command->name,
                    argc < command->min ? "more" : "fewer");
    status = open_client(ctl);
    if (status == STATUS_OK)
        status = log_in(ctl);
    if (status == STATUS_OK && ctl->cache != NULL && command->use)
        status = use_cache(ctl, ctl->cache);
    if (status == STATUS_OK)
        status = command->run(ctl, argc, args);
    resp_value_fini(&ctl->reply);
    wire_close(&ctl->wire);
    return status;
}

enum { OPT_TTL = 256, OPT_TAG, OPT_URL, OPT_SOFT, OPT_TIMEOUT, OPT_JSON, OPT_HELP, OPT_WATCH, OPT_PASSWORD };

static const struct option options[] = {
    {"cache", required_argument, NULL, 'c'},   {"socket", required_argument, NULL, 's'},
    {"host", required_argument, NULL, 'h'},    {"ttl", required_argument, NULL, OPT_TTL},
    {"url", required_argument, NULL, OPT_URL}, {"soft", no_argument, NULL, OPT_SOFT},
    {"tag", required_argument, NULL, OPT_TAG}, {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},     {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, OPT_HELP},     {"watch", required_argument, NULL, OPT_WATCH},
    {"user", required_argument, NULL, 'u'},    {"password-file", required_argument, NULL, OPT_PASSWORD},
    {0},
};

/* One option; -1: go on, otherwise exit with this. */
static int take_option(struct ctl *ctl, int option)
{
    switch (option) {
    case 'c':
        ctl->cache = optarg;
        return -1;
    case 's':
        ctl->socket = optarg;
        return -1;
    case 'h':
        ctl->address = optarg;
        return -1;
    case OPT_TTL:
        ctl->ttl = optarg;
        return -1;
    case OPT_URL:
        ctl->url = optarg;
        return -1;
    case OPT_SOFT:
        ctl->soft = true;
        return -1;
    case OPT_TAG:
        ctl->tag = optarg;
        return -1;
    case OPT_TIMEOUT:
        if (units_parse_time(optarg, &ctl->timeout_ms) == ERR_OK)
            return -1;
        return fail("--timeout takes a time like 10s or 500ms, not %s", optarg);
    case OPT_WATCH:
        if (units_parse_time(optarg, &ctl->watch_ms) == ERR_OK)
            return -1;
        return fail("--watch takes a time like 10s or 500ms, not %s", optarg);
    case 'u':
        ctl->user = optarg;
        return -1;
    case OPT_PASSWORD:
        ctl->password_file = optarg;
        return -1;
    case OPT_JSON:
        ctl->json = true;
        return -1;
    case 'V':
        puts("cachetasticctl " VERSION);
        return STATUS_OK;
    case OPT_HELP:
        fputs(usage_text, stdout);
        return STATUS_OK;
    default:
        return STATUS_ERROR; /* getopt has said it */
    }
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.timeout_ms = TIMEOUT_MS, .watch_ms = WATCH_MS, .wire.fd = -1};
    int status = -1;
    int option;

    while (status < 0 && (option = getopt_long(argc, argv, "c:s:h:u:V", options, NULL)) != -1)
        status = take_option(&ctl, option);
    if (status < 0)
        status = run(&ctl, argc - optind, argv + optind);
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail("cannot write the answer");
    return status;
}
