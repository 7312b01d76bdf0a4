/* Cross-origin requests: an allow-list of origins (setting cors_origins: "*" or a comma separated
 * list). Nothing is allowed by default. The API uses bearer tokens, never cookies, so credentials
 * are not allowed. */
#include "exchange.h"

static bool origin_is_allowed(const struct exchange *x)
{
    struct str rest = x->srv->conf->cors_origins;
    if (!x->in.origin.n || !rest.n)
        return false;
    while (rest.p) {
        struct str one = str_trim(str_cut(&rest, ','));
        if (str_eq(one, STR("*")) || (one.n && str_eq_nocase(one, x->in.origin)))
            return true;
    }
    return false;
}

bool cors_is_preflight(const struct exchange *x)
{
    return str_eq(x->rq.method, STR("OPTIONS"));
}

void cors_headers(const struct exchange *x, struct MHD_Response *r)
{
    if (!x->srv->conf->cors_origins.n)
        return;
    MHD_add_response_header(r, "Vary", "Origin");
    if (!origin_is_allowed(x))
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", x->in.origin.p);
    if (cors_is_preflight(x) && x->in.request_method.n) {
        MHD_add_response_header(r, "Access-Control-Allow-Methods",
                                "GET, POST, PATCH, PUT, DELETE, OPTIONS");
        MHD_add_response_header(
            r, "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Tessera-Team, "
            "X-Request-Id");
        MHD_add_response_header(r, "Access-Control-Max-Age", "600");
    } else {
        MHD_add_response_header(r, "Access-Control-Expose-Headers",
                                "ETag, Location, Link, RateLimit, RateLimit-Policy, Retry-After, "
                                "X-Request-Id, Idempotency-Replayed");
    }
}
