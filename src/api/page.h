/* Reply forms that many routes share. */
#ifndef TESSERA_API_PAGE_H
#define TESSERA_API_PAGE_H

#include "../core/job/job.h"
#include "../core/ticket.h"
#include "route.h"

/* Of every list: {"data":[…],"next_cursor":…|null[,"total":n]} with Link: rel=next. */
void page_put(struct ctx *cx, const struct req *rq, struct reply *rp, const struct rec *r,
              const struct page *page);
/* Of what starts a job: {"job":{…}} with its Location. */
void page_put_job(struct ctx *cx, struct reply *rp, const struct job *job);

#endif
