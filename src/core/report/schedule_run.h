/* Runs of schedules: what was due when, what became of it, where it went. Owner of tables report_run
 * and report_delivery.
 *
 * A run is a row, a job report.run, and a file among the exports; its deliveries are rows too, one a
 * target, made when the run begins. report.due looks once a minute for schedules that are due: in one
 * unit it moves the schedule on to its next time after now and adds the run with its job, so what a
 * downtime has missed is made up for by one run. While a run of the schedule waits, no second one is
 * added.
 *
 * The job (schedule_send.c) runs the report with the rights that schedule.runs_as has at that time;
 * when they do not suffice any more the run is refused and the schedule switched off, with the
 * reason. A delivery that has been sent is not repeated when another one fails and the queue tries
 * again. A node that is killed between the mail server's yes and its row sends that one mail twice,
 * never more often, and never loses one. */
#ifndef TESSERA_CORE_REPORT_SCHEDULE_RUN_H
#define TESSERA_CORE_REPORT_SCHEDULE_RUN_H

#include "../job/job.h"
#include "schedule.h"

#define RUN_KEPT_DAYS 90
#define RUN_MAILS_A_DAY 1000 /* report mails of one team in 24 hours */

struct run {
    struct rec_bits bits;
    struct str team_id, id, report_id, schedule_id, cause, state, format, runs_as, job_id,
        export_id, error;
    struct str deliveries;            /* worked out by run_get */
    struct str report_name, file_url; /* for the event */
    int64_t due_ms, rows, size, created_ms, started_ms, finished_ms;
};
extern const struct rec rec_run;      /* in lists */
extern const struct rec rec_run_full; /* with its deliveries */
struct run_delivery {
    struct rec_bits bits;
    struct str type, target, state, error;
    int64_t n, is_outside, attempts, sent_ms;
};
extern const struct rec rec_run_delivery;

/* ---- what people do: in a unit, in the caller's scope ---- */

/* Newest first. NOT_FOUND: the report or the schedule. */
enum err_code run_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct schedule *of, const struct list_query *in,
                       struct cursor_key key, struct page *out);
enum err_code run_get(struct ctx *cx, struct db *db, const struct caller *who,
                      const struct schedule *of, struct str id, struct run *out);
/* A run besides the plan; the schedule's next time stays. CONFLICT while a run of it waits. Writes the
 * audit row. */
enum err_code run_now(struct ctx *cx, struct db *db, const struct caller *who,
                      const struct schedule *of, struct run *out);

/* ---- what the server does, in units of its own ---- */

/* Adds runs of all schedules that are due, and ends those whose jobs were ended. */
enum err_code runs_due(struct ctx *cx, struct store *store);
/* Removes runs that were over RUN_KEPT_DAYS ago. */
enum err_code runs_sweep(struct ctx *cx, struct store *store);

/* ---- for the job: in a unit, in the team's or the system's scope ---- */

/* The run and its schedule, begun: state running, deliveries there. NOT_FOUND (not recorded): it or
 * its schedule is gone, or it was refused. is_first: deliveries that have failed wait again. */
enum err_code run_begin(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        bool is_first, struct run *out);
/* The deliveries of a run that are not sent, in their order; struct run_delivery. */
enum err_code run_open_deliveries(struct ctx *cx, struct db *db, const struct run *r,
                                  struct list *out);
/* An attempt at d has ended: state, error and (state sent) the time. */
enum err_code run_delivered(struct ctx *cx, struct db *db, const struct run *r,
                            const struct run_delivery *d);
/* Its file is there, at r->file_url for those who may. The event report.finished goes out with the
 * first one, and again when somebody lets a failed delivery to a webhook be tried again; with it
 * deliveries to webhooks are over. */
enum err_code run_made(struct ctx *cx, struct db *db, const struct run *r, bool is_first);
/* Ends the run in r->state, with r->error; deliveries that wait have failed with it. A refused one
 * switches the schedule off. */
enum err_code run_end(struct ctx *cx, struct db *db, const struct run *r);
/* How many more mails the team may send now. */
enum err_code run_mails_left(struct ctx *cx, struct db *db, struct str team_id, int64_t *out);

#endif
