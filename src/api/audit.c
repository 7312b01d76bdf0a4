/* /v1/audit: who changed what; pages for reading, files for keeping. */
#include "../core/audit.h"
#include "page.h"
#include "routes.h"
#include "settings.h"

#define TAG "Audit"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = audit_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_audit, &page);
    return e;
}

static enum err_code export(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct audit_query *in = rq->query;
    struct audit_export_ask ask = {
        .who = &rq->caller,
        .query = in,
        .dir = rq->app->conf->tmp_dir,
        .as_csv = REC_HAS(in, format) && str_eq(in->format, STR("csv")),
    };
    (void)db;
    enum err_code e = audit_export(cx, rq->app->store, &ask, &rp->spool);
    if (e)
        return e;
    rp->content_type = ask.as_csv ? "text/csv; charset=utf-8" : "application/x-ndjson";
    reply_header(rp, "Content-Disposition",
                 ask.as_csv ? STR("attachment; filename=\"audit.csv\"")
                            : STR("attachment; filename=\"audit.ndjson\""));
    return ERR_NONE;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/audit",
      .scope = SCOPE(AUDIT_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_audit_query,
      .reply = &rec_audit,
      .handler = list,
      .id = "listAudit",
      .tag = TAG,
      .summary = "List administrative changes",
      .doc = "Newest first. Each row names the hash of the row before it; `tessera audit verify` "
             "checks the whole chain." },
    { .method = "GET",
      .path = "/v1/audit/export",
      .scope = SCOPE(AUDIT_READ),
      .run = RUN_SLOW,
      .status = 200,
      .query = &rec_audit_export,
      .media = "application/x-ndjson,text/csv",
      .handler = export,
      .id = "exportAudit",
      .tag = TAG,
      .summary = "Export administrative changes",
      .doc = "A file of all rows that the filters choose, oldest first." },
};
const struct route_table routes_audit = { routes, sizeof routes / sizeof *routes };
