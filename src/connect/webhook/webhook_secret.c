/* The secrets that sign what a webhook sends: see webhook_admin.h.
 *
 * One does not expire: the newest. Those before it sign too until their time is over, so that a
 * receiver may change over when it likes. Expired rows go when the next one is added. */
#include "webhook_admin.h"

#include "../../base/clock.h"
#include "../../core/audit.h"
#include "../../core/vault/vault.h"
#include "../hook_key.h"

#define COLUMNS                                                                                    \
    "team_id, webhook_id, id, kind, secret AS sealed, hint, public_key, created_ms, expires_ms"
#define LIVE " AND (expires_ms IS NULL OR expires_ms > $3)"
#define HINT_CHARS 4

#define AT(member) offsetof(struct webhook_secret, member)
static const struct field row_fields[] = {
    { "team_id", F_STR, AT(team_id) },
    { "webhook_id", F_STR, AT(webhook_id) },
    { "id", F_STR, AT(id) },
    { "kind", F_STR, AT(kind) },
    { "sealed", F_STR, AT(sealed), F_SECRET },
    { "hint", F_STR, AT(hint) },
    { "public_key", F_STR, AT(public_key) },
    { "created_ms", F_INT, AT(created_ms) },
    { "expires_ms", F_INT, AT(expires_ms) },
};
static const struct rec rec_row =
    REC("WebhookSecretRow", struct webhook_secret, row_fields, "A secret as stored.");

/* What the audit log keeps: the id of the webhook beside what is shown. */
static const struct field audit_fields[] = {
    { "id", F_UUID, AT(id) },
    { "webhook_id", F_UUID, AT(webhook_id) },
    { "kind", F_STR, AT(kind) },
    { "public_key", F_STR, AT(public_key), F_OMIT_NULL },
    { "expires_at", F_TIME, AT(expires_ms), F_NULLABLE },
};
static const struct rec rec_audited =
    REC("WebhookSecretAudit", struct webhook_secret, audit_fields, "A secret in the audit log.");

static struct vault_place place_of(const struct webhook_secret *s)
{
    return (struct vault_place){ "webhook_secret", "secret", s->team_id, s->id };
}

static enum err_code live(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                          struct list *out)
{
    return db_list(cx, db, &rec_row,
                   "SELECT " COLUMNS
                   " FROM webhook_secret WHERE team_id = $1 AND webhook_id = $2" LIVE
                   " ORDER BY id DESC LIMIT 9",
                   ARGS(VT(team_id), VT(webhook_id), VI(clock_ms())), out);
}

enum err_code webhook_secrets(struct ctx *cx, struct db *db, const struct webhook *w,
                              struct str secrets[HOOK_SECRETS_MAX], size_t *n)
{
    struct list rows;
    size_t count = 0;
    enum err_code e = live(cx, db, w->team_id, w->id, &rows);
    const struct webhook_secret *v = rows.v;
    for (; !e && count < rows.n && count < HOOK_SECRETS_MAX; count++) {
        const struct vault_place place = place_of(&v[count]);
        e = vault_open(cx, db, &place, v[count].sealed, &secrets[count]);
    }
    if (!e)
        *n = count;
    return e;
}

/* ---- making ---- */

static bool is_ed25519(struct str kind)
{
    return str_eq(kind, STR("ed25519"));
}

enum err_code webhook_secret_check(struct ctx *cx, struct str secret, struct str kind,
                                   const char *kind_field)
{
    if (!secret.p)
        return ERR_NONE;
    if (hook_key_check(cx, secret)) {
        struct str why = str_dup(&cx->arena, cx->err_text);
        ctx_clear(cx);
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("secret"), STR_FMT, STR_ARG(why));
    }
    if (kind.p && is_ed25519(kind) != str_starts(secret, STR("whsk_")))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(kind_field),
                              "%s is not that of the secret", kind_field);
    return ERR_NONE;
}

enum err_code webhook_secret_put(struct ctx *cx, struct db *db, const struct webhook *w,
                                 const struct webhook_secret_new *in, struct webhook_secret *out)
{
    struct webhook_secret s = { .team_id = w->team_id, .id = uuid7(&cx->arena) };
    const struct vault_place place = place_of(&s);
    struct hook_key_text key = { in->secret, hook_key_public(&cx->arena, in->secret) };
    if (!key.secret.p)
        key = hook_key_make(&cx->arena, is_ed25519(in->kind) ? HOOK_KEY_PRIVATE : HOOK_KEY_SHARED);
    enum err_code e = vault_seal(cx, db, &place, key.secret, &s.sealed);
    if (e)
        return e;
    struct str hint =
        str_printf(&cx->arena, "\xE2\x80\xA6" STR_FMT, /* … */
                   STR_ARG(str_sub(key.secret, key.secret.n - HINT_CHARS, HINT_CHARS)));
    e = db_one(cx, db, &rec_row,
               "INSERT INTO webhook_secret (team_id, id, webhook_id, kind, secret, hint, "
               "public_key, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
               "RETURNING " COLUMNS,
               ARGS(VT(w->team_id), VT(s.id), VT(w->id),
                    VT(key.public_text.p ? STR("ed25519") : STR("hmac")), VT(s.sealed), VT(hint),
                    VT(key.public_text), VI(clock_ms())),
               out);
    if (!e && !key.public_text.p) {
        out->secret = key.secret;
        REC_SET(out, secret);
    }
    return e;
}

/* ---- rotation ---- */

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct webhook_secret *before,
                           const struct webhook_secret *after)
{
    const struct webhook_secret *s = before ? before : after;
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "webhook", s->webhook_id,
                                              audit_json(cx, &rec_audited, before),
                                              audit_json(cx, &rec_audited, after) });
}

/* Its version grows, and its row is held until the unit ends: changes of one webhook's secrets come
 * one after the other. */
static enum err_code touch(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           struct webhook *w)
{
    enum err_code e = path_id(cx, "webhook_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_webhook_row,
               "UPDATE webhook SET version = version + 1, updated_ms = $3 WHERE team_id = $1 AND "
               "id = $2 AND deleted_ms IS NULL RETURNING " WEBHOOK_COLUMNS,
               ARGS(VT(who->team_id), VT(id), VI(clock_ms())), w);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Webhook not found") : e;
}

/* Those before sign for so long yet; what is over goes. */
static enum err_code retire(struct ctx *cx, struct db *db, const struct webhook *w, int64_t grace_s)
{
    int64_t now = clock_ms(), until = now + grace_s * 1000;
    enum err_code e = db_run(cx, db,
                             "UPDATE webhook_secret SET expires_ms = $3 WHERE team_id = $1 AND "
                             "webhook_id = $2 AND (expires_ms IS NULL OR expires_ms > $3)",
                             ARGS(VT(w->team_id), VT(w->id), VI(until)));
    return e ? e
             : db_run(cx, db,
                      "DELETE FROM webhook_secret WHERE team_id = $1 AND webhook_id = $2 AND "
                      "expires_ms <= $3",
                      ARGS(VT(w->team_id), VT(w->id), VI(now)));
}

enum err_code webhook_secret_add(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str webhook_id, const struct webhook_secret_new *in,
                                 struct webhook_secret *out)
{
    struct webhook w;
    struct list before;
    int64_t grace_s = REC_HAS(in, grace_s) ? in->grace_s : WEBHOOK_GRACE_DEFAULT_S;
    enum err_code e = webhook_secret_check(cx, in->secret, in->kind, "kind");
    if (!e)
        e = touch(cx, db, who, webhook_id, &w);
    if (!e)
        e = retire(cx, db, &w, grace_s);
    if (!e)
        e = live(cx, db, w.team_id, w.id, &before);
    if (!e && before.n >= HOOK_SECRETS_MAX)
        return fail(cx, CONFLICT, "%d secrets are live; delete one first", HOOK_SECRETS_MAX);
    if (!e)
        e = webhook_secret_put(cx, db, &w, in, out);
    return e ? e : audit(cx, db, who, "webhook.secret_add", NULL, out);
}

enum err_code webhook_secret_list(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str webhook_id, struct page *out)
{
    struct webhook w;
    *out = (struct page){ .total = -1 };
    enum err_code e = webhook_get(cx, db, who, webhook_id, &w);
    if (!e)
        e = live(cx, db, w.team_id, w.id, &out->rows);
    struct webhook_secret *v = out->rows.v;
    for (size_t i = 0; !e && i < out->rows.n; i++) {
        v[i].shown =
            str_printf(&cx->arena, "{\"set\":true,\"hint\":\"" STR_FMT "\"}", STR_ARG(v[i].hint));
        REC_SET(&v[i], shown);
    }
    return e;
}

enum err_code webhook_secret_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                    struct str webhook_id, struct str id)
{
    struct webhook w;
    struct webhook_secret gone;
    enum err_code e = path_id(cx, "secret_id", &id);
    if (!e)
        e = touch(cx, db, who, webhook_id, &w);
    if (e)
        return e;
    e = db_one(cx, db, &rec_row,
               "DELETE FROM webhook_secret WHERE team_id = $1 AND webhook_id = $2 AND id = $3 "
               "RETURNING " COLUMNS,
               ARGS(VT(w.team_id), VT(w.id), VT(id)), &gone);
    if (e)
        return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Secret not found") : e;
    if (!REC_HAS(&gone, expires_ms))
        return fail(cx, CONFLICT, "This secret signs for good; add another one first");
    return audit(cx, db, who, "webhook.secret_delete", &gone, NULL);
}
