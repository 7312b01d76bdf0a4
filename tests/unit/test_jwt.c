/* Outside JWTs: what a token must have to be believed, and every way that it is not. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/jwt.h"
#include "jwt_maker.h"

struct fix {
    struct ctx cx;
    char path[64];
    struct jwt *hs, *keys;
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);
    struct ctx *cx = &f->cx;

    ctx_init(cx, CTX_CAP_DEFAULT);
    strcpy(f->path, "/tmp/test-jwks-XXXXXX");
    int fd = mkstemp(f->path);
    struct str text = set_of(cx, jwk_rsa(cx, rsa, ",\"kid\":\"r1\",\"alg\":\"RS256\""),
                             jwk_ec(cx, ec, ",\"kid\":\"e1\",\"use\":\"sig\""));
    assert_int_equal(write(fd, text.p, text.n), text.n);
    close(fd);
    struct jwt_conf conf = { .issuer = STR(ISS), .audience = STR(AUD), .skew_s = 60 };
    conf.secret = STR(SECRET);
    assert_int_equal(jwt_open(cx, &conf, &f->hs), ERR_NONE);
    assert_int_equal(jwt_start(cx, f->hs), ERR_NONE);
    conf.secret = STR_NONE;
    conf.jwks = str_of(f->path);
    assert_int_equal(jwt_open(cx, &conf, &f->keys), ERR_NONE);
    assert_int_equal(jwt_start(cx, f->keys), ERR_NONE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    jwt_close(f->hs);
    jwt_close(f->keys);
    unlink(f->path);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static struct jwt_claims takes(struct fix *f, struct jwt *j, struct str token)
{
    struct jwt_claims c = { .issuer = STR_NONE };

    assert_int_equal(jwt_verify(&f->cx, j, token, &c), ERR_NONE);
    return c;
}

/* The refusal says `why`. */
static void refuses(struct fix *f, struct jwt *j, struct str token, const char *why)
{
    struct jwt_claims c;

    assert_int_equal(jwt_verify(&f->cx, j, token, &c), ERR_INVALID_TOKEN);
    const char *text = str_cstr(&f->cx.arena, f->cx.err_text);
    if (!strstr(text, why))
        assert_string_equal(text, why); /* prints both */
    ctx_clear(&f->cx);
}

/* ---- signatures ---- */

static void test_the_three_algorithms_are_taken(void **state)
{
    struct fix *f = *state;
    struct str c = claims(&f->cx, 60, "");

    assert_true(str_eq(takes(f, f->hs, hs_token(&f->cx, HS, c)).subject, STR("u-1")));
    assert_true(str_eq(takes(f, f->keys, pk_token(&f->cx, rsa, RS, c)).issuer, STR(ISS)));
    assert_true(str_eq(takes(f, f->keys, pk_token(&f->cx, ec, ES, c)).subject, STR("u-1")));
}

static void test_an_unsigned_token_is_refused(void **state)
{
    struct fix *f = *state;
    struct str c = claims(&f->cx, 60, "");
    const char *const none[] = { "{\"alg\":\"none\"}", "{\"alg\":\"None\",\"kid\":\"r1\"}", "{}",
                                 "{\"alg\":null}", "{\"alg\":[\"RS256\"]}" };

    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        refuses(f, f->hs, joined(&f->cx, body_of(&f->cx, none[i], c), STR("")), "malformed");
        refuses(f, f->hs, hs_token(&f->cx, none[i], c), "algorithm");
        refuses(f, f->keys, pk_token(&f->cx, rsa, none[i], c), "algorithm");
    }
}

static void test_the_public_key_is_no_shared_secret(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;

    PEM_write_bio_PUBKEY(bio, rsa);
    struct str secret = { NULL, (size_t)BIO_get_mem_data(bio, &pem) };
    secret.p = pem;
    struct str body = body_of(cx, "{\"alg\":\"HS256\",\"kid\":\"r1\"}", claims(cx, 60, ""));
    refuses(f, f->keys, joined(cx, body, hs_sign(cx, secret, body)), "RS256 and ES256 alone");

    struct jwt_conf conf = { .issuer = STR(ISS), .audience = STR(AUD), .secret = secret };
    struct jwt *j;
    assert_int_equal(jwt_open(cx, &conf, &j), ERR_USAGE);
    assert_non_null(memmem(cx->err_text.p, cx->err_text.n, "jwt_secret", 10));
    ctx_clear(cx);
    BIO_free(bio);
}

static void test_other_algorithms_are_refused(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str c = claims(cx, 60, "");

    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS512\"}", c), "HS256 alone");
    refuses(f, f->hs, pk_token(cx, rsa, RS, c), "HS256 alone");
    refuses(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"PS256\",\"kid\":\"r1\"}", c), "alone");
    refuses(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"RS512\",\"kid\":\"r1\"}", c), "alone");
    refuses(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"rs256\",\"kid\":\"r1\"}", c), "alone");
}

static void test_a_key_signs_only_with_its_own_algorithm(void **state)
{
    struct fix *f = *state;
    struct str c = claims(&f->cx, 60, "");

    refuses(f, f->keys, pk_token(&f->cx, rsa, "{\"alg\":\"ES256\",\"kid\":\"r1\"}", c),
            "not known");
    refuses(f, f->keys, pk_token(&f->cx, ec, "{\"alg\":\"RS256\",\"kid\":\"e1\"}", c), "not known");
    refuses(f, f->keys, pk_token(&f->cx, rsa, ES, c), "signature");
    refuses(f, f->keys, pk_token(&f->cx, ec, RS, c), "signature");
}

static void test_a_wrong_signature_is_refused(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str c = claims(cx, 60, ""), body = body_of(cx, RS, c);
    struct str hs = hs_token(cx, HS, c);

    refuses(f, f->keys, pk_token(cx, rsa_other, RS, c), "signature");
    refuses(f, f->keys, joined(cx, body, STR("AAAA")), "signature");
    refuses(f, f->hs, str_sub(hs, 0, hs.n - 4), "signature");
    body = body_of(cx, HS, c);
    refuses(f, f->hs,
            joined(cx, body, hs_sign(cx, STR("another secret of at least 32 bytes!"), body)),
            "signature");
    struct str one = pk_token(cx, rsa, RS, c), rest = one,
               two = pk_token(cx, rsa, RS, claims(cx, 90, ""));
    str_cut(&rest, '.');
    str_cut(&rest, '.'); /* the signature of the one under the claims of the other */
    refuses(f, f->keys, joined(cx, str_sub(two, 0, two.n - rest.n - 1), rest), "signature");
}

static void test_keys_in_the_header_are_never_used(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str jwk = jwk_rsa(cx, rsa_other, "");
    struct str header =
        str_printf(&cx->arena,
                   "{\"alg\":\"RS256\",\"kid\":\"r1\",\"jwk\":" STR_FMT
                   ",\"jku\":\"http://127.0.0.1:1/k\",\"x5u\":\"http://127.0.0.1:1/x\"}",
                   STR_ARG(jwk));

    refuses(f, f->keys, pk_token(cx, rsa_other, header.p, claims(cx, 60, "")), "signature");
}

static void test_critical_extensions_and_other_kinds_are_refused(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str c = claims(cx, 60, "");

    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", c),
            "extensions");
    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"crit\":[]}", c), "extensions");
    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"zip\":\"DEF\"}", c), "extensions");
    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", c), "typ");
    refuses(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", c), "malformed");
    takes(f, f->hs, hs_token(cx, "{\"alg\":\"HS256\",\"typ\":\"at+JWT\"}", c));
}

static void test_a_token_without_key_id_goes_to_the_only_key(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct str c = claims(cx, 60, "");

    takes(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"RS256\"}", c));
    refuses(f, f->keys, pk_token(cx, rsa_other, "{\"alg\":\"RS256\"}", c), "signature");
    refuses(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"RS256\",\"kid\":\"r2\"}", c), "not known");
    refuses(f, f->keys, pk_token(cx, rsa, "{\"alg\":\"RS256\",\"kid\":7}", c), "malformed");
}

/* ---- claims ---- */

static void test_times_are_held_to_the_skew(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    long long now = clock_ms() / 1000;

    takes(f, f->hs, hs_token(cx, HS, claims(cx, -30, "")));
    refuses(f, f->hs, hs_token(cx, HS, claims(cx, -61, "")), "expired");
    struct str near = str_printf(&cx->arena, ",\"nbf\":%lld,\"iat\":%lld", now + 30, now + 30);
    takes(f, f->hs, hs_token(cx, HS, claims(cx, 60, near.p)));
    struct str nbf = str_printf(&cx->arena, ",\"nbf\":%lld", now + 120);
    refuses(f, f->hs, hs_token(cx, HS, claims(cx, 600, nbf.p)), "not valid yet");
    struct str iat = str_printf(&cx->arena, ",\"iat\":%lld.5", now + 120);
    refuses(f, f->hs, hs_token(cx, HS, claims(cx, 600, iat.p)), "future");
    refuses(f, f->hs, hs_token(cx, HS, claims(cx, 60, ",\"nbf\":\"0\"")), "malformed");
}

static void test_claims_must_be_there_and_ours(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    const struct {
        const char *payload, *why;
    } rows[] = {
        { "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"sub\":\"u\"}", "exp" },
        { "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"sub\":\"u\",\"exp\":\"9999999999\"}", "exp" },
        { "{\"iss\":\"" ISS "/\",\"aud\":\"" AUD "\",\"sub\":\"u\",\"exp\":9999999999}", "iss" },
        { "{\"aud\":\"" AUD "\",\"sub\":\"u\",\"exp\":9999999999}", "iss" },
        { "{\"iss\":[\"" ISS "\"],\"aud\":\"" AUD "\",\"sub\":\"u\",\"exp\":9999999999}", "iss" },
        { "{\"iss\":\"" ISS "\",\"aud\":\"other\",\"sub\":\"u\",\"exp\":9999999999}", "aud" },
        { "{\"iss\":\"" ISS "\",\"aud\":[\"a\",1],\"sub\":\"u\",\"exp\":9999999999}", "aud" },
        { "{\"iss\":\"" ISS "\",\"aud\":{},\"sub\":\"u\",\"exp\":9999999999}", "aud" },
        { "{\"iss\":\"" ISS "\",\"sub\":\"u\",\"exp\":9999999999}", "aud" },
        { "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"exp\":9999999999}", "sub" },
        { "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"sub\":\"\",\"exp\":9999999999}", "sub" },
        { "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"sub\":5,\"exp\":9999999999}", "sub" },
        { "[1]", "malformed" },
        { "{\"sub\":\"a\",\"sub\":\"b\"}", "malformed" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuses(f, f->hs, hs_token(cx, HS, str_of(rows[i].payload)), rows[i].why);
    takes(f, f->hs,
          hs_token(cx, HS,
                   STR("{\"iss\":\"" ISS "\",\"aud\":[\"x\",\"" AUD
                       "\"],\"sub\":\"u\",\"exp\":9999999999}")));
}

static void test_an_address_is_verified_only_by_the_issuers_own_word(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    const struct {
        const char *more;
        bool is_verified;
    } rows[] = {
        { ",\"email\":\"a@example.com\",\"email_verified\":true", true },
        { ",\"email\":\"a@example.com\"", false },
        { ",\"email\":\"a@example.com\",\"email_verified\":false", false },
        { ",\"email\":\"a@example.com\",\"email_verified\":\"true\"", false },
        { ",\"email\":\"a@example.com\",\"email_verified\":1", false },
        /* Users of Supabase write their own user_metadata. */
        { ",\"email\":\"a@example.com\",\"user_metadata\":{\"email_verified\":true}", false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct jwt_claims c = takes(f, f->hs, hs_token(cx, HS, claims(cx, 60, rows[i].more)));
        assert_true(str_eq(c.email, STR("a@example.com")));
        assert_int_equal(c.email_is_verified, rows[i].is_verified);
    }
    struct jwt_claims c = takes(
        f, f->hs,
        hs_token(cx, HS, claims(cx, 60, ",\"email\":\"no address\",\"email_verified\":true")));
    assert_null(c.email.p);
    assert_false(c.email_is_verified);
}

static void test_the_setting_trusts_every_address_of_the_issuer(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    struct jwt_conf conf = {
        .issuer = STR(ISS), .audience = STR(AUD), .secret = STR(SECRET), .trusts_email = true
    };
    struct jwt *j;

    assert_int_equal(jwt_open(cx, &conf, &j), ERR_NONE);
    assert_true(
        takes(f, j, hs_token(cx, HS, claims(cx, 60, ",\"email\":\"a@b.c\""))).email_is_verified);
    assert_false(takes(f, j, hs_token(cx, HS, claims(cx, 60, ""))).email_is_verified);
    jwt_close(j);
}

static void test_the_name_is_found_where_issuers_put_it(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;

    assert_true(
        str_eq(takes(f, f->hs, hs_token(cx, HS, claims(cx, 60, ",\"name\":\" Ada L. \""))).name,
               STR("Ada L.")));
    assert_true(
        str_eq(takes(f, f->hs,
                     hs_token(cx, HS, claims(cx, 60, ",\"user_metadata\":{\"full_name\":\"Ada\"}")))
                   .name,
               STR("Ada")));
    assert_null(takes(f, f->hs, hs_token(cx, HS, claims(cx, 60, ",\"name\":7"))).name.p);
}

/* ---- form ---- */

static void test_garbage_and_long_tokens_are_refused(void **state)
{
    struct fix *f = *state;
    struct ctx *cx = &f->cx;
    char *big = arena_alloc(&cx->arena, 9000);
    const char *const garbage[] = { "",
                                    ".",
                                    "..",
                                    "a.b",
                                    "eyJ.eyJ.x",
                                    "a.b.c.d",
                                    "eyJhbGciOiJIUzI1NiJ9",
                                    "eyJhbGciOiJIUzI1NiJ9..",
                                    "e30.e30.e30=",
                                    "!.e30.e30" };

    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        refuses(f, f->hs, str_of(garbage[i]), "malformed");
        refuses(f, f->keys, str_of(garbage[i]), "malformed");
    }
    memset(big, 'A', 9000);
    refuses(f, f->hs, (struct str){ big, 9000 }, "longer");
}

static void test_a_jwt_is_told_from_a_key(void **state)
{
    struct fix *f = *state;

    assert_true(jwt_is_like(hs_token(&f->cx, HS, claims(&f->cx, 60, ""))));
    assert_false(jwt_is_like(STR("stk_0123456789")));
    assert_false(jwt_is_like(STR("eyJ")));
    assert_false(jwt_is_like(STR("eyJ.a")));
    assert_false(jwt_is_like(STR("eyJ.a.b.c")));
    assert_false(jwt_is_like(STR("")));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_the_three_algorithms_are_taken),
        T(test_an_unsigned_token_is_refused),
        T(test_the_public_key_is_no_shared_secret),
        T(test_other_algorithms_are_refused),
        T(test_a_key_signs_only_with_its_own_algorithm),
        T(test_a_wrong_signature_is_refused),
        T(test_keys_in_the_header_are_never_used),
        T(test_critical_extensions_and_other_kinds_are_refused),
        T(test_a_token_without_key_id_goes_to_the_only_key),
        T(test_times_are_held_to_the_skew),
        T(test_claims_must_be_there_and_ours),
        T(test_an_address_is_verified_only_by_the_issuers_own_word),
        T(test_the_setting_trusts_every_address_of_the_issuer),
        T(test_the_name_is_found_where_issuers_put_it),
        T(test_garbage_and_long_tokens_are_refused),
        T(test_a_jwt_is_told_from_a_key),
    };

    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
