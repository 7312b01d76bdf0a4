/* When a saved report is to be sent to whom. Owner of table report_schedule.
 *
 * The plain kinds and cron expressions become the same masks (cron.h), on the clock of a time zone.
 * A schedule runs with the rights of whoever changed it last: else one could direct what another may
 * see to oneself. What runs it: schedule_run.h. All run inside a unit of work in the caller's scope,
 * and changes write their audit row there. */
#ifndef TESSERA_CORE_REPORT_SCHEDULE_H
#define TESSERA_CORE_REPORT_SCHEDULE_H

#include "report.h"

#define SCHEDULE_GAP_MINUTES 15 /* least time between two runs */
#define SCHEDULE_RUNS_SHOWN 5
#define SCHEDULES_MAX 20 /* of one report */

struct schedule {
    struct rec_bits bits;
    struct str id, report_id, kind, at, weekdays, cron, time_zone, format, recipients, created_by;
    struct str team_id, deliveries, runs_as, paused_reason;
    struct str next_runs; /* worked out when it is read */
    int64_t day_of_month, is_enabled, version, created_ms, updated_ms, next_ms;
};
extern const struct rec rec_schedule;     /* as clients see it */
extern const struct rec rec_schedule_row; /* what makes a run */
extern const char *const schedule_days[]; /* "sun" … "sat", NULL-terminated */

struct schedule_new {
    struct rec_bits bits;
    struct str kind, at, weekdays, cron, time_zone, format, recipients, deliveries;
    int64_t day_of_month, is_enabled;
};
extern const struct rec rec_schedule_new;
extern const struct rec rec_schedule_patch;

/* MISSING_FIELD, INVALID_FIELD: each kind has its own fields, and one that never runs is refused.
 * CONFLICT when the report has SCHEDULES_MAX. */
enum err_code schedule_create(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, const struct schedule_new *in,
                              struct schedule *out);
enum err_code schedule_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str report_id, struct str id, struct schedule *out);
/* Merge patch; a changed kind drops what belonged to the old one. */
enum err_code schedule_update(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, struct str id, const struct schedule_new *patch,
                              const struct versions *allowed, struct schedule *out);
enum err_code schedule_delete(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str report_id, struct str id, const struct versions *allowed);
/* All of a report, in the order they were made. */
enum err_code schedule_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str report_id, struct page *out);
/* The masks of a schedule whose fields are sound; false when the text of its cron is not. */
struct cron;
bool schedule_cron(struct ctx *cx, const struct schedule *s, struct cron *out, struct str *why);
/* The first time after the instant at which it is due; 0: never. */
int64_t schedule_next_ms(struct ctx *cx, const struct schedule *s, int64_t after_ms);

#endif
