/* The job report.run: see schedule_send.h and schedule_run.h.
 *
 * Steps, each a unit of its own between which nothing is held: begin (rights, deliveries), the file
 * (kept with the exports, so a later attempt sends the same figures), one delivery after the other,
 * the end. Every step finds what the one before has stored, so the job may be cut off and begun anew
 * anywhere, on another node too; there the file may be missing, and is made again. */
#include "schedule_send.h"

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../base/log.h"
#include "../people/mail.h"
#include "../subject.h"
#include "export.h"
#include "run_inner.h"

#define MINUTE_MS ((int64_t)60 * 1000)
#define NAME_MAX 100 /* characters of a report's name in a subject */

struct sending {
    struct ctx *cx;
    struct job_run *job;
    const struct report_sender *by;
    struct run run;
    struct caller who; /* whose rights */
    struct report report;
    struct str team_name;
    struct spool *file;
    struct list open;         /* deliveries that wait */
    struct run_delivery *one; /* the delivery of a unit */
    int64_t mails_left;       /* of the team, today */
    bool is_first_file;       /* of this run */
    bool is_gone;             /* there is nothing to do */
    bool may_outside;
    enum err_code worst; /* why mails failed: what may pass by before what may not */
    struct str why;      /* in words */
    bool is_again;       /* there are mails to be tried again */
};

/* ---- units ---- */

static void team_scope(struct db *db, const struct sending *s)
{
    db_scope(db, s->job->job->team_id, STR(""));
}

static enum err_code refuse(struct sending *s, struct db *db, const char *why)
{
    s->run.state = STR("refused");
    s->run.error = str_of(why);
    s->is_gone = true;
    return run_end(s->cx, db, &s->run);
}

/* What the rights are judged by, and the report. */
static enum err_code load(struct ctx *cx, struct db *db, struct sending *s)
{
    struct rec_text name;
    enum err_code e = subject_load(cx, db, s->run.team_id, s->run.runs_as, &s->who);
    if (e == ERR_NOT_FOUND)
        return refuse(s, db,
                      "Whose rights it runs with is gone, disabled, or not in the team any more; "
                      "whoever changes the schedule takes it over");
    if (!e && !scope_granted(s->who.scopes, SCOPE(REPORTS_SCHEDULE)))
        return refuse(s, db, "Whose rights it runs with may not schedule reports any more");
    s->may_outside = scope_granted(s->who.scopes, SCOPE(TEAM_MANAGE));
    if (!e)
        e = db_one(cx, db, &rec_text, "SELECT name AS s FROM team WHERE id = $1",
                   ARGS(VT(s->run.team_id)), &name);
    s->team_name = name.s;
    return e ? e : report_get(cx, db, &s->who, s->run.report_id, &s->report);
}

static enum err_code begin_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    const struct job *job = s->job->job;
    json_t *payload = json_read(cx, job->payload);
    struct str id = str_of(json_string_value(json_object_get(payload, "run_id")));
    team_scope(db, s);
    s->is_gone = false;
    enum err_code e = run_begin(cx, db, job->team_id, id, job->attempt == 1, &s->run);
    if (e == ERR_NOT_FOUND) {
        s->is_gone = true;
        return ERR_NONE;
    }
    if (!e)
        e = load(cx, db, s);
    if (!e && !s->is_gone)
        e = run_open_deliveries(cx, db, &s->run, &s->open);
    return e;
}

static enum err_code made_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    team_scope(db, s);
    enum err_code e = run_made(cx, db, &s->run, s->is_first_file);
    return e ? e : run_open_deliveries(cx, db, &s->run, &s->open);
}

static enum err_code refuse_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    (void)cx;
    team_scope(db, s);
    return run_end(cx, db, &s->run);
}

static enum err_code delivered_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    team_scope(db, s);
    return run_delivered(cx, db, &s->run, s->one);
}

static enum err_code end_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    int64_t failed = 0;
    team_scope(db, s);
    enum err_code e = run_failed_deliveries(cx, db, &s->run, &failed);
    if (e)
        return e;
    if (!s->run.error.p && !failed)
        s->run.state = STR("done");
    else
        s->run.state = STR("failed");
    if (!s->run.error.p && failed)
        s->run.error = str_printf(&cx->arena, "%lld of its deliveries failed", (long long)failed);
    return run_end(cx, db, &s->run);
}

/* ---- the file ---- */

static bool is_right(enum err_code e)
{
    return e == ERR_INSUFFICIENT_SCOPE || e == ERR_INSUFFICIENT_ROLE;
}

static struct str link_of(struct arena *a, const struct sending *s)
{
    struct str url = s->by->public_url;
    while (url.n && url.p[url.n - 1] == '/')
        url.n--;
    return str_printf(a, STR_FMT "/v1/exports/" STR_FMT "/file", STR_ARG(url),
                      STR_ARG(s->run.export_id));
}

static enum err_code make_file(struct sending *s)
{
    struct ctx *cx = s->cx;
    struct export made;
    const struct export_job job = { .who = s->who,
                                    .kind = STR("report"),
                                    .report_id = s->report.id,
                                    .name = s->report.name,
                                    .format = s->run.format,
                                    .definition = s->report.definition };
    enum err_code e = exports_make(cx, s->by->exports, &job, &made);
    if (e)
        return e;
    s->is_first_file = !s->run.export_id.p;
    s->run.export_id = made.id;
    s->run.rows = made.rows;
    s->run.size = made.size;
    return exports_file(cx, s->by->exports, &s->who, made.id, &made, &s->file);
}

/* That of an earlier attempt, or a new one. */
static enum err_code open_file(struct sending *s)
{
    struct export found;
    if (s->run.export_id.p &&
        !exports_file(s->cx, s->by->exports, &s->who, s->run.export_id, &found, &s->file))
        return ERR_NONE;
    ctx_clear(s->cx);
    return make_file(s);
}

/* ---- mail ---- */

static const struct {
    const char *format, *media;
} media[] = {
    { "json", "application/json" },
    { "csv", "text/csv; charset=utf-8" },
    { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
};

static const char *media_of(struct str format)
{
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (str_eq(format, str_of(media[i].format)))
            return media[i].media;
    BUG_IF(true);
    return NULL;
}

static void write_mail(struct ctx *cx, const struct sending *s, bool is_attached, struct mail *m)
{
    struct arena *a = &cx->arena;
    struct buf due;
    buf_init(&due, a, 64);
    time_print_s(&due, s->run.due_ms);
    struct str where =
        is_attached
            ? STR("The file is attached.")
            : str_printf(a,
                         "The file has %lld bytes, which is too large for a mail. For a day it is "
                         "here, for owners and for whoever set up the schedule:\n\n" STR_FMT,
                         (long long)s->run.size, STR_ARG(link_of(a, s)));
    m->subject = str_printf(a, STR_FMT " (%.10s)", STR_ARG(s->report.name), due.p);
    m->text = str_printf(a,
                         "Report:  " STR_FMT "\nTeam:    " STR_FMT "\nDue:     " STR_FMT
                         "\nRows:    %lld\n\n" STR_FMT
                         "\n\nYou get this mail because your address is in a schedule of this "
                         "report. Who may schedule reports in the team can take it out.\n",
                         STR_ARG(s->report.name), STR_ARG(s->team_name), STR_ARG(buf_view(&due)),
                         (long long)s->run.rows, STR_ARG(where));
}

/* Who is meant may have changed since the schedule was saved. */
static enum err_code may_mail(struct ctx *cx, struct db *db, void *arg)
{
    struct sending *s = arg;
    bool is_member = false;
    team_scope(db, s);
    enum err_code e = subject_is_member(cx, db, s->run.team_id, s->one->target, &is_member);
    if (!e)
        e = run_mails_left(cx, db, s->run.team_id, &s->mails_left);
    if (e || (is_member && s->mails_left))
        return e;
    if (is_member || (s->one->is_outside && s->may_outside)) {
        if (s->mails_left)
            return ERR_NONE;
        return fail(cx, RATE_LIMITED, "The team has sent %d report mails in 24 hours",
                    RUN_MAILS_A_DAY);
    }
    if (s->one->is_outside)
        return fail(cx, INSUFFICIENT_ROLE,
                    "The address is outside the team, and whose rights the schedule runs with may "
                    "not send reports there any more");
    return fail(cx, INSUFFICIENT_ROLE, "The address is of nobody in the team any more");
}

static enum err_code mail_one(struct ctx *cx, struct sending *s)
{
    struct mail m = { .to = s->one->target };
    const struct mail_file file = { .spool = s->file,
                                    .name =
                                        str_printf(&cx->arena, STR_FMT "." STR_FMT,
                                                   STR_ARG(s->report.name), STR_ARG(s->run.format)),
                                    .media = media_of(s->run.format) };
    bool is_attached = spool_size(s->file) <= s->by->mail_bytes;
    enum err_code e = store_read(cx, s->job->store, may_mail, s);
    if (e)
        return e;
    write_mail(cx, s, is_attached, &m);
    return mailer_send(cx, s->by->mailer, &m, is_attached ? &file : NULL);
}

/* ---- deliveries ---- */

/* One attempt, in a ctx of its own. What it came to is stored, except when the job is to stop. */
static enum err_code deliver_one(struct sending *s, struct run_delivery *d)
{
    struct ctx one;
    ctx_init(&one, CTX_CAP_DEFAULT);
    one.stop = s->cx->stop;
    one.deadline_us = s->cx->deadline_us;
    s->one = d;
    enum err_code e = mail_one(&one, s), kept = ERR_NONE;
    if (e && !ctx_ok(s->cx)) {
        ctx_done(&one);
        return s->cx->err;
    }
    bool may_again =
        e && err_info(e)->retry != RETRY_NEVER && s->job->job->attempt < s->job->job->attempts;
    d->state = !e ? STR("sent") : may_again ? STR("waiting") : STR("failed");
    d->error = !e ? STR_NONE : one.err_text.p ? one.err_text : str_of(err_info(e)->text);
    d->error = str_dup(&s->cx->arena, d->error);
    if (e && (!s->worst || may_again)) {
        s->worst = e;
        s->why = d->error;
    }
    s->is_again |= may_again;
    ctx_done(&one);
    kept = store_tx(s->cx, s->job->store, delivered_unit, s);
    log_info(s->cx, "report.delivery", KVS("run", s->run.id), KVS("type", d->type),
             KVS("state", d->state));
    return kept;
}

static enum err_code deliver_all(struct sending *s)
{
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < s->open.n; i++) {
        job_progress(s->job, (int64_t)(10 + 90 * i / s->open.n),
                     str_printf(&s->cx->arena, "delivery %zu of %zu", i + 1, s->open.n));
        e = deliver_one(s, (struct run_delivery *)s->open.v + i);
        if (!e && !ctx_ok(s->cx))
            e = s->cx->err;
    }
    return e;
}

/* ---- the whole ---- */

/* There is no file. Missing rights end the run and the schedule; what may pass by is tried again. */
static enum err_code no_file(struct sending *s, enum err_code e)
{
    struct ctx *cx = s->cx;
    bool is_last = s->job->job->attempt >= s->job->job->attempts;
    if (!ctx_ok(cx))
        return e; /* the job is to stop */
    s->run.error = cx->err_text.p ? cx->err_text : str_of(err_info(e)->text);
    s->run.state = is_right(e) ? STR("refused") : STR("failed");
    if (!is_right(e) && err_info(e)->retry != RETRY_NEVER && !is_last)
        return e;
    ctx_clear(cx);
    enum err_code kept = store_tx(cx, s->job->store, refuse_unit, s);
    if (kept || is_right(e))
        return kept;
    return ctx_fail(cx, e, STR_FMT, STR_ARG(s->run.error));
}

static enum err_code send_run(struct ctx *cx, struct sending *s)
{
    enum err_code e = open_file(s);
    if (e)
        return no_file(s, e);
    s->run.file_url = link_of(&cx->arena, s);
    e = store_tx(cx, s->job->store, made_unit, s);
    if (!e)
        e = deliver_all(s);
    if (e)
        return e;
    if (!s->is_again)
        e = store_tx(cx, s->job->store, end_unit, s);
    if (!e && !s->worst && str_eq(s->run.state, STR("failed")))
        e = fail(cx, BAD_REQUEST, STR_FMT, STR_ARG(s->run.error));
    else if (!e && s->worst)
        e = ctx_fail(cx, s->worst, STR_FMT, STR_ARG(s->why));
    return e;
}

static enum err_code run_report(struct ctx *cx, struct job_run *r)
{
    struct sending s = { .cx = cx, .job = r, .by = r->arg };
    enum err_code e = store_tx(cx, r->store, begin_unit, &s);
    if (e == ERR_NOT_FOUND) { /* the report was deleted */
        ctx_clear(cx);
        return ERR_NONE;
    }
    if (e || s.is_gone) {
        job_progress(r, 100, s.run.error.p ? s.run.error : STR(""));
        return e;
    }
    job_progress(r, 5, STR("the file"));
    e = send_run(cx, &s);
    spool_close(s.file);
    return e;
}

static const int64_t waits[] = { MINUTE_MS,          5 * MINUTE_MS,      30 * MINUTE_MS,
                                 2 * 60 * MINUTE_MS, 6 * 60 * MINUTE_MS, 0 };
const struct job_kind report_run_kind = { .name = "report.run",
                                          .run = run_report,
                                          .timeout_ms = 30 * MINUTE_MS,
                                          .attempts = 6,
                                          .backoff_ms = waits,
                                          .jitter = 20,
                                          .per_key = 1,
                                          .priority = 4,
                                          .doc = "Makes the file of a scheduled report and sends "
                                                 "it to its targets" };
