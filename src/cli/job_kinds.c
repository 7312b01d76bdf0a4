/* The table of kinds of jobs. To add one: its struct job_kind beside its code, a row here, a line in
 * docs/jobs.md, a test.
 *
 * Kinds of core get the one object of the application that they work on; housekeeping, here below,
 * gets the whole application for its settings. */
#include "job_kinds.h"

#include "../api/settings.h"
#include "../base/clock.h"
#include "../connect/webhook/webhook_engine.h"
#include "../connect/webhook/webhook_replay.h"
#include "../connect/in/process.h"
#include "../connect/in/retention.h"
#include "../connect/in/webhook_log.h"
#include "../connect/sync_run.h"
#include "../core/crm/blob.h"
#include "../core/egress_log.h"
#include "../core/idem.h"
#include "../core/people/session.h"
#include "../core/report/schedule_run.h"
#include "../core/report/schedule_send.h"
#include "../core/token_remind.h"

#define MINUTE_MS ((int64_t)60 * 1000)

/* ---- housekeeping ---- */

static const int64_t housekeeping_waits[] = { 5000, 30000, 0 };
/* Each is made for the whole installation, and made up for once when it was missed; a failure waits
 * for no more than the next period. */
#define HOUSEKEEPING                                                                               \
    .attempts = 3, .backoff_ms = housekeeping_waits, .jitter = 20, .concurrency = 1,               \
    .priority = 5, .is_single = true

static enum err_code sweep_jobs(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return job_sweep(cx, r->store, app->conf->job_done_days, app->conf->job_dead_days);
}
static const struct job_kind jobs_sweep = { .name = "jobs.sweep",
                                            .run = sweep_jobs,
                                            .timeout_ms = 10 * MINUTE_MS,
                                            HOUSEKEEPING,
                                            .period_ms = HOUR_MS,
                                            .doc = "Removes jobs that were over long ago" };

static enum err_code purge_sessions(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return session_sweep(cx, r->store, app->conf->session_idle_minutes * 60 * 1000);
}
static const struct job_kind sessions_purge = { .name = "sessions.purge",
                                                .run = purge_sessions,
                                                .timeout_ms = 5 * MINUTE_MS,
                                                HOUSEKEEPING,
                                                .period_ms = MINUTE_MS,
                                                .doc = "Removes sessions and reset links that have "
                                                       "ended" };

static enum err_code purge_unit(struct ctx *cx, struct db *db, void *arg)
{
    db_scope_system(db);
    return idem_purge(cx, db, clock_ms(), arg);
}

static enum err_code purge_answers(struct ctx *cx, struct job_run *r)
{
    int64_t gone;
    enum err_code e;
    do {
        gone = 0;
        e = store_tx(cx, r->store, purge_unit, &gone);
    } while (!e && gone >= IDEM_PURGE_MAX && ctx_ok(cx));
    return e ? e : cx->err;
}
static const struct job_kind idempotency_purge = { .name = "idempotency.purge",
                                                   .run = purge_answers,
                                                   .timeout_ms = 5 * MINUTE_MS,
                                                   HOUSEKEEPING,
                                                   .period_ms = MINUTE_MS,
                                                   .doc = "Forgets answers kept for "
                                                          "Idempotency-Key" };

static enum err_code sweep_blobs(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    int64_t gone = 0;
    return app->blobs ? blobs_sweep(cx, app->blobs, r->store, clock_ms(), &gone) : ERR_NONE;
}
static const struct job_kind attachments_sweep = { .name = "attachments.sweep",
                                                   .run = sweep_blobs,
                                                   .timeout_ms = 10 * MINUTE_MS,
                                                   HOUSEKEEPING,
                                                   .period_ms = MINUTE_MS,
                                                   .doc = "Removes files of attachments that "
                                                          "nothing refers to" };

static enum err_code sweep_webhooks(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return webhooks_sweep(cx, r->store, app->conf->webhook_days);
}
static const struct job_kind webhooks_old = { .name = "webhooks.sweep",
                                              .run = sweep_webhooks,
                                              .timeout_ms = 10 * MINUTE_MS,
                                              HOUSEKEEPING,
                                              .period_ms = HOUR_MS,
                                              .doc = "Removes events and deliveries of webhooks "
                                                     "that are old" };

static enum err_code look_due(struct ctx *cx, struct job_run *r)
{
    return runs_due(cx, r->store);
}
static const struct job_kind report_due = { .name = "report.due",
                                            .run = look_due,
                                            .timeout_ms = 5 * MINUTE_MS,
                                            HOUSEKEEPING,
                                            .period_ms = MINUTE_MS,
                                            .doc = "Starts the scheduled reports that are due" };

static enum err_code sweep_runs(struct ctx *cx, struct job_run *r)
{
    return runs_sweep(cx, r->store);
}
static const struct job_kind report_sweep = { .name = "report.sweep",
                                              .run = sweep_runs,
                                              .timeout_ms = 10 * MINUTE_MS,
                                              HOUSEKEEPING,
                                              .period_ms = HOUR_MS,
                                              .doc = "Removes runs of scheduled reports that were "
                                                     "over long ago" };

static enum err_code sweep_request_logs(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return egress_log_sweep(cx, r->store, app->conf->egress_log_days);
}
static const struct job_kind request_logs_sweep = { .name = "request_logs.sweep",
                                                    .run = sweep_request_logs,
                                                    .timeout_ms = 10 * MINUTE_MS,
                                                    HOUSEKEEPING,
                                                    .period_ms = HOUR_MS,
                                                    .doc = "Removes old rows of the log of "
                                                           "outbound requests" };

static enum err_code sweep_syncs(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return syncs_sweep(cx, r->store, app->conf->sync_run_days);
}
static const struct job_kind syncs_old = { .name = "syncs.sweep",
                                           .run = sweep_syncs,
                                           .timeout_ms = 10 * MINUTE_MS,
                                           HOUSEKEEPING,
                                           .period_ms = HOUR_MS,
                                           .doc = "Removes old runs of syncs" };

static enum err_code keep_usage(struct ctx *cx, struct job_run *r)
{
    const struct app *app = r->arg;
    return usage_retain(cx, app->usage, clock_ms());
}
static const struct job_kind usage_keep = { .name = "usage.keep",
                                            .run = keep_usage,
                                            .timeout_ms = 30 * MINUTE_MS,
                                            HOUSEKEEPING,
                                            .period_ms = 10 * MINUTE_MS,
                                            .doc = "Removes usage that is kept no longer and makes "
                                                   "room for the next days" };

/* ---- what kinds of core get ---- */

static void *sender(struct ctx *cx, const struct app *app)
{
    struct report_sender *s = ARENA_NEW(&cx->arena, struct report_sender);
    *s = (struct report_sender){ .mailer = app->mailer,
                                 .exports = app->exports,
                                 .public_url = app->conf->public_url,
                                 .mail_bytes = app->conf->report_mail_kb * 1024 };
    return s;
}

static void *reminders(struct ctx *cx, const struct app *app)
{
    struct key_reminders *r = ARENA_NEW(&cx->arena, struct key_reminders);
    *r = (struct key_reminders){ app->mailer, app->conf->public_url };
    return r;
}

/* ---- the table ---- */

#define WHOLE_APP SIZE_MAX

static const struct {
    const struct job_kind *kind;
    size_t arg_at; /* in struct app: the pointer that its run function gets */
    void *(*make)(struct ctx *cx, const struct app *app); /* instead: what it gets, in cx */
} rows[] = {
    { &jobs_sweep, WHOLE_APP },
    { &sessions_purge, WHOLE_APP },
    { &idempotency_purge, WHOLE_APP },
    { &attachments_sweep, WHOLE_APP },
    { &webhook_replay_kind, WHOLE_APP },
    { &webhooks_old, WHOLE_APP },
    { &hook_process, offsetof(struct app, hook_work) },
    { &hook_replay, offsetof(struct app, hook_work) },
    { &hooks_due, offsetof(struct app, hook_work) },
    { &hooks_sweep, offsetof(struct app, hook_work) },
    { &request_logs_sweep, WHOLE_APP },
    { &syncs_old, WHOLE_APP },
    { &usage_keep, WHOLE_APP },
    { &report_due, WHOLE_APP },
    { &report_run_kind, .make = sender },
    { &report_sweep, WHOLE_APP },
    { &key_remind_kind, .make = reminders },
    { &key_mail_kind, .make = reminders },
};
_Static_assert(sizeof rows / sizeof *rows <= JOB_KINDS_MAX, "kinds are bits of 32");

struct job_uses job_kinds(struct ctx *cx, const struct app *app)
{
    size_t n = sizeof rows / sizeof *rows;
    struct job_use *v = ARENA_ARRAY(&cx->arena, struct job_use, n);
    for (size_t i = 0; i < n; i++) {
        v[i].kind = rows[i].kind;
        if (app && rows[i].make)
            v[i].arg = rows[i].make(cx, app);
        else if (app && rows[i].arg_at == WHOLE_APP)
            v[i].arg = (void *)(uintptr_t)app;
        else if (app)
            v[i].arg = *(void *const *)(const void *)((const char *)app + rows[i].arg_at);
    }
    return (struct job_uses){ v, n };
}
