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
    return tag.n > 3 && str_starts(tag, STR("\"v")) && tag.p[tag.n - 1] == '"' &&
           str_to_i64(str_sub(tag, 2, tag.n - 3), version);
}

void etag_if_match(const struct req *rq, struct versions *out)
{
    struct str rest = rq->if_match;
    *out = (struct versions){ .is_any = !rest.p };
    while (rest.p && out->n < VERSIONS_MAX) {
        struct str one = str_cut(&rest, ',');
        if (str_eq(str_trim(one), STR("*")))
            out->is_any = true;
        else if (tag_version(one, false, &out->v[out->n]))
            out->n++;
    }
}

bool etag_unchanged(struct ctx *cx, const struct req *rq, struct reply *rp, int64_t version)
{
    struct str rest = rq->if_none_match;
    int64_t v;
    while (rest.p && rest.n) {
        struct str one = str_cut(&rest, ',');
        if (str_eq(str_trim(one), STR("*")) || (tag_version(one, true, &v) && v == version)) {
            rp->status = 304;
            etag_put(cx, rp, version);
            return true;
        }
    }
    return false;
}
