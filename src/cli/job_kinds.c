/* The table of kinds of jobs. To add one: its struct job_kind beside its code, a row here, a line in
 * docs/jobs.md, a test.
 *
 * Kinds of core get the one object of the application that they work on; housekeeping, here below,
 * gets the whole application for its settings. */
#include "job_kinds.h"

#include "../api/settings.h"
#include "../base/clock.h"

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
                                            .timeout_ms = 10 * 60 * 1000,
                                            HOUSEKEEPING,
                                            .period_ms = HOUR_MS,
                                            .doc = "Removes jobs that were over long ago" };

/* ---- the table ---- */

#define WHOLE_APP SIZE_MAX

static const struct {
    const struct job_kind *kind;
    size_t arg_at; /* in struct app: the pointer that its run function gets */
} rows[] = {
    { &jobs_sweep, WHOLE_APP },
};
_Static_assert(sizeof rows / sizeof *rows <= JOB_KINDS_MAX, "kinds are bits of 32");

struct job_uses job_kinds(struct ctx *cx, const struct app *app)
{
    size_t n = sizeof rows / sizeof *rows;
    struct job_use *v = ARENA_ARRAY(&cx->arena, struct job_use, n);
    for (size_t i = 0; i < n; i++) {
        v[i].kind = rows[i].kind;
        if (app && rows[i].arg_at == WHOLE_APP)
            v[i].arg = (void *)(uintptr_t)app;
        else if (app)
            v[i].arg = *(void *const *)(const void *)((const char *)app + rows[i].arg_at);
    }
    return (struct job_uses){ v, n };
}
