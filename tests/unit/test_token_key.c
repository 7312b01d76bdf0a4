/* Facts about the secret of an API key: its form, its sum, what of it is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/arena.h"
#include "core/token_key.h"

static struct arena a;

static int setup(void **state)
{
    (void)state;
    arena_init(&a, (size_t)1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&a);
    return 0;
}

/* The sum as anybody else would compute it. */
static void sum_of(const char *text, size_t n, char out[7])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned long sum = crc32(0, (const unsigned char *)text, (unsigned)n);
    for (int i = 5; i >= 0; i--, sum /= 62)
        out[i] = digits[sum % 62];
    out[6] = '\0';
}

static void test_a_secret_ends_with_the_sum_of_what_stands_before(void **state)
{
    char sum[7];
    (void)state;
    struct token_secret s = token_secret_mint(&a);
    sum_of(s.text.p, 39, sum);

    assert_int_equal(s.text.n, TOKEN_SECRET_LEN);
    assert_memory_equal(s.text.p, "stk_live_", 9);
    assert_int_equal(s.text.p[39], '_');
    assert_memory_equal(s.text.p + 40, sum, 6);
    assert_true(token_secret_is_formed(s.text));
    assert_memory_equal(s.last4.p, sum + 2, 4);
    assert_int_equal(s.prefix.n, 13);
}

static void test_any_single_typo_is_refused(void **state)
{
    char text[TOKEN_SECRET_LEN];
    (void)state;
    struct token_secret s = token_secret_mint(&a);
    for (size_t i = 0; i < TOKEN_SECRET_LEN; i++) {
        memcpy(text, s.text.p, sizeof text);
        text[i] = text[i] == 'x' ? 'y' : 'x';
        assert_false(token_secret_is_formed((struct str){ text, sizeof text }));
    }
    memcpy(text, s.text.p, sizeof text);
    for (size_t i = 9; i < 38; i++)
        if (text[i] != text[i + 1]) { /* two neighbours changed places */
            char c = text[i];
            text[i] = text[i + 1];
            text[i + 1] = c;
            assert_false(token_secret_is_formed((struct str){ text, sizeof text }));
            text[i + 1] = text[i];
            text[i] = c;
        }
}

static void test_the_plain_form_stays_good(void **state)
{
    (void)state;
    assert_true(token_secret_is_formed(STR("stk_zzzzzzzzzzzzzzzzzzzzzz-_zzzzzzzzzzzzzzzzzzz")));
    assert_false(token_secret_is_formed(STR("stk_zzzzzzzzzzzzzzzzzzzzzz-_zzzzzzzzzzzzzzzzzz.")));
    assert_false(token_secret_is_formed(STR("stk_zzzzzzzzzzzzzzzzzzzzzz-_zzzzzzzzzzzzzzzzzzzz")));
    assert_false(token_secret_is_formed(STR("")));
    assert_false(token_secret_is_formed(STR_NONE));
}

static void test_two_secrets_differ_and_use_all_digits(void **state)
{
    bool seen[256] = { false };
    int n = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct token_secret s = token_secret_mint(&a);
        for (size_t k = 9; k < 39; k++)
            seen[(unsigned char)s.text.p[k]] = true;
    }
    for (int i = 0; i < 256; i++)
        n += seen[i];
    assert_int_equal(n, 62);
    assert_false(str_eq(token_secret_mint(&a).text, token_secret_mint(&a).text));
}

static void test_the_mask_shows_four_and_four(void **state)
{
    (void)state;
    assert_true(str_eq(token_mask(&a, STR("stk_live_a1B2"), STR("Zz9Y")), STR("stk_…Zz9Y")));
    assert_true(str_eq(token_mask(&a, STR("stk_a1B2"), STR_NONE), STR("stk_…")));
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_secret_ends_with_the_sum_of_what_stands_before,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_single_typo_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_plain_form_stays_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_secrets_differ_and_use_all_digits, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_mask_shows_four_and_four, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
