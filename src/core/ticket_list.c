/* The ticket list: its filters and orders; the rest is listing.h.
 *
 * The order by created_at goes by id: ids are UUIDv7, made in time order. */
#include "listing.h"
#include "ticket.h"

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
    struct listing_from from = {
        .r = &rec_ticket,
        .kind = str_printf(&cx->arena, "tickets:" STR_FMT, STR_ARG(sort)).p,
        .columns = "id, title, description, status, priority, category, metadata, token_id, "
                   "integration_source, version, created_ms AS created_at, updated_ms AS updated_at",
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
