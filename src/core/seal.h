/* Secrets at rest: AES-256-GCM under keys derived from the setting master_key.
 *
 * A sealed text says where it belongs: table, column, team and row are authenticated with it, so
 * that it cannot be moved to another place. Form: v1.<key id, 8 hex digits>.<base64url of nonce,
 * ciphertext and tag>. Each column has its own key. The key id comes from the master key: a text of
 * another master key is told from a damaged one. */
#ifndef TESSERA_CORE_SEAL_H
#define TESSERA_CORE_SEAL_H

#include "../base/ctx.h"
#include "../base/crypt.h"

#define SEAL_PLAIN_MAX ((size_t)64 << 10)

struct seal_place { /* where the sealed text is stored */
    const char *table, *column;
    struct str team_id; /* STR_NONE for what belongs to no team */
    struct str row_id;
};

/* Once, at start, before other threads; an empty key leaves it off. Read-only afterwards. */
void seal_setup(struct str master_key);
bool seal_is_ready(void);
/* NOT_CONFIGURED naming master_key when there is none, else NONE. */
enum err_code seal_must_be_ready(struct ctx *cx);
/* NOT_CONFIGURED without a master key. *text lives in cx. Any thread. */
enum err_code seal(struct ctx *cx, const struct seal_place *at, struct str plain, struct str *text);
/* NOT_CONFIGURED without a master key or when the text was sealed under another one (the log has
 * both ids); INTERNAL when it is damaged or belongs to another place. */
enum err_code unseal(struct ctx *cx, const struct seal_place *at, struct str text,
                     struct str *plain);
/* HMAC-SHA256 under a key of its own for `purpose`: for codes too short to be kept as plain
 * hashes. NOT_CONFIGURED without a master key. */
enum err_code seal_mac(struct ctx *cx, const char *purpose, struct str text,
                       unsigned char out[SHA256_LEN]);

#endif
