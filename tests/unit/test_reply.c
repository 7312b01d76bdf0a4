/* Headers of a route that ages (RFC 9745 Deprecation, RFC 8594 Sunset). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "http/exchange.h"

static void assert_header(const struct reply_header *h, const char *name, const char *value)
{
    assert_string_equal(h->name, name);
    assert_true(str_eq(h->value, str_of(value)));
}

static void test_a_deprecated_route_says_since_when_until_when_and_what_instead(void **state)
{
    static const struct route old = { .deprecated_s = 1767225600,
                                      .sunset_s = 1798761600,
                                      .successor = "/docs#/Tickets/createTicket" };
    struct reply_header out[AGEING_HEADERS];
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(reply_ageing(&old, &a, out), 3);
    assert_header(&out[0], "Deprecation", "@1767225600");
    assert_header(&out[1], "Sunset", "Fri, 01 Jan 2027 00:00:00 GMT");
    assert_header(&out[2], "Link", "</docs#/Tickets/createTicket>; rel=\"successor-version\"");
    arena_done(&a);
}

static void test_a_route_without_an_end_has_no_sunset(void **state)
{
    static const struct route old = { .deprecated_s = 1 };
    struct reply_header out[AGEING_HEADERS];
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(reply_ageing(&old, &a, out), 1);
    assert_header(&out[0], "Deprecation", "@1");
    arena_done(&a);
}

static void test_a_route_in_its_prime_says_nothing(void **state)
{
    static const struct route current = { .status = 200 };
    struct reply_header out[AGEING_HEADERS];
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(reply_ageing(&current, &a, out), 0);
    assert_int_equal(reply_ageing(NULL, &a, out), 0);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deprecated_route_says_since_when_until_when_and_what_instead),
        cmocka_unit_test(test_a_route_without_an_end_has_no_sunset),
        cmocka_unit_test(test_a_route_in_its_prime_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
