/* Rows of data keys: see vault_key.h. */
#include "vault_key.h"

#include <openssl/crypto.h>
#include <string.h>

#include "../../base/clock.h"
#include "../../base/log.h"

#define TRIES 4 /* of getting a key that seals: none yet, another unit's turn, the cap */

#define AT(member) offsetof(struct vault_key, member)
static const struct field key_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "purpose", .type = F_STR, .offset = AT(purpose) },
    { .name = "version", .type = F_INT, .offset = AT(version) },
    { .name = "id", .type = F_STR, .offset = AT(id) },
    { .name = "state", .type = F_STR, .offset = AT(state) },
    { .name = "kek_id", .type = F_STR, .offset = AT(kek_id) },
    { .name = "wrapped", .type = F_STR, .offset = AT(wrapped), .flags = F_SECRET },
    { .name = "uses", .type = F_INT, .offset = AT(uses) },
    { .name = "created_ms", .type = F_INT, .offset = AT(created_ms) },
    { .name = "retired_ms", .type = F_INT, .offset = AT(retired_ms), .flags = F_NULLABLE },
};
const struct rec rec_vault_key = REC("VaultKey", struct vault_key, key_fields, "A stored key.");

struct str vault_team(struct str team_id)
{
    return team_id.n ? team_id : STR("");
}

/* ---- wrapping ---- */

/* What a wrapped key is authenticated with: it opens in its own row only. */
static struct str row_text(struct arena *a, const struct vault_key *k)
{
    return str_printf(a, "vault_key|" STR_FMT "|%lld|" STR_FMT "|" STR_FMT, STR_ARG(k->purpose),
                      (long long)k->version, STR_ARG(k->id), STR_ARG(k->team_id));
}

struct str vault_key_wrap(struct arena *a, const struct vault_key *k, const struct vault_master *m,
                          const unsigned char bytes[VAULT_KEY_LEN])
{
    return vault_gcm_seal(a, m->kek, row_text(a, k),
                          (struct str){ (const char *)bytes, VAULT_KEY_LEN });
}

const char *vault_key_unwrap(struct arena *a, const struct vault_key *k,
                             unsigned char out[VAULT_KEY_LEN])
{
    const struct vault_master *m = vault_master_of(k->kek_id);
    struct str plain;
    if (!m)
        return "other_master_key";
    if (!vault_gcm_open(a, m->kek, row_text(a, k), k->wrapped, &plain) || plain.n != VAULT_KEY_LEN)
        return "key_damaged";
    memcpy(out, plain.p, VAULT_KEY_LEN);
    OPENSSL_cleanse((char *)(uintptr_t)plain.p, plain.n);
    return NULL;
}

enum err_code vault_key_add(struct ctx *cx, struct db *db, struct vault_key *k,
                            const unsigned char *bytes)
{
    unsigned char id[VAULT_ID_TEXT / 2], made[VAULT_KEY_LEN];
    crypt_random(id, sizeof id);
    crypt_random(made, sizeof made);
    k->id = hex_of(&cx->arena, id, sizeof id);
    k->kek_id = str_of(vault_masters.now.id);
    k->wrapped = vault_key_wrap(&cx->arena, k, &vault_masters.now, bytes ? bytes : made);
    OPENSSL_cleanse(made, sizeof made);
    return db_run(cx, db,
                  "INSERT INTO vault_key (team_id, purpose, version, id, kek_id, wrapped, state, "
                  "uses, created_ms) VALUES ($1, $2, $3, $4, $5, $6, 'active', 0, $7) "
                  "ON CONFLICT DO NOTHING",
                  ARGS(VT(k->team_id), VT(k->purpose), VI(k->version), VT(k->id), VT(k->kek_id),
                       VT(k->wrapped), VI(clock_ms())));
}

/* From the memory, else from the row. */
static const char *dek_of(struct ctx *cx, const struct vault_key *k, struct vault_dek *out)
{
    if (vault_cache_get(k->team_id, k->id, out))
        return NULL;
    struct vault_dek dek = { .id = "" };
    if (k->id.n != VAULT_ID_TEXT)
        return "key_damaged";
    memcpy(dek.id, k->id.p, VAULT_ID_TEXT);
    const char *why = vault_key_unwrap(&cx->arena, k, dek.key);
    if (!why) {
        vault_cache_put(k->team_id, &dek);
        *out = dek;
    }
    vault_dek_forget(&dek);
    return why;
}

/* ---- opening ---- */

enum err_code vault_key_find(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                             struct vault_dek *out, const char **why)
{
    struct vault_key k;
    struct str team = vault_team(team_id);
    *why = NULL;
    if (vault_cache_get(team, id, out))
        return ERR_NONE;
    enum err_code e = db_one(cx, db, &rec_vault_key,
                             "SELECT " VAULT_KEY_COLUMNS " FROM vault_key WHERE team_id = $1 AND "
                             "id = $2 AND purpose = 'data'",
                             ARGS(VT(team), VT(id)), &k);
    if (e && e != ERR_NOT_FOUND)
        return e;
    *why = e ? "no_key" : dek_of(cx, &k, out);
    return ERR_NONE;
}

/* ---- sealing ---- */

static const char SQL_ACTIVE[] = "SELECT " VAULT_KEY_COLUMNS " FROM vault_key WHERE team_id = $1 "
                                 "AND purpose = 'data' AND state = 'active'";
static const char SQL_USE[] =
    "UPDATE vault_key SET uses = uses + $2 WHERE team_id = $1 AND purpose = 'data' AND "
    "state = 'active' RETURNING " VAULT_KEY_COLUMNS;

enum err_code vault_key_active(struct ctx *cx, struct db *db, struct str team_id,
                               struct vault_key *out)
{
    return db_one(cx, db, &rec_vault_key, SQL_ACTIVE, ARGS(VT(vault_team(team_id))), out);
}

enum err_code vault_key_turn(struct ctx *cx, struct db *db, struct str team_id,
                             struct vault_key *out)
{
    struct str team = vault_team(team_id);
    struct vault_key k = { .team_id = team, .purpose = STR("data") };
    struct rec_num newest;
    enum err_code e = db_run(cx, db,
                             "UPDATE vault_key SET state = 'old' WHERE team_id = $1 AND "
                             "purpose = 'data' AND state = 'active'",
                             ARGS(VT(team)));
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT COALESCE(MAX(version), 0) AS n FROM vault_key WHERE team_id = $1 AND "
                   "purpose = 'data'",
                   ARGS(VT(team)), &newest);
    if (e)
        return e;
    k.version = newest.n + 1;
    e = vault_key_add(cx, db, &k, NULL);
    if (!e)
        e = vault_key_active(cx, db, team, out);
    return e == ERR_NOT_FOUND ? fail(cx, CONFLICT, "The key was changed meanwhile") : e;
}

static enum err_code no_use(struct ctx *cx, struct str team_id, const char *why)
{
    log_error(cx, "vault.key_does_not_open", KVS("team", team_id), KVC("reason", why));
    if (!strcmp(why, "other_master_key"))
        return fail(cx, NOT_CONFIGURED,
                    "The keys of stored secrets are wrapped under another master_key");
    return ctx_fail_plain(cx, ERR_INTERNAL);
}

/* A team's first key. A unit that loses the race for it finds the winner's at its next try; so does
 * one whose statement began before a turn and saw the old version only. */
static enum err_code add_first(struct ctx *cx, struct db *db, struct str team)
{
    struct vault_key k = { .team_id = team, .purpose = STR("data"), .version = 1 };
    return vault_key_add(cx, db, &k, NULL);
}

enum err_code vault_key_use(struct ctx *cx, struct db *db, struct str team_id, int64_t n,
                            struct vault_dek *out)
{
    struct str team = vault_team(team_id);
    struct vault_key k, next;
    for (int turn = 0; turn < TRIES; turn++) {
        enum err_code e = db_one(cx, db, &rec_vault_key, SQL_USE, ARGS(VT(team), VI(n)), &k);
        if (!e && k.uses <= VAULT_USES_MAX) {
            const char *why = dek_of(cx, &k, out);
            return why ? no_use(cx, team, why) : ERR_NONE;
        }
        if (e == ERR_NOT_FOUND)
            e = add_first(cx, db, team);
        else if (!e)
            e = vault_key_turn(cx, db, team, &next);
        if (e)
            return e;
    }
    return fail(cx, UNAVAILABLE, "The keys of the team are being changed; try again");
}
