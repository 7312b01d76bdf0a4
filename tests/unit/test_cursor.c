/* Cursors: what was printed reads back; anything else is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/crypt.h"
#include "core/cursor.h"

static const struct cursor_key key = { { 1, 2, 3 } };

static struct cursor sample(int64_t at)
{
    return (struct cursor){ .kind = STR("tickets:-created_at"),
                            .filter = STR("status=open"),
                            .at = at,
                            .id = STR("01900000-0000-7000-8000-00000000000a") };
}

static enum err_code parse(struct ctx *cx, struct str text, struct cursor *c)
{
    enum err_code e = cursor_parse(cx, &key, text, c);

    if (e) {
        assert_int_equal(e, ERR_INVALID_PARAMETER);
        assert_int_equal(cx->n_fields, 1);
        assert_true(str_eq(cx->fields[0].field, STR("cursor")));
    }
    ctx_clear(cx);
    return e;
}

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

static void test_a_position_reads_back(void **state)
{
    static const int64_t ats[] = { 0, 1, -1, 1700000000123, INT64_MAX, INT64_MIN };
    struct ctx *cx = *state;

    for (size_t i = 0; i < sizeof ats / sizeof *ats; i++) {
        struct cursor c = sample(ats[i]), back = sample(7);

        back.id = STR_NONE;
        assert_int_equal(parse(cx, cursor_print(cx, &key, &c), &back), ERR_NONE);
        assert_int_equal(back.at, ats[i]);
        assert_true(str_eq(back.id, c.id));
    }
}

static void test_an_id_may_be_empty_or_hold_the_separator(void **state)
{
    struct ctx *cx = *state;
    struct cursor c = sample(5), back = sample(0);

    c.id = STR("");
    assert_int_equal(parse(cx, cursor_print(cx, &key, &c), &back), ERR_NONE);
    assert_int_equal(back.id.n, 0);
    c.id = STR("a|b|c");
    assert_int_equal(parse(cx, cursor_print(cx, &key, &c), &back), ERR_NONE);
    assert_true(str_eq(back.id, c.id));
}

static void test_every_changed_character_is_noticed(void **state)
{
    struct ctx *cx = *state;
    struct cursor c = sample(1700000000123), back;
    struct str good = cursor_print(cx, &key, &c);
    char *bad = str_cstr(&cx->arena, good);

    for (size_t i = 0; i < good.n; i++) {
        bad[i] = good.p[i] == 'A' ? 'B' : 'A';
        back = sample(0);
        assert_int_equal(parse(cx, (struct str){ bad, good.n }, &back), ERR_INVALID_PARAMETER);
        bad[i] = good.p[i];
    }
    for (size_t n = 0; n < good.n; n++) {
        back = sample(0);
        assert_int_equal(parse(cx, str_sub(good, 0, n), &back), ERR_INVALID_PARAMETER);
    }
}

static void test_another_list_filter_or_key_is_refused(void **state)
{
    static const struct cursor_key other = { { 9 } };
    struct ctx *cx = *state;
    struct cursor c = sample(5), back = sample(0);
    struct str text = cursor_print(cx, &key, &c);

    back.kind = STR("tickets:created_at");
    assert_int_equal(parse(cx, text, &back), ERR_INVALID_PARAMETER);
    back = sample(0);
    back.filter = STR("status=closed");
    assert_int_equal(parse(cx, text, &back), ERR_INVALID_PARAMETER);
    back = sample(0);
    back.filter = STR_NONE;
    assert_int_equal(parse(cx, text, &back), ERR_INVALID_PARAMETER);
    back = sample(0);
    assert_int_equal(cursor_parse(cx, &other, text, &back), ERR_INVALID_PARAMETER);
    ctx_clear(cx);
}

static void test_strange_texts_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "=", "x", "not base64!", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAA"
    };
    struct ctx *cx = *state;
    struct cursor back = sample(0);
    char *longest = arena_alloc(&cx->arena, 4096);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(cx, str_of(bad[i]), &back), ERR_INVALID_PARAMETER);
    assert_int_equal(parse(cx, STR_NONE, &back), ERR_INVALID_PARAMETER);
    memset(longest, 'A', 4096);
    assert_int_equal(parse(cx, (struct str){ longest, 4096 }, &back), ERR_INVALID_PARAMETER);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_position_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_id_may_be_empty_or_hold_the_separator, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_every_changed_character_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_list_filter_or_key_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_strange_texts_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
