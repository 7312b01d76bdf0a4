/* Comments: see comment.h. */
#include "comment.h"

#include "../base/clock.h"
#include "../base/crypt.h"

#define AT(member) offsetof(struct comment, member)
static const struct field comment_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Comment identifier", NULL },
    { "ticket_id", F_UUID, AT(ticket_id), 0, 0, 0, NULL, "The ticket it belongs to", NULL },
    { "content", F_STR, AT(content), 0, 0, 0, NULL, "Comment text", NULL },
    { "is_internal", F_BOOL, AT(is_internal), 0, 0, 0, NULL, "Whether the comment is internal",
      NULL },
    { "token_id", F_UUID, AT(token_id), 0, 0, 0, NULL, "The token that wrote it", NULL },
    { "integration_source", F_STR, AT(integration_source), 0, 0, 0, NULL,
      "Name of that token when it did", NULL },
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
        .token_id = who->token_id.p ? who->token_id : STR(""),
        .integration_source = caller_name(who),
        .is_internal = REC_HAS(in, is_internal) && in->is_internal,
        .created_ms = clock_ms(),
    };
    e = db_run(cx, db,
               "INSERT INTO ticket_comments (team_id, id, ticket_id, token_id, integration_source, "
               "content, is_internal, created_ms) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
               ARGS(VT(who->team_id), VT(c.id), VT(c.ticket_id), VT(c.token_id),
                    VT(c.integration_source), VT(c.content), VI(c.is_internal), VI(c.created_ms)));
    if (!e)
        *out = c;
    return e;
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
        .sql = "SELECT id, ticket_id, content, is_internal, token_id, integration_source, "
               "created_ms AS created_at "
               "FROM ticket_comments WHERE team_id = $1 AND ticket_id = $2 AND (CAST($3 AS TEXT) = '' OR token_id = $3) AND "
               "id > $4 ORDER BY id LIMIT $5",
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
