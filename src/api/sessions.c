/* /v1/sessions: signing in and out, and the sessions of the signed-in user.
 *
 * The secret of a session travels in a cookie that scripts cannot read; the CSRF token, which the
 * answer shows, proves that a request is not another site's. */
#include "routes.h"

#include "../base/json.h"
#include "../core/people/identity.h"
#include "../core/people/sign_in.h"
#include "../core/people/team.h"
#include "page.h"
#include "settings.h"

#define TAG "Sessions"
#define LISTED_MAX ((size_t)1 << 20) /* bytes of a user's teams as JSON */

/* ---- signing in ---- */

struct sign_in_body {
    struct rec_bits bits;
    struct str email, password, totp_code, recovery_code;
};
#define IN(member) offsetof(struct sign_in_body, member)
static const struct field sign_in_fields[] = {
    { "email", F_STR, IN(email), F_REQUIRED, 1, USER_EMAIL_MAX, NULL, "E-mail address",
      "\"ann@example.com\"" },
    { "password", F_STR, IN(password), F_REQUIRED | F_SECRET, 1, USER_PASSWORD_MAX, NULL,
      "Password", "\"correct horse battery\"" },
    { "totp_code", F_STR, IN(totp_code), F_SECRET, 1, 20, NULL,
      "Code of the authenticator app, when the account has a second factor", "\"492039\"" },
    { "recovery_code", F_STR, IN(recovery_code), F_SECRET, 1, 40, NULL,
      "A recovery code in place of totp_code", NULL },
};
static const struct rec rec_sign_in =
    REC("SignIn", struct sign_in_body, sign_in_fields, "Who signs in.");

struct signed_in_reply {
    struct rec_bits bits;
    struct str session, user, teams, csrf_token;
};
#define OUT(member) offsetof(struct signed_in_reply, member)
static const struct field signed_in_fields[] = {
    { "session", F_REC, OUT(session), 0, 0, 0, NULL, "The new session", NULL, &rec_session },
    { "user", F_REC, OUT(user), 0, 0, 0, NULL, "Who signed in", NULL, &rec_user },
    { "teams", F_RECS, OUT(teams), 0, 0, 0, NULL, "The user's teams and the role in each", NULL,
      &rec_team },
    { "csrf_token", F_STR, OUT(csrf_token), 0, 0, 0, NULL,
      "To be sent as X-CSRF-Token with every request of this session that changes something",
      NULL },
};
static const struct rec rec_signed_in =
    REC("SignedIn", struct signed_in_reply, signed_in_fields, "A session that began.");

static struct str json_of(struct ctx *cx, const struct rec *r, const void *obj)
{
    struct buf b;
    buf_init(&b, &cx->arena, LISTED_MAX);
    rec_encode(&b, r, obj);
    return buf_view(&b);
}

static struct str teams_json(struct ctx *cx, const struct list *teams)
{
    const struct team *v = teams->v;
    struct buf b;
    buf_init(&b, &cx->arena, LISTED_MAX);
    for (size_t i = 0; i < teams->n; i++) {
        buf_char(&b, i ? ',' : '[');
        rec_encode(&b, &rec_team, &v[i]);
    }
    buf_lit(&b, teams->n ? "]" : "[]");
    return buf_view(&b);
}

static void put_cookie(struct ctx *cx, const struct req *rq, struct reply *rp, const char *name,
                       struct str value, int64_t age_s)
{
    reply_header(rp, "Set-Cookie",
                 str_printf(&cx->arena,
                            "%s=" STR_FMT "; Path=/; Max-Age=%lld; HttpOnly; "
                            "SameSite=Lax%s",
                            name, STR_ARG(value), (long long)age_s,
                            rq->is_secure ? "; Secure" : ""));
}

static void put_signed_in(struct ctx *cx, const struct req *rq, struct reply *rp,
                          const struct signed_in *in)
{
    const struct conf *conf = rq->app->conf;
    struct str device = throttle_device(rq->app->throttle, &cx->arena, in->account);
    struct signed_in_reply out = { .bits.has = ~UINT64_C(0),
                                   .session = json_of(cx, &rec_session, &in->session),
                                   .user = json_of(cx, &rec_user, &in->user),
                                   .teams = teams_json(cx, &in->teams),
                                   .csrf_token = identity_csrf(&cx->arena, in->secret) };
    put_cookie(cx, rq, rp, SESSION_COOKIE, in->secret, conf->session_max_hours * 3600);
    put_cookie(cx, rq, rp, DEVICE_COOKIE, device, (int64_t)DEVICE_DAYS * 86400);
    rec_encode(&rp->body, &rec_signed_in, &out);
}

static enum err_code create(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct sign_in_body *body = rq->body;
    struct signed_in done = { .secret = STR_NONE };
    struct sign_in in = { .email = body->email,
                          .password = body->password,
                          .totp_code = body->totp_code,
                          .recovery_code = body->recovery_code,
                          .device = identity_cookie(rq->cookie, STR(DEVICE_COOKIE)),
                          .max_ms = rq->app->conf->session_max_hours * HOUR_MS,
                          .who = &rq->caller };
    (void)db;
    /* A page of another site can post without saying what, but not say application/json. */
    if (!rq->content_type.n)
        return ctx_fail_plain(cx, ERR_UNSUPPORTED_MEDIA);
    enum err_code e = sign_in(cx, rq->app->store, rq->app->throttle, &in, &done);
    if (!e)
        put_signed_in(cx, rq, rp, &done);
    return e;
}

/* ---- one's own ---- */

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    int64_t idle_ms = rq->app->conf->session_idle_minutes * 60000;
    enum err_code e =
        session_list(cx, db, &rq->caller, idle_ms, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_session, &page);
    return e;
}

static enum err_code end(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return session_end(cx, db, &rq->caller, rq->params[0]);
}

static enum err_code sign_out(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    if (!rq->caller.session_id.p)
        return fail(cx, NOT_FOUND, "This request came without a session");
    put_cookie(cx, rq, rp, SESSION_COOKIE, STR(""), 0);
    return session_end(cx, db, &rq->caller, rq->caller.session_id);
}

#define OWN (ROUTE_USER | ROUTE_TEAMLESS)

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/sessions",
      .flags = ROUTE_PUBLIC | ROUTE_THROTTLED | ROUTE_SIGN_IN | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 201,
      .body = &rec_sign_in,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_signed_in,
      .handler = create,
      .id = "createSession",
      .tag = TAG,
      .summary = "Sign in",
      .doc = "Answers with the cookie tessera_session (HttpOnly, SameSite=Lax, Secure on TLS) and "
             "the CSRF token that belongs to it. 401 invalid_credentials says neither whether the "
             "account exists nor which part was wrong; 401 totp_required asks for a code of the "
             "second factor. After too many failures: 429 with Retry-After." },
    { .method = "GET",
      .path = "/v1/sessions",
      .flags = OWN | ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_list_query,
      .reply = &rec_session,
      .handler = list,
      .id = "listSessions",
      .tag = TAG,
      .summary = "List your sessions",
      .doc = "Where you are signed in. last_seen_at may be a minute old." },
    { .method = "DELETE",
      .path = "/v1/sessions/current",
      .flags = OWN,
      .run = RUN_WRITE,
      .status = 204,
      .handler = sign_out,
      .id = "deleteCurrentSession",
      .tag = TAG,
      .summary = "Sign out",
      .doc = "Ends the session of this request and takes its cookie back." },
    { .method = "DELETE",
      .path = "/v1/sessions/{session_id}",
      .flags = OWN,
      .run = RUN_WRITE,
      .status = 204,
      .handler = end,
      .id = "deleteSession",
      .tag = TAG,
      .summary = "End one of your sessions" },
};
const struct route_table routes_sessions = { routes, sizeof routes / sizeof *routes };
