/* Names of keys in Redis: no key of one cache can be another's, and every name decodes to its key.
 */
#include "cache/impl.h"

#include <check.h>
#include <stdlib.h>

static struct cache caches[4];
static struct config config;

/* Default, a named one, one with a prefix of its own, one with the empty prefix. */
static void setup(void)
{
    config.redis.prefix = (char *)(uintptr_t) "app";
    for (unsigned i = 0; i < 4; i++) {
        caches[i] = (struct cache){.number = i, .config = &config.caches[i]};
        config.caches[i].name = (char *)(uintptr_t)(i == 1 ? "sessions" : "x");
        config.caches[i].redis_prefix_set = i >= 2;
        config.caches[i].redis_prefix = (char *)(uintptr_t)(i == 2 ? "shop*" : "");
        ck_assert_int_eq(keyname_init(&caches[i], &config), ERR_OK);
    }
}

static void teardown(void)
{
    for (unsigned i = 0; i < 4; i++)
        if (caches[i].prefix.len > 0)
            free((char *)(uintptr_t)caches[i].prefix.data);
}

static void expect_name(unsigned cache, const char *key, const char *name)
{
    struct buf out = {0};
    struct slice back;

    ck_assert_int_eq(keyname_encode(&caches[cache], slice_cstr(key), &out), ERR_OK);
    ck_assert_msg(slice_eq(buf_slice(&out), slice_cstr(name)), "%s became %.*s", key,
                  (int)buf_len(&out), buf_head(&out));
    ck_assert(keyname_decode(&caches[cache], buf_slice(&out), &back));
    ck_assert(slice_eq(back, slice_cstr(key)));
    buf_fini(&out);
}

START_TEST(names)
{
    expect_name(0, "k", "app:k");
    expect_name(0, "@k", "app:@@k");
    expect_name(0, "@sessions:k", "app:@@sessions:k");
    expect_name(1, "k", "app:@sessions:k");
    expect_name(1, "@k", "app:@sessions:@k");
    expect_name(2, "k", "shop*:k");
    expect_name(2, "@k", "shop*:@k");
    expect_name(3, "k", "k");
}
END_TEST

START_TEST(foreign_names_are_nobodys)
{
    struct slice key;

    ck_assert(!keyname_decode(&caches[0], SLICE_LIT("app:@sessions:k"), &key));
    ck_assert(!keyname_decode(&caches[0], SLICE_LIT("app:@"), &key));
    ck_assert(!keyname_decode(&caches[0], SLICE_LIT("other:k"), &key));
    ck_assert(!keyname_decode(&caches[1], SLICE_LIT("app:k"), &key));
    ck_assert(!keyname_decode(&caches[1], SLICE_LIT("app:@session:k"), &key));
}
END_TEST

static void expect_glob(unsigned cache, const char *pattern, const char *glob)
{
    struct buf out = {0};

    ck_assert_int_eq(keyname_scan_glob(&caches[cache], slice_cstr(pattern), &out), ERR_OK);
    ck_assert_msg(slice_eq(buf_slice(&out), slice_cstr(glob)), "%s became %.*s", pattern,
                  (int)buf_len(&out), buf_head(&out));
    buf_fini(&out);
}

/* What SCAN is asked for finds every name that can match: a doubled '@' too. */
START_TEST(globs)
{
    expect_glob(0, "user:*", "app:user:*");
    expect_glob(0, "*x", "app:*");
    expect_glob(0, "@x*", "app:*");
    expect_glob(0, "[@a]x", "app:*");
    expect_glob(1, "*x", "app:@sessions:*x");
    expect_glob(2, "a*", "shop\\*:a*");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache: keyname");
    TCase *tc = tcase_create("keyname");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, names);
    tcase_add_test(tc, foreign_names_are_nobodys);
    tcase_add_test(tc, globs);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
