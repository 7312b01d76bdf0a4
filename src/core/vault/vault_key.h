/* Data keys: their rows, their versions, their unwrapped copies in memory. Inside core/vault only.
 *
 * At most one version of a key is active. A text names its key by an id that is random, so a copy
 * in memory is never mistaken for another key, also when the unit that made the key came to
 * nothing. */
#ifndef TESSERA_CORE_VAULT_KEY_H
#define TESSERA_CORE_VAULT_KEY_H

#include "vault_crypt.h"

#define VAULT_CACHE_WAYS 4
#define VAULT_CACHE_SETS 256 /* x VAULT_CACHE_WAYS keys are kept unwrapped */

struct vault_key { /* a row */
    struct rec_bits bits;
    struct str team_id, purpose, id, kek_id, wrapped, state;
    int64_t version, uses, created_ms, retired_ms;
};
extern const struct rec rec_vault_key;
#define VAULT_KEY_COLUMNS                                                                          \
    "team_id, purpose, version, id, kek_id, wrapped, state, uses, created_ms, retired_ms"

/* "" for no team. */
struct str vault_team(struct str team_id);

/* Wraps `bytes` (NULL: random ones) under the master key of now into a new active row; k has
 * team_id, purpose and version, the rest is filled in. A row that is there already wins: read
 * again. Inside a write unit. */
enum err_code vault_key_add(struct ctx *cx, struct db *db, struct vault_key *k,
                            const unsigned char *bytes);
/* NULL, or why the row's key cannot be had (a word of vault_quarantine.reason). */
const char *vault_key_unwrap(struct arena *a, const struct vault_key *k,
                             unsigned char out[VAULT_KEY_LEN]);
/* The text of `bytes` wrapped under m for this row. */
struct str vault_key_wrap(struct arena *a, const struct vault_key *k, const struct vault_master *m,
                          const unsigned char bytes[VAULT_KEY_LEN]);

/* The active data key of the team, made when there is none, with n uses taken from it; the next
 * version when it has no more. Holds the key's row until the unit ends. */
enum err_code vault_key_use(struct ctx *cx, struct db *db, struct str team_id, int64_t n,
                            struct vault_dek *out);
/* The key that a text names. *why NULL: *out is it; else why not. */
enum err_code vault_key_find(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                             struct vault_dek *out, const char **why);
/* The active row; NOT_FOUND (unrecorded). */
enum err_code vault_key_active(struct ctx *cx, struct db *db, struct str team_id,
                               struct vault_key *out);
/* A new active version; the one before only opens from now on. Waits for units that seal under it:
 * after this unit no text comes to be under an older version. */
enum err_code vault_key_turn(struct ctx *cx, struct db *db, struct str team_id,
                             struct vault_key *out);

/* ---- unwrapped keys: vault_cache.c. Any thread. */

/* False when it is not there. */
bool vault_cache_get(struct str team_id, struct str id, struct vault_dek *out);
void vault_cache_put(struct str team_id, const struct vault_dek *dek);
void vault_cache_clear(void); /* overwrites */

#endif
