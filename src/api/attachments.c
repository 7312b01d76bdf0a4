/* Attachments: upload and list under the ticket, metadata, download and delete by their own id.
 *
 * A download never runs in a browser: it is always an attachment with a name, sandboxed, of a type
 * that is not sniffed, and what could be a page is sent as plain bytes. */
#include "../core/crm/attachment.h"
#include "../core/crm/blob.h"
#include "page.h"
#include "route.h"
#include "routes.h"
#include "settings.h"

#define TAG "Attachments"
#define DISPOSITION_MAX ((size_t)4096)

static enum err_code upload(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    struct attachment made;
    struct attachment_add in = { .store = rq->app->store,
                                 .blobs = rq->app->blobs,
                                 .who = &rq->caller,
                                 .ticket_id = rq->params[0],
                                 .query = rq->query,
                                 .content = rq->upload };
    enum err_code e =
        attachment_type(cx, rq->content_type, rq->app->conf->attachment_types, &in.media_type);
    if (!e)
        e = attachment_add(cx, &in, &made);
    if (e)
        return e;
    reply_header(rp, "Location",
                 str_printf(&cx->arena, "/v1/attachments/" STR_FMT, STR_ARG(made.id)));
    rec_encode(&rp->body, &rec_attachment, &made);
    return ERR_NONE;
}

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct list_query *q = rq->query;
    struct page_ask ask = { .cursor = q->cursor, .limit = q->limit, .key = &rq->app->cursor_key };
    struct page page;
    enum err_code e = attachment_list(cx, db, &rq->caller, rq->params[0], &ask, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_attachment, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct attachment a;
    enum err_code e = attachment_get(cx, db, &rq->caller, rq->params[0], &a);
    if (!e)
        rec_encode(&rp->body, &rec_attachment, &a);
    return e;
}

static enum err_code remove_one(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return attachment_delete(cx, db, &rq->caller, rq->params[0]);
}

/* ---- download ---- */

struct wanted {
    const struct req *rq;
    struct attachment a;
};

static enum err_code find_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct wanted *w = arg;
    caller_scope(db, &w->rq->caller);
    return attachment_get(cx, db, &w->rq->caller, w->rq->params[0], &w->a);
}

static bool is_plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

/* RFC 6266: the name twice, since old clients read only the plain form. */
static struct str disposition(struct ctx *cx, struct str name)
{
    struct buf b;
    buf_init(&b, &cx->arena, DISPOSITION_MAX);
    buf_lit(&b, "attachment; filename=\"");
    for (size_t i = 0; i < name.n; i++)
        if (is_plain((unsigned char)name.p[i]) || name.p[i] == ' ')
            buf_char(&b, name.p[i]);
        else if (((unsigned char)name.p[i] & 0xC0) != 0x80)
            buf_char(&b, '_');
    buf_lit(&b, "\"; filename*=UTF-8''");
    for (size_t i = 0; i < name.n; i++)
        if (is_plain((unsigned char)name.p[i]))
            buf_char(&b, name.p[i]);
        else
            buf_printf(&b, "%%%02X", (unsigned char)name.p[i]);
    return buf_view(&b);
}

/* Weak comparison: RFC 9110 §13.1.2. */
static bool is_known(const struct req *rq, struct str tag)
{
    struct str rest = rq->if_none_match;
    while (rest.p && rest.n) {
        struct str one = str_trim(str_cut(&rest, ','));
        if (str_starts(one, STR("W/")))
            one = str_sub(one, 2, one.n);
        if (str_eq(one, tag) || str_eq(one, STR("*")))
            return true;
    }
    return false;
}

static enum err_code download(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    struct wanted w = { .rq = rq };
    enum err_code e = store_read(cx, rq->app->store, find_unit, &w);
    if (!e && !rq->app->blobs)
        e = fail(cx, NOT_CONFIGURED, ATTACHMENTS_NO_PLACE);
    if (e)
        return e;
    struct str tag = str_printf(&cx->arena, "\"" STR_FMT "\"", STR_ARG(w.a.sha256));
    if (is_known(rq, tag)) {
        rp->status = 304;
        reply_header(rp, "ETag", tag);
        return ERR_NONE;
    }
    struct blob_id id = { rq->caller.team_id, w.a.sha256, w.a.nonce };
    e = blob_get(cx, rq->app->blobs, &id, w.a.size, &rp->spool);
    if (e)
        return e;
    rp->content_type = attachment_shown_type(cx, w.a.media_type);
    reply_header(rp, "ETag", tag);
    reply_header(rp, "Content-Disposition", disposition(cx, w.a.name));
    reply_header(rp, "Content-Security-Policy", STR("sandbox; default-src 'none'"));
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/tickets/{ticket_id}/attachments",
      .scope = SCOPE(TICKETS_COMMENT),
      .flags = ROUTE_UPLOAD | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 201,
      .query = &rec_attachment_query,
      .reply = &rec_attachment,
      .handler = upload,
      .id = "addAttachment",
      .tag = TAG,
      .summary = "Attach a file to a ticket",
      .doc = "The body is the file, Content-Type its media type. What is too large is 413 "
             "(attachment_max_mb), a type that is not allowed 415 (attachment_types). The same "
             "content is kept once." },
    { .method = "GET",
      .path = "/v1/tickets/{ticket_id}/attachments",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_attachment,
      .handler = list,
      .id = "listAttachments",
      .tag = TAG,
      .summary = "List the attachments of a ticket",
      .doc = "Oldest first, those of its comments included." },
    { .method = "GET",
      .path = "/v1/attachments/{attachment_id}",
      .scope = SCOPE(TICKETS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_attachment,
      .handler = get,
      .id = "getAttachment",
      .tag = TAG,
      .summary = "Get what is known of an attachment",
      .doc = "Whoever sees the ticket sees its attachments." },
    { .method = "GET",
      .path = "/v1/attachments/{attachment_id}/content",
      .scope = SCOPE(TICKETS_READ),
      .flags = ROUTE_ETAG | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 200,
      .media = "*/*",
      .handler = download,
      .id = "downloadAttachment",
      .tag = TAG,
      .summary = "Download an attachment",
      .doc = "The file as it was uploaded, always as a download and never as a page: types that a "
             "browser could run are sent as application/octet-stream." },
    { .method = "DELETE",
      .path = "/v1/attachments/{attachment_id}",
      .scope = SCOPE(TICKETS_WRITE),
      .run = RUN_WRITE,
      .status = 204,
      .handler = remove_one,
      .id = "deleteAttachment",
      .tag = TAG,
      .summary = "Delete an attachment",
      .doc = "Its content goes too, unless another attachment has the same." },
};
const struct route_table routes_attachments = { routes, sizeof routes / sizeof *routes };
