/* What vault.c shares with rotation. Inside core/vault only. */
#ifndef TESSERA_CORE_VAULT_INNER_H
#define TESSERA_CORE_VAULT_INNER_H

#include "vault_crypt.h"

struct vault_tried {
    const char *why;   /* NULL: opened; else a word of vault_quarantine.reason */
    struct str key_id; /* that the text names */
    struct str plain;
};
/* Open a text and say why it does not; an error only when the database fails. The vault is ready. */
enum err_code vault_try(struct ctx *cx, struct db *db, const struct vault_place *at,
                        struct str text, struct vault_tried *out);
/* The text form under this key. Uses are counted by the caller. */
struct str vault_seal_by(struct ctx *cx, const struct vault_dek *dek, const struct vault_place *at,
                         struct str plain);

#endif
