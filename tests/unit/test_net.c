/* Facts about net.c: what is an address, which range holds it, where to listen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/net.h"

static int setup(void **state)
{
    static struct arena a;

    arena_init(&a, 1 << 20);
    *state = &a;
    return 0;
}

static int teardown(void **state)
{
    arena_done(*state);
    return 0;
}

static void assert_ip(const char *text, const char *want)
{
    char room[64];
    struct buf b = { .p = room, .cap = sizeof(room) - 1, .max = sizeof(room) - 1 };
    struct ip ip;

    assert_true(ip_parse(str_of(text), &ip));
    ip_print(&b, &ip);
    room[b.n] = '\0';
    assert_string_equal(room, want);
}

static bool matches(struct arena *a, const char *list, const char *addr)
{
    struct cidrs c;
    struct str bad;
    struct ip ip;

    assert_true(cidrs_parse(a, str_of(list), &c, &bad));
    assert_true(ip_parse(str_of(addr), &ip));
    return cidrs_match(c, &ip);
}

static void test_addresses_parse_and_print(void **state)
{
    static const char *const bad[] = { "",
                                       "1.2.3",
                                       "1.2.3.4.5",
                                       "256.1.1.1",
                                       "01.2.3.4",
                                       "1.2.3.4 ",
                                       "1.2.3.4:80",
                                       "[::1]",
                                       "fe80::1%eth0",
                                       "::g",
                                       ":::",
                                       "1",
                                       "0000:0000:0000:0000:0000:0000:0000:0000:0000:0001" };

    (void)state;
    assert_ip("192.0.2.1", "192.0.2.1");
    assert_ip("0.0.0.0", "0.0.0.0");
    assert_ip("2001:DB8:0:0::1", "2001:db8::1");
    assert_ip("::ffff:192.0.2.1", "192.0.2.1");
    assert_ip("::FFFF:c000:0201", "192.0.2.1");
    assert_ip("::", "::");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(ip_parse(str_of(bad[i]), &(struct ip){ { 0 } }));
    assert_false(ip_parse((struct str){ "1.2.3.4\0", 8 }, &(struct ip){ { 0 } }));
    assert_false(ip_parse(STR_NONE, &(struct ip){ { 0 } }));
}

static void test_ranges_hold_their_addresses(void **state)
{
    assert_true(matches(*state, "10.0.0.0/8", "10.255.0.1"));
    assert_false(matches(*state, "10.0.0.0/8", "11.0.0.0"));
    assert_true(matches(*state, "192.0.2.7", "192.0.2.7"));
    assert_false(matches(*state, "192.0.2.7", "192.0.2.6"));
    assert_true(matches(*state, "192.0.2.6/31", "192.0.2.7"));
    assert_true(matches(*state, "0.0.0.0/0", "255.255.255.255"));
    assert_true(matches(*state, "172.16.0.0/12", "172.31.255.255"));
    assert_false(matches(*state, "172.16.0.0/12", "172.32.0.0"));
    assert_true(matches(*state, "2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(matches(*state, "2001:db8::/33", "2001:db8:8000::1"));
    assert_true(matches(*state, "1.1.1.1, 2.2.2.2\t::1,", "::1"));
    assert_false(matches(*state, "", "127.0.0.1"));
}

static void test_mapped_addresses_are_judged_as_v4(void **state)
{
    assert_true(matches(*state, "10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(matches(*state, "::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_false(matches(*state, "::/0", "10.1.2.3"));
    assert_true(matches(*state, "::/0", "2001:db8::1"));
    assert_false(matches(*state, "0.0.0.0/0", "2001:db8::1"));
}

static void test_bad_ranges_are_named(void **state)
{
    static const char *const bad[] = { "10.0.0.1/8",     "10.0.0.0/33", "::/129",  "10.0.0.0/",
                                       "10.0.0.0/-1",    "10.0.0.0/08", "/8",      "10.0.0.0/8/8",
                                       "2001:db8::1/32", "10.0.0.0/+8", "example", "10.0.0.0/ 8" };
    struct cidrs c = { NULL, 77 };
    struct str item;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(cidr_parse(str_of(bad[i]), &(struct cidr){ .bits = 0 }));
    assert_false(cidrs_parse(*state, STR("10.0.0.0/8, 10.0.0.1/8 ,::1"), &c, &item));
    assert_int_equal(c.n, 77);
    assert_true(str_eq(item, STR("10.0.0.1/8")));
}

static void test_lists_have_a_maximum(void **state)
{
    struct buf b;
    struct cidrs c;
    struct str bad;

    buf_init(&b, *state, 10000);
    for (int i = 0; i < 256; i++)
        buf_printf(&b, "10.0.0.%d ", i);
    assert_true(cidrs_parse(*state, buf_view(&b), &c, &bad));
    assert_int_equal(c.n, 256);
    assert_int_equal(c.v[255].ip.b[15], 255);
    buf_lit(&b, "10.0.1.0");
    assert_false(cidrs_parse(*state, buf_view(&b), &c, &bad));
    assert_true(str_eq(bad, STR("10.0.1.0")));
}

static void test_sockets_give_their_address(void **state)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct ip ip, want;

    (void)state;
    in.sin_addr.s_addr = htonl(0xC0000201);
    ip = ip_of_sockaddr((struct sockaddr *)&in);
    assert_true(ip_parse(STR("192.0.2.1"), &want));
    assert_memory_equal(&ip, &want, sizeof(ip));
    in6.sin6_addr = in6addr_loopback;
    ip = ip_of_sockaddr((struct sockaddr *)&in6);
    assert_true(ip_parse(STR("::1"), &want));
    assert_memory_equal(&ip, &want, sizeof(ip));
    ip = ip_of_sockaddr((struct sockaddr *)&un);
    assert_memory_equal(&ip, &want, sizeof(ip));
}

static void test_listen_forms(void **state)
{
    static const char *const bad[] = { "",
                                       ":",
                                       "localhost:80",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "::1:8080",
                                       "[::1]",
                                       "[::1]:",
                                       "[127.0.0.1]:80",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:080",
                                       "[]:80",
                                       "[::1:80",
                                       "80 " };
    struct sockaddr_storage ss;
    const struct sockaddr_in *in = (const void *)&ss;
    const struct sockaddr_in6 *in6 = (const void *)&ss;
    socklen_t len;

    (void)state;
    assert_true(listen_parse(STR("127.0.0.1:8080"), &ss, &len));
    assert_int_equal(len, sizeof(*in));
    assert_int_equal(in->sin_family, AF_INET);
    assert_int_equal(ntohs(in->sin_port), 8080);
    assert_int_equal(ntohl(in->sin_addr.s_addr), INADDR_LOOPBACK);
    assert_true(listen_parse(STR("[::1]:65535"), &ss, &len));
    assert_int_equal(len, sizeof(*in6));
    assert_int_equal(in6->sin6_family, AF_INET6);
    assert_int_equal(ntohs(in6->sin6_port), 65535);
    assert_memory_equal(&in6->sin6_addr, &in6addr_loopback, 16);
    assert_true(listen_parse(STR(":0"), &ss, &len));
    assert_int_equal(in->sin_addr.s_addr, INADDR_ANY);
    assert_int_equal(in->sin_port, 0);
    assert_true(listen_parse(STR("8080"), &ss, &len));
    assert_int_equal(ntohs(in->sin_port), 8080);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (listen_parse(str_of(bad[i]), &ss, &len))
            print_error("taken: %s\n", bad[i]);
        assert_false(listen_parse(str_of(bad[i]), &ss, &len));
    }
    assert_int_equal(ntohs(in->sin_port), 8080); /* left alone by failures */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_parse_and_print),
        cmocka_unit_test(test_ranges_hold_their_addresses),
        cmocka_unit_test(test_mapped_addresses_are_judged_as_v4),
        cmocka_unit_test(test_bad_ranges_are_named),
        cmocka_unit_test(test_lists_have_a_maximum),
        cmocka_unit_test(test_sockets_give_their_address),
        cmocka_unit_test(test_listen_forms),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
