/* The vault: every secret that is stored is sealed here. Owner of tables vault_key, vault_rotation
 * and vault_quarantine.
 *
 * Two levels. Each team has a data key (and one is the server's, for what belongs to no team):
 * 256 random bits, which seal columns by AES-256-GCM. Data keys are stored wrapped by a key that is
 * derived from the setting master_key, so the master key changes without a secret being touched,
 * and a data key changes while the server runs (vault_admin.h). What a text belongs to (table,
 * column, team, row) is authenticated with it: it opens nowhere else. Every column that holds
 * sealed texts is a row of vault_columns.c.
 *
 * Each use of a data key is counted in its row, in the unit that stores the text. That keeps the
 * key below 2^31 uses (random nonces of 96 bits: NIST SP 800-38D §8.3 allows 2^32), and the lock on
 * the row lets a rotation wait for those who are still sealing under the version before.
 *
 * Keys that hashes depend on (the chain of the audit log, recovery codes, cursors) are kept in the
 * same table and so outlive the master key; see docs/decisions/0018-vault.md. */
#ifndef TESSERA_CORE_VAULT_H
#define TESSERA_CORE_VAULT_H

#include "../../base/crypt.h"
#include "../../store/store.h"

#define VAULT_PLAIN_MAX ((size_t)64 << 10)
#define VAULT_USES_MAX (((int64_t)1 << 31) - 1) /* of one version of a data key */

struct vault_place { /* where the sealed text is stored: a column of vault_columns.c */
    const char *table, *column;
    struct str team_id; /* STR_NONE for what belongs to no team */
    struct str row_id;
};

/* Once at start, after the migrations and before other threads. An empty master leaves the vault
 * closed: nothing is sealed or opened then. `previous` (may be empty) opens what is still wrapped
 * under the master key before. Makes the keys of hashes when the database has none yet.
 * NOT_CONFIGURED, naming the id, when a key is wrapped under neither; USAGE for a previous key
 * without a master key. */
enum err_code vault_start(struct ctx *cx, struct store *s, struct str master, struct str previous);
/* Forget all keys, their memory overwritten. After the threads. */
void vault_stop(void);
bool vault_is_ready(void);
/* NOT_CONFIGURED naming master_key when there is none, else NONE. */
enum err_code vault_must_be_ready(struct ctx *cx);

/* In a write unit whose scope is the place's team, or the system's (for what belongs to no team it
 * must be the system's), beside the statement that stores the text. *text lives in cx. NOT_CONFIGURED without a master key. `plain` has at most
 * VAULT_PLAIN_MAX bytes. Any thread. */
enum err_code vault_seal(struct ctx *cx, struct db *db, const struct vault_place *at,
                         struct str plain, struct str *text);
/* In any unit of that scope. NOT_CONFIGURED without a master key or when the text was sealed under
 * another one; INTERNAL when it is damaged or belongs to another place: the log says which. Any
 * thread. */
enum err_code vault_open(struct ctx *cx, struct db *db, const struct vault_place *at,
                         struct str text, struct str *plain);

enum vault_mac {
    VAULT_AUDIT,    /* the chain of the audit log */
    VAULT_RECOVERY, /* recovery codes: too short to be kept as plain hashes */
    VAULT_WEB,      /* the root of list cursors and device cookies */
    VAULT_MACS
};
/* The key itself, 32 bytes, valid until vault_stop; STR_NONE without a master key. */
struct str vault_mac_key(enum vault_mac which);
/* HMAC-SHA256 under it. NOT_CONFIGURED without a master key. */
enum err_code vault_mac(struct ctx *cx, enum vault_mac which, struct str text,
                        unsigned char out[SHA256_LEN]);

#endif
