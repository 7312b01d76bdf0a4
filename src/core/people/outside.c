/* Users of an outside issuer: see outside.h. Both ways to a new link need an address that the
 * issuer vouches for; otherwise anyone could name another's address there and become them here. */
#include "outside.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"
#include "../token.h"
#include "user.h"

struct found {
    struct rec_bits bits;
    struct str id, status, email;
};
static const struct field found_fields[] = {
    { .name = "id", .type = F_STR, .offset = offsetof(struct found, id) },
    { .name = "status", .type = F_STR, .offset = offsetof(struct found, status) },
    { .name = "email", .type = F_STR, .offset = offsetof(struct found, email) },
};
static const struct rec rec_found =
    REC("OutsideUser", struct found, found_fields, "A user who is looked for.");

static enum err_code unknown(struct ctx *cx)
{
    return fail(cx, INVALID_TOKEN, "The token is valid, but names nobody who may use this server");
}

static enum err_code find_by_email(struct ctx *cx, struct db *db, struct str email,
                                   struct found *out)
{
    return db_one(cx, db, &rec_found, "SELECT id, status, email FROM app_user WHERE email = $1",
                  ARGS(VT(email)), out);
}

/* The user is who does it: nobody else is there yet. */
static enum err_code audit_self(struct ctx *cx, struct db *db, const struct outside_ask *ask,
                                const struct found *u, const char *action)
{
    struct caller who = { .user_id = u->id,
                          .user_name = u->email,
                          .user_email = u->email,
                          .ip = ask->ip,
                          .agent = ask->agent };
    return user_audit(cx, db, &who, &(struct user_event){ .action = action, .user_id = u->id });
}

static enum err_code link_user(struct ctx *cx, struct db *db, const struct outside_ask *ask,
                               const struct found *u)
{
    const struct jwt_claims *c = ask->claims;
    enum err_code e = db_run(cx, db,
                             "INSERT INTO user_identity (issuer, subject, user_id, created_ms) "
                             "VALUES ($1, $2, $3, $4) ON CONFLICT (issuer, subject) DO UPDATE SET "
                             "user_id = excluded.user_id, created_ms = excluded.created_ms",
                             ARGS(VT(c->issuer), VT(c->subject), VT(u->id), VI(clock_ms())));
    if (e)
        return e;
    log_info(cx, "outside.linked", KVS("user", u->id), KVS("issuer", c->issuer));
    return audit_self(cx, db, ask, u, "user.identity_link");
}

/* Another writer may make the same user at the same moment: then theirs is taken. */
static enum err_code add_user(struct ctx *cx, struct db *db, const struct outside_ask *ask,
                              struct str email, struct found *u)
{
    const struct jwt_claims *c = ask->claims;
    struct str id = uuid7(&cx->arena);
    int64_t now = clock_ms();
    enum err_code e = db_one(cx, db, &rec_found,
                             "INSERT INTO app_user (id, email, name, status, created_ms, "
                             "updated_ms) VALUES ($1, $2, $3, 'active', $4, $4) "
                             "ON CONFLICT DO NOTHING RETURNING id, status, email",
                             ARGS(VT(id), VT(email), VT(c->name.n ? c->name : email), VI(now)), u);
    if (e == ERR_NOT_FOUND)
        return find_by_email(cx, db, email, u);
    if (!e)
        e = db_run(cx, db,
                   "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                   "VALUES ($1, $2, $3, $4)",
                   ARGS(VT(STR(TEAM_DEFAULT)), VT(id), VT(ask->jwt_role), VI(now)));
    return e ? e : audit_self(cx, db, ask, u, "user.create");
}

static bool may_add(const struct outside_ask *ask)
{
    return str_eq(ask->jwt_role, STR("viewer")) || str_eq(ask->jwt_role, STR("agent"));
}

static enum err_code by_address(struct ctx *cx, struct db *db, struct outside_ask *ask,
                                struct found *u)
{
    const struct jwt_claims *c = ask->claims;
    struct str email = user_email_key(&cx->arena, c->email);
    enum err_code e = find_by_email(cx, db, email, u);
    bool is_there = !e;
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (is_there ? !str_eq(u->status, STR("active")) : !may_add(ask))
        return unknown(cx);
    if (!ask->may_write) {
        ask->wants_write = true;
        return ERR_NONE;
    }
    if (!is_there)
        e = add_user(cx, db, ask, email, u);
    else
        e = ERR_NONE;
    return e ? e : link_user(cx, db, ask, u);
}

enum err_code outside_user(struct ctx *cx, struct db *db, struct outside_ask *ask,
                           struct str *user_id)
{
    const struct jwt_claims *c = ask->claims;
    struct found u;
    ask->wants_write = false;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_found,
               "SELECT u.id AS id, u.status AS status, u.email AS email FROM user_identity i "
               "JOIN app_user u ON u.id = i.user_id WHERE i.issuer = $1 AND i.subject = $2",
               ARGS(VT(c->issuer), VT(c->subject)), &u);
    if (e == ERR_NOT_FOUND) {
        if (!c->email.n || !c->email_is_verified)
            return unknown(cx);
        e = by_address(cx, db, ask, &u);
    }
    if (e || ask->wants_write)
        return e;
    if (!str_eq(u.status, STR("active")))
        return fail(cx, INVALID_TOKEN, "The user is disabled");
    *user_id = u.id;
    return ERR_NONE;
}
