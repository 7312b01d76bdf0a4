/* Signing in: see sign_in.h. */
#include "sign_in.h"

#include <pthread.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "team.h"
#include "totp.h"

/* ---- the password ---- */

static pthread_once_t dummy_once = PTHREAD_ONCE_INIT;
static char dummy_text[256]; /* a hash that no password has; once */

static void dummy_make(void)
{
    unsigned char raw[SHA256_LEN];
    struct arena a;
    arena_init(&a, 16384);
    crypt_random(raw, sizeof raw);
    struct str hash = password_hash(&a, (struct str){ (const char *)raw, sizeof raw });
    BUG_IF(hash.n >= sizeof dummy_text);
    for (size_t i = 0; i < hash.n; i++)
        dummy_text[i] = hash.p[i];
    arena_done(&a);
}

/* The same work whether there is a hash or not. */
static bool password_is(struct str hash, struct str password)
{
    pthread_once(&dummy_once, dummy_make);
    bool is_right = password_verify(hash.n ? hash : str_of(dummy_text), password);
    return is_right && hash.n;
}

/* ---- units ---- */

struct job {
    const struct sign_in *in;
    struct signed_in *out;
    struct str user_id;
};

static enum err_code find_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    struct signed_in *out = j->out;
    enum err_code e = j->user_id.p ? user_by_id(cx, db, j->user_id, &out->user)
                                   : user_by_email(cx, db, j->in->email, &out->user);
    if (e == ERR_NOT_FOUND)
        out->user = (struct user){ .status = STR("") };
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

static enum err_code check_code(struct ctx *cx, struct db *db, const struct job *j)
{
    struct str id = j->out->user.id;
    bool ok = false;
    enum err_code e = j->in->totp_code.n ? totp_check(cx, db, id, j->in->totp_code, &ok)
                                         : recovery_use(cx, db, id, j->in->recovery_code, &ok);
    return e || ok ? e : ctx_fail_plain(cx, ERR_INVALID_CREDENTIALS);
}

/* The account may have changed since the password was looked at. */
static enum err_code open_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    struct signed_in *out = j->out;
    struct list_query all = { .limit = TEAMS_OF_USER_MAX };
    struct page teams;
    struct rec_num done;
    out->user.last_sign_in_ms = clock_ms();
    REC_SET(&out->user, last_sign_in_ms);
    db_scope_system(db);
    enum err_code e = db_one(
        cx, db, &rec_num,
        "UPDATE app_user SET last_sign_in_ms = $2 WHERE id = $1 AND "
        "status = 'active' AND password_hash = $3 RETURNING CASE WHEN "
        "COALESCE(totp_secret, '') = '' THEN 0 ELSE 1 END AS n",
        ARGS(VT(out->user.id), VI(out->user.last_sign_in_ms), VT(out->user.password_hash)), &done);
    if (e == ERR_NOT_FOUND || (!e && done.n != out->user.totp_enabled))
        return ctx_fail_plain(cx, ERR_INVALID_CREDENTIALS);
    if (!e && out->user.totp_enabled)
        e = check_code(cx, db, j);
    if (!e)
        e = session_open(cx, db, j->in->who, out->user.id, j->in->max_ms, &out->secret,
                         &out->session);
    struct caller who = { .user_id = out->user.id };
    if (!e)
        e = team_list(cx, db, &who, &all, (struct cursor_key){ .b = { 0 } }, &teams);
    if (!e)
        out->teams = teams.rows;
    return e;
}

/* ---- the whole ---- */

static enum err_code judge(struct ctx *cx, struct store *s, struct job *j)
{
    const struct sign_in *in = j->in;
    struct signed_in *out = j->out;
    enum err_code e = store_read(cx, s, find_unit, j);
    if (e)
        return e;
    bool is_right = password_is(out->user.password_hash, in->password);
    if (!is_right || !str_eq(out->user.status, STR("active")))
        return ctx_fail_plain(cx, ERR_INVALID_CREDENTIALS);
    if (out->user.totp_enabled && !in->totp_code.n && !in->recovery_code.n)
        return ctx_fail_plain(cx, ERR_TOTP_REQUIRED);
    return store_tx(cx, s, open_unit, j);
}

enum err_code sign_in(struct ctx *cx, struct store *s, struct throttle *t, const struct sign_in *in,
                      struct signed_in *out)
{
    struct job j = { .in = in, .out = out };
    out->account = user_email_key(&cx->arena, in->email);
    struct attempt attempt = { out->account, in->who->ip, in->device };
    enum err_code e = throttle_enter(cx, t, &attempt);
    if (e)
        return e;
    e = judge(cx, s, &j);
    if (!e)
        throttle_pass(t, &attempt);
    else if (e != ERR_INVALID_CREDENTIALS)
        throttle_undo(t, &attempt);
    return e;
}

enum err_code password_again(struct ctx *cx, struct store *s, struct throttle *t,
                             const struct password_ask *ask, struct str *hash)
{
    struct signed_in found = { .account = ask->who->user_email };
    struct job j = { .out = &found, .user_id = ask->who->user_id };
    struct attempt attempt = { ask->who->user_email, ask->who->ip, STR_NONE };
    enum err_code e = throttle_enter(cx, t, &attempt);
    if (e)
        return e;
    e = store_read(cx, s, find_unit, &j);
    bool is_right = !e && password_is(found.user.password_hash, ask->password);
    if (is_right) {
        throttle_pass(t, &attempt);
        *hash = found.user.password_hash;
        return ERR_NONE;
    }
    if (e)
        throttle_undo(t, &attempt);
    return e ? e
             : ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(ask->field), "%s is wrong", ask->field);
}
