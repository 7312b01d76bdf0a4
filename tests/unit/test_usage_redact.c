/* What the usage log keeps of a body: secrets masked at any depth, never more than its cap, always
 * whole characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "core/usage.h"

static int setup(void **state)
{
    static struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    *state = &cx;
    return 0;
}

static int teardown(void **state)
{
    ctx_done(*state);
    return 0;
}

static struct str redact(struct ctx *cx, struct str raw)
{
    json_t *body = json_read(cx, raw);

    assert_non_null(body);
    return usage_redact(cx, body, raw);
}

static void assert_redacted(struct ctx *cx, const char *raw, const char *want)
{
    struct str got = redact(cx, str_of(raw));

    assert_true(str_eq(got, str_of(want)));
}

static void test_a_body_without_secrets_is_kept_as_it_came(void **state)
{
    struct str raw = STR("{ \"title\": \"x\",  \"n\": 1.50 }");

    assert_ptr_equal(redact(*state, raw).p, raw.p);
    assert_ptr_equal(usage_redact(*state, NULL, raw).p, NULL); /* not readable, hence not judged */
}

static void test_secrets_are_masked_at_any_depth(void **state)
{
    assert_redacted(
        *state,
        "{\"password\":\"a\",\"x\":[{\"Client-Secret\":{\"k\":1}},{\"y\":{\"API_KEY\":7}}]}",
        "{\"password\":\"***\",\"x\":[{\"Client-Secret\":\"***\"},{\"y\":{\"API_KEY\":\"***\"}}]}");
    assert_redacted(*state, "[{\"accessToken\":null},{},[],1.5,true]",
                    "[{\"accessToken\":\"***\"},{},[],1.5,true]");
}

static void test_a_long_key_hides_nothing(void **state)
{
    char raw[700];

    for (int n = 100; n <= 500;
         n += 200) { /* the word at the end, of a key beyond every limit too */
        snprintf(raw, sizeof raw, "{\"%0*d_password\":\"hunter2\"}", n, 0);
        assert_null(strstr(str_cstr(&((struct ctx *)*state)->arena, redact(*state, str_of(raw))),
                           "hunter2"));
    }
}

static void test_the_body_itself_is_not_changed(void **state)
{
    json_t *body = json_read(*state, STR("{\"token\":\"t\"}"));

    usage_redact(*state, body, STR("{\"token\":\"t\"}"));
    assert_string_equal(json_string_value(json_object_get(body, "token")), "t");
}

static struct str big_body(struct ctx *cx, const char *key, const char *piece, int n)
{
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 20);
    buf_printf(&b, "{\"%s\":\"k\",\"list\":[", key);
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s\"%s\"", i ? "," : "", piece);
    buf_lit(&b, "]}");
    assert_false(b.over);
    return buf_view(&b);
}

static void test_a_long_body_is_cut_between_characters(void **state)
{
    static const char *const keys[] = { "title", "token" };
    static const char *const pieces[] = { "a", "\xC3\xA4\xF0\x9F\x98\x80", "\xE2\x82\xAC" };

    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < 3; i++) {
            struct str got = redact(*state, big_body(*state, keys[k], pieces[i], 3000));

            assert_in_range(got.n, USAGE_PAYLOAD_MAX - 6, USAGE_PAYLOAD_MAX);
            assert_true(str_is_utf8(got));
            assert_memory_equal(got.p + got.n - 3, "\xE2\x80\xA6", 3);
            assert_int_equal(
                memcmp(got.p, k ? "{\"token\":\"***\"" : "{\"title\":\"k\"", k ? 14 : 12), 0);
        }
}

static void test_one_long_text_is_cut_too(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 20);
    buf_lit(&b, "{\"secret\":\"s\",\"text\":\"");
    for (int i = 0; i < 40000; i++)
        buf_lit(&b, i % 2 ? "\\u0001" : "\xC3\xA4");
    buf_lit(&b, "\"}");
    struct str got = redact(cx, buf_view(&b));

    assert_in_range(got.n, USAGE_PAYLOAD_MAX - 6, USAGE_PAYLOAD_MAX);
    assert_true(str_is_utf8(got));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_body_without_secrets_is_kept_as_it_came),
        T(test_secrets_are_masked_at_any_depth),
        T(test_a_long_key_hides_nothing),
        T(test_the_body_itself_is_not_changed),
        T(test_a_long_body_is_cut_between_characters),
        T(test_one_long_text_is_cut_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
