/* Everything that is decided about a request before its handler runs; no I/O here.
 *
 * Message framing (RFC 9112 §6.3: a request with both Content-Length and Transfer-Encoding, two
 * lengths, or an unknown coding is refused and its connection closed), the client's address, the
 * route, the token, the input. */
#include "exchange.h"

#include <string.h>
#include <strings.h>

#include "../base/crypt.h"
#include "../base/json.h"
#include "../core/people/team.h"

#define REQUEST_ID_MAX 128
#define QUERY_PARAMS_MAX 32
#define DISCARD_MAX ((int64_t)16 << 20)

/* ---- headers ---- */

struct header_row {
    const char *name;
    size_t offset; /* of the struct str in headers_in */
};
#define HEADER(text, member)                                                                       \
    {                                                                                              \
        text, offsetof(struct headers_in, member)                                                  \
    }
static const struct header_row header_rows[] = {
    HEADER("authorization", authorization),
    HEADER("content-type", content_type),
    HEADER("content-length", content_length),
    HEADER("idempotency-key", idempotency_key),
    HEADER("if-match", if_match),
    HEADER("if-none-match", if_none_match),
    HEADER("x-request-id", request_id),
    HEADER("user-agent", user_agent),
    HEADER("x-forwarded-for", forwarded_for),
    HEADER("origin", origin),
    HEADER("access-control-request-method", request_method),
    HEADER("accept-encoding", accept_encoding),
    HEADER("expect", expect),
    HEADER("cookie", cookie),
    HEADER("x-csrf-token", csrf_token),
    HEADER("tessera-team", team),
};

static enum MHD_Result header_seen(void *cls, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    (void)kind;
    struct headers_in *in = cls;
    if (!strcasecmp(key, "host"))
        in->n_host++;
    else if (!strcasecmp(key, "content-length"))
        in->n_length++;
    else if (!strcasecmp(key, "transfer-encoding")) {
        in->n_encoding++;
        in->is_chunked = value && !strcasecmp(value, "chunked");
    }
    for (size_t i = 0; i < sizeof header_rows / sizeof *header_rows; i++)
        if (!strcasecmp(key, header_rows[i].name)) {
            struct str *to = (struct str *)(void *)((char *)in + header_rows[i].offset);
            if (!to->p || header_rows[i].offset == offsetof(struct headers_in, forwarded_for))
                *to = value ? str_of(value) : STR("");
            break;
        }
    return MHD_YES;
}

static bool request_id_is_fine(struct str s)
{
    if (!s.n || s.n > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
        if (!ok)
            return false;
    }
    return true;
}

/* The address of the client: the right-most address of X-Forwarded-For that is not one of our
 * proxies, and only when the connection itself comes from one. */
static struct ip client_ip(const struct exchange *x)
{
    struct ip ip = x->conn->ip, hop;
    struct str list = x->in.forwarded_for;
    if (!x->conn->is_trusted_proxy)
        return ip;
    while (list.n) {
        size_t at = list.n;
        while (at > 0 && list.p[at - 1] != ',')
            at--;
        if (!ip_parse(str_trim(str_sub(list, at, list.n - at)), &hop))
            break;
        ip = hop;
        if (!cidrs_match(x->srv->trusted, &hop))
            break;
        list = str_sub(list, 0, at ? at - 1 : 0);
    }
    return ip;
}

static int64_t body_max(const struct exchange *x)
{
    unsigned flags = x->rq.route ? x->rq.route->flags : 0;
    return flags & ROUTE_UPLOAD ? x->srv->conf->attachment_max_mb << 20
           : flags & ROUTE_RAW  ? x->srv->conf->hook_body_max_kb << 10
                                : (int64_t)BODY_MAX;
}

/* A body that is somewhat too large is read and forgotten before the 413: closing under a sender
 * that does not listen yet would reset the connection and lose the answer. Who asks first (Expect)
 * or sends far more is refused at once. */
static enum err_code framing_check(struct exchange *x)
{
    const struct headers_in *in = &x->in;
    int64_t length = 0;
    x->must_close = true;
    if (in->n_host > 1 || (!in->n_host && !x->is_http10)) /* RFC 9112 §3.2 */
        return fail(&x->cx, BAD_REQUEST, "exactly one Host header is needed");
    if (in->n_length > 1)
        return fail(&x->cx, BAD_REQUEST, "more than one Content-Length header");
    if (in->n_encoding > 1 || (in->n_encoding && !in->is_chunked))
        return fail(&x->cx, BAD_REQUEST, "the only Transfer-Encoding understood is chunked");
    if (in->n_encoding && in->n_length)
        return fail(&x->cx, BAD_REQUEST, "Content-Length together with Transfer-Encoding");
    if (in->n_length &&
        (!str_to_i64(in->content_length, &length) || length < 0 || in->content_length.p[0] == '-'))
        return fail(&x->cx, BAD_REQUEST, "Content-Length is not a number");
    int64_t max = body_max(x);
    x->must_close = length > max + DISCARD_MAX || (length > max && in->expect.p);
    if (length > max)
        return fail(&x->cx, TOO_LARGE, "The request body is larger than %lld bytes",
                    (long long)max);
    return ERR_NONE;
}

enum err_code guard_headers(struct exchange *x)
{
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, header_seen, &x->in);
    x->cx.request_id =
        request_id_is_fine(x->in.request_id) ? x->in.request_id : uuid7(&x->cx.arena);
    x->ip = client_ip(x);
    struct buf b;
    buf_init(&b, &x->cx.arena, 64);
    ip_print(&b, &x->ip);
    x->event.ip = buf_view(&b);
    x->event.agent = x->in.user_agent;
    x->rq.if_match = x->in.if_match;
    x->rq.if_none_match = x->in.if_none_match;
    x->rq.content_type = x->in.content_type;
    x->rq.cookie = x->in.cookie;
    x->rq.is_secure = x->srv->tls || str_starts(x->srv->conf->public_url, STR("https://"));
    x->rq.caller.ip = x->event.ip;
    x->rq.caller.agent = x->event.agent.p ? x->event.agent : STR("");
    return framing_check(x);
}

/* ---- route and token ---- */

/* The usage log keeps pointers to static text only. */
static const char *method_word(struct str method)
{
    static const char *const words[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(method, str_of(words[i])))
            return words[i];
    return "OTHER";
}

/* Room for the body, its growing, and what is made of it. */
static void raw_prepare(struct exchange *x)
{
    size_t max = (size_t)body_max(x);
    x->body.max = max;
    x->cx.arena.cap += 6 * max;
}

void guard_find(struct exchange *x)
{
    struct req *rq = &x->rq;
    rq->route = router_find(rq->method, rq->path, rq->params, &x->allow, &x->cx.arena);
    if (rq->route && rq->route->flags & ROUTE_RAW)
        raw_prepare(x);
}

enum err_code guard_route(struct exchange *x)
{
    struct req *rq = &x->rq;
    if (rq->route) {
        x->event.endpoint = rq->route->path;
        x->event.method = rq->route->method;
        x->is_counted = !(rq->route->flags & ROUTE_PUBLIC);
        x->rp.status = rq->route->status;
        return ERR_NONE;
    }
    x->is_counted = !str_eq(rq->method, STR("OPTIONS"));
    x->event.method = method_word(rq->method);
    if (x->allow.n)
        return ctx_fail_plain(&x->cx, ERR_METHOD_NOT_ALLOWED);
    return fail(&x->cx, NOT_FOUND, "There is nothing at this path");
}

static bool bearer(struct str header, struct str *secret)
{
    if (header.n < 8 || !str_eq_nocase(str_sub(header, 0, 7), STR("Bearer ")))
        return false;
    *secret = str_trim(str_sub(header, 7, header.n - 7));
    return true;
}

/* A key acts in its own team. Naming that one by its slug is allowed: identity's read says whether
 * it is. */
static enum err_code key_team(struct exchange *x)
{
    if (!x->in.team.n || str_eq_nocase(x->in.team, x->rq.caller.team_id))
        return ERR_NONE;
    if (x->in.team.n > TEAM_SLUG_MAX || !str_is_utf8(x->in.team))
        return fail(&x->cx, NOT_FOUND, "This key has no such team");
    x->names_slug = true;
    return ERR_NONE;
}

enum err_code guard_auth(struct exchange *x)
{
    const struct route *r = x->rq.route;
    if (!x->in.authorization.p)
        return ctx_fail_plain(&x->cx, ERR_MISSING_TOKEN);
    struct auth_query q = {
        .ip = x->ip,
        .method = r ? r->method : "",
        .route_path = r ? r->path : "",
        .path = x->rq.path,
        .need = r ? r->scope : 0,
        .is_counted = true,
    };
    if (!bearer(x->in.authorization, &q.secret))
        q.secret = STR("");
    struct caller *who = &x->rq.caller;
    enum err_code e = token_dir_auth(&x->cx, x->srv->app->tokens, &q, who, &x->limit);
    who->ip = x->event.ip;
    who->agent = x->event.agent.p ? x->event.agent : STR("");
    who->is_own_only = r && r->flags & ROUTE_V0;
    x->event.team_id = who->team_id;
    x->event.token_id = who->token_id;
    if (!e && r && r->flags & ROUTE_USER)
        return ctx_fail_plain(&x->cx, ERR_USER_REQUIRED);
    return e ? e : key_team(x);
}

/* ---- input ---- */

/* Percent and plus decoding of one part of the query (application/x-www-form-urlencoded). */
static bool form_decode(struct arena *a, struct str in, struct str *out)
{
    char *p = arena_alloc(a, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            unsigned char byte;
            if (i + 2 >= in.n || !hex_parse(str_sub(in, i + 1, 2), &byte, 1) || !byte)
                return false;
            c = (char)byte;
            i += 2;
        }
        p[n++] = c;
    }
    p[n] = 0;
    *out = (struct str){ p, n };
    return str_is_utf8(*out);
}

static enum err_code guard_query(struct exchange *x)
{
    const struct rec *r = x->rq.route->query;
    struct rec_param params[QUERY_PARAMS_MAX];
    size_t n = 0;
    struct str rest = x->rq.query_text;
    if (!r && (x->rq.route->flags & (ROUTE_V0 | ROUTE_PUBLIC)))
        return ERR_NONE;
    while (rest.p && rest.n) {
        struct str value = str_cut(&rest, '&');
        if (!value.n)
            continue;
        struct str name = str_cut(&value, '=');
        if (n == QUERY_PARAMS_MAX)
            return fail(&x->cx, INVALID_PARAMETER, "more than %d query parameters",
                        QUERY_PARAMS_MAX);
        if (!form_decode(&x->cx.arena, name, &params[n].name) ||
            !form_decode(&x->cx.arena, value.p ? value : STR(""), &params[n].value))
            return fail(&x->cx, INVALID_PARAMETER,
                        "the query string has a bad escape or is not UTF-8");
        n++;
    }
    static const struct rec rec_nothing = { .name = "Nothing", .size = sizeof(struct rec_bits) };
    void *out = arena_zalloc(&x->cx.arena, r ? r->size : sizeof(struct rec_bits));
    x->rq.query = out;
    return rec_decode_query(&x->cx, r ? r : &rec_nothing, params, n, out);
}

static bool media_is_json(struct str type)
{
    struct str rest = type;
    struct str t = str_trim(str_cut(&rest, ';'));
    return str_eq_nocase(t, STR("application/json")) ||
           str_eq_nocase(t, STR("application/merge-patch+json"));
}

static enum MHD_Result raw_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct exchange *x = cls;
    (void)kind;
    struct hook_header *h = (struct hook_header *)(uintptr_t)x->rq.headers + x->rq.n_headers++;
    *h = (struct hook_header){ str_of(key), value ? str_of(value) : STR("") };
    return x->rq.n_headers < RAW_HEADERS_MAX ? MHD_YES : MHD_NO;
}

/* Views into libmicrohttpd's memory, valid for the exchange. */
static enum err_code guard_raw(struct exchange *x)
{
    x->rq.headers = ARENA_ARRAY(&x->cx.arena, struct hook_header, RAW_HEADERS_MAX);
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, raw_header, x);
    if (x->body.over)
        return fail(&x->cx, TOO_LARGE, "The request body is larger than %lld bytes",
                    (long long)body_max(x));
    x->rq.raw = x->body.n ? buf_view(&x->body) : STR("");
    return ERR_NONE;
}

static enum err_code guard_body(struct exchange *x)
{
    const struct route *r = x->rq.route;
    bool is_v0 = r->flags & ROUTE_V0;
    if (r->flags & ROUTE_RAW)
        return guard_raw(x);
    if (!r->body && !(r->flags & ROUTE_ARRAY_BODY))
        return ERR_NONE;
    if (!is_v0 && x->in.content_type.n && !media_is_json(x->in.content_type))
        return ctx_fail_plain(&x->cx, ERR_UNSUPPORTED_MEDIA);
    if (x->body.over)
        return fail(&x->cx, TOO_LARGE, "The request body is larger than %zu bytes", BODY_MAX);
    if (!x->body.n)
        return fail(&x->cx, INVALID_JSON, "The body is empty; a JSON object is needed");
    x->rq.json = json_read(&x->cx, buf_view(&x->body));
    if (!x->rq.json)
        return x->cx.err;
    if (x->srv->conf->usage_payload && x->is_counted)
        x->event.payload = usage_redact(&x->cx, x->rq.json, buf_view(&x->body));
    if (!r->body)
        return ERR_NONE;
    void *out = arena_zalloc(&x->cx.arena, r->body->size);
    x->rq.body = out;
    return rec_decode(&x->cx, r->body, x->rq.json, r->body_mode, STR_NONE, out);
}

static enum err_code guard_idempotency(struct exchange *x)
{
    struct str key = x->in.idempotency_key;
    struct arena *a = &x->cx.arena;
    if (!key.p || !route_keeps_answer(x->rq.route))
        return ERR_NONE;
    bool is_fine = key.n >= 1 && key.n <= IDEM_KEY_MAX;
    for (size_t i = 0; is_fine && i < key.n; i++)
        is_fine = key.p[i] >= 0x20 && key.p[i] < 0x7f;
    if (!is_fine)
        return fail(&x->cx, BAD_REQUEST,
                    "Idempotency-Key must be 1 to %d printable ASCII characters", IDEM_KEY_MAX);
    x->idem.key = key;
    x->idem.route = str_printf(a, "POST " STR_FMT, STR_ARG(x->rq.path));
    crypt_sha256(buf_view(&x->body), x->idem.fingerprint);
    x->idem_who = x->rq.caller;
    if (x->rq.route->flags & ROUTE_TEAMLESS) /* the user's teams may change between two tries */
        x->idem_who.team_id = STR("");
    x->has_idem = true;
    if (!idem_enter(&x->idem_who, &x->idem, &x->claim)) {
        x->cx.retry_after_s = 1;
        return ctx_fail_plain(&x->cx, ERR_IDEMPOTENCY_RUNNING);
    }
    x->has_claim = true;
    return ERR_NONE;
}

enum err_code guard_input(struct exchange *x)
{
    enum err_code e = guard_query(x);
    if (!e)
        e = guard_body(x);
    if (!e)
        e = guard_idempotency(x);
    return e;
}
