/* API keys as administrators see them: see token_admin.h. */
#include "token_admin.h"

#include "../base/clock.h"
#include "audit.h"
#include "event.h"

static const char *const query_statuses[] = { "active", "disabled", "expired", NULL };
#define AT(member) offsetof(struct key_query, member)
static const struct field query_fields[] = {
    { "status", F_ENUMS, AT(status), 0, 0, 0, query_statuses, "active, disabled, expired", NULL },
    { "q", F_STR, AT(q), 0, 1, 200, NULL,
      "Part of the name or the description, or the first "
      "characters of the secret",
      NULL },
    { "expires_before", F_TIME, AT(expires_before), 0, 0, 0, NULL,
      "Only keys that expire before this time", NULL },
    LISTING_QUERY_ROWS(struct key_query),
};
const struct rec rec_key_query =
    REC("ApiKeyQuery", struct key_query, query_fields, "Filters of the list of API keys.");

/* ---- reading ---- */

static void add_search(struct listing *l, struct str q)
{
    struct str like = listing_like(l->cx, q);
    listing_and(l, " AND (lower(name) LIKE lower(", VT(like), ") ESCAPE '\\'");
    listing_and(l, " OR lower(COALESCE(description, '')) LIKE lower(", VT(like), ") ESCAPE '\\'");
    listing_and(l, " OR token_prefix = ", VT(q), ")");
}

/* The moment of the question is no part of the filter that a cursor is bound to. */
static void add_status(struct listing *l, struct str words)
{
    int now = listing_bind_moving(l, VI(clock_ms()));
    struct str shown =
        str_printf(&l->cx->arena,
                   "CASE WHEN status = 'active' AND expires_ms <= $%d THEN 'expired' ELSE status "
                   "END",
                   now);
    listing_words(l, shown.p, words);
}

enum err_code key_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct key_query *in, const struct cursor_key *cursors,
                       struct page *out)
{
    const struct listing_from from = { .r = &rec_token_row,
                                       .kind = "api_keys",
                                       .columns = TOKEN_COLUMNS,
                                       .table = "integration_tokens",
                                       .id = "id",
                                       .is_down = true,
                                       .id_at = offsetof(struct token, id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = cursors };
    int64_t now = clock_ms();
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    buf_lit(&l.sql, " AND status <> 'deleted'");
    if (REC_HAS(in, status))
        add_status(&l, in->status);
    if (REC_HAS(in, q))
        add_search(&l, in->q);
    if (REC_HAS(in, expires_before))
        listing_and(&l, " AND expires_ms < ", VI(in->expires_before), "");
    enum err_code e = listing_page(&l, db, &from, &ask, out);
    for (size_t i = 0; !e && i < out->rows.n; i++)
        token_show(cx, (struct token *)out->rows.v + i, now);
    return e;
}

static enum err_code get(struct ctx *cx, struct db *db, const struct caller *who, struct str *id,
                         struct token *out)
{
    enum err_code e = path_id(cx, "api_key_id", id);
    return e ? e : token_get(cx, db, who->team_id, *id, out);
}

enum err_code key_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                      struct token *out)
{
    return get(cx, db, who, &id, out);
}

/* ---- rules ---- */

/* May `who` hand out these scopes? */
static enum err_code may_grant(struct ctx *cx, const struct caller *who, struct str scopes)
{
    uint64_t missing = scopes_of_json(scopes) & ~who->scopes;
    bool is_cli = !who->token_id.p && !who->user_id.p;
    if (is_cli || !missing || (who->scopes & SCOPE(ADMIN_FULL)))
        return ERR_NONE;
    struct str words = scopes_json(&cx->arena, missing);
    if (who->token_id.p)
        return fail(cx, INSUFFICIENT_SCOPE,
                    "This key may only give scopes that it has; it lacks " STR_FMT, STR_ARG(words));
    return fail(cx, INSUFFICIENT_ROLE,
                "Your role may not give the scopes " STR_FMT "; that needs " STR_FMT,
                STR_ARG(words), STR_ARG(role_word(role_least(missing))));
}

static enum err_code not_oneself(struct ctx *cx, const struct caller *who, struct str id,
                                 const char *verb)
{
    if (!who->token_id.p || !str_eq(who->token_id, id))
        return ERR_NONE;
    return fail(cx, CONFLICT, "A key cannot %s itself; use another key or a signed-in user", verb);
}

static enum err_code check_rev(struct ctx *cx, const struct token *t,
                               const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == t->rev;
    return is_fine ? ERR_NONE : fail(cx, PRECONDITION_FAILED, "The key has changed since");
}

/* Locks all tokens, so that what is read here still holds when the change is written. */
static enum err_code begin(struct ctx *cx, struct db *db, const struct caller *who, struct str *id,
                           struct token *before)
{
    enum err_code e = path_id(cx, "api_key_id", id);
    if (!e)
        e = token_lock(cx, db);
    return e ? e : token_get(cx, db, who->team_id, *id, before);
}

struct deed { /* what was done, for the audit log and for the events */
    const char *action;
    enum event_type event;
};
static const struct deed created = { "api_key.create", EVENT_API_KEY_CREATED },
                         updated = { "api_key.update", EVENT_API_KEY_UPDATED },
                         enabled = { "api_key.enable", EVENT_API_KEY_ENABLED },
                         disabled = { "api_key.disable", EVENT_API_KEY_DISABLED },
                         regenerated = { "api_key.regenerate", EVENT_API_KEY_REGENERATED },
                         deleted = { "api_key.delete", EVENT_API_KEY_DELETED };

/* The audit row and the event of a change. */
static enum err_code tell(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct deed *deed, const struct token *before,
                          const struct token *after)
{
    const struct token *now = after ? after : before;
    BUG_IF(!now);
    struct event_new ev = { deed->event, now->id, .rec = &rec_token_event, .obj = now };
    enum err_code e =
        audit_write(cx, db, who,
                    &(struct audit_entry){ .action = deed->action,
                                           .target_type = "api_key",
                                           .target_id = now->id,
                                           .before = audit_json(cx, &rec_token_audit, before),
                                           .after = audit_json(cx, &rec_token_audit, after) });
    if (before && after)
        ev.previous = event_previous(cx, &rec_token_event, before, after);
    return e ? e : event_emit(cx, db, who, &ev);
}

/* ---- changing ---- */

enum err_code key_create(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct token_new *in, struct token *out)
{
    struct token_new mine = *in;
    struct str scopes;
    enum err_code e = token_read_scopes(cx, in->scopes, &scopes);
    if (!e)
        e = may_grant(cx, who, scopes);
    if (e)
        return e;
    struct str subject = caller_subject(who);
    mine.created_by = subject.n ? subject : STR_NONE;
    e = token_create(cx, db, who->team_id, &mine, out);
    return e ? e : tell(cx, db, who, &created, NULL, out);
}

enum err_code key_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         const struct token_new *in, const struct versions *allowed,
                         struct token *out)
{
    struct token before;
    struct str scopes;
    enum err_code e = begin(cx, db, who, &id, &before);
    if (!e)
        e = check_rev(cx, &before, allowed);
    if (!e)
        e = may_grant(cx, who, before.scopes);
    if (!e && REC_HAS(in, scopes)) {
        e = token_read_scopes(cx, in->scopes, &scopes);
        if (!e)
            e = may_grant(cx, who, scopes);
    }
    if (!e)
        e = token_update(cx, db, who->team_id, id, in, &before, out);
    return e ? e : tell(cx, db, who, &updated, &before, out);
}

enum err_code key_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, bool is_enabled, struct token *out)
{
    struct token before;
    enum err_code e = begin(cx, db, who, &id, &before);
    if (!e)
        e = is_enabled ? may_grant(cx, who, before.scopes) : not_oneself(cx, who, id, "disable");
    if (!e)
        e = token_set_enabled(cx, db, who->team_id, id, is_enabled, out);
    return e ? e : tell(cx, db, who, is_enabled ? &enabled : &disabled, &before, out);
}

enum err_code key_regenerate(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             int64_t grace_ms, struct token *out)
{
    struct token before;
    enum err_code e = begin(cx, db, who, &id, &before);
    if (!e)
        e = may_grant(cx, who, before.scopes);
    if (!e)
        e = token_regenerate(cx, db, who->team_id, id, grace_ms, out);
    return e ? e : tell(cx, db, who, &regenerated, &before, out);
}

enum err_code key_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         const struct versions *allowed)
{
    struct token before;
    enum err_code e = begin(cx, db, who, &id, &before);
    if (!e)
        e = check_rev(cx, &before, allowed);
    if (!e)
        e = not_oneself(cx, who, id, "delete");
    if (!e)
        e = token_delete(cx, db, who->team_id, id);
    return e ? e : tell(cx, db, who, &deleted, &before, NULL);
}
