/* Entity tags: what is sent matches itself, weakly for reading and strongly for writing (RFC 9110 §13.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "api/etag.h"

static int64_t asked(const char *if_match, enum err_code *e)
{
    struct ctx cx;
    struct req rq = { .if_match = str_of(if_match) };
    int64_t version = -7;

    ctx_init(&cx, 65536);
    *e = etag_if_match(&cx, &rq, &version);
    ctx_done(&cx);
    return version;
}

static void test_if_match_names_a_version(void **state)
{
    enum err_code e;

    (void)state;
    assert_int_equal(asked("\"v1\"", &e), 1);
    assert_int_equal(e, ERR_NONE);
    assert_int_equal(asked(" \"v9223372036854775807\" ", &e), INT64_MAX);
    assert_int_equal(e, ERR_NONE);
}

static void test_no_if_match_or_a_star_asks_nothing(void **state)
{
    enum err_code e;

    (void)state;
    assert_int_equal(asked(NULL, &e), -1);
    assert_int_equal(e, ERR_NONE);
    assert_int_equal(asked(" * ", &e), -1);
    assert_int_equal(e, ERR_NONE);
}

static void test_any_other_if_match_fails(void **state)
{
    static const char *const bad[] = { "",      "v1",     "\"v\"",   "\"v-1\"", "\"vx\"", "\"v1", "\"1\"", "\"v1\"x",
                                       "\"v1 \"", "W/\"v1\"", "\"v99999999999999999999\"", "\"\"",   "\"",    "\"v1\", \"v2\"" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum err_code e = ERR_NONE;

        asked(bad[i], &e);
        assert_int_equal(e, ERR_PRECONDITION_FAILED);
    }
}

static void test_if_none_match_is_a_list_of_weak_or_strong_tags(void **state)
{
    static const struct {
        const char *text;
        bool is_match;
    } cases[] = { { NULL, false },      { "", false },          { "\"v3\"", true },
                  { "W/\"v3\"", true }, { "\"v2\"", false },    { "\"x\", \"v1\" , W/\"v3\"", true },
                  { "*", true },        { "\"v33\"", false },   { ",,\"v3\",", true },
                  { "v3", false },      { "\"v1\" * ", false }, { "\"a\",*", true } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct req rq = { .if_none_match = str_of(cases[i].text) };

        assert_int_equal(etag_matches(&rq, 3), cases[i].is_match);
    }
}

static void test_what_is_put_matches(void **state)
{
    struct ctx cx;
    struct reply rp = { .n_headers = 0 };
    struct req rq = { .if_match = STR_NONE };
    int64_t version = 0;

    (void)state;
    ctx_init(&cx, 65536);
    etag_put(&cx, &rp, 42);
    assert_int_equal(rp.n_headers, 1);
    assert_string_equal(rp.headers[0].name, "ETag");
    rq.if_match = rq.if_none_match = rp.headers[0].value;
    assert_int_equal(etag_if_match(&cx, &rq, &version), ERR_NONE);
    assert_int_equal(version, 42);
    assert_true(etag_matches(&rq, 42));
    assert_false(etag_matches(&rq, 41));
    ctx_done(&cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_if_match_names_a_version),
        cmocka_unit_test(test_no_if_match_or_a_star_asks_nothing),
        cmocka_unit_test(test_any_other_if_match_fails),
        cmocka_unit_test(test_if_none_match_is_a_list_of_weak_or_strong_tags),
        cmocka_unit_test(test_what_is_put_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
