/* The contact list: its filters and orders; the rest is listing.h, and contact_search.h for q. */
#include "contact.h"
#include "contact_search.h"

static void filter_keys(struct listing *l, const struct contact_query *in)
{
    struct ctx *cx = l->cx;
    if (REC_HAS(in, email))
        listing_and(l,
                    " AND c.id IN (SELECT contact_id FROM contact_email WHERE team_id = $1 AND "
                    "email = ",
                    VT(text_fold(cx, str_trim(in->email))), ")");
    if (REC_HAS(in, phone)) {
        struct str key = phone_key(cx, in->phone), digits = phone_digits(cx, in->phone);
        bool has_plus = key.n > digits.n;
        int n = listing_bind(l, VT(key));
        int more = listing_bind(
            l, VT(has_plus ? key : str_printf(&cx->arena, "+" STR_FMT, STR_ARG(digits))));
        buf_printf(&l->sql,
                   " AND c.id IN (SELECT contact_id FROM contact_phone WHERE team_id = $1 AND "
                   "phone IN ($%d, $%d))",
                   n, more);
    }
    if (REC_HAS(in, company))
        listing_and(l, " AND c.company_key = ", VT(text_fold(cx, str_trim(in->company))), "");
}

static void filter_tag(struct listing *l, const struct contact_query *in)
{
    if (REC_HAS(in, tag))
        listing_and(l,
                    " AND EXISTS (SELECT 1 FROM contact_tag t WHERE t.team_id = $1 AND "
                    "t.contact_id = c.id AND t.tag = ",
                    VT(tag_fold(l->cx, str_trim(in->tag))), ")");
}

static void filter_times(struct listing *l, const struct contact_query *in)
{
    buf_lit(&l->sql, " AND c.deleted_ms IS NULL");
    if (REC_HAS(in, created_after))
        listing_and(l, " AND c.created_ms >= ", VI(in->created_after), "");
    if (REC_HAS(in, created_before))
        listing_and(l, " AND c.created_ms < ", VI(in->created_before), "");
    if (REC_HAS(in, updated_after))
        listing_and(l, " AND c.updated_ms >= ", VI(in->updated_after), "");
    if (REC_HAS(in, updated_before))
        listing_and(l, " AND c.updated_ms < ", VI(in->updated_before), "");
}

void contact_filters(struct listing *l, struct ctx *cx, const struct caller *who,
                     const struct contact_query *in)
{
    listing_init(l, cx, " WHERE c.team_id = ", VT(who->team_id));
    filter_times(l, in);
    filter_keys(l, in);
    filter_tag(l, in);
}

static enum err_code check(struct ctx *cx, const struct contact_query *in)
{
    if (REC_HAS(in, phone) && !phone_key(cx, in->phone).p)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("phone"),
                              "phone must be a phone number of %d to %d digits", PHONE_DIGITS_MIN,
                              PHONE_DIGITS_MAX);
    if (REC_HAS(in, q) && REC_HAS(in, sort) && !str_eq(in->sort, STR("-created_at")))
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("sort"),
                              "sort must be -created_at together with q");
    return ERR_NONE;
}

enum err_code contact_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct contact_query *in, struct cursor_key key, struct page *out)
{
    struct str sort = REC_HAS(in, sort) ? in->sort : STR("-created_at");
    bool is_down = sort.p[0] == '-', by_update = sort.p[is_down] == 'u';
    struct listing l;
    enum err_code e = check(cx, in);
    if (e)
        return e;
    if (REC_HAS(in, q))
        return contact_search(cx, db, who, in, key, out);
    struct listing_from from = {
        .r = &rec_contact,
        .kind = str_printf(&cx->arena, "contacts:" STR_FMT, STR_ARG(sort)).p,
        .columns = CONTACT_COLUMNS("c."),
        .table = "contact c",
        .id = "c.id",
        .by = by_update ? "c.updated_ms" : NULL,
        .is_down = is_down,
        .id_at = offsetof(struct contact, id),
        .by_at = offsetof(struct contact, updated_ms),
    };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    contact_filters(&l, cx, who, in);
    if (REC_HAS(in, tag) && !by_update) { /* the tag's own order is that of the list */
        from.table = "contact_tag d JOIN contact c ON c.team_id = d.team_id AND "
                     "c.id = d.contact_id";
        from.id = "d.contact_id";
        listing_and(&l, " AND d.team_id = $1 AND d.tag = ", VT(tag_fold(cx, str_trim(in->tag))),
                    "");
    }
    return listing_page(&l, db, &from, &ask, out);
}
