/* From proof to caller: see identity.h. Two reads: who it is, then in which team. Nothing is
 * remembered between requests, so a session that is ended, a user who is disabled and a membership
 * that is taken away are refused from the next request on, on every node. */
#include "identity.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "outside.h"
#include "session.h"

struct proof { /* who it is */
    struct rec_bits bits;
    struct str user_id, name, email, status, session_id;
    int64_t seen_ms;
};
#define P(member) offsetof(struct proof, member)
static const struct field proof_fields[] = {
    { .name = "user_id", .type = F_STR, .offset = P(user_id) },
    { .name = "name", .type = F_STR, .offset = P(name) },
    { .name = "email", .type = F_STR, .offset = P(email) },
    { .name = "status", .type = F_STR, .offset = P(status) },
    { .name = "session_id", .type = F_STR, .offset = P(session_id) },
    { .name = "seen_ms", .type = F_INT, .offset = P(seen_ms) },
};
static const struct rec rec_proof = REC("Proof", struct proof, proof_fields, "Who asks.");

struct place { /* in which team */
    struct rec_bits bits;
    struct str team_id, role;
};
static const struct field place_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = offsetof(struct place, team_id) },
    { .name = "role", .type = F_STR, .offset = offsetof(struct place, role) },
};
static const struct rec rec_place = REC("Place", struct place, place_fields, "A membership.");

/* ---- who ---- */

static enum err_code by_session(struct ctx *cx, struct db *db, const struct identity_ask *ask,
                                struct proof *out)
{
    int64_t now = clock_ms(), seen;
    db_scope_system(db);
    enum err_code e = db_one(
        cx, db, &rec_proof,
        "SELECT s.user_id AS user_id, u.name AS name, u.email AS email, u.status AS status, s.id "
        "AS session_id, s.seen_ms AS seen_ms FROM user_session s JOIN app_user u ON u.id = "
        "s.user_id WHERE s.secret_hash = $1 AND s.expires_ms > $2",
        ARGS(VT(session_hash(&cx->arena, ask->session)), VI(now)), out);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (!e) {
        seen = identity_seen_at(out->session_id);
        seen = seen > out->seen_ms ? seen : out->seen_ms;
        if (seen + ask->idle_ms > now && str_eq(out->status, STR("active")))
            return ERR_NONE;
    }
    return fail(cx, INVALID_TOKEN, "The session has ended; sign in again");
}

static enum err_code by_claims(struct ctx *cx, struct db *db, struct identity_ask *ask,
                               const struct caller *who, struct proof *out)
{
    struct outside_ask outside = { .claims = ask->claims,
                                   .jwt_role = ask->jwt_role,
                                   .ip = who->ip,
                                   .agent = who->agent,
                                   .may_write = ask->may_write };
    struct str user_id = STR_NONE;
    enum err_code e = outside_user(cx, db, &outside, &user_id);
    ask->wants_write = outside.wants_write;
    if (e || ask->wants_write)
        return e;
    db_scope_system(db);
    e = db_one(cx, db, &rec_proof,
               "SELECT id AS user_id, name, email, status FROM app_user WHERE id = $1 AND "
               "status = 'active'",
               ARGS(VT(user_id)), out);
    return e == ERR_NOT_FOUND ? ctx_fail_plain(cx, ERR_INVALID_TOKEN) : e;
}

/* ---- where ---- */

#define MEMBERSHIPS                                                                                \
    "SELECT m.team_id AS team_id, m.role AS role FROM team_member m JOIN team t ON t.id = "        \
    "m.team_id WHERE t.deleted_ms IS NULL AND m.user_id = $1"

static enum err_code in_named_team(struct ctx *cx, struct db *db, struct str user_id,
                                   struct str team, struct place *out)
{
    struct str id = STR("");
    if (uuid_is_valid(team)) {
        id = team;
        path_id(cx, "Tessera-Team", &id);
    }
    enum err_code e = str_is_utf8(team) ? db_one(cx, db, &rec_place,
                                                 MEMBERSHIPS " AND (t.id = $2 OR t.slug = $3)",
                                                 ARGS(VT(user_id), VT(id), VT(team)), out)
                                        : ERR_NOT_FOUND;
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "You are in no such team") : e;
}

/* The only one, unless it does not matter. */
static enum err_code in_own_team(struct ctx *cx, struct db *db, struct str user_id,
                                 bool is_teamless, struct place *out)
{
    struct list teams;
    enum err_code e = db_list(cx, db, &rec_place, MEMBERSHIPS " ORDER BY m.team_id LIMIT 2",
                              ARGS(VT(user_id)), &teams);
    if (e)
        return e;
    if (teams.n == 1)
        *out = *(const struct place *)teams.v;
    else if (is_teamless)
        return ERR_NONE;
    else if (teams.n)
        return ctx_fail_plain(cx, ERR_TEAM_REQUIRED);
    else
        return fail(cx, NOT_FOUND, "You are in no team");
    return ERR_NONE;
}

enum err_code identity_resolve(struct ctx *cx, struct db *db, struct identity_ask *ask,
                               struct caller *who)
{
    struct proof proof = { .user_id = STR_NONE };
    struct place place = { .team_id = STR_NONE };
    ask->wants_write = false;
    enum err_code e =
        ask->claims ? by_claims(cx, db, ask, who, &proof) : by_session(cx, db, ask, &proof);
    if (e || ask->wants_write)
        return e;
    e = ask->team.n ? in_named_team(cx, db, proof.user_id, ask->team, &place)
                    : in_own_team(cx, db, proof.user_id, ask->is_teamless, &place);
    if (e)
        return e;
    who->user_id = proof.user_id;
    who->user_name = proof.name;
    who->user_email = proof.email;
    who->session_id = proof.session_id;
    who->team_id = place.team_id;
    who->role = role_of(place.role);
    who->scopes = role_actions(who->role);
    return ERR_NONE;
}

/* ---- cookie and CSRF token ---- */

static void csrf_of(struct str session, unsigned char out[SHA256_LEN])
{
    crypt_hmac256(session, STR("csrf"), out);
}

struct str identity_csrf(struct arena *a, struct str session)
{
    unsigned char mac[SHA256_LEN];
    csrf_of(session, mac);
    return base64url_of(a, mac, sizeof mac);
}

bool identity_csrf_is(struct str session, struct str token)
{
    unsigned char want[SHA256_LEN], got[SHA256_LEN];
    size_t n = 0;
    csrf_of(session, want);
    return token.p && base64url_parse(token, got, sizeof got, &n) && n == sizeof got &&
           crypt_equal(want, got, sizeof got);
}

struct str identity_cookie(struct str header, struct str name)
{
    struct str rest = header;
    while (rest.p) {
        struct str value = str_cut(&rest, ';');
        struct str key = str_trim(str_cut(&value, '='));
        if (!value.p || !str_eq(key, name))
            continue;
        value = str_trim(value);
        return value.n ? value : STR_NONE;
    }
    return STR_NONE;
}
