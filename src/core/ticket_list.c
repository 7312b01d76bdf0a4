/* The ticket list: its filters and orders; the rest is listing.h.
 *
 * The order by created_at goes by id: ids are UUIDv7, made in time order. */
#include "ticket.h"

#include "crm/tag.h"

/* $1 is the team. */
static enum err_code filter_refs(struct listing *l, const struct ticket_query *in)
{
    struct str assignee = in->assignee_id;
    bool is_none = str_eq(assignee, STR("none"));
    if (REC_HAS(in, project_id))
        listing_and(l, " AND project_id = ", VT(in->project_id), "");
    if (REC_HAS(in, contact_id))
        listing_and(l, " AND contact_id = ", VT(in->contact_id), "");
    if (REC_HAS(in, tag))
        listing_and(l, " AND id IN (SELECT ticket_id FROM ticket_tag WHERE team_id = $1 AND tag = ",
                    VT(tag_fold(l->cx, str_trim(in->tag))), ")");
    if (REC_HAS(in, assignee_id) && !is_none) {
        if (path_id(l->cx, "assignee_id", &assignee))
            return l->cx->err;
        listing_and(l, " AND assignee_id = ", VT(assignee), "");
    }
    if (is_none)
        buf_lit(&l->sql, " AND assignee_id IS NULL");
    return ERR_NONE;
}

static void filters(struct listing *l, const struct caller *who, const struct ticket_query *in)
{
    struct str sees = caller_sees(who);
    if (sees.n)
        listing_and(l, " AND token_id = ", VT(sees), "");
    buf_lit(&l->sql, " AND deleted_ms IS NULL");
    if (REC_HAS(in, status))
        listing_words(l, "status", in->status);
    if (REC_HAS(in, priority))
        listing_words(l, "priority", in->priority);
    if (REC_HAS(in, category))
        listing_and(l, " AND category = ", VT(in->category), "");
    if (REC_HAS(in, created_after))
        listing_and(l, " AND created_ms >= ", VI(in->created_after), "");
    if (REC_HAS(in, created_before))
        listing_and(l, " AND created_ms < ", VI(in->created_before), "");
    if (REC_HAS(in, updated_after))
        listing_and(l, " AND updated_ms >= ", VI(in->updated_after), "");
    if (REC_HAS(in, updated_before))
        listing_and(l, " AND updated_ms < ", VI(in->updated_before), "");
    if (REC_HAS(in, q)) {
        int n = listing_bind(l, VT(listing_like(l->cx, in->q)));
        buf_printf(&l->sql,
                   " AND (lower(title) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\' OR "
                   "lower(description) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\')",
                   n, n);
    }
}

enum err_code ticket_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct ticket_query *in, struct cursor_key key, struct page *out)
{
    struct listing l;
    struct str sort = REC_HAS(in, sort) ? in->sort : STR("-created_at");
    bool is_down = sort.p[0] == '-', by_update = sort.p[is_down] == 'u';
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    filters(&l, who, in);
    enum err_code e = filter_refs(&l, in);
    if (e)
        return e;
    struct listing_from from = {
        .r = &rec_ticket,
        .kind = str_printf(&cx->arena, "tickets:" STR_FMT, STR_ARG(sort)).p,
        .columns = TICKET_COLUMNS,
        .table = "tickets",
        .id = "id",
        .by = by_update ? "updated_ms" : NULL,
        .is_down = is_down,
        .id_at = offsetof(struct ticket, id),
        .by_at = offsetof(struct ticket, updated_ms),
    };
    struct page_ask ask = { .cursor = in->cursor,
                            .limit = in->limit,
                            .is_counted = REC_HAS(in, count) && in->count,
                            .key = &key };
    return listing_page(&l, db, &from, &ask, out);
}
