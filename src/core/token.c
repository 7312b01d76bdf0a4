/* Integration tokens, as rows: see token.h.
 *
 * Every change begins with token_next_rev, which locks the feed's row until the commit; then it
 * writes its row with that rev. Only hashes of secrets are stored; the secret itself lives in the
 * reply's memory alone. */
#include "token.h"

#include "../base/json.h"
#include "../base/log.h"

/* ---- pieces ---- */

static enum err_code feed(struct ctx *cx, struct db *db, int step, int64_t *rev)
{
    struct rec_num n;
    enum err_code e = db_one(
        cx, db, &rec_num,
        "UPDATE change_feed SET value = value + $1 WHERE name = 'token' RETURNING value AS n",
        ARGS(VI(step)), &n);
    if (e == ERR_NOT_FOUND) {
        note(cx, "the change feed of tokens is missing");
        return ctx_fail_plain(cx, ERR_INTERNAL);
    }
    *rev = n.n;
    return e;
}

static enum err_code token_next_rev(struct ctx *cx, struct db *db, int64_t *rev)
{
    return feed(cx, db, 1, rev);
}

enum err_code token_lock(struct ctx *cx, struct db *db)
{
    int64_t rev;
    return feed(cx, db, 0, &rev);
}

static void put_time(struct buf *b, int64_t ms)
{
    buf_char(b, '"');
    time_print_ms(b, ms);
    buf_char(b, '"');
}

/* The old secret while it still works. */
static void show_previous(struct ctx *cx, struct token *t, int64_t now_ms)
{
    struct buf b;
    if (!REC_HAS(t, previous_until_ms) || t->previous_until_ms <= now_ms)
        return;
    buf_init(&b, &cx->arena, 256);
    buf_lit(&b, "{\"masked\":");
    json_write_str(&b, token_mask(&cx->arena,
                                  t->previous_prefix.p ? t->previous_prefix : t->token_prefix,
                                  t->previous_last4));
    buf_lit(&b, ",\"until\":");
    put_time(&b, t->previous_until_ms);
    buf_char(&b, '}');
    t->previous = buf_view(&b);
    REC_SET(t, previous);
}

static struct str expiry_warning(struct ctx *cx, int64_t left_ms)
{
    int64_t days = left_ms / DAY_MS;
    if (left_ms <= 0)
        return STR("[\"has expired\"]");
    if (left_ms >= TOKEN_SOON_MS)
        return STR("[]");
    if (!days)
        return STR("[\"expires in less than a day\"]");
    return str_printf(&cx->arena, "[\"expires in %lld day%s\"]", (long long)days,
                      days > 1 ? "s" : "");
}

void token_show(struct ctx *cx, struct token *t, int64_t now_ms)
{
    int64_t left = REC_HAS(t, expires_ms) ? t->expires_ms - now_ms : INT64_MAX;
    if (left <= 0 && str_eq(t->status, STR("active")))
        t->status = STR("expired");
    t->masked = token_mask(&cx->arena, t->token_prefix, t->token_last4);
    t->expires_soon = left > 0 && left < TOKEN_SOON_MS;
    t->warnings = expiry_warning(cx, left);
    REC_SET(t, masked);
    REC_SET(t, expires_soon);
    REC_SET(t, warnings);
    show_previous(cx, t, now_ms);
}

static enum err_code found(struct ctx *cx, enum err_code e, struct str team_id, struct token *t)
{
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Token not found");
    if (e)
        return e;
    t->team_id = team_id;
    token_show(cx, t, clock_ms());
    return ERR_NONE;
}

static void forget(struct token *t, size_t member)
{
    t->bits.has &= ~(UINT64_C(1) << (member / 8));
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
        .created_by = in->created_by,
        .created_ms = now,
        .updated_ms = now,
    };
    enum err_code e = token_check(cx, in, now);
    if (!e)
        e = token_read_scopes(cx, in->scopes, &t->scopes);
    if (!e)
        e = token_read_limits(cx, in->limits, &t->limits);
    if (e)
        return e;
    struct token_secret s = token_secret_mint(&cx->arena);
    t->token = s.text;
    t->token_hash = s.hash;
    t->token_prefix = s.prefix;
    t->token_last4 = s.last4;
    t->bits.has = ~UINT64_C(0);
    forget(t, offsetof(struct token, last_used_ms));
    forget(t, offsetof(struct token, previous_until_ms));
    if (!REC_HAS(in, expires_ms))
        forget(t, offsetof(struct token, expires_ms));
    return ERR_NONE;
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
    e = token_next_rev(cx, db, &t.rev);
    if (!e)
        e = db_run(
            cx, db,
            "INSERT INTO integration_tokens (team_id, id, name, description, token_hash, "
            "token_prefix, status, rate_limit, scopes, allowed_endpoints, allowed_ips, metadata, "
            "expires_ms, use_count, created_ms, updated_ms, rev, limits, token_last4, created_by) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, $16, "
            "$17, $18, $19)",
            ARGS(VT(team_id), VT(t.id), VT(t.name), VT(t.description), VT(t.token_hash),
                 VT(t.token_prefix), VT(t.status), VI(t.rate_limit), VT(t.scopes),
                 VT(t.allowed_endpoints), VT(t.allowed_ips), VT(t.metadata),
                 VI_OR_NULL(REC_HAS(&t, expires_ms), t.expires_ms), VI(t.created_ms),
                 VI(t.updated_ms), VI(t.rev), VT(t.limits), VT(t.token_last4), VT(t.created_by)));
    if (e)
        return e;
    token_show(cx, &t, t.created_ms);
    *out = t;
    return ERR_NONE;
}

enum err_code token_get(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        struct token *out)
{
    db_scope(db, team_id, STR(""));
    enum err_code e =
        db_one(cx, db, &rec_token_row,
               "SELECT " TOKEN_COLUMNS
               " FROM integration_tokens WHERE team_id = $1 AND id = $2 AND status <> 'deleted'",
               ARGS(VT(team_id), VT(id)), out);
    return found(cx, e, team_id, out);
}

enum err_code token_list(struct ctx *cx, struct db *db, struct str team_id, struct list *out)
{
    db_scope(db, team_id, STR(""));
    enum err_code e =
        db_list(cx, db, &rec_token_row,
                "SELECT " TOKEN_COLUMNS
                " FROM integration_tokens WHERE team_id = $1 AND status <> 'deleted' ORDER BY id",
                ARGS(VT(team_id)), out);
    int64_t now = clock_ms();
    for (size_t i = 0; !e && i < out->n; i++) {
        struct token *t = (struct token *)out->v + i;
        t->team_id = team_id;
        token_show(cx, t, now);
    }
    return e;
}

enum err_code token_set_enabled(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                                bool is_enabled, struct token *out)
{
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = token_next_rev(cx, db, &rev);
    if (!e)
        e = db_one(
            cx, db, &rec_token_row,
            "UPDATE integration_tokens SET status = $3, updated_ms = $4, rev = $5 "
            "WHERE team_id = $1 AND id = $2 AND status <> 'deleted' RETURNING " TOKEN_COLUMNS,
            ARGS(VT(team_id), VT(id), VT(is_enabled ? STR("active") : STR("disabled")),
                 VI(clock_ms()), VI(rev)),
            out);
    return found(cx, e, team_id, out);
}

/* The new values over the old ones; what may not be cleared is never null here. */
static enum err_code merge(struct ctx *cx, const struct token_new *in, struct token *t)
{
    enum err_code e = ERR_NONE;
    if (REC_HAS(in, name))
        t->name = in->name;
    if (REC_HAS(in, description) || REC_IS_NULL(in, description))
        t->description = in->description;
    if (REC_HAS(in, allowed_endpoints) || REC_IS_NULL(in, allowed_endpoints))
        t->allowed_endpoints = in->allowed_endpoints;
    if (REC_HAS(in, allowed_ips) || REC_IS_NULL(in, allowed_ips))
        t->allowed_ips = in->allowed_ips;
    if (REC_HAS(in, rate_limit))
        t->rate_limit = in->rate_limit;
    if (REC_HAS(in, expires_ms)) {
        t->expires_ms = in->expires_ms;
        REC_SET(t, expires_ms);
    } else if (REC_IS_NULL(in, expires_ms)) {
        forget(t, offsetof(struct token, expires_ms));
    }
    if (REC_HAS(in, scopes))
        e = token_read_scopes(cx, in->scopes, &t->scopes);
    if (!e && (REC_HAS(in, limits) || REC_IS_NULL(in, limits)))
        e = token_read_limits(cx, in->limits, &t->limits);
    if (e || !REC_HAS(in, metadata)) {
        t->metadata = REC_IS_NULL(in, metadata) ? STR("{}") : t->metadata;
        return e;
    }
    json_t *old = json_read(cx, t->metadata), *patch = json_read(cx, in->metadata);
    if (!old || !patch)
        return cx->err;
    json_merge(old, patch);
    t->metadata = json_text(cx, old);
    return ERR_NONE;
}

/* The merged row once more through the checks of a new one; an expiry that stays is not looked at. */
static enum err_code check_merged(struct ctx *cx, const struct token_new *in, const struct token *t)
{
    struct token_new all = { .name = t->name,
                             .metadata = t->metadata,
                             .allowed_ips = t->allowed_ips,
                             .allowed_endpoints = t->allowed_endpoints,
                             .rate_limit = t->rate_limit,
                             .expires_ms = t->expires_ms };
    REC_SET(&all, rate_limit);
    if (REC_HAS(in, expires_ms))
        REC_SET(&all, expires_ms);
    return token_check(cx, &all, clock_ms());
}

enum err_code token_update(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                           const struct token_new *in, struct token *before, struct token *out)
{
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = token_next_rev(cx, db, &rev);
    if (!e)
        e = token_get(cx, db, team_id, id, before);
    if (e)
        return e;
    struct token t = *before;
    e = merge(cx, in, &t);
    if (!e)
        e = check_merged(cx, in, &t);
    if (e)
        return e;
    e = db_one(cx, db, &rec_token_row,
               "UPDATE integration_tokens SET name = $3, description = $4, scopes = $5, limits = "
               "$6, rate_limit = $7, allowed_endpoints = $8, allowed_ips = $9, metadata = $10, "
               "expires_ms = $11, updated_ms = $12, rev = $13 WHERE team_id = $1 AND id = $2 AND "
               "status <> 'deleted' RETURNING " TOKEN_COLUMNS,
               ARGS(VT(team_id), VT(id), VT(t.name), VT(t.description), VT(t.scopes), VT(t.limits),
                    VI(t.rate_limit), VT(t.allowed_endpoints), VT(t.allowed_ips), VT(t.metadata),
                    VI_OR_NULL(REC_HAS(&t, expires_ms), t.expires_ms), VI(clock_ms()), VI(rev)),
               out);
    return found(cx, e, team_id, out);
}

/* When the old secret ends: never later than the token; without grace at once. */
static int64_t grace_end(const struct token *t, int64_t now_ms, int64_t grace_ms)
{
    int64_t end = grace_ms < INT64_MAX - now_ms ? now_ms + grace_ms : INT64_MAX;
    return REC_HAS(t, expires_ms) && t->expires_ms < end ? t->expires_ms : end;
}

static enum err_code put_secret(struct ctx *cx, struct db *db, const struct token *old,
                                const struct token_secret *s, int64_t grace_ms, struct token *out)
{
    int64_t now = clock_ms();
    struct args args = ARGS(VT(old->team_id), VT(old->id), VT(s->hash), VT(s->prefix), VT(s->last4),
                            VI(now), VI(old->rev), VI(grace_end(old, now, grace_ms)));
    if (grace_ms > 0)
        return db_one(cx, db, &rec_token_row,
                      "UPDATE integration_tokens SET previous_hash = token_hash, previous_prefix "
                      "= token_prefix, previous_last4 = token_last4, token_hash = $3, "
                      "token_prefix = $4, token_last4 = $5, updated_ms = $6, rev = $7, "
                      "previous_until_ms = $8 WHERE team_id = $1 AND id = $2 AND status <> "
                      "'deleted' RETURNING " TOKEN_COLUMNS,
                      args, out);
    args.n--; /* without the end of the grace time */
    return db_one(cx, db, &rec_token_row,
                  "UPDATE integration_tokens SET previous_hash = NULL, previous_prefix = NULL, "
                  "previous_last4 = NULL, token_hash = $3, token_prefix = $4, token_last4 = $5, "
                  "updated_ms = $6, rev = $7, previous_until_ms = NULL WHERE team_id = $1 AND id "
                  "= $2 AND status <> 'deleted' RETURNING " TOKEN_COLUMNS,
                  args, out);
}

enum err_code token_regenerate(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                               int64_t grace_ms, struct token *out)
{
    struct token t, now;
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = token_next_rev(cx, db, &rev);
    if (!e)
        e = token_get(cx, db, team_id, id, &t);
    if (e)
        return e;
    struct token_secret s = token_secret_mint(&cx->arena);
    t.rev = rev;
    e = found(cx, put_secret(cx, db, &t, &s, grace_ms, &now), team_id, &now);
    if (e)
        return e;
    now.token = s.text;
    REC_SET(&now, token);
    *out = now;
    return ERR_NONE;
}

enum err_code token_delete(struct ctx *cx, struct db *db, struct str team_id, struct str id)
{
    struct rec_num gone;
    int64_t rev = 0;
    db_scope(db, team_id, STR(""));
    enum err_code e = token_next_rev(cx, db, &rev);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "UPDATE integration_tokens SET status = 'deleted', previous_hash = NULL, "
                   "previous_until_ms = NULL, "
                   "updated_ms = $3, rev = $4 WHERE team_id = $1 AND id = $2 AND status <> "
                   "'deleted' RETURNING 1 AS n",
                   ARGS(VT(team_id), VT(id), VI(clock_ms()), VI(rev)), &gone);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Token not found") : e;
}
