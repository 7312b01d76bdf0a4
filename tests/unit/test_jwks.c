/* Key sets and the settings of outside JWTs: which keys are usable, where a set may come from, which
 * settings belong together. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdlib.h>
#include <string.h>

#include "base/crypt.h"
#include "core/people/jwt.h"
#include "jwt_maker.h"

struct fix {
    struct ctx cx;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    ctx_done(&f->cx);
    free(f);
    return 0;
}

/* ---- settings ---- */

static void usage(struct ctx *cx, struct jwt_conf conf, const char *names)
{
    struct jwt *j;

    assert_int_equal(jwt_open(cx, &conf, &j), ERR_USAGE);
    assert_non_null(memmem(cx->err_text.p, cx->err_text.n, names, strlen(names)));
    ctx_clear(cx);
}

static void test_half_a_configuration_is_refused_by_name(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str iss = STR(ISS), aud = STR(AUD), secret = STR(SECRET), jwks = STR("https://x.org/k");
    struct jwt *j = (struct jwt *)(void *)cx; /* not NULL */

    usage(cx, (struct jwt_conf){ .issuer = iss, .secret = secret }, "jwt_audience");
    usage(cx, (struct jwt_conf){ .issuer = iss, .audience = aud }, "jwt_secret or jwt_jwks");
    usage(cx, (struct jwt_conf){ .issuer = iss, .audience = aud, .secret = secret, .jwks = jwks },
          "exclude");
    usage(cx, (struct jwt_conf){ .issuer = iss, .audience = aud, .secret = STR("short") },
          "32 bytes");
    usage(cx, (struct jwt_conf){ .secret = secret }, "jwt_issuer");
    usage(cx, (struct jwt_conf){ .audience = aud }, "jwt_issuer");
    assert_int_equal(jwt_open(cx, &(struct jwt_conf){ .skew_s = 60 }, &j), ERR_NONE);
    assert_null(j);
}

static void test_a_key_set_comes_by_https_or_from_this_machine(void **state)
{
    struct fix *f = *state;
    const char *const bad[] = { "http://example.com/k",
                                "http://127.0.0.1.example.com/k",
                                "http://127.0.0.1@example.com/k",
                                "https://user:pw@example.com/k",
                                "http://",
                                "https://" };
    const char *const good[] = { "https://example.com/k", "http://127.0.0.1:8000/k",
                                 "http://localhost/k", "http://[::1]:80/k", "/etc/keys.json" };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(jwks_source_check(&f->cx, str_of(bad[i])), ERR_USAGE);
        ctx_clear(&f->cx);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(jwks_source_check(&f->cx, str_of(good[i])), ERR_NONE);
}

static void test_a_missing_or_empty_file_does_not_start(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct jwt_conf conf = { .issuer = STR(ISS),
                             .audience = STR(AUD),
                             .jwks = STR("/nonexistent/k") };
    struct jwt *j;

    assert_int_equal(jwt_open(cx, &conf, &j), ERR_NONE);
    assert_int_equal(jwt_start(cx, j), ERR_USAGE);
    assert_non_null(memmem(cx->err_text.p, cx->err_text.n, "jwt_jwks", 8));
    ctx_clear(cx);
    jwt_close(j);
    conf.jwks = STR("/dev/null");
    assert_int_equal(jwt_open(cx, &conf, &j), ERR_NONE);
    assert_int_equal(jwt_start(cx, j), ERR_USAGE);
    ctx_clear(cx);
    jwt_close(j);
}

/* ---- key sets ---- */

static void test_only_usable_keys_of_a_set_are_kept(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str good = jwk_rsa(cx, rsa, ",\"kid\":\"r1\"");
    const struct str bad[] = {
        jwk_rsa(cx, rsa_small, ",\"kid\":\"s\""),
        jwk_rsa(cx, rsa, ",\"use\":\"enc\""),
        jwk_rsa(cx, rsa, ",\"alg\":\"RS512\""),
        jwk_rsa(cx, rsa, ",\"key_ops\":[\"sign\"]"),
        jwk_ec(cx, ec, ",\"alg\":\"RS256\""),
        STR("{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}"),
        STR("{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}"),
        STR("{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"}"),
        STR("{\"kty\":\"RSA\"}"),
        STR("{}"),
        STR("7"),
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct jwks *set = parsed(cx, set_of(cx, bad[i], good));
        assert_int_equal(jwks_count(set), 1);
        jwks_free(set);
        assert_int_equal(jwks_parse(cx, set_of(cx, bad[i], STR_NONE), &set), ERR_INVALID_FIELD);
        ctx_clear(cx);
    }
}

static void test_keys_that_share_an_id_are_all_tried(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct jwks *set = parsed(cx, set_of(cx, jwk_rsa(cx, rsa_other, ",\"kid\":\"r\""),
                                         jwk_rsa(cx, rsa, ",\"kid\":\"r\"")));
    struct str token = pk_token(cx, rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", claims(cx, 60, ""));

    assert_true(jwks_verify(set, JWK_RSA, STR("r"), token));
    assert_false(jwks_knows(set, JWK_RSA, STR_NONE)); /* which of the two? */
    assert_false(jwks_knows(set, JWK_EC, STR("r")));
    jwks_free(set);
}

static void test_what_is_no_key_set_is_refused(void **state)
{
    struct fix *f = *state;
    const char *const bad[] = { "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "<html>" };
    struct jwks *set;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(jwks_parse(&f->cx, str_of(bad[i]), &set), ERR_INVALID_FIELD);
        ctx_clear(&f->cx);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_half_a_configuration_is_refused_by_name),
        T(test_a_key_set_comes_by_https_or_from_this_machine),
        T(test_a_missing_or_empty_file_does_not_start),
        T(test_only_usable_keys_of_a_set_are_kept),
        T(test_keys_that_share_an_id_are_all_tried),
        T(test_what_is_no_key_set_is_refused),
    };

    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
