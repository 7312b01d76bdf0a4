/* What the vault does with bytes: AES-256-GCM, wrapping of keys, the master keys of this process.
 * Inside core/vault only. */
#ifndef TESSERA_CORE_VAULT_CRYPT_H
#define TESSERA_CORE_VAULT_CRYPT_H

#include "vault.h"
#include "vault_text.h"

#define VAULT_KEY_LEN 32

struct vault_dek { /* an unwrapped data key; on the stack, overwritten after use */
    char id[VAULT_ID_TEXT + 1];
    unsigned char key[VAULT_KEY_LEN];
};
void vault_dek_forget(struct vault_dek *dek);

/* base64url of nonce, ciphertext and tag, in a. A failure of the library aborts. */
struct str vault_gcm_seal(struct arena *a, const unsigned char key[VAULT_KEY_LEN], struct str aad,
                          struct str plain);
/* False when the text is not of this key and aad, or damaged. *plain lives in a. */
bool vault_gcm_open(struct arena *a, const unsigned char key[VAULT_KEY_LEN], struct str aad,
                    struct str body, struct str *plain);

struct vault_master { /* of a master key: what is derived from it by HKDF-SHA256 */
    bool is_set;
    char id[VAULT_ID_TEXT + 1];
    unsigned char kek[VAULT_KEY_LEN];
    char v1_id[VAULT_V1_ID_TEXT + 1]; /* of v1 texts */
    unsigned char v1_root[VAULT_KEY_LEN];
    unsigned char audit[VAULT_KEY_LEN]; /* the chain's key before there was a vault */
};
/* Empty text: *out is not set. */
void vault_master_derive(struct str text, struct vault_master *out);

/* The master keys of this process: set by vault_start, read-only between it and vault_stop. */
struct vault_masters {
    struct vault_master now, before;
};
extern struct vault_masters vault_masters;
/* The one with this id, or NULL. */
const struct vault_master *vault_master_of(struct str id);

/* Open the body of a v1 text; NULL or why it does not (a word of vault_quarantine.reason). */
const char *vault_v1_open(struct arena *a, const struct vault_place *at,
                          const struct vault_text *text, struct str *plain);
/* table|column|team|row: what a text is authenticated with. */
struct str vault_place_text(struct arena *a, const struct vault_place *at);

#endif
