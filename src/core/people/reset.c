/* Links that set a password: see reset.h. */
#include "reset.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "user.h"

#define TOKEN_BYTES 32

static const struct kind {
    const char *word;
    int64_t life_ms;
} kinds[] = {
    [RESET_PASSWORD] = { "reset", HOUR_MS },
    [RESET_INVITE] = { "invite", 7 * DAY_MS },
};

static struct str hash_of(struct arena *a, struct str token)
{
    unsigned char sum[SHA256_LEN];
    crypt_sha256(token, sum);
    return hex_of(a, sum, sizeof sum);
}

enum err_code reset_issue(struct ctx *cx, struct db *db, struct str user_id, enum reset_kind kind,
                          struct str *token)
{
    unsigned char raw[TOKEN_BYTES];
    int64_t now = clock_ms();
    crypt_random(raw, sizeof raw);
    struct str text = base64url_of(&cx->arena, raw, sizeof raw);
    db_scope_system(db);
    enum err_code e =
        db_run(cx, db,
               "INSERT INTO password_reset (token_hash, user_id, kind, created_ms, "
               "expires_ms) VALUES ($1, $2, $3, $4, $5)",
               ARGS(VT(hash_of(&cx->arena, text)), VT(user_id), VT(str_of(kinds[kind].word)),
                    VI(now), VI(now + kinds[kind].life_ms)));
    if (!e)
        *token = text;
    return e;
}

struct str reset_url(struct arena *a, struct str public_url, struct str token)
{
    while (public_url.n && public_url.p[public_url.n - 1] == '/')
        public_url.n--;
    return str_printf(a, STR_FMT "/reset-password?token=" STR_FMT, STR_ARG(public_url),
                      STR_ARG(token));
}

static enum err_code refused(struct ctx *cx)
{
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("token"),
                          "token is unknown, was used already or is over; ask for a new link");
}

enum err_code reset_check(struct ctx *cx, struct db *db, struct str token)
{
    struct rec_num found;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM password_reset r JOIN app_user u ON u.id = "
                             "r.user_id WHERE r.token_hash = $1 AND r.expires_ms > $2 AND "
                             "u.status = 'active'",
                             ARGS(VT(hash_of(&cx->arena, token)), VI(clock_ms())), &found);
    return e == ERR_NOT_FOUND ? refused(cx) : e;
}

enum err_code reset_use(struct ctx *cx, struct db *db, const struct caller *who, struct str token,
                        struct str hash)
{
    struct caller as = *who;
    struct rec_text owner;
    struct user u;
    enum err_code e = reset_check(cx, db, token);
    if (e)
        return e;
    e = db_one(cx, db, &rec_text,
               "DELETE FROM password_reset WHERE token_hash = $1 RETURNING user_id AS s",
               ARGS(VT(hash_of(&cx->arena, token))), &owner);
    if (!e)
        e = user_by_id(cx, db, owner.s, &u);
    if (e)
        return e == ERR_NOT_FOUND ? refused(cx) : e;
    as.user_id = u.id;
    as.user_name = u.name;
    as.user_email = u.email;
    return user_set_password(
        cx, db, &as,
        &(struct user_password){ .user_id = u.id, .hash = hash, .action = "user.password_reset" });
}
