/* Schedules: see schedule.h. */
#include "schedule.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../audit.h"
#include "../ticket.h"
#include "cron.h"
#include "run_inner.h"

#define COLUMNS                                                                                    \
    "id, report_id, kind, at_time AS at, weekdays, day_of_month, cron, time_zone, format, "        \
    "recipients, deliveries, is_enabled AS enabled, paused_reason, COALESCE(runs_as, created_by) " \
    "AS runs_as, version, created_by, created_ms AS created_at, updated_ms AS updated_at"

/* ---- when ---- */

static bool read_at(struct str at, int *hour, int *minute)
{
    int64_t h, m;
    if (at.n != 5 || at.p[2] != ':')
        return false;
    for (int i = 0; i < 5; i++)
        if (i != 2 && (at.p[i] < '0' || at.p[i] > '9'))
            return false;
    if (!str_to_i64(str_sub(at, 0, 2), &h) || !str_to_i64(str_sub(at, 3, 2), &m) || h > 23 ||
        m > 59)
        return false;
    *hour = (int)h;
    *minute = (int)m;
    return true;
}

static uint32_t day_mask(struct ctx *cx, struct str json)
{
    json_t *list = json_read(cx, json);
    uint32_t mask = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        for (int d = 0; schedule_days[d]; d++)
            if (str_eq(str_of(json_string_value(json_array_get(list, i))),
                       str_of(schedule_days[d])))
                mask |= 1u << d;
    return mask;
}

bool schedule_cron(struct ctx *cx, const struct schedule *s, struct cron *out, struct str *why)
{
    int hour = 0, minute = 0;
    if (str_eq(s->kind, STR("cron")))
        return cron_parse(&cx->arena, s->cron, out, why);
    if (!read_at(s->at, &hour, &minute)) {
        *why = STR("must be a time of day, HH:MM");
        return false;
    }
    *out = (struct cron){ .minutes = UINT64_C(1) << minute,
                          .hours = 1u << hour,
                          .days = 0xFFFFFFFE,
                          .months = 0x1FFE,
                          .weekdays = 0x7F };
    if (str_eq(s->kind, STR("weekly")))
        out->weekdays = day_mask(cx, s->weekdays);
    if (str_eq(s->kind, STR("monthly"))) {
        out->days = UINT32_C(1) << s->day_of_month;
        out->is_clamped = true;
    }
    return true;
}

int64_t schedule_next_ms(struct ctx *cx, const struct schedule *s, int64_t after_ms)
{
    struct cron c;
    struct str why;
    struct zone *z = zone_open(cx, s->time_zone);
    return z && schedule_cron(cx, s, &c, &why) ? cron_next(&c, z, after_ms) : 0;
}

/* Fills next_runs. */
static void show_runs(struct ctx *cx, struct schedule *s)
{
    struct cron c;
    struct str why;
    struct buf b;
    struct zone *z = zone_open(cx, s->time_zone);
    buf_init(&b, &cx->arena, 512);
    buf_char(&b, '[');
    bool is_known = s->is_enabled && z && schedule_cron(cx, s, &c, &why);
    int64_t at = clock_ms();
    for (int i = 0; is_known && i < SCHEDULE_RUNS_SHOWN; i++) {
        at = cron_next(&c, z, at);
        if (!at)
            break;
        buf_lit(&b, i ? ",\"" : "\"");
        time_print_s(&b, at);
        buf_char(&b, '"');
    }
    buf_char(&b, ']');
    s->next_runs = buf_view(&b);
    REC_SET(s, next_runs);
}

void targets_of_schedule(struct ctx *cx, const struct schedule *s, struct targets *out)
{
    if (s->deliveries.p)
        targets_read(cx, s->deliveries, out);
    else
        targets_of_mails(cx, s->recipients, out);
}

/* Fills what is made from the row. */
static void show(struct ctx *cx, struct schedule *s)
{
    struct targets *t = ARENA_NEW(&cx->arena, struct targets);
    targets_of_schedule(cx, s, t);
    s->deliveries = targets_json(cx, t);
    REC_SET(s, deliveries);
    show_runs(cx, s);
}

/* ---- rules ---- */

static const struct {
    const char *kind;
    bool at, weekdays, day, cron;
} forms[] = {
    { "daily", true, false, false, false },
    { "weekly", true, true, false, false },
    { "monthly", true, false, true, false },
    { "cron", false, false, false, true },
};

static void check_one(struct ctx *cx, const char *kind, const char *name, bool is_needed,
                      bool is_given)
{
    if (is_needed && !is_given)
        ctx_fail_field(cx, ERR_MISSING_FIELD, str_of(name), "%s is required for %s", name, kind);
    else if (!is_needed && is_given)
        ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(name), "%s is not for %s", name, kind);
}

static enum err_code check_form(struct ctx *cx, const struct schedule *s)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (!str_eq(s->kind, str_of(forms[i].kind)))
            continue;
        check_one(cx, forms[i].kind, "at", forms[i].at, s->at.p);
        check_one(cx, forms[i].kind, "weekdays", forms[i].weekdays, s->weekdays.p);
        check_one(cx, forms[i].kind, "day_of_month", forms[i].day, s->day_of_month != 0);
        check_one(cx, forms[i].kind, "cron", forms[i].cron, s->cron.p);
    }
    return cx->err;
}

static enum err_code check(struct ctx *cx, const struct schedule *s)
{
    struct cron c;
    struct str why;
    const char *field = s->cron.p ? "cron" : "at";
    struct zone *z = zone_open(cx, s->time_zone);
    if (!z)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("time_zone"),
                       "time_zone names no zone of the time zone database");
    if (check_form(cx, s))
        return cx->err;
    if (!schedule_cron(cx, s, &c, &why))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s " STR_FMT, field,
                              STR_ARG(why));
    if (cron_gap_minutes(&c) < SCHEDULE_GAP_MINUTES)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                              "%s must leave at least %d minutes between two runs", field,
                              SCHEDULE_GAP_MINUTES);
    if (!cron_next(&c, z, clock_ms()))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s never comes", field);
    return ERR_NONE;
}

/* The targets that *in asks for, on top of those of *s; judged, and put into *s. A change judges
 * those that stay too: they are sent to with other rights now. */
static enum err_code take_targets(struct ctx *cx, struct db *db, const struct caller *who,
                                  const struct schedule_new *in, struct schedule *s)
{
    bool has_mails = REC_HAS(in, recipients), has_all = REC_HAS(in, deliveries);
    struct targets *t = ARENA_NEW(&cx->arena, struct targets);
    if (has_mails && has_all)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("recipients"),
                              "recipients is short for deliveries; give one of them");
    if (has_all || s->deliveries.p)
        targets_read(cx, has_all ? in->deliveries : s->deliveries, t);
    if (has_mails)
        targets_put_mails(cx, in->recipients, t);
    enum err_code e = targets_check(cx, db, who, has_mails ? "recipients" : "deliveries", t);
    if (e)
        return e;
    s->deliveries = targets_json(cx, t);
    s->recipients = targets_mails_json(cx, t);
    return ERR_NONE;
}

/* ---- rows ---- */

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct schedule *before,
                           const struct schedule *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "report_schedule",
                                              before ? before->id : after->id,
                                              audit_json(cx, &rec_schedule, before),
                                              audit_json(cx, &rec_schedule, after) });
}

static enum err_code has_room(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM report_schedule WHERE team_id = $1 AND "
                             "report_id = $2",
                             ARGS(VT(who->team_id), VT(report_id)), &n);
    if (!e && n.n >= SCHEDULES_MAX)
        e = fail(cx, CONFLICT, "A report has at most %d schedules", SCHEDULES_MAX);
    return e;
}

static struct str or_default(bool has, struct str s, struct str def)
{
    return has ? s : def;
}

enum err_code schedule_create(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, const struct schedule_new *in,
                              struct schedule *out)
{
    struct report r;
    struct schedule s = { .kind = in->kind,
                          .at = in->at,
                          .weekdays = in->weekdays,
                          .cron = in->cron,
                          .time_zone =
                              or_default(REC_HAS(in, time_zone), in->time_zone, STR("UTC")),
                          .format = or_default(REC_HAS(in, format), in->format, STR("xlsx")),
                          .day_of_month = in->day_of_month,
                          .is_enabled = !REC_HAS(in, is_enabled) || in->is_enabled };
    struct str subject = caller_subject(who);
    int64_t now = clock_ms();
    enum err_code e = report_get(cx, db, who, report_id, &r);
    if (!e)
        e = take_targets(cx, db, who, in, &s);
    if (!e || cx->n_fields) /* every problem is named */
        e = check(cx, &s);
    if (!e)
        e = has_room(cx, db, who, r.id);
    if (e)
        return e;
    e = db_one(
        cx, db, &rec_schedule,
        "INSERT INTO report_schedule (team_id, report_id, id, kind, at_time, weekdays, "
        "day_of_month, cron, time_zone, format, recipients, is_enabled, version, "
        "created_by, created_ms, updated_ms, deliveries, runs_as, next_ms) VALUES ($1, $2, $3, "
        "$4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $14, $14, $15, $13, $16) "
        "RETURNING " COLUMNS,
        ARGS(VT(who->team_id), VT(r.id), VT(uuid7(&cx->arena)), VT(s.kind), VT(s.at),
             VT(s.weekdays), VI_OR_NULL(s.day_of_month, s.day_of_month), VT(s.cron),
             VT(s.time_zone), VT(s.format), VT(s.recipients), VI(s.is_enabled),
             VT(subject.n ? subject : STR_NONE), VI(now), VT(s.deliveries),
             VI(schedule_next_ms(cx, &s, now))),
        out);
    if (e)
        return e;
    show(cx, out);
    return audit(cx, db, who, "report_schedule.create", NULL, out);
}

enum err_code schedule_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str report_id, struct str id, struct schedule *out)
{
    struct report r;
    enum err_code e = path_id(cx, "schedule_id", &id);
    if (!e)
        e = report_get(cx, db, who, report_id, &r);
    if (e)
        return e;
    e = db_one(cx, db, &rec_schedule,
               "SELECT " COLUMNS
               " FROM report_schedule WHERE team_id = $1 AND report_id = $2 AND id = $3",
               ARGS(VT(who->team_id), VT(r.id), VT(id)), out);
    if (!e)
        show(cx, out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Schedule not found") : e;
}

enum err_code schedule_of_run(struct ctx *cx, struct db *db, const struct run *r,
                              struct schedule *out)
{
    return db_one(cx, db, &rec_schedule,
                  "SELECT " COLUMNS
                  " FROM report_schedule WHERE team_id = $1 AND report_id = $2 AND id = $3",
                  ARGS(VT(r->team_id), VT(r->report_id), VT(r->schedule_id)), out);
}

static enum err_code get_at(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str report_id, struct str id, const struct versions *allowed,
                            struct schedule *out)
{
    enum err_code e = schedule_get(cx, db, who, report_id, id, out);
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !e && !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == out->version;
    if (e || is_fine)
        return e;
    return fail(cx, PRECONDITION_FAILED, "The schedule is at version %lld now",
                (long long)out->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The schedule was changed by another request; read it again");
}

static void apply(const struct schedule_new *patch, struct schedule *s)
{
    if (REC_HAS(patch, kind) && !str_eq(patch->kind, s->kind)) {
        bool stays_timed = !str_eq(patch->kind, STR("cron")) && !str_eq(s->kind, STR("cron"));
        s->at = stays_timed ? s->at : STR_NONE;
        s->weekdays = s->cron = STR_NONE;
        s->day_of_month = 0;
        s->kind = patch->kind;
    }
    if (REC_HAS(patch, at) || REC_IS_NULL(patch, at))
        s->at = patch->at;
    if (REC_HAS(patch, weekdays) || REC_IS_NULL(patch, weekdays))
        s->weekdays = patch->weekdays;
    if (REC_HAS(patch, day_of_month) || REC_IS_NULL(patch, day_of_month))
        s->day_of_month = patch->day_of_month;
    if (REC_HAS(patch, cron) || REC_IS_NULL(patch, cron))
        s->cron = patch->cron;
    if (REC_HAS(patch, time_zone))
        s->time_zone = patch->time_zone;
    if (REC_HAS(patch, format))
        s->format = patch->format;
    if (REC_HAS(patch, is_enabled))
        s->is_enabled = patch->is_enabled;
}

enum err_code schedule_update(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, struct str id, const struct schedule_new *patch,
                              const struct versions *allowed, struct schedule *out)
{
    struct schedule was, now;
    struct str subject = caller_subject(who);
    int64_t ms = clock_ms();
    enum err_code e = get_at(cx, db, who, report_id, id, allowed, &was);
    if (e)
        return e;
    now = was;
    apply(patch, &now);
    e = take_targets(cx, db, who, patch, &now);
    if (!e || cx->n_fields)
        e = check(cx, &now);
    if (e)
        return e;
    e = db_one(cx, db, &rec_schedule,
               "UPDATE report_schedule SET kind = $4, at_time = $5, weekdays = $6, "
               "day_of_month = $7, cron = $8, time_zone = $9, format = $10, recipients = $11, "
               "is_enabled = $12, version = version + 1, updated_ms = $13, deliveries = $15, "
               "runs_as = $16, next_ms = $17, paused_reason = NULL WHERE team_id = $1 AND "
               "report_id = $2 AND id = $3 AND version = $14 RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(was.report_id), VT(was.id), VT(now.kind), VT(now.at),
                    VT(now.weekdays), VI_OR_NULL(now.day_of_month, now.day_of_month), VT(now.cron),
                    VT(now.time_zone), VT(now.format), VT(now.recipients), VI(now.is_enabled),
                    VI(ms > was.updated_ms ? ms : was.updated_ms), VI(was.version),
                    VT(now.deliveries), VT(subject.n ? subject : STR_NONE),
                    VI(schedule_next_ms(cx, &now, ms))),
               out);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (e)
        return e;
    show(cx, out);
    return audit(cx, db, who, "report_schedule.update", &was, out);
}

enum err_code schedule_delete(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, struct str id, const struct versions *allowed)
{
    struct schedule was;
    struct rec_num gone;
    enum err_code e = get_at(cx, db, who, report_id, id, allowed, &was);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "DELETE FROM report_schedule WHERE team_id = $1 AND report_id = $2 AND id = $3 AND "
               "version = $4 RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was.report_id), VT(was.id), VI(was.version)), &gone);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    return e ? e : audit(cx, db, who, "report_schedule.delete", &was, NULL);
}

enum err_code schedule_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str report_id, struct page *out)
{
    struct report r;
    *out = (struct page){ .total = -1 };
    enum err_code e = report_get(cx, db, who, report_id, &r);
    if (!e)
        e = db_list(cx, db, &rec_schedule,
                    "SELECT " COLUMNS
                    " FROM report_schedule WHERE team_id = $1 AND report_id = $2 ORDER BY id",
                    ARGS(VT(who->team_id), VT(r.id)), &out->rows);
    for (size_t i = 0; !e && i < out->rows.n; i++)
        show(cx, (struct schedule *)out->rows.v + i);
    return e;
}
