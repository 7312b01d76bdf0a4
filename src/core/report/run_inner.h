/* What the files of runs share: rows (schedule_run.c), what is due (schedule_due.c), the job
 * (schedule_send.c). */
#ifndef TESSERA_CORE_REPORT_RUN_INNER_H
#define TESSERA_CORE_REPORT_RUN_INNER_H

#include "schedule_run.h"
#include "schedule_target.h"

struct run_new {
    const char *cause;
    int64_t due_ms;
    const struct caller *who; /* who asked; NULL: the plan */
};
/* The run and its job. s needs team_id, report_id, id, format, runs_as. */
enum err_code run_add(struct ctx *cx, struct db *db, const struct schedule *s,
                      const struct run_new *in, struct run *out);
/* A run of the schedule has not begun yet. */
enum err_code run_waits(struct ctx *cx, struct db *db, const struct schedule *s, bool *out);
enum err_code run_failed_deliveries(struct ctx *cx, struct db *db, const struct run *r,
                                    int64_t *out);
/* Runs that are open though their job was cancelled, removed, or died on the way have failed. System
 * scope. */
enum err_code runs_end_orphans(struct ctx *cx, struct db *db);

/* schedule.c: the schedule of the run; NOT_FOUND (not recorded). */
enum err_code schedule_of_run(struct ctx *cx, struct db *db, const struct run *r,
                              struct schedule *out);
/* Where it goes; one of before there were deliveries has its recipients. */
void targets_of_schedule(struct ctx *cx, const struct schedule *s, struct targets *out);

#endif
