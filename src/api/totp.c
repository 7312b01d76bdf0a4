/* /v1/me/totp and /v1/me/recovery-codes: the second factor of the signed-in user.
 *
 * Codes and passwords are checked on a slow thread, and every wrong one counts as a failed sign-in
 * of the account from this address: who holds a session must not be able to try them all. */
#include "routes.h"

#include "../core/people/identity.h"
#include "../core/people/sign_in.h"
#include "../core/people/totp.h"

#define TAG "Second factor"

struct code_body {
    struct rec_bits bits;
    struct str code;
};
static const struct field code_fields[] = {
    { "code", F_STR, offsetof(struct code_body, code), F_REQUIRED | F_SECRET, TOTP_DIGITS,
      TOTP_DIGITS, NULL, "The code that the authenticator app shows now", "\"492039\"" },
};
static const struct rec rec_code =
    REC("TotpCode", struct code_body, code_fields, "A code of the second factor.");

struct password_body {
    struct rec_bits bits;
    struct str password;
};
static const struct field password_fields[] = {
    { "password", F_STR, offsetof(struct password_body, password), F_REQUIRED | F_SECRET, 1, 1000,
      NULL, "Your password", NULL },
};
static const struct rec rec_password =
    REC("TotpDisable", struct password_body, password_fields, "Proof that it is you.");

/* ---- begin ---- */

static enum err_code begin(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    struct totp_start start;
    enum err_code e = totp_begin(cx, db, &rq->caller, &start);
    caller_scope(db, &rq->caller);
    if (!e)
        rec_encode(&rp->body, &rec_totp_start, &start);
    return e;
}

/* ---- what a code or the password proves ---- */

enum verb { CONFIRM, RENEW, DISABLE };

struct job {
    enum verb verb;
    const struct caller *who;
    struct str code;
    bool ok;
    struct recovery_codes codes;
};

static enum err_code job_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    switch (j->verb) {
    case CONFIRM: return totp_confirm(cx, db, j->who, j->code, &j->ok, &j->codes);
    case RENEW: return recovery_renew(cx, db, j->who, j->code, &j->ok, &j->codes);
    case DISABLE: return totp_disable(cx, db, j->who, j->who->user_id);
    }
    return ERR_INTERNAL;
}

static enum err_code by_code(struct ctx *cx, struct req *rq, enum verb verb, struct reply *rp)
{
    const struct code_body *in = rq->body;
    struct job j = { .verb = verb, .who = &rq->caller, .code = in->code };
    struct attempt attempt = { .account = rq->caller.user_email,
                               .ip = rq->caller.ip,
                               .device = identity_cookie(rq->cookie, STR(DEVICE_COOKIE)) };
    enum err_code e = throttle_enter(cx, rq->app->throttle, &attempt);
    if (e)
        return e;
    e = store_tx(cx, rq->app->store, job_unit, &j);
    if (e || j.ok)
        throttle_undo(rq->app->throttle, &attempt);
    if (e)
        return e;
    if (!j.ok)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("code"), "code is wrong or was used");
    rec_encode(&rp->body, &rec_recovery_codes, &j.codes);
    return ERR_NONE;
}

static enum err_code confirm(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return by_code(cx, rq, CONFIRM, rp);
}

static enum err_code renew(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    (void)db;
    return by_code(cx, rq, RENEW, rp);
}

static enum err_code disable(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp)
{
    const struct password_body *in = rq->body;
    struct job j = { .verb = DISABLE, .who = &rq->caller };
    struct password_ask ask = { &rq->caller, in->password, "password" };
    struct str hash;
    (void)db, (void)rp;
    enum err_code e = password_again(cx, rq->app->store, rq->app->throttle, &ask, &hash);
    return e ? e : store_tx(cx, rq->app->store, job_unit, &j);
}

#define FLAGS (ROUTE_USER | ROUTE_TEAMLESS | ROUTE_NO_IDEM | ROUTE_CONFLICT)

static const struct route routes[] = {
    { .method = "POST",
      .path = "/v1/me/totp",
      .flags = FLAGS,
      .run = RUN_WRITE,
      .status = 200,
      .reply = &rec_totp_start,
      .handler = begin,
      .id = "beginTotp",
      .tag = TAG,
      .summary = "Begin a second factor",
      .doc = "A new secret for an authenticator app (RFC 6238: SHA-1, 6 digits, 30 seconds), shown "
             "once. Nothing changes until it is confirmed within 30 minutes. 409 when a second "
             "factor is on, when the account has no password, or when the server has no "
             "master_key." },
    { .method = "POST",
      .path = "/v1/me/totp/confirm",
      .flags = FLAGS,
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_code,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_recovery_codes,
      .handler = confirm,
      .id = "confirmTotp",
      .tag = TAG,
      .summary = "Switch the second factor on",
      .doc = "Takes a code of the secret that was begun. From now on signing in needs a code. The "
             "answer has ten recovery codes, each good for one sign-in, shown only now." },
    { .method = "POST",
      .path = "/v1/me/totp/disable",
      .flags = FLAGS,
      .run = RUN_SLOW,
      .status = 204,
      .body = &rec_password,
      .body_mode = REC_REFUSE_UNKNOWN,
      .handler = disable,
      .id = "disableTotp",
      .tag = TAG,
      .summary = "Switch the second factor off",
      .doc = "Needs your password. The recovery codes end too." },
    { .method = "POST",
      .path = "/v1/me/recovery-codes",
      .flags = FLAGS,
      .run = RUN_SLOW,
      .status = 200,
      .body = &rec_code,
      .body_mode = REC_REFUSE_UNKNOWN,
      .reply = &rec_recovery_codes,
      .handler = renew,
      .id = "renewRecoveryCodes",
      .tag = TAG,
      .summary = "Make new recovery codes",
      .doc = "Ten new ones, shown only now; the old ones end." },
};
const struct route_table routes_totp = { routes, sizeof routes / sizeof *routes };
