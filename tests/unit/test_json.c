/* Facts about json.c: what is refused and with which words, what is written and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <float.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

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

static void assert_str(struct str got, const char *want)
{
    assert_non_null(got.p);
    if (got.n != strlen(want) || memcmp(got.p, want, got.n) != 0)
        print_error("got \"" STR_FMT "\", want \"%s\"\n", STR_ARG(got), want);
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void assert_refused(struct ctx *cx, struct str text, const char *want)
{
    ctx_clear(cx);
    assert_null(json_read(cx, text));
    assert_int_equal(cx->err, ERR_INVALID_JSON);
    assert_str(cx->err_text, want);
}

static void assert_round(struct ctx *cx, const char *in, const char *want)
{
    json_t *v = json_read(cx, str_of(in));

    assert_non_null(v);
    assert_str(json_text(cx, v), want);
}

static void test_mistakes_have_clear_sentences(void **state)
{
    static const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        { "", "Not valid JSON: the text is empty" },
        { " \n\t", "Not valid JSON: the text is empty" },
        { "\"x\"", "Not valid JSON at line 1, column 3: an object or an array is expected" },
        { "{\"a\":1", "Not valid JSON at line 1, column 6: the text ends too early" },
        { "{} x", "Not valid JSON at line 1, column 4: there is text after the end of the value" },
        { "{\"a\":1,\n \"a\":2}",
          "Not valid JSON at line 2, column 4: the key \"a\" is given twice" },
        { "{\"q\\\"\xC3\xA9\":1,\"q\\\"\xC3\xA9\":2}",
          "Not valid JSON at line 1, column 16: the key \"q\\\"\xC3\xA9\" is given twice" },
        { "{\"\":1,\"\":2}", "Not valid JSON at line 1, column 8: the key \"\" is given twice" },
        { "[\"\\u0000\"]",
          "Not valid JSON at line 1, column 9: the character \\u0000 is not allowed" },
        { "{\"a\\u0000b\":1}",
          "Not valid JSON at line 1, column 11: the character \\u0000 is not allowed" },
        { "[\"\\ud800\"]",
          "Not valid JSON at line 1, column 9: a \\u escape is half of a surrogate pair" },
        { "[\"\\udc00x\"]",
          "Not valid JSON at line 1, column 10: a \\u escape is half of a surrogate pair" },
        { "[\"\xFF\"]", "Not valid JSON at line 1, column 2: the text is not valid UTF-8" },
        { "[9223372036854775808]",
          "Not valid JSON at line 1, column 20: the number is too large (integers have 64 bits, "
          "others are double precision)" },
        { "[\"\\u0\xC3\xA9\xC3\xA9\"]", "Not valid JSON at line 1, column 6: invalid escape" },
        { "[1e999]", "Not valid JSON at line 1, column 6: the number is too large (integers have "
                     "64 bits, others are double precision)" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(*state, str_of(cases[i].text), cases[i].sentence);
}

static void test_other_bad_forms_are_refused(void **state)
{
    static const char *const cases[] = {
        "[1,]",       "{\"a\":}",  "{a:1}",          "['a']",          "[01]",
        "[+1]",       "[.5]",      "[1.]",           "[NaN]",          "[tru]",
        "[\"\x01\"]", "[\"\\x\"]", "\xEF\xBB\xBF{}", "[\"\xC0\x80\"]", "[\"\xED\xA0\x80\"]",
        "]",          "}{",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ctx *cx = *state;
        ctx_clear(cx);
        assert_null(json_read(cx, str_of(cases[i])));
        assert_int_equal(cx->err, ERR_INVALID_JSON);
        assert_true(str_starts(cx->err_text, STR("Not valid JSON at line 1, column ")));
    }
    assert_null(json_read(*state, STR("{\"a\":1}\0")));
    assert_null(json_read(*state, STR_NONE));
}

static void test_a_long_duplicate_key_is_cut_between_characters(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 1000);
    buf_char(&b, '{');
    for (int twice = 0; twice < 2; twice++) {
        buf_lit(&b, twice ? ",\"x" : "\"x");
        for (int i = 0; i < 100; i++)
            buf_lit(&b, "\xC3\xA9");
        buf_lit(&b, "\":1");
    }
    buf_char(&b, '}');

    assert_null(json_read(cx, buf_view(&b)));
    assert_true(str_is_utf8(cx->err_text));
    assert_true(cx->err_text.n < 160);
    assert_non_null(strstr(str_cstr(&cx->arena, cx->err_text), "the key \"x\xC3\xA9"));
}

static struct str nested(struct ctx *cx, int depth, bool in_object)
{
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 21);
    for (int i = 0; i < depth; i++)
        buf_lit(&b, in_object ? "{\"[\":" : "[");
    buf_lit(&b, in_object ? "1" : "");
    for (int i = 0; i < depth; i++)
        buf_char(&b, in_object ? '}' : ']');
    return buf_view(&b);
}

static void test_depth_64_is_read_and_65_is_refused(void **state)
{
    struct ctx *cx = *state;

    assert_non_null(json_read(cx, nested(cx, 64, false)));
    assert_non_null(json_read(cx, nested(cx, 64, true)));
    assert_refused(cx, nested(cx, 65, false),
                   "Not valid JSON at line 1, column 65: more than 64 levels deep");
    assert_refused(cx, nested(cx, 65, true),
                   "Not valid JSON at line 1, column 321: more than 64 levels deep");
    assert_refused(cx, nested(cx, 500000, false),
                   "Not valid JSON at line 1, column 65: more than 64 levels deep");
}

static void test_brackets_in_strings_are_not_depth(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 1000);
    buf_lit(&b, "[\"\\\"");
    for (int i = 0; i < 200; i++)
        buf_char(&b, '[');
    buf_lit(&b, "\\\\\"]");

    assert_non_null(json_read(cx, buf_view(&b)));
}

static void test_values_come_back_as_they_went_in(void **state)
{
    static const char *const same[] = {
        "{}",
        "[]",
        "{\"b\":1,\"a\":2}",
        "[null,true,false]",
        "[-1,0,9223372036854775807]",
        "[-9223372036854775808]",
        "[1.0,0.1,-0.0,1e22,5e-324,1.7976931348623157e308]",
        "[0.30000000000000004,123456789.125]",
        "{\"\":{\"\":[{}]}}",
        "[\"/\xC3\xA9\xF0\x9F\x98\x80\"]",
        "[\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\"]",
    };

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        if (strstr(same[i], "5e-324")) /* 15 digits at least are printed */
            assert_round(*state, same[i],
                         "[1.0,0.1,-0.0,1e22,4.94065645841247e-324,1.7976931348623157e308]");
        else
            assert_round(*state, same[i], same[i]);
    }
    assert_round(*state, " [ 1 , \"\\/\\u00e9\\ud83d\\ude00\" ] ",
                 "[1,\"/\xC3\xA9\xF0\x9F\x98\x80\"]");
}

static struct str written(struct ctx *cx, struct str s)
{
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 20);
    json_write_str(&b, s);
    return buf_view(&b);
}

static void test_bad_bytes_become_the_replacement_character(void **state)
{
    assert_str(written(*state, STR_NONE), "\"\"");
    assert_str(written(*state, STR("a\xFFz")), "\"a\xEF\xBF\xBDz\"");
    assert_str(written(*state, STR("\xC3\xA9\xC3")), "\"\xC3\xA9\xEF\xBF\xBD\"");
    assert_str(written(*state, STR("\xED\xA0\x80")), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_str(written(*state, STR("\0")), "\"\\u0000\"");
}

/* Each byte at each place of a word: the eight-at-a-time path agrees with the parser. */
static void test_every_ascii_byte_at_every_place_reads_back(void **state)
{
    struct ctx *cx = *state;

    for (int c = 1; c < 0x80; c++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            struct str out = written(cx, (struct str){ text, sizeof text });
            json_t *v = json_read(cx, str_printf(&cx->arena, "[" STR_FMT "]", STR_ARG(out)));
            assert_non_null(v);
            assert_int_equal(json_string_length(json_array_get(v, 0)), sizeof text);
            assert_memory_equal(json_string_value(json_array_get(v, 0)), text, sizeof text);
        }
        ctx_retry(cx);
    }
}

static struct str real_text(struct ctx *cx, double v)
{
    struct buf b;

    buf_init(&b, &cx->arena, 100);
    json_write_real(&b, v);
    return buf_view(&b);
}

static void test_reals_read_back_the_same(void **state)
{
    struct ctx *cx = *state;
    uint64_t seed = 0x9E3779B97F4A7C15;

    for (int i = 0; i < 20000; i++) {
        double v;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(&v, &seed, sizeof v);
        if (!(v <= DBL_MAX && v >= -DBL_MAX))
            continue;
        struct str text = real_text(cx, v);
        char *c = str_cstr(&cx->arena, text);
        assert_true(strtod(c, NULL) == v);
        assert_true(strpbrk(c, ".e") != NULL);
        if (i % 1000 == 0)
            ctx_retry(cx);
    }
    assert_str(real_text(cx, 1e15), "1e15");
    assert_str(real_text(cx, 100000), "100000.0");
    assert_str(real_text(cx, 1.5e-9), "1.5e-09");
    assert_str(real_text(cx, (double)DBL_MAX * 10), "null");
}

static void test_reals_do_not_follow_the_locale(void **state)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                         "nl_NL.UTF-8" };
    bool is_set = false;

    for (size_t i = 0; i < sizeof names / sizeof *names && !is_set; i++)
        is_set = setlocale(LC_NUMERIC, names[i]) != NULL;
    if (!is_set)
        skip();
    struct str text = real_text(*state, 0.5);
    json_t *v = json_read(*state, STR("[2.25]"));
    setlocale(LC_NUMERIC, "C");

    assert_str(text, "0.5");
    assert_true(json_real_value(json_array_get(v, 0)) == 2.25);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_mistakes_have_clear_sentences),
        T(test_other_bad_forms_are_refused),
        T(test_a_long_duplicate_key_is_cut_between_characters),
        T(test_depth_64_is_read_and_65_is_refused),
        T(test_brackets_in_strings_are_not_depth),
        T(test_values_come_back_as_they_went_in),
        T(test_bad_bytes_become_the_replacement_character),
        T(test_every_ascii_byte_at_every_place_reads_back),
        T(test_reals_read_back_the_same),
        T(test_reals_do_not_follow_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
