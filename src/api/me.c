/* /v1/me: the signed-in user: who it is, its name, its password. */
#include "routes.h"

#include "../base/crypt.h"
#include "../core/people/identity.h"
#include "../core/people/sign_in.h"
#include "../core/people/team.h"

#define TAG "Me"
#define JSON_MAX ((size_t)1 << 20)

struct me {
    struct rec_bits bits;
    struct str user, teams, team, csrf_token;
};
#define ME(member) offsetof(struct me, member)
static const struct field me_fields[] = {
    { "user", F_REC, ME(user), 0, 0, 0, NULL, "You", NULL, &rec_user },
    { "teams", F_RECS, ME(teams), 0, 0, 0, NULL, "Your teams and your role in each", NULL,
      &rec_team },
    { "team", F_REC, ME(team), F_NULLABLE, 0, 0, NULL,
      "The team this request acts in: the one that Tessera-Team names, or your only one", NULL,
      &rec_team },
    { "csrf_token", F_STR, ME(csrf_token), F_NULLABLE, 0, 0, NULL,
      "To be sent as X-CSRF-Token with every request of this session that changes something; null "
      "without a session",
      NULL },
};
static const struct rec rec_me = REC("Me", struct me, me_fields, "The signed-in user.");

static struct str json_of(struct ctx *cx, const struct rec *r, const void *obj)
{
    struct buf b;
    buf_init(&b, &cx->arena, JSON_MAX);
    rec_encode(&b, r, obj);
    return buf_view(&b);
}

static void put_teams(struct ctx *cx, const struct caller *who, const struct list *teams,
                      struct me *out)
{
    const struct team *v = teams->v;
    struct buf b;
    buf_init(&b, &cx->arena, JSON_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < teams->n; i++) {
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, &rec_team, &v[i]);
        if (who->team_id.p && str_eq(v[i].id, who->team_id)) {
            out->team = json_of(cx, &rec_team, &v[i]);
            REC_SET(out, team);
        }
    }
    buf_char(&b, ']');
    out->teams = buf_view(&b);
    REC_SET(out, teams);
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct caller *who = &rq->caller;
    struct list_query all = { .limit = TEAMS_OF_USER_MAX };
    struct me out = { .user = STR_NONE };
    struct page teams;
    struct user u;
    enum err_code e = user_by_id(cx, db, who->user_id, &u);
    if (!e)
        e = team_list(cx, db, who, &all, rq->app->cursor_key, &teams);
    caller_scope(db, who);
    if (e)
        return e == ERR_NOT_FOUND ? ctx_fail_plain(cx, ERR_INVALID_TOKEN) : e;
    out.user = json_of(cx, &rec_user, &u);
    REC_SET(&out, user);
    put_teams(cx, who, &teams.rows, &out);
    if (who->session_id.p) {
        out.csrf_token =
            identity_csrf(&cx->arena, identity_cookie(rq->cookie, STR(SESSION_COOKIE)));
        REC_SET(&out, csrf_token);
    }
    rec_encode(&rp->body, &rec_me, &out);
    return ERR_NONE;
}

/* ---- name ---- */

struct me_patch {
    struct rec_bits bits;
    struct str name;
};
static const struct field patch_fields[] = {
    { "name", F_STR, offsetof(struct me_patch, name), F_SINGLE_LINE | F_REQUIRED, 1, USER_NAME_MAX,
      NULL, "Shown name", "\"Ann\"" },
};
static const struct rec rec_me_patch =
    REC("MePatch", struct me_patch, patch_fields, "Changes to yourself (JSON merge patch).");

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct me_patch *in = rq->body;
    struct user u;
    enum err_code e = REC_HAS(in, name) ? user_rename(cx, db, &rq->caller, in->name, &u)
                                        : user_by_id(cx, db, rq->caller.user_id, &u);
    caller_scope(db, &rq->caller);
    if (!e)
        rec_encode(&rp->body, &rec_user, &u);
    return e;
}

/* ---- password ---- */

struct password_body {
    struct rec_bits bits;
    struct str current_password, new_password;
};
static const struct field password_fields[] = {
    { "current_password", F_STR, offsetof(struct password_body, current_password),
      F_REQUIRED | F_SECRET, 1, USER_PASSWORD_MAX, NULL, "The password so far", NULL },
    { "new_password", F_STR, offsetof(struct password_body, new_password), F_REQUIRED | F_SECRET,
      USER_PASSWORD_MIN, USER_PASSWORD_MAX, NULL, "The password from now on", NULL },
};
static const struct rec rec_password =
    REC("PasswordChange", struct password_body, password_fields, "A new password.");

struct password_job {
    const struct caller *who;
    struct user_password in;
};

static enum err_code password_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct password_job *j = arg;
    return user_set_password(cx, db, j->who, &j->in);
}

static enum err_code change_password(struct ctx *cx, struct req *rq, struct db *db,
                                     struct reply *rp)
{
    const struct password_body *body = rq->body;
    const struct app *app = rq->app;
    const struct caller *who = &rq->caller;
    struct password_ask ask = { who, body->current_password, "current_password" };
    struct str old;
    (void)db, (void)rp;
    enum err_code e = password_again(cx, app->store, app->throttle, &ask, &old);
    if (e)
        return e;
    struct password_job j = { .who = who,
                              .in = { .user_id = who->user_id,
                                      .hash = password_hash(&cx->arena, body->new_password),
                                      .old_hash = old,
                                      .keep = who->session_id,
                                      .action = "user.password_change" } };
    return store_tx(cx, app->store, password_unit, &j);
}

#define OWN (ROUTE_USER | ROUTE_TEAMLESS)

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/me",
      .flags = OWN,
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_me,
      .handler = get,
      .id = "getMe",
      .tag = TAG,
      .summary = "Who am I",
      .doc = "The signed-in user, the teams, and the CSRF token of the session." },
    { .method = "PATCH",
      .path = "/v1/me",
      .flags = OWN,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_me_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_user,
      .handler = update,
      .id = "updateMe",
      .tag = TAG,
      .summary = "Change your name" },
    { .method = "POST",
      .path = "/v1/me/password",
      .flags = OWN | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 204,
      .body = &rec_password,
      .body_mode = REC_REFUSE_UNKNOWN,
      .handler = change_password,
      .id = "changePassword",
      .tag = TAG,
      .summary = "Change your password",
      .doc = "Needs the current password; wrong ones count as failed sign-ins. All other sessions "
             "of yours end, and so does every reset link." },
};
const struct route_table routes_me = { routes, sizeof routes / sizeof *routes };
