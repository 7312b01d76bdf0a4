/* Facts about ctx.c: the first error wins, limits become errors, a retry starts clean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/ctx.h"

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
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void test_first_error_wins(void **state)
{
    struct ctx *cx = *state;

    assert_int_equal(fail(cx, NOT_FOUND, "no ticket %d", 7), ERR_NOT_FOUND);
    assert_int_equal(fail(cx, CONFLICT, "later"), ERR_NOT_FOUND);
    assert_int_equal(ctx_fail_plain(cx, ERR_INTERNAL), ERR_NOT_FOUND);
    assert_int_equal(cx->err, ERR_NOT_FOUND);
    assert_str(cx->err_text, "no ticket 7");
    ctx_clear(cx);
    assert_int_equal(cx->err, ERR_NONE);
    assert_int_equal(ctx_fail_plain(cx, ERR_CONFLICT), ERR_CONFLICT);
    assert_null(cx->err_text.p);
}

static void test_long_sentences_are_cut_between_characters(void **state)
{
    struct ctx *cx = *state;
    char text[1201];

    for (size_t i = 0; i < 1200; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    text[1200] = '\0';
    fail(cx, BAD_REQUEST, "x%s", text);
    assert_true(str_is_utf8(cx->err_text));
    assert_in_range(cx->err_text.n, 500, 512);
}

static void test_field_errors_are_all_kept_up_to_the_maximum(void **state)
{
    struct ctx *cx = *state;
    char name[] = "title";

    assert_int_equal(ctx_fail_field(cx, ERR_MISSING_FIELD, str_of(name), "title is required"),
                     ERR_MISSING_FIELD);
    name[0] = '-'; /* copied */
    for (int i = 1; i < 2 * CTX_FIELD_ERRORS_MAX; i++)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("priority"), "problem %d", i);
    assert_int_equal(cx->n_fields, CTX_FIELD_ERRORS_MAX);
    assert_int_equal(cx->err, ERR_MISSING_FIELD);
    assert_str(cx->err_text, "title is required");
    assert_str(cx->fields[0].field, "title");
    for (int i = 1; i < CTX_FIELD_ERRORS_MAX; i++) {
        char want[32];

        snprintf(want, sizeof(want), "problem %d", i);
        assert_str(cx->fields[i].text, want);
        assert_int_equal(cx->fields[i].code, ERR_INVALID_FIELD);
    }
}

static void test_ok_says_why_not(void **state)
{
    struct ctx *cx = *state;
    atomic_int stop = 0;
    struct ctx small;

    assert_true(ctx_ok(cx));
    cx->deadline_us = clock_mono_us() + INT64_C(3600000000);
    cx->stop = &stop;
    assert_true(ctx_ok(cx));
    stop = 1;
    assert_false(ctx_ok(cx));
    assert_int_equal(cx->err, ERR_UNAVAILABLE);
    stop = 0;
    ctx_clear(cx);
    cx->deadline_us = clock_mono_us() - 1;
    assert_false(ctx_ok(cx));
    assert_int_equal(cx->err, ERR_UNAVAILABLE);
    cx->stop = NULL;

    ctx_init(&small, 1000);
    arena_alloc(&small.arena, 1200);
    assert_false(ctx_ok(&small));
    assert_int_equal(small.err, ERR_TOO_LARGE);
    ctx_done(&small);
}

static void test_retry_keeps_deadline_stop_and_id(void **state)
{
    struct ctx *cx = *state;
    atomic_int stop = 0;

    cx->request_id = str_dup(&cx->arena, STR("req-1")); /* lives in what retry empties */
    cx->deadline_us = 5;
    cx->stop = &stop;
    fail(cx, CONFLICT, "again");
    cx->retry_after_s = 3;
    arena_alloc(&cx->arena, 100000);
    ctx_retry(cx);
    assert_int_equal(cx->err, ERR_NONE);
    assert_null(cx->err_text.p);
    assert_int_equal(cx->retry_after_s, 0);
    assert_true(cx->arena.used < 1000);
    assert_int_equal(cx->deadline_us, 5);
    assert_ptr_equal(cx->stop, &stop);
    memset(arena_alloc(&cx->arena, 64), 'x', 64);
    assert_str(cx->request_id, "req-1");
    cx->stop = NULL;
}

static void test_error_table_has_a_row_for_every_code(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        const struct err_info *e = err_info((enum err_code)i);

        assert_non_null(e->name);
        assert_true(*e->code && *e->v0_code && *e->text);
        assert_in_range(e->status, 200, 599);
        assert_in_range(e->v0_status, 200, 599);
    }
    assert_string_equal(err_info(ERR_NOT_OWNER)->v0_code, "invalid_token");
    assert_int_equal(err_info(ERR_NOT_OWNER)->status, 404);
    assert_string_equal(err_info((enum err_code)9999)->name, "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_error_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_sentences_are_cut_between_characters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_field_errors_are_all_kept_up_to_the_maximum, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_ok_says_why_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retry_keeps_deadline_stop_and_id, setup, teardown),
        cmocka_unit_test(test_error_table_has_a_row_for_every_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
