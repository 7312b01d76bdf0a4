/* Entity tags: what is sent matches itself, weakly for reading and strongly for writing (RFC 9110
 * §13.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "api/etag.h"

static struct versions asked(const char *if_match)
{
    struct req rq = { .if_match = str_of(if_match) };
    struct versions allowed;

    etag_if_match(&rq, &allowed);
    return allowed;
}

static void test_if_match_names_versions(void **state)
{
    (void)state;
    assert_int_equal(asked("\"v1\"").v[0], 1);
    assert_int_equal(asked(" \"v9223372036854775807\" ").v[0], INT64_MAX);

    struct versions listed = asked("\"x\", \"v1\" ,W/\"v5\", \"v2\"");

    assert_false(listed.is_any);
    assert_int_equal(listed.n, 2);
    assert_int_equal(listed.v[1], 2);
}

static void test_no_if_match_or_a_star_asks_nothing(void **state)
{
    (void)state;
    assert_true(asked(NULL).is_any);
    assert_true(asked(" * ").is_any);
    assert_true(asked("\"v1\", *").is_any);
}

static void test_any_other_if_match_allows_nothing(void **state)
{
    static const char *const bad[] = {
        "",      "v1",      "\"v\"",   "\"vx\"",   "\"v1",
        "\"1\"", "\"v1\"x", "\"v1 \"", "W/\"v1\"", "\"v99999999999999999999\"",
        "\"\"",  "\""
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct versions allowed = asked(bad[i]);

        assert_false(allowed.is_any);
        assert_int_equal(allowed.n, 0);
    }
}

static void test_if_none_match_is_a_list_of_weak_or_strong_tags(void **state)
{
    static const struct {
        const char *text;
        bool is_match;
    } cases[] = { { NULL, false },        { "", false },
                  { "\"v3\"", true },     { "W/\"v3\"", true },
                  { "\"v2\"", false },    { "\"x\", \"v1\" , W/\"v3\"", true },
                  { "*", true },          { "\"v33\"", false },
                  { ",,\"v3\",", true },  { "v3", false },
                  { "\"v1\" * ", false }, { "\"a\",*", true } };

    struct ctx cx;
    (void)state;
    ctx_init(&cx, 65536);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct req rq = { .if_none_match = str_of(cases[i].text) };
        struct reply rp = { .status = 200 };

        assert_int_equal(etag_unchanged(&cx, &rq, &rp, 3), cases[i].is_match);
        assert_int_equal(rp.status, cases[i].is_match ? 304 : 200);
        assert_int_equal(rp.n_headers, cases[i].is_match);
    }
    ctx_done(&cx);
}

static void test_what_is_put_matches(void **state)
{
    struct ctx cx;
    struct reply rp = { .n_headers = 0 };
    struct req rq = { .if_match = STR_NONE };
    struct versions allowed;

    (void)state;
    ctx_init(&cx, 65536);
    etag_put(&cx, &rp, 42);
    assert_int_equal(rp.n_headers, 1);
    assert_string_equal(rp.headers[0].name, "ETag");
    rq.if_match = rq.if_none_match = rp.headers[0].value;
    etag_if_match(&rq, &allowed);
    assert_int_equal(allowed.n, 1);
    assert_int_equal(allowed.v[0], 42);
    assert_false(etag_unchanged(&cx, &rq, &rp, 41));
    assert_true(etag_unchanged(&cx, &rq, &rp, 42));
    ctx_done(&cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_if_match_names_versions),
        cmocka_unit_test(test_no_if_match_or_a_star_asks_nothing),
        cmocka_unit_test(test_any_other_if_match_allows_nothing),
        cmocka_unit_test(test_if_none_match_is_a_list_of_weak_or_strong_tags),
        cmocka_unit_test(test_what_is_put_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
