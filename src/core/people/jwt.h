/* Bearer JWTs of one configured outside issuer (RFC 7519, RFC 8725): signature and claims.
 *
 * Either a shared secret (HS256 alone) or a JWK set (RS256 and ES256 alone), never both: which
 * algorithm a key takes is decided by our settings, not by the token. A thread reads the key set
 * again every 5 minutes, and soon after a token names a key id that is not in it (at most once in
 * 10 seconds). Verifying does no I/O. */
#ifndef TESSERA_CORE_PEOPLE_JWT_H
#define TESSERA_CORE_PEOPLE_JWT_H

#include "../../base/ctx.h"

struct jwt;
struct jwt_conf {
    struct str issuer, audience;
    struct str secret; /* HS256, at least 32 bytes; or STR_NONE */
    struct str jwks;   /* https:// address or a file; or STR_NONE */
    int64_t skew_s;
    bool trusts_email; /* e-mail addresses count as verified whatever the token says of them */
};
struct jwt_claims {
    struct str issuer, subject; /* never empty */
    struct str email;           /* STR_NONE when absent */
    struct str name;            /* STR_NONE when absent */
    bool email_is_verified;
};

/* USAGE errors name the setting. *out = NULL without an issuer. The texts of `conf` must live as long
 * as the struct jwt. */
enum err_code jwt_open(struct ctx *cx, const struct jwt_conf *conf, struct jwt **out);
/* What a key set at an address is fetched with; before jwt_start; must live until jwt_close. */
struct egress;
void jwt_use_egress(struct jwt *j, struct egress *eg);
/* The thread of the key set; NULL is fine. A file is read here (USAGE when it cannot be), an address
 * by the thread: an issuer that is down does not keep the server from starting. */
enum err_code jwt_start(struct ctx *cx, struct jwt *j);
void jwt_close(struct jwt *j); /* ends the thread; NULL is fine */
/* Does the text look like a JWT (three base64url parts) rather than an API key? */
bool jwt_is_like(struct str token);
/* INVALID_TOKEN with a sentence for each refusal; UNAVAILABLE while no key set was read yet. Texts
 * live in cx, issuer in the conf. Any thread. */
enum err_code jwt_verify(struct ctx *cx, struct jwt *j, struct str token, struct jwt_claims *out);

#endif
