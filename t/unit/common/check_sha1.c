#include "common/sha1.h"

#include <check.h>
#include <stdlib.h>

START_TEST(known_digests)
{
    char out[SHA1_TEXT_LEN + 1];

    /* FIPS 180-2, appendix A, and the digest of nothing. */
    ck_assert_int_eq(sha1_text(SLICE_LIT("abc"), out), ERR_OK);
    ck_assert_str_eq(out, "a9993e364706816aba3e25717850c26c9cd0d89d");
    ck_assert_int_eq(sha1_text(SLICE_LIT(""), out), ERR_OK);
    ck_assert_str_eq(out, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sha1");
    TCase *tcase = tcase_create("digests");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, known_digests);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
