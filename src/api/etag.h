/* Entity tags of versioned resources: "v<version>", strong. Any thread. */
#ifndef TESSERA_API_ETAG_H
#define TESSERA_API_ETAG_H

#include "route.h"

void etag_put(struct ctx *cx, struct reply *rp, int64_t version);
/* The version that If-Match asks for; -1 when absent or "*". PRECONDITION_FAILED for a tag that is not one of ours. */
enum err_code etag_if_match(struct ctx *cx, const struct req *rq, int64_t *version);
/* True when If-None-Match names this version (the answer is then 304). */
bool etag_matches(const struct req *rq, int64_t version);

#endif
