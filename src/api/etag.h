/* Entity tags of versioned resources: "v<version>", strong. Any thread. */
#ifndef TESSERA_API_ETAG_H
#define TESSERA_API_ETAG_H

#include "../core/ticket.h"
#include "route.h"

void etag_put(struct ctx *cx, struct reply *rp, int64_t version);
/* The versions that If-Match allows: any when it is absent or "*"; tags that are not ours match
 * nothing. */
void etag_if_match(const struct req *rq, struct versions *out);
/* When If-None-Match names this version: makes the answer 304 and says true. */
bool etag_unchanged(struct ctx *cx, const struct req *rq, struct reply *rp, int64_t version);

#endif
