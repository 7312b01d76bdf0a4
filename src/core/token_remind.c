/* Reminders of keys that end: see token_remind.h. */
#include "token_remind.h"

#include "../base/clock.h"
#include "event.h"
#include "people/mail.h"
#include "token.h"

#define MINUTE_MS ((int64_t)60 * 1000)
#define LOOK_MAX 100 /* keys a unit */
#define KEPT_MS (30 * DAY_MS)

static const struct {
    int64_t days, not_before; /* left: at most `days`, more than `not_before` */
} spans[] = { { 7, 1 }, { 1, 0 } };

/* ---- looking ---- */

struct ending {
    struct rec_bits bits;
    struct str team_id, id;
    int64_t expires_ms;
};
static const struct field ending_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = offsetof(struct ending, team_id) },
    { .name = "id", .type = F_STR, .offset = offsetof(struct ending, id) },
    { .name = "expires_ms", .type = F_INT, .offset = offsetof(struct ending, expires_ms) },
};
static const struct rec rec_ending = REC("EndingKey", struct ending, ending_fields, "A key.");

struct look {
    const struct key_reminders *by;
    int64_t now_ms, days, not_before;
    size_t n;
};

#define SQL_ENDING                                                                                 \
    "SELECT k.team_id AS team_id, k.id AS id, k.expires_ms AS expires_ms FROM "                    \
    "integration_tokens k JOIN team t ON t.id = k.team_id WHERE k.status = 'active' AND "          \
    "k.expires_ms > $1 AND k.expires_ms <= $2 AND k.expires_ms - k.created_ms > $3 AND "           \
    "t.deleted_ms IS NULL AND NOT EXISTS (SELECT 1 FROM key_reminder r WHERE "                     \
    "r.team_id = k.team_id AND r.key_id = k.id AND r.expires_ms = k.expires_ms AND "               \
    "r.days = $4 AND r.user_id = '') ORDER BY k.expires_ms LIMIT $5"
#define SQL_NOTE                                                                                   \
    "INSERT INTO key_reminder (team_id, key_id, expires_ms, days, user_id, sent_ms) VALUES "       \
    "($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1 AS n"
#define SQL_PEOPLE                                                                                 \
    "SELECT m.user_id AS s FROM team_member m JOIN app_user u ON u.id = m.user_id WHERE "          \
    "m.team_id = $1 AND m.role IN ('owner', 'admin') AND u.status = 'active' ORDER BY m.user_id "  \
    "LIMIT $2"

static enum err_code emit(struct ctx *cx, struct db *db, const struct ending *k)
{
    const struct caller server = { .team_id = k->team_id };
    struct token t;
    enum err_code e = token_get(cx, db, k->team_id, k->id, &t); /* leaves the team's scope */
    if (!e)
        e = event_emit(cx, db, &server,
                       &(struct event_new){ .type = EVENT_API_KEY_EXPIRING,
                                            .subject_id = k->id,
                                            .rec = &rec_token_event,
                                            .obj = &t,
                                            .is_servers = true });
    db_scope_system(db);
    return e;
}

static enum err_code tell_people(struct ctx *cx, struct db *db, const struct ending *k,
                                 int64_t days)
{
    struct list people;
    enum err_code e = db_list(cx, db, &rec_text, SQL_PEOPLE,
                              ARGS(VT(k->team_id), VI(REMIND_PEOPLE_MAX)), &people);
    for (size_t i = 0; !e && i < people.n; i++) {
        struct str user = ((const struct rec_text *)people.v)[i].s;
        const struct job_new job = { .kind = &key_mail_kind, .key = user };
        e = db_run(cx, db, SQL_NOTE,
                   ARGS(VT(k->team_id), VT(k->id), VI(k->expires_ms), VI(days), VT(user), VNULL));
        if (!e)
            e = job_add(cx, db, k->team_id, &job, NULL);
    }
    return e;
}

static enum err_code one_key(struct ctx *cx, struct db *db, const struct look *l,
                             const struct ending *k)
{
    struct rec_num is_new;
    enum err_code e = db_one(
        cx, db, &rec_num, SQL_NOTE,
        ARGS(VT(k->team_id), VT(k->id), VI(k->expires_ms), VI(l->days), VT(STR("")), VI(l->now_ms)),
        &is_new);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = emit(cx, db, k);
    return e || !l->by->mailer ? e : tell_people(cx, db, k, l->days);
}

static enum err_code look_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct look *l = arg;
    struct list keys;
    db_scope_system(db);
    enum err_code e =
        db_list(cx, db, &rec_ending, SQL_ENDING,
                ARGS(VI(l->now_ms + l->not_before * DAY_MS), VI(l->now_ms + l->days * DAY_MS),
                     VI(l->days * DAY_MS), VI(l->days), VI(LOOK_MAX)),
                &keys);
    for (size_t i = 0; !e && i < keys.n; i++)
        e = one_key(cx, db, l, (const struct ending *)keys.v + i);
    l->n = e ? 0 : keys.n;
    return e;
}

static enum err_code sweep_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct look *l = arg;
    db_scope_system(db);
    return db_run(cx, db, "DELETE FROM key_reminder WHERE expires_ms < $1",
                  ARGS(VI(l->now_ms - KEPT_MS)));
}

static enum err_code run_look(struct ctx *cx, struct job_run *r)
{
    struct look l = { .by = r->arg, .now_ms = clock_ms() };
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < sizeof spans / sizeof *spans; i++) {
        l.days = spans[i].days;
        l.not_before = spans[i].not_before;
        do {
            struct ctx step;
            ctx_init(&step, CTX_CAP_DEFAULT);
            e = store_tx(&step, r->store, look_unit, &l);
            if (e)
                ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
            ctx_done(&step);
        } while (!e && l.n == LOOK_MAX && ctx_ok(cx));
    }
    return e ? e : store_tx(cx, r->store, sweep_unit, &l);
}

/* ---- mailing ---- */

struct due {
    struct rec_bits bits;
    struct str key_id, name, prefix, last4;
    int64_t expires_ms, days;
};
#define AT(member) offsetof(struct due, member)
static const struct field due_fields[] = {
    { .name = "key_id", .type = F_STR, .offset = AT(key_id) },
    { .name = "name", .type = F_STR, .offset = AT(name) },
    { .name = "prefix", .type = F_STR, .offset = AT(prefix) },
    { .name = "last4", .type = F_STR, .offset = AT(last4) },
    { .name = "expires_ms", .type = F_INT, .offset = AT(expires_ms) },
    { .name = "days", .type = F_INT, .offset = AT(days) },
};
static const struct rec rec_due = REC("DueReminder", struct due, due_fields, "A reminder.");

struct mailing {
    const struct job *job;
    const struct key_reminders *by;
    struct list keys;
    struct str to, team_name;
    bool is_over; /* nobody to mail to, or nothing to say */
};

/* Who is no owner or admin any more is told nothing. */
static enum err_code read_person(struct ctx *cx, struct db *db, struct mailing *m)
{
    struct rec_text found;
    enum err_code e =
        db_one(cx, db, &rec_text,
               "SELECT u.email AS s FROM team_member m JOIN app_user u ON u.id = m.user_id WHERE "
               "m.team_id = $1 AND m.user_id = $2 AND m.role IN ('owner', 'admin') AND "
               "u.status = 'active'",
               ARGS(VT(m->job->team_id), VT(m->job->key)), &found);
    m->to = found.s;
    if (!e)
        e = db_one(cx, db, &rec_text,
                   "SELECT name AS s FROM team WHERE id = $1 AND deleted_ms IS NULL",
                   ARGS(VT(m->job->team_id)), &found);
    m->team_name = found.s;
    m->is_over = e == ERR_NOT_FOUND;
    return m->is_over ? ERR_NONE : e;
}

static enum err_code read_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct mailing *m = arg;
    db_scope_system(db);
    enum err_code e = read_person(cx, db, m);
    if (!e)
        e = db_list(cx, db, &rec_due,
                    "SELECT r.key_id AS key_id, r.expires_ms AS expires_ms, r.days AS days, "
                    "k.name AS name, k.token_prefix AS prefix, k.token_last4 AS last4 FROM "
                    "key_reminder r JOIN integration_tokens k ON k.team_id = r.team_id AND "
                    "k.id = r.key_id WHERE r.team_id = $1 AND r.user_id = $2 AND "
                    "r.sent_ms IS NULL AND k.status = 'active' AND k.expires_ms = r.expires_ms AND "
                    "r.expires_ms > $3 ORDER BY r.expires_ms, r.key_id LIMIT $4",
                    ARGS(VT(m->job->team_id), VT(m->job->key), VI(clock_ms()), VI(REMIND_KEYS_MAX)),
                    &m->keys);
    m->is_over |= !e && !m->keys.n;
    return e;
}

static enum err_code sent_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct mailing *m = arg;
    const struct due *k = m->keys.v;
    enum err_code e = ERR_NONE;
    db_scope_system(db);
    for (size_t i = 0; !e && i < m->keys.n; i++)
        e = db_run(cx, db,
                   "UPDATE key_reminder SET sent_ms = $6 WHERE team_id = $1 AND key_id = $2 AND "
                   "expires_ms = $3 AND days = $4 AND user_id = $5",
                   ARGS(VT(m->job->team_id), VT(k[i].key_id), VI(k[i].expires_ms), VI(k[i].days),
                        VT(m->job->key), VI(clock_ms())));
    return e;
}

static void write_mail(struct ctx *cx, const struct mailing *m, struct mail *out)
{
    const struct due *k = m->keys.v;
    struct arena *a = &cx->arena;
    struct buf b;
    buf_init(&b, a, MAIL_TEXT_MAX);
    buf_printf(&b, "API keys of the team " STR_FMT " that end soon (times are UTC):\n\n",
               STR_ARG(m->team_name));
    for (size_t i = 0; i < m->keys.n && b.n < MAIL_TEXT_MAX - 2048; i++) {
        buf_lit(&b, "  ");
        time_print_s(&b, k[i].expires_ms);
        buf_printf(&b, "  " STR_FMT "  " STR_FMT "\n",
                   STR_ARG(token_mask(a, k[i].prefix, k[i].last4)), STR_ARG(k[i].name));
    }
    buf_printf(&b,
               "\nFrom then on they are refused. Give them a later end (PATCH "
               "/v1/api-keys/{id}) or make new ones, at " STR_FMT
               ".\n\nYou get this mail because you are an owner or admin of the team.\n",
               STR_ARG(m->by->public_url));
    out->to = m->to;
    out->subject = m->keys.n == 1
                       ? str_printf(a, "An API key ends soon: " STR_FMT, STR_ARG(k[0].name))
                       : str_printf(a, "%zu API keys end soon", m->keys.n);
    out->text = buf_view(&b);
}

static enum err_code run_mail(struct ctx *cx, struct job_run *r)
{
    struct mailing m = { .job = r->job, .by = r->arg };
    struct mail mail;
    enum err_code e = store_read(cx, r->store, read_unit, &m);
    if (e || m.is_over)
        return e;
    write_mail(cx, &m, &mail);
    e = mailer_send(cx, m.by->mailer, &mail, NULL);
    return e ? e : store_tx(cx, r->store, sent_unit, &m);
}

/* ---- the kinds ---- */

static const int64_t look_waits[] = { 5000, 30000, 0 };
const struct job_kind key_remind_kind = { .name = "api_key.remind",
                                          .run = run_look,
                                          .timeout_ms = 10 * MINUTE_MS,
                                          .attempts = 3,
                                          .backoff_ms = look_waits,
                                          .jitter = 20,
                                          .concurrency = 1,
                                          .priority = 5,
                                          .is_single = true,
                                          .period_ms = HOUR_MS,
                                          .doc = "Finds API keys that end soon and has their team "
                                                 "told" };
static const int64_t mail_waits[] = { MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 0 };
const struct job_kind key_mail_kind = { .name = "api_key.mail",
                                        .run = run_mail,
                                        .timeout_ms = 5 * MINUTE_MS,
                                        .attempts = 6,
                                        .backoff_ms = mail_waits,
                                        .jitter = 20,
                                        .per_key = 1,
                                        .priority = 4,
                                        .is_single = true,
                                        .doc = "Mails an owner or admin about API keys that end "
                                               "soon" };
