/* Lists: see page.h. The link repeats the request's own parameters, because a cursor is bound to
 * filters and order. */
#include "page.h"

#include "../base/json.h"

#define LINK_MAX 16384

/* Characters that would end the link or its header early are escaped. */
static void put_query(struct buf *b, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"')
            buf_printf(b, "%%%02X", c);
        else
            buf_char(b, (char)c);
    }
}

static void put_link(struct ctx *cx, const struct req *rq, struct reply *rp, struct str cursor)
{
    struct buf b;
    struct str rest = rq->query_text;
    buf_init(&b, &cx->arena, LINK_MAX);
    buf_printf(&b, "<" STR_FMT "?", STR_ARG(rq->path));
    while (rest.p) {
        struct str one = str_cut(&rest, '&');
        if (!one.n || str_starts(one, STR("cursor=")))
            continue;
        put_query(&b, one);
        buf_char(&b, '&');
    }
    buf_printf(&b, "cursor=" STR_FMT ">; rel=\"next\"", STR_ARG(cursor));
    if (!b.over)
        reply_header(rp, "Link", buf_view(&b));
}

void page_put(struct ctx *cx, const struct req *rq, struct reply *rp, const struct rec *r,
              const struct page *page)
{
    buf_lit(&rp->body, "{\"data\":[");
    for (size_t i = 0; i < page->rows.n; i++) {
        if (i)
            buf_char(&rp->body, ',');
        rec_encode(&rp->body, r, (const char *)page->rows.v + i * r->size);
    }
    buf_lit(&rp->body, "],\"next_cursor\":");
    if (page->next_cursor.p)
        json_write_str(&rp->body, page->next_cursor);
    else
        buf_lit(&rp->body, "null");
    if (page->total >= 0)
        buf_printf(&rp->body, ",\"total\":%lld", (long long)page->total);
    buf_char(&rp->body, '}');
    if (page->next_cursor.p)
        put_link(cx, rq, rp, page->next_cursor);
}

void page_put_job(struct ctx *cx, struct reply *rp, const struct job *job)
{
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/jobs/" STR_FMT, STR_ARG(job->id)));
    buf_lit(&rp->body, "{\"job\":");
    rec_encode(&rp->body, &rec_job, job);
    buf_char(&rp->body, '}');
}
