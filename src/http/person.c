/* Requests of people: a session cookie or a JWT of the outside issuer instead of an API key.
 *
 * What needs no I/O (signature, CSRF token) is judged at the headers; then identity_resolve reads
 * who that is and in which team, still before the body: on SQLite at once, on PostgreSQL while the
 * request is suspended. The first request of somebody the issuer vouches for may need a write.
 * Requests of people are not in the usage log and not in the rate limits, which are about keys. */
#include "../base/clock.h"
#include "exchange.h"

#define MINUTE_TO_MS ((int64_t)60 * 1000)

static bool bearer_jwt(const struct exchange *x, struct str *token)
{
    struct str header = x->in.authorization;
    if (!x->srv->app->jwt || header.n < 8 || !str_eq_nocase(str_sub(header, 0, 7), STR("Bearer ")))
        return false;
    *token = str_trim(str_sub(header, 7, header.n - 7));
    return jwt_is_like(*token);
}

bool person_is_meant(struct exchange *x)
{
    const struct route *r = x->rq.route;
    struct str token;
    if (!r || r->flags & (ROUTE_V0 | ROUTE_PUBLIC))
        return false;
    if (x->in.authorization.p)
        return bearer_jwt(x, &token);
    x->ask.session = identity_cookie(x->in.cookie, STR(SESSION_COOKIE));
    return x->ask.session.p != NULL;
}

enum err_code person_prove(struct exchange *x)
{
    struct str token = STR_NONE;
    bool is_safe = str_eq(x->rq.method, STR("GET")) || str_eq(x->rq.method, STR("HEAD"));
    x->is_counted = false;
    x->ask.team = x->in.team;
    x->ask.is_teamless = x->rq.route->flags & ROUTE_TEAMLESS;
    x->ask.jwt_role = x->srv->conf->jwt_role;
    x->ask.idle_ms = x->srv->conf->session_idle_minutes * MINUTE_TO_MS;
    if (x->in.authorization.p) {
        bearer_jwt(x, &token);
        x->ask.claims = &x->claims;
        return jwt_verify(&x->cx, x->srv->app->jwt, token, &x->claims);
    }
    if (!is_safe && !identity_csrf_is(x->ask.session, x->in.csrf_token))
        return ctx_fail_plain(&x->cx, ERR_CSRF_INVALID);
    return ERR_NONE;
}

static enum err_code slug_of_key(struct ctx *cx, struct db *db, const struct exchange *x)
{
    struct rec_num found;
    caller_scope(db, &x->rq.caller);
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT 1 AS n FROM team WHERE id = $1 AND slug = $2",
               ARGS(VT(x->rq.caller.team_id), VT(x->in.team)), &found);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "This key has no such team") : e;
}

static enum err_code resolve_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct exchange *x = arg;
    if (x->names_slug)
        return slug_of_key(cx, db, x);
    x->rq.caller =
        (struct caller){ .ip = x->event.ip, .agent = x->event.agent.p ? x->event.agent : STR("") };
    x->ask.wants_write = false;
    return identity_resolve(cx, db, &x->ask, &x->rq.caller);
}

static void resolve_done(struct unit *u, enum err_code e)
{
    struct exchange *x = u->arg;
    x->err = e;
    if (!e && x->ask.wants_write && !x->ask.may_write) {
        x->ask.may_write = true;
        store_submit(x->srv->app->store, u, 0);
        return;
    }
    exchange_resume(x, X_IDENTIFIED);
}

bool person_resolve(struct exchange *x, bool *is_known)
{
    struct store *store = x->srv->app->store;
    x->unit = (struct unit){ .fn = resolve_unit, .done = resolve_done, .cx = &x->cx, .arg = x };
    if (!store_reads_inline(store)) {
        if (!exchange_suspend(x))
            return false;
        store_submit_read(store, &x->unit);
        return true;
    }
    x->err = store_read(&x->cx, store, resolve_unit, x);
    *is_known = x->err || !x->ask.wants_write;
    if (*is_known)
        return true;
    x->ask.may_write = true;
    if (!exchange_suspend(x))
        return false;
    store_submit(store, &x->unit, 0);
    return true;
}

/* The team's or the user's word on this call, once both are known. */
static enum err_code person_may(struct exchange *x)
{
    const struct caller *who = &x->rq.caller;
    uint64_t need = x->rq.route->scope;
    if (!need || scope_granted(who->scopes, need))
        return ERR_NONE;
    return fail(&x->cx, INSUFFICIENT_ROLE,
                "Your role in this team is " STR_FMT "; this call needs " STR_FMT,
                STR_ARG(role_word(who->role)), STR_ARG(role_word(role_least(need))));
}

void person_known(struct exchange *x)
{
    if (!x->err && x->ask.wants_write)
        x->err = ctx_fail_plain(&x->cx, ERR_INVALID_TOKEN);
    if (!x->err && !x->names_slug) /* a key's scopes were looked at before */
        x->err = person_may(x);
    if (!x->err && x->rq.caller.session_id.p)
        identity_seen(x->rq.caller.session_id, clock_ms());
}
