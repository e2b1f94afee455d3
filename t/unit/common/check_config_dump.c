/* What is printed can be read back. */
#include "common/config.h"

#include "config_text.h"

#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Load text, dump it, load the dump, dump that: both dumps, to be freed. */
static void dump_twice(const char *text, char **first, char **second)
{
    const char *input = text;
    char **dumps[] = {first, second};

    for (size_t i = 0; i < 2; i++) {
        struct config *config;
        struct errmsg msg = {""};
        int rc = config_text_load(input, NULL, &config, &msg);

        ck_assert_msg(rc == ERR_OK, "%s", msg.text);
        *dumps[i] = config_text_dump(config);
        input = *dumps[i];
        config_free(config);
    }
}

static void check_round_trip(const char *text)
{
    char *first;
    char *second;

    dump_twice(text, &first, &second);
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
}

START_TEST(defaults_read_back)
{
    check_round_trip("");
}
END_TEST

/* Every key, none with its default. */
static const char full[] =
    "user = \"root\"; group = \"root\"; workers = 7; pid_file = \"/run/x.pid\";\n"
    "log_file = \"/var/log/a \\\"b\\\" \\\\ \\x01.log\"; log_level = \"debug\";\n"
    "access_log = \"/x\"; access_log_format = \"$ms\"; access_log_sample = 3;\n"
    "trusted_proxies = [ \"10.0.0.0/8\", \"::1\" ];\n"
    "sweep_interval = \"1500ms\"; respawn_min = \"2s\"; respawn_max = \"1m\";\n"
    "huge_pages = true; mlock = true; databases = 9;\n"
    "api_token_file = \"%s\"; api_hosts = ( \"a.example\", \"b.example\" );\n"
    "limits = { connections = 99; key = \"2K\"; value = \"100K\"; resp_args = 99;\n"
    "  resp_inline = \"1K\"; http_line = \"1K\"; http_header = \"3K\"; http_header_count = 33;\n"
    "  http_body = \"3M\"; memcached_line = \"5K\";\n"
    "  pipeline = \"2M\"; pipeline_pending = 5; transaction = \"5M\"; output = \"3M\"; "
    "idle_timeout = \"1h\";\n"
    "  leases = 7; fetch_wait = \"2m\"; fetch_lease = \"3m\"; fetch_stale = \"4m\";\n"
    "  http_stall = \"4s\"; connections_per_address = 6; connection_rate = 7; "
    "connection_burst = 8;  tunnels = 5; http_idle = \"5s\"; header_timeout = \"3s\"; "
    "drain_timeout = \"7s\"; "
    "};\n"
    "redis = { server = \"[::1]:6379\"; db = 3; user = \"u\"; password_file = \"%s\";\n"
    "  prefix = \"\"; allow_clear = true; pool_size = 2; connect_timeout = \"3s\";\n"
    "  command_timeout = \"4s\"; attempts = 9; retry_delay = \"5ms\"; deadline = \"9s\";\n"
    "  reconnect_min = \"6s\"; reconnect_max = \"7s\"; queue = 77; own_connections = 9; "
    "breaker_failures = 8;\n"
    "  breaker_open = \"9s\"; invalidation = \"none\"; channel = \"ch\"; journal_entries = 2048;\n"
    "  tracking = true; loss_window = \"2m\"; settle = \"9s\"; };\n"
    "listen = ( { address = \"unix:/tmp/a\"; protocol = \"resp\"; cache = \"other\";\n"
    "  mode = \"0600\"; owner = \"root\"; group = \"root\"; backlog = 3; proxy_protocol = true; "
    "admin = true;\n"
    "  trust_users = [ \"root\" ]; trust_as = \"u\"; },\n"
    "  { address = \"[::1]:80\"; protocol = \"http\"; } );\n"
    "caches = ( { name = \"other\"; memory = \"5M\"; size_credit = false; ttl = \"1d\";\n"
    "  ttl_jitter = 10; direct = true; direct_users = [ \"www-data\", \"33\" ];\n"
    "  direct_trust = true;\n"
    "  backend = \"redis\"; backup = \"memory\"; redis_prefix = \"p\"; resp_db = 12; },\n"
    "  { name = \"bare\"; redis_prefix = \"\"; } );\n"
    "routes = ( { host = \"*.example\"; path = \"/a\"; origin = [ \"http://a\", \"unix:/b\" ];\n"
    "  balance = \"hash\"; cache = \"other\"; host_header = \"h\"; ttl = \"1s\"; ttl_max = "
    "\"2s\";\n"
    "  grace = \"3s\"; stale_if_error = \"4s\"; pass_ttl = \"5s\"; lease_wait = \"6s\";\n"
    "  max_object = \"9K\"; store_set_cookie = true; honor_client = true; tag_header = \"xkey\";\n"
    "  bypass_cookies = [ \"s*\" ]; ignore_query = [ \"utm_*\" ]; sort_query = true;\n"
    "  methods = [ \"GET\" ]; status_ttl = [ \"404: 1s\" ]; ignore_headers = [ \"Vary\" ];\n"
    "  bypass_headers = [ \"X-B\" ]; bypass_query = [ \"b\" ]; key_query = [ \"k\" ];\n"
    "  key_cookies = [ \"lang\" ]; set_request = [ \"X-S: 1\" ]; remove_request = [ \"X-R\" ];\n"
    "  set_response = [ \"X-T: 2\" ]; remove_response = [ \"X-U*\" ];\n"
    "  key_headers = [ \"X-Device\" ]; connect_timeout = \"7s\"; first_byte_timeout = \"8s\";\n"
    "  idle_timeout = \"9s\"; keepalive = 3; keepalive_timeout = \"11s\"; fail_timeout = \"12s\";\n"
    "  health_path = \"/up\"; health_interval = \"13s\"; health_timeout = \"14s\"; parts = false; "
    "upgrade = "
    "\"x\"; tunnel_idle = \"15s\"; tls_verify = "
    "false; tls_ca_file = \"/dev/null\"; tls_name = \"n\"; fail_count = 4; "
    "},\n"
    "  { target = \"answer\"; answer_status = 201; answer_type = \"a/b\"; answer_body = \"c\"; } "
    ");\n"
    "# A digest is masked, so it does not read back: password_sha256 = \n"
    "users = ( { name = \"u\"; password_file = \"%s\"; rights = [ \"bare: read\" ]; } );\n";

START_TEST(every_key_reads_back)
{
    char text[8192];
    const char *secret = config_text_file("secret\n");

    ck_assert_int_lt(snprintf(text, sizeof(text), full, secret, secret, secret), (int)sizeof(text));
    check_round_trip(text);
}
END_TEST

/* The text above has every row of the table, so a new row must be put there, and is then tested. */
START_TEST(full_text_has_every_key)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);
    char pattern[64];

    for (size_t i = 0; i < n_rows; i++) {
        snprintf(pattern, sizeof(pattern), "%s = ", rows[i].name);
        ck_assert_msg(strstr(full, pattern) != NULL, "%s", rows[i].name);
    }
}
END_TEST

/* Each key of the full text comes out of its dump with another value than the default's dump has,
 * so no row writes to the wrong place or is lost. */
START_TEST(no_value_is_lost)
{
    char text[8192];
    const char *secret = config_text_file("secret\n");
    char *full_dump[2];
    char *default_dump[2];
    size_t same = 0;

    snprintf(text, sizeof(text), full, secret, secret, secret);
    dump_twice(text, &full_dump[0], &full_dump[1]);
    dump_twice("", &default_dump[0], &default_dump[1]);
    /* The first half of the dump: the groups, before the lists whose elements differ in number. */
    *strstr(full_dump[0], "listen = (") = '\0';
    for (char *line = strtok(full_dump[0], "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strstr(line, " = ") != NULL && line[strlen(line) - 1] == ';' &&
            strstr(default_dump[0], line) != NULL)
            same++;
    ck_assert_uint_eq(same, 0);
    for (size_t i = 0; i < 2; i++) {
        free(full_dump[i]);
        free(default_dump[i]);
    }
}
END_TEST

/* The sample with its settings switched on: "#key" and "#}" lose the #, "# text" keeps it. */
static char *switch_on(const char *sample)
{
    char *text = strdup(sample);
    char *to = text;

    for (const char *from = sample; *from != '\0'; from++) {
        bool line_start = from == sample || from[-1] == '\n' ||
                          (from[-1] == ' ' && strspn(from, "#") == 1 && to > text &&
                           isspace((unsigned char)to[-1]));

        if (line_start && *from == '#' && from[1] != ' ' && from[1] != '\n')
            continue;
        *to++ = *from;
    }
    *to = '\0';
    return text;
}

static char *print_sample(void)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    ck_assert_int_eq(config_print_sample(out), ERR_OK);
    fclose(out);
    return text;
}

/* Without the lines that have this word. */
static void drop_lines(char *text, const char *word)
{
    char *place;

    while ((place = strstr(text, word)) != NULL) {
        char *end = strchr(place, '\n') + 1;

        while (place > text && place[-1] != '\n')
            place--;
        memmove(place, end, strlen(end) + 1);
    }
}

START_TEST(sample_shows_the_defaults)
{
    /* The lists of the sample have an element each, so that their keys can be seen. */
    static const char off[] = "listen = ( { address = \"unix:run/cachetastic.sock\"; },\n"
                              "  { address = \"127.0.0.1:8080\"; protocol = \"http\"; } );\n"
                              "routes = ( { origin = [ \"http://127.0.0.1:3000\" ]; } );\n";
    char *sample = print_sample();
    char *on = switch_on(sample);
    char *defaults[2];
    char *dumps[2];

    dump_twice(off, &defaults[0], &defaults[1]);
    dump_twice(on, &dumps[0], &dumps[1]);
    /* The sample has a value for it, so that it can be seen; the default is none. */
    drop_lines(dumps[0], "redis_prefix = ");
    /* And a user, where the default is that there are none. */
    ck_assert_ptr_nonnull(strstr(dumps[0], "\nusers = ("));
    *strstr(dumps[0], "\nusers = (") = '\0';
    ck_assert_str_eq(dumps[0], defaults[0]);
    free(sample);
    free(on);
    for (size_t i = 0; i < 2; i++) {
        free(dumps[i]);
        free(defaults[i]);
    }
}
END_TEST

START_TEST(sample_and_manual_have_every_key)
{
    size_t n_rows;
    const struct config_row *rows = config_schema(&n_rows);
    char *sample = print_sample();
    char *manual = NULL;
    size_t len;
    FILE *out = open_memstream(&manual, &len);
    char pattern[64];

    ck_assert_int_eq(config_print_manual(out), ERR_OK);
    fclose(out);
    for (size_t i = 0; i < n_rows; i++) {
        snprintf(pattern, sizeof(pattern), "#%s = ", rows[i].name);
        ck_assert_msg(strstr(sample, pattern) != NULL, "%s", rows[i].name);
        snprintf(pattern, sizeof(pattern), "\n.It Ic %s\n", rows[i].name);
        ck_assert_msg(strstr(manual, pattern) != NULL, "%s", rows[i].name);
    }
    free(sample);
    free(manual);
}
END_TEST

START_TEST(full_disk_is_reported)
{
    FILE *out = fopen("/dev/full", "w");
    struct config *config;
    struct errmsg msg;

    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(config_text_load("", NULL, &config, &msg), ERR_OK);
    ck_assert_int_eq(config_dump(config, out), ERR_SYSTEM);
    config_free(config);
    fclose(out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_dump");
    TCase *tcase = tcase_create("config_dump");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, NULL, config_text_end);
    tcase_add_test(tcase, defaults_read_back);
    tcase_add_test(tcase, every_key_reads_back);
    tcase_add_test(tcase, full_text_has_every_key);
    tcase_add_test(tcase, no_value_is_lost);
    tcase_add_test(tcase, sample_shows_the_defaults);
    tcase_add_test(tcase, sample_and_manual_have_every_key);
    tcase_add_test(tcase, full_disk_is_reported);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
