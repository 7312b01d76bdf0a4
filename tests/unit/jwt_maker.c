/* Tokens and key sets for tests: see jwt_maker.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "jwt_maker.h"

EVP_PKEY *rsa, *rsa_other, *rsa_small, *ec;

/* ---- making tokens ---- */

static struct str view(const unsigned char *p, size_t n)
{
    return (struct str){ (const char *)p, n };
}

static struct str b64(struct ctx *cx, struct str s)
{
    return base64url_of(&cx->arena, (const unsigned char *)s.p, s.n);
}

/* The two numbers of an ECDSA signature, 32 bytes each (RFC 7518 §3.4). */
static size_t raw_of_der(unsigned char *sig, size_t n)
{
    const unsigned char *p = sig;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)n);

    assert_non_null(s);
    BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32);
    ECDSA_SIG_free(s);
    return 64;
}

struct str pk_sign(struct ctx *cx, EVP_PKEY *key, struct str text)
{
    unsigned char sig[1024];
    size_t n = sizeof sig;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(md, sig, &n, (const unsigned char *)text.p, text.n), 1);
    EVP_MD_CTX_free(md);
    if (EVP_PKEY_is_a(key, "EC"))
        n = raw_of_der(sig, n);
    return b64(cx, view(sig, n));
}

struct str hs_sign(struct ctx *cx, struct str secret, struct str text)
{
    unsigned char mac[SHA256_LEN];

    crypt_hmac256(secret, text, mac);
    return b64(cx, view(mac, sizeof mac));
}

struct str body_of(struct ctx *cx, const char *header, struct str payload)
{
    return str_printf(&cx->arena, STR_FMT "." STR_FMT, STR_ARG(b64(cx, str_of(header))),
                      STR_ARG(b64(cx, payload)));
}

struct str joined(struct ctx *cx, struct str body, struct str sig)
{
    return str_printf(&cx->arena, STR_FMT "." STR_FMT, STR_ARG(body), STR_ARG(sig));
}

struct str hs_token(struct ctx *cx, const char *header, struct str payload)
{
    struct str body = body_of(cx, header, payload);
    return joined(cx, body, hs_sign(cx, STR(SECRET), body));
}

struct str pk_token(struct ctx *cx, EVP_PKEY *key, const char *header, struct str payload)
{
    struct str body = body_of(cx, header, payload);
    return joined(cx, body, pk_sign(cx, key, body));
}

/* Claims that are fine, with `more` (",…") behind them and exp this far away. */
struct str claims(struct ctx *cx, int64_t exp_s, const char *more)
{
    int64_t exp = clock_ms() / 1000 + exp_s;
    return str_printf(&cx->arena,
                      "{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"sub\":\"u-1\",\"exp\":%lld%s}",
                      (long long)exp, more);
}

/* ---- key sets ---- */

static struct str number(struct ctx *cx, EVP_PKEY *key, const char *name, int pad)
{
    unsigned char raw[1024];
    BIGNUM *n = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
    int len = pad ? BN_bn2binpad(n, raw, pad) : BN_bn2bin(n, raw);
    BN_free(n);
    return base64url_of(&cx->arena, raw, (size_t)len);
}

struct str jwk_rsa(struct ctx *cx, EVP_PKEY *key, const char *more)
{
    return str_printf(&cx->arena, "{\"kty\":\"RSA\",\"n\":\"" STR_FMT "\",\"e\":\"" STR_FMT "\"%s}",
                      STR_ARG(number(cx, key, OSSL_PKEY_PARAM_RSA_N, 0)),
                      STR_ARG(number(cx, key, OSSL_PKEY_PARAM_RSA_E, 0)), more);
}

struct str jwk_ec(struct ctx *cx, EVP_PKEY *key, const char *more)
{
    return str_printf(&cx->arena,
                      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" STR_FMT "\",\"y\":\"" STR_FMT
                      "\"%s}",
                      STR_ARG(number(cx, key, OSSL_PKEY_PARAM_EC_PUB_X, 32)),
                      STR_ARG(number(cx, key, OSSL_PKEY_PARAM_EC_PUB_Y, 32)), more);
}

struct str set_of(struct ctx *cx, struct str one, struct str two)
{
    return str_printf(&cx->arena, "{\"keys\":[" STR_FMT "%s" STR_FMT "]}", STR_ARG(one),
                      two.n ? "," : "", STR_ARG(two));
}

struct jwks *parsed(struct ctx *cx, struct str text)
{
    struct jwks *set = NULL;

    assert_int_equal(jwks_parse(cx, text, &set), ERR_NONE);
    return set;
}

/* ---- the keys ---- */

int make_keys(void **state)
{
    (void)state;
    crypt_init();
    rsa = EVP_RSA_gen(2048);
    rsa_other = EVP_RSA_gen(2048);
    rsa_small = EVP_RSA_gen(1024);
    ec = EVP_EC_gen("P-256");
    return !rsa || !rsa_other || !rsa_small || !ec;
}

int drop_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(rsa_other);
    EVP_PKEY_free(rsa_small);
    EVP_PKEY_free(ec);
    return 0;
}
