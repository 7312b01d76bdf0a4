/* A new master key: see vault_admin.h.
 *
 * Keys are wrapped anew 200 a transaction; what is done is no longer under the previous master key,
 * so a run that was cut off needs no cursor. Then the texts from before the vault, which the master
 * key itself had sealed, come under the server's data key. */
#include "vault_admin.h"

#include <openssl/crypto.h>

#include "../../base/log.h"
#include "../audit.h"
#include "../token.h"
#include "vault_key.h"
#include "vault_walk.h"

#define KEYS_A_TURN 200

#define AT(member) offsetof(struct vault_rewrapped, member)
static const struct field rewrapped_fields[] = {
    { .name = "master_key_id", .type = F_STR, .offset = AT(master_key_id) },
    { .name = "rewrapped", .type = F_INT, .offset = AT(rewrapped) },
    { .name = "damaged", .type = F_INT, .offset = AT(damaged) },
    { .name = "resealed", .type = F_INT, .offset = AT(resealed) },
    { .name = "quarantined", .type = F_INT, .offset = AT(quarantined) },
    { .name = "dry_run", .type = F_BOOL, .offset = AT(is_dry) },
};
#undef AT
const struct rec rec_vault_rewrapped =
    REC("VaultRewrapped", struct vault_rewrapped, rewrapped_fields, "A change of the master key.");

struct turn { /* of some keys; in: where it begins */
    struct vault_name team, purpose;
    int64_t version;
    bool is_dry;
    /* out */
    struct vault_name next_team, next_purpose;
    int64_t next_version, rewrapped, damaged;
    bool is_end;
};

static enum err_code rewrap_key(struct ctx *cx, struct db *db, struct turn *t,
                                const struct vault_key *k)
{
    unsigned char bytes[VAULT_KEY_LEN];
    struct vault_place at = { "vault_key", "wrapped", k->team_id, k->id };
    const char *why = vault_key_unwrap(&cx->arena, k, bytes);
    t->damaged += why != NULL;
    t->rewrapped += !why;
    if (why)
        return t->is_dry ? ERR_NONE : vault_quarantine_put(cx, db, &at, str_of(why), STR("master"));
    struct str wrapped = vault_key_wrap(&cx->arena, k, &vault_masters.now, bytes);
    OPENSSL_cleanse(bytes, sizeof bytes);
    if (t->is_dry)
        return ERR_NONE;
    enum err_code e = vault_quarantine_drop(cx, db, &at);
    if (e)
        return e;
    return db_run(cx, db,
                  "UPDATE vault_key SET kek_id = $4, wrapped = $5 WHERE team_id = $1 AND "
                  "purpose = $2 AND version = $3 AND wrapped = $6",
                  ARGS(VT(k->team_id), VT(k->purpose), VI(k->version),
                       VT(str_of(vault_masters.now.id)), VT(wrapped), VT(k->wrapped)));
}

/* A change of the master key is in the default team's log: it is of no team. */
static enum err_code note_it(struct ctx *cx, struct db *db, const struct turn *t)
{
    struct caller who = { .team_id = STR(TEAM_DEFAULT), .ip = STR("") };
    if (t->is_dry || !t->rewrapped)
        return ERR_NONE;
    return audit_write(cx, db, &who,
                       &(struct audit_entry){ .action = "vault.rotate_master",
                                              .target_type = "master_key",
                                              .target_id = str_of(vault_masters.now.id) });
}

static enum err_code turn_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct turn *t = arg;
    struct list keys;
    t->rewrapped = t->damaged = 0;
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_vault_key,
                "SELECT " VAULT_KEY_COLUMNS " FROM vault_key WHERE kek_id <> $1 AND "
                "(team_id, purpose, version) > ($2, $3, $4) "
                "ORDER BY team_id, purpose, version LIMIT $5",
                ARGS(VT(str_of(vault_masters.now.id)), VT(vault_name_view(&t->team)),
                     VT(vault_name_view(&t->purpose)), VI(t->version), VI(KEYS_A_TURN)),
                &keys);
    const struct vault_key *v = keys.v;
    for (size_t i = 0; !e && i < keys.n; i++)
        e = rewrap_key(cx, db, t, &v[i]);
    if (!e)
        e = note_it(cx, db, t);
    t->is_end = keys.n < KEYS_A_TURN;
    if (e || t->is_end)
        return e;
    vault_name_set(&t->next_team, v[keys.n - 1].team_id);
    vault_name_set(&t->next_purpose, v[keys.n - 1].purpose);
    t->next_version = v[keys.n - 1].version;
    return ERR_NONE;
}

static enum err_code in_own_ctx(struct ctx *cx, struct store *s, bool is_dry,
                                enum err_code (*unit)(struct ctx *, struct db *, void *), void *arg)
{
    struct ctx one;
    ctx_init(&one, CTX_CAP_DEFAULT);
    enum err_code e = is_dry ? store_read(&one, s, unit, arg) : store_tx(&one, s, unit, arg);
    if (e)
        ctx_fail(cx, e, STR_FMT, STR_ARG(one.err_text));
    ctx_done(&one);
    return e;
}

static enum err_code rewrap_all(struct ctx *cx, struct store *s, struct vault_rewrapped *out)
{
    struct turn t = { .is_dry = out->is_dry };
    enum err_code e;
    do {
        e = in_own_ctx(cx, s, t.is_dry, turn_unit, &t);
        out->rewrapped += t.rewrapped;
        out->damaged += t.damaged;
        t.team = t.next_team;
        t.purpose = t.next_purpose;
        t.version = t.next_version;
    } while (!e && !t.is_end);
    return e;
}

/* ---- texts from before the vault ---- */

struct old {
    struct vault_walk walk;
    struct vault_name after, next;
};

static enum err_code old_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct old *o = arg;
    db_scope_system(db);
    o->walk.after = vault_name_view(&o->after);
    enum err_code e = vault_walk_batch(cx, db, &o->walk);
    if (!e && !o->walk.is_end)
        vault_name_set(&o->next, o->walk.last);
    return e;
}

static enum err_code reseal_old(struct ctx *cx, struct store *s, const struct vault_column *c,
                                int64_t batch, struct vault_rewrapped *out)
{
    struct old o = { .walk = { .column = c,
                               .team_id = STR(""),
                               .like = STR("v1.%"),
                               .unlike = STR(""),
                               .seen_by = STR("master"),
                               .batch = batch,
                               .is_dry = out->is_dry } };
    enum err_code e;
    do {
        e = in_own_ctx(cx, s, o.walk.is_dry, old_unit, &o);
        out->resealed += o.walk.resealed;
        out->quarantined += o.walk.quarantined;
        o.after = o.next;
    } while (!e && !o.walk.is_end);
    return e;
}

enum err_code vault_rewrap(struct ctx *cx, struct store *s, const struct vault_ask *ask,
                           struct vault_rewrapped *out)
{
    struct vault_rewrapped r = { .master_key_id = str_of(vault_masters.now.id),
                                 .is_dry = ask->is_dry };
    enum err_code e = vault_must_be_ready(cx);
    BUG_IF(ask->batch < 1 || ask->batch > VAULT_BATCH_MAX);
    if (!e)
        e = rewrap_all(cx, s, &r);
    /* v1 was used for what belongs to no team only. */
    for (const struct vault_column *c = vault_columns(); !e && c->table; c++)
        if (!c->team)
            e = reseal_old(cx, s, c, ask->batch, &r);
    if (e)
        return e;
    r.bits.has = UINT64_MAX;
    *out = r;
    return ERR_NONE;
}
