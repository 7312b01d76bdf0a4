/* What may be called: each range at its edges, each form of an address, the operator's list, the
 * reading of URLs and headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdlib.h>
#include <string.h>

#include "base/egress.h"

#define wrong(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

static int setup(void **state)
{
    struct ctx *cx = calloc(1, sizeof *cx);
    ctx_init(cx, CTX_CAP_DEFAULT);
    *state = cx;
    return 0;
}

static int teardown(void **state)
{
    ctx_done(*state);
    free(*state);
    return 0;
}

static bool is_refused(const char *text)
{
    static const struct egress_allow none = { .n_names = 0 };
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return egress_addr_refused(&none, &ip) != NULL;
}

static void test_every_range_is_refused_from_its_first_to_its_last_address(void **state)
{
    static const char *const edges[] = {
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
        "127.0.0.0", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255",
        "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.0", "192.0.2.255",
        "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255", "198.18.0.0",
        "198.19.255.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255",
        "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255", "168.63.129.16",
        /* IPv6 */
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
        "64:ff9b::", "64:ff9b::8.8.8.8", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "100::", "100::ffff:ffff:ffff:ffff", "1fff::1", "2001::", "2001:0:1::1", "2001:1ff:ffff::1",
        "2001:db8::", "2001:db8:ffff::1", "2002::", "2002:7f00:1::1",
        "2002:ffff::", "3fff::", "3fff:fff:ffff::1", "4000::", "5f00::", "5f00:ffff::1",
        "fc00::", "fdff:ffff::1", "fd00:ec2::254", "fe80::", "fe80::1", "febf:ffff::1", "fec0::1",
        "ff00::", "ff02::1", "ffff:ffff::1"
    };
    (void)state;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if (!is_refused(edges[i]))
            wrong("%s is not refused", edges[i]);
}

static void test_what_lies_right_beside_the_ranges_may_be_called(void **state)
{
    static const char *const open[] = {
        "1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.0",       "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",  "172.32.0.0",      "191.255.255.255",
        "192.0.1.0",       "192.0.3.0",       "192.88.98.255",   "192.88.100.0",
        "192.167.255.255", "192.169.0.0",     "198.17.255.255",  "198.20.0.0",
        "198.51.99.255",   "198.51.101.0",    "203.0.112.255",   "203.0.114.0",
        "223.255.255.255", "168.63.129.15",   "168.63.129.17",   "8.8.8.8",
        "::ffff:8.8.8.8",  "2000::1",         "2001:200::1",     "2001:db7::1",
        "2001:db9::1",     "2003::1",         "2606:4700::1111", "3ffe:ffff::1",
        "3fff:1000::1"
    };
    (void)state;
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (is_refused(open[i]))
            wrong("%s is refused", open[i]);
}

static void test_every_form_of_a_number_is_the_address_it_means(void **state)
{
    static const char *const local[] = { "127.0.0.1",
                                         "2130706433",
                                         "0x7f000001",
                                         "0X7F000001",
                                         "017700000001",
                                         "127.1",
                                         "127.0.1",
                                         "0177.0.0.1",
                                         "0x7f.0.0.0x1",
                                         "0177.0x0.1",
                                         "127.0.0.1.",
                                         "[::1]",
                                         "[::ffff:127.0.0.1]",
                                         "[0:0:0:0:0:ffff:7f00:1]" };
    static const char *const none[] = {
        "",     "example.com", "1.2.3.4.5",      "256.1.1.1",   "08",
        "1..2", "1.2.3.256",   "4294967296",     "0x100000000", "[127.0.0.1]",
        "[::1", "::1",         "[fe80::1%25lo]", "127.0.0.1..", "-1",
        "+1",   " 1"
    };
    struct ip ip;
    (void)state;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        static const struct egress_allow empty = { .n_names = 0 };
        if (!egress_host_ip_parse(str_of(local[i]), &ip) || !egress_addr_refused(&empty, &ip))
            wrong("%s is not this machine", local[i]);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (egress_host_ip_parse(str_of(none[i]), &ip))
            wrong("%s is no address", none[i]);
}

static void test_the_list_of_the_operator_opens_ranges_and_names(void **state)
{
    struct ctx *cx = *state;
    struct egress_allow a;
    struct ip ip;
    assert_int_equal(egress_allow_parse(cx,
                                        STR("127.0.0.0/8, [::1] fd00::/8,\tHooks.Internal "
                                            "*.svc.example"),
                                        &a),
                     ERR_NONE);
    assert_int_equal(a.ranges.n, 3);
    assert_int_equal(a.n_names, 2);
    assert_true(ip_parse(STR("127.9.9.9"), &ip) && !egress_addr_refused(&a, &ip));
    assert_true(ip_parse(STR("::ffff:127.0.0.1"), &ip) && !egress_addr_refused(&a, &ip));
    assert_true(ip_parse(STR("::1"), &ip) && !egress_addr_refused(&a, &ip));
    assert_true(ip_parse(STR("fd12::1"), &ip) && !egress_addr_refused(&a, &ip));
    assert_true(ip_parse(STR("fc12::1"), &ip) && egress_addr_refused(&a, &ip));
    assert_true(ip_parse(STR("10.0.0.1"), &ip) && egress_addr_refused(&a, &ip));
    assert_true(egress_allow_has_name(&a, STR("hooks.internal")));
    assert_false(egress_allow_has_name(&a, STR("x.hooks.internal")));
    assert_true(egress_allow_has_name(&a, STR("a.b.svc.example")));
    assert_false(egress_allow_has_name(&a, STR("svc.example")));
    assert_false(egress_allow_has_name(&a, STR("xsvc.example")));
    assert_int_equal(egress_allow_parse(cx, STR_NONE, &a), ERR_NONE);
    assert_int_equal(a.ranges.n + a.n_names, 0);
}

static void test_a_wrong_item_of_the_list_is_named(void **state)
{
    static const char *const bad[] = { "10.0.0.1/8", "10.0.0.0/33", "*",    "*.",  "a..b",
                                       ".a",         "a.",          "b*d",  "a/8", "1.2.3",
                                       "0x10",       "http://a",    "a:80", "x@y", "\xC3\xA4.de" };
    struct ctx *cx = *state;
    struct egress_allow a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str text = str_printf(&cx->arena, "ok.example, %s", bad[i]);
        if (egress_allow_parse(cx, text, &a) != ERR_USAGE ||
            !strstr(str_cstr(&cx->arena, cx->err_text), bad[i]))
            wrong("%s is taken, or not named", bad[i]);
        ctx_clear(cx);
    }
}

static const char *const bad_urls[] = { "",
                                        "example.com",
                                        "//example.com/",
                                        "ftp://example.com/",
                                        "file:///etc/passwd",
                                        "gopher://example.com/",
                                        "javascript:alert(1)",
                                        "http:/example.com/",
                                        "http:example.com",
                                        "http://",
                                        "http:///path",
                                        "http://?q",
                                        "https://#f",
                                        "http://user@example.com/",
                                        "http://user:pw@example.com/",
                                        "http://@example.com/",
                                        "http://a@b@example.com/",
                                        "http://example.com@127.0.0.1/",
                                        "http://example.com\\@127.0.0.1/",
                                        "http://exa mple.com/",
                                        "http://example.com/a b",
                                        "http://example.com/\r\nX: y",
                                        "http://example.com\r\n/",
                                        "http://example.com/\n",
                                        "http://example.com/\t",
                                        "http://example.com/\x7f",
                                        "http://ex\xC3\xA4mple.com/",
                                        "http://example.com/\xC3\xA4",
                                        "http://[::1",
                                        "http://[fe80::1%25lo]/",
                                        "http://[fe80::1%lo]/",
                                        "http://[v1.a]/",
                                        "http://1.2.3.4.5/",
                                        "http://256.1.1.1/",
                                        "http://4294967296/",
                                        "http://0x1ffffffff/",
                                        "http://a..b/",
                                        "http://.a/",
                                        "http://a,b/",
                                        "http://example.com:0/",
                                        "http://example.com:65536/",
                                        "http://example.com:x/",
                                        "http://exa%00mple.com/",
                                        "http://exa%0d%0ample.com/",
                                        "http://exa%20mple.com/",
                                        "http://a%2fb/",
                                        "http://a%40b/",
                                        " http://example.com/",
                                        "http://example.com/ ",
                                        "hTTp//x" };

static void test_urls_that_are_not_plain_are_refused(void **state)
{
    struct ctx *cx = *state;
    for (size_t i = 0; i < sizeof bad_urls / sizeof *bad_urls; i++) {
        struct egress_url u;
        if (egress_url_parse(cx, str_of(bad_urls[i]), &u) != ERR_INVALID_FIELD)
            wrong("%s is taken as " STR_FMT, bad_urls[i], STR_ARG(u.text));
        ctx_clear(cx);
    }
    struct egress_url u;
    assert_int_equal(egress_url_parse(cx, ((struct str){ "http://a\0b/", 11 }), &u),
                     ERR_INVALID_FIELD);
    ctx_clear(cx);
    char *longest = calloc(1, EGRESS_URL_MAX + 2);
    memset(longest, 'a', EGRESS_URL_MAX + 1);
    memcpy(longest, "http://a/", 9);
    assert_int_equal(egress_url_parse(cx, str_of(longest), &u), ERR_INVALID_FIELD);
    free(longest);
}

static void assert_url(struct ctx *cx, const char *text, const char *host, int port, bool is_ip)
{
    struct egress_url u;
    if (egress_url_parse(cx, str_of(text), &u))
        wrong("%s: " STR_FMT, text, STR_ARG(cx->err_text));
    assert_string_equal(str_cstr(&cx->arena, u.host), host);
    assert_int_equal(u.port, port);
    assert_int_equal(u.is_ip, is_ip);
}

static void test_urls_are_read_into_host_port_and_address(void **state)
{
    struct ctx *cx = *state;
    struct egress_url u;
    assert_url(cx, "http://Example.COM", "example.com", 80, false);
    assert_url(cx, "HTTPS://example.com./x?y#z", "example.com", 443, false);
    assert_url(cx, "https://a_b-c.example:8443/", "a_b-c.example", 8443, false);
    assert_url(cx, "https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, false);
    assert_url(cx, "http://2130706433/", "127.0.0.1", 80, true);
    assert_url(cx, "http://0177.1:81/", "127.0.0.1", 81, true);
    assert_url(cx, "http://0x7f.1/", "127.0.0.1", 80, true);
    assert_url(cx, "http://%31%32%37.0.0.1/", "127.0.0.1", 80, true);
    assert_url(cx, "http://[::FFFF:7f00:1]/", "127.0.0.1", 80, true);
    assert_url(cx, "http://[2001:DB8::1]:8080/", "2001:db8::1", 8080, true);
    assert_int_equal(egress_url_parse(cx, STR("http://h.example:81/a?b=c&d#frag"), &u), ERR_NONE);
    assert_true(str_eq(u.text, STR("http://h.example:81/a?b=c&d")));
    assert_true(str_eq(u.key, STR("h.example:81")));
}

static void assert_redacted(struct ctx *cx, const char *text, const char *want)
{
    struct egress_url u;
    assert_int_equal(egress_url_parse(cx, str_of(text), &u), ERR_NONE);
    assert_string_equal(str_cstr(&cx->arena, egress_url_redact(&cx->arena, &u)), want);
}

static void test_what_is_logged_of_a_url_holds_no_secret(void **state)
{
    struct ctx *cx = *state;
    assert_redacted(cx, "https://h.example/v1/items?page=2&token=s3cret&flag",
                    "https://h.example/v1/items?page=***&token=***&***");
    assert_redacted(cx,
                    "https://hooks.example/services/T00000000/B00000000/XyZ123456789012345678901",
                    "https://hooks.example/services/T00000000/B00000000/XyZ1***");
    assert_redacted(cx, "https://h.example/bot123456:AAabcdefghijklmnop/send",
                    "https://h.example/bot1***/send");
    assert_redacted(cx, "https://h.example/i/01900000-0000-7000-8000-00000000000a",
                    "https://h.example/i/01900000-0000-7000-8000-00000000000a");
    assert_redacted(cx, "https://h.example/a-long-name-without-any-digit",
                    "https://h.example/a-long-name-without-any-digit");
    assert_redacted(cx, "https://h.example", "https://h.example/");
}

static void test_headers_cannot_end_or_reroute_a_request(void **state)
{
    static const struct {
        const char *name, *value;
    } bad[] = { { "", "x" },
                { "X\r\nY", "z" },
                { "X-A", "a\r\nB: c" },
                { "X-A", "a\nb" },
                { "X-A", "a\x7f" },
                { "X A", "b" },
                { "X:A", "b" },
                { "Host", "a" },
                { "HOST", "a" },
                { "Content-Length", "1" },
                { "Transfer-Encoding", "chunked" },
                { "connection", "close" },
                { "Proxy-Authorization", "x" },
                { "Expect", "x" },
                { "\xC3\xA4", "x" } };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (egress_header_is_fine(str_of(bad[i].name), str_of(bad[i].value)))
            wrong("%s is taken", bad[i].name);
    assert_false(egress_header_is_fine(STR("X-A"), ((struct str){ "a\0b", 3 })));
    assert_true(egress_header_is_fine(STR("X-A"), STR("a\tb \xC3\xA4")));
    assert_true(egress_header_is_fine(STR("Authorization"), STR("Bearer x")));
    assert_true(egress_header_is_fine(STR("X-Empty"), STR("")));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_every_range_is_refused_from_its_first_to_its_last_address),
        T(test_what_lies_right_beside_the_ranges_may_be_called),
        T(test_every_form_of_a_number_is_the_address_it_means),
        T(test_the_list_of_the_operator_opens_ranges_and_names),
        T(test_a_wrong_item_of_the_list_is_named),
        T(test_urls_that_are_not_plain_are_refused),
        T(test_urls_are_read_into_host_port_and_address),
        T(test_what_is_logged_of_a_url_holds_no_secret),
        T(test_headers_cannot_end_or_reroute_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
