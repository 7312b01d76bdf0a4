/* Integration tokens, as rows: see token.h.
 *
 * Every change begins with next_rev, which locks the feed's row until the commit; then it writes
 * its row with that rev. Only hashes of secrets are stored; the secret itself lives in the reply's
 * memory alone. */
#include "token.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/json.h"
#include "../base/log.h"
#include "token_limit.h"

#define COLUMNS                                                                                    \
    "id, name, description, token_prefix AS prefix, status, rate_limit, scopes, "                  \
    "allowed_endpoints, allowed_ips, "                                                             \
    "metadata, expires_ms AS expires_at, last_used_ms AS last_used_at, use_count, created_ms AS "  \
    "created_at, "                                                                                 \
    "updated_ms AS updated_at"
#define SECRET_PREFIX "stk_"
#define SECRET_BYTES 32

/* ---- pieces ---- */

static enum err_code next_rev(struct ctx *cx, struct db *db, int64_t *rev)
{
    struct rec_num n;
    enum err_code e =
        db_one(cx, db, &rec_num,
               "UPDATE change_feed SET value = value + 1 WHERE name = 'token' RETURNING value AS n",
               NO_ARGS, &n);
    if (e == ERR_NOT_FOUND) {
        note(cx, "the change feed of tokens is missing");
        return ctx_fail_plain(cx, ERR_INTERNAL);
    }
    *rev = n.n;
    return e;
}

static struct str secret_mint(struct ctx *cx, struct str *hash, struct str *prefix)
{
    unsigned char bytes[SECRET_BYTES], digest[SHA256_LEN];
    crypt_random(bytes, sizeof bytes);
    struct str text = base64url_of(&cx->arena, bytes, sizeof bytes);
    struct str secret = str_printf(&cx->arena, SECRET_PREFIX STR_FMT, STR_ARG(text));
    BUG_IF(secret.n != TOKEN_SECRET_LEN);
    crypt_sha256(secret, digest);
    *hash = hex_of(&cx->arena, digest, sizeof digest);
    *prefix = str_sub(secret, 0, TOKEN_PREFIX_LEN);
    return secret;
}

/* What is not a column of its own: an active token past its expiry shows as expired. */
static void show_expiry(struct token *t, int64_t now_ms)
{
    if (REC_HAS(t, expires_ms) && t->expires_ms <= now_ms && str_eq(t->status, STR("active")))
        t->status = STR("expired");
}

static enum err_code found(struct ctx *cx, enum err_code e, struct str team_id, struct token *t)
{
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Token not found");
    if (e)
        return e;
    t->team_id = team_id;
    show_expiry(t, clock_ms());
    return ERR_NONE;
}

/* ---- a new token's fields ---- */

static enum err_code check_name(struct ctx *cx, struct str name)
{
    if (!str_trim(name).n)
        return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("name"), "is required");
    if (!str_is_utf8(name) || str_chars(name) > TOKEN_NAME_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"), "must be at most %d characters",
                              TOKEN_NAME_MAX);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"), "must be a single line");
    return ERR_NONE;
}

static enum err_code check_numbers(struct ctx *cx, const struct token_new *in, int64_t now_ms)
{
    if (REC_HAS(in, rate_limit) && (in->rate_limit < 1 || in->rate_limit > TOKEN_RATE_MAX))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("rate_limit"),
                              "must be between 1 and %lld", (long long)TOKEN_RATE_MAX);
    if (REC_HAS(in, expires_ms) && in->expires_ms <= now_ms)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("expires_at"), "must be in the future");
    return ERR_NONE;
}

static enum err_code read_scopes(struct ctx *cx, struct str json, struct str *out)
{
    struct str name = STR("scopes");
    uint64_t mask = json.p ? 0 : SCOPES_DEFAULT;
    json_t *list = json.p ? json_read(cx, json) : NULL, *item;
    size_t i;

    ctx_clear(cx);
    if (json.p && (!json_is_array(list) || !json_array_size(list)))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, name,
                              "must be an array of at least one scope");
    json_array_foreach(list, i, item) {
        struct str word = { json_string_value(item), json_string_length(item) };
        uint64_t one = word.p ? scope_parse(word) : 0;
        if (!one)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, name, "unknown scope \"" STR_FMT "\"",
                                  STR_ARG(str_sub(word, 0, 100)));
        mask |= one;
    }
    *out = scopes_json(&cx->arena, mask);
    return ERR_NONE;
}

static enum err_code check_lists(struct ctx *cx, const struct token_new *in)
{
    struct cidrs ips;
    struct endpoints endpoints;
    struct str bad = STR_NONE, name = STR("allowed_ips");
    const char *what = "an address or network";
    bool ok = !in->allowed_ips.p || allowed_ips_parse(cx, &cx->arena, in->allowed_ips, &ips, &bad);
    if (ok) {
        name = STR("allowed_endpoints");
        what = "\"/path\" or \"METHOD /path\", with * only at the end";
        ok = !in->allowed_endpoints.p ||
             allowed_endpoints_parse(cx, &cx->arena, in->allowed_endpoints, &endpoints, &bad);
    }
    if (ok)
        return ERR_NONE;
    if (!bad.p)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, name,
                              "must be an array of strings, not empty and not too long");
    return ctx_fail_field(cx, ERR_INVALID_FIELD, name, "\"" STR_FMT "\" is not %s",
                          STR_ARG(str_sub(bad, 0, 100)), what);
}

static enum err_code check_metadata(struct ctx *cx, struct str json)
{
    json_t *v = json.p ? json_read(cx, json) : NULL;
    ctx_clear(cx);
    if (!json.p || (json_is_object(v) && json.n <= TOKEN_METADATA_MAX))
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("metadata"),
                          "must be an object of at most %d bytes", TOKEN_METADATA_MAX);
}

/* Everything about the row that does not need the database. */
static enum err_code token_make(struct ctx *cx, struct str team_id, const struct token_new *in,
                                struct token *t)
{
    int64_t now = clock_ms();
    *t = (struct token){
        .id = uuid7(&cx->arena),
        .team_id = team_id,
        .name = in->name,
        .description = in->description,
        .status = STR("active"),
        .allowed_endpoints = in->allowed_endpoints,
        .allowed_ips = in->allowed_ips,
        .metadata = in->metadata.p ? in->metadata : STR("{}"),
        .rate_limit = REC_HAS(in, rate_limit) ? in->rate_limit : TOKEN_RATE_DEFAULT,
        .expires_ms = in->expires_ms,
        .created_ms = now,
        .updated_ms = now,
    };
    t->bits.has = ~UINT64_C(0);
    t->bits.has &= ~(UINT64_C(1) << (offsetof(struct token, last_used_ms) / 8));
    if (!REC_HAS(in, expires_ms))
        t->bits.has &= ~(UINT64_C(1) << (offsetof(struct token, expires_ms) / 8));
    enum err_code e = check_name(cx, in->name);
    if (!e)
        e = check_numbers(cx, in, now);
    if (!e)
        e = read_scopes(cx, in->scopes, &t->scopes);
    if (!e)
        e = check_lists(cx, in);
    if (!e)
        e = check_metadata(cx, in->metadata);
    if (!e)
        t->token = secret_mint(cx, &t->token_hash, &t->token_prefix);
    return e;
}

/* ---- public ---- */

enum err_code token_create(struct ctx *cx, struct db *db, struct str team_id,
                           const struct token_new *in, struct token *out)
{
    struct token t;
    enum err_code e = token_make(cx, team_id, in, &t);
    if (e)
        return e;
    db_scope(db, team_id, STR(""));
    e = next_rev(cx, db, &t.rev);
    if (!e)
        e = db_run(
            cx, db,
            "INSERT INTO integration_tokens (team_id, id, name, description, token_hash, "
            "token_prefix, status, rate_limit, "
            "scopes, allowed_endpoints, allowed_ips, metadata, expires_ms, use_count, created_ms, "
            "updated_ms, rev) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, $16)",
            ARGS(VT(team_id), VT(t.id), VT(t.name), VT(t.description), VT(t.token_hash),
                 VT(t.token_prefix), VT(t.status), VI(t.rate_limit), VT(t.scopes),
                 VT(t.allowed_endpoints), VT(t.allowed_ips), VT(t.metadata),
                 VI_OR_NULL(REC_HAS(&t, expires_ms), t.expires_ms), VI(t.created_ms),
                 VI(t.updated_ms), VI(t.rev)));
    if (!e)
        *out = t;
    return e;
}

enum err_code token_get(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        struct token *out)
{
    db_scope(db, team_id, STR(""));
    enum err_code e =
        db_one(cx, db, &rec_token,
               "SELECT " COLUMNS
               " FROM integration_tokens WHERE team_id = $1 AND id = $2 AND status <> 'deleted'",
               ARGS(VT(team_id), VT(id)), out);
    return found(cx, e, team_id, out);
}

enum err_code token_list(struct ctx *cx, struct db *db, struct str team_id, struct list *out)
{
    db_scope(db, team_id, STR(""));
    enum err_code e =
        db_list(cx, db, &rec_token,
                "SELECT " COLUMNS
                " FROM integration_tokens WHERE team_id = $1 AND status <> 'deleted' ORDER BY id",
                ARGS(VT(team_id)), out);
    int64_t now = clock_ms();
    for (size_t i = 0; !e && i < out->n; i++) {
        struct token *t = (struct token *)out->v + i;
        t->team_id = team_id;
        show_expiry(t, now);
    }
    return e;
}

enum err_code token_set_enabled(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                                bool is_enabled, struct token *out)
{
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = next_rev(cx, db, &rev);
    if (!e)
        e = db_one(cx, db, &rec_token,
                   "UPDATE integration_tokens SET status = $3, updated_ms = $4, rev = $5 "
                   "WHERE team_id = $1 AND id = $2 AND status <> 'deleted' RETURNING " COLUMNS,
                   ARGS(VT(team_id), VT(id), VT(is_enabled ? STR("active") : STR("disabled")),
                        VI(clock_ms()), VI(rev)),
                   out);
    return found(cx, e, team_id, out);
}

/* When the old secret ends: never later than the token; without grace at once. */
static struct val grace_end(const struct token *t, int64_t now_ms, int64_t grace_ms)
{
    int64_t end = grace_ms < INT64_MAX - now_ms ? now_ms + grace_ms : INT64_MAX;
    if (REC_HAS(t, expires_ms) && t->expires_ms < end)
        end = t->expires_ms;
    return VI(end);
}

enum err_code token_regenerate(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                               int64_t grace_ms, struct token *out)
{
    struct token t;
    struct str hash, prefix;
    int64_t rev = 0, now = clock_ms();
    db_scope(db, team_id, STR(""));
    enum err_code e = next_rev(cx, db, &rev);
    if (!e)
        e = token_get(cx, db, team_id, id, &t);
    if (e)
        return e;
    struct str secret = secret_mint(cx, &hash, &prefix);
    if (grace_ms > 0)
        e = db_one(cx, db, &rec_token,
                   "UPDATE integration_tokens SET previous_hash = token_hash, token_hash = $3, "
                   "token_prefix = $4, updated_ms = $5, "
                   "rev = $6, previous_until_ms = $7 WHERE team_id = $1 AND id = $2 AND status <> "
                   "'deleted' RETURNING " COLUMNS,
                   ARGS(VT(team_id), VT(id), VT(hash), VT(prefix), VI(now), VI(rev),
                        grace_end(&t, now, grace_ms)),
                   &t);
    else
        e = db_one(cx, db, &rec_token,
                   "UPDATE integration_tokens SET previous_hash = NULL, token_hash = $3, "
                   "token_prefix = $4, updated_ms = $5, "
                   "rev = $6, previous_until_ms = NULL WHERE team_id = $1 AND id = $2 AND status "
                   "<> 'deleted' RETURNING " COLUMNS,
                   ARGS(VT(team_id), VT(id), VT(hash), VT(prefix), VI(now), VI(rev)), &t);
    e = found(cx, e, team_id, &t);
    if (e)
        return e;
    t.token = secret;
    REC_SET(&t, token);
    *out = t;
    return ERR_NONE;
}

enum err_code token_delete(struct ctx *cx, struct db *db, struct str team_id, struct str id)
{
    struct rec_num gone;
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = next_rev(cx, db, &rev);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "UPDATE integration_tokens SET status = 'deleted', previous_hash = NULL, "
                   "previous_until_ms = NULL, "
                   "updated_ms = $3, rev = $4 WHERE team_id = $1 AND id = $2 AND status <> "
                   "'deleted' RETURNING 1 AS n",
                   ARGS(VT(team_id), VT(id), VI(clock_ms()), VI(rev)), &gone);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Token not found") : e;
}
