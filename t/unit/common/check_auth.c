#include "common/auth.h"

#include "config_text.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* printf %s secret | sha256sum */
#define SECRET_SHA256 "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"

static struct config *config;

static void teardown(void)
{
    config_free(config);
    config = NULL;
    config_text_end();
}

static void load(const char *text)
{
    struct errmsg msg = {.text = ""};

    ck_assert_msg(config_text_load(text, NULL, &config, &msg) == ERR_OK, "%s", msg.text);
}

static void load_two_users(void)
{
    load("caches = ( { name = \"other\"; memory = \"4M\"; } );\n"
         "users = ( { name = \"app\"; password_sha256 = \"" SECRET_SHA256 "\";\n"
         "            rights = [ \"default: read write\", \"other: read, purge\" ]; },\n"
         "          { name = \"peer\"; rights = [ \"*: all\" ]; } );\n");
}

static const struct config_user *login(const char *name, const char *password)
{
    return auth_login(config, slice_cstr(name), slice_cstr(password));
}

START_TEST(the_right_password_only)
{
    load_two_users();
    ck_assert_ptr_eq(login("app", "secret"), &config->users[0]);
    ck_assert_ptr_null(login("app", "Secret"));
    ck_assert_ptr_null(login("app", ""));
    ck_assert_ptr_null(login("app", "secretsecret"));
    ck_assert_ptr_null(login("ap", "secret"));
    ck_assert_ptr_null(login("", "secret"));
    ck_assert_ptr_null(login("nobody", "secret"));
}
END_TEST

/* Without a password it is a trusted peer's: no digest opens it, that of nothing included. */
START_TEST(a_user_without_a_password_cannot_log_in)
{
    load_two_users();
    ck_assert_ptr_null(login("peer", ""));
    ck_assert_ptr_null(login("peer", "secret"));
    ck_assert_ptr_null(auth_bearer(config, SLICE_LIT("")));
}
END_TEST

START_TEST(a_bearer_is_known_by_the_password)
{
    load_two_users();
    ck_assert_ptr_eq(auth_bearer(config, SLICE_LIT("secret")), &config->users[0]);
    ck_assert_ptr_null(auth_bearer(config, SLICE_LIT("app:secret")));
}
END_TEST

START_TEST(rights_are_per_cache)
{
    const struct config_user *app, *peer;

    load_two_users();
    app = &config->users[0];
    peer = &config->users[1];
    ck_assert_str_eq(config->caches[0].name, "default");
    ck_assert(auth_may(config, app, &config->caches[0], AUTH_READ | AUTH_WRITE));
    ck_assert(!auth_may(config, app, &config->caches[0], AUTH_PURGE));
    ck_assert(auth_may(config, app, &config->caches[1], AUTH_READ | AUTH_PURGE));
    ck_assert(!auth_may(config, app, &config->caches[1], AUTH_WRITE));
    ck_assert(!auth_may(config, NULL, &config->caches[0], AUTH_READ));
    ck_assert(auth_may(config, peer, &config->caches[0], AUTH_ALL));
    ck_assert(auth_may(config, peer, &config->caches[1], AUTH_ALL));
    ck_assert_str_eq(auth_missing(app, config, &config->caches[1], AUTH_READ | AUTH_WRITE),
                     "write");
}
END_TEST

START_TEST(without_users_everybody_may)
{
    load("workers = 1;");
    ck_assert(!auth_required(config));
    ck_assert(auth_may(config, NULL, &config->caches[0], AUTH_ALL));
    ck_assert_ptr_null(login("default", ""));
}
END_TEST

START_TEST(a_password_from_a_file)
{
    char path[] = "/tmp/check_auth.XXXXXX";
    char text[256];
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "from a file\n", 12), 12);
    close(fd);
    snprintf(text, sizeof(text), "users = ( { name = \"default\"; password_file = \"%s\"; } );",
             path);
    load(text);
    unlink(path);
    ck_assert_ptr_nonnull(login("", "from a file"));
    ck_assert_ptr_null(login("", "from a file\n"));
}
END_TEST

START_TEST(trusted_peers)
{
    char text[512];

    snprintf(text, sizeof(text),
             "listen = ( { address = \"unix:/tmp/x.sock\"; trust_users = [ \"%s\", \"4711\" ]; "
             "trust_as = \"app\"; }, { address = \"unix:/tmp/y.sock\"; trust_users = [ \"*\" ]; "
             "trust_as = \"app\"; }, { address = \"unix:/tmp/z.sock\"; } );\n"
             "users = ( { name = \"app\"; } );",
             "root");
    load(text);
    ck_assert_ptr_eq(auth_peer(config, &config->listeners[0], 0), &config->users[0]);
    ck_assert_ptr_eq(auth_peer(config, &config->listeners[0], 4711), &config->users[0]);
    ck_assert_ptr_null(auth_peer(config, &config->listeners[0], 4712));
    ck_assert_ptr_eq(auth_peer(config, &config->listeners[1], 4712), &config->users[0]);
    ck_assert_ptr_null(auth_peer(config, &config->listeners[2], 0));
}
END_TEST

static const struct {
    const char *text, *why;
} bad[] = {
    {"users = ( { rights = [ ]; } );", "users.name: is missing"},
    {"users = ( { name = \"a b\"; } );", "printable ASCII"},
    {"users = ( { name = \"a\"; }, { name = \"a\"; } );", "two users \"a\""},
    {"users = ( { name = \"a\"; password_sha256 = \"12\"; } );", "64 hex digits"},
    {"users = ( { name = \"a\"; password_sha256 = \"" SECRET_SHA256
     "\"; password_file = \"/x\"; } );",
     "excludes password_sha256"},
    {"users = ( { name = \"a\"; password_file = \"/does/not/exist\"; } );", "/does/not/exist"},
    {"users = ( { name = \"a\"; rights = [ \"read\" ]; } );", "CACHE: read write"},
    {"users = ( { name = \"a\"; rights = [ \"nix: read\" ]; } );", "no cache \"nix\""},
    {"users = ( { name = \"a\"; rights = [ \"*: fly\" ]; } );", "\"fly\" is no right"},
    {"listen = ( { address = \"unix:/tmp/x.sock\"; trust_users = [ \"root\" ]; } );",
     "there is no user \"default\" in users"},
    {"listen = ( { address = \"127.0.0.1:1\"; trust_users = [ \"root\" ]; } );",
     "on unix sockets only"},
    {"users = ( { name = \"default\"; } ); listen = ( { address = \"unix:/tmp/x.sock\"; "
     "trust_users = [ \"no-such-user\" ]; } );",
     "no user \"no-such-user\""},
};

START_TEST(what_is_wrong_is_said)
{
    struct errmsg msg = {.text = ""};

    ck_assert_int_ne(config_text_load(bad[_i].text, NULL, &config, &msg), ERR_OK);
    config = NULL;
    ck_assert_msg(strstr(msg.text, bad[_i].why) != NULL, "%s", msg.text);
}
END_TEST

/* Neither the password nor its digest is printed. */
START_TEST(dumps_are_masked)
{
    char *text;

    load_two_users();
    text = config_text_dump(config);
    ck_assert_ptr_null(strstr(text, "2bb80d"));
    ck_assert_ptr_nonnull(strstr(text, "The password of app is set"));
    ck_assert_ptr_nonnull(strstr(text, "\"other: read, purge\""));
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("auth");
    TCase *tcase = tcase_create("auth");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, the_right_password_only);
    tcase_add_test(tcase, a_user_without_a_password_cannot_log_in);
    tcase_add_test(tcase, a_bearer_is_known_by_the_password);
    tcase_add_test(tcase, rights_are_per_cache);
    tcase_add_test(tcase, without_users_everybody_may);
    tcase_add_test(tcase, a_password_from_a_file);
    tcase_add_test(tcase, trusted_peers);
    tcase_add_loop_test(tcase, what_is_wrong_is_said, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tcase, dumps_are_masked);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
