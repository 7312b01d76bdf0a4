/* Rotation and state of the vault: what `tessera vault …` does. Beside running servers, on the
 * calling thread, never inside a unit: each step is a short transaction of its own. Killed at any
 * point nothing is lost, and the next call goes on from there. */
#ifndef TESSERA_CORE_VAULT_ADMIN_H
#define TESSERA_CORE_VAULT_ADMIN_H

#include "vault.h"

#define VAULT_BATCH_MAX 1000

/* ---- data keys: vault_rotate.c */

struct vault_ask {
    struct str team_id; /* "" = what belongs to no team */
    int64_t batch;      /* rows a transaction, 1 to VAULT_BATCH_MAX */
    bool is_dry;        /* say what would be done, change nothing */
};
struct vault_rotated { /* of one team */
    struct rec_bits bits;
    struct str team_id;
    int64_t version;            /* that seals now (dry: would) ; 0 = the team has no secrets */
    int64_t resealed;           /* rows under the new version, by this rotation as a whole */
    int64_t quarantined;        /* rows that do not open; they are left as they are */
    int64_t retired;            /* older versions under which nothing is left */
    int64_t kept;               /* older versions that rows in quarantine still name */
    int64_t is_resumed, is_dry; /* one that was cut off was continued; nothing was changed */
};
extern const struct rec rec_vault_rotated;
/* A new version of the team's data key: all its texts are sealed anew, versions with nothing left
 * are retired. CONFLICT when another process turned the key at the same moment. */
enum err_code vault_rotate(struct ctx *cx, struct store *s, const struct vault_ask *ask,
                           struct vault_rotated *out);
/* At most 100 teams with data keys, by id, behind `after`: a list of struct rec_text. */
enum err_code vault_teams(struct ctx *cx, struct store *s, struct str after, struct list *out);

/* ---- the master key: vault_master.c */

struct vault_rewrapped {
    struct rec_bits bits;
    struct str master_key_id;
    int64_t rewrapped;   /* keys that were wrapped under the previous master key */
    int64_t damaged;     /* keys that do not unwrap; they are left as they are */
    int64_t resealed;    /* texts from before the vault, which the master key itself had sealed */
    int64_t quarantined; /* of these, what does not open */
    int64_t is_dry;
};
extern const struct rec rec_vault_rewrapped;
/* Wraps every key under the master key of now. ask->team_id is not looked at. */
enum err_code vault_rewrap(struct ctx *cx, struct store *s, const struct vault_ask *ask,
                           struct vault_rewrapped *out);

/* ---- state: vault_status.c */

struct vault_status {
    struct rec_bits bits;
    struct str master_key_id, previous_key_id; /* absent without them */
    struct str keys;       /* JSON array of the newest 1,000, without the keys themselves */
    struct str columns;    /* JSON array: texts by what they are sealed under */
    struct str rotations;  /* JSON array: begun and not ended, at most 1,000 */
    struct str quarantine; /* JSON array: the newest 1,000 */
    int64_t keys_total, quarantine_total, under_previous;
};
extern const struct rec rec_vault_status;
/* In a read unit. Works without a master key too. */
enum err_code vault_status(struct ctx *cx, struct db *db, struct vault_status *out);

#endif
