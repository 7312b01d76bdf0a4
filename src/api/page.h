/* The reply form of every list: {"data":[…],"next_cursor":…|null[,"total":n]} with Link:
 * rel=next. */
#ifndef TESSERA_API_PAGE_H
#define TESSERA_API_PAGE_H

#include "../core/ticket.h"
#include "route.h"

void page_put(struct ctx *cx, const struct req *rq, struct reply *rp, const struct rec *r,
              const struct page *page);

#endif
