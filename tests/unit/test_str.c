/* Facts about str.c: views, numbers, UTF-8, growing text and its maxima. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/arena.h"
#include "base/str.h"

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

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void test_equality_is_by_bytes_and_length(void **state)
{
    (void)state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_eq_nocase(STR("Content-Type"), STR("cONTENT-tYPE")));
    assert_false(str_eq_nocase(STR("[a"), STR("{a"))); /* only letters have a case */
    assert_true(str_starts(STR("bearer x"), STR("bearer ")));
    assert_false(str_starts(STR("be"), STR("bearer")));
}

static void test_sub_is_clamped(void **state)
{
    (void)state;
    assert_str(str_sub(STR("hello"), 1, 3), "ell");
    assert_str(str_sub(STR("hello"), 3, SIZE_MAX), "lo");
    assert_str(str_sub(STR("hello"), 9, 1), "");
    assert_null(str_sub(STR_NONE, 0, 1).p);
}

static void test_trim_takes_ascii_blanks(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n a b \v\f")), "a b");
    assert_str(str_trim(STR("   ")), "");
    assert_str(str_trim(STR("\xC2\xA0x")), "\xC2\xA0x"); /* no Unicode spaces */
}

static void test_cut_walks_a_list_to_its_end(void **state)
{
    struct str rest = STR("a,,b");

    (void)state;
    assert_str(str_cut(&rest, ','), "a");
    assert_str(str_cut(&rest, ','), "");
    assert_non_null(rest.p);
    assert_str(str_cut(&rest, ','), "b");
    assert_null(rest.p);
    assert_null(str_cut(&rest, ',').p);
    rest = STR("a,");
    assert_str(str_cut(&rest, ','), "a");
    assert_non_null(rest.p); /* an empty part follows */
    assert_int_equal(rest.n, 0);
}

static void test_copies_end_in_nul_and_keep_none(void **state)
{
    char text[] = "xyz";
    struct str s = str_dup(*state, (struct str){ text, 2 });

    text[0] = '-';
    assert_string_equal(s.p, "xy");
    assert_string_equal(str_cstr(*state, STR_NONE), "");
    assert_null(str_dup(*state, STR_NONE).p);
    assert_non_null(str_dup(*state, STR("")).p);
}

static void test_printf_of_any_length(void **state)
{
    char big[1000];
    struct str s;

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    s = str_printf(*state, "%d-%s", 7, big);
    assert_int_equal(s.n, sizeof(big) + 1);
    assert_memory_equal(s.p, "7-aaa", 5);
    assert_string_equal(s.p + 2, big);
    for (int n = 250; n < 260; n++) /* around the size of the first try */
        assert_int_equal(str_printf(*state, "%.*s", n, big).n, n);
}

static void test_numbers_are_whole_and_fit(void **state)
{
    static const struct {
        const char *text;
        int64_t v;
    } good[] = { { "0", 0 },
                 { "-0", 0 },
                 { "007", 7 },
                 { "-12", -12 },
                 { "9223372036854775807", INT64_MAX },
                 { "-9223372036854775808", INT64_MIN } };
    static const char *const bad[] = { "",
                                       "-",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1a",
                                       "0x1",
                                       "1.0",
                                       "--1",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "99999999999999999999" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        int64_t v = 42;

        assert_true(str_to_i64(str_of(good[i].text), &v));
        assert_true(v == good[i].v);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int64_t v = 42;

        assert_false(str_to_i64(str_of(bad[i]), &v));
        assert_true(v == 42);
    }
    assert_false(str_to_i64(STR_NONE, &(int64_t){ 0 }));
}

static void test_utf8_is_judged_as_rfc_3629(void **state)
{
    static const char *const good[] = { "",
                                        "plain ascii that is longer than eight bytes",
                                        "\xC2\x80",
                                        "\xDF\xBF",
                                        "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",
                                        "\xEE\x80\x80",
                                        "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF",
                                        "1234567\xC3\xA9 89012345" };
    static const char *const bad[] = { "\x80",
                                       "\xC0\x80",
                                       "\xC1\xBF",
                                       "\xE0\x9F\xBF",
                                       "\xED\xA0\x80",
                                       "\xED\xBF\xBF",
                                       "\xF0\x8F\xBF\xBF",
                                       "\xF4\x90\x80\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xFF",
                                       "\xC3",
                                       "\xE2\x82",
                                       "\xF0\x9F\x98",
                                       "\xC3(",
                                       "12345678\x80" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(str_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(str_is_utf8(str_of(bad[i])));
    assert_int_equal(str_chars(STR("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")), 4);
}

static void test_a_single_line_has_no_control_character(void **state)
{
    static const char *const good[] = { "", " a~", "\xC2\xA0", "\xC3\x85", "\xE2\x80\xA8" };
    static const char *const bad[] = { "\n", "a\tb", "\x1F", "\x7F", "a\xC2\x80", "\xC2\x9F" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(str_is_single_line(str_of(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(str_is_single_line(str_of(bad[i])));
    assert_false(str_is_single_line((struct str){ "a\0b", 3 }));
}

static void test_buf_grows_and_keeps_what_it_holds(void **state)
{
    struct buf b;

    buf_init(&b, *state, 100000);
    for (int i = 0; i < 10000; i++)
        buf_i64(&b, i % 10);
    assert_false(b.over);
    assert_int_equal(b.n, 10000);
    for (size_t i = 0; i < b.n; i++)
        assert_int_equal(b.p[i], '0' + (int)(i % 10));
    buf_reset(&b);
    assert_int_equal(buf_view(&b).n, 0);
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_i64(&b, 0);
    buf_lit(&b, " x");
    buf_printf(&b, "%s", "!");
    assert_str(buf_view(&b), "-9223372036854775808 0 x!");
}

static void test_buf_never_half_writes_and_over_is_sticky(void **state)
{
    struct buf b;

    buf_init(&b, *state, 10);
    buf_lit(&b, "12345678");
    buf_lit(&b, "abc");
    assert_true(b.over);
    assert_str(buf_view(&b), "12345678");
    buf_char(&b, 'x'); /* would fit, but the text has a hole already */
    assert_str(buf_view(&b), "12345678");
    buf_reset(&b);
    buf_lit(&b, "1234567890");
    assert_false(b.over);
    assert_str(buf_view(&b), "1234567890");
}

static void test_buf_prints_long_texts_or_nothing(void **state)
{
    struct buf b;

    buf_init(&b, *state, 600);
    buf_printf(&b, "%0500d", 1);
    assert_int_equal(b.n, 500);
    assert_int_equal(b.p[499], '1');
    buf_printf(&b, "%0500d", 1);
    assert_true(b.over);
    assert_int_equal(b.n, 500);
}

static void test_buf_on_borrowed_storage_needs_no_arena(void **state)
{
    char room[8];
    struct buf b = { .p = room, .cap = sizeof(room), .max = sizeof(room) };

    (void)state;
    buf_lit(&b, "12345678");
    assert_false(b.over);
    buf_char(&b, '9');
    assert_true(b.over);
    assert_memory_equal(room, "12345678", 8);
}

static void test_buf_stops_before_the_arena_would_abort(void **state)
{
    struct arena small;
    struct buf b;

    (void)state;
    arena_init(&small, 4096);
    buf_init(&b, &small, 1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_char(&b, 'x');
    assert_true(b.over);
    assert_true(small.over);
    assert_in_range(b.n, 1024, 8192);
    assert_non_null(str_dup(&small, STR("still possible")).p);
    arena_done(&small);
}

static void test_empty_buf_views_as_empty_text(void **state)
{
    struct buf b;

    buf_init(&b, *state, 10);
    assert_non_null(buf_view(&b).p);
    assert_int_equal(buf_view(&b).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality_is_by_bytes_and_length),
        cmocka_unit_test(test_sub_is_clamped),
        cmocka_unit_test(test_trim_takes_ascii_blanks),
        cmocka_unit_test(test_cut_walks_a_list_to_its_end),
        cmocka_unit_test(test_copies_end_in_nul_and_keep_none),
        cmocka_unit_test(test_printf_of_any_length),
        cmocka_unit_test(test_numbers_are_whole_and_fit),
        cmocka_unit_test(test_utf8_is_judged_as_rfc_3629),
        cmocka_unit_test(test_buf_grows_and_keeps_what_it_holds),
        cmocka_unit_test(test_a_single_line_has_no_control_character),
        cmocka_unit_test(test_buf_never_half_writes_and_over_is_sticky),
        cmocka_unit_test(test_buf_prints_long_texts_or_nothing),
        cmocka_unit_test(test_buf_on_borrowed_storage_needs_no_arena),
        cmocka_unit_test(test_buf_stops_before_the_arena_would_abort),
        cmocka_unit_test(test_empty_buf_views_as_empty_text),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
