/* Defaults, flags, and what is completed from other values. */
#include "common/config.h"

#include "config_text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *load_text(const char *text, const struct config_flags *flags)
{
    struct config *config = NULL;
    struct errmsg msg = {""};
    int rc = config_text_load(text, flags, &config, &msg);

    ck_assert_msg(rc == ERR_OK, "%s", msg.text);
    return config;
}

/* Any flag keeps a configuration that happens to be installed out. */
static struct config *load_flags(struct config_flags flags)
{
    struct config *config = NULL;
    struct errmsg msg = {""};
    int rc;

    if (flags.memory == NULL)
        flags.memory = "256M";
    rc = config_load(&flags, &config, &msg);
    ck_assert_msg(rc == ERR_OK, "%s", msg.text);
    return config;
}

static void check_refused(struct config_flags flags, const char *message)
{
    struct config *config = NULL;
    struct errmsg msg = {""};

    ck_assert_int_eq(config_load(&flags, &config, &msg), ERR_INVALID);
    ck_assert_str_eq(msg.text, message);
    ck_assert_ptr_null(config);
}

START_TEST(defaults)
{
    struct config *config = load_flags((struct config_flags){0});

    ck_assert_str_eq(config->user, "");
    ck_assert_int_ge(config->workers, 1);
    ck_assert_int_le(config->workers, CONFIG_MAX_WORKERS);
    ck_assert(config->api_open);
    ck_assert_ptr_null(config->source);
    ck_assert_ptr_null(config->api_token);
    ck_assert(!config->redis.enabled);
    ck_assert_uint_eq(config->limits.key_bytes, 1024);
    ck_assert_uint_eq(config->n_listeners, 2);
    ck_assert_str_eq(config->listeners[0].address, "unix:run/cachetastic.sock");
    ck_assert_int_eq(config->listeners[0].protocol, PROTOCOL_AUTO);
    ck_assert_uint_eq(config->listeners[0].mode, 0660);
    ck_assert_str_eq(config->listeners[1].address, "127.0.0.1:8080");
    ck_assert_int_eq(config->listeners[1].protocol, PROTOCOL_HTTP);
    ck_assert_uint_eq(config->n_caches, 1);
    ck_assert_str_eq(config->caches[0].name, "default");
    ck_assert_uint_eq(config->caches[0].memory_bytes, 256u << 20);
    ck_assert_int_eq(config->caches[0].backend, BACKEND_MEMORY);
    ck_assert_int_eq(config->caches[0].backup, BACKUP_NONE);
    ck_assert_int_eq(config->caches[0].resp_db, 0);
    config_free(config);
}
END_TEST

START_TEST(flags_change_the_defaults)
{
    struct config *config = load_flags((struct config_flags){.http = "[::1]:9000",
                                                             .socket = "/tmp/x.sock",
                                                             .redis = "redis.example:6380",
                                                             .redis_prefix = "",
                                                             .admin = "127.0.0.1:9001",
                                                             .memory = "8M",
                                                             .workers = "3"});

    ck_assert(config->api_open);
    ck_assert_uint_eq(config->n_listeners, 3);
    ck_assert_str_eq(config->listeners[0].address, "unix:/tmp/x.sock");
    ck_assert_str_eq(config->listeners[1].address, "[::1]:9000");
    ck_assert(!config->listeners[1].admin);
    ck_assert_str_eq(config->listeners[2].address, "127.0.0.1:9001");
    ck_assert(config->listeners[2].admin);
    ck_assert_int_eq(config->listeners[2].protocol, PROTOCOL_HTTP);
    ck_assert(config->redis.enabled);
    ck_assert_str_eq(config->redis.server, "redis.example:6380");
    ck_assert(config->redis.prefix_empty);
    ck_assert_uint_eq(config->caches[0].memory_bytes, 8u << 20);
    ck_assert_int_eq(config->caches[0].backend, BACKEND_LAYERED);
    ck_assert_int_eq(config->caches[0].backup, BACKUP_MEMORY);
    ck_assert_int_eq(config->workers, 3);
    config_free(config);
}
END_TEST

START_TEST(wrong_flags_are_named)
{
    check_refused((struct config_flags){.memory = "1M"},
                  "--memory: 1M is below the minimum, 4M (4194304 bytes)");
    check_refused((struct config_flags){.memory = "256"},
                  "--memory: 256 is below the minimum, 4M (4194304 bytes)");
    check_refused((struct config_flags){.workers = "many"},
                  "--workers: \"many\" cannot be read; write a whole number, without quotes");
    check_refused((struct config_flags){.workers = "63"},
                  "--workers: 63 is above the maximum, 62 processes");
    check_refused((struct config_flags){.http = "8080"},
                  "--http: listen.address: \"8080\" has no port; write HOST:PORT");
    check_refused((struct config_flags){.admin = "example.org:80"},
                  "--admin: listen.address: \"example.org:80\" is no IP address and port; write "
                  "127.0.0.1:8080, [::1]:8080 or unix:PATH");
    check_refused((struct config_flags){.http = "unix:a"},
                  "--http: \"unix:a\" is no ADDR:PORT; a unix socket is given by --socket PATH");
    check_refused((struct config_flags){.redis = "localhost"},
                  "--redis: redis.server: \"localhost\" has no port; write HOST:PORT");
    check_refused(
        (struct config_flags){.socket = ""},
        "--socket: listen.address: a unix socket's path must be 1 to 107 bytes long, not 0");
}
END_TEST

START_TEST(flags_go_over_the_file)
{
    struct config *config = load_text(
        "workers = 2;\n"
        "listen = ( { address = \"127.0.0.1:7000\"; protocol = \"resp\"; },\n"
        "           { address = \"127.0.0.1:7001\"; protocol = \"http\"; backlog = 7; } );\n"
        "caches = ( { name = \"other\"; memory = \"16M\"; } );\n",
        &(struct config_flags){
            .http = "127.0.0.1:7002", .socket = "s", .memory = "32M", .workers = "5"});

    ck_assert(!config->api_open);
    ck_assert_int_eq(config->workers, 5);
    ck_assert_uint_eq(config->n_listeners, 3);
    ck_assert_str_eq(config->listeners[0].address, "127.0.0.1:7000");
    ck_assert_str_eq(config->listeners[1].address, "127.0.0.1:7002");
    ck_assert_int_eq(config->listeners[1].backlog, 7);
    ck_assert_str_eq(config->listeners[2].address, "unix:s");
    ck_assert_str_eq(config->caches[0].name, "default");
    ck_assert_uint_eq(config->caches[0].memory_bytes, 32u << 20);
    ck_assert_uint_eq(config->caches[1].memory_bytes, 16u << 20);
    config_free(config);
}
END_TEST

START_TEST(default_cache_is_number_0)
{
    struct config *config =
        load_text("caches = ( { name = \"a\"; resp_db = 4; }, { name = \"b\"; },\n"
                  "{ name = \"default\"; memory = \"64M\"; }, { name = \"c\"; } );",
                  NULL);

    ck_assert_uint_eq(config->n_caches, 4);
    ck_assert_str_eq(config->caches[0].name, "default");
    ck_assert_uint_eq(config->caches[0].memory_bytes, 64u << 20);
    ck_assert_str_eq(config->caches[1].name, "a");
    ck_assert_int_eq(config->caches[1].resp_db, 4);
    ck_assert_str_eq(config->caches[2].name, "b");
    ck_assert_str_eq(config->caches[3].name, "c");
    config_free(config);
}
END_TEST

/* The origin of each value moves with its cache. */
START_TEST(reordered_caches_keep_their_lines)
{
    struct config *config = NULL;
    struct errmsg msg;

    ck_assert_int_eq(config_text_load("caches = (\n{ name = \"a\";\nbackend = \"redis\"; },\n"
                                      "{ name = \"default\"; } );",
                                      NULL, &config, &msg),
                     ERR_INVALID);
    ck_assert_msg(strncmp(msg.text, "FILE:3: caches.backend: ", 24) == 0, "%s", msg.text);
}
END_TEST

START_TEST(resp_db_0_is_the_default_caches_unless_claimed)
{
    struct config *config = load_text("caches = ( { name = \"a\"; resp_db = 0; } );", NULL);

    ck_assert_int_eq(config->caches[0].resp_db, -1);
    ck_assert_int_eq(config->caches[1].resp_db, 0);
    config_free(config);
    config =
        load_text("caches = ( { name = \"default\"; resp_db = 5; }, { name = \"a\"; } );", NULL);
    ck_assert_int_eq(config->caches[0].resp_db, 5);
    ck_assert_int_eq(config->caches[1].resp_db, -1);
    config_free(config);
    config = load_text("caches = ( { name = \"default\"; resp_db = -1; } );", NULL);
    ck_assert_int_eq(config->caches[0].resp_db, -1);
    config_free(config);
}
END_TEST

START_TEST(backends_follow_redis)
{
    struct config *config =
        load_text("redis = { server = \"unix:/run/redis.sock\"; };\n"
                  "caches = ( { name = \"m\"; backend = \"memory\"; },\n"
                  "{ name = \"r\"; backend = \"redis\"; },\n"
                  "{ name = \"l\"; backend = \"layered\"; backup = \"none\"; },\n"
                  "{ name = \"b\"; backend = \"redis\"; backup = \"memory\"; } );",
                  NULL);
    static const enum config_backend backends[] = {BACKEND_LAYERED, BACKEND_MEMORY, BACKEND_REDIS,
                                                   BACKEND_LAYERED, BACKEND_REDIS};
    static const enum config_backup backups[] = {BACKUP_MEMORY, BACKUP_NONE, BACKUP_NONE,
                                                 BACKUP_NONE, BACKUP_MEMORY};

    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(config->caches[i].backend, backends[i]);
        ck_assert_int_eq(config->caches[i].backup, backups[i]);
    }
    config_free(config);
}
END_TEST

START_TEST(empty_redis_prefix_is_explicit)
{
    struct config *config =
        load_text("caches = ( { name = \"a\"; }, { name = \"b\"; redis_prefix = \"\"; },\n"
                  "{ name = \"c\"; redis_prefix = \"x\"; } );",
                  NULL);

    ck_assert(!config->redis.prefix_empty);
    ck_assert(!config->caches[1].redis_prefix_set);
    ck_assert(config->caches[2].redis_prefix_set);
    ck_assert_str_eq(config->caches[2].redis_prefix, "");
    ck_assert(config->caches[3].redis_prefix_set);
    ck_assert_str_eq(config->caches[3].redis_prefix, "x");
    config_free(config);
}
END_TEST

static struct config *load_secret(const char *format, const char *secret)
{
    char text[256];

    snprintf(text, sizeof(text), format, config_text_file(secret));
    return load_text(text, NULL);
}

START_TEST(secrets_come_from_files)
{
    struct config *config = load_secret("api_token_file = \"%s\";", "s3cret-token\n");
    char *dump;

    ck_assert_str_eq(config->api_token, "s3cret-token");
    dump = config_text_dump(config);
    ck_assert_ptr_null(strstr(dump, "s3cret-token"));
    free(dump);
    config_free(config);

    config = load_secret("redis = { password_file = \"%s\"; };", " pass word\r\n");
    ck_assert_str_eq(config->redis.password, " pass word");
    dump = config_text_dump(config);
    ck_assert_ptr_null(strstr(dump, "pass word"));
    free(dump);
    config_free(config);
}
END_TEST

START_TEST(password_from_the_environment)
{
    struct config *config;

    setenv("CACHETASTIC_REDIS_PASSWORD", "from-env", 1);
    config = load_flags((struct config_flags){.redis = "127.0.0.1:6379"});
    ck_assert_str_eq(config->redis.password, "from-env");
    config_free(config);
    config = load_secret("redis = { password_file = \"%s\"; };", "from-file\n");
    ck_assert_str_eq(config->redis.password, "from-file");
    config_free(config);
    unsetenv("CACHETASTIC_REDIS_PASSWORD");
    config = load_flags((struct config_flags){.redis = "127.0.0.1:6379"});
    ck_assert_ptr_null(config->redis.password);
    config_free(config);
}
END_TEST

START_TEST(wrong_secret_files_are_named)
{
    static const char *const contents[] = {"", "\n", "two\nlines\n"};
    struct config *config = NULL;
    struct errmsg msg;
    char text[256];

    ck_assert_int_eq(config_text_load("\napi_token_file = \"/nonexistent\";", NULL, &config, &msg),
                     ERR_SYSTEM);
    ck_assert_str_eq(msg.text, "FILE:2: api_token_file: cannot read /nonexistent: No such file or "
                               "directory");
    for (size_t i = 0; i < 3; i++) {
        const char *path = config_text_file(contents[i]);

        snprintf(text, sizeof(text), "redis = { password_file = \"%s\"; };", path);
        ck_assert_int_eq(config_text_load(text, NULL, &config, &msg), ERR_INVALID);
        ck_assert_msg(strstr(msg.text, path) != NULL &&
                          strstr(msg.text, "must hold one line, the secret") != NULL,
                      "%s", msg.text);
        config_text_end();
    }
    snprintf(text, sizeof(text), "api_token_file = \"%s\";", config_text_file("with space\n"));
    ck_assert_int_eq(config_text_load(text, NULL, &config, &msg), ERR_INVALID);
    ck_assert_msg(strstr(msg.text, "printable ASCII") != NULL, "%s", msg.text);
}
END_TEST

/* The warning goes to the log, which is standard error here. */
static void load_and_capture(const char *text, char *log, size_t size)
{
    FILE *capture = tmpfile();
    int saved = dup(STDERR_FILENO);
    size_t len;

    ck_assert_ptr_nonnull(capture);
    dup2(fileno(capture), STDERR_FILENO);
    config_free(load_text(text, NULL));
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(capture);
    len = fread(log, 1, size - 1, capture);
    log[len] = '\0';
    fclose(capture);
}

START_TEST(unwise_things_are_warned_about)
{
    const char *path = config_text_file("token\n");
    char text[256];
    char log[1024];

    snprintf(text, sizeof(text), "api_token_file = \"%s\";", path);
    load_and_capture(text, log, sizeof(log));
    ck_assert_str_eq(log, "");
    ck_assert_int_eq(chmod(path, 0644), 0);
    load_and_capture(text, log, sizeof(log));
    ck_assert_msg(strstr(log, "api_token_file: everyone on this machine can read") != NULL, "%s",
                  log);
    load_and_capture("", log, sizeof(log));
    ck_assert_msg(strstr(log, "the HTTP API on 127.0.0.1:8080 refuses every client") != NULL, "%s",
                  log);
}
END_TEST

START_TEST(lists_of_strings)
{
    struct config *config = load_text("api_hosts = [ \"a.example\", \"b.example\" ];", NULL);

    ck_assert_uint_eq(config->n_api_hosts, 2);
    ck_assert_str_eq(config->api_hosts[0], "a.example");
    ck_assert_str_eq(config->api_hosts[1], "b.example");
    config_free(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, NULL, config_text_end);
    tcase_add_test(tcase, defaults);
    tcase_add_test(tcase, flags_change_the_defaults);
    tcase_add_test(tcase, wrong_flags_are_named);
    tcase_add_test(tcase, flags_go_over_the_file);
    tcase_add_test(tcase, default_cache_is_number_0);
    tcase_add_test(tcase, reordered_caches_keep_their_lines);
    tcase_add_test(tcase, resp_db_0_is_the_default_caches_unless_claimed);
    tcase_add_test(tcase, backends_follow_redis);
    tcase_add_test(tcase, empty_redis_prefix_is_explicit);
    tcase_add_test(tcase, secrets_come_from_files);
    tcase_add_test(tcase, password_from_the_environment);
    tcase_add_test(tcase, wrong_secret_files_are_named);
    tcase_add_test(tcase, unwise_things_are_warned_about);
    tcase_add_test(tcase, lists_of_strings);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
