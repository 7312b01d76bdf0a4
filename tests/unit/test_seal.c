/* Secrets at rest: what is sealed opens in its own place, under its own master key, and nowhere
 * else. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdlib.h>
#include <string.h>

#include "core/seal.h"

#define MASTER_A STR("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")
#define MASTER_B STR("ff1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")
#define PLACE ((struct seal_place){ "app_user", "totp_secret", STR_NONE, STR("row-1") })

static int setup(void **state)
{
    struct ctx *cx = calloc(1, sizeof *cx);

    crypt_init();
    ctx_init(cx, CTX_CAP_DEFAULT);
    seal_setup(MASTER_A);
    *state = cx;
    return 0;
}

static int teardown(void **state)
{
    seal_setup(STR_NONE);
    ctx_done(*state);
    free(*state);
    return 0;
}

static struct str sealed(struct ctx *cx, struct str plain)
{
    struct seal_place at = PLACE;
    struct str text = STR_NONE;

    assert_int_equal(seal(cx, &at, plain, &text), ERR_NONE);
    return text;
}

static void refuses(struct ctx *cx, struct seal_place at, struct str text, enum err_code code)
{
    struct str plain = STR("untouched");

    assert_int_equal(unseal(cx, &at, text, &plain), code);
    assert_true(str_eq(plain, STR("untouched")));
    ctx_clear(cx);
}

static void test_what_was_sealed_opens_again(void **state)
{
    struct seal_place at = PLACE;
    char bytes[300];
    struct str plain;

    for (size_t n = 0; n <= sizeof bytes; n += 25) {
        memset(bytes, (int)n, sizeof bytes);
        assert_int_equal(unseal(*state, &at, sealed(*state, (struct str){ bytes, n }), &plain),
                         ERR_NONE);
        assert_true(str_eq(plain, (struct str){ bytes, n }));
    }
}

static void test_the_text_has_the_version_and_the_key_id(void **state)
{
    struct str rest = sealed(*state, STR("secret"));
    struct str version = str_cut(&rest, '.'), id = str_cut(&rest, '.');
    unsigned char raw[64];
    size_t n = 0;

    assert_true(str_eq(version, STR("v1")));
    assert_true(hex_parse(id, raw, 4));
    assert_true(base64url_parse(rest, raw, sizeof raw, &n));
    assert_int_equal(n, 12 + strlen("secret") + 16);
}

static void test_the_same_text_is_never_sealed_the_same(void **state)
{
    assert_false(str_eq(sealed(*state, STR("x")), sealed(*state, STR("x"))));
}

static void test_another_place_does_not_open_it(void **state)
{
    struct str text = sealed(*state, STR("secret"));
    const struct seal_place others[] = {
        { "other", "totp_secret", STR_NONE, STR("row-1") },
        { "app_user", "other", STR_NONE, STR("row-1") },
        { "app_user", "totp_secret", STR("team"), STR("row-1") },
        { "app_user", "totp_secret", STR_NONE, STR("row-2") },
    };

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        refuses(*state, others[i], text, ERR_INTERNAL);
}

static void test_every_changed_character_is_noticed(void **state)
{
    struct ctx *cx = *state;
    struct str text = sealed(cx, STR("secret"));
    char *copy = str_cstr(&cx->arena, text);

    for (size_t i = 12; i < text.n; i++) { /* behind "v1.<key id>." */
        char was = copy[i];
        copy[i] = was == 'A' ? 'B' : 'A';
        refuses(cx, PLACE, (struct str){ copy, text.n }, ERR_INTERNAL);
        copy[i] = was;
    }
    refuses(cx, PLACE, str_sub(text, 0, text.n - 2), ERR_INTERNAL);
    refuses(cx, PLACE, str_sub(text, 0, 12), ERR_INTERNAL);
    refuses(cx, PLACE, STR("v1"), ERR_INTERNAL);
    refuses(cx, PLACE, STR(""), ERR_INTERNAL);
    refuses(cx, PLACE, STR("v2.00000000.AAAA"), ERR_INTERNAL);
}

static void test_another_master_key_is_not_configured(void **state)
{
    struct str text = sealed(*state, STR("secret"));

    seal_setup(MASTER_B);
    refuses(*state, PLACE, text, ERR_NOT_CONFIGURED);

    seal_setup(MASTER_A);
    struct seal_place at = PLACE;
    struct str plain;
    assert_int_equal(unseal(*state, &at, text, &plain), ERR_NONE);
}

static void test_without_a_master_key_nothing_is_sealed(void **state)
{
    struct ctx *cx = *state;
    struct seal_place at = PLACE;
    struct str text = sealed(cx, STR("secret")), out;
    unsigned char mac[SHA256_LEN];

    seal_setup(STR_NONE);

    assert_false(seal_is_ready());
    assert_int_equal(seal(cx, &at, STR("x"), &out), ERR_NOT_CONFIGURED);
    assert_non_null(memmem(cx->err_text.p, cx->err_text.n, "master_key", 10));
    ctx_clear(cx);
    refuses(cx, PLACE, text, ERR_NOT_CONFIGURED);
    assert_int_equal(seal_mac(cx, "p", STR("x"), mac), ERR_NOT_CONFIGURED);
}

static void test_a_mac_depends_on_purpose_text_and_master_key(void **state)
{
    unsigned char a[SHA256_LEN], b[SHA256_LEN];

    assert_int_equal(seal_mac(*state, "p", STR("x"), a), ERR_NONE);
    assert_int_equal(seal_mac(*state, "p", STR("x"), b), ERR_NONE);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(seal_mac(*state, "q", STR("x"), b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(seal_mac(*state, "p", STR("y"), b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
    seal_setup(MASTER_B);
    assert_int_equal(seal_mac(*state, "p", STR("x"), b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_was_sealed_opens_again),
        T(test_the_text_has_the_version_and_the_key_id),
        T(test_the_same_text_is_never_sealed_the_same),
        T(test_another_place_does_not_open_it),
        T(test_every_changed_character_is_noticed),
        T(test_another_master_key_is_not_configured),
        T(test_without_a_master_key_nothing_is_sealed),
        T(test_a_mac_depends_on_purpose_text_and_master_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
