/* What the tests of outside JWTs share: keys, and tokens and key sets made with OpenSSL, so that the
 * product does not check itself. Texts live in cx. */
#ifndef TESSERA_TESTS_JWT_MAKER_H
#define TESSERA_TESTS_JWT_MAKER_H

#include <openssl/evp.h>

#include "core/people/jwks.h"

#define ISS "https://id.example.com/auth/v1"
#define AUD "authenticated"
#define SECRET "a shared secret of more than 32 bytes"
#define RS "{\"alg\":\"RS256\",\"kid\":\"r1\"}"
#define ES "{\"alg\":\"ES256\",\"kid\":\"e1\"}"
#define HS "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

extern EVP_PKEY *rsa, *rsa_other, *rsa_small, *ec; /* between make_keys and drop_keys */
struct str pk_sign(struct ctx *cx, EVP_PKEY *key, struct str text);
struct str hs_sign(struct ctx *cx, struct str secret, struct str text);
struct str body_of(struct ctx *cx, const char *header, struct str payload);
struct str joined(struct ctx *cx, struct str body, struct str sig);
struct str hs_token(struct ctx *cx, const char *header, struct str payload);
struct str pk_token(struct ctx *cx, EVP_PKEY *key, const char *header, struct str payload);
struct str claims(struct ctx *cx, int64_t exp_s, const char *more);
struct str jwk_rsa(struct ctx *cx, EVP_PKEY *key, const char *more);
struct str jwk_ec(struct ctx *cx, EVP_PKEY *key, const char *more);
struct str set_of(struct ctx *cx, struct str one, struct str two);
struct jwks *parsed(struct ctx *cx, struct str text);
int make_keys(void **state);
int drop_keys(void **state);

#endif
