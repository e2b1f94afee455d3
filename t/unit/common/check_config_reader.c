/* What a wrong file is answered with: place, key, what is wrong, and how to write it. */
#include "common/config.h"

#include "config_text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct wrong {
    const char *text;
    const char *message;
};

#define SIZE_HINT "a quoted size with its unit, such as \"512\", \"64K\", \"256M\" or \"8G\""
#define TIME_HINT "a quoted time with its unit, such as \"500ms\", \"10s\", \"5m\" or \"2h\""

static const struct wrong wrong_files[] = {
    /* libconfig's traps. */
    {"limits = {\n  key = 1024;\n};", "FILE:2: limits.key: is a bare number; write " SIZE_HINT},
    {"limits = { value = 1024L; };", "FILE:1: limits.value: is a bare number; write " SIZE_HINT},
    {"\n\nsweep_interval = 10;", "FILE:3: sweep_interval: is a bare number; write " TIME_HINT},
    {"listen = ( { address = \"unix:a\"; mode = 0660; } );",
     "FILE:1: listen.mode: is a bare number; write a quoted octal mode, such as \"0660\""},
    {"caches = (\n{ name = \"a\"; },\n{ name = \"b\"; memory = 8589934592; } );",
     "FILE:3: the number 8589934592 is too large; sizes and times stand in quotes with a unit, "
     "such "
     "as \"8G\""},
    {"# 99999999999\n/* 99999999999\n */ user = \"\"; // 99999999999\nlog_file = "
     "\"99999999999\\\"99999999999\"; workers = 4294967297;",
     "FILE:4: the number 4294967297 is too large; sizes and times stand in quotes with a unit, "
     "such "
     "as \"8G\""},
    {"workers = 1;\nworkers = 2;\n", "FILE:2: duplicate setting name"},
    {"user = \"\";\ncaches = ( { name = \"a\"; memory = 256M; } );",
     "FILE:2: syntax error (strings, sizes and times stand in quotes: \"256M\")"},
    {"@include \"no such file\"\n", "FILE:1: cannot open include file"},
    /* Unknown keys and wrong shapes. */
    {"wrokers = 2;", "FILE:1: wrokers: unknown key"},
    {"redis = {\n\n  sever = \"x\";\n};", "FILE:3: redis.sever: unknown key"},
    {"memory = \"256M\";", "FILE:1: memory: unknown key here; it belongs in caches"},
    {"limits = { workers = 1; };",
     "FILE:1: limits.workers: unknown key here; it belongs at the top"},
    {"caches = ( { name = \"a\"; x = 1; } );", "FILE:1: caches.x: unknown key"},
    {"limits = 5;", "FILE:1: limits: write limits = { ... };"},
    {"redis = ( );", "FILE:1: redis: write redis = { ... };"},
    {"caches = { name = \"a\"; };", "FILE:1: caches: write caches = ( { ... }, { ... } );"},
    {"listen = [ \"127.0.0.1:80\" ];", "FILE:1: listen: write listen = ( { ... }, { ... } );"},
    {"listen = ( \"127.0.0.1:80\" );", "FILE:1: listen: has something else than { ... } in it"},
    {"listen = ( );", "FILE:1: listen: at least one is needed"},
    {"listen = ( { protocol = \"http\"; } );", "FILE:1: listen.address: is missing"},
    {"caches = (\n { memory = \"8M\"; } );", "FILE:2: caches.name: is missing"},
    /* Wrong types. */
    {"workers = \"2\";", "FILE:1: workers: is a string; write a whole number, without quotes"},
    {"workers = 1.5;", "FILE:1: workers: is a fraction; write a whole number, without quotes"},
    {"workers = { };", "FILE:1: workers: is a group; write a whole number, without quotes"},
    {"user = 5;", "FILE:1: user: is a bare number; write a quoted string"},
    {"log_level = true;", "FILE:1: log_level: is true or false; write a quoted string"},
    {"redis = { allow_clear = \"yes\"; };",
     "FILE:1: redis.allow_clear: is a string; write true or false, without quotes"},
    {"api_hosts = \"a\";",
     "FILE:1: api_hosts: is a string; write a list of quoted strings, such as [ \"a\", \"b\" ]"},
    {"api_hosts = [ 1, 2 ];", "FILE:1: api_hosts: has something else than strings in it; write a "
                              "list of quoted strings, such as [ \"a\", \"b\" ]"},
    /* Values that cannot be read. */
    {"limits = { key = \"1 K\"; };",
     "FILE:1: limits.key: \"1 K\" cannot be read; write " SIZE_HINT},
    {"sweep_interval = \"10\";", "FILE:1: sweep_interval: \"10\" cannot be read; write " TIME_HINT},
    {"listen = ( { address = \"unix:a\"; mode = \"660\"; } );",
     "FILE:1: listen.mode: \"660\" is no mode; write a quoted octal mode, such as \"0660\""},
    {"log_level = \"loud\";",
     "FILE:1: log_level: \"loud\" is none of \"error\", \"warn\", \"info\", \"debug\""},
    {"caches = ( { name = \"a\"; backend = \"disk\"; } );",
     "FILE:1: caches.backend: \"disk\" is none of \"auto\", \"memory\", \"redis\", \"layered\""},
    {"redis = { invalidation = \"\"; };",
     "FILE:1: redis.invalidation: \"\" is none of \"none\", \"redis\""},
    /* Limits. */
    {"workers = 63;", "FILE:1: workers: 63 is above the maximum, 62 processes"},
    {"workers = -1;", "FILE:1: workers: -1 is below the minimum, 0 processes"},
    {"redis = { pool_size = 9999999999L; };",
     "FILE:1: redis.pool_size: 9999999999 is above the maximum, 256 connections"},
    {"limits = { key = \"64K\"; };",
     "FILE:1: limits.key: 64K is above the maximum, 65535 (65535 bytes)"},
    {"limits = { key = \"0\"; };", "FILE:1: limits.key: 0 is below the minimum, 1 (1 bytes)"},
    {"caches = ( { name = \"a\"; memory = \"4095K\"; } );",
     "FILE:1: caches.memory: 4095K is below the minimum, 4M (4194304 bytes)"},
    {"sweep_interval = \"2m\";", "FILE:1: sweep_interval: 2m is above the maximum, 1m (60000 ms)"},
    /* Values that do not go together. */
    {"respawn_min = \"5s\";\nrespawn_max = \"1s\";",
     "FILE:2: respawn_max: 1s is below respawn_min, 5s (ms)"},
    {"redis = { server = \"r:1\"; reconnect_min = \"9s\"; };",
     "FILE: redis.reconnect_max: 5s is below reconnect_min, 9s (ms)"},
    {"redis = { channel = \"\"; };", "FILE:1: redis.channel: must not be empty; invalidation = "
                                     "\"none\" turns the messages off"},
    {"redis = { server = \"localhost\"; };",
     "FILE:1: redis.server: \"localhost\" has no port; write HOST:PORT"},
    {"redis = { server = \"localhost:0\"; };",
     "FILE:1: redis.server: \"localhost:0\": the port must be a number from 1 to 65535"},
    {"redis = { server = \"::1:6379\"; };",
     "FILE:1: redis.server: \"::1:6379\": an IPv6 address stands in brackets: [::1]:8080"},
    {"user = \"no-such-user\";", "FILE:1: user: there is no user \"no-such-user\" on this machine"},
    {"listen = ( { address = \"unix:a\"; group = \"no-such-group\"; } );",
     "FILE:1: listen.group: there is no group \"no-such-group\" on this machine"},
    {"caches = ( { name = \"a\"; },\n{ name = \"a\"; } );",
     "FILE:2: caches.name: there are two caches \"a\""},
    {"caches = ( { name = \"a b\"; } );",
     "FILE:1: caches.name: \"a b\": a name is 1 to 63 letters, "
     "digits, dots, dashes and underscores"},
    {"caches = ( { name = \"\"; } );", "FILE:1: caches.name: \"\": a name is 1 to 63 letters, "
                                       "digits, dots, dashes and underscores"},
    {"caches = ( { name = \"a\"; backend = \"layered\"; } );",
     "FILE:1: caches.backend: this backend needs a Redis, and redis.server is not set"},
    {"caches = ( { name = \"a\"; backend = \"redis\"; } );",
     "FILE:1: caches.backend: this backend needs a Redis, and redis.server is not set"},
    {"caches = ( { name = \"a\"; resp_db = 3; },\n{ name = \"b\"; resp_db = 3; } );",
     "FILE:2: caches.resp_db: 3 is taken by the cache \"a\""},
    {"limits = { value = \"1M\"; };\ncaches = ( { name = \"small\"; memory = \"4M\"; } );",
     "FILE:1: limits.value: 1M is above the maximum, 512K (524288 bytes): an eighth of the memory "
     "of the cache \"small\""},
    {"listen = ( { address = \"localhost:80\"; } );",
     "FILE:1: listen.address: \"localhost:80\" is no IP address and port; write 127.0.0.1:8080, "
     "[::1]:8080 or unix:PATH"},
    {"listen = ( { address = \"127.0.0.1\"; } );",
     "FILE:1: listen.address: \"127.0.0.1\" has no port; write HOST:PORT"},
    {"listen = ( { address = \"unix:\"; } );",
     "FILE:1: listen.address: a unix socket's path must be 1 to 107 bytes long, not 0"},
    {"listen = ( { address = \"127.0.0.1:80\"; },\n { address = \"127.0.0.1:80\"; } );",
     "FILE:2: listen.address: there are two listeners on 127.0.0.1:80"},
    {"listen = ( { address = \"127.0.0.1:80\"; mode = \"0600\"; } );",
     "FILE:1: listen.mode: has a meaning on unix sockets only"},
    {"listen = ( { address = \"127.0.0.1:80\"; cache = \"x\"; } );",
     "FILE:1: listen.cache: there is no cache \"x\""},
    {"listen = ( { address = \"127.0.0.1:80\"; protocol = \"gopher\"; } );",
     "FILE:1: listen.protocol: \"gopher\" is none of \"auto\", \"http\", \"resp\", \"memcached\""},
};

#define N_WRONG_FILES ((int)(sizeof(wrong_files) / sizeof(wrong_files[0])))

START_TEST(wrong_file_is_explained)
{
    struct config *config = NULL;
    struct errmsg msg = {""};

    ck_assert_int_eq(config_text_load(wrong_files[_i].text, NULL, &config, &msg), ERR_INVALID);
    ck_assert_str_eq(msg.text, wrong_files[_i].message);
    ck_assert_ptr_null(config);
}
END_TEST

START_TEST(numbers_that_fit_are_read)
{
    struct config *config;
    struct errmsg msg = {""};
    int rc = config_text_load("user = \"\"; # 99999999999\n"
                              "redis = { db = 0x10; queue = 1000000; attempts = 7L; };",
                              NULL, &config, &msg);

    ck_assert_msg(rc == ERR_OK, "%s", msg.text);
    ck_assert_int_eq(config->redis.db, 16);
    ck_assert_int_eq(config->redis.queue_max, 1000000);
    ck_assert_int_eq(config->redis.attempts, 7);
    config_free(config);
}
END_TEST

/* libconfig names the included file, and its folder is the including file's, not the process'. */
START_TEST(fault_in_an_included_file_names_that_file)
{
    const char *included = config_text_file("\nworkers = 99;\n");
    struct config *config;
    struct errmsg msg;
    char text[128];

    snprintf(text, sizeof(text), "user = \"\";\n@include \"%s\"\n", strrchr(included, '/') + 1);
    ck_assert_int_eq(config_text_load(text, NULL, &config, &msg), ERR_INVALID);
    ck_assert_msg(strstr(msg.text, strrchr(included, '/') + 1) != NULL, "%s", msg.text);
    ck_assert_msg(strstr(msg.text, ":2: workers: 99 is above the maximum") != NULL, "%s", msg.text);
}
END_TEST

START_TEST(too_many_elements)
{
    char text[8192] = "caches = ( { name = \"c0\"; }";
    struct config *config;
    struct errmsg msg;
    size_t len = strlen(text);

    for (int i = 1; i < CONFIG_MAX_CACHES; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, ", { name = \"c%d\"; }", i);
    strcpy(text + len, " );");
    ck_assert_int_eq(config_text_load(text, NULL, &config, &msg), ERR_INVALID);
    ck_assert_str_eq(msg.text,
                     "FILE: caches: more than the maximum, 64 caches (\"default\" counts too)");
    strcpy(text + len, ", { name = \"last\"; } );");
    ck_assert_int_eq(config_text_load(text, NULL, &config, &msg), ERR_INVALID);
    ck_assert_str_eq(msg.text, "FILE:1: caches: 65 of them; the maximum is 64");
}
END_TEST

START_TEST(unreadable_files)
{
    struct config_flags flags = {.file = "/nonexistent/cachetastic.conf"};
    struct config *config;
    struct errmsg msg;

    ck_assert_int_eq(config_load(&flags, &config, &msg), ERR_SYSTEM);
    ck_assert_str_eq(msg.text,
                     "cannot read /nonexistent/cachetastic.conf: No such file or directory");
    /* libconfig's scanner would end the process here. */
    flags.file = "/";
    ck_assert_int_eq(config_load(&flags, &config, &msg), ERR_SYSTEM);
    ck_assert_str_eq(msg.text, "cannot read /: Is a directory");
    flags.file = "/dev/zero";
    ck_assert_int_eq(config_load(&flags, &config, &msg), ERR_LIMIT);
    ck_assert_str_eq(msg.text, "/dev/zero is larger than 1048576 bytes");
}
END_TEST

START_TEST(empty_file_is_the_defaults)
{
    struct config *config;
    struct errmsg msg;

    ck_assert_int_eq(config_text_load("", NULL, &config, &msg), ERR_OK);
    ck_assert_uint_eq(config->n_caches, 1);
    ck_assert_uint_eq(config->n_listeners, 2);
    config_free(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_reader");
    TCase *tcase = tcase_create("config_reader");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, NULL, config_text_end);
    tcase_add_loop_test(tcase, wrong_file_is_explained, 0, N_WRONG_FILES);
    tcase_add_test(tcase, numbers_that_fit_are_read);
    tcase_add_test(tcase, fault_in_an_included_file_names_that_file);
    tcase_add_test(tcase, too_many_elements);
    tcase_add_test(tcase, unreadable_files);
    tcase_add_test(tcase, empty_file_is_the_defaults);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
