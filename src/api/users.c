/* /v1/users: who is in the team. A user exists once on the server; here it is added to the team
 * that the request acts in, given a role, taken out of it. */
#include "routes.h"

#include "../core/people/mail.h"
#include "../core/people/member.h"
#include "../core/people/reset.h"
#include "../core/people/team.h"
#include "page.h"
#include "settings.h"

#define TAG "Users"

static enum err_code list(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct page page;
    enum err_code e = member_list(cx, db, &rq->caller, rq->query, rq->app->cursor_key, &page);
    if (!e)
        page_put(cx, rq, rp, &rec_member, &page);
    return e;
}

static enum err_code get(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct user u;
    enum err_code e = member_get(cx, db, &rq->caller, rq->params[0], &u);
    if (!e)
        rec_encode(&rp->body, &rec_member, &u);
    return e;
}

/* ---- adding ---- */

struct add_job {
    const struct caller *who;
    const struct member_new *in;
    struct user user;
    struct team team;
    struct str token;
};

static enum err_code add_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct add_job *j = arg;
    caller_scope(db, j->who);
    enum err_code e = team_get(cx, db, j->who, j->who->team_id, &j->team);
    return e ? e : member_add(cx, db, j->who, j->in, &j->user, &j->token);
}

/* The order's note: the link, a line end, the name of the team. */
static enum err_code invitation(struct ctx *cx, const struct mail_order *order, struct mail *out)
{
    struct str team = order->note;
    struct str url = str_cut(&team, '\n');
    out->subject = str_printf(&cx->arena, "You are invited to " STR_FMT, STR_ARG(team));
    out->text = str_printf(&cx->arena,
                           "Hello,\n\nyou were added to the team \"" STR_FMT
                           "\". Choose a password here; the link works once and for 7 "
                           "days:\n\n" STR_FMT
                           "\n\nIf you did not expect this, you need not do anything.\n",
                           STR_ARG(team), STR_ARG(url));
    return ERR_NONE;
}

static void invite(struct ctx *cx, const struct app *app, struct add_job *j)
{
    struct user *u = &j->user;
    u->invite_url = reset_url(&cx->arena, app->conf->public_url, j->token);
    REC_SET(u, invite_url);
    if (!app->mailer)
        return;
    struct mail_order order = { .write = invitation,
                                .to = u->email,
                                .note = str_printf(&cx->arena, STR_FMT "\n" STR_FMT,
                                                   STR_ARG(u->invite_url), STR_ARG(j->team.name)) };
    mailer_post(app->mailer, &order);
}

static enum err_code add(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct add_job j = { .who = &rq->caller, .in = rq->body };
    (void)db;
    enum err_code e = store_tx(cx, rq->app->store, add_unit, &j);
    if (e)
        return e;
    if (j.token.p)
        invite(cx, rq->app, &j);
    reply_header(rp, "Location", str_printf(&cx->arena, "/v1/users/" STR_FMT, STR_ARG(j.user.id)));
    rec_encode(&rp->body, &rec_member_new, &j.user);
    return ERR_NONE;
}

/* ---- changing ---- */

static enum err_code update(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct member_patch *in = rq->body;
    struct user u;
    enum err_code e = REC_HAS(in, role)
                          ? member_set_role(cx, db, &rq->caller, rq->params[0], in->role, &u)
                          : member_get(cx, db, &rq->caller, rq->params[0], &u);
    if (!e)
        rec_encode(&rp->body, &rec_member, &u);
    return e;
}

static enum err_code drop(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)rp;
    return member_remove(cx, db, &rq->caller, rq->params[0]);
}

static const struct route routes[] = {
    { .method = "GET",
      .path = "/v1/users",
      .scope = SCOPE(USERS_READ),
      .flags = ROUTE_LIST,
      .run = RUN_READ,
      .status = 200,
      .query = &rec_member_query,
      .reply = &rec_member,
      .handler = list,
      .id = "listUsers",
      .tag = TAG,
      .summary = "List the users of the team" },
    { .method = "POST",
      .path = "/v1/users",
      .scope = SCOPE(USERS_MANAGE),
      .flags = ROUTE_NO_IDEM | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 201,
      .body = &rec_member_body,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_member_new,
      .handler = add,
      .id = "addUser",
      .tag = TAG,
      .summary = "Add a user to the team",
      .doc = "An address that nobody has makes a new user: invite_url, shown only now and mailed "
             "where SMTP is set, lets them choose a password. A user whom the server knows is just "
             "added. Nobody gives a role above their own." },
    { .method = "GET",
      .path = "/v1/users/{user_id}",
      .scope = SCOPE(USERS_READ),
      .run = RUN_READ,
      .status = 200,
      .reply = &rec_member,
      .handler = get,
      .id = "getUser",
      .tag = TAG,
      .summary = "Get a user of the team" },
    { .method = "PATCH",
      .path = "/v1/users/{user_id}",
      .scope = SCOPE(USERS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 200,
      .body = &rec_member_patch,
      .body_mode = REC_REFUSE_UNKNOWN | REC_PATCH,
      .reply = &rec_member,
      .handler = update,
      .id = "updateUser",
      .tag = TAG,
      .summary = "Change a user's role",
      .doc = "Only owners make, change or remove owners. The last owner stays one (409)." },
    { .method = "DELETE",
      .path = "/v1/users/{user_id}",
      .scope = SCOPE(USERS_MANAGE),
      .flags = ROUTE_CONFLICT,
      .run = RUN_WRITE,
      .status = 204,
      .handler = drop,
      .id = "removeUser",
      .tag = TAG,
      .summary = "Take a user out of the team",
      .doc = "From the next request on the team is closed to them; their account and other teams "
             "stay. The last owner cannot be removed (409)." },
};
const struct route_table routes_users = { routes, sizeof routes / sizeof *routes };
