/* The secret of an API key: how it is made, what it looks like, what of it is shown.
 *
 * A new secret is "stk_live_", 30 random base62 digits (178 bits), "_", and 6 base62 digits of the
 * CRC-32 of the 39 characters before that. The sum tells a mistyped or made-up key from a real one
 * before anything is looked up; it is no secret and protects nothing else. The form of the first
 * issue, "stk_" and 43 characters of base64url, goes on working. Stateless; any thread. */
#ifndef TESSERA_CORE_TOKEN_KEY_H
#define TESSERA_CORE_TOKEN_KEY_H

#include "../base/crypt.h"

#define TOKEN_PLAIN_LEN 47  /* "stk_" + 43 */
#define TOKEN_SECRET_LEN 46 /* "stk_live_" + 30 + "_" + 6 */
#define TOKEN_PREFIX_LEN 13 /* "stk_live_" and 4 more are kept to know a key by */
#define TOKEN_LAST_LEN 4

struct token_secret {
    struct str text; /* the sole copy */
    struct str hash; /* SHA-256 in hex */
    struct str prefix, last4;
};
/* Mint one; its texts live in a. */
struct token_secret token_secret_mint(struct arena *a);
/* Can this be a secret of ours: one of both forms, and the sum of the new one fits? */
bool token_secret_is_formed(struct str s);
/* "stk_…a1B2"; without last4 (an old row) "stk_…". Lives in a. */
struct str token_mask(struct arena *a, struct str prefix, struct str last4);

#endif
