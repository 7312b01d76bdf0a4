/* The secrets of integrations: see integration_secret.h. */
#include "integration_secret.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../core/audit.h"
#include "../core/vault/vault.h"
#include "hook_ask.h"
#include "hook_key.h"

#define HINT_CHARS 4  /* of the end that are shown … */
#define HINT_MIN 16   /* … of a text that has so many */
#define RANDOM_LEN 32 /* bytes of one made here */
#define PURGE_MAX 500

#define COLUMNS                                                                                    \
    "id, hint, 1 AS \"set\", is_unconfirmed AS unconfirmed, created_ms AS created_at, "            \
    "expires_ms AS expires_at"

#define AT(member) offsetof(struct integration_secret, member)
#define SHOWN_ROWS                                                                                 \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Secret identifier", NULL },                            \
        { "set", F_BOOL, AT(set), 0, 0, 0, NULL, "Always true: the text itself is never shown",    \
          "true" },                                                                                \
        { "hint", F_STR, AT(hint), 0, 0, 0, NULL, "Its last characters", "\"…a1b2\"" },            \
        { "unconfirmed",                                                                           \
          F_BOOL,                                                                                  \
          AT(is_unconfirmed),                                                                      \
          0,                                                                                       \
          0,                                                                                       \
          0,                                                                                       \
          NULL,                                                                                    \
          "A handshake brought it, and no event has been signed with it yet",                      \
          "false" },                                                                               \
        { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was added", NULL },        \
    {                                                                                              \
        "expires_at", F_TIME, AT(expires_ms), F_NULLABLE, 0, 0, NULL,                              \
            "When it ends; null: when it is removed", NULL                                         \
    }
static const struct field list_fields[] = { SHOWN_ROWS };
const struct rec rec_integration_secret =
    REC("IntegrationSecret", struct integration_secret, list_fields,
        "A secret that webhooks are checked with.");
static const struct field made_fields[] = {
    SHOWN_ROWS,
    { "secret", F_STR, AT(secret), F_NULLABLE, 0, 0, NULL,
      "The text, when it was made here: shown this once", NULL },
};
const struct rec rec_integration_secret_new =
    REC("IntegrationSecretNew", struct integration_secret, made_fields,
        "A secret that has just been added.");

static const struct field in_fields[] = {
    { "secret", F_STR, offsetof(struct integration_secret_in, secret), F_SINGLE_LINE | F_SECRET,
      INTEGRATION_SECRET_MIN, INTEGRATION_SECRET_MAX, NULL,
      "The text that the sender signs with; without it one is made, where the sender takes one",
      NULL },
    { "others_expire_at", F_TIME, offsetof(struct integration_secret_in, others_expire_ms), 0, 0, 0,
      NULL, "When the other secrets end, to rotate them (default: they stay)", NULL },
};
const struct rec rec_integration_secret_in =
    REC("IntegrationSecretAdd", struct integration_secret_in, in_fields, "A secret to add.");

/* ---- the text ---- */

static struct str random_text(struct arena *a)
{
    unsigned char raw[RANDOM_LEN];
    crypt_random(raw, sizeof raw);
    return base64url_of(a, raw, sizeof raw);
}

/* The text of a new one, STR_NONE for a kind whose sender makes it. */
static struct str made_text(struct arena *a, struct str kind)
{
    static const char *const plain[] = { "jira", "github", "teams", "hmac", "bearer", NULL };
    for (int i = 0; plain[i]; i++)
        if (str_eq(kind, str_of(plain[i])))
            return random_text(a);
    if (str_eq(kind, STR("standard")))
        return hook_key_make(a, HOOK_KEY_SHARED).secret;
    if (str_eq(kind, STR("basic")))
        return str_printf(a, "tessera:" STR_FMT, STR_ARG(random_text(a)));
    return STR_NONE;
}

static enum err_code check_text(struct ctx *cx, struct str kind, struct str text)
{
    struct hook_key key;
    struct str rest = text;
    const char *why = NULL;
    str_cut(&rest, ':');
    if (str_eq(kind, STR("basic")) && !rest.p)
        why = "must be user:password";
    if (str_eq(kind, STR("standard"))) {
        if (!hook_key_read(text, &key) || key.kind == HOOK_KEY_PRIVATE)
            why = "must be whsec_… or whpk_…";
        hook_key_wipe(&key);
    }
    return why ? ctx_fail_field(cx, ERR_INVALID_FIELD, STR("secret"), "secret %s", why) : ERR_NONE;
}

static enum err_code choose_text(struct ctx *cx, struct str kind,
                                 const struct integration_secret_in *in, struct str *out)
{
    if (in->secret.p) {
        *out = in->secret;
        return check_text(cx, kind, in->secret);
    }
    *out = made_text(&cx->arena, kind);
    if (out->p)
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("secret"),
                          "secret is required: the sender makes it, see its settings");
}

static struct str hint_of(struct arena *a, struct str text)
{
    size_t from = text.n > HINT_CHARS ? text.n - HINT_CHARS : 0;
    if (text.n < HINT_MIN)
        return STR("…");
    while (from < text.n && ((unsigned char)text.p[from] & 0xC0) == 0x80)
        from++;
    return str_printf(a, "…" STR_FMT, STR_ARG(str_sub(text, from, text.n)));
}

/* ---- rows ---- */

static struct vault_place place_of(struct str team_id, struct str id)
{
    return (struct vault_place){ "integration_secret", "secret", team_id, id };
}

struct row {
    struct str team_id, integration_id, text;
    bool is_unconfirmed;
};

static enum err_code insert(struct ctx *cx, struct db *db, const struct row *r,
                            struct integration_secret *out)
{
    struct str id = uuid7(&cx->arena), sealed;
    struct vault_place at = place_of(r->team_id, id);
    enum err_code e = vault_seal(cx, db, &at, r->text, &sealed);
    if (e)
        return e;
    return db_one(cx, db, &rec_integration_secret,
                  "INSERT INTO integration_secret (team_id, id, integration_id, purpose, secret, "
                  "hint, is_unconfirmed, created_ms) VALUES ($1, $2, $3, 'hook', $4, $5, $6, $7) "
                  "RETURNING " COLUMNS,
                  ARGS(VT(r->team_id), VT(id), VT(r->integration_id), VT(sealed),
                       VT(hint_of(&cx->arena, r->text)), VI(r->is_unconfirmed), VI(clock_ms())),
                  out);
}

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, struct str integration_id,
                           const struct integration_secret *before,
                           const struct integration_secret *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "integration", integration_id,
                                              audit_json(cx, &rec_integration_secret, before),
                                              audit_json(cx, &rec_integration_secret, after) });
}

/* The version moves with each change of the secrets, since the resource says whether there are any. */
static enum err_code touch(struct ctx *cx, struct db *db, struct str team_id, struct str id)
{
    return db_run(cx, db,
                  "UPDATE integration SET version = version + 1, updated_ms = $3 WHERE "
                  "team_id = $1 AND id = $2",
                  ARGS(VT(team_id), VT(id), VI(clock_ms())));
}

#define LIVE                                                                                        \
    " FROM integration_secret WHERE team_id = $1 AND integration_id = $2 AND purpose = 'hook' AND " \
    "(expires_ms IS NULL OR expires_ms > $3)"

static enum err_code must_have_room(struct ctx *cx, struct db *db, struct str team_id,
                                    struct str integration_id)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n" LIVE,
                             ARGS(VT(team_id), VT(integration_id), VI(clock_ms())), &n);
    if (e || n.n < HOOK_SECRETS_MAX)
        return e;
    return fail(cx, CONFLICT, "The integration has %d secrets already: remove one first",
                HOOK_SECRETS_MAX);
}

static enum err_code retire_others(struct ctx *cx, struct db *db, const struct caller *who,
                                   struct str integration_id, struct str kept_id, int64_t at_ms)
{
    return db_run(cx, db,
                  "UPDATE integration_secret SET expires_ms = $4 WHERE team_id = $1 AND "
                  "integration_id = $2 AND purpose = 'hook' AND id <> $3 AND "
                  "(expires_ms IS NULL OR expires_ms > $4)",
                  ARGS(VT(who->team_id), VT(integration_id), VT(kept_id), VI(at_ms)));
}

enum err_code secret_add(struct ctx *cx, struct db *db, const struct caller *who,
                         struct str integration_id, const struct integration_secret_in *in,
                         struct integration_secret *out)
{
    struct integration i;
    struct str text;
    enum err_code e = integration_get(cx, db, who, STR(""), integration_id, &i);
    if (!e)
        e = choose_text(cx, i.kind, in, &text);
    if (!e)
        e = must_have_room(cx, db, who->team_id, i.id);
    if (e)
        return e;
    struct row r = { .team_id = who->team_id, .integration_id = i.id, .text = text };
    e = insert(cx, db, &r, out);
    if (!e && REC_HAS(in, others_expire_ms))
        e = retire_others(cx, db, who, i.id, out->id, in->others_expire_ms);
    if (!e)
        e = touch(cx, db, who->team_id, i.id);
    if (!e)
        e = audit(cx, db, who, "integration.secret_add", i.id, NULL, out);
    if (!e && !in->secret.p) {
        out->secret = text;
        REC_SET(out, secret);
    }
    return e;
}

enum err_code secret_list(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str integration_id, struct list *out)
{
    struct integration i;
    enum err_code e = integration_get(cx, db, who, STR(""), integration_id, &i);
    if (e)
        return e;
    return db_list(cx, db, &rec_integration_secret, "SELECT " COLUMNS LIVE " ORDER BY id",
                   ARGS(VT(who->team_id), VT(i.id), VI(clock_ms())), out);
}

enum err_code secret_remove(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str integration_id, struct str id)
{
    struct integration i;
    struct integration_secret gone;
    enum err_code e = integration_get(cx, db, who, STR(""), integration_id, &i);
    if (!e)
        e = path_id(cx, "integration_secret_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_integration_secret,
               "DELETE FROM integration_secret WHERE team_id = $1 AND integration_id = $2 AND "
               "id = $3 RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(i.id), VT(id)), &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Secret not found");
    if (!e)
        e = touch(cx, db, who->team_id, i.id);
    return e ? e : audit(cx, db, who, "integration.secret_remove", i.id, &gone, NULL);
}

/* ---- handshakes ---- */

enum err_code secret_unconfirmed(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str integration_id, struct str *out)
{
    struct rec_text id, sealed;
    struct args args = ARGS(VT(team_id), VT(integration_id), VI(clock_ms()));
    *out = STR_NONE;
    enum err_code e =
        db_one(cx, db, &rec_text,
               "SELECT id AS s" LIVE " AND is_unconfirmed = 1 ORDER BY id DESC LIMIT 1", args, &id);
    if (!e)
        e = db_one(cx, db, &rec_text,
                   "SELECT secret AS s FROM integration_secret WHERE team_id = $1 AND id = $2",
                   ARGS(VT(team_id), VT(id.s)), &sealed);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    struct vault_place at = place_of(team_id, id.s);
    return vault_open(cx, db, &at, sealed.s, out);
}

enum err_code secret_shaken(struct ctx *cx, struct db *db, const struct shaken *s)
{
    const struct caller who = { .team_id = s->team_id, .is_server = true, .ip = s->ip };
    struct integration_secret made;
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE integration SET await_until_ms = NULL, handshake_ms = $3, "
                             "version = version + 1, updated_ms = $3 WHERE team_id = $1 AND "
                             "id = $2 AND await_until_ms > $3 AND is_enabled = 1 AND deleted_ms IS "
                             "NULL RETURNING 1 AS n",
                             ARGS(VT(s->team_id), VT(s->integration_id), VI(s->now_ms)), &n);
    if (!e)
        e = must_have_room(cx, db, s->team_id, s->integration_id);
    if (e)
        return e;
    struct row r = { .team_id = s->team_id,
                     .integration_id = s->integration_id,
                     .text = s->secret,
                     .is_unconfirmed = s->must_be_shown };
    e = insert(cx, db, &r, &made);
    return e ? e : audit(cx, db, &who, "integration.handshake", s->integration_id, NULL, &made);
}

enum err_code secret_confirm(struct ctx *cx, struct db *db, struct str team_id,
                             struct str integration_id, struct str id)
{
    enum err_code e = db_run(cx, db,
                             "UPDATE integration_secret SET is_unconfirmed = 0 WHERE team_id = $1 "
                             "AND id = $2 AND is_unconfirmed = 1",
                             ARGS(VT(team_id), VT(id)));
    return e ? e : touch(cx, db, team_id, integration_id);
}

enum err_code secret_purge(struct ctx *cx, struct db *db, int64_t now_ms, int64_t *gone)
{
    struct list list;
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM integration_secret WHERE (team_id, id) IN (SELECT "
                              "team_id, id FROM integration_secret WHERE expires_ms < $1 ORDER BY "
                              "expires_ms LIMIT $2) RETURNING 1 AS n",
                              ARGS(VI(now_ms), VI(PURGE_MAX)), &list);
    *gone = e ? 0 : (int64_t)list.n;
    return e;
}
