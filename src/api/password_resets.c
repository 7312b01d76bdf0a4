/* /v1/password-resets: ask for a link that sets a password, and use it.
 *
 * Asking is answered at once and alike whether there is such a user or not: looking, making the
 * link and mailing it happen on the mailer's thread. */
#include "routes.h"

#include "../base/crypt.h"
#include "../core/people/mail.h"
#include "../core/people/reset.h"
#include "../core/people/throttle.h"
#include "../core/people/user.h"
#include "settings.h"

#define TAG "Password resets"
#define PER_ACCOUNT 3 /* mails in the throttle's window */

/* ---- asking ---- */

struct ask_body {
    struct rec_bits bits;
    struct str email;
};
static const struct field ask_fields[] = {
    { "email", F_STR, offsetof(struct ask_body, email), F_REQUIRED | F_SINGLE_LINE, 1,
      USER_EMAIL_MAX, NULL, "E-mail address of the account", "\"ann@example.com\"" },
};
static const struct rec rec_ask =
    REC("PasswordResetAsk", struct ask_body, ask_fields, "Whose password is to be set anew.");

struct asked {
    struct rec_bits bits;
    struct str message;
};
static const struct field asked_fields[] = {
    { "message", F_STR, offsetof(struct asked, message), 0, 0, 0, NULL, "What happens next", NULL },
};
static const struct rec rec_asked =
    REC("PasswordResetAsked", struct asked, asked_fields, "The same for every address.");

struct link_job {
    struct str email, token;
};

static enum err_code link_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct link_job *j = arg;
    struct user u;
    enum err_code e = user_by_email(cx, db, j->email, &u);
    if (!e && !str_eq(u.status, STR("active")))
        return ERR_NOT_FOUND;
    return e ? e : reset_issue(cx, db, u.id, RESET_PASSWORD, &j->token);
}

static enum err_code reset_mail(struct ctx *cx, const struct mail_order *order, struct mail *out)
{
    const struct app *app = order->arg;
    struct link_job j = { .email = order->to };
    enum err_code e = store_tx(cx, app->store, link_unit, &j);
    if (e)
        return e;
    struct str url = reset_url(&cx->arena, app->conf->public_url, j.token);
    out->subject = STR("Set a new password");
    out->text = str_printf(&cx->arena,
                           "Hello,\n\na new password was asked for your account. Choose it here; "
                           "the link works once and for one hour:\n\n" STR_FMT
                           "\n\nIf it was not you, you need not do anything: your password is "
                           "as it was.\n",
                           STR_ARG(url));
    return ERR_NONE;
}

static enum err_code ask(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct ask_body *in = rq->body;
    const struct app *app = rq->app;
    struct str email = user_email_key(&cx->arena, in->email);
    (void)db;
    enum err_code e =
        throttle_address(cx, app->throttle, "reset asked", rq->caller.ip, app->conf->sign_in_limit);
    if (e)
        return e;
    bool is_fine = !user_check_email(cx, email);
    ctx_clear(cx);
    if (is_fine && throttle_text(app->throttle, "reset mailed", email, PER_ACCOUNT))
        mailer_post(app->mailer,
                    &(struct mail_order){ .write = reset_mail, .arg = app, .to = email });
    struct asked out = { .message =
                             STR("If there is such an account, a link is on its way to it") };
    REC_SET(&out, message);
    rec_encode(&rp->body, &rec_asked, &out);
    return ERR_NONE;
}

/* ---- using ---- */

struct confirm_body {
    struct rec_bits bits;
    struct str token, new_password;
};
static const struct field confirm_fields[] = {
    { "token", F_STR, offsetof(struct confirm_body, token), F_REQUIRED | F_SECRET, 1, 200, NULL,
      "What the link has behind token=", NULL },
    { "new_password", F_STR, offsetof(struct confirm_body, new_password), F_REQUIRED | F_SECRET,
      USER_PASSWORD_MIN, USER_PASSWORD_MAX, NULL, "The password from now on", NULL },
};
static const struct rec rec_confirm =
    REC("PasswordResetConfirm", struct confirm_body, confirm_fields, "A link and a new password.");

struct confirm_job {
    const struct caller *who;
    struct str token, hash;
};

static enum err_code check_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct confirm_job *j = arg;
    return reset_check(cx, db, j->token);
}

static enum err_code use_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct confirm_job *j = arg;
    return reset_use(cx, db, j->who, j->token, j->hash);
}

static enum err_code confirm(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct confirm_body *in = rq->body;
    const struct app *app = rq->app;
    struct confirm_job j = { .who = &rq->caller, .token = in->token };
    (void)db, (void)rp;
    enum err_code e = throttle_address(cx, app->throttle, "reset used", rq->caller.ip,
                                       app->conf->sign_in_limit * THROTTLE_WIDE);
    if (!e)
        e = store_read(cx, app->store, check_unit, &j);
    if (e)
        return e;
    j.hash = password_hash(&cx->arena, in->new_password);
    return store_tx(cx, app->store, use_unit, &j);
}

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/password-resets",
      .flags = ROUTE_PUBLIC | ROUTE_THROTTLED,
      .run = RUN_NOW,
      .status = 202,
      .body = &rec_ask,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_asked,
      .handler = ask,
      .id = "askPasswordReset",
      .tag = TAG,
      .summary = "Ask for a reset link",
      .doc = "Mails a link that works once within an hour, when there is such an account and SMTP "
             "is set; the answer is the same otherwise. Without SMTP an operator prints the link: "
             "tessera user reset-link." },
    { .method = "POST",
      .path = "/v1/password-resets/confirm",
      .flags = ROUTE_PUBLIC | ROUTE_THROTTLED | ROUTE_CONFLICT,
      .run = RUN_SLOW,
      .status = 204,
      .body = &rec_confirm,
      .body_mode = REC_REFUSE_UNKNOWN,
      .handler = confirm,
      .id = "confirmPasswordReset",
      .tag = TAG,
      .summary = "Set a password by a link",
      .doc = "For links of resets and of invitations. All sessions and other links of the user "
             "end. The second factor stays." },
};
const struct route_table routes_password_resets = { routes, sizeof routes / sizeof *routes };
