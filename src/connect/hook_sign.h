/* Signing of what we send, by Standard Webhooks: id, time and body joined by full stops, one
 * signature for each live secret (v1 HMAC-SHA256 for whsec_, v1a ed25519 for whsk_). The receivers'
 * libraries take the first that holds, so a secret can be rotated without a gap. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_SIGN_H
#define TESSERA_CONNECT_HOOK_SIGN_H

#include "hook_ask.h"

#define HOOK_ID_MAX 200

struct hook_message {
    struct str id;       /* the same at every attempt; no full stop, no white space */
    int64_t timestamp_s; /* of this attempt, seconds since 1970, >= 0 */
    struct str body;
};

struct hook_signed {      /* values of the headers; live in the ctx */
    struct str id;        /* webhook-id */
    struct str timestamp; /* webhook-timestamp */
    struct str signature; /* webhook-signature: in the order of the secrets, one blank between */
};

/* Sign with all n secrets (1 to HOOK_SECRETS_MAX). INVALID_FIELD when the id or a secret cannot
 * sign (hook_key_check says what can); the secrets are never shown. */
enum err_code hook_sign(struct ctx *cx, const struct hook_message *m, const struct str *secrets,
                        size_t n, struct hook_signed *out);

#endif
