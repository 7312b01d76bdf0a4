/* /v1/request-logs: what was sent to other systems, and how it ended. */
#include "../core/egress_log.h"
#include "page.h"
#include "routes.h"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = request_log_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_request_log, &page);
    return e;
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/request-logs",
      .scope = SCOPE(INTEGRATIONS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_request_log_query,
      .reply = &rec_request_log,
      .handler = list,
      .id = "listRequestLogs",
      .tag = "Request logs",
      .summary = "List requests to other systems",
      .doc = "Newest first. Headers and bodies are not kept; secrets in addresses are masked. A "
             "row appears within a second of the end of its call." },
};
const struct route_table routes_requests = { routes, sizeof routes / sizeof *routes };
