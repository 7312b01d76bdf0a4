/* Sessions: see session.h. */
#include "session.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "identity.h"
#include "totp.h"

#define SECRET_BYTES 32
#define COLUMNS                                                                                    \
    "id, ip, agent AS user_agent, created_ms AS created_at, seen_ms AS last_seen_at, "             \
    "expires_ms AS expires_at"

#define AT(member) offsetof(struct session, member)
static const struct field session_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Session identifier", NULL },
    { "ip", F_STR, AT(ip), 0, 0, 0, NULL, "Address that signed in", "\"192.0.2.7\"" },
    { "user_agent", F_STR, AT(agent), 0, 0, 0, NULL, "User-Agent that signed in", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was signed in", NULL },
    { "last_seen_at", F_TIME, AT(seen_ms), 0, 0, 0, NULL, "Its newest request", NULL },
    { "expires_at", F_TIME, AT(expires_ms), 0, 0, 0, NULL,
      "When it ends at the latest; it ends earlier without requests", NULL },
    { "current", F_BOOL, AT(is_current), 0, 0, 0, NULL, "It is the one of this request", NULL },
};
const struct rec rec_session =
    REC("Session", struct session, session_fields, "A browser that is signed in.");

struct str session_hash(struct arena *a, struct str secret)
{
    unsigned char sum[SHA256_LEN];
    crypt_sha256(secret, sum);
    return hex_of(a, sum, sizeof sum);
}

/* What PostgreSQL takes as text, and not too much of it. */
static struct str agent_text(struct ctx *cx, struct str s)
{
    size_t n = s.n > SESSION_AGENT_MAX ? SESSION_AGENT_MAX : s.n;
    char *p = str_cstr(&cx->arena, str_sub(s.p ? s : STR(""), 0, n));
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < ' ' || (unsigned char)p[i] >= 0x7f)
            p[i] = '?';
    return (struct str){ p, n };
}

static enum err_code end_oldest(struct ctx *cx, struct db *db, struct str user_id)
{
    return db_run(cx, db,
                  "DELETE FROM user_session WHERE user_id = $1 AND id IN (SELECT id FROM "
                  "user_session WHERE user_id = $1 ORDER BY id DESC LIMIT 1000 OFFSET $2)",
                  ARGS(VT(user_id), VI(SESSIONS_MAX)));
}

enum err_code session_open(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str user_id, int64_t max_ms, struct str *secret,
                           struct session *out)
{
    unsigned char raw[SECRET_BYTES];
    crypt_random(raw, sizeof raw);
    struct str text = base64url_of(&cx->arena, raw, sizeof raw);
    int64_t now = clock_ms();
    struct session s = { .bits.has = ~UINT64_C(0),
                         .id = uuid7(&cx->arena),
                         .ip = who->ip.p ? who->ip : STR(""),
                         .agent = agent_text(cx, who->agent),
                         .created_ms = now,
                         .seen_ms = now,
                         .expires_ms = now + max_ms,
                         .is_current = 1 };
    db_scope_system(db);
    enum err_code e = db_run(cx, db,
                             "INSERT INTO user_session (id, user_id, secret_hash, created_ms, "
                             "seen_ms, expires_ms, ip, agent) VALUES ($1, $2, $3, $4, $4, $5, $6, "
                             "$7)",
                             ARGS(VT(s.id), VT(user_id), VT(session_hash(&cx->arena, text)),
                                  VI(now), VI(s.expires_ms), VT(s.ip), VT(s.agent)));
    if (!e)
        e = end_oldest(cx, db, user_id);
    if (e)
        return e;
    *secret = text;
    *out = s;
    return ERR_NONE;
}

enum err_code session_list(struct ctx *cx, struct db *db, const struct caller *who, int64_t idle_ms,
                           const struct list_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_session,
                                              .kind = "sessions",
                                              .columns = COLUMNS,
                                              .table = "user_session",
                                              .id = "id",
                                              .id_at = offsetof(struct session, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    int64_t now = clock_ms();
    db_scope_system(db);
    listing_init(&l, cx, " WHERE user_id = ", VT(who->user_id));
    buf_printf(&l.sql, " AND expires_ms > $%d", listing_bind_moving(&l, VI(now)));
    buf_printf(&l.sql, " AND seen_ms > $%d", listing_bind_moving(&l, VI(now - idle_ms)));
    enum err_code e = listing_page(&l, db, &from, &ask, out);
    struct session *v = e ? NULL : out->rows.v;
    for (size_t i = 0; !e && i < out->rows.n; i++) {
        int64_t seen = identity_seen_at(v[i].id);
        v[i].seen_ms = seen > v[i].seen_ms ? seen : v[i].seen_ms;
        v[i].is_current = str_eq(v[i].id, who->session_id);
        REC_SET(&v[i], is_current);
    }
    return e;
}

enum err_code session_end(struct ctx *cx, struct db *db, const struct caller *who, struct str id)
{
    struct rec_num gone;
    enum err_code e = path_id(cx, "session_id", &id);
    if (e)
        return e;
    db_scope_system(db);
    e = db_one(cx, db, &rec_num,
               "DELETE FROM user_session WHERE id = $1 AND user_id = $2 RETURNING 1 AS n",
               ARGS(VT(id), VT(who->user_id)), &gone);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Session not found") : e;
}

enum err_code session_purge(struct ctx *cx, struct db *db, int64_t idle_ms, int64_t *gone)
{
    static const char *const texts[] = {
        "DELETE FROM user_session WHERE id IN (SELECT id FROM user_session WHERE expires_ms <= $1 "
        "ORDER BY expires_ms LIMIT $2) RETURNING 1 AS n",
        "DELETE FROM user_session WHERE id IN (SELECT id FROM user_session WHERE seen_ms <= $1 "
        "ORDER BY seen_ms LIMIT $2) RETURNING 1 AS n",
        "DELETE FROM password_reset WHERE token_hash IN (SELECT token_hash FROM password_reset "
        "WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2) RETURNING 1 AS n",
        "DELETE FROM totp_pending WHERE user_id IN (SELECT user_id FROM totp_pending WHERE "
        "created_ms <= $1 ORDER BY created_ms LIMIT $2) RETURNING 1 AS n",
    };
    int64_t now = clock_ms();
    const int64_t before[] = { now, now - idle_ms, now, now - TOTP_PENDING_MS };
    enum err_code e = ERR_NONE;
    int64_t n = 0;
    db_scope_system(db);
    for (size_t i = 0; !e && i < sizeof texts / sizeof *texts; i++) {
        struct list rows = { NULL, 0 };
        e = db_list(cx, db, &rec_num, texts[i], ARGS(VI(before[i]), VI(SESSION_PURGE_MAX)), &rows);
        n += (int64_t)rows.n;
    }
    if (!e)
        *gone = n;
    return e;
}

struct sweep {
    int64_t idle_ms, gone;
};

static enum err_code purge_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *w = arg;
    return session_purge(cx, db, w->idle_ms, &w->gone);
}

enum err_code session_sweep(struct ctx *cx, struct store *s, int64_t idle_ms)
{
    struct sweep w = { .idle_ms = idle_ms };
    enum err_code e;
    do {
        w.gone = 0;
        e = store_tx(cx, s, purge_unit, &w);
    } while (!e && w.gone >= SESSION_PURGE_MAX && ctx_ok(cx));
    return e ? e : cx->err;
}
