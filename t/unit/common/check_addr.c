#include "common/addr.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(addresses_to_listen_on)
{
    struct addr addr;
    struct errmsg msg;

    ck_assert_int_eq(addr_parse("127.0.0.1:8080", &addr, &msg), ERR_OK);
    ck_assert_int_eq(addr.sock.in.sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(addr.sock.in.sin_port), 8080);
    ck_assert_uint_eq(ntohl(addr.sock.in.sin_addr.s_addr), INADDR_LOOPBACK);
    ck_assert_uint_eq(addr.len, sizeof(struct sockaddr_in));
    ck_assert_int_eq(addr_parse("[::1]:65535", &addr, &msg), ERR_OK);
    ck_assert_int_eq(addr.sock.in6.sin6_family, AF_INET6);
    ck_assert_uint_eq(ntohs(addr.sock.in6.sin6_port), 65535);
    ck_assert_uint_eq(addr.len, sizeof(struct sockaddr_in6));
    ck_assert_int_eq(addr_parse("unix:run/x.sock", &addr, &msg), ERR_OK);
    ck_assert(addr_is_unix(&addr));
    ck_assert_str_eq(addr.sock.un.sun_path, "run/x.sock");
}
END_TEST

START_TEST(wrong_addresses)
{
    static const char *const cases[] = {
        "",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "::1:8080",
        "[::1]",
        "127.0.0.1:99999",
        "1.2.3:80",
        "127.0.0.1:80x",
        "host:80",
        "[host]:80",
        "unix:",
        "*:80",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1:080",
        "[]:80",
    };
    char path[140] = "unix:";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr addr;
        struct errmsg msg = {""};

        ck_assert_msg(addr_parse(cases[i], &addr, &msg) == ERR_INVALID, "%s", cases[i]);
        ck_assert_str_ne(msg.text, "");
    }
    for (size_t len = 107; len <= 108; len++) {
        struct addr addr;

        memset(path + 5, 'a', len);
        path[5 + len] = '\0';
        ck_assert_int_eq(addr_parse(path, &addr, NULL), len == 107 ? ERR_OK : ERR_INVALID);
    }
}
END_TEST

START_TEST(hosts_and_ports)
{
    char host[ADDR_HOST_MAX];
    char text[300];
    uint16_t port;

    ck_assert_int_eq(addr_split("redis.example:6379", host, &port, NULL), ERR_OK);
    ck_assert_str_eq(host, "redis.example");
    ck_assert_uint_eq(port, 6379);
    ck_assert_int_eq(addr_split("[fe80::1]:1", host, &port, NULL), ERR_OK);
    ck_assert_str_eq(host, "fe80::1");
    ck_assert_int_eq(addr_split("redis", host, &port, NULL), ERR_INVALID);
    ck_assert_int_eq(addr_split(":6379", host, &port, NULL), ERR_INVALID);
    memset(text, 'a', 256);
    strcpy(text + 256, ":1");
    ck_assert_int_eq(addr_split(text, host, &port, NULL), ERR_INVALID);
    strcpy(text + 255, ":1");
    ck_assert_int_eq(addr_split(text, host, &port, NULL), ERR_OK);
}
END_TEST

START_TEST(loopback)
{
    static const struct {
        const char *text;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:1", true},
        {"127.9.9.9:1", true},
        {"128.0.0.1:1", false},
        {"0.0.0.0:1", false},
        {"[::1]:1", true},
        {"[::]:1", false},
        {"[::2]:1", false},
        {"[::ffff:127.0.0.1]:1", true},
        {"[::ffff:10.0.0.1]:1", false},
        {"unix:127.0.0.1", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct addr addr;

        ck_assert_int_eq(addr_parse(cases[i].text, &addr, NULL), ERR_OK);
        ck_assert_msg(addr_is_loopback(&addr) == cases[i].loopback, "%s", cases[i].text);
    }
}
END_TEST

START_TEST(nets)
{
    static const struct {
        const char *address, *net;
        int want;
    } cases[] = {
        {"10.1.2.3", "10.0.0.0/8", 1},
        {"11.1.2.3", "10.0.0.0/8", 0},
        {"10.1.2.3", "10.1.2.3", 1},
        {"10.1.2.4", "10.1.2.3", 0},
        {"10.1.2.3", "0.0.0.0/0", 1},
        {"::1", "0.0.0.0/0", 0},
        {"::1", "::1", 1},
        {"fe80::5", "fe80::/10", 1},
        {"::ffff:10.1.2.3", "10.0.0.0/8", 1},
        {"x", "10.0.0.0/8", 0},
        {"10.1.2.3", "10.0.0.0/33", -1},
        {"10.1.2.3", "10.0.0.0/", -1},
        {"10.1.2.3", "10.0.0.0/8x", -1},
        {"10.1.2.3", "ten", -1},
        {"10.1.2.3", "", -1},
        {"10.1.2.3", "::/129", -1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(addr_in_net(cases[i].address, cases[i].net) == cases[i].want, "%s in %s",
                      cases[i].address, cases[i].net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("addr");
    TCase *tcase = tcase_create("addr");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, nets);

    tcase_add_test(tcase, addresses_to_listen_on);
    tcase_add_test(tcase, wrong_addresses);
    tcase_add_test(tcase, hosts_and_ports);
    tcase_add_test(tcase, loopback);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
