/* Outside JWTs and key sets from any bytes: as a whole token, as a header, as claims under a right
 * signature, and as a key set. What is believed has what every token must have. */
#include <stddef.h>
#include <stdint.h>

#include "base/crypt.h"
#include "core/people/jwks.h"
#include "core/people/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET STR("a shared secret of more than 32 bytes")
#define HEADER STR("{\"alg\":\"HS256\"}")

static struct jwt *opened(void)
{
    static struct jwt *j;
    struct jwt_conf conf = { .issuer = STR("i"), .audience = STR("a"), .secret = SECRET };
    struct ctx cx;

    if (j)
        return j;
    crypt_init();
    ctx_init(&cx, CTX_CAP_DEFAULT);
    BUG_IF(jwt_open(&cx, &conf, &j));
    ctx_done(&cx);
    return j;
}

static struct str b64(struct ctx *cx, struct str s)
{
    return base64url_of(&cx->arena, (const unsigned char *)s.p, s.n);
}

static void check(struct ctx *cx, struct str token)
{
    struct jwt_claims c;

    if (jwt_verify(cx, opened(), token, &c)) {
        BUG_IF(cx->err != ERR_INVALID_TOKEN);
    } else {
        BUG_IF(!str_eq(c.issuer, STR("i")) || !c.subject.n);
        BUG_IF(c.email_is_verified && !c.email.n);
        BUG_IF(!jwt_is_like(token) && str_starts(token, STR("eyJ")));
    }
    ctx_clear(cx);
}

static void check_signed(struct ctx *cx, struct str header, struct str payload)
{
    unsigned char mac[SHA256_LEN];
    struct str body = str_printf(&cx->arena, STR_FMT "." STR_FMT, STR_ARG(b64(cx, header)),
                                 STR_ARG(b64(cx, payload)));

    crypt_hmac256(SECRET, body, mac);
    check(cx, str_printf(&cx->arena, STR_FMT "." STR_FMT, STR_ARG(body),
                         STR_ARG(base64url_of(&cx->arena, mac, sizeof mac))));
}

static void check_set(struct ctx *cx, struct str text)
{
    struct jwks *set = NULL;

    if (jwks_parse(cx, text, &set)) {
        BUG_IF(cx->err != ERR_INVALID_FIELD);
        ctx_clear(cx);
        return;
    }
    BUG_IF(!jwks_count(set) || jwks_count(set) > JWKS_KEYS_MAX);
    BUG_IF(jwks_verify(set, JWK_RSA, STR_NONE, STR("e30.e30.AAAA")));
    jwks_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct ctx cx;

    opened();
    ctx_init(&cx, (size_t)16 << 20);
    check(&cx, s);
    if (size < 4096) {
        check_signed(&cx, s, STR("{}"));
        check_signed(&cx, HEADER, s);
    }
    check_set(&cx, s);
    ctx_done(&cx);
    return 0;
}
