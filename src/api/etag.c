/* Entity tags: see etag.h (RFC 9110 §8.8.3, §13.1). */
#include "etag.h"

void etag_put(struct ctx *cx, struct reply *rp, int64_t version)
{
    reply_header(rp, "ETag", str_printf(&cx->arena, "\"v%lld\"", (long long)version));
}

/* If-Match compares strongly: a weak tag never matches there. */
static bool tag_version(struct str tag, bool may_be_weak, int64_t *version)
{
    tag = str_trim(tag);
    if (may_be_weak && str_starts(tag, STR("W/")))
        tag = str_sub(tag, 2, tag.n);
    return tag.n > 3 && str_starts(tag, STR("\"v")) && tag.p[tag.n - 1] == '"' && str_to_i64(str_sub(tag, 2, tag.n - 3), version);
}

enum err_code etag_if_match(struct ctx *cx, const struct req *rq, int64_t *version)
{
    *version = -1;
    if (!rq->if_match.p || str_eq(str_trim(rq->if_match), STR("*")))
        return ERR_NONE;
    if (!tag_version(rq->if_match, false, version) || *version < 0)
        return fail(cx, PRECONDITION_FAILED, "If-Match is not an ETag of this resource");
    return ERR_NONE;
}

bool etag_matches(const struct req *rq, int64_t version)
{
    struct str rest = rq->if_none_match;
    int64_t v;
    while (rest.p && rest.n) {
        struct str one = str_cut(&rest, ',');
        if (str_eq(str_trim(one), STR("*")) || (tag_version(one, true, &v) && v == version))
            return true;
    }
    return false;
}
