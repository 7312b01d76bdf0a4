/* JSON Web Key Sets (RFC 7517): the public keys of an outside issuer.
 *
 * Of a set only what can check our two algorithms is kept: RSA keys of 2048 to 8192 bits (RS256)
 * and P-256 keys (ES256) that are not marked for another use. A key is rebuilt from its numbers
 * alone, so nothing else that a set says (certificates, addresses) is ever looked at. A set does
 * not change once it is read; any number of threads may check signatures with it. */
#ifndef TESSERA_CORE_PEOPLE_JWKS_H
#define TESSERA_CORE_PEOPLE_JWKS_H

#include "../../base/ctx.h"

#define JWKS_BYTES_MAX ((size_t)256 << 10)
#define JWKS_KEYS_MAX 100

enum jwk_kind { JWK_RSA, JWK_EC };
struct jwks;

/* INVALID_FIELD says what is wrong; a set without any usable key is refused. Free with
 * jwks_free. */
enum err_code jwks_parse(struct ctx *cx, struct str text, struct jwks **out);
void jwks_free(struct jwks *set); /* NULL is fine */
size_t jwks_count(const struct jwks *set);
/* Could a key of the set have signed this? By id (several keys may share one) or, without an id in
 * the token, when it has a single key of the kind. */
bool jwks_knows(const struct jwks *set, enum jwk_kind kind, struct str kid);
/* Is the compact JWS signed by such a key with RS256 (RSA) or ES256 (EC)? */
bool jwks_verify(const struct jwks *set, enum jwk_kind kind, struct str kid, struct str token);

/* Where a set comes from: a file, https://, or http:// at a loopback address. USAGE names the
 * setting jwt_jwks. */
enum err_code jwks_source_check(struct ctx *cx, struct str source);
bool jwks_source_is_remote(struct str source);
struct egress;
/* The text of the set, at most JWKS_BYTES_MAX; redirects are not followed; at most 10 seconds and
 * ended early by cx's stop. `eg` may be NULL for a file. UNAVAILABLE says why. Blocks. */
enum err_code jwks_load(struct ctx *cx, struct egress *eg, struct str source, struct str *text);

#endif
