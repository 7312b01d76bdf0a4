/* Start and stop of the vault, sealing and opening: see vault.h.
 *
 * vault_start writes what the other functions read (master keys, keys of hashes) and runs before
 * other threads. */
#include "vault.h"

#include <openssl/crypto.h>
#include <string.h>

#include "../../base/log.h"
#include "vault_columns.h"
#include "vault_inner.h"
#include "vault_key.h"

static unsigned char macs[VAULT_MACS][VAULT_KEY_LEN];
static bool is_ready;

bool vault_is_ready(void)
{
    return is_ready;
}

enum err_code vault_must_be_ready(struct ctx *cx)
{
    return is_ready ? ERR_NONE
                    : fail(cx, NOT_CONFIGURED,
                           "The server keeps no secrets without the setting master_key");
}

/* ---- start ---- */

static const struct mac_row {
    const char *purpose;
    bool has_past; /* was derived from the master key before there was a vault */
} mac_rows[VAULT_MACS] = {
    [VAULT_AUDIT] = { "audit", true },
    [VAULT_RECOVERY] = { "recovery", true },
    [VAULT_WEB] = { "web", false },
};

/* What was keyed before there was a vault: a database with a log or codes of that kind goes on with
 * both keys. */
static const char SQL_PAST[] =
    "SELECT (SELECT COUNT(*) FROM audit_head WHERE hash <> '' AND hash NOT LIKE '1.-.%') + "
    "(SELECT COUNT(*) FROM recovery_code) AS n";

struct start {
    struct str unknown; /* a key id that is neither master's */
    int n_found;
    const char *damaged; /* purpose of a key that does not unwrap */
};

static enum err_code find_mac(struct ctx *cx, struct db *db, int which, struct start *s)
{
    struct vault_key k;
    const char *purpose = mac_rows[which].purpose;
    enum err_code e = db_one(cx, db, &rec_vault_key,
                             "SELECT " VAULT_KEY_COLUMNS " FROM vault_key WHERE team_id = '' AND "
                             "purpose = $1 AND state = 'active'",
                             ARGS(VT(str_of(purpose))), &k);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    s->n_found++;
    if (vault_key_unwrap(&cx->arena, &k, macs[which]))
        s->damaged = purpose;
    return ERR_NONE;
}

/* A key that is known to be damaged is no reason to stay down: no master key opens it. */
static const char SQL_UNKNOWN[] =
    "SELECT k.kek_id AS s FROM vault_key k WHERE k.kek_id <> $1 AND k.kek_id <> $2 AND NOT EXISTS "
    "(SELECT 1 FROM vault_quarantine q WHERE q.team_id = k.team_id AND "
    "q.table_name = 'vault_key' AND q.row_id = k.id) LIMIT 1";

static enum err_code load_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct start *s = arg;
    const struct vault_masters *m = &vault_masters;
    struct rec_text other;
    *s = (struct start){ .n_found = 0 };
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_text, SQL_UNKNOWN,
                             ARGS(VT(str_of(m->now.id)), VT(str_of(m->before.id))), &other);
    if (!e)
        s->unknown = other.s;
    if (e != ERR_NOT_FOUND)
        return e;
    e = ERR_NONE;
    for (int i = 0; i < VAULT_MACS && !e; i++)
        e = find_mac(cx, db, i, s);
    return e;
}

/* What the key was before there was a vault: derived from the master key of that time. */
static void old_mac(int which, unsigned char out[VAULT_KEY_LEN])
{
    const struct vault_masters *m = &vault_masters;
    const struct vault_master *was = m->before.is_set ? &m->before : &m->now;
    if (which == VAULT_AUDIT)
        memcpy(out, was->audit, VAULT_KEY_LEN);
    else
        crypt_derive((struct str){ (const char *)was->v1_root, sizeof was->v1_root },
                     "recovery codes", out);
}

static enum err_code make_mac(struct ctx *cx, struct db *db, int which, bool is_past)
{
    struct vault_key k = { .team_id = STR(""),
                           .purpose = str_of(mac_rows[which].purpose),
                           .version = 1 };
    unsigned char old[VAULT_KEY_LEN];
    is_past &= mac_rows[which].has_past;
    if (is_past)
        old_mac(which, old);
    enum err_code e = vault_key_add(cx, db, &k, is_past ? old : NULL);
    OPENSSL_cleanse(old, sizeof old);
    return e;
}

/* A key that is there already stays. */
static enum err_code make_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct rec_num past;
    (void)arg;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num, SQL_PAST, NO_ARGS, &past);
    for (int i = 0; i < VAULT_MACS && !e; i++)
        e = make_mac(cx, db, i, past.n > 0);
    return e;
}

static enum err_code refuse_unknown(struct ctx *cx, struct str id)
{
    const struct vault_masters *m = &vault_masters;
    return fail(cx, NOT_CONFIGURED,
                "The database has keys that are wrapped under the master key with id " STR_FMT
                ". master_key has id %s%s%s. Set the master key that was used before (or as "
                "master_key_previous beside a new one)",
                STR_ARG(id), m->now.id, m->before.is_set ? ", master_key_previous " : "",
                m->before.id);
}

static enum err_code load(struct ctx *cx, struct store *s)
{
    struct start st;
    enum err_code e = store_read(cx, s, load_unit, &st);
    if (!e && !st.unknown.n && st.n_found < VAULT_MACS) {
        e = store_tx(cx, s, make_unit, NULL);
        if (!e)
            e = store_read(cx, s, load_unit, &st);
    }
    if (e)
        return e;
    if (st.unknown.n)
        return refuse_unknown(cx, st.unknown);
    if (st.damaged)
        return fail(cx, NOT_CONFIGURED, "The stored key \"%s\" does not open: its row is damaged",
                    st.damaged);
    BUG_IF(st.n_found != VAULT_MACS);
    is_ready = true;
    return ERR_NONE;
}

enum err_code vault_start(struct ctx *cx, struct store *s, struct str master, struct str previous)
{
    vault_stop();
    if (!master.n)
        return previous.n ? fail(cx, USAGE, "master_key_previous is set without master_key")
                          : ERR_NONE;
    vault_master_derive(master, &vault_masters.now);
    vault_master_derive(previous, &vault_masters.before);
    enum err_code e = load(cx, s);
    if (e)
        vault_stop();
    return e;
}

void vault_stop(void)
{
    is_ready = false;
    OPENSSL_cleanse(macs, sizeof macs);
    OPENSSL_cleanse(&vault_masters, sizeof vault_masters);
    vault_cache_clear();
}

/* ---- sealing and opening ---- */

static const struct vault_column *column_of(const struct vault_place *at)
{
    const struct vault_column *c = vault_column_find(str_of(at->table), str_of(at->column));
    BUG_IF(!c || (c->team != NULL) != (at->team_id.n > 0) || !at->row_id.n);
    return c;
}

struct str vault_seal_by(struct ctx *cx, const struct vault_dek *dek, const struct vault_place *at,
                         struct str plain)
{
    struct str body = vault_gcm_seal(&cx->arena, dek->key, vault_place_text(&cx->arena, at), plain);
    return str_printf(&cx->arena, "v2.%s." STR_FMT, dek->id, STR_ARG(body));
}

enum err_code vault_seal(struct ctx *cx, struct db *db, const struct vault_place *at,
                         struct str plain, struct str *text)
{
    struct vault_dek dek;
    enum err_code e = vault_must_be_ready(cx);
    column_of(at);
    if (!e)
        e = vault_key_use(cx, db, at->team_id, 1, &dek);
    if (e)
        return e;
    *text = vault_seal_by(cx, &dek, at, plain);
    vault_dek_forget(&dek);
    return ERR_NONE;
}

enum err_code vault_try(struct ctx *cx, struct db *db, const struct vault_place *at,
                        struct str text, struct vault_tried *out)
{
    struct vault_text t;
    struct vault_dek dek;
    *out = (struct vault_tried){ .why = "malformed" };
    if (!vault_text_parse(text, &t))
        return ERR_NONE;
    out->key_id = t.key_id;
    if (t.format == VAULT_V1) {
        out->why = vault_v1_open(&cx->arena, at, &t, &out->plain);
        return ERR_NONE;
    }
    enum err_code e = vault_key_find(cx, db, at->team_id, t.key_id, &dek, &out->why);
    if (e || out->why)
        return e;
    if (!vault_gcm_open(&cx->arena, dek.key, vault_place_text(&cx->arena, at), t.body, &out->plain))
        out->why = "damaged";
    vault_dek_forget(&dek);
    return ERR_NONE;
}

enum err_code vault_open(struct ctx *cx, struct db *db, const struct vault_place *at,
                         struct str text, struct str *plain)
{
    struct vault_tried got;
    enum err_code e = vault_must_be_ready(cx);
    column_of(at);
    if (!e)
        e = vault_try(cx, db, at, text, &got);
    if (e)
        return e;
    if (!got.why) {
        *plain = got.plain;
        return ERR_NONE;
    }
    log_error(cx, "vault.does_not_open", KVC("table", at->table), KVC("column", at->column),
              KVS("row", at->row_id), KVC("reason", got.why), KVS("key_id", got.key_id));
    if (!strcmp(got.why, "other_master_key"))
        return fail(cx, NOT_CONFIGURED,
                    "A stored secret was sealed under another master_key than the server has now");
    return ctx_fail_plain(cx, ERR_INTERNAL);
}

/* ---- keys of hashes ---- */

struct str vault_mac_key(enum vault_mac which)
{
    return is_ready ? (struct str){ (const char *)macs[which], VAULT_KEY_LEN } : STR_NONE;
}

enum err_code vault_mac(struct ctx *cx, enum vault_mac which, struct str text,
                        unsigned char out[SHA256_LEN])
{
    enum err_code e = vault_must_be_ready(cx);
    if (!e)
        crypt_hmac256(vault_mac_key(which), text, out);
    return e;
}
