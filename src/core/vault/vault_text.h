/* The text form of a sealed secret.
 *
 *     v2.<key id: 16 hex digits>.<base64url of nonce (12 bytes), ciphertext, tag (16 bytes)>
 *
 * Before the vault it was v1 with 8 hex digits, which name a master key; such texts are still
 * opened, and a rotation replaces them. */
#ifndef TESSERA_CORE_VAULT_TEXT_H
#define TESSERA_CORE_VAULT_TEXT_H

#include "../../base/str.h"

#define VAULT_NONCE_LEN 12
#define VAULT_TAG_LEN 16
#define VAULT_ID_TEXT 16 /* hex digits of a key id */
#define VAULT_V1_ID_TEXT 8

enum vault_format { VAULT_V1, VAULT_V2 };

struct vault_text {
    enum vault_format format;
    struct str key_id; /* a view into the text, as is `body` */
    struct str body;   /* base64url; at least nonce and tag */
};

/* False when the text has neither form; *out is untouched then. Any thread. */
bool vault_text_parse(struct str text, struct vault_text *out);

#endif
