/* The command line: reads the flags, then checks, prints or runs the configuration they make. */
#include "config.h"

#include "common/config.h"
#include "master/master.h"
#include "worker/worker.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum action { ACTION_RUN, ACTION_TEST, ACTION_DUMP, ACTION_VERSION, ACTION_HELP, ACTION_REFUSE };

struct command_line {
    enum action action;
    bool daemonize;
    struct config_flags flags;
};

/* Long flags without a letter: beyond every char. */
enum flag_id {
    FLAG_ADMIN = 256,
    FLAG_DAEMON,
    FLAG_DUMP_CONFIG,
    FLAG_HTTP,
    FLAG_MEMORY,
    FLAG_ORIGIN,
    FLAG_REDIS,
    FLAG_REDIS_PREFIX,
    FLAG_SOCKET,
    FLAG_WORKERS,
};

static const struct option long_flags[] = {
    {"admin", required_argument, NULL, FLAG_ADMIN},
    {"daemon", no_argument, NULL, FLAG_DAEMON},
    {"dump-config", no_argument, NULL, FLAG_DUMP_CONFIG},
    {"help", no_argument, NULL, 'h'},
    {"http", required_argument, NULL, FLAG_HTTP},
    {"memory", required_argument, NULL, FLAG_MEMORY},
    {"origin", required_argument, NULL, FLAG_ORIGIN},
    {"redis", required_argument, NULL, FLAG_REDIS},
    {"redis-prefix", required_argument, NULL, FLAG_REDIS_PREFIX},
    {"socket", required_argument, NULL, FLAG_SOCKET},
    {"version", no_argument, NULL, 'V'},
    {"workers", required_argument, NULL, FLAG_WORKERS},
    {NULL, 0, NULL, 0},
};

static const char usage[] =
    "usage: cachetastic [-c FILE] [FLAG ...]         serve, in the foreground\n"
    "       cachetastic [-c FILE] [FLAG ...] -t      check the configuration\n"
    "\n"
    "  -c FILE              read this configuration, see cachetastic.conf(5)\n"
    "  -t                   check the configuration and exit\n"
    "  --dump-config        print the effective configuration and exit\n"
    "  --daemon             go to the background once every listener is open\n"
    "  --http ADDR:PORT     serve HTTP here instead of 127.0.0.1:8080\n"
    "  --socket PATH        the local socket, instead of run/cachetastic.sock\n"
    "  --redis HOST:PORT    the Redis behind; or unix:PATH\n"
    "  --redis-prefix P     what keys in Redis begin with; '' for nothing\n"
    "  --origin URL         cache this site on the HTTP listener; the API moves to 127.0.0.1:8081\n"
    "  --admin ADDR:PORT    one more HTTP listener, for administration\n"
    "  --memory SIZE        memory of the cache \"default\", such as 512M\n"
    "  --workers N          number of worker processes\n"
    "  -V, --version        print the version and exit\n"
    "  -h, --help           print this and exit\n"
    "\n"
    "Without -c, " SYSCONFDIR "/cachetastic/cachetastic.conf is read if it exists and none of the\n"
    "flags from --http on is given.\n";

static void take_flag(struct command_line *line, int flag)
{
    switch (flag) {
    case 'c':
        line->flags.file = optarg;
        break;
    case FLAG_ADMIN:
        line->flags.admin = optarg;
        break;
    case FLAG_HTTP:
        line->flags.http = optarg;
        break;
    case FLAG_MEMORY:
        line->flags.memory = optarg;
        break;
    case FLAG_ORIGIN:
        line->flags.origin = optarg;
        break;
    case FLAG_REDIS:
        line->flags.redis = optarg;
        break;
    case FLAG_REDIS_PREFIX:
        line->flags.redis_prefix = optarg;
        break;
    case FLAG_SOCKET:
        line->flags.socket = optarg;
        break;
    case FLAG_WORKERS:
        line->flags.workers = optarg;
        break;
    }
}

static void take_action(struct command_line *line, int flag)
{
    switch (flag) {
    case 't':
        line->action = ACTION_TEST;
        break;
    case 'V':
        line->action = ACTION_VERSION;
        break;
    case 'h':
        line->action = ACTION_HELP;
        break;
    case FLAG_DAEMON:
        line->daemonize = true;
        break;
    case FLAG_DUMP_CONFIG:
        line->action = ACTION_DUMP;
        break;
    case '?': /* getopt_long() has said why. */
        line->action = ACTION_REFUSE;
        break;
    }
}

static struct command_line read_command_line(int argc, char **argv)
{
    struct command_line line = {.action = ACTION_RUN};
    int flag;

    while (line.action != ACTION_REFUSE &&
           (flag = getopt_long(argc, argv, "c:htV", long_flags, NULL)) != -1) {
        take_flag(&line, flag);
        take_action(&line, flag);
    }
    if (line.action != ACTION_REFUSE && optind < argc) {
        fprintf(stderr, "cachetastic: unexpected argument '%s'\n", argv[optind]);
        line.action = ACTION_REFUSE;
    }
    return line;
}

static int dump(const struct config *config)
{
    if (config_dump(config, stdout) == ERR_OK)
        return EXIT_SUCCESS;
    perror("cachetastic: cannot print the configuration");
    return EXIT_FAILURE;
}

static int test(const struct config *config)
{
    printf("%s: ok\n", config->source != NULL ? config->source : "built-in defaults");
    return EXIT_SUCCESS;
}

static int run(const struct config *config, bool daemonize)
{
    struct master_options options = {
        .config = config,
        .daemonize = daemonize,
        .worker_run = worker_run,
    };

    return master_run(&options);
}

static int use_config(const struct command_line *line)
{
    struct config *config;
    struct errmsg msg;
    int status;

    if (config_load(&line->flags, &config, &msg) != ERR_OK) {
        fprintf(stderr, line->action == ACTION_TEST ? "%s\n" : "cachetastic: %s\n", msg.text);
        return EXIT_FAILURE;
    }
    if (line->action == ACTION_TEST)
        status = test(config);
    else if (line->action == ACTION_DUMP)
        status = dump(config);
    else
        status = run(config, line->daemonize);
    config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    struct command_line line = read_command_line(argc, argv);

    switch (line.action) {
    case ACTION_REFUSE:
        fputs("Try 'cachetastic -h'.\n", stderr);
        return EXIT_FAILURE;
    case ACTION_HELP:
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    case ACTION_VERSION:
        puts(PACKAGE_NAME " " PACKAGE_VERSION);
        return EXIT_SUCCESS;
    default:
        return use_config(&line);
    }
}
