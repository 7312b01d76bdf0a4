/* The router: every row finds itself, 405 tells what is allowed, parameters are decoded and
 * judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <string.h>

#include "http/exchange.h"

#define ID "01900000-0000-7000-8000-00000000000a"

static struct arena a;
static struct str params[ROUTE_PARAMS_MAX];
static struct str allow;

static const struct route *find(const char *method, const char *path)
{
    memset(params, 0, sizeof params);
    allow = STR_NONE;
    return router_find(str_of(method), str_of(path), params, &allow, &a);
}

static bool allows(const char *word)
{
    struct str rest = allow;

    while (rest.p)
        if (str_eq(str_trim(str_cut(&rest, ',')), str_of(word)))
            return true;
    return false;
}

static int setup(void **state)
{
    (void)state;
    arena_init(&a, 8 << 20);
    router_build(&a);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&a);
    return 0;
}

static void test_every_row_finds_itself(void **state)
{
    int n = 0;

    (void)state;
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++, n++) {
            const struct route *r = &(*t)->rows[i];
            struct str rest = str_of(r->path);
            struct buf path;

            buf_init(&path, &a, 1024);
            while (rest.p) {
                buf_str(&path, str_cut(&rest, '{'));
                if (rest.p)
                    buf_lit(&path, ID);
                str_cut(&rest, '}');
            }
            assert_ptr_equal(find(r->method, str_cstr(&a, buf_view(&path))), r);
            assert_ptr_equal(router_at(router_index(r)), r);
        }
    assert_int_equal(router_count(), n);
    assert_int_equal(router_index(NULL), n);
    assert_null(router_at(n));
}

static void test_head_is_get_and_other_methods_are_405(void **state)
{
    (void)state;
    assert_ptr_equal(find("HEAD", "/v1/tickets/" ID), find("GET", "/v1/tickets/" ID));
    assert_null(find("HEAD", V0_MOUNT "/tickets"));
    assert_true(allows("POST") && allows("OPTIONS") && !allows("HEAD"));
    assert_null(find("PUT", "/v1/tickets/" ID));
    assert_true(allows("GET") && allows("HEAD") && allows("PATCH") && allows("DELETE") &&
                allows("OPTIONS") && !allows("POST"));
    assert_null(find("get", "/healthz")); /* methods are case-sensitive, RFC 9110 §9.1 */
    assert_true(allows("GET"));
}

static void test_the_root_of_the_ticket_api_takes_a_slash(void **state)
{
    (void)state;
    assert_non_null(find("GET", V0_MOUNT));
    assert_ptr_equal(find("GET", V0_MOUNT "/"), find("GET", V0_MOUNT));
}

static void test_other_paths_are_not_found(void **state)
{
    static const char *const bad[] = { "",
                                       "/",
                                       "//",
                                       "*",
                                       "v1/tickets",
                                       "/v1/tickets/",
                                       "/v1//tickets",
                                       "/v1/Tickets",
                                       "/v1/ticket",
                                       "/v1/tickets/" ID "/comments/",
                                       V0_MOUNT "//",
                                       "/v1/tickets/" ID "/x",
                                       "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
                                       "/%76%31/tickets",
                                       "http://h/v1/tickets" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(find("GET", bad[i]));
        assert_int_equal(allow.n, 0);
    }
}

static void test_parameters_are_decoded(void **state)
{
    (void)state;
    assert_non_null(find("GET", "/v1/tickets/%30%31%2D\xC3\xA9%C3%a9"));
    assert_true(str_eq(params[0], STR("01-\xC3\xA9\xC3\xA9")));
    assert_non_null(find("GET", "/v1/tickets/" ID "/comments"));
    assert_true(str_eq(params[0], STR(ID)));
}

static void test_bad_parameters_match_nothing(void **state)
{
    static const char *const bad[] = { "%",   "%4",       "%zz",         "%00", "a%2Fb",
                                       "%ff", "\xff\xfe", "\xC3",        "%C3", "x%",
                                       "%2",  "%c3%28",   "\xED\xA0\x80" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str path = str_printf(&a, "/v1/tickets/%s", bad[i]);

        assert_null(find("GET", path.p));
        assert_int_equal(allow.n, 0);
    }
}

static void test_the_literal_wins_over_the_parameter(void **state)
{
    (void)state;
    assert_string_equal(find("POST", "/v1/tickets/bulk")->id, "bulkCreateTickets");
    assert_string_equal(find("GET", "/v1/tickets/bulk")->id, "getTicket");
}

int main(void)
{
#define R(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        R(test_every_row_finds_itself),
        R(test_head_is_get_and_other_methods_are_405),
        R(test_the_root_of_the_ticket_api_takes_a_slash),
        R(test_other_paths_are_not_found),
        R(test_parameters_are_decoded),
        R(test_bad_parameters_match_nothing),
        R(test_the_literal_wins_over_the_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
