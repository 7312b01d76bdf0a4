/* Comments: see comment.h. */
#include "comment.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "crm/activity.h"
#include "crm/attachment.h"
#include "event.h"

/* $3 is caller_sees(): all of them, or the own and those not internal. */
#define SEEN "(CAST($3 AS TEXT) = '' OR token_id = $3 OR is_internal = 0)"
#define COLUMNS                                                                                    \
    "id, ticket_id, content, is_internal, CASE WHEN token_id <> '' THEN 'key' WHEN "               \
    "created_by_user IS NOT NULL THEN 'user' ELSE 'cli' END AS author_kind, "                      \
    "COALESCE(NULLIF(token_id, ''), created_by_user) AS author_id, integration_source AS "         \
    "author_name, NULLIF(token_id, '') AS token_id, integration_source, created_ms AS created_at"

static const char *const kinds[] = { "key", "user", "cli", NULL };
#define AT(member) offsetof(struct comment, member)
static const struct field comment_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Comment identifier", NULL },
    { "ticket_id", F_UUID, AT(ticket_id), 0, 0, 0, NULL, "The ticket it belongs to", NULL },
    { "content", F_STR, AT(content), 0, 0, 0, NULL, "Comment text", NULL },
    { "is_internal", F_BOOL, AT(is_internal), 0, 0, 0, NULL, "Whether the comment is internal",
      NULL },
    { "author_kind", F_ENUM, AT(author_kind), 0, 0, 0, kinds,
      "An API key, a user, the command line", NULL },
    { "author_id", F_UUID, AT(author_id), F_NULLABLE, 0, 0, NULL, "Id of the key or the user",
      NULL },
    { "author_name", F_STR, AT(author_name), 0, 0, 0, NULL, "Its name at that time", NULL },
    { "token_id", F_UUID, AT(token_id), F_NULLABLE, 0, 0, NULL,
      "The API key that wrote it; null: a user did", NULL },
    { "integration_source", F_STR, AT(integration_source), 0, 0, 0, NULL, "As author_name", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When the comment was written", NULL },
};
const struct rec rec_comment =
    REC("Comment", struct comment, comment_fields, "A comment on a ticket.");

static const struct field comment_new_fields[] = {
    { "content", F_STR, offsetof(struct comment_new, content), F_REQUIRED, 1, COMMENT_MAX, NULL,
      "Comment text", "\"We have received additional information from the customer.\"" },
    { "is_internal", F_BOOL, offsetof(struct comment_new, is_internal), 0, 0, 0, NULL,
      "Whether the comment is internal (default false)", "false" },
};
const struct rec rec_comment_new =
    REC("CommentNew", struct comment_new, comment_new_fields, "A comment to add.");
const struct rec rec_comment_v0_new =
    REC("IntegrationCommentNew", struct comment_new, comment_new_fields, "A comment to add.");

static const struct field comment_query_fields[] = {
    { "limit", F_INT, offsetof(struct comment_query, limit), 0, 1, 200, NULL,
      "Rows a page (default 50)", NULL },
    { "cursor", F_STR, offsetof(struct comment_query, cursor), 0, 1, 512, NULL,
      "next_cursor of the page before", NULL },
};
const struct rec rec_comment_query =
    REC("CommentQuery", struct comment_query, comment_query_fields, "Paging of the comments.");

/* An internal comment is named by its id alone: its words are not for all who read the history. */
static enum err_code note(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct comment *c, bool is_new)
{
    struct str id = activity_text(cx, c->id);
    enum err_code e = activity_note(
        cx, db, who, c->ticket_id, is_new ? "comment_added" : "comment_removed",
        (struct activity_change){ "comment_id", is_new ? STR_NONE : id, is_new ? id : STR_NONE });
    struct event_new ev = { is_new ? EVENT_COMMENT_CREATED : EVENT_COMMENT_DELETED, c->id,
                            c->ticket_id, &rec_comment, c };
    return e ? e : event_emit(cx, db, who, &ev);
}

enum err_code comment_create(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, const struct comment_new *in,
                             struct comment *out)
{
    struct ticket t;
    enum err_code e = ticket_get_own(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    struct comment c = {
        .bits.has = ~UINT64_C(0),
        .id = uuid7(&cx->arena),
        .ticket_id = t.id,
        .content = in->content,
        .author_kind = str_of(caller_kind(who)),
        .author_id = caller_subject(who),
        .author_name = caller_name(who),
        .token_id = who->token_id,
        .integration_source = caller_name(who),
        .is_internal = REC_HAS(in, is_internal) && in->is_internal,
        .created_ms = clock_ms(),
    };
    if (!c.author_id.n)
        c.author_id = STR_NONE;
    e = db_run(cx, db,
               "INSERT INTO ticket_comments (team_id, id, ticket_id, token_id, created_by_user, "
               "integration_source, content, is_internal, created_ms) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
               ARGS(VT(who->team_id), VT(c.id), VT(c.ticket_id),
                    VT(c.token_id.p ? c.token_id : STR("")), VT(who->user_id),
                    VT(c.integration_source), VT(c.content), VI(c.is_internal), VI(c.created_ms)));
    if (!e)
        e = note(cx, db, who, &c, true);
    if (!e)
        *out = c;
    return e;
}

enum err_code comment_get(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str ticket_id, struct str id, struct comment *out)
{
    struct ticket t;
    enum err_code e = path_id(cx, "comment_id", &id);
    if (!e)
        e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    e = db_one(cx, db, &rec_comment,
               "SELECT " COLUMNS
               " FROM ticket_comments WHERE team_id = $1 AND ticket_id = $2 AND " SEEN
               " AND id = $4",
               ARGS(VT(who->team_id), VT(t.id), VT(caller_sees(who)), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Comment not found") : e;
}

enum err_code comment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, struct str id)
{
    struct comment c;
    struct rec_num gone;
    enum err_code e = comment_get(cx, db, who, ticket_id, id, &c);
    if (e)
        return e;
    bool is_own = c.author_id.p && str_eq(c.author_id, caller_subject(who));
    if (!is_own && who->role < ROLE_ADMIN && !scope_granted(who->scopes, SCOPE(ADMIN_FULL)))
        return fail(cx, INSUFFICIENT_ROLE, "Only its author or an admin may delete a comment");
    e = attachments_of_comment_delete(cx, db, who, c.id);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "DELETE FROM ticket_comments WHERE team_id = $1 AND id = $2 RETURNING 1 AS n",
                   ARGS(VT(who->team_id), VT(c.id)), &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Comment not found");
    return e ? e : note(cx, db, who, &c, false);
}

enum err_code comment_list(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str ticket_id, const struct comment_query *in,
                           struct cursor_key key, struct page *out)
{
    struct ticket t;
    enum err_code e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    struct cursor at = { .kind = STR("comments"), .filter = t.id, .id = STR("") };
    int64_t limit = REC_HAS(in, limit) ? in->limit : 50;
    *out = (struct page){ .total = -1 };
    if (REC_HAS(in, cursor))
        e = cursor_parse(cx, &key, in->cursor, &at);
    if (e)
        return e;
    bool has_more;
    struct page_sql sql = {
        .r = &rec_comment,
        .sql = "SELECT " COLUMNS
               " FROM ticket_comments WHERE team_id = $1 AND ticket_id = $2 AND " SEEN
               " AND id > $4 ORDER BY id LIMIT $5",
        .args = ARGS(VT(who->team_id), VT(t.id), VT(caller_sees(who)), VT(at.id), VI(limit + 1)),
        .limit = limit,
    };
    e = page_read(cx, db, &sql, &out->rows, &has_more);
    if (e || !has_more)
        return e;
    const struct comment *last = &((const struct comment *)out->rows.v)[out->rows.n - 1];
    at.at = last->created_ms;
    at.id = last->id;
    out->next_cursor = cursor_print(cx, &key, &at);
    return ERR_NONE;
}
