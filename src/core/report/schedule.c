/* Schedules: see schedule.h. */
#include "schedule.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../audit.h"
#include "../crm/contact_text.h"
#include "../ticket.h"
#include "cron.h"

#define COLUMNS                                                                                    \
    "id, report_id, kind, at_time AS at, weekdays, day_of_month, cron, time_zone, format, "        \
    "recipients, is_enabled AS enabled, version, created_by, created_ms AS created_at, "           \
    "updated_ms AS updated_at"

static const char *const kinds[] = { "daily", "weekly", "monthly", "cron", NULL };
static const char *const formats[] = { "json", "csv", "xlsx", NULL };
static const char *const days[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

#define AT(member) offsetof(struct schedule, member)
static const struct field schedule_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Schedule identifier", NULL },
    { "report_id", F_UUID, AT(report_id), 0, 0, 0, NULL, "The report", NULL },
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "How often", NULL },
    { "at", F_STR, AT(at), F_NULLABLE, 0, 0, NULL, "Time of day", "\"07:30\"" },
    { "weekdays", F_STRS, AT(weekdays), F_NULLABLE, 0, 0, days, "Days of a weekly one", NULL },
    { "day_of_month", F_INT, AT(day_of_month), F_NULLABLE, 1, 31, NULL, "Day of a monthly one",
      NULL },
    { "cron", F_STR, AT(cron), F_NULLABLE, 0, 0, NULL, "Expression of a cron one", NULL },
    { "time_zone", F_STR, AT(time_zone), 0, 0, 0, NULL, "Time zone of its clock",
      "\"Europe/Berlin\"" },
    { "format", F_ENUM, AT(format), 0, 0, 0, formats, "Format of the file", NULL },
    { "recipients", F_STRS, AT(recipients), 0, 0, 0, NULL, "E-mail addresses", NULL },
    { "enabled", F_BOOL, AT(is_enabled), 0, 0, 0, NULL, "Whether it runs", NULL },
    { "next_runs", F_STRS, AT(next_runs), 0, 0, 0, NULL,
      "The next five times it is due (RFC 3339, UTC); none while it is not enabled", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_by", F_UUID, AT(created_by), F_NULLABLE, 0, 0, NULL,
      "Id of the API key or user that created it", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_schedule =
    REC("ReportSchedule", struct schedule, schedule_fields, "When a report is due.");

#define IN(member) offsetof(struct schedule_new, member)
static const struct field new_fields[] = {
    { "kind", F_ENUM, IN(kind), F_REQUIRED, 0, 0, kinds, "How often", "\"weekly\"" },
    { "at", F_STR, IN(at), F_NULLABLE, 5, 5, NULL,
      "Time of day, HH:MM: for daily, weekly and monthly", "\"07:30\"" },
    { "weekdays", F_STRS, IN(weekdays), F_NULLABLE, 1, 7, days, "Days: for weekly", "[\"mon\"]" },
    { "day_of_month", F_INT, IN(day_of_month), F_NULLABLE, 1, 31, NULL,
      "Day: for monthly; in a month without it, its last day", "31" },
    { "cron", F_STR, IN(cron), F_NULLABLE, 1, CRON_TEXT_MAX, NULL,
      "Five fields: minute, hour, day of month, month, day of week; *, values, names, ranges, "
      "/steps, lists: for cron",
      "\"30 7 1,15 * mon-fri\"" },
    { "time_zone", F_STR, IN(time_zone), 0, 1, ZONE_NAME_MAX, NULL,
      "Name from the time zone database (default UTC)", "\"Europe/Berlin\"" },
    { "format", F_ENUM, IN(format), 0, 0, 0, formats, "Format of the file (default xlsx)", NULL },
    { "recipients", F_STRS, IN(recipients), F_REQUIRED, 1, SCHEDULE_RECIPIENTS_MAX, NULL,
      "E-mail addresses", "[\"zoe@acme.example\"]" },
    { "enabled", F_BOOL, IN(is_enabled), 0, 0, 0, NULL, "Whether it runs (default true)", NULL },
};
const struct rec rec_schedule_new =
    REC("ReportScheduleNew", struct schedule_new, new_fields, "A schedule to create.");
const struct rec rec_schedule_patch =
    REC("ReportSchedulePatch", struct schedule_new, new_fields,
        "Changes to a schedule (JSON merge patch: null clears); a new kind drops the fields of the "
        "old one.");

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
        for (int d = 0; days[d]; d++)
            if (str_eq(str_of(json_string_value(json_array_get(list, i))), str_of(days[d])))
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

static enum err_code check_recipients(struct ctx *cx, struct str json)
{
    json_t *list = json_read(cx, json);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        struct str where = str_printf(&cx->arena, "recipients[%zu]", i);
        if (!email_is_fine((struct str){ json_string_value(v), json_string_length(v) }))
            ctx_fail_field(cx, ERR_INVALID_FIELD, where, STR_FMT " must be an e-mail address",
                           STR_ARG(where));
    }
    return cx->err;
}

static enum err_code check(struct ctx *cx, const struct schedule *s)
{
    struct cron c;
    struct str why;
    const char *field = s->cron.p ? "cron" : "at";
    struct zone *z = zone_open(cx, s->time_zone);
    check_recipients(cx, s->recipients);
    if (!z)
        ctx_fail_field(cx, ERR_INVALID_FIELD, STR("time_zone"),
                       "time_zone names no zone of the time zone database");
    if (check_form(cx, s))
        return cx->err;
    if (!schedule_cron(cx, s, &c, &why))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s " STR_FMT, field,
                              STR_ARG(why));
    if (!cron_next(&c, z, clock_ms()))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s never comes", field);
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
                          .recipients = in->recipients,
                          .day_of_month = in->day_of_month,
                          .is_enabled = !REC_HAS(in, is_enabled) || in->is_enabled };
    struct str subject = caller_subject(who);
    enum err_code e = report_get(cx, db, who, report_id, &r);
    if (!e)
        e = check(cx, &s);
    if (!e)
        e = has_room(cx, db, who, r.id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_schedule,
               "INSERT INTO report_schedule (team_id, report_id, id, kind, at_time, weekdays, "
               "day_of_month, cron, time_zone, format, recipients, is_enabled, version, "
               "created_by, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
               "$10, $11, $12, 1, $13, $14, $14) RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(r.id), VT(uuid7(&cx->arena)), VT(s.kind), VT(s.at),
                    VT(s.weekdays), VI_OR_NULL(s.day_of_month, s.day_of_month), VT(s.cron),
                    VT(s.time_zone), VT(s.format), VT(s.recipients), VI(s.is_enabled),
                    VT(subject.n ? subject : STR_NONE), VI(clock_ms())),
               out);
    if (e)
        return e;
    show_runs(cx, out);
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
        show_runs(cx, out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Schedule not found") : e;
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
    if (REC_HAS(patch, recipients))
        s->recipients = patch->recipients;
    if (REC_HAS(patch, is_enabled))
        s->is_enabled = patch->is_enabled;
}

enum err_code schedule_update(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, struct str id, const struct schedule_new *patch,
                              const struct versions *allowed, struct schedule *out)
{
    struct schedule was, now;
    int64_t ms = clock_ms();
    enum err_code e = get_at(cx, db, who, report_id, id, allowed, &was);
    if (e)
        return e;
    now = was;
    apply(patch, &now);
    e = check(cx, &now);
    if (e)
        return e;
    e = db_one(cx, db, &rec_schedule,
               "UPDATE report_schedule SET kind = $4, at_time = $5, weekdays = $6, "
               "day_of_month = $7, cron = $8, time_zone = $9, format = $10, recipients = $11, "
               "is_enabled = $12, version = version + 1, updated_ms = $13 WHERE team_id = $1 AND "
               "report_id = $2 AND id = $3 AND version = $14 RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(was.report_id), VT(was.id), VT(now.kind), VT(now.at),
                    VT(now.weekdays), VI_OR_NULL(now.day_of_month, now.day_of_month), VT(now.cron),
                    VT(now.time_zone), VT(now.format), VT(now.recipients), VI(now.is_enabled),
                    VI(ms > was.updated_ms ? ms : was.updated_ms), VI(was.version)),
               out);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (e)
        return e;
    show_runs(cx, out);
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
        show_runs(cx, (struct schedule *)out->rows.v + i);
    return e;
}
